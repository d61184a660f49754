//! Translates a DataFusion expression into PostgreSQL's: a whitelist, each entry exact for every value.
//!
//! **Invariant.** What is translated is *total*: it raises no error for any row. PostgreSQL evaluates the conditions
//! of a WHERE in the order it likes, so an expression that fails for some row (an overflow, a division by zero) could
//! fail here for a row that another condition drops there. Hence integers carry their [`Bounds`], and whatever might
//! fail stays local.
//!
//! NULL, NaN (equal to itself, the greatest) and -0 (equal to 0) compare alike on both sides; text is compared by its
//! bytes, under `COLLATE "C"` wherever the column's own collation could say otherwise.

use super::ast::{Expr as Sql, Literal, Operator as SqlOperator, Test};
use super::typed::{Bounds, Kind, Typed};
use super::{arithmetic, cast, compare, functions, literal, reason};
use datafusion_common::Column;
use datafusion_expr::expr::{Between, Case, InList, Like, ScalarFunction};
use datafusion_expr::{BinaryExpr, Expr, Operator};
use polder_catalog::{Reason, ReasonCode};

/// What the columns of an expression mean.
pub(crate) trait Scope {
    /// The column, as it stands in this query.
    fn resolve(&self, column: &Column) -> Result<Typed, Reason>;
}

/// PostgreSQL's stack depth and ours are finite; machine-made expressions nest deeper than people's.
const DEPTH_MAX: usize = 128;

/// Translates an expression over the columns of `scope`.
pub(crate) fn translate(expr: &Expr, scope: &dyn Scope) -> Result<Typed, Reason> {
    Translator { scope, depth: 0 }.expr(expr)
}

/// Translates a condition over the columns of `scope`.
pub(crate) fn condition(expr: &Expr, scope: &dyn Scope) -> Result<Sql, Reason> {
    translate(expr, scope)?.into_boolean()
}

#[derive(Clone, Copy)]
struct Translator<'a> {
    scope: &'a dyn Scope,
    depth: usize,
}

impl Translator<'_> {
    fn expr(self, expr: &Expr) -> Result<Typed, Reason> {
        let inner = Self { depth: self.depth + 1, ..self };
        if inner.depth > DEPTH_MAX {
            return Err(reason::lacks(format!("the expression nests deeper than {DEPTH_MAX} levels")));
        }
        match expr {
            Expr::Alias(alias) => inner.expr(&alias.expr),
            Expr::Column(column) => self.scope.resolve(column),
            Expr::Literal(value, _) => literal::translate(value),
            Expr::BinaryExpr(binary) => inner.binary(binary),
            Expr::Like(like) => inner.like(like),
            Expr::Not(operand) => Ok(Typed::boolean(Sql::Not(Box::new(inner.condition(operand)?)))),
            Expr::IsNull(operand) => inner.null_test(operand, Test::Null),
            Expr::IsNotNull(operand) => inner.null_test(operand, Test::NotNull),
            Expr::IsTrue(operand) => inner.truth_test(operand, Test::True),
            Expr::IsNotTrue(operand) => inner.truth_test(operand, Test::NotTrue),
            Expr::IsFalse(operand) => inner.truth_test(operand, Test::False),
            Expr::IsNotFalse(operand) => inner.truth_test(operand, Test::NotFalse),
            Expr::IsUnknown(operand) => inner.truth_test(operand, Test::Unknown),
            Expr::IsNotUnknown(operand) => inner.truth_test(operand, Test::NotUnknown),
            Expr::Negative(operand) => arithmetic::negative(inner.expr(operand)?),
            Expr::Between(between) => inner.between(between),
            Expr::Case(case) => inner.case(case),
            Expr::Cast(cast) => cast::translate(inner.expr(&cast.expr)?, cast.field.data_type()),
            Expr::InList(list) => inner.in_list(list),
            Expr::ScalarFunction(call) => inner.function(call),
            other => Err(reason::semantics(format!("{} is not known to mean the same", other.variant_name()))),
        }
    }

    fn condition(self, expr: &Expr) -> Result<Sql, Reason> {
        self.expr(expr)?.into_boolean()
    }

    fn binary(self, binary: &BinaryExpr) -> Result<Typed, Reason> {
        let BinaryExpr { left, op, right } = binary;
        match op {
            Operator::And | Operator::Or => self.connective(binary, *op),
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                arithmetic::translate(self.expr(left)?, *op, self.expr(right)?)
            }
            Operator::StringConcat => functions::concat_operator(self.expr(left)?, self.expr(right)?),
            _ => {
                let operator = comparison(*op)
                    .ok_or_else(|| reason::semantics(format!("operator {op} is not known to mean the same")))?;
                compare::translate(self.expr(left)?, operator, self.expr(right)?).map(Typed::boolean)
            }
        }
    }

    /// A chain of one connective is as deep in the plan as it is long; its depth counts once.
    fn connective(self, binary: &BinaryExpr, op: Operator) -> Result<Typed, Reason> {
        let mut operands = Vec::new();
        let mut pending = vec![&*binary.right, &*binary.left];
        while let Some(next) = pending.pop() {
            match next {
                Expr::BinaryExpr(inner) if inner.op == op => pending.extend([&*inner.right, &*inner.left]),
                other => operands.push(self.condition(other)?),
            }
        }
        let joined = if op == Operator::And { Sql::all(operands) } else { Sql::any(operands) };
        Ok(Typed::boolean(joined.expect("a connective has two operands")))
    }

    fn null_test(self, operand: &Expr, test: Test) -> Result<Typed, Reason> {
        Ok(Typed::boolean(self.expr(operand)?.expr.is(test)))
    }

    fn truth_test(self, operand: &Expr, test: Test) -> Result<Typed, Reason> {
        Ok(Typed::boolean(self.condition(operand)?.is(test)))
    }

    fn between(self, between: &Between) -> Result<Typed, Reason> {
        let operand = self.expr(&between.expr)?;
        let low = compare::translate(operand.clone(), SqlOperator::GtEq, self.expr(&between.low)?)?;
        let high = compare::translate(operand, SqlOperator::LtEq, self.expr(&between.high)?)?;
        let within = Sql::all([low, high]).expect("two bounds");
        Ok(Typed::boolean(if between.negated { Sql::Not(Box::new(within)) } else { within }))
    }

    fn in_list(self, list: &InList) -> Result<Typed, Reason> {
        let operand = self.expr(&list.expr)?;
        let items = list.list.iter().map(|item| self.expr(item)).collect::<Result<Vec<_>, _>>()?;
        if items.is_empty() {
            return Ok(Typed::boolean(Sql::Literal(Literal::Boolean(list.negated))));
        }
        compare::in_list(operand, items, list.negated).map(Typed::boolean)
    }

    fn like(self, like: &Like) -> Result<Typed, Reason> {
        if like.case_insensitive {
            return Err(reason::collation("ILIKE folds case by the source's locale"));
        }
        let operand = self.expr(&like.expr)?;
        let pattern = self.expr(&like.pattern)?;
        let pattern =
            pattern.text().ok_or_else(|| reason::semantics("a LIKE pattern that is not constant may fail"))?;
        compare::like(operand, pattern, like.escape_char, like.negated).map(Typed::boolean)
    }

    /// The searched form throughout: an operand is compared as any `=` would be.
    fn case(self, case: &Case) -> Result<Typed, Reason> {
        let operand = case.expr.as_ref().map(|operand| self.expr(operand)).transpose()?;
        if operand.as_ref().is_some_and(|operand| operand.kind == Kind::Float) {
            return Err(reason::semantics("CASE of a float tells 0 from -0 here, and not there"));
        }
        let mut conditions = Vec::with_capacity(case.when_then_expr.len());
        let mut values = Vec::with_capacity(case.when_then_expr.len() + 1);
        for (when, then) in &case.when_then_expr {
            conditions.push(match &operand {
                Some(operand) => compare::translate(operand.clone(), SqlOperator::Eq, self.expr(when)?)?,
                None => self.condition(when)?,
            });
            values.push(self.expr(then)?);
        }
        if let Some(otherwise) = &case.else_expr {
            values.push(self.expr(otherwise)?);
        }
        let (kind, data_type, values) = one_kind(values)?;
        let mut values = values.into_iter();
        let branches = conditions.into_iter().zip(values.by_ref()).collect();
        let otherwise = values.next().map(Box::new);
        Ok(Typed::new(Sql::Case { operand: None, branches, otherwise }, data_type, kind))
    }

    fn function(self, call: &ScalarFunction) -> Result<Typed, Reason> {
        let func = &call.func;
        if func.signature().volatility == datafusion_expr::Volatility::Volatile {
            return Err(Reason::new(ReasonCode::Volatile, format!("{}() gives another result each time", func.name())));
        }
        let arguments = call.args.iter().map(|argument| self.expr(argument)).collect::<Result<Vec<_>, _>>()?;
        functions::translate(func.name(), arguments)
    }
}

fn comparison(op: Operator) -> Option<SqlOperator> {
    Some(match op {
        Operator::Eq => SqlOperator::Eq,
        Operator::NotEq => SqlOperator::NotEq,
        Operator::Lt => SqlOperator::Lt,
        Operator::LtEq => SqlOperator::LtEq,
        Operator::Gt => SqlOperator::Gt,
        Operator::GtEq => SqlOperator::GtEq,
        Operator::IsDistinctFrom => SqlOperator::IsDistinctFrom,
        Operator::IsNotDistinctFrom => SqlOperator::IsNotDistinctFrom,
        _ => return None,
    })
}

/// The common family of the values of one expression: the branches of CASE, the arguments of coalesce.
pub(crate) fn one_kind(values: Vec<Typed>) -> Result<(Kind, arrow::datatypes::DataType, Vec<Sql>), Reason> {
    let typed = values.iter().find(|value| value.kind != Kind::Null);
    let Some((mut kind, data_type)) = typed.map(|value| (value.kind, value.data_type.clone())) else {
        return Err(reason::type_("all values are NULL"));
    };
    if matches!(kind, Kind::Label) {
        kind = Kind::Text(super::typed::Collation::Deterministic);
    }
    let mut exprs = Vec::with_capacity(values.len());
    for value in values {
        if value.kind != Kind::Null && !cast::same_type(&value.data_type, &data_type) {
            let text = format!("the values are of types {data_type} and {}", value.data_type);
            return Err(reason::type_(text));
        }
        kind = match (kind, value.kind) {
            (kind, Kind::Null) => kind,
            (Kind::Integer(one), Kind::Integer(other)) => Kind::Integer(Bounds::union(one, other)),
            (Kind::Text(one), Kind::Text(other)) => Kind::Text(one.merged(other)),
            (Kind::Text(one), Kind::Label) => Kind::Text(one.merged(super::typed::Collation::Deterministic)),
            (Kind::Opaque, _) | (_, Kind::Opaque) => return Err(reason::type_("a value has no exact counterpart")),
            (one, other) if one == other => one,
            _ => return Err(reason::type_("the values are of different kinds at the source")),
        };
        exprs.push(match value.kind {
            Kind::Label => value.into_text()?.0,
            _ => value.expr,
        });
    }
    Ok((kind, data_type, exprs))
}
