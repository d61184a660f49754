//! Arithmetic that cannot fail: integers that stay within their type, decimals whose result type holds every digit.
//!
//! DataFusion wraps where PostgreSQL raises an error, so an operation is pushed only if the ranges of its operands
//! prove that its result fits. Floats stay local: PostgreSQL raises an error where IEEE 754 gives infinity.

use super::ast::{Expr, Operator as SqlOperator};
use super::reason;
use super::typed::{Bounds, Kind, Typed};
use arrow::datatypes::DataType;
use datafusion_expr::Operator;
use polder_catalog::Reason;

/// `left op right`.
pub(crate) fn translate(left: Typed, op: Operator, right: Typed) -> Result<Typed, Reason> {
    match (left.kind, right.kind) {
        (Kind::Integer(one), Kind::Integer(other)) => integers(left, one, op, right, other),
        (Kind::Decimal, Kind::Decimal) => decimals(left, op, right),
        (Kind::Float, _) | (_, Kind::Float) => {
            Err(reason::semantics("PostgreSQL raises an error where a float overflows or is divided by zero"))
        }
        _ => {
            Err(reason::semantics(format!("{} {op} {} is not known to mean the same", left.data_type, right.data_type)))
        }
    }
}

/// `- operand`.
pub(crate) fn negative(operand: Typed) -> Result<Typed, Reason> {
    let kind = match operand.kind {
        Kind::Integer(bounds) => {
            Kind::Integer(fitting(Bounds { min: -bounds.max, max: -bounds.min }, &operand.data_type)?)
        }
        Kind::Decimal => Kind::Decimal,
        _ => return Err(reason::semantics(format!("the negative of a {} may differ", operand.data_type))),
    };
    Ok(Typed::new(Expr::Negative(Box::new(operand.expr)), operand.data_type, kind))
}

fn integers(left: Typed, one: Bounds, op: Operator, right: Typed, other: Bounds) -> Result<Typed, Reason> {
    if left.data_type != right.data_type {
        return Err(reason::type_(format!("{} {op} {}", left.data_type, right.data_type)));
    }
    let (operator, bounds) = match op {
        Operator::Plus => (SqlOperator::Plus, Bounds { min: one.min + other.min, max: one.max + other.max }),
        Operator::Minus => (SqlOperator::Minus, Bounds { min: one.min - other.max, max: one.max - other.min }),
        Operator::Multiply => (SqlOperator::Multiply, corners(one, other, |x, y| x * y)),
        Operator::Divide => {
            no_zero(other)?;
            let zero = if one.min <= 0 && one.max >= 0 { 0 } else { one.min / other.max };
            (SqlOperator::Divide, corners(one, other, |x, y| x / y).union(Bounds { min: zero, max: zero }))
        }
        Operator::Modulo => {
            no_zero(other)?;
            let largest = other.min.abs().max(other.max.abs()) - 1;
            let min = if one.min < 0 { -largest } else { 0 };
            let max = if one.max > 0 { largest } else { 0 };
            (SqlOperator::Modulo, Bounds { min, max })
        }
        _ => return Err(reason::semantics(format!("operator {op} is not known to mean the same"))),
    };
    let bounds = fitting(bounds, &left.data_type)?;
    // The smallest integer by -1 overflows in the division, though its remainder is 0.
    if op == Operator::Modulo {
        fitting(corners(one, other, |x, y| x / y), &left.data_type)?;
    }
    let data_type = left.data_type;
    Ok(Typed::new(left.expr.binary(operator, right.expr), data_type, Kind::Integer(bounds)))
}

fn corners(one: Bounds, other: Bounds, apply: impl Fn(i128, i128) -> i128) -> Bounds {
    Bounds::around([
        apply(one.min, other.min),
        apply(one.min, other.max),
        apply(one.max, other.min),
        apply(one.max, other.max),
    ])
}

fn no_zero(divisor: Bounds) -> Result<(), Reason> {
    if divisor.min <= 0 && divisor.max >= 0 {
        return Err(reason::semantics("the divisor may be zero"));
    }
    Ok(())
}

fn fitting(bounds: Bounds, data_type: &DataType) -> Result<Bounds, Reason> {
    let whole = Bounds::of(data_type).ok_or_else(|| reason::type_(format!("{data_type} is no integer")))?;
    if !bounds.within(whole) {
        let text = format!("the result may leave {data_type}, where PostgreSQL raises an error");
        return Err(reason::semantics(text));
    }
    Ok(bounds)
}

/// Sums and products of decimals are exact while the result type is not cut at its greatest precision.
fn decimals(left: Typed, op: Operator, right: Typed) -> Result<Typed, Reason> {
    let (Some((p1, s1)), Some((p2, s2))) = (decimal_type(&left.data_type), decimal_type(&right.data_type)) else {
        return Err(reason::type_(format!("{} {op} {}", left.data_type, right.data_type)));
    };
    let (operator, precision, scale) = match op {
        Operator::Plus | Operator::Minus => {
            let scale = s1.max(s2);
            let operator = if op == Operator::Plus { SqlOperator::Plus } else { SqlOperator::Minus };
            (operator, scale + (p1 - s1).max(p2 - s2) + 1, scale)
        }
        Operator::Multiply => (SqlOperator::Multiply, p1 + p2 + 1, s1 + s2),
        _ => return Err(reason::semantics("a quotient of decimals is rounded in another way")),
    };
    let data_type = match (&left.data_type, &right.data_type) {
        (DataType::Decimal128(..), DataType::Decimal128(..)) if precision <= 38 => {
            DataType::Decimal128(precision as u8, scale as i8)
        }
        (DataType::Decimal256(..), DataType::Decimal256(..)) if precision <= 76 => {
            DataType::Decimal256(precision as u8, scale as i8)
        }
        _ => return Err(reason::semantics("the result may have more digits than its type")),
    };
    Ok(Typed::new(left.expr.binary(operator, right.expr), data_type, Kind::Decimal))
}

/// Precision and scale.
pub(crate) fn decimal_type(data_type: &DataType) -> Option<(i32, i32)> {
    match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some((i32::from(*precision), i32::from(*scale)))
        }
        _ => None,
    }
}
