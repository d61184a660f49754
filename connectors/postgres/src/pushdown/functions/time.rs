//! Functions of dates and timestamps. Sessions are in UTC, as Arrow's timestamps are.

use super::{take, unlisted};
use crate::pushdown::ast::{Expr, Literal, Operator, Type};
use crate::pushdown::reason;
use crate::pushdown::typed::{Bounds, Kind, Typed};
use arrow::datatypes::DataType;
use polder_catalog::Reason;

/// The day after the last that the local calendar (chrono's) knows: what lies beyond has no parts here.
const CALENDAR_END: &str = "262143-01-01";

/// `date_part('field', value)`: whole numbers of the calendar.
pub(super) fn date_part(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [field, value] = take("date_part", arguments)?;
    let field = field.text().ok_or_else(|| reason::semantics("date_part() of a field that is not constant"))?;
    let to = match value.kind {
        Kind::Date => Type::Date,
        Kind::Timestamp => Type::Timestamp,
        Kind::Timestamptz => Type::Timestamptz,
        _ => return Err(unlisted("date_part")),
    };
    let of_day = to != Type::Date;
    let extract = |field: &'static str| Expr::Extract { field, operand: Box::new(value.expr.clone()) };
    let (part, bounds) = match field.to_ascii_lowercase().as_str() {
        "year" => (year(extract("year")), Bounds::INT4),
        "quarter" => (extract("quarter").cast(Type::Int4), Bounds { min: 1, max: 4 }),
        "month" => (extract("month").cast(Type::Int4), Bounds { min: 1, max: 12 }),
        "week" => (extract("week").cast(Type::Int4), Bounds { min: 1, max: 53 }),
        "day" => (extract("day").cast(Type::Int4), Bounds { min: 1, max: 31 }),
        "doy" => (extract("doy").cast(Type::Int4), Bounds { min: 1, max: 366 }),
        "dow" => (extract("dow").cast(Type::Int4), Bounds { min: 0, max: 6 }),
        "isodow" => (extract("isodow").cast(Type::Int4), Bounds { min: 1, max: 7 }),
        "hour" if of_day => (extract("hour").cast(Type::Int4), Bounds { min: 0, max: 23 }),
        "minute" if of_day => (extract("minute").cast(Type::Int4), Bounds { min: 0, max: 59 }),
        // A cast would round.
        "second" if of_day => {
            (Expr::call("floor", vec![extract("second")]).cast(Type::Int4), Bounds { min: 0, max: 59 })
        }
        _ => return Err(reason::semantics(format!("date_part('{field}', ...) is not known to mean the same"))),
    };
    let known = value.expr.clone().binary(Operator::Lt, Expr::typed(calendar_end(&to), to));
    let guarded = Expr::Case { operand: None, branches: vec![(known, part)], otherwise: None };
    Ok(Typed::new(guarded, DataType::Int32, Kind::Integer(bounds)))
}

fn calendar_end(to: &Type) -> String {
    match to {
        Type::Timestamptz => format!("{CALENDAR_END} 00:00:00+00"),
        _ => CALENDAR_END.to_string(),
    }
}

/// PostgreSQL has no year 0: the year before 1 is -1 there and 0 here.
fn year(extracted: Expr) -> Expr {
    let integer = |value| Expr::Literal(Literal::Integer(value));
    let year = extracted.cast(Type::Int4);
    let before_christ = year.clone().binary(Operator::Lt, integer(0));
    let shifted = year.clone().binary(Operator::Plus, integer(1));
    Expr::Case { operand: None, branches: vec![(before_christ, shifted)], otherwise: Some(Box::new(year)) }
}

/// `date_trunc('field', value)`.
///
/// PostgreSQL's calendar begins on 4714-11-24 BC, a Monday, so weeks and anything shorter always begin within it. A
/// month, quarter or year that begins before it exists here only; the value of its last five weeks is an error there.
pub(super) fn date_trunc(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [field, value] = take("date_trunc", arguments)?;
    let name = field.text().map(str::to_ascii_lowercase);
    let name = name.ok_or_else(|| reason::semantics("date_trunc() to a field that is not constant"))?;
    let listed = ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond"];
    let Some(known) = listed.into_iter().find(|listed| *listed == name) else {
        return Err(reason::semantics(format!("date_trunc('{name}', ...) is not known to mean the same")));
    };
    if !matches!(value.kind, Kind::Timestamp | Kind::Timestamptz) {
        return Err(unlisted("date_trunc"));
    }
    let field = Expr::typed(if known == "millisecond" { "milliseconds" } else { known }, Type::Text);
    Ok(Typed::new(Expr::call("date_trunc", vec![field, value.expr]), value.data_type, value.kind))
}
