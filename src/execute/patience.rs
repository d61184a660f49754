//! Trying again what was disturbed by others: with pauses that grow, and in the end alone.

use polder_catalog::{ReadContext, Result};
use std::time::Duration;

/// After so many tries in vain a statement has the tables for itself: a large one would never come to an end beside many small.
const DISTURBED_MAX: u32 = 8;

/// Pauses between tries, so that whoever keeps changing the rows may come to an end.
const PAUSE_MIN: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// What one statement has gone through.
#[derive(Debug)]
pub(super) struct Patience {
    disturbed: u32,
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { disturbed: 0, pause: PAUSE_MIN }
    }
}

impl Patience {
    /// Whether nobody else should write Polder's own tables during the next try.
    pub(super) fn is_at_end(&self) -> bool {
        self.disturbed >= DISTURBED_MAX
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The context's, if that ends first.
    pub(super) async fn disturbed(&mut self, context: &ReadContext) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            error = context.stopped() => return Err(error),
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.disturbed += 1;
        Ok(())
    }
}
