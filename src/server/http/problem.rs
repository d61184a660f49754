//! Errors as problem details for HTTP (RFC 9457), with the SQLSTATE and the hint.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use polder_catalog::{Error, Kind, SqlState};
use serde_json::{Value, json};

/// An error on its way to a client.
#[derive(Debug)]
pub(super) struct Problem(pub(super) Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl Problem {
    /// The same under another status.
    pub(super) fn with_status(self, status: StatusCode) -> Response {
        let body = document(&self.0, status);
        let mut response = (status, format!("{body}\n")).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            // Of Basic, browsers would ask with a window of their own.
            let challenge = HeaderValue::from_static("Bearer realm=\"polder\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// The same as a part of an answer that has begun.
    pub(super) fn document(error: &Error) -> Value {
        document(error, status(error))
    }
}

fn document(error: &Error, status: StatusCode) -> Value {
    let mut body = json!({
        "type": "about:blank",
        "title": error.message(),
        "status": status.as_u16(),
        "sqlstate": error.state().as_str(),
    });
    if let Some(detail) = error.detail() {
        body["detail"] = json!(detail);
    }
    if let Some(hint) = error.hint() {
        body["hint"] = json!(hint);
    }
    body
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status(&self.0);
        self.with_status(status)
    }
}

/// What a client can do decides; a few states have a status of their own.
fn status(error: &Error) -> StatusCode {
    let state = error.state();
    match (state, error.kind()) {
        (SqlState::LOGIN | SqlState::PASSWORD, _) => StatusCode::UNAUTHORIZED,
        (SqlState::PRIVILEGE, _) => StatusCode::FORBIDDEN,
        (SqlState::SERIALIZATION, _) => StatusCode::CONFLICT,
        (SqlState::REQUEST_REUSED, _) => StatusCode::UNPROCESSABLE_ENTITY,
        _ if state.as_str().starts_with("23") => StatusCode::CONFLICT,
        (_, Kind::Fix) => StatusCode::BAD_REQUEST,
        (_, Kind::Retry | Kind::Reopen) => StatusCode::SERVICE_UNAVAILABLE,
        (_, Kind::Repair | Kind::Report) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether it is about a name that nothing has.
pub(super) fn is_unknown_name(error: &Error) -> bool {
    [SqlState::NO_CATALOG, SqlState::NO_SCHEMA, SqlState::NO_TABLE, SqlState::NO_OBJECT].contains(&error.state())
}
