//! Faults on demand, so that tests see what a user sees when a source fails.

use std::sync::{Mutex, PoisonError};

/// A fault that happens once, at the next call it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next listing or description fails, as if the system could not be reached.
    Listing,
    /// The next scan breaks off after so many batches.
    Scan {
        /// Batches that still arrive.
        after_batches: usize,
    },
    /// The next stream of changes breaks off after so many events.
    Changes {
        /// Events that still arrive.
        after_events: usize,
    },
    /// The next entry is not applied, and asked for again.
    Apply,
}

/// Faults that are still to happen.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn inject(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Takes out the first fault that `fits`, with what it says.
    pub(crate) fn take<T>(&self, fits: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = faults.iter().enumerate().find_map(|(at, fault)| Some((at, fits(fault)?)))?;
        faults.remove(at);
        Some(found)
    }
}
