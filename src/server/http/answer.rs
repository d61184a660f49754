//! A statement's outcome as a response.

use super::Server;
use super::format::{Encoder, Encoding};
use super::problem::Problem;
use super::statement::Statement;
use crate::activity::{Killed, Protocol};
use crate::server::Shutdown;
use crate::session::{Outcome, Rows, Session};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use polder_catalog::{Error, Result, SqlState};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tokio_util::task::AbortOnDropHandle;

/// What the answer reflects, as a token.
const POSITION: HeaderName = HeaderName::from_static("polder-position");
/// What the user is told beside the rows, as far as it is known before them.
const NOTICE: HeaderName = HeaderName::from_static("polder-notice");

/// Runs a statement in a session of its own. A client that goes away cancels it, here and at the sources.
pub(super) async fn answer(server: &Server, headers: &HeaderMap, statement: Statement) -> Result<Response, Problem> {
    let Some(encoding) = Encoding::accepted(headers) else {
        let error = Error::fix(SqlState::NOT_SUPPORTED, "none of the accepted formats can be had").with_hint(
            "accept application/json, application/x-ndjson, text/csv, application/vnd.apache.arrow.stream or application/vnd.polder.rows+ndjson",
        );
        return Ok(Problem(error).with_status(StatusCode::NOT_ACCEPTABLE));
    };
    let user = server.user(headers).await?;
    let session = Arc::new(Session::served(server.engine.clone(), user, Protocol::Http));
    for (name, value) in &statement.settings {
        session.change_settings(|settings| settings.set(name, value))?;
    }
    let mut response = match run(server, &session, statement).await? {
        Outcome::Done(tag) => {
            let kind = Encoding::Text(crate::render::Format::Json).media_type();
            ([(header::CONTENT_TYPE, kind)], format!("{}\n", json!({ "tag": tag }))).into_response()
        }
        Outcome::Rows(rows) => stream(server, rows, encoding).await?,
        Outcome::CopyIn(_) => {
            let error = Error::fix(SqlState::NOT_SUPPORTED, "COPY ... FROM STDIN has no place in this request");
            return Err(Problem(error.with_hint("INSERT the rows, or use polder sql")));
        }
    };
    let position = session.position();
    if !position.shards.is_empty()
        && let Ok(token) = HeaderValue::from_str(&position.to_string())
    {
        response.headers_mut().insert(POSITION, token);
    }
    Ok(response)
}

/// Each statement is a task of its own: one that computes without giving way does not hold up what its client is told.
async fn run(server: &Server, session: &Arc<Session>, statement: Statement) -> Result<Outcome> {
    let prepared = session.prepare(&statement.sql)?;
    if prepared.is_about_the_session() {
        let error = Error::fix(SqlState::NOT_SUPPORTED, "each request has a session of its own");
        return Err(error.with_hint("headers take the place of SET: Idempotency-Key, Polder-Read-After"));
    }
    let session = Arc::clone(session);
    let begun = session.begin(&prepared);
    let killed = begun.killed();
    let running = async move { session.run_begun(begun, &prepared, &statement.parameters).await };
    let running = AbortOnDropHandle::new(server.workers.spawn(running));
    tokio::select! {
        biased;
        error = server.shutdown.stopped() => Err(error),
        error = killed.heard() => Err(error),
        outcome = running => outcome.unwrap_or_else(|error| Err(panicked().with_detail(error.to_string()))),
    }
}

fn panicked() -> Error {
    Error::report("the statement ended in a panic")
}

/// Rows on their way to a client: read as fast as it takes them.
struct Answer {
    /// None at the end.
    pieces: mpsc::Receiver<Result<Option<Bytes>>>,
    is_over: bool,
    shutdown: Shutdown,
    killed: Killed,
    /// Heard by the sources at once, also when the task computes and cannot be ended yet.
    _cancel: DropGuard,
    _reading: AbortOnDropHandle<()>,
}

/// Pieces that are made while one is sent.
const PIECES_AHEAD: usize = 1;

impl Answer {
    fn start(mut rows: Rows, mut encoder: Encoder, server: &Server) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (cancel, killed) = (rows.cancellation().drop_guard(), rows.killed());
        let reading = server.workers.spawn(async move {
            let mut has_begun = false;
            loop {
                let piece = match rows.next().await {
                    Ok(Some(batch)) => encoder.batch(&batch),
                    Ok(None) => break,
                    Err(error) => Err(error),
                };
                let has_failed = piece.is_err();
                let last_words = piece.as_ref().err().filter(|_| has_begun).and_then(|error| encoder.failed(error));
                if let Some(last_words) = last_words {
                    let _ = sender.send(Ok(Some(last_words.into()))).await;
                    let _ = sender.send(Ok(None)).await;
                    return;
                }
                if sender.send(piece.map(|piece| Some(piece.into()))).await.is_err() || has_failed {
                    return;
                }
                has_begun = true;
            }
            let last = encoder.finish().map(|piece| Some(piece.into()));
            let is_whole = last.is_ok();
            if sender.send(last).await.is_ok() && is_whole {
                // Who went away needs no end.
                let _ = sender.send(Ok(None)).await;
            }
        });
        let reading = AbortOnDropHandle::new(reading);
        let shutdown = server.shutdown.clone();
        Self { pieces, is_over: false, shutdown, killed, _cancel: cancel, _reading: reading }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        while !self.is_over {
            let piece = tokio::select! {
                biased;
                error = self.shutdown.stopped() => return Err(error),
                error = self.killed.heard() => return Err(error),
                piece = self.pieces.recv() => piece.ok_or_else(panicked)??,
            };
            match piece {
                Some(piece) if piece.is_empty() => {}
                Some(piece) => return Ok(Some(piece)),
                None => self.is_over = true,
            }
        }
        Ok(None)
    }
}

/// The first rows are awaited, so that what fails at once has a status of its own. What fails later breaks the connection
/// off, unless the format has a place for it: the client sees that the body has no end, and takes no part for the whole.
async fn stream(server: &Server, rows: Rows, encoding: Encoding) -> Result<Response> {
    let notices = rows.notices();
    let encoder = encoding.encoder(&rows)?;
    let mut answer = Answer::start(rows, encoder, server);
    let first = answer.piece().await?;
    let pieces = futures::stream::try_unfold((first, answer), async |(first, mut answer)| {
        let piece = match first {
            Some(first) => Some(first),
            None => answer.piece().await.inspect_err(|error| tracing::warn!(%error, "an answer was broken off"))?,
        };
        Ok::<_, Error>(piece.map(|piece| (piece, (None, answer))))
    });
    let mut response = ([(header::CONTENT_TYPE, encoding.media_type())], Body::from_stream(pieces)).into_response();
    for notice in notices.told() {
        if let Ok(notice) = HeaderValue::from_bytes(notice.replace('\n', " ").as_bytes()) {
            response.headers_mut().append(NOTICE, notice);
        }
    }
    Ok(response)
}
