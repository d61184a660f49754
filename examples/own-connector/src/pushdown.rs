//! Which filters are evaluated while lines are read, before a row is decoded: comparisons of a column with a constant.
//!
//! Each is `Exact`: integers compare as integers, text compares by its UTF-8 bytes, and NULL fails every comparison, as
//! with DataFusion. Everything else is declared `Inexact` and evaluated above, so that the scan can say why.

use crate::row;
use arrow::datatypes::{DataType, Schema};
use datafusion_common::ScalarValue;
use datafusion_expr::{BinaryExpr, Expr, Operator};
use polder_catalog::{Reason, ReasonCode, mark};
use std::cmp::Ordering;

/// A filter on one column.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// Place of the column in the table.
    pub(crate) column: usize,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    IsNull,
    IsNotNull,
    Integer(Comparison, i64),
    Text(Comparison, String),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// # Errors
    /// Why the filter is not taken over.
    pub(crate) fn of(filter: &Expr, columns: &Schema) -> Result<Self, Reason> {
        let found = match filter {
            Expr::IsNull(operand) => place(operand, columns).map(|column| Self { column, test: Test::IsNull }),
            Expr::IsNotNull(operand) => place(operand, columns).map(|column| Self { column, test: Test::IsNotNull }),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => comparison(left, *op, right, columns),
            _ => None,
        };
        let lacks = "a dump is filtered by comparing an integer or text column with a constant, and by IS NULL";
        found.ok_or_else(|| Reason::new(ReasonCode::SourceLacks, lacks))
    }

    /// Whether a field of a line passes.
    pub(crate) fn holds(&self, field: &[u8]) -> Result<bool, String> {
        let value = row::value(field)?;
        Ok(match (&self.test, value) {
            (Test::IsNull, value) => value.is_none(),
            (Test::IsNotNull, value) => value.is_some(),
            (_, None) => false,
            (Test::Integer(comparison, constant), Some(text)) => comparison.holds(row::integer(&text)?.cmp(constant)),
            (Test::Text(comparison, constant), Some(text)) => comparison.holds((*text).cmp(constant)),
        })
    }
}

fn comparison(left: &Expr, operator: Operator, right: &Expr, columns: &Schema) -> Option<Condition> {
    let comparison = Comparison::of(operator)?;
    let column = place(left, columns)?;
    let field = columns.field(column);
    let Expr::Literal(constant, _) = right else { return None };
    let test = match (field.data_type(), constant) {
        (DataType::Int64, ScalarValue::Int64(Some(constant))) => Test::Integer(comparison, *constant),
        // Text that stands for another type does not compare as text.
        (DataType::Utf8, ScalarValue::Utf8(Some(constant))) if mark::of(field.metadata()).is_none() => {
            Test::Text(comparison, constant.clone())
        }
        _ => return None,
    };
    Some(Condition { column, test })
}

fn place(operand: &Expr, columns: &Schema) -> Option<usize> {
    let Expr::Column(column) = operand else { return None };
    columns.index_of(&column.name).ok()
}

impl Comparison {
    fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Eq => Self::Equal,
            Operator::NotEq => Self::NotEqual,
            Operator::Lt => Self::Less,
            Operator::LtEq => Self::LessOrEqual,
            Operator::Gt => Self::Greater,
            Operator::GtEq => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
