//! What went wrong, said so that a person can mend it: each error names the catalog, the file and the next step.

use crate::credentials::CREDENTIALS;
use crate::location::Location;
use object_store::client::{HttpError, HttpErrorKind};
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
    pub(crate) fn store_error(&self, verb: &str, path: &Path, error: &object_store::Error) -> Error {
        let target = self.location.display(path);
        let (kind, state, what, hint) = self.judge(error);
        Error::new(kind, state, format!("catalog \"{}\": could not {verb} {target}: {what}", self.catalog))
            .with_detail(root_cause(error))
            .with_hint(hint)
            .with_source(copy_store_error(error))
    }

    fn judge(&self, error: &object_store::Error) -> (Kind, SqlState, &'static str, String) {
        use object_store::Error as E;
        let text = chain(error);
        let name = &self.catalog;
        match error {
            _ if is_about_credentials(error) => self.unsigned(error),
            _ if has_code(&text, "NoSuchBucket") => (
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
            // Some of these come as 400 Bad Request.
            _ if INVALID.iter().any(|code| has_code(&text, code)) => self.invalid(),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => self.refused(),
            E::InvalidPath { .. } => (
                Kind::Fix,
                SqlState::NO_FILE,
                "a name there cannot be used",
                "rename it: names must be UTF-8, without empty, \".\" or \"..\" parts".to_string(),
            ),
            _ if is_permission(error) => self.refused(),
            _ => self.broken(error, &text),
        }
    }

    fn refused(&self) -> (Kind, SqlState, &'static str, String) {
        let name = &self.catalog;
        if matches!(self.location, Location::Local(_)) {
            return (
                Kind::Fix,
                SqlState::PRIVILEGE,
                "permission denied",
                "let the user that Polder runs as read it".to_string(),
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

    fn invalid(&self) -> (Kind, SqlState, &'static str, String) {
        (
            Kind::Fix,
            SqlState::LOGIN,
            "the credentials are not valid",
            format!(
                "check \"access_key_id\", \"secret_access_key\" and \"session_token\" of catalog \"{}\", or the AWS_* \
                 variables; temporary credentials expire",
                self.catalog
            ),
        )
    }

    /// There was nothing to sign a request with.
    fn unsigned(&self, error: &object_store::Error) -> (Kind, SqlState, &'static str, String) {
        let name = &self.catalog;
        let hint = match find::<Error>(error) {
            Some(secret) => secret.hint().map_or_else(
                || format!("check \"secret_access_key\" and \"session_token\" of catalog \"{name}\""),
                str::to_string,
            ),
            None => format!(
                "check the AWS_* variables and the role that Polder runs with, or give catalog \"{name}\" access_key_id \
                 and secret_access_key, or credentials = 'none' for a public bucket"
            ),
        };
        (Kind::Fix, SqlState::LOGIN, "no credentials could be obtained", hint)
    }

    fn broken(&self, error: &object_store::Error, text: &str) -> (Kind, SqlState, &'static str, String) {
        let name = &self.catalog;
        if has_code(text, "PermanentRedirect")
            || has_code(text, "AuthorizationHeaderMalformed")
            || text.contains("301 Moved")
            || text.contains("incorrectly configured region")
        {
            return (
                Kind::Fix,
                SqlState::PARAMETER,
                "the bucket is in another region",
                format!("ALTER CATALOG {name} SET (region = '...') with the bucket's region"),
            );
        }
        // Only what lies below the HTTP client says what became of the connection: the layers above name the URL, and
        // a bucket may be called "connect".
        match find::<HttpError>(error) {
            Some(http) => self.disconnected(http),
            None => {
                (Kind::Retry, SqlState::IO, "the store failed", format!("run CHECK CATALOG {name} to see what works"))
            }
        }
    }

    fn disconnected(&self, http: &HttpError) -> (Kind, SqlState, &'static str, String) {
        let name = &self.catalog;
        let text = chain(http).to_ascii_lowercase();
        if ["certificate", "tls", "handshake", "corrupt"].iter().any(|word| text.contains(word)) {
            return (
                Kind::Fix,
                SqlState::CONNECTION,
                "the encrypted connection was refused",
                format!(
                    "check that \"endpoint\" of catalog \"{name}\" speaks TLS and that this machine trusts its certificate"
                ),
            );
        }
        let (what, hint) = match http.kind() {
            HttpErrorKind::Connect => (
                "the server could not be reached",
                format!("check \"endpoint\" of catalog \"{name}\" and the network, then CHECK CATALOG {name}"),
            ),
            HttpErrorKind::Timeout => (
                "the server did not answer in time",
                format!("run the statement again, or raise \"timeout\" of catalog \"{name}\""),
            ),
            _ => (
                "the connection broke off",
                format!("run the statement again, or raise \"retries\" of catalog \"{name}\""),
            ),
        };
        (Kind::Retry, SqlState::CONNECTION, what, hint)
    }
}

/// Whether the store could not even ask, for want of credentials.
fn is_about_credentials(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    matches!(error, E::Generic { store: CREDENTIALS, .. })
        || matches!(error, E::Generic { source, .. } if matches!(find(source.as_ref()), Some(E::Generic { store: CREDENTIALS, .. })))
}

/// What a server says of credentials that it does not take.
const INVALID: [&str; 6] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "InvalidClientTokenId",
    "TokenRefreshRequired",
];

/// Whether a server's answer is of this code. The same word may be part of a file's name.
fn has_code(text: &str, code: &str) -> bool {
    text.contains(&format!("<Code>{code}</Code>"))
}

/// The first error of a type among an error and its causes.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
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
fn copy_store_error(error: &object_store::Error) -> object_store::Error {
    use object_store::Error as E;
    let source = || chain(error).into();
    match error {
        E::NotFound { path, .. } => E::NotFound { path: path.clone(), source: source() },
        E::Precondition { path, .. } => E::Precondition { path: path.clone(), source: source() },
        E::PermissionDenied { path, .. } => E::PermissionDenied { path: path.clone(), source: source() },
        E::Unauthenticated { path, .. } => E::Unauthenticated { path: path.clone(), source: source() },
        E::Generic { store, .. } => E::Generic { store, source: source() },
        _ => E::Generic { store: "store", source: source() },
    }
}
