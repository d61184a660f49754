//! HTTP: `POST /v1/sql`, listings, what an orchestrator asks, and the console for people with a browser.
//!
//! Every request has a session of its own, so what belongs to a session (`SET`, `BEGIN`) is refused rather than lost.
//! Loopback is no protection from a browser: a page of elsewhere may send requests to it. So a statement must come as
//! `application/json`, which no page may send to another origin unasked, and the `Host` must be one of loopback, which
//! a name that was pointed here (DNS rebinding) is not.

mod accept;
mod answer;
mod console;
mod format;
mod problem;
mod statement;
mod told;
mod types;

pub(crate) use accept::serve;

use crate::engine::Engine;
use crate::metrics;
use crate::server::login::credentials;
use crate::server::{Door, Shutdown};
use crate::sql::{KEYWORDS, identifier};
use answer::answer;
use axum::body::{Bytes, HttpBody};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use polder_catalog::{Error, SqlState};
use problem::Problem;
use serde_json::{Value, json};
use statement::Statement;
use std::net::SocketAddr;
use std::sync::Arc;
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

impl Server {
    /// Who sends a request.
    ///
    /// # Errors
    /// 28000 and 28P01, as of [`Door::user`].
    async fn user(&self, headers: &HeaderMap) -> polder_catalog::Result<Arc<str>> {
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        self.door.user(&self.engine, credentials(authorization)?).await
    }
}

/// What is served, path by path. `openapi.json` describes each of them.
fn routes() -> [(&'static str, MethodRouter<Server>); 12] {
    [
        ("/", get(console::page)),
        ("/console/{file}", get(console::file)),
        ("/v1/sql", post(sql)),
        ("/v1/catalogs", get(catalogs)),
        ("/v1/catalogs/{catalog}/schemas", get(schemas)),
        ("/v1/catalogs/{catalog}/tables", get(tables)),
        ("/v1/catalogs/{catalog}/schemas/{schema}/tables/{table}", get(columns)),
        ("/v1/words", get(words)),
        ("/v1/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI))),
        ("/healthz", get(async || "ok\n")),
        ("/readyz", get(ready)),
        ("/metrics", get(metrics_page)),
    ]
}

const OPENAPI: &str = include_str!("openapi.json");

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
    let routes = routes().into_iter().fold(Router::new(), |router, (path, handler)| router.route(path, handler));
    routes
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

/// Names of a path, if they can be read.
type Named<T> = Result<Path<T>, PathRejection>;

fn named<T>(names: Named<T>) -> Result<T, Problem> {
    names.map(|Path(names)| names).map_err(|rejection| {
        let error = Error::fix(SqlState::TEXT, "the path cannot be read").with_detail(rejection.body_text());
        Problem(error.with_hint("names in a path are UTF-8, percent-encoded"))
    })
}

/// A statement that shows what the path names; 404 for a name that nothing has.
async fn list(server: &Server, headers: &HeaderMap, sql: String) -> Result<Response, Problem> {
    match answer(server, headers, Statement::plain(sql)).await {
        Err(Problem(error)) if problem::is_unknown_name(&error) => {
            Ok(Problem(error).with_status(StatusCode::NOT_FOUND))
        }
        answer => answer,
    }
}

async fn catalogs(State(server): State<Server>, headers: HeaderMap) -> Result<Response, Problem> {
    list(&server, &headers, "SHOW CATALOGS".to_string()).await
}

async fn tables(State(server): State<Server>, catalog: Named<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let catalog = named(catalog)?;
    list(&server, &headers, format!("SHOW TABLES FROM {}", identifier(&catalog))).await
}

async fn schemas(
    State(server): State<Server>,
    catalog: Named<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let catalog = named(catalog)?;
    list(&server, &headers, format!("SHOW SCHEMAS FROM {}", identifier(&catalog))).await
}

async fn columns(
    State(server): State<Server>,
    name: Named<[String; 3]>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = named(name)?.map(|part| identifier(&part)).join(".");
    list(&server, &headers, format!("DESCRIBE {name}")).await
}

/// What the language has, for completion and highlighting.
async fn words(State(server): State<Server>) -> Json<Value> {
    Json(json!({ "keywords": KEYWORDS, "functions": server.engine.session().function_names() }))
}

/// Measurements name sources and datasets, so they are for those who may come in.
async fn metrics_page(State(server): State<Server>, headers: HeaderMap) -> Result<Response, Problem> {
    server.user(&headers).await?;
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics::text(&server.engine.0)).into_response())
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
