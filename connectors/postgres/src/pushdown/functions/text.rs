//! Functions of text. Both sides count characters (code points), not bytes.

use super::{take, unlisted};
use crate::pushdown::ast::{Expr, Literal, Operator, Type};
use crate::pushdown::reason;
use crate::pushdown::typed::{Collation, Kind, Typed};
use polder_catalog::Reason;

/// Positions and lengths beyond any text that either side can hold.
const LENGTH_MAX: i64 = 1_000_000_000;
/// PostgreSQL refuses texts of a gigabyte: what makes texts longer stays far below it.
const REPEAT_MAX: i64 = 16;
const PAD_MAX: i64 = 10_000;

pub(super) fn translate(name: &str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    match name {
        "character_length" => measure("length", arguments),
        "octet_length" => measure("octet_length", arguments),
        "bit_length" => measure("bit_length", arguments),
        "ascii" => measure("ascii", arguments),
        "strpos" => strpos(arguments),
        "contains" => contains(arguments),
        "starts_with" => starts_with(arguments),
        "ends_with" => ends_with(arguments),
        "btrim" => trim("btrim", arguments),
        "ltrim" => trim("ltrim", arguments),
        "rtrim" => trim("rtrim", arguments),
        "lpad" => pad("lpad", arguments),
        "rpad" => pad("rpad", arguments),
        "left" => side("left", arguments),
        "right" => side("right", arguments),
        "reverse" => of_one("reverse", arguments),
        "md5" => of_one("md5", arguments),
        "replace" => replace(arguments),
        "repeat" => repeat(arguments),
        "substr" => substr(arguments),
        "split_part" => split_part(arguments),
        "concat" => concat(arguments),
        _ => Err(unlisted(name)),
    }
}

/// `left || right`.
pub(crate) fn concat_operator(left: Typed, right: Typed) -> Result<Typed, Reason> {
    let data_type = if left.kind == Kind::Null { right.data_type.clone() } else { left.data_type.clone() };
    let (left, one) = left.into_text()?;
    let (right, other) = right.into_text()?;
    // A varchar is a text by name, so that `||` cannot mean the concatenation of anything else.
    let joined = left.cast(Type::Text).binary(Operator::Concat, right);
    Ok(Typed::new(joined, data_type, Kind::Text(one.merged(other))))
}

/// NULLs are passed over, and the result is never NULL.
fn concat(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let data_type = arguments.first().map(|first| first.data_type.clone()).ok_or_else(|| unlisted("concat"))?;
    let mut collation = Collation::Constant;
    let mut texts = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let (text, own) = argument.into_text()?;
        collation = collation.merged(own);
        // Without the cast a char(n) would be printed with its blanks; ours have theirs by now.
        texts.push(text.cast(Type::Text));
    }
    Ok(Typed::new(Expr::call("concat", texts), data_type, Kind::Text(collation)))
}

/// A number that does not depend on a collation.
fn measure(function: &'static str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text] = take(function, arguments)?;
    Ok(Typed::int4(Expr::call(function, vec![text.into_text()?.0])))
}

/// The first argument under `COLLATE "C"`: functions that search refuse texts of two collations.
fn searched(text: Typed) -> Result<Expr, Reason> {
    let (expr, collation) = text.into_text()?;
    Ok(if collation == Collation::C { expr } else { expr.collate_c() })
}

fn strpos(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text, part] = take("strpos", arguments)?;
    Ok(Typed::int4(Expr::call("strpos", vec![searched(text)?, part.into_text()?.0])))
}

fn contains(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let position = strpos(arguments)?;
    Ok(Typed::boolean(position.expr.binary(Operator::Gt, Expr::Literal(Literal::Integer(0)))))
}

fn starts_with(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text, prefix] = take("starts_with", arguments)?;
    Ok(Typed::boolean(Expr::call("starts_with", vec![searched(text)?, prefix.into_text()?.0])))
}

fn ends_with(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text, suffix] = take("ends_with", arguments)?;
    let suffix = suffix.into_text()?.0;
    let end = Expr::call("right", vec![searched(text)?, Expr::call("length", vec![suffix.clone()])]);
    Ok(Typed::boolean(end.binary(Operator::Eq, suffix)))
}

/// The second argument is a set of characters; without it, blanks only.
fn trim(function: &'static str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let mut arguments = arguments.into_iter();
    let text = arguments.next().ok_or_else(|| unlisted(function))?;
    let data_type = text.data_type.clone();
    let mut translated = vec![searched(text)?];
    for set in arguments {
        translated.push(set.into_text()?.0);
    }
    if translated.len() > 2 {
        return Err(unlisted(function));
    }
    Ok(Typed::new(Expr::call(function, translated), data_type, Kind::Text(Collation::C)))
}

fn pad(function: &'static str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let mut arguments = arguments.into_iter();
    let (Some(text), Some(length)) = (arguments.next(), arguments.next()) else { return Err(unlisted(function)) };
    let length = constant(function, &length, 0, PAD_MAX)?;
    let data_type = text.data_type.clone();
    let mut translated = vec![searched(text)?, length];
    if let Some(fill) = arguments.next() {
        translated.push(fill.into_text()?.0);
    }
    Ok(Typed::new(Expr::call(function, translated), data_type, Kind::Text(Collation::C)))
}

/// Negative counts leave out so many characters of the other side.
fn side(function: &'static str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text, count] = take(function, arguments)?;
    let count = constant(function, &count, -LENGTH_MAX, LENGTH_MAX)?;
    with_text(text, |text| Expr::call(function, vec![text, count]))
}

fn of_one(function: &'static str, arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text] = take(function, arguments)?;
    with_text(text, |text| Expr::call(function, vec![text]))
}

fn repeat(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text, count] = take("repeat", arguments)?;
    let count = constant("repeat", &count, -LENGTH_MAX, REPEAT_MAX)?;
    with_text(text, |text| Expr::call("repeat", vec![text, count]))
}

/// An empty text to replace is left alone there, and found between all characters here.
fn replace(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text, from, to] = take("replace", arguments)?;
    if from.text().is_none_or(str::is_empty) {
        return Err(reason::semantics("replace() of a text that may be empty"));
    }
    let data_type = text.data_type.clone();
    let call = Expr::call("replace", vec![searched(text)?, from.expr, to.into_text()?.0]);
    Ok(Typed::new(call, data_type, Kind::Text(Collation::C)))
}

/// A negative length is an error, so the bounds are constants.
fn substr(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let mut arguments = arguments.into_iter();
    let (Some(text), Some(start)) = (arguments.next(), arguments.next()) else { return Err(unlisted("substr")) };
    let mut bounds = vec![constant("substr", &start, -LENGTH_MAX, LENGTH_MAX)?];
    if let Some(length) = arguments.next() {
        bounds.push(constant("substr", &length, 0, LENGTH_MAX)?);
    }
    with_text(text, |text| Expr::call("substr", std::iter::once(text).chain(bounds).collect()))
}

fn split_part(arguments: Vec<Typed>) -> Result<Typed, Reason> {
    let [text, delimiter, field] = take("split_part", arguments)?;
    // Fields from the end came with version 14; zero is an error.
    let field = constant("split_part", &field, 1, LENGTH_MAX)?;
    let data_type = text.data_type.clone();
    let call = Expr::call("split_part", vec![searched(text)?, delimiter.into_text()?.0, field]);
    Ok(Typed::new(call, data_type, Kind::Text(Collation::C)))
}

/// A text that keeps the collation of the text it is made of.
fn with_text(text: Typed, make: impl FnOnce(Expr) -> Expr) -> Result<Typed, Reason> {
    let data_type = text.data_type.clone();
    let (expr, collation) = text.into_text()?;
    Ok(Typed::new(make(expr), data_type, Kind::Text(collation)))
}

/// An integer constant between these, as an `int4`.
fn constant(function: &str, value: &Typed, min: i64, max: i64) -> Result<Expr, Reason> {
    match value.integer() {
        Some(number) if (min..=max).contains(&number) => Ok(Expr::Literal(Literal::Integer(number))),
        Some(number) => Err(reason::semantics(format!("{function}() with {number} may fail"))),
        None => Err(reason::semantics(format!("{function}() with a number that is not constant may fail"))),
    }
}
