//! Errors and notices as fields of a message (PostgreSQL's documentation, 55.8).

use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use polder_catalog::Error;

/// What an error does to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The statement has failed.
    Error,
    /// The connection ends.
    Fatal,
}

pub(super) fn error(error: &Error, severity: Severity) -> ErrorResponse {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = head(severity, error.state().as_str(), error.message());
    fields.extend(error.detail().map(|detail| (b'D', text(detail))));
    fields.extend(error.hint().map(|hint| (b'H', text(hint))));
    ErrorResponse::new(fields)
}

pub(super) fn notice(message: &str) -> NoticeResponse {
    NoticeResponse::new(head("NOTICE", "00000", message))
}

fn head(severity: &str, state: &str, message: &str) -> Vec<(u8, String)> {
    vec![(b'S', text(severity)), (b'V', text(severity)), (b'C', text(state)), (b'M', text(message))]
}

/// A zero byte would end the field.
fn text(text: &str) -> String {
    text.replace('\0', " ")
}
