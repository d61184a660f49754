//! Ctrl-C, as something to wait for.

use futures::FutureExt;
use polder_catalog::{Error, Kind, Result, SqlState};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGINT instead of dying of it, from its creation to the end of the process.
#[derive(Debug)]
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// Must be made inside a runtime.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::new(Kind::Report, SqlState::INTERNAL, "could not listen for signals")
                    .with_detail(error.to_string())
            })
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Completes at the next Ctrl-C (or SIGTERM, which ends a script in the same orderly way). Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Forgets a Ctrl-C that came too late for the statement it was meant for.
    pub(crate) fn forget(&mut self) {
        while self.interrupt.recv().now_or_never().is_some() {}
    }
}
