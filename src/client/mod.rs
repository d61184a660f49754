//! Something that runs statements: the engine of this process, or a server elsewhere by one of its protocols.
//!
//! The shell and scripts see only this. What a statement gives is Arrow, whoever ran it, so it is written alike.
//! Giving up a statement, by dropping its future or its rows, cancels it where it runs.

mod local;
mod target;
mod login;
mod dial;
mod http;
mod flight;
mod pgwire;

pub(crate) use login::{Login, secret};

use crate::session::Progress;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;
use target::{Protocol, Target};

/// Runs statements, one after the other.
#[async_trait]
pub(crate) trait Client: Send + Sync {
    /// Runs exactly one statement.
    async fn run(&self, sql: &str) -> Result<Answer>;

    /// The names of all functions, for completion, as far as they are known.
    fn function_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a statement gives.
pub(crate) enum Answer {
    Rows(Box<dyn Results>),
    /// Nothing but the tag of what was done.
    Done {
        tag: String,
        notices: Vec<String>,
    },
    /// `COPY ... FROM STDIN` waits for its rows.
    CopyIn(Box<dyn Copying>),
}

/// Rows as they come.
#[async_trait]
pub(crate) trait Results: Send {
    fn schema(&self) -> SchemaRef;

    /// The next rows; `None` after the last. After an error there are none, and those before it are not the whole result.
    async fn next(&mut self) -> Result<Option<RecordBatch>>;

    /// What was read from each source so far, if that is known here.
    fn progress(&self) -> Progress {
        Progress::default()
    }

    /// What the user is told beside the rows, once all have come.
    fn notices(&self) -> Vec<String>;
}

/// A COPY that takes rows. Dropped before its end, it writes none.
#[async_trait]
pub(crate) trait Copying: Send {
    async fn write(&mut self, piece: Bytes) -> Result<()>;

    /// Writes the rows; tells the tag.
    async fn finish(self: Box<Self>) -> Result<String>;
}

/// A server that statements can be sent to. Nobody is asked yet.
pub(crate) struct Server {
    target: Target,
    login: Login,
}

impl Server {
    /// # Errors
    /// 22023 for an address that means nothing here, 28000 for a secret that would travel in the clear.
    pub(crate) fn new(url: &str, login: Login) -> Result<Self> {
        let target = Target::parse(url)?;
        login.check(&target)?;
        Ok(Self { target, login })
    }

    /// A client with a session of its own, as far as the protocol has sessions.
    ///
    /// # Errors
    /// If the authorities of TLS cannot be read.
    pub(crate) fn client(&self) -> Result<Arc<dyn Client>> {
        let (target, login) = (self.target.clone(), self.login.clone());
        Ok(match target.protocol {
            Protocol::Http => Arc::new(http::Http::new(target, login)?),
            Protocol::Flight => Arc::new(flight::Flight::new(&target, login)?),
            Protocol::Postgres => Arc::new(pgwire::Postgres::new(target, login)?),
        })
    }

    /// The address, as it is said to people.
    pub(crate) fn address(&self) -> String {
        self.target.to_string()
    }
}

/// An error that a server told in its own words.
fn told(state: Option<&str>, message: &str, detail: Option<&str>, hint: Option<&str>) -> Error {
    let state = state.and_then(SqlState::parse).unwrap_or(SqlState::CONNECTION);
    let mut error = Error::fix(state, message);
    if let Some(detail) = detail {
        error = error.with_detail(detail);
    }
    if let Some(hint) = hint {
        error = error.with_hint(hint);
    }
    error
}

/// The server cannot be reached, or is gone.
fn unreachable(target: &Target, error: impl std::fmt::Display) -> Error {
    Error::retry(SqlState::CONNECTION, format!("could not reach {target}"))
        .with_detail(error.to_string())
        .with_hint("is polder serve running there, and is it this protocol that it serves at this port?")
}

/// The answer has no end.
fn broken_off(error: impl std::fmt::Display) -> Error {
    Error::retry(SqlState::CONNECTION, "the server broke its answer off")
        .with_detail(error.to_string())
        .with_hint("what came before is not the whole result")
}
