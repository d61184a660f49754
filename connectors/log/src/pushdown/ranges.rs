//! Sets of numbers as ranges, and the expressions that are such sets.

use datafusion_common::ScalarValue;
use datafusion_expr::expr::InList;
use datafusion_expr::{Between, BinaryExpr, Expr, Operator};
use std::fmt;
use std::ops::Range;

/// Ranges in order that do not touch. Wider than the numbers they are about, so that no bound overflows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range<i128>>);

const LEAST: i128 = i128::MIN;
const BEYOND: i128 = i128::MAX;

impl Ranges {
    /// Every number.
    pub(crate) fn all() -> Self {
        Self::one(LEAST..BEYOND)
    }

    pub(crate) fn one(range: Range<i128>) -> Self {
        Self(if range.is_empty() { Vec::new() } else { vec![range] })
    }

    /// Whether every number is in them.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::all()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range<i128>> {
        self.0.iter()
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        let both =
            self.0.iter().flat_map(|one| other.0.iter().map(|two| one.start.max(two.start)..one.end.min(two.end)));
        Self::merged(both.collect())
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        Self::merged([&self.0[..], &other.0[..]].concat())
    }

    pub(crate) fn not(&self) -> Self {
        let starts = std::iter::once(LEAST).chain(self.0.iter().map(|range| range.end));
        let ends = self.0.iter().map(|range| range.start).chain([BEYOND]);
        Self::merged(starts.zip(ends).map(|(start, end)| start..end).collect())
    }

    fn merged(mut ranges: Vec<Range<i128>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<i128>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The parts of `of` that are in them.
    pub(crate) fn within(&self, of: Range<u64>) -> Vec<Range<u64>> {
        let (start, end) = (i128::from(of.start), i128::from(of.end));
        let clipped = self.0.iter().map(|range| range.start.clamp(start, end)..range.end.clamp(start, end));
        // Between two numbers of 64 bits there is no wider one.
        clipped.filter(|range| !range.is_empty()).map(|range| range.start as u64..range.end as u64).collect()
    }
}

/// `[2, 5) or [9, ...)`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, range) in self.0.iter().enumerate() {
            let bound =
                |bound: i128| if bound == LEAST || bound == BEYOND { "...".to_string() } else { bound.to_string() };
            let or = if at > 0 { " or " } else { "" };
            write!(f, "{or}[{}, {})", bound(range.start), bound(range.end))?;
        }
        Ok(())
    }
}

/// The numbers of a column, which is never NULL, for which the filter is true. `read` reads a constant of the column's type.
pub(super) fn of(filter: &Expr, read: &dyn Fn(&ScalarValue) -> Option<i128>) -> Option<Ranges> {
    let constant = |expr: &Expr| match expr {
        Expr::Literal(value, _) => read(value),
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => Some(of(left, read)?.and(&of(right, read)?)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => Some(of(left, read)?.or(&of(right, read)?)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(_), right) => comparison(*op, constant(right)?),
            (left, Expr::Column(_)) => comparison(op.swap()?, constant(left)?),
            _ => None,
        },
        Expr::Not(inner) => Some(of(inner, read)?.not()),
        Expr::Between(Between { expr, negated, low, high }) if matches!(**expr, Expr::Column(_)) => {
            let within = Ranges::one(constant(low)?..constant(high)?.checked_add(1)?);
            Some(if *negated { within.not() } else { within })
        }
        Expr::InList(InList { expr, list, negated }) if matches!(**expr, Expr::Column(_)) => {
            let values = list.iter().map(constant).collect::<Option<Vec<_>>>()?;
            let among = Ranges::merged(values.into_iter().map(|value| value..value + 1).collect());
            Some(if *negated { among.not() } else { among })
        }
        _ => None,
    }
}

fn comparison(operator: Operator, value: i128) -> Option<Ranges> {
    let equal = Ranges::one(value..value + 1);
    Some(match operator {
        Operator::Eq | Operator::IsNotDistinctFrom => equal,
        Operator::NotEq | Operator::IsDistinctFrom => equal.not(),
        Operator::Lt => Ranges::one(LEAST..value),
        Operator::LtEq => Ranges::one(LEAST..value + 1),
        Operator::Gt => Ranges::one(value + 1..BEYOND),
        Operator::GtEq => Ranges::one(value..BEYOND),
        _ => return None,
    })
}
