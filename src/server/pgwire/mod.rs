//! PostgreSQL's protocol, version 3: what psql, drivers and BI tools speak.
//!
//! One task for each connection, with a [`Session`](crate::Session) of its own. Statements and what makes rows of their results
//! run on the engine's threads, so that a connection always hears its client: a cancel request, an end of the connection or the
//! end of the server stops what runs. Rows are sent as they come, with two pieces of them in memory.
//!
//! The statements of one simple query are done one after the other, each a transaction of its own unless BEGIN stands before
//! them.

mod cancel;
mod connection;
mod copy;
mod extended;
mod log_in;
mod message;
mod notice;
mod parameters;
mod startup;
mod types;

use crate::activity::Protocol;
use crate::engine::Engine;
use crate::server::{Door, Shutdown};
use cancel::Cancels;
use polder_catalog::Result;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Limits of one listener.
#[derive(Clone, Debug)]
pub(crate) struct PgOptions {
    /// Connections at once; more wait to be accepted.
    pub(crate) connections: usize,
    /// The greatest message, in bytes.
    pub(crate) message_bytes: usize,
    /// How long a client may take to log in.
    pub(crate) patience: Duration,
    /// How long a client may leave unread what it was sent.
    pub(crate) unread: Duration,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            connections: 1000,
            message_bytes: 16 << 20,
            patience: Duration::from_secs(10),
            unread: Duration::from_secs(600),
        }
    }
}

/// What every connection is served with.
#[derive(Clone)]
struct Server {
    engine: Engine,
    options: PgOptions,
    door: Door,
    shutdown: Shutdown,
    /// Where statements run.
    workers: Handle,
    cancels: Arc<Cancels>,
}

/// After a failed accept, usually for want of file descriptors: time for others to end.
const BREATH: Duration = Duration::from_millis(50);

/// Serves until `shutdown` drains, then until every statement that runs is answered. Statements run on `workers`, connections
/// where this is awaited.
///
/// # Errors
/// None; it is the shape of all servers.
pub(crate) async fn serve(
    listener: TcpListener,
    engine: Engine,
    options: PgOptions,
    door: Door,
    shutdown: Shutdown,
    workers: Handle,
) -> Result<()> {
    let places = Arc::new(Semaphore::new(options.connections));
    let server = Server { engine, options, door, shutdown: shutdown.clone(), workers, cancels: Arc::default() };
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = shutdown.draining() => break,
            accepted = accepted => accepted,
        };
        match stream {
            Ok((stream, _)) => {
                // Small answers must not wait for more; one that cannot be told so is only slower.
                let _ = stream.set_nodelay(true);
                let server = server.clone();
                let connected = server.engine.0.activity.connect(Protocol::Pgwire);
                connections.spawn(async move {
                    startup::serve(stream, server).await;
                    drop((place, connected));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}
