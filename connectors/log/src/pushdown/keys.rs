//! Constants that a key must be one of.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::InList;
use datafusion_expr::{BinaryExpr, Expr, Operator};

/// The values for which the filter can be true. NULL is none of them.
pub(super) fn of(filter: &Expr) -> Option<Vec<ScalarValue>> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut values = of(left)?;
            values.extend(of(right)?);
            Some(one_of(values))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => match (of(left), of(right)) {
            (Some(left), Some(right)) => Some(left.into_iter().filter(|value| right.contains(value)).collect()),
            (left, right) => left.or(right),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(_), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(_)) => {
                Some(one_of(vec![value.clone()]))
            }
            _ => None,
        },
        Expr::InList(InList { expr, list, negated: false }) if matches!(**expr, Expr::Column(_)) => {
            let values = list.iter().map(|item| match item {
                Expr::Literal(value, _) => Some(value.clone()),
                _ => None,
            });
            values.collect::<Option<Vec<_>>>().map(one_of)
        }
        _ => None,
    }
}

/// Each value once, without NULL.
pub(crate) fn one_of(values: Vec<ScalarValue>) -> Vec<ScalarValue> {
    let mut seen = std::collections::HashSet::new();
    values.into_iter().filter(|value| !value.is_null() && seen.insert(value.clone())).collect()
}

/// The value in the column's own type; `None` if that type has no place for it.
pub(crate) fn narrowed(value: &ScalarValue, to: &DataType) -> Option<ScalarValue> {
    if value.data_type() == *to {
        return Some(value.clone());
    }
    let narrow = value.cast_to(to).ok().filter(|narrow| !narrow.is_null())?;
    (narrow.cast_to(&value.data_type()).ok()? == *value).then_some(narrow)
}
