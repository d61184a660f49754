//! What all scans of one query on one database share: a snapshot, and the connections that read under it.
//!
//! # Why nothing deadlocks
//!
//! The streams of one plan depend on each other in ways that nobody here can see: a merge join reads two at once, a
//! union may leave one unread for long. So a stream that holds a connection may stand still until another stream, which
//! has none, has delivered. With a bounded pool that is a deadlock, unless:
//!
//! 1. A query waits for a pool only while it holds no connection, of this catalog or another: for its first. If it gets one
//!    of another catalog while it waits, it takes one beyond `pool_size` here. Whoever holds a connection never waits for
//!    a pool.
//! 2. Every further scan takes a connection that is free now, or waits for one *of its own query*.
//! 3. While a scan of the query waits, the query's running scans do not wait for their readers: each keeps taking rows from
//!    the server into its [spool](crate::spool), in memory up to a bound and then on disk, until its rows are at an
//!    end. Then its connection goes to the scan that waits.
//!
//! By 3 every running scan ends without any reader's help, so by 2 every waiting scan gets its turn, so each query ends
//! and gives back what it holds, so by 1 each query gets its first connection. Nothing else is ever waited for.
//!
//! # One snapshot
//!
//! The first connection exports its snapshot and is kept, in its transaction, as long as the query's context lives: a plan
//! may open a scan late, or again. It reads rows like the others. A further connection imports the snapshot, and goes back
//! to the pool when no scan of the query waits for it. Since a scan that is given up ends with a rollback to a savepoint,
//! the snapshot outlives it. If the first connection breaks, the scans that come after fail: they never read another
//! snapshot.

use crate::error;
use crate::pool::{Lease, Permit, Pool};
use polder_catalog::{CatalogName, Error, ReadContext, Result, SqlState};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

/// The snapshot and the connections of one query.
#[derive(Debug)]
pub(crate) struct QuerySnapshot {
    state: Mutex<State>,
    /// Told when the snapshot was opened, or its opening failed.
    opened: Notify,
    /// How many scans of the query wait for a connection of it.
    waiting: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Snapshot,
    /// The first connection, while no scan uses it.
    leader: Option<Lease>,
    queue: VecDeque<oneshot::Sender<Reader>>,
}

#[derive(Clone, Debug, Default)]
enum Snapshot {
    #[default]
    None,
    Opening,
    Open(String),
    /// The connection that held it is gone.
    Lost,
}

/// A connection that reads under the query's snapshot.
#[derive(Debug)]
pub(crate) struct Reader {
    lease: Option<Lease>,
    is_leader: bool,
    shared: Arc<QuerySnapshot>,
}

/// What a scan can have at once.
pub(crate) enum Attempt {
    Reader(Box<Reader>),
    /// Every connection is in use.
    Busy,
}

impl QuerySnapshot {
    /// The one of this query on this catalog.
    pub(crate) fn of(context: &ReadContext, pool: &Pool) -> Arc<Self> {
        context.shared(&pool.endpoint().catalog, || Self {
            state: Mutex::default(),
            opened: Notify::new(),
            waiting: watch::Sender::new(0),
        })
    }

    /// A connection, as soon as there is one.
    pub(crate) async fn reader(self: &Arc<Self>, context: &ReadContext, pool: &Arc<Pool>) -> Result<Reader> {
        match self.try_reader(context, pool).await? {
            Attempt::Reader(reader) => Ok(*reader),
            Attempt::Busy => self.wait_in_line().await,
        }
    }

    /// A connection if there is one now; only the query's first is waited for.
    pub(crate) async fn try_reader(self: &Arc<Self>, context: &ReadContext, pool: &Arc<Pool>) -> Result<Attempt> {
        loop {
            // Enlisted before the state is looked at, so that no notification is missed.
            let opened = self.opened.notified();
            match self.next_step()? {
                Step::Use(lease) => return Ok(Attempt::Reader(Box::new(self.hand_out(lease, true)))),
                Step::Open => return Ok(Attempt::Reader(Box::new(self.open(context, pool).await?))),
                Step::Wait => opened.await,
                Step::Join(snapshot) => return self.join(context, pool, &snapshot).await,
            }
        }
    }

    fn next_step(&self) -> Result<Step> {
        let mut state = self.state();
        if let Some(leader) = state.leader.take() {
            if leader.session().is_usable() {
                return Ok(Step::Use(leader));
            }
            state.snapshot = Snapshot::Lost;
        }
        match state.snapshot.clone() {
            Snapshot::None => {
                state.snapshot = Snapshot::Opening;
                Ok(Step::Open)
            }
            Snapshot::Opening => Ok(Step::Wait),
            Snapshot::Open(id) => Ok(Step::Join(id)),
            Snapshot::Lost => Err(lost()),
        }
    }

    /// Opens the query's first connection and exports its snapshot.
    async fn open(self: &Arc<Self>, context: &ReadContext, pool: &Arc<Pool>) -> Result<Reader> {
        let mut opening = Opening { shared: self, snapshot: Snapshot::None };
        let held = Held::of(context);
        let lease = pool.begin(held.first_permit(pool).await, &begin(context, pool, None)).await?;
        held.0.send_replace(true);
        let exported = lease.session().client.query_typed_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await;
        let id = exported.and_then(|row| row.try_get(0)).map_err(|error| pool.endpoint().failed(error))?;
        opening.snapshot = Snapshot::Open(id);
        drop(opening);
        Ok(self.hand_out(lease, true))
    }

    /// Opens a further connection under the snapshot, if one is free.
    async fn join(self: &Arc<Self>, context: &ReadContext, pool: &Arc<Pool>, snapshot: &str) -> Result<Attempt> {
        let Some(permit) = pool.try_permit() else { return Ok(Attempt::Busy) };
        match self.import(context, pool, permit, snapshot).await {
            Ok(lease) => Ok(Attempt::Reader(Box::new(self.hand_out(lease, false)))),
            // The server's limit is below ours. This query has a connection, so it goes on with what it has.
            Err(error) if error.state() == SqlState::CONNECTIONS => Ok(Attempt::Busy),
            Err(error) => Err(error),
        }
    }

    async fn import(&self, context: &ReadContext, pool: &Arc<Pool>, permit: Permit, snapshot: &str) -> Result<Lease> {
        pool.begin(permit, &begin(context, pool, Some(snapshot))).await
    }

    /// Waits until another scan of this query is at its end.
    async fn wait_in_line(self: &Arc<Self>) -> Result<Reader> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            if let Some(leader) = state.leader.take() {
                drop(state);
                return Ok(self.hand_out(leader, true));
            }
            if matches!(state.snapshot, Snapshot::Lost) {
                return Err(lost());
            }
            state.queue.push_back(sender);
        }
        let _waiting = Waiting::new(&self.waiting);
        receiver.await.map_err(|_| lost())
    }

    fn hand_out(self: &Arc<Self>, lease: Lease, is_leader: bool) -> Reader {
        Reader { lease: Some(lease), is_leader, shared: Arc::clone(self) }
    }

    /// Passes a connection on: to a scan that waits, or where it came from.
    fn give_back(self: &Arc<Self>, lease: Lease, is_leader: bool) {
        let mut state = self.state();
        if !lease.session().is_usable() {
            if is_leader {
                state.snapshot = Snapshot::Lost;
                // Whoever waits is told by its closed channel.
                state.queue.clear();
            }
            return;
        }
        let mut reader = self.hand_out(lease, is_leader);
        while let Some(next) = state.queue.pop_front() {
            match next.send(reader) {
                Ok(()) => return,
                // It has given up; the connection comes back.
                Err(returned) => reader = returned,
            }
        }
        let lease = reader.lease.take();
        if is_leader {
            state.leader = lease;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a query holds a connection of any catalog: its first is kept as long as its context lives.
#[derive(Debug)]
struct Held(watch::Sender<bool>);

impl Held {
    /// Shared by all catalogs of this connector in one query, hence the name that is no catalog's.
    fn of(context: &ReadContext) -> Arc<Self> {
        context.shared(&CatalogName::new(""), || Self(watch::Sender::new(false)))
    }

    /// Waits for the pool, but not with a connection in hand.
    async fn first_permit(&self, pool: &Pool) -> Permit {
        let mut held = self.0.subscribe();
        tokio::select! {
            biased;
            permit = pool.permit() => permit,
            _ = held.wait_for(|held| *held) => pool.permit_beyond(),
        }
    }
}

enum Step {
    Use(Lease),
    Open,
    Wait,
    Join(String),
}

/// Settles the opening of the snapshot, also when it fails or is given up: then another scan may try.
struct Opening<'a> {
    shared: &'a QuerySnapshot,
    snapshot: Snapshot,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.shared.state().snapshot = std::mem::take(&mut self.snapshot);
        self.shared.opened.notify_waiters();
    }
}

/// Counts a scan among those that wait, as long as it does.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Reader {
    pub(crate) fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("a reader holds its lease until it is dropped")
    }

    /// Follows whether scans of the query wait for a connection.
    pub(crate) fn waiting(&self) -> watch::Receiver<usize> {
        self.shared.waiting.subscribe()
    }

    pub(crate) fn lease_mut(&mut self) -> &mut Lease {
        self.lease.as_mut().expect("a reader holds its lease until it is dropped")
    }
}

/// The scan must have brought the session back to its savepoint.
impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.shared.give_back(lease, self.is_leader);
        }
    }
}

fn lost() -> Error {
    Error::retry(SqlState::CONNECTION_LOST, "the connection that held the query's snapshot was lost")
        .with_hint("run the query again")
}

/// Opens the transaction of one connection: its snapshot, the query's name and the time that is left.
fn begin(context: &ReadContext, pool: &Pool, snapshot: Option<&str>) -> String {
    let mut text = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ".to_string();
    if let Some(id) = snapshot {
        text.push_str(&format!("SET TRANSACTION SNAPSHOT {}; ", literal(id)));
    }
    let name = format!("{}: {}", pool.endpoint().options.application_name, context.query());
    text.push_str(&format!("SET LOCAL application_name = {}", literal(&name)));
    if let Some(deadline) = context.deadline() {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().clamp(1, i32::MAX as u128);
        text.push_str(&format!("; SET LOCAL statement_timeout = {left}"));
    }
    text
}

/// A string constant for a session with `standard_conforming_strings`. NUL, which no text of the server can hold, is left out.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

/// Names the source in front of an error of this module.
pub(crate) fn named(pool: &Pool, result: Error) -> Error {
    if result.message().starts_with("source ") { result } else { error::at(&pool.endpoint().catalog, result) }
}
