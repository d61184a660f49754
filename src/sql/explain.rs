//! How a query is to be explained, as PostgreSQL spells it.

use datafusion::sql::sqlparser::ast::{Expr, UtilityOption, Value};
use polder_catalog::{Error, Result, SqlState};

/// What stands between EXPLAIN and the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explaining {
    /// The query runs to its end, and the plan says what each operator did.
    pub(crate) analyze: bool,
    /// Operators that only move batches are shown, too.
    pub(crate) verbose: bool,
    /// One JSON document instead of lines.
    pub(crate) json: bool,
}

/// What clients of PostgreSQL ask for beside the plan. Here it is shown whenever it is known.
const ALWAYS: [&str; 8] = ["costs", "timing", "summary", "buffers", "settings", "wal", "memory", "generic_plan"];

impl Explaining {
    /// The options in parentheses.
    ///
    /// # Errors
    /// 42601 for an option that PostgreSQL does not have, 22023 for a value that it does not take.
    pub(super) fn of_options(options: &[UtilityOption]) -> Result<Self> {
        let mut how = Self::default();
        for UtilityOption { name, arg } in options {
            match name.value.to_lowercase().as_str() {
                "analyze" => how.analyze = flag(&name.value, arg.as_ref())?,
                "verbose" => how.verbose = flag(&name.value, arg.as_ref())?,
                "format" => how.json = is_json(&arg.as_ref().map(word).unwrap_or_default())?,
                known if ALWAYS.contains(&known) => drop(flag(known, arg.as_ref())?),
                unknown => {
                    let message = format!("EXPLAIN has no option \"{unknown}\"");
                    return Err(
                        Error::fix(SqlState::SYNTAX, message).with_hint("ANALYZE, VERBOSE and FORMAT are known")
                    );
                }
            }
        }
        Ok(how)
    }
}

/// # Errors
/// 22023 for a format that is neither text nor JSON.
pub(super) fn is_json(format: &str) -> Result<bool> {
    match format.to_lowercase().as_str() {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err(Error::fix(SqlState::PARAMETER, format!("EXPLAIN has no format \"{format}\""))
            .with_hint("write FORMAT TEXT or FORMAT JSON")),
    }
}

/// PostgreSQL's booleans; an option without a value is on.
fn flag(name: &str, value: Option<&Expr>) -> Result<bool> {
    match value.map(word).as_deref().unwrap_or("on").to_lowercase().as_str() {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        other => Err(Error::fix(SqlState::PARAMETER, format!("{name} is on or off, not \"{other}\""))),
    }
}

fn word(value: &Expr) -> String {
    match value {
        Expr::Identifier(name) => name.value.clone(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}
