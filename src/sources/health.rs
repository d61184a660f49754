//! What is known of one source, and its circuit breaker: a source that could not be reached several times in a row is not asked
//! for a short while; then one statement tries it for all.

use crate::env::now_micros;
use crate::histogram::Histogram;
use polder_catalog::{CatalogName, Error, Result, SqlState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// So many times in a row a source cannot be reached before it is not asked any more.
const FAILURES_MAX: u32 = 3;

/// How long it is not asked.
const REST: Duration = Duration::from_secs(5);

/// The health of one source.
#[derive(Debug)]
pub(crate) struct Health {
    name: CatalogName,
    requests: AtomicU64,
    errors: AtomicU64,
    pub(crate) latency: Histogram,
    last_error: Mutex<Option<LastError>>,
    breaker: Mutex<Breaker>,
    /// Told when the breaker opens, to those who wait for the source.
    opened: Notify,
}

/// The newest error.
#[derive(Clone, Debug)]
pub(crate) struct LastError {
    pub(crate) message: String,
    pub(crate) at_micros: i64,
}

#[derive(Debug, Default)]
struct Breaker {
    /// How often in a row the source could not be reached.
    failures: u32,
    /// Until when it is not asked.
    rests_until: Option<Instant>,
    /// Whether a statement tries it for all.
    is_tried: bool,
}

impl Health {
    pub(crate) fn new(name: CatalogName) -> Self {
        Self {
            name,
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latency: Histogram::default(),
            last_error: Mutex::new(None),
            breaker: Mutex::default(),
            opened: Notify::new(),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn last_error(&self) -> Option<LastError> {
        lock(&self.last_error).clone()
    }

    /// Whether it could not be reached when it was asked last.
    pub(crate) fn is_failing(&self) -> bool {
        lock(&self.breaker).failures > 0
    }

    pub(crate) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, took: Duration) {
        self.latency.record(took);
        self.reached();
    }

    /// Whatever it was that failed, a source that answered was reached.
    pub(crate) fn failed(&self, error: &Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_error) = Some(LastError { message: error.message().to_string(), at_micros: now_micros() });
        if is_unreachable(error) { self.unreached() } else { self.reached() }
    }

    /// It can be reached.
    pub(crate) fn reached(&self) {
        *lock(&self.breaker) = Breaker::default();
    }

    fn unreached(&self) {
        let mut breaker = lock(&self.breaker);
        breaker.failures = breaker.failures.saturating_add(1);
        breaker.is_tried = false;
        if breaker.failures >= FAILURES_MAX {
            breaker.rests_until = Some(Instant::now() + REST);
            self.opened.notify_waiters();
        }
    }

    /// Leave to ask the source.
    ///
    /// # Errors
    /// 08001 while it rests, at once.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>> {
        let mut breaker = lock(&self.breaker);
        let Some(until) = breaker.rests_until else { return Ok(Admitted { health: self, tries: false }) };
        if Instant::now() < until || breaker.is_tried {
            let failures = breaker.failures;
            drop(breaker);
            return Err(self.rests(failures));
        }
        breaker.is_tried = true;
        Ok(Admitted { health: self, tries: true })
    }

    /// Completes when the source is given up while somebody waits for it. To be enlisted before the source is asked.
    pub(crate) fn opened(&self) -> impl Future<Output = Error> {
        let opened = self.opened.notified();
        async move {
            opened.await;
            self.rests(FAILURES_MAX)
        }
    }

    fn rests(&self, failures: u32) -> Error {
        let name = &self.name;
        let message = format!("source \"{name}\" is not asked: it could not be reached {failures} times in a row");
        let error = Error::retry(SqlState::CONNECTION, message);
        let error = match self.last_error() {
            Some(last) => error.with_detail(last.message),
            None => error,
        };
        let seconds = REST.as_secs();
        error.with_hint(format!("it is tried again every {seconds} s; CHECK CATALOG {name} looks at once"))
    }
}

/// Whether nobody was there to answer. Class 08 is PostgreSQL's for connections; 57P are servers that stop or start.
fn is_unreachable(error: &Error) -> bool {
    let state = error.state();
    state.as_str().starts_with("08") || matches!(state.as_str(), "57P01" | "57P02" | "57P03")
}

/// Leave to ask a source, until it is dropped.
pub(crate) struct Admitted<'a> {
    health: &'a Health,
    tries: bool,
}

/// Who tried for all and gave up leaves the try to the next.
impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.tries {
            lock(&self.health.breaker).is_tried = false;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Error {
        Error::retry(SqlState::CONNECTION, "could not connect")
    }

    fn is_asked(health: &Health) -> bool {
        health.admit().is_ok()
    }

    fn rested(health: &Health) {
        lock(&health.breaker).rests_until = Some(Instant::now());
    }

    #[test]
    fn a_source_that_cannot_be_reached_rests_and_is_tried_by_one() {
        let health = Health::new(CatalogName::new("shop"));
        for _ in 0..FAILURES_MAX {
            assert!(is_asked(&health));
            health.failed(&refused());
        }
        let error = health.admit().err().unwrap();
        assert_eq!((error.state(), error.detail()), (SqlState::CONNECTION, Some("could not connect")));
        assert!(error.message().contains("\"shop\""), "{error}");
        rested(&health);
        let tries = health.admit().unwrap();
        assert!(!is_asked(&health), "one tries");
        // Who gives up has found out nothing.
        drop(tries);
        let tries = health.admit().unwrap();
        health.failed(&refused());
        drop(tries);
        assert!(!is_asked(&health));
        rested(&health);
        let tries = health.admit().unwrap();
        health.answered(Duration::ZERO);
        drop(tries);
        assert!(is_asked(&health) && is_asked(&health) && !health.is_failing());
    }

    #[test]
    fn an_answer_that_is_an_error_is_an_answer() {
        let health = Health::new(CatalogName::new("shop"));
        for _ in 0..FAILURES_MAX {
            health.failed(&refused());
            health.failed(&Error::fix(SqlState::NO_TABLE, "no such table"));
        }
        assert!(is_asked(&health) && !health.is_failing());
        assert_eq!(health.errors(), 2 * u64::from(FAILURES_MAX));
    }

    #[tokio::test]
    async fn who_waits_for_a_source_is_told_when_it_is_given_up() {
        let health = Health::new(CatalogName::new("shop"));
        let waits = health.opened();
        (0..FAILURES_MAX).for_each(|_| health.failed(&refused()));
        assert_eq!(waits.await.state(), SqlState::CONNECTION);
    }
}
