//! The functions that mean the same on both sides, by DataFusion's name. [`NAMES`] is the whole list.
//!
//! Left out on purpose: `lower`, `upper`, `initcap` and ILIKE fold case by the source's locale; `round` breaks ties
//! another way; `sqrt`, `ln`, `power` and their kind raise errors where IEEE 754 gives NaN; `translate` works on
//! grapheme clusters here and on characters there; `to_char` has another language of patterns.

mod text;
mod time;

use super::ast::{Expr, Operator};
use super::expr::one_kind;
use super::typed::{Bounds, Collation, Kind, Typed, pg_type};
use super::{compare, reason};
use arrow::datatypes::DataType;
use polder_catalog::Reason;

pub(crate) use text::concat_operator;

/// Every function that is ever pushed. A test compares it with what the generated queries covered.
pub(crate) const NAMES: &[&str] = &[
    "abs",
    "ascii",
    "bit_length",
    "btrim",
    "ceil",
    "character_length",
    "coalesce",
    "concat",
    "contains",
    "date_part",
    "date_trunc",
    "ends_with",
    "floor",
    "greatest",
    "isnan",
    "iszero",
    "least",
    "left",
    "lpad",
    "ltrim",
    "md5",
    "nullif",
    "nvl",
    "octet_length",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "trunc",
];

/// A call of DataFusion's function `name`.
pub(crate) fn translate(name: &str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    if !NAMES.contains(&name) {
        return Err(unlisted(name));
    }
    match name {
        "coalesce" | "nvl" => coalesce(arguments),
        "nullif" => nullif(arguments),
        "greatest" | "least" => extreme(name, arguments),
        "abs" => abs(arguments),
        "ceil" => rounded("ceil", arguments),
        "floor" => rounded("floor", arguments),
        "trunc" => rounded("trunc", arguments),
        "isnan" => float_test("NaN", arguments),
        "iszero" => float_test("0", arguments),
        "date_part" => time::date_part(arguments),
        "date_trunc" => time::date_trunc(arguments),
        _ => text::translate(name, arguments),
    }
}

/// Not on the list, with the reason for those that people expect there.
fn unlisted(name: &str) -> Reason {
    match name {
        "lower" | "upper" | "initcap" => reason::collation(format!("{name}() folds case by the source's locale")),
        _ => reason::semantics(format!("{name}() is not known to mean the same")),
    }
}

/// Exactly so many arguments.
fn take<const N: usize>(name: &str, arguments: Vec<Typed>) -> Result<[Typed; N], Reason> {
    arguments.try_into().map_err(|_| reason::semantics(format!("{name}() with other arguments than expected")))
}

fn coalesce(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let (kind, data_type, arguments) = one_kind(arguments)?;
    Ok(Typed::new(Expr::call("coalesce", arguments), data_type, kind))
}

/// As a CASE, so that the comparison is ours.
fn nullif(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [value, other] = take("nullif", arguments)?;
    if value.kind == Kind::Float {
        return Err(reason::semantics("nullif() of floats may tell 0 from -0 here, and not there"));
    }
    if matches!(value.kind, Kind::Null | Kind::Opaque) {
        return Err(reason::type_("nullif() of a value without a type"));
    }
    let (data_type, kind) = (value.data_type.clone(), value.kind);
    let equal = compare::translate(value.clone(), Operator::Eq, other)?;
    let keep = Expr::Not(Box::new(equal.is(super::ast::Test::True)));
    Ok(Typed::new(Expr::Case { operand: None, branches: vec![(keep, value.expr)], otherwise: None }, data_type, kind))
}

/// NULLs are passed over on both sides. Floats stay local: of 0 and -0 either may come out.
fn extreme(name: &str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let (kind, data_type, mut arguments) = one_kind(arguments)?;
    let kind = match kind {
        Kind::Integer(_) | Kind::Decimal | Kind::Date | Kind::Time | Kind::Timestamp | Kind::Timestamptz => kind,
        Kind::Text(_) => {
            arguments = arguments.into_iter().map(Expr::collate_c).collect();
            Kind::Text(Collation::C)
        }
        _ => return Err(reason::semantics(format!("{name}() of {data_type} is not known to mean the same"))),
    };
    let function = if name == "least" { "least" } else { "greatest" };
    Ok(Typed::new(Expr::call(function, arguments), data_type, kind))
}

fn abs(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [value] = take("abs", arguments)?;
    let kind = match value.kind {
        Kind::Integer(bounds) => Kind::Integer(abs_bounds(bounds, &value.data_type)?),
        Kind::Decimal | Kind::Float => value.kind,
        _ => return Err(unlisted("abs")),
    };
    Ok(Typed::new(Expr::call("abs", vec![value.expr]), value.data_type, kind))
}

fn abs_bounds(bounds: Bounds, data_type: &DataType) -> Result<Bounds, Reason> {
    let max = bounds.min.abs().max(bounds.max.abs());
    let min = if bounds.min <= 0 && bounds.max >= 0 { 0 } else { bounds.min.abs().min(bounds.max.abs()) };
    let whole = Bounds::of(data_type).ok_or_else(|| unlisted("abs"))?;
    if max > whole.max {
        return Err(reason::semantics("the smallest integer has no absolute value"));
    }
    Ok(Bounds { min, max })
}

/// Rounding of floats to whole numbers, which IEEE 754 leaves no choice in. PostgreSQL computes it in `float8`.
fn rounded(name: &'static str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [value] = take(name, arguments)?;
    let to = pg_type(&value.data_type).filter(|_| value.kind == Kind::Float).ok_or_else(|| unlisted(name))?;
    let whole = Expr::call(name, vec![value.expr]).cast(to);
    Ok(Typed::new(whole, value.data_type, Kind::Float))
}

fn float_test(constant: &str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [value] = take("isnan", arguments)?;
    let to = pg_type(&value.data_type).filter(|_| value.kind == Kind::Float).ok_or_else(|| unlisted("isnan"))?;
    Ok(Typed::boolean(value.expr.binary(Operator::Eq, Expr::typed(constant, to))))
}
