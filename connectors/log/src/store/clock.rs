//! Where commit times come from. A simulation passes its own clock; the writer sees to it that time never goes back.

use super::CommitTime;
use std::time::SystemTime;

/// Tells the time of a commit.
pub trait Clock: Send + Sync + 'static {
    /// Now. May go backwards: the writer of a shard repeats the last time then.
    fn now(&self) -> CommitTime;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place of the store that asks the system")]
    fn now(&self) -> CommitTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        CommitTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl<F: Fn() -> CommitTime + Send + Sync + 'static> Clock for F {
    fn now(&self) -> CommitTime {
        self()
    }
}
