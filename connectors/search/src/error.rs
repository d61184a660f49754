//! What goes wrong in an index, said to a person.

use polder_catalog::{Error, Kind, SqlState};
use std::path::Path;
use tantivy::TantivyError;

/// An error of the file system.
pub(crate) fn io(verb: &str, path: &Path, error: std::io::Error) -> Error {
    Error::retry(SqlState::IO, format!("could not {verb} {}", path.display()))
        .with_detail(error.to_string())
        .with_source(error)
}

/// An index that is not what it was.
pub(crate) fn damaged(path: &Path, detail: &str) -> Error {
    Error::new(Kind::Repair, SqlState::DAMAGED, format!("the index in {} is damaged", path.display()))
        .with_detail(detail)
        .with_hint("it is filled again from the log")
}

/// An error of Tantivy's at an index.
pub(crate) fn at(path: &Path, error: TantivyError) -> Error {
    match error {
        TantivyError::LockFailure(..) => {
            Error::retry(SqlState::IN_USE, format!("the index in {} is written by another process", path.display()))
                .with_source(error)
        }
        TantivyError::DataCorruption(_)
        | TantivyError::OpenDirectoryError(_)
        | TantivyError::OpenReadError(_)
        | TantivyError::IncompatibleIndex(_)
        | TantivyError::SchemaError(_) => damaged(path, &error.to_string()).with_source(error),
        TantivyError::IoError(_) | TantivyError::OpenWriteError(_) => {
            Error::retry(SqlState::IO, format!("could not use the index in {}", path.display()))
                .with_detail(error.to_string())
                .with_source(error)
        }
        _ => reading(error),
    }
}

/// An error of Tantivy's while an index is read.
pub(crate) fn reading(error: TantivyError) -> Error {
    Error::new(Kind::Report, SqlState::INTERNAL, "the index could not be read")
        .with_detail(error.to_string())
        .with_source(error)
}
