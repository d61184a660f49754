//! Casts that keep every value and cannot fail.

use super::arithmetic::decimal_type;
use super::ast::Type;
use super::reason;
use super::typed::{Bounds, Collation, Kind, Typed, pg_type};
use arrow::datatypes::DataType;
use polder_catalog::Reason;

/// `CAST(operand AS to)`.
pub(crate) fn translate(operand: Typed, to: &DataType) -> Result<Typed, Reason> {
    if operand.kind == Kind::Null {
        return super::literal::null(to);
    }
    if operand.kind != Kind::Opaque && same_type(&operand.data_type, to) {
        return Ok(Typed { data_type: to.clone(), ..operand });
    }
    match operand.kind {
        Kind::Integer(bounds) => from_integer(operand, bounds, to),
        Kind::Float if operand.data_type == DataType::Float32 && *to == DataType::Float64 => {
            Ok(Typed::new(operand.expr.cast(Type::Float8), to.clone(), Kind::Float))
        }
        Kind::Decimal => from_decimal(operand, to),
        Kind::Boolean if is_text(to) => Ok(as_text(operand, to)),
        // Both count microseconds from the same instant, and sessions are in UTC.
        Kind::Timestamptz if pg_type(to) == Some(Type::Timestamp) => {
            Ok(Typed::new(operand.expr.cast(Type::Timestamp), to.clone(), Kind::Timestamp))
        }
        _ => Err(inexact(&operand, to)),
    }
}

fn inexact(operand: &Typed, to: &DataType) -> Reason {
    reason::semantics(format!("a cast from {} to {to} may fail or change the value", operand.data_type))
}

/// The same values under the same comparison, however Arrow lays them out.
pub(crate) fn same_type(one: &DataType, other: &DataType) -> bool {
    let binary = |data_type: &DataType| pg_type(data_type) == Some(Type::Bytea);
    one == other || (is_text(one) && is_text(other)) || (binary(one) && binary(other))
}

fn is_text(data_type: &DataType) -> bool {
    pg_type(data_type) == Some(Type::Text)
}

fn as_text(operand: Typed, to: &DataType) -> Typed {
    Typed::new(operand.expr.cast(Type::Text), to.clone(), Kind::Text(Collation::Deterministic))
}

fn from_integer(operand: Typed, bounds: Bounds, to: &DataType) -> Result<Typed, Reason> {
    if is_text(to) {
        return Ok(as_text(operand, to));
    }
    if let Some(whole) = Bounds::of(to) {
        if !bounds.within(whole) {
            return Err(inexact(&operand, to));
        }
        // Types without a counterpart of their own are computed in the next wider one.
        let width = pg_type(to).unwrap_or(Type::Int8);
        let constant = operand.constant;
        let expr = operand.expr.cast(width);
        return Ok(Typed { expr, data_type: to.clone(), kind: Kind::Integer(bounds), constant });
    }
    match to {
        DataType::Float32 => Ok(Typed::new(operand.expr.cast(Type::Float4), to.clone(), Kind::Float)),
        DataType::Float64 => Ok(Typed::new(operand.expr.cast(Type::Float8), to.clone(), Kind::Float)),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            // A 64-bit integer has at most nineteen digits.
            let digits = bounds.min.abs().max(bounds.max.abs()).to_string().len() as i32;
            if digits > i32::from(*precision) - i32::from(*scale) || *scale < 0 {
                return Err(inexact(&operand, to));
            }
            Ok(Typed::new(operand.expr.cast(Type::Numeric), to.clone(), Kind::Decimal))
        }
        _ => Err(inexact(&operand, to)),
    }
}

/// More digits on either side of the point leave a `numeric` as it is.
fn from_decimal(operand: Typed, to: &DataType) -> Result<Typed, Reason> {
    match (decimal_type(&operand.data_type), decimal_type(to)) {
        (Some((p1, s1)), Some((p2, s2))) if s2 >= s1 && p2 - s2 >= p1 - s1 => {
            Ok(Typed { data_type: to.clone(), ..operand })
        }
        _ => Err(inexact(&operand, to)),
    }
}
