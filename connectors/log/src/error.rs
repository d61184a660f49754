//! What the store reports, as the contract's error: the kinds are the same, the SQLSTATE says it to clients.

use crate::store;
use polder_catalog::{Error, Kind, SqlState};

/// An error of the store while topics are read or written.
pub(crate) fn of_store(error: store::Error) -> Error {
    let (kind, state) = match error.kind() {
        store::Kind::Retry => (Kind::Retry, SqlState::IO),
        store::Kind::Fix => (Kind::Fix, SqlState::STATE),
        store::Kind::Reopen => (Kind::Reopen, SqlState::STATE),
        store::Kind::Repair => (Kind::Repair, SqlState::DAMAGED),
        store::Kind::Report => (Kind::Report, SqlState::INTERNAL),
    };
    let ours = Error::new(kind, state, error.message());
    let ours = match error.hint() {
        Some(hint) => ours.with_hint(hint),
        None => ours,
    };
    ours.with_source(error)
}
