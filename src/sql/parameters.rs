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
use std::ops::ControlFlow;

/// The statement with values in place of its parameters.
///
/// # Errors
/// 42P02 for a parameter that has no value, 0A000 for a value of a type that has no literal.
pub(crate) fn bind(statement: &Statement, values: &[ScalarValue]) -> Result<Statement> {
    let mut bound = statement.clone();
    match &mut bound {
        Statement::Query(query) | Statement::Explain { query, .. } => replace_in(query, values)?,
        Statement::Insert { query, conflict, returning, .. } => {
            replace_in(query, values)?;
            returning.iter_mut().try_for_each(|item| replace(item, values))?;
            if let Some(update) = conflict.as_mut().and_then(|conflict| conflict.update.as_mut()) {
                replace_assigned(&mut update.assignments, update.condition.as_mut(), values)?;
            }
        }
        Statement::Update { assignments, condition, returning, .. } => {
            replace_assigned(assignments, condition.as_mut(), values)?;
            returning.iter_mut().try_for_each(|item| replace(item, values))?;
        }
        Statement::Delete { condition, returning, .. } => {
            replace_assigned(&mut [], condition.as_mut(), values)?;
            returning.iter_mut().try_for_each(|item| replace(item, values))?;
        }
        Statement::Merge { merge, .. } => {
            replace(&mut merge.source, values)?;
            replace(&mut merge.on, values)?;
            for clause in &mut merge.clauses {
                clause.condition.iter_mut().try_for_each(|condition| replace(condition, values))?;
                match &mut clause.action {
                    MergeAction::Insert { values: inserted, .. } => {
                        inserted.iter_mut().try_for_each(|value| replace(value, values))?;
                    }
                    MergeAction::Update(assignments) => replace_assigned(assignments, None, values)?,
                    MergeAction::Delete => {}
                }
            }
        }
        _ if values.is_empty() => {}
        _ => {
            return Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                "only statements that read or change rows have parameters",
            ));
        }
    }
    Ok(bound)
}

fn replace_in(query: &mut Query, values: &[ScalarValue]) -> Result<()> {
    match &mut query.0 {
        DataFusionStatement::Statement(statement) => replace(statement.as_mut(), values),
        _ => Ok(()),
    }
}

fn replace_assigned(
    assignments: &mut [(String, Expr)],
    condition: Option<&mut Expr>,
    values: &[ScalarValue],
) -> Result<()> {
    assignments.iter_mut().try_for_each(|(_, value)| replace(value, values))?;
    condition.into_iter().try_for_each(|condition| replace(condition, values))
}

fn replace(tree: &mut impl VisitMut, values: &[ScalarValue]) -> Result<()> {
    let replaced = visit_expressions_mut(tree, |expr| {
        let Expr::Value(value) = expr else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        match number(name).and_then(|at| values.get(at)).map(literal) {
            Some(Ok(literal)) => *expr = literal,
            Some(Err(error)) => return ControlFlow::Break(error),
            None => return ControlFlow::Break(unbound(name)),
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
    let cell = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => number(name),
            _ => None,
        },
        _ => None,
    };
    let rows = values.rows.iter().map(|row| row.content.iter().map(cell).collect::<Option<Vec<_>>>());
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
        DataType::Date32 => ast::DataType::Date,
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
