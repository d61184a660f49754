//! HTTP: `POST /v1/sql`, listings, and what an orchestrator asks.
//!
//! Every request has a session of its own, so what belongs to a session (`SET`, `BEGIN`) is refused rather than lost.
//! Loopback is no protection from a browser: a page of elsewhere may send requests to it. So a statement must come as
//! `application/json`, which no page may send to another origin unasked, and the `Host` must be one of loopback, which
//! a name that was pointed here (DNS rebinding) is not.

mod accept;
mod answer;
mod format;
mod problem;
mod statement;
mod types;

pub(crate) use accept::serve;

use crate::engine::Engine;
use crate::metrics;
use crate::server::{Door, Shutdown};
use answer::answer;
use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use polder_catalog::{Error, SqlState};
use problem::Problem;
use statement::Statement;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Handle;

/// Limits of one listener.
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    /// Connections at once; more wait to be accepted.
    pub(crate) connections: usize,
    /// The greatest body of a request, in bytes.
    pub(crate) body_bytes: usize,
    /// How long a client may take to send the head of a request, and then its body.
    pub(crate) patience: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { connections: 1000, body_bytes: 16 << 20, patience: Duration::from_secs(10) }
    }
}

#[derive(Clone)]
struct Server {
    engine: Engine,
    shutdown: Shutdown,
    options: HttpOptions,
    door: Door,
    /// Whether only clients of this machine reach us.
    is_loopback: bool,
    /// Where statements run.
    workers: Handle,
}

/// All routes.
fn router(
    engine: Engine,
    shutdown: Shutdown,
    options: HttpOptions,
    door: Door,
    address: SocketAddr,
    workers: Handle,
) -> Router {
    let server = Server { engine, shutdown, options, door, is_loopback: address.ip().is_loopback(), workers };
    Router::new()
        .route("/v1/sql", post(sql))
        .route("/v1/catalogs", get(catalogs))
        .route("/v1/catalogs/{catalog}/tables", get(tables))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_page))
        .fallback(async |uri: Uri| {
            let error = Error::fix(SqlState::NO_OBJECT, format!("there is nothing at {}", uri.path()));
            Problem(error.with_hint("POST /v1/sql runs a statement")).with_status(StatusCode::NOT_FOUND)
        })
        .layer(from_fn_with_state(server.clone(), check_host))
        .with_state(server)
}

async fn sql(State(server): State<Server>, headers: HeaderMap, request: Request) -> Result<Response, Problem> {
    let limit = server.options.body_bytes;
    if request.body().size_hint().lower() > limit as u64 {
        let error = Error::fix(SqlState::FORMAT, format!("the body of a request may have {limit} bytes"));
        return Ok(Problem(error).with_status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let statement = Statement::read(&headers, body(&server, request).await?)?;
    answer(&server, &headers, statement).await
}

/// The whole body, if it comes in time and is not too large.
async fn body(server: &Server, request: Request) -> Result<Bytes, Problem> {
    let (limit, patience) = (server.options.body_bytes, server.options.patience);
    let read = axum::body::to_bytes(request.into_body(), limit);
    match tokio::time::timeout(patience, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let message = format!("the body of the request could not be read; it may have {limit} bytes");
            Err(Problem(Error::fix(SqlState::FORMAT, message).with_detail(error.to_string())))
        }
        Err(_) => Err(Problem(Error::retry(SqlState::CONNECTION_LOST, "the body of the request did not come in time"))),
    }
}

async fn catalogs(State(server): State<Server>, headers: HeaderMap) -> Result<Response, Problem> {
    answer(&server, &headers, Statement::plain("SHOW CATALOGS".to_string())).await
}

async fn tables(
    State(server): State<Server>,
    Path(catalog): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let catalog = catalog.replace('"', "\"\"");
    answer(&server, &headers, Statement::plain(format!("SHOW TABLES FROM \"{catalog}\""))).await
}

async fn metrics_page(State(server): State<Server>) -> Response {
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics::text(&server.engine.0)).into_response()
}

/// Whether requests should be sent here.
async fn ready(State(server): State<Server>) -> Response {
    match server.shutdown.is_draining() {
        false => "ready\n".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response(),
    }
}

/// Refuses requests that a name of elsewhere has brought to this machine's own address.
async fn check_host(State(server): State<Server>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if server.is_loopback && !is_loopback_name(host) {
        let error = Error::fix(SqlState::PRIVILEGE, "this server answers to the names of loopback only");
        return Problem(error.with_hint("call it as localhost or 127.0.0.1")).into_response();
    }
    next.run(request).await
}

/// Whether a `Host`, with its port or without, names this machine's loopback.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
