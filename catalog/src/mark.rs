//! Marks: Arrow field metadata that says what a column is beyond its Arrow type.
//!
//! A source's type that Arrow has not arrives as text, exactly as the source prints it, and is marked. The planner
//! reads the mark and never compares, orders, groups or joins such a column as plain text: an `inet` is not its text.

use arrow::datatypes::Field;
use std::collections::HashMap;

/// Metadata key: the source's name of the type (`inet`, `jsonb`, `mood`).
pub const TYPE: &str = "polder.type";

/// Metadata key: what the text may be used for without asking the source, a [`Comparison`].
pub const COMPARISON: &str = "polder.comparison";

/// Metadata key of Arrow's canonical extension types.
pub const EXTENSION: &str = "ARROW:extension:name";

/// Arrow's canonical UUID, stored as `FixedSizeBinary(16)`.
pub const UUID: &str = "arrow.uuid";

/// Arrow's canonical JSON, stored as text.
pub const JSON: &str = "arrow.json";

/// Metadata key: whether `SELECT *` leaves the column out. A hidden column is the last of a provider's schema, and read
/// when it is named.
pub const HIDDEN: &str = "polder.hidden";

/// What two marked texts tell about the values behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal texts are equal values and unequal texts unequal ones, but their order differs: an enum's label.
    Equality,
    /// Neither equality nor order of the texts is that of the values: `jsonb`, `inet`, a range.
    None,
}

impl Comparison {
    fn as_str(self) -> &'static str {
        match self {
            Self::Equality => "equality",
            Self::None => "none",
        }
    }
}

/// Marks a text field with the source's type.
pub fn marked(field: Field, native_type: &str, comparison: Comparison) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(TYPE.to_string(), native_type.to_string());
    metadata.insert(COMPARISON.to_string(), comparison.as_str().to_string());
    field.with_metadata(metadata)
}

/// The source's type of a marked field, and what its text may be used for; `None` for an ordinary field.
pub fn of(metadata: &HashMap<String, String>) -> Option<(&str, Comparison)> {
    let native_type = metadata.get(TYPE)?;
    let comparison = match metadata.get(COMPARISON).map(String::as_str) {
        Some("equality") => Comparison::Equality,
        _ => Comparison::None,
    };
    Some((native_type, comparison))
}

/// Whether a field is Arrow's canonical UUID.
pub fn is_uuid(metadata: &HashMap<String, String>) -> bool {
    metadata.get(EXTENSION).is_some_and(|name| name == UUID)
}

/// Marks a field as one that `SELECT *` leaves out.
pub fn hidden(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(HIDDEN.to_string(), "true".to_string());
    field.with_metadata(metadata)
}

/// Whether `SELECT *` leaves the field out.
pub fn is_hidden(metadata: &HashMap<String, String>) -> bool {
    metadata.get(HIDDEN).is_some_and(|value| value == "true")
}
