//! Errors as gRPC has them, with the SQLSTATE beside the code.

use polder_catalog::{Error, Kind, SqlState};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Where a client finds the SQLSTATE.
const SQLSTATE: &str = "polder-sqlstate";

/// The error, with its detail and hint on lines of their own.
pub(super) fn status(error: Error) -> Status {
    let mut message = error.message().to_string();
    if let Some(detail) = error.detail() {
        message.push_str(&format!("\ndetail: {detail}"));
    }
    if let Some(hint) = error.hint() {
        message.push_str(&format!("\nhint: {hint}"));
    }
    let mut metadata = MetadataMap::new();
    if let Ok(state) = MetadataValue::try_from(error.state().as_str()) {
        metadata.insert(SQLSTATE, state);
    }
    Status::with_metadata(code(&error), message, metadata)
}

/// Some of what arrow-flight itself finds wrong with a message it calls internal, though it is the client's.
pub(super) fn of_client(status: Status) -> Status {
    match status.code() {
        Code::Internal if !status.metadata().contains_key(SQLSTATE) => {
            Status::with_metadata(Code::InvalidArgument, status.message(), status.metadata().clone())
        }
        _ => status,
    }
}

/// A few states have a code of their own; for the rest, what the client can do decides.
fn code(error: &Error) -> Code {
    let state = error.state();
    match (state, error.kind()) {
        (SqlState::PRIVILEGE, _) => Code::PermissionDenied,
        (SqlState::LOGIN | SqlState::PASSWORD, _) => Code::Unauthenticated,
        (SqlState::CANCELLED, _) => Code::Cancelled,
        (SqlState::SERIALIZATION, _) => Code::Aborted,
        (SqlState::NOT_SUPPORTED, _) => Code::Unimplemented,
        (SqlState::MEMORY | SqlState::CONNECTIONS, _) => Code::ResourceExhausted,
        (SqlState::NO_TABLE | SqlState::NO_OBJECT | SqlState::NO_CATALOG | SqlState::NO_SCHEMA, _) => Code::NotFound,
        (SqlState::UNIQUE | SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT, _) => Code::AlreadyExists,
        (SqlState::DUPLICATE_CATALOG | SqlState::DUPLICATE_FUNCTION, _) => Code::AlreadyExists,
        (_, Kind::Fix) if ["23", "25", "55", "PD"].contains(&&state.as_str()[..2]) => Code::FailedPrecondition,
        (_, Kind::Fix) => Code::InvalidArgument,
        (_, Kind::Retry | Kind::Reopen) => Code::Unavailable,
        (_, Kind::Repair) => Code::DataLoss,
        (_, Kind::Report) => Code::Internal,
    }
}
