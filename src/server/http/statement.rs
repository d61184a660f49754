//! What a client asks: a statement, its parameters, and what its headers say.

use super::types::parameter;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, header};
use datafusion::scalar::ScalarValue;
use polder_catalog::{Error, Result, SqlState};
use serde::Deserialize;
use serde_json::Value;

/// The id of the request, under which it has its effect once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The token that reads wait for.
const READ_AFTER: HeaderName = HeaderName::from_static("polder-read-after");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
}

/// One statement with everything that belongs to it.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<ScalarValue>,
    /// Settings of its session: names and values.
    pub(super) settings: Vec<(&'static str, String)>,
}

impl Statement {
    /// A statement of our own.
    pub(super) fn plain(sql: String) -> Self {
        Self { sql, parameters: Vec::new(), settings: Vec::new() }
    }

    /// # Errors
    /// 22P04 for a body that is no such JSON, 22023 for a parameter that is none.
    pub(super) fn read(headers: &HeaderMap, body: Bytes) -> Result<Self> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Error::fix(SqlState::FORMAT, "a statement comes as application/json")
                .with_hint(r#"send {"sql": "SELECT 1"} with Content-Type: application/json"#));
        }
        let body: Body = serde_json::from_slice(&body).map_err(|error| {
            Error::fix(SqlState::FORMAT, "the body is not a statement")
                .with_detail(error.to_string())
                .with_hint(r#"send {"sql": "SELECT $1", "params": [1]}"#)
        })?;
        let parameters = body.params.iter().map(parameter).collect::<Result<_>>()?;
        let named = [(IDEMPOTENCY_KEY, "request_id"), (READ_AFTER, "read_after")];
        let mut settings = Vec::new();
        for (header, setting) in named {
            if let Some(value) = headers.get(&header) {
                let value = value.to_str().map_err(|_| {
                    Error::fix(SqlState::PARAMETER, format!("the header {header} holds more than ASCII"))
                })?;
                settings.push((setting, value.to_string()));
            }
        }
        // What it calls itself is told as far as it can be read.
        if let Some(agent) = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()) {
            settings.push(("application_name", agent.to_string()));
        }
        Ok(Self { sql: body.sql, parameters, settings })
    }
}
