//! What went wrong, said so that a person can mend it: each error names the catalog, the file and the next step.

use crate::location::Location;
use object_store::path::Path;
use polder_catalog::{CatalogName, Error, Kind, SqlState};
use std::fmt;

/// Names a catalog and its files in errors.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) catalog: CatalogName,
    pub(crate) location: Location,
}

impl Place {
    /// `catalog "lake": s3://bucket/a.csv`, the beginning of a message.
    pub(crate) fn file(&self, path: &Path) -> String {
        format!("catalog \"{}\": {}", self.catalog, self.location.display(path))
    }

    /// An error about one file that a user can mend.
    pub(crate) fn bad_file(&self, path: &Path, what: impl fmt::Display) -> Error {
        Error::fix(SqlState::FORMAT, format!("{} {what}", self.file(path)))
    }

    /// An error of the store while doing something (`list`, `read`) to a path.
    pub(crate) fn store_error(&self, verb: &str, path: &Path, error: object_store::Error) -> Error {
        let target = self.location.display(path);
        let (kind, state, what, hint) = self.judge(&error);
        Error::new(kind, state, format!("catalog \"{}\": could not {verb} {target}: {what}", self.catalog))
            .with_detail(root_cause(&error))
            .with_hint(hint)
            .with_source(error)
    }

    fn judge(&self, error: &object_store::Error) -> (Kind, SqlState, &'static str, String) {
        use object_store::Error as E;
        let text = chain(error);
        let name = &self.catalog;
        match error {
            _ if text.contains("NoSuchBucket") => (
                Kind::Fix,
                SqlState::NO_FILE,
                "the bucket does not exist",
                format!("check the bucket's name, and \"endpoint\" and \"region\" of catalog \"{name}\""),
            ),
            E::NotFound { .. } => (
                Kind::Retry,
                SqlState::NO_FILE,
                "it does not exist any more",
                "run the statement again: each statement lists the files anew".to_string(),
            ),
            E::Precondition { .. } => (
                Kind::Retry,
                SqlState::NO_FILE,
                "it was changed while it was being read",
                "run the statement again: each statement lists the files anew".to_string(),
            ),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => self.refused(&text),
            E::InvalidPath { .. } => (
                Kind::Fix,
                SqlState::NO_FILE,
                "a name there cannot be used",
                "rename it: names must be UTF-8, without empty, \".\" or \"..\" parts".to_string(),
            ),
            _ if is_permission(error) => self.refused(&text),
            _ => self.broken(&text),
        }
    }

    fn refused(&self, text: &str) -> (Kind, SqlState, &'static str, String) {
        let name = &self.catalog;
        if matches!(self.location, Location::Local(_)) {
            return (
                Kind::Fix,
                SqlState::PRIVILEGE,
                "permission denied",
                "let the user that Polder runs as read it".to_string(),
            );
        }
        let login =
            ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId"];
        if login.iter().any(|code| text.contains(code)) {
            return (
                Kind::Fix,
                SqlState::LOGIN,
                "the credentials are not valid",
                format!(
                    "check \"access_key_id\" and \"secret_access_key\" of catalog \"{name}\", or the AWS_* variables"
                ),
            );
        }
        (
            Kind::Fix,
            SqlState::PRIVILEGE,
            "access denied",
            format!(
                "grant s3:ListBucket and s3:GetObject to the credentials of catalog \"{name}\", or set credentials = 'none' for a public bucket"
            ),
        )
    }

    fn broken(&self, text: &str) -> (Kind, SqlState, &'static str, String) {
        let lower = text.to_ascii_lowercase();
        let name = &self.catalog;
        if lower.contains("certificate")
            || lower.contains("tls")
            || lower.contains("handshake")
            || lower.contains("corruptmessage")
        {
            return (
                Kind::Fix,
                SqlState::CONNECTION,
                "the encrypted connection was refused",
                format!(
                    "check that \"endpoint\" of catalog \"{name}\" speaks TLS and that this machine trusts its certificate"
                ),
            );
        }
        if text.contains("PermanentRedirect")
            || text.contains("AuthorizationHeaderMalformed")
            || lower.contains("301 moved")
        {
            return (
                Kind::Fix,
                SqlState::PARAMETER,
                "the bucket is in another region",
                format!("ALTER CATALOG {name} SET (region = '...') with the bucket's region"),
            );
        }
        if text.contains("169.254.169.254") || lower.contains("metadata endpoint") {
            return (Kind::Fix, SqlState::LOGIN, "no credentials were found", "give access_key_id and secret_access_key, set AWS_* variables, or credentials = 'none' for a public bucket".to_string());
        }
        if lower.contains("connect")
            || lower.contains("dns")
            || lower.contains("timed out")
            || lower.contains("timeout")
        {
            return (
                Kind::Retry,
                SqlState::CONNECTION,
                "the server could not be reached",
                format!("check \"endpoint\" of catalog \"{name}\" and the network, then CHECK CATALOG {name}"),
            );
        }
        (Kind::Retry, SqlState::IO, "the store failed", format!("run CHECK CATALOG {name} to see what works"))
    }
}

fn is_permission(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::PermissionDenied;
        }
        cause = current.source();
    }
    let text = error.to_string();
    text.contains("Permission denied") || text.contains("403 Forbidden")
}

/// All messages of an error and its causes, for telling what it is.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text.push_str(": ");
        text.push_str(&current.to_string());
        cause = current.source();
    }
    text
}

/// The innermost message, on one line, without the noise of the layers above it.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    let text = current.to_string();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(DETAIL_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A server's answer may be a page of XML: this much of it is enough.
const DETAIL_MAX: usize = 400;

/// Finds the store's own error below the wrappers of DataFusion, Arrow and Parquet.
pub(crate) fn find_store_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a object_store::Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<object_store::Error>() {
            return Some(found);
        }
        if let Some(found) = current.downcast_ref::<Box<object_store::Error>>() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

/// An error that outlives the borrow of the one it was found in.
pub(crate) fn copy_store_error(error: &object_store::Error) -> object_store::Error {
    use object_store::Error as E;
    let source = || chain(error).into();
    match error {
        E::NotFound { path, .. } => E::NotFound { path: path.clone(), source: source() },
        E::Precondition { path, .. } => E::Precondition { path: path.clone(), source: source() },
        E::PermissionDenied { path, .. } => E::PermissionDenied { path: path.clone(), source: source() },
        E::Unauthenticated { path, .. } => E::Unauthenticated { path: path.clone(), source: source() },
        _ => E::Generic { store: "store", source: source() },
    }
}
