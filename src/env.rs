//! The one door for time and chance, so that a run can be repeated.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the engine takes time and chance from.
#[derive(Debug)]
pub(crate) struct Env {
    instance: u64,
    queries: AtomicU64,
}

impl Env {
    /// The machine's own clock and chance.
    pub(crate) fn system() -> Self {
        // The standard library seeds its hasher from the operating system.
        Self { instance: RandomState::new().hash_one(std::process::id()), queries: AtomicU64::new(0) }
    }

    /// A name that no other query has: `3f9a1c02-17`.
    pub(crate) fn next_query(&self) -> String {
        let number = self.queries.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{:08x}-{number}", self.instance as u32)
    }

    /// Seconds since 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub(crate) fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// Starts measuring a span of time.
    pub(crate) fn stopwatch(&self) -> Stopwatch {
        #[expect(clippy::disallowed_methods, reason = "this is the door")]
        Stopwatch(Instant::now())
    }
}

/// The time of day, in microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A started clock.
#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
