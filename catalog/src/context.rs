//! The context of a read: on whose behalf, under which snapshot, until when.

use crate::{CatalogName, Error, Observer, Result};
use datafusion_execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(pub Arc<str>);

/// Names one query in logs, in system tables and, where a source has a place for it, at the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryId(pub Arc<str>);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every read takes. Cheap to clone; all clones share one snapshot, one cancellation, one memory pool.
#[derive(Clone)]
pub struct ReadContext(Arc<Inner>);

struct Inner {
    query: QueryId,
    principal: Principal,
    deadline: Option<Instant>,
    cancellation: CancellationToken,
    memory: Arc<dyn MemoryPool>,
    partitions: usize,
    pushdown: bool,
    observer: Option<Arc<dyn Observer>>,
    shared: Mutex<HashMap<(CatalogName, TypeId), Arc<dyn Any + Send + Sync>>>,
    notices: Mutex<Vec<String>>,
}

impl ReadContext {
    /// Starts a context for one query.
    pub fn builder(query: QueryId, principal: Principal) -> ReadContextBuilder {
        ReadContextBuilder {
            query,
            principal,
            deadline: None,
            cancellation: CancellationToken::new(),
            memory: Arc::new(UnboundedMemoryPool::default()),
            partitions: 1,
            pushdown: true,
            observer: None,
        }
    }

    /// For another try at the same statement: all is as it was, but nothing is shared yet.
    pub fn again(&self) -> Self {
        let Inner { query, principal, deadline, cancellation, memory, partitions, pushdown, observer, .. } = &*self.0;
        ReadContextBuilder {
            query: query.clone(),
            principal: principal.clone(),
            deadline: *deadline,
            cancellation: cancellation.clone(),
            memory: Arc::clone(memory),
            partitions: *partitions,
            pushdown: *pushdown,
            observer: observer.clone(),
        }
        .build()
    }

    /// The query's id.
    pub fn query(&self) -> &QueryId {
        &self.0.query
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// When the read must have ended, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Cancelled when the user gives up. Everything done for the query stops soon after.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancellation
    }

    /// Where buffers beyond a batch or two are accounted for.
    pub fn memory(&self) -> &Arc<dyn MemoryPool> {
        &self.0.memory
    }

    /// How many streams of one dataset the engine can use at once, at least one.
    pub fn partitions(&self) -> usize {
        self.0.partitions
    }

    /// Whether sources may take over work. When off, a provider declares no pushdown but projection.
    pub fn pushdown(&self) -> bool {
        self.0.pushdown
    }

    /// Who watches over requests to sources, if anybody does.
    pub fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.0.observer.as_ref()
    }

    /// What all reads of one catalog in this query share, such as an exported snapshot; made at the first call.
    ///
    /// `T` is private to the connector. It is dropped with the last clone of the context.
    pub fn shared<T: Any + Send + Sync>(&self, catalog: &CatalogName, make: impl FnOnce() -> T) -> Arc<T> {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shared.entry((catalog.clone(), TypeId::of::<T>())).or_insert_with(|| Arc::new(make()));
        Arc::clone(entry).downcast().expect("the key holds the type")
    }

    /// Tells the user something that is no error, such as a suggestion. What was told already is not told again.
    pub fn notice(&self, text: impl Into<String>) {
        let (text, mut notices) = (text.into(), self.0.notices.lock().unwrap_or_else(PoisonError::into_inner));
        if !notices.contains(&text) {
            notices.push(text);
        }
    }

    /// What the user was told so far.
    pub fn notices(&self) -> Vec<String> {
        self.0.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An error if the query was cancelled or ran out of time.
    pub fn check(&self) -> Result<()> {
        if self.0.cancellation.is_cancelled() {
            return Err(Error::cancelled());
        }
        if self.0.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::out_of_time());
        }
        Ok(())
    }

    /// Completes when the query is cancelled or out of time, with the error to report.
    pub async fn stopped(&self) -> Error {
        let out_of_time = async {
            match self.0.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.0.cancellation.cancelled() => Error::cancelled(),
            () = out_of_time => Error::out_of_time(),
        }
    }
}

impl fmt::Debug for ReadContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadContext")
            .field("query", &self.0.query)
            .field("principal", &self.0.principal)
            .field("pushdown", &self.0.pushdown)
            .finish_non_exhaustive()
    }
}

/// Builds a [`ReadContext`].
pub struct ReadContextBuilder {
    query: QueryId,
    principal: Principal,
    deadline: Option<Instant>,
    cancellation: CancellationToken,
    memory: Arc<dyn MemoryPool>,
    partitions: usize,
    pushdown: bool,
    observer: Option<Arc<dyn Observer>>,
}

impl ReadContextBuilder {
    /// Sets when the read must have ended.
    #[must_use]
    pub fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets the token that cancels the query.
    #[must_use]
    pub fn cancellation(mut self, cancellation: CancellationToken) -> Self {
        self.cancellation = cancellation;
        self
    }

    /// Sets the pool that buffers are accounted to.
    #[must_use]
    pub fn memory(mut self, memory: Arc<dyn MemoryPool>) -> Self {
        self.memory = memory;
        self
    }

    /// Sets how many streams of one dataset the engine can use at once.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = partitions.max(1);
        self
    }

    /// Switches pushdown on or off.
    #[must_use]
    pub fn pushdown(mut self, pushdown: bool) -> Self {
        self.pushdown = pushdown;
        self
    }

    /// Sets who watches over requests to sources.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The context.
    pub fn build(self) -> ReadContext {
        let Self { query, principal, deadline, cancellation, memory, partitions, pushdown, observer } = self;
        let (shared, notices) = Default::default();
        ReadContext(Arc::new(Inner {
            query,
            principal,
            deadline,
            cancellation,
            memory,
            partitions,
            pushdown,
            observer,
            shared,
            notices,
        }))
    }
}
