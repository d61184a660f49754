//! Parameters: `$1`, `$2`, ... in a statement, and the values that take their place.
//!
//! Values become literals of the tree, never text of the statement.

use crate::sql::{MergeAction, Query, Statement};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    self, CastKind, Expr, SetExpr, TimezoneInfo, Value, VisitMut, visit_expressions_mut,
};
use polder_catalog::{Error, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The statement with values in place of its parameters.
///
/// # Errors
/// 42P02 for a parameter that has no value, 0A000 for a value of a type that has no literal.
pub(crate) fn bind(statement: &Statement, values: &[ScalarValue]) -> Result<Statement> {
    let value_of = |expr: &Expr| {
        let Some(name) = placeholder(expr) else { return Ok(None) };
        match number(name).and_then(|at| values.get(at)) {
            Some(value) => literal(value).map(Some),
            None => Err(unbound(name)),
        }
    };
    let mut bound = statement.clone();
    match replace_all(&mut bound, &value_of)? {
        true => Ok(bound),
        false if values.is_empty() => Ok(bound),
        false => Err(Error::fix(SqlState::NOT_SUPPORTED, "only statements that read or change rows have parameters")),
    }
}

/// Types of parameters by their place: `$1` is at 0.
pub(crate) type Types = BTreeMap<usize, DataType>;

/// The greatest number of a parameter, as in PostgreSQL's protocol.
const PARAMETERS_MAX: usize = 65_535;

/// How many parameters a statement has: the greatest number that it names.
///
/// # Errors
/// 42P02 for a name that is none, or too great.
pub(crate) fn parameter_count(statement: &Statement) -> Result<usize> {
    let count = Cell::new(0);
    let look = |expr: &Expr| {
        let Some(name) = placeholder(expr) else { return Ok(None) };
        let at = number(name).filter(|at| *at < PARAMETERS_MAX).ok_or_else(|| unbound(name))?;
        count.set(count.get().max(at + 1));
        Ok(None)
    };
    replace_all(&mut statement.clone(), &look)?;
    Ok(count.get())
}

/// The query with each parameter whose type is known cast to it.
///
/// # Errors
/// 0A000 for a type that has no name in SQL.
pub(crate) fn cast_parameters(query: &Query, types: &Types) -> Result<Query> {
    let cast = |expr: &Expr| {
        let Some(data_type) = parameter(expr).and_then(|at| types.get(&at)) else { return Ok(None) };
        let (expr, data_type) = (Box::new(expr.clone()), sql_type(data_type)?);
        Ok(Some(Expr::Cast { kind: CastKind::Cast, expr, data_type, format: None, array: false }))
    };
    let mut query = query.clone();
    replace_in(&mut query, &cast)?;
    Ok(query)
}

/// Adds the types of parameters that stand alone in rows of `VALUES`, by the place in their row.
pub(crate) fn assigned_rows(query: &Query, type_at: impl Fn(usize) -> Option<DataType>, types: &mut Types) {
    let DataFusionStatement::Statement(statement) = &query.0 else { return };
    let ast::Statement::Query(query) = statement.as_ref() else { return };
    let SetExpr::Values(values) = query.body.as_ref() else { return };
    let cells = values.rows.iter().flat_map(|row| row.content.iter().enumerate());
    for (place, at) in cells.filter_map(|(place, cell)| Some((place, parameter(cell)?))) {
        if let (false, Some(kind)) = (types.contains_key(&at), type_at(place)) {
            types.insert(at, kind);
        }
    }
}

/// Adds the types of parameters that stand alone in LIMIT and OFFSET.
pub(crate) fn limits(query: &Query, types: &mut Types) {
    let DataFusionStatement::Statement(statement) = &query.0 else { return };
    let ast::Statement::Query(query) = statement.as_ref() else { return };
    if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
        let numbers = limit.iter().chain(offset.iter().map(|offset| &offset.value));
        numbers.filter_map(parameter).for_each(|at| {
            types.entry(at).or_insert(DataType::Int64);
        });
    }
}

/// The types that parameters are cast to where they stand.
pub(crate) fn casts(query: &Query) -> Result<BTreeMap<usize, ast::DataType>> {
    let casts = RefCell::new(BTreeMap::new());
    let look = |expr: &Expr| {
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Some(at) = parameter(expr)
        {
            casts.borrow_mut().entry(at).or_insert_with(|| data_type.clone());
        }
        Ok(None)
    };
    replace_in(&mut query.clone(), &look)?;
    Ok(casts.into_inner())
}

/// The place of the parameter that an expression is, if it is nothing more.
pub(crate) fn parameter(expr: &Expr) -> Option<usize> {
    placeholder(expr).and_then(number)
}

fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// A value under the name of a parameter, as text of its SQL type: so it can be kept, and read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) sql_type: String,
    /// None for NULL.
    pub(crate) value: Option<String>,
}

impl Argument {
    /// # Errors
    /// 0A000 if values of its type have no text.
    pub(crate) fn new(name: &str, sql_type: &str, value: &ScalarValue) -> Result<Self> {
        let value = match value {
            value if value.is_null() => None,
            ScalarValue::Float64(Some(value)) => Some(format!("{value:?}")),
            ScalarValue::Float32(Some(value)) => Some(format!("{value:?}")),
            value => Some(text(value)?),
        };
        Ok(Self { name: name.to_string(), sql_type: sql_type.to_string(), value })
    }

    /// # Errors
    /// 42601 if its type is none.
    fn expr(&self) -> Result<Expr> {
        let value = self.value.as_deref().map_or_else(|| "NULL".to_string(), super::literal);
        super::expression(&format!("CAST({value} AS {})", self.sql_type))
    }
}

/// The statement with values in place of what has the name of a parameter. A column of that name is named with its table.
///
/// # Errors
/// 42601 if a type is none.
pub(crate) fn bind_names(statement: &Statement, arguments: &[Argument]) -> Result<Statement> {
    let mut bound = statement.clone();
    replace_all(&mut bound, &|expr| named(expr, arguments))?;
    Ok(bound)
}

/// The same for an expression.
pub(crate) fn bind_names_in(expr: &Expr, arguments: &[Argument]) -> Result<Expr> {
    let mut bound = expr.clone();
    replace(&mut bound, &|expr| named(expr, arguments))?;
    Ok(bound)
}

fn named(expr: &Expr, arguments: &[Argument]) -> Result<Option<Expr>> {
    let Expr::Identifier(name) = expr else { return Ok(None) };
    let name = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
    arguments.iter().find(|argument| argument.name == name).map(Argument::expr).transpose()
}

/// What takes the place of an expression, if anything does.
type ValueOf<'a> = &'a dyn Fn(&Expr) -> Result<Option<Expr>>;

/// Whether the statement is one that may have parameters.
fn replace_all(statement: &mut Statement, value_of: ValueOf<'_>) -> Result<bool> {
    match statement {
        Statement::Query(query) | Statement::Explain { query, .. } => replace_in(query, value_of)?,
        Statement::Insert { query, conflict, returning, .. } => {
            replace_in(query, value_of)?;
            returning.iter_mut().try_for_each(|item| replace(item, value_of))?;
            if let Some(update) = conflict.as_mut().and_then(|conflict| conflict.update.as_mut()) {
                replace_assigned(&mut update.assignments, update.condition.as_mut(), value_of)?;
            }
        }
        Statement::Update { assignments, which, returning, .. } => {
            replace_assigned(assignments, which.condition.as_mut(), value_of)?;
            which.others.iter_mut().try_for_each(|other| replace(other, value_of))?;
            returning.iter_mut().try_for_each(|item| replace(item, value_of))?;
        }
        Statement::Delete { which, returning, .. } => {
            replace_assigned(&mut [], which.condition.as_mut(), value_of)?;
            which.others.iter_mut().try_for_each(|other| replace(other, value_of))?;
            returning.iter_mut().try_for_each(|item| replace(item, value_of))?;
        }
        Statement::Merge { merge, .. } => {
            replace(&mut merge.source, value_of)?;
            replace(&mut merge.on, value_of)?;
            for clause in &mut merge.clauses {
                clause.condition.iter_mut().try_for_each(|condition| replace(condition, value_of))?;
                match &mut clause.action {
                    MergeAction::Insert { values: inserted, .. } => {
                        inserted.iter_mut().try_for_each(|value| replace(value, value_of))?;
                    }
                    MergeAction::Update(assignments) => replace_assigned(assignments, None, value_of)?,
                    MergeAction::Delete => {}
                }
            }
        }
        Statement::Call { arguments, .. } => {
            arguments.iter_mut().try_for_each(|argument| replace(argument, value_of))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn replace_in(query: &mut Query, value_of: ValueOf<'_>) -> Result<()> {
    match &mut query.0 {
        DataFusionStatement::Statement(statement) => replace(statement.as_mut(), value_of),
        _ => Ok(()),
    }
}

fn replace_assigned(
    assignments: &mut [(String, Expr)],
    condition: Option<&mut Expr>,
    value_of: ValueOf<'_>,
) -> Result<()> {
    assignments.iter_mut().try_for_each(|(_, value)| replace(value, value_of))?;
    condition.into_iter().try_for_each(|condition| replace(condition, value_of))
}

fn replace(tree: &mut impl VisitMut, value_of: ValueOf<'_>) -> Result<()> {
    let replaced = visit_expressions_mut(tree, |expr| {
        match value_of(expr) {
            Ok(Some(value)) => *expr = value,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    });
    match replaced {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// `$1` is the first.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

fn unbound(name: &str) -> Error {
    Error::fix(SqlState::NO_PARAMETER, format!("parameter {name} has no value"))
        .with_hint("parameters are $1, $2, ... and each needs a value")
}

/// The parameters of `VALUES ($1, $2), ($3, $4)`, if that is all that the query is: those rows need no plan.
pub(crate) fn rows_of_parameters(query: &Query) -> Option<Vec<Vec<usize>>> {
    let DataFusionStatement::Statement(statement) = &query.0 else { return None };
    let ast::Statement::Query(query) = statement.as_ref() else { return None };
    let is_plain = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    let SetExpr::Values(values) = query.body.as_ref() else { return None };
    let rows = values.rows.iter().map(|row| row.content.iter().map(parameter).collect::<Option<Vec<_>>>());
    rows.collect::<Option<Vec<_>>>().filter(|_| is_plain && query.fetch.is_none() && query.locks.is_empty())
}

fn literal(value: &ScalarValue) -> Result<Expr> {
    if value.is_null() {
        return Ok(plain(Value::Null));
    }
    Ok(match value {
        ScalarValue::Boolean(Some(value)) => plain(Value::Boolean(*value)),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            plain(Value::SingleQuotedString(text.clone()))
        }
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => {
            plain(Value::HexStringLiteral(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
        }
        // Bare, so that it may stand where SQL wants a number, as in LIMIT.
        ScalarValue::Int64(Some(value)) if *value >= 0 => plain(Value::Number(value.to_string(), false)),
        ScalarValue::Float64(Some(value)) => cast(format!("{value:?}"), ast::DataType::DoublePrecision),
        ScalarValue::Float32(Some(value)) => cast(format!("{value:?}"), ast::DataType::Real),
        _ => cast(text(value)?, sql_type(&value.data_type())?),
    })
}

fn text(value: &ScalarValue) -> Result<String> {
    let text = value.cast_to(&DataType::Utf8).map_err(Error::from_datafusion)?;
    match text {
        ScalarValue::Utf8(Some(text)) => Ok(text),
        _ => Err(Error::report("a value that is not NULL has no text")),
    }
}

fn sql_type(of: &DataType) -> Result<ast::DataType> {
    Ok(match of {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ast::DataType::SmallInt(None),
        DataType::Int32 | DataType::UInt16 => ast::DataType::Integer(None),
        DataType::Int64 | DataType::UInt32 => ast::DataType::BigInt(None),
        DataType::UInt64 => ast::DataType::BigIntUnsigned(None),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            ast::DataType::Decimal(ast::ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale)))
        }
        DataType::Boolean => ast::DataType::Boolean,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ast::DataType::Text,
        DataType::Float64 => ast::DataType::DoublePrecision,
        DataType::Float32 => ast::DataType::Real,
        DataType::Date32 => ast::DataType::Date,
        DataType::Time32(_) | DataType::Time64(_) => ast::DataType::Time(None, TimezoneInfo::None),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => ast::DataType::Bytea,
        DataType::FixedSizeBinary(16) => ast::DataType::Uuid,
        DataType::Timestamp(
            TimeUnit::Microsecond | TimeUnit::Nanosecond | TimeUnit::Millisecond | TimeUnit::Second,
            None,
        ) => ast::DataType::Timestamp(None, TimezoneInfo::None),
        DataType::Timestamp(_, Some(_)) => ast::DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        other => {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, format!("a parameter cannot be of type {other}"))
                .with_hint("give it as text and cast it in the statement"));
        }
    })
}

fn plain(value: Value) -> Expr {
    Expr::Value(value.into())
}

fn cast(text: String, data_type: ast::DataType) -> Expr {
    let expr = Box::new(plain(Value::SingleQuotedString(text)));
    Expr::Cast { kind: CastKind::Cast, expr, data_type, format: None, array: false }
}
