//! Why something stays local, by code.

use polder_catalog::{Reason, ReasonCode};

/// PostgreSQL's semantics differ, or are not proven equal.
pub(crate) fn semantics(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Semantics, text)
}

/// The result depends on the source's collation.
pub(crate) fn collation(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Collation, text)
}

/// The type has no exact counterpart.
pub(crate) fn type_(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Type, text)
}

/// The source has no such operation.
pub(crate) fn lacks(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::SourceLacks, text)
}

/// It would move more rows than it saves.
pub(crate) fn cost(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::Cost, text)
}
