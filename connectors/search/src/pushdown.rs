//! What an index takes over from a query: conditions over its columns, each exact for every row or left local with a
//! reason.
//!
//! SQL has three truth values and an index has two, so each condition becomes two questions: for which rows it is true,
//! and for which it is false. The rest are those where it is NULL. `NOT` exchanges the two.

mod condition;
mod fragment;
pub(crate) mod value;

pub(crate) use condition::Condition;
pub(crate) use fragment::SearchFederation;

use crate::functions::MATCH;
use crate::language::{self, Searched};
use crate::layout::{Layout, Slot};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::expr::InList;
use datafusion_expr::{Between, BinaryExpr, Expr, Operator};
use polder_catalog::{Reason, ReasonCode};
use std::ops::Bound;
use std::sync::Arc;
use value::Value;

/// Where a condition is true, and where it is false.
struct Truth {
    yes: Condition,
    no: Condition,
}

impl Truth {
    fn not(self) -> Self {
        Self { yes: self.no, no: self.yes }
    }
}

/// The rows for which a filter is true; or why it stays local. One that [looks for a hash](Condition::is_hashed) is to be
/// checked again.
pub(crate) fn filter(filter: &Expr, layout: &Layout) -> Result<Condition, Reason> {
    let condition = truth(filter, layout)?.yes;
    match condition.can_be_checked() {
        true => Ok(condition),
        false => Err(semantics("the index has only the hash of a value so long, and cannot deny it")),
    }
}

fn truth(expr: &Expr, layout: &Layout) -> Result<Truth, Reason> {
    match expr {
        Expr::Alias(alias) => truth(&alias.expr, layout),
        Expr::Literal(ScalarValue::Boolean(value), _) => Ok(constant(*value)),
        Expr::Not(inner) => Ok(truth(inner, layout)?.not()),
        Expr::IsNull(inner) => Ok(is_null(column(inner, layout)?)),
        Expr::IsNotNull(inner) => Ok(is_null(column(inner, layout)?).not()),
        Expr::IsTrue(inner) => Ok(two_valued(truth(inner, layout)?.yes)),
        Expr::IsFalse(inner) => Ok(two_valued(truth(inner, layout)?.no)),
        Expr::IsNotTrue(inner) => Ok(two_valued(truth(inner, layout)?.yes).not()),
        Expr::IsNotFalse(inner) => Ok(two_valued(truth(inner, layout)?.no).not()),
        Expr::Column(_) => is_true(column(expr, layout)?),
        Expr::BinaryExpr(binary) => self::binary(binary, layout),
        Expr::Between(between) => self::between(between, layout),
        Expr::InList(list) => in_list(list, layout),
        Expr::ScalarFunction(call) if call.func.name() == MATCH => matching(&call.args, layout),
        Expr::ScalarFunction(call) => Err(lacks(format!("an index does not evaluate {}()", call.func.name()))),
        other => Err(lacks(format!("an index does not evaluate {other}"))),
    }
}

fn constant(value: Option<bool>) -> Truth {
    let is = |wanted| if value == Some(wanted) { Condition::All } else { Condition::Nothing };
    Truth { yes: is(true), no: is(false) }
}

fn two_valued(yes: Condition) -> Truth {
    Truth { no: yes.clone().not(), yes }
}

fn is_null(slot: &Slot) -> Truth {
    two_valued(Condition::Null(slot.into()))
}

/// A column of its own: it is true.
fn is_true(slot: &Slot) -> Result<Truth, Reason> {
    let is = |value| Ok(Condition::equal(slot, value::of(&ScalarValue::Boolean(Some(value)), slot)?));
    Ok(Truth { yes: is(true)?, no: is(false)? })
}

fn binary(binary: &BinaryExpr, layout: &Layout) -> Result<Truth, Reason> {
    let sides = |of: fn(Vec<Condition>) -> Condition, against: fn(Vec<Condition>) -> Condition| {
        let (left, right) = (truth(&binary.left, layout)?, truth(&binary.right, layout)?);
        Ok(Truth { yes: of(vec![left.yes, right.yes]), no: against(vec![left.no, right.no]) })
    };
    match binary.op {
        Operator::And => sides(Condition::and, Condition::or),
        Operator::Or => sides(Condition::or, Condition::and),
        operator => match (&*binary.left, &*binary.right) {
            (side, Expr::Literal(literal, _)) => comparison(column(side, layout)?, operator, literal),
            (Expr::Literal(literal, _), side) => {
                let operator = operator.swap().ok_or_else(|| lacks(format!("{operator} is not asked of an index")))?;
                comparison(column(side, layout)?, operator, literal)
            }
            _ => Err(lacks("an index compares a column with a constant only")),
        },
    }
}

fn comparison(slot: &Slot, operator: Operator, literal: &ScalarValue) -> Result<Truth, Reason> {
    if literal.is_null() {
        return match operator {
            Operator::IsDistinctFrom => Ok(is_null(slot).not()),
            Operator::IsNotDistinctFrom => Ok(is_null(slot)),
            _ => Ok(constant(None)),
        };
    }
    let value = || value::of(literal, slot);
    Ok(match operator {
        Operator::Eq => three_valued(slot, Condition::equal(slot, value()?)),
        Operator::NotEq => three_valued(slot, Condition::equal(slot, value()?)).not(),
        Operator::IsNotDistinctFrom => two_valued(Condition::equal(slot, value()?)),
        Operator::IsDistinctFrom => two_valued(Condition::equal(slot, value()?)).not(),
        Operator::Lt => range(slot, Bound::Unbounded, Bound::Excluded(value::bound(literal, slot)?)),
        Operator::LtEq => range(slot, Bound::Unbounded, Bound::Included(value::bound(literal, slot)?)),
        Operator::Gt => range(slot, Bound::Excluded(value::bound(literal, slot)?), Bound::Unbounded),
        Operator::GtEq => range(slot, Bound::Included(value::bound(literal, slot)?), Bound::Unbounded),
        other => return Err(lacks(format!("{other} is not asked of an index"))),
    })
}

/// False where it is not true and the column has a value.
fn three_valued(slot: &Slot, yes: Condition) -> Truth {
    let null = Condition::Null(slot.into());
    Truth { no: Condition::and(vec![yes.clone().not(), null.not()]), yes }
}

fn range(slot: &Slot, low: Bound<Value>, high: Bound<Value>) -> Truth {
    three_valued(slot, Condition::range(slot, low, high))
}

fn between(between: &Between, layout: &Layout) -> Result<Truth, Reason> {
    let slot = column(&between.expr, layout)?;
    let (Expr::Literal(low, _), Expr::Literal(high, _)) = (&*between.low, &*between.high) else {
        return Err(lacks("an index compares a column with a constant only"));
    };
    let (low, high) = (comparison(slot, Operator::GtEq, low)?, comparison(slot, Operator::LtEq, high)?);
    let inside = Truth { yes: Condition::and(vec![low.yes, high.yes]), no: Condition::or(vec![low.no, high.no]) };
    Ok(if between.negated { inside.not() } else { inside })
}

/// `IN`: true for one of the values; with a NULL among them, never false.
fn in_list(list: &InList, layout: &Layout) -> Result<Truth, Reason> {
    let slot = column(&list.expr, layout)?;
    let (mut values, mut has_null) = (Vec::with_capacity(list.list.len()), false);
    for item in &list.list {
        let Expr::Literal(literal, _) = item else { return Err(lacks("an index looks for constants only")) };
        if literal.is_null() {
            has_null = true;
        } else {
            values.push(value::of(literal, slot)?);
        }
    }
    let truth = three_valued(slot, Condition::one_of(slot, values));
    let truth = if has_null { Truth { no: Condition::Nothing, ..truth } } else { truth };
    Ok(if list.negated { truth.not() } else { truth })
}

fn matching(arguments: &[Expr], layout: &Layout) -> Result<Truth, Reason> {
    let Some((Expr::Literal(text, _), columns)) = arguments.split_last() else {
        return Err(lacks("the query of match() is no constant"));
    };
    let slots = columns.iter().map(|argument| column(argument, layout)).collect::<Result<Vec<_>, _>>()?;
    let Some(Some(text)) = text.try_as_str() else { return Ok(constant(None)) };
    let mut searched = Vec::with_capacity(slots.len());
    for slot in &slots {
        let Some((field, analyzer)) = &slot.words else {
            return Err(type_(format!("column \"{}\" is not searched", slot.field.name())));
        };
        searched.push(Searched { name: slot.field.name(), field: *field, analyzer });
    }
    let question = language::parse(text, &searched).map_err(|error| semantics(error.to_string()))?;
    let all_null = Condition::and(slots.iter().map(|slot| Condition::Null((*slot).into())).collect());
    let matches_empty = question.matches_empty;
    let asked = Condition::Match(Arc::new(question));
    let no = Condition::and(vec![asked.clone().not(), all_null.clone().not()]);
    let yes = if matches_empty { Condition::and(vec![asked, all_null.not()]) } else { asked };
    Ok(Truth { yes, no })
}

/// A plain column of the table.
pub(crate) fn column<'a>(expr: &Expr, layout: &'a Layout) -> Result<&'a Slot, Reason> {
    match expr {
        Expr::Column(column) => named(column, layout),
        Expr::Alias(alias) => column(&alias.expr, layout),
        Expr::Cast(_) | Expr::TryCast(_) => Err(type_(format!("{expr}: an index has a column only as it is"))),
        other => Err(lacks(format!("{other}: an index compares columns only"))),
    }
}

fn named<'a>(column: &Column, layout: &'a Layout) -> Result<&'a Slot, Reason> {
    if column.name == crate::SCORE {
        return Err(lacks("the score is known when a row has been found"));
    }
    let slot = layout.slots.iter().find(|slot| *slot.field.name() == column.name);
    slot.ok_or_else(|| Reason::new(ReasonCode::SeveralSources, format!("{column} is not a column of this table")))
}

/// The index has no such operation.
pub(crate) fn lacks(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::SourceLacks, text)
}

/// The index's semantics differ.
pub(crate) fn semantics(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Semantics, text)
}

/// The type has no exact counterpart.
pub(crate) fn type_(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Type, text)
}
