//! Options that describe themselves: one table per connector gives validation, completion and documentation.

use crate::{Error, Result, Secret, SqlState};
use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A whole number within these bounds, both included.
    Integer(i64, i64),
    /// `true` or `false`, also `on`, `off`, `yes`, `no`.
    Boolean,
    /// A number with a unit: `500ms`, `30s`, `5m`, `1h`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A reference to a secret: `env:NAME` or `file:PATH`.
    Secret,
}

/// One option of a connector.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// The name in `WITH (name = 'value')`, lower case.
    pub name: &'static str,
    /// What the value may be.
    pub kind: OptionKind,
    /// The value if the option is not given.
    pub default: Option<&'static str>,
    /// Whether the option must be given.
    pub required: bool,
    /// One or two sentences for the reference.
    pub doc: &'static str,
}

impl OptionSpec {
    /// An option that may be left out.
    pub const fn new(name: &'static str, kind: OptionKind, doc: &'static str) -> Self {
        Self { name, kind, default: None, required: false, doc }
    }

    /// The same option with a default value, written as a user would.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// The same option, which must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// How the reference and error messages name the type.
    pub fn type_name(&self) -> String {
        match self.kind {
            OptionKind::Text => "text".to_string(),
            OptionKind::Integer(low, high) => format!("integer {low} to {high}"),
            OptionKind::Boolean => "boolean".to_string(),
            OptionKind::Duration => "duration".to_string(),
            OptionKind::Choice(words) => words.join(" | "),
            OptionKind::Secret => "secret".to_string(),
        }
    }

    fn check(&self, value: &str) -> Result<()> {
        let fits = match self.kind {
            OptionKind::Text => true,
            OptionKind::Integer(low, high) => value.parse().is_ok_and(|n: i64| (low..=high).contains(&n)),
            OptionKind::Boolean => parse_boolean(value).is_some(),
            OptionKind::Duration => parse_duration(value).is_some(),
            OptionKind::Choice(words) => words.contains(&value),
            OptionKind::Secret => return Secret::parse(self.name, value).map(|_| ()),
        };
        if fits {
            return Ok(());
        }
        Err(Error::fix(SqlState::PARAMETER, format!("option \"{}\" cannot be '{value}'", self.name))
            .with_hint(format!("it takes {}", self.type_name())))
    }
}

/// The validated options of one catalog: every name is known, every value fits, defaults are filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    given: BTreeMap<String, String>,
    defaults: BTreeMap<&'static str, &'static str>,
}

impl Options {
    /// Checks what a user gave against the connector's table.
    ///
    /// # Errors
    /// 22023 with a hint, for an unknown or repeated name, a missing or unfit value, a secret in plain text.
    pub fn validate(specs: &[OptionSpec], given: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in given {
            let spec = specs.iter().find(|spec| spec.name == name).ok_or_else(|| unknown(specs, &name))?;
            spec.check(&value)?;
            if options.given.insert(name.clone(), value).is_some() {
                return Err(Error::fix(SqlState::PARAMETER, format!("option \"{name}\" is given twice")));
            }
        }
        for spec in specs {
            if let Some(default) = spec.default {
                options.defaults.insert(spec.name, default);
            } else if spec.required && !options.given.contains_key(spec.name) {
                return Err(Error::fix(SqlState::PARAMETER, format!("option \"{}\" is missing", spec.name))
                    .with_hint(format!("{}: {}", spec.name, spec.doc)));
            }
        }
        Ok(options)
    }

    /// What the user gave, in the order of names. Secrets are references here, so this may be printed and persisted.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value given, or the default.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str).or_else(|| self.defaults.get(name).copied())
    }

    /// An integer option.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// A boolean option; `false` if it was not given and has no default.
    pub fn boolean(&self, name: &str) -> bool {
        self.text(name).and_then(parse_boolean).unwrap_or(false)
    }

    /// A duration option.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(parse_duration)
    }

    /// A secret option: where the secret is, to be read at each connect.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).and_then(|text| Secret::parse(name, text).ok())
    }
}

fn unknown(specs: &[OptionSpec], name: &str) -> Error {
    let error = Error::fix(SqlState::PARAMETER, format!("option \"{name}\" does not exist"));
    let near = specs.iter().map(|spec| spec.name).min_by_key(|known| distance(known, name));
    match near {
        Some(near) if distance(near, name) <= 2 => error.with_hint(format!("did you mean \"{near}\"?")),
        _ => {
            let names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
            error.with_hint(format!("the options are: {}", names.join(", ")))
        }
    }
}

/// Levenshtein's distance, for names of a few letters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit.trim() {
        "ms" => number,
        "s" | "seconds" => number.checked_mul(1_000)?,
        "m" | "min" | "minutes" => number.checked_mul(60_000)?,
        "h" | "hours" => number.checked_mul(3_600_000)?,
        "d" | "day" | "days" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(milliseconds))
}
