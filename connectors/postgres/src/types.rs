//! PostgreSQL's types and how each reaches Arrow.
//!
//! A [`PgType`] is a type as the server describes it. A [`Reading`] says how its values travel: what the SELECT list
//! says ([`Selection`]), what the bytes mean ([`Wire`]) and what Arrow field comes out. A type that Arrow has is read
//! as it, exactly; any other is selected as text and marked with its name, so that the planner never takes the text
//! for the value.

mod builtin;
pub(crate) mod nan;
mod reading;

pub(crate) use builtin::Base;
pub(crate) use reading::{Reading, ReadingRules, Selection, Unrepresentable, Wire};

use std::sync::Arc;

/// A resolved type of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PgType {
    pub(crate) oid: u32,
    /// The schema of the type's name.
    pub(crate) schema: String,
    /// The name in `pg_type`: `int4`, `mood`, `_int4`.
    pub(crate) name: String,
    pub(crate) kind: PgKind,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PgKind {
    /// A built-in type whose binary form we read.
    Base(Base),
    /// An array; elements have the array's type modifier.
    Array(Arc<PgType>),
    /// An enum: equal labels are equal values, their order is the declared one.
    Enum,
    /// A domain, and the type modifier that it puts on its base.
    Domain(Arc<PgType>, i32),
    /// A row type, in the order of its attributes.
    Composite(Vec<PgAttribute>),
    /// Every other type, built in (`inet`, `int4range`, `jsonb`) or from an extension: read as text.
    Other,
}

/// One attribute of a row type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PgAttribute {
    pub(crate) name: String,
    pub(crate) pg_type: Arc<PgType>,
    pub(crate) typmod: i32,
}

impl PgType {
    /// The type below all domains, with the modifier that applies there. Domains look through to their base on the wire.
    pub(crate) fn without_domains(&self, typmod: i32) -> (&Self, i32) {
        match &self.kind {
            PgKind::Domain(base, own) => base.without_domains(if *own >= 0 { *own } else { typmod }),
            _ => (self, typmod),
        }
    }
}
