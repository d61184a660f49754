//! The end of a server, in two steps: nothing new is taken, then what still runs is stopped.

use polder_catalog::{Error, SqlState};
use tokio_util::sync::CancellationToken;

/// Told once, heard by everything that serves. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    draining: CancellationToken,
    stopped: CancellationToken,
}

impl Shutdown {
    /// From now on nothing new is taken.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// What still runs ends with an error.
    pub(crate) fn stop(&self) {
        self.draining.cancel();
        self.stopped.cancel();
    }

    /// Whether nothing new is taken.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Completes when nothing new is taken. Cancel-safe.
    pub(crate) async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Completes with what clients are told when the time to finish is over. Cancel-safe.
    pub(crate) async fn stopped(&self) -> Error {
        self.stopped.cancelled().await;
        Error::retry(SqlState::SHUTDOWN, "the server is shutting down")
    }
}
