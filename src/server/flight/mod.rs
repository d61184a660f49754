//! Arrow Flight SQL: statements over gRPC, rows as Arrow, for the drivers of ADBC and JDBC.
//!
//! What is promised:
//!
//! 1. A statement that gives rows is planned when its `FlightInfo` is asked for, and runs when its ticket is redeemed, once.
//!    One that gives none runs at once: its `FlightInfo` has no endpoint, and tells how many rows it changed.
//! 2. Rows are read as fast as the client takes them. A client that leaves, or cancels, ends its query here and at the
//!    sources.
//! 3. A call has a session of its own, unless it brings the bearer token of a handshake or the cookie of session options;
//!    a call that names a transaction runs in the transaction's. What nobody has used for a while is forgotten: then the
//!    next use is an error, and a transaction is rolled back.
//! 4. Errors have their SQLSTATE in `polder-sqlstate`, and detail and hint behind the message. What a call has read or
//!    written is told as a token in `polder-position`.
//! 5. Bytes of a client that mean nothing are its error, and nobody else's.
//!
//! A page of a browser cannot speak HTTP/2 to an address without TLS, so unlike HTTP no `Host` is checked.

mod accept;
mod answer;
mod call;
mod cancel;
mod encode;
mod info;
mod ingest;
mod keys;
mod listings;
mod options;
mod prepared;
mod put;
mod registry;
mod service;
mod sql;
mod statement;
mod status;
mod transaction;

pub(crate) use accept::serve;

use crate::engine::Engine;
use crate::server::{Door, Shutdown};
use crate::session::Session;
use cancel::Running;
use info::Facts;
use polder_catalog::{Error, Result};
use prepared::Statement;
use registry::{Limits, Registry};
use statement::Ticket;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use transaction::Transaction;

/// Limits of one listener.
#[derive(Clone, Debug)]
pub(crate) struct FlightOptions {
    /// Connections at once; more wait to be accepted.
    pub(crate) connections: usize,
    /// The greatest message of a client, in bytes.
    pub(crate) message_bytes: usize,
    /// How long a client may take until it speaks HTTP/2.
    pub(crate) patience: Duration,
    /// How long sessions, transactions, prepared statements and tickets are kept that nobody uses.
    pub(crate) idle: Duration,
    /// How many of each are kept, and how many bytes of statements.
    pub(crate) kept: usize,
    pub(crate) kept_bytes: usize,
}

impl Default for FlightOptions {
    fn default() -> Self {
        Self {
            connections: 1000,
            message_bytes: 16 << 20,
            patience: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            kept: 10_000,
            kept_bytes: 256 << 20,
        }
    }
}

/// What all calls share.
struct Server {
    engine: Engine,
    door: Door,
    shutdown: Shutdown,
    /// Where statements run.
    workers: Handle,
    sessions: Registry<Session>,
    transactions: Registry<Transaction>,
    statements: Registry<Statement>,
    tickets: Registry<Ticket>,
    running: Arc<Running>,
    facts: Facts,
}

impl Server {
    fn new(engine: Engine, options: &FlightOptions, door: Door, shutdown: Shutdown, workers: Handle) -> Result<Self> {
        let limits = Limits { count: options.kept, bytes: options.kept_bytes, idle: options.idle };
        Ok(Self {
            engine,
            door,
            shutdown,
            workers,
            sessions: Registry::new("session", limits),
            transactions: Registry::new("transaction", limits),
            statements: Registry::new("prepared statement", limits),
            tickets: Registry::new("ticket", limits).evicting(),
            running: Arc::default(),
            facts: Facts::new()?,
        })
    }

    /// Forgets what nobody uses.
    fn sweep(&self) {
        self.sessions.sweep();
        self.transactions.sweep();
        self.statements.sweep();
        self.tickets.sweep();
    }

    /// Does work of the engine. It is a task of its own: one that computes without giving way does not hold up what its
    /// client is told. A client that goes away ends it.
    async fn work<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let working = AbortOnDropHandle::new(self.workers.spawn(work));
        tokio::select! {
            biased;
            error = self.shutdown.stopped() => Err(error),
            done = working => done.unwrap_or_else(|error| Err(panicked().with_detail(error.to_string()))),
        }
    }
}

fn panicked() -> Error {
    Error::report("the statement ended in a panic")
}

#[cfg(test)]
mod tests;
