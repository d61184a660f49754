//! The console: a page for people, served from the program itself.
//!
//! Its files need no login, for the page is what asks for one; everything it shows comes from `/v1`.

use super::problem::Problem;
use super::{Named, named};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use polder_catalog::{Error, SqlState};

/// Nothing from elsewhere, nothing inline, in no frame.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and text of each file beside the page.
pub(super) const FILES: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("console/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("console/icon.svg")),
    ("main.js", SCRIPT, include_str!("console/main.js")),
    ("page.js", SCRIPT, include_str!("console/page.js")),
    ("server.js", SCRIPT, include_str!("console/server.js")),
    ("login.js", SCRIPT, include_str!("console/login.js")),
    ("sql.js", SCRIPT, include_str!("console/sql.js")),
    ("editor.js", SCRIPT, include_str!("console/editor.js")),
    ("completion.js", SCRIPT, include_str!("console/completion.js")),
    ("history.js", SCRIPT, include_str!("console/history.js")),
    ("catalogs.js", SCRIPT, include_str!("console/catalogs.js")),
    ("results.js", SCRIPT, include_str!("console/results.js")),
    ("grid.js", SCRIPT, include_str!("console/grid.js")),
    ("csv.js", SCRIPT, include_str!("console/csv.js")),
    ("chart.js", SCRIPT, include_str!("console/chart.js")),
    ("plan.js", SCRIPT, include_str!("console/plan.js")),
    ("datasets.js", SCRIPT, include_str!("console/datasets.js")),
];

pub(super) async fn page() -> Response {
    served("text/html; charset=utf-8", include_str!("console/index.html"))
}

pub(super) async fn file(name: Named<String>) -> Result<Response, Problem> {
    let name = named(name)?;
    Ok(match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, kind, text)) => served(kind, text),
        None => {
            let error = Error::fix(SqlState::NO_OBJECT, format!("the console has no file \"{name}\""));
            Problem(error.with_hint("the console is at /")).with_status(StatusCode::NOT_FOUND)
        }
    })
}

/// A new version of the program is a new version of the page: a browser asks anew each time.
fn served(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let mut response = text.into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
