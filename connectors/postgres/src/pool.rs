//! The connections of one catalog: `pool_size` for scans, and one lane beside them for the server's catalog.
//!
//! Whoever waits here holds no connection: a query waits for its *first* connection only (see [`crate::snapshot`]). The
//! lane for descriptions keeps planning going while scans use the whole pool.

use crate::connection::{Canceller, Endpoint, Session};
use crate::ending::Endings;
use polder_catalog::{ReadContext, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(crate) struct Pool {
    endpoint: Arc<Endpoint>,
    /// The right to have a connection. Idle sessions hold none: they are at most as many as rights are free.
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    /// The lane for descriptions; taken while it is used.
    lane: tokio::sync::Mutex<Option<Session>>,
    closed: AtomicBool,
    endings: Arc<Endings>,
}

/// The right to one connection, not yet connected. `None` is one beyond `pool_size`, whose connection is not kept.
#[derive(Debug)]
pub(crate) struct Permit(Option<OwnedSemaphorePermit>);

impl Pool {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(endpoint.options.pool_size));
        Arc::new(Self {
            endpoint,
            permits,
            idle: Mutex::default(),
            lane: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            endings: Arc::default(),
        })
    }

    /// What was given up and is not over yet.
    pub(crate) fn endings(&self) -> &Arc<Endings> {
        &self.endings
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Waits for the right to a connection. Only for a query that holds none.
    pub(crate) async fn permit(&self) -> Permit {
        Permit(Some(Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed")))
    }

    /// The right to one connection more than `pool_size`: for a query that must not wait, since it holds connections of
    /// another catalog that others may wait for.
    pub(crate) fn permit_beyond(&self) -> Permit {
        Permit(None)
    }

    /// The right to a connection, if one is free now.
    pub(crate) fn try_permit(&self) -> Option<Permit> {
        Arc::clone(&self.permits).try_acquire_owned().ok().map(|permit| Permit(Some(permit)))
    }

    /// Makes a connection of the right to one, in a transaction that `begin` opens.
    pub(crate) async fn begin(self: &Arc<Self>, permit: Permit, begin: &str) -> Result<Lease> {
        let mut permit = permit;
        if let Some(session) = self.pop_idle() {
            let mut lease = Lease::new(Arc::clone(self), session, permit);
            match lease.begin(begin).await {
                Ok(()) => return Ok(lease),
                // A session may have died while it was idle, which is no error of this query: open a new one.
                Err(_) if !lease.session().is_usable() => permit = lease.discard(),
                Err(error) => return Err(error),
            }
        }
        let session = self.endpoint.connect().await?;
        let mut lease = Lease::new(Arc::clone(self), session, permit);
        lease.begin(begin).await?;
        Ok(lease)
    }

    /// Uses the lane for descriptions, one caller at a time. If the caller gives up, its statement is cancelled.
    pub(crate) async fn describe<T>(
        &self,
        context: &ReadContext,
        work: impl AsyncFnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let describing = async {
            let mut lane = self.lane.lock().await;
            let session = match lane.take().filter(Session::is_usable) {
                Some(session) => session,
                None => self.endpoint.connect().await?,
            };
            let mut guard = CancelOnDrop { endings: &self.endings, canceller: Some(session.canceller()) };
            let mut session = session;
            let result = work(&mut session).await;
            guard.canceller = None;
            *lane = Some(session).filter(|_| !self.closed.load(Ordering::Relaxed));
            result
        };
        tokio::select! {
            biased;
            error = context.stopped() => Err(self.endpoint.at(error)),
            result = describing => result,
        }
    }

    /// Waits for what was given up, then closes what is idle; what is in use closes when it is given back.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.endings.wait().await;
        self.idle().clear();
        *self.lane.lock().await = None;
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop_idle(&self) -> Option<Session> {
        let mut idle = self.idle();
        while let Some(session) = idle.pop() {
            if session.is_usable() {
                return Some(session);
            }
        }
        None
    }

    fn give_back(&self, session: Session) {
        if session.is_clean() && !self.closed.load(Ordering::Relaxed) {
            self.idle().push(session);
        }
    }
}

struct CancelOnDrop<'a> {
    endings: &'a Endings,
    canceller: Option<Canceller>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(canceller) = self.canceller.take() {
            let runtime = canceller.runtime().clone();
            self.endings.spawn(&runtime, async move { canceller.cancel().await });
        }
    }
}

/// A connection in use, inside a transaction. Dropped, it is rolled back and given back.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    /// Session and right to it; both are there until the lease is dropped.
    held: Option<(Session, Permit)>,
}

impl Lease {
    fn new(pool: Arc<Pool>, session: Session, permit: Permit) -> Self {
        Self { pool, held: Some((session, permit)) }
    }

    async fn begin(&mut self, begin: &str) -> Result<()> {
        let begun = self.session().client.batch_execute(begin).await;
        begun.map_err(|error| self.pool.endpoint.failed(error))
    }

    pub(crate) fn session(&self) -> &Session {
        &self.held.as_ref().expect("a lease holds its session until it is dropped").0
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        &mut self.held.as_mut().expect("a lease holds its session until it is dropped").0
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.pool.endpoint
    }

    /// Closes the connection and keeps the right to another.
    fn discard(mut self) -> Permit {
        self.held.take().expect("a lease holds its session until it is dropped").1
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((session, permit)) = self.held.take() else { return };
        if !session.is_clean() || permit.0.is_none() {
            return;
        }
        let pool = Arc::clone(&self.pool);
        let runtime = session.canceller().runtime().clone();
        // The task ends with its one statement; the right is kept until then, so the server never has too many.
        let endings = Arc::clone(&self.pool.endings);
        endings.spawn(&runtime, async move {
            // A rollback also takes back what a text of the user may have set in the session.
            if session.client.batch_execute("ROLLBACK").await.is_ok() {
                pool.give_back(session);
            }
            drop(permit);
        });
    }
}
