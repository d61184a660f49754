//! Checkpoints of what is made of the log and kept in memory: Polder's own tables, and the requests.
//!
//! They may lag, and be lost: what they do not have is read from the log. So nobody waits for one, and the only sync that a
//! commit waits for is the log's.

use crate::engine::Inner;
use polder_catalog::{Error, Result};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How many records of the log a checkpoint may lag, if the configuration says nothing.
pub(crate) const RECORDS: u64 = 200_000;

/// How often it is looked at that.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where checkpoints are, and how far the newest reaches.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    every: u64,
    /// The end of `main` that the newest one reflects.
    reached: AtomicU64,
    writing: tokio::sync::Mutex<()>,
}

impl Checkpoints {
    pub(crate) fn new(folder: PathBuf, every: u64) -> Self {
        Self { folder, every: every.max(1), reached: AtomicU64::new(0), writing: Default::default() }
    }

    /// Where the newest one is read from.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Notes how far the one reaches that was read.
    pub(crate) fn restored(&self, offset: u64) {
        self.reached.store(offset, Ordering::Relaxed);
    }

    fn lags(&self, end: u64) -> bool {
        end.saturating_sub(self.reached.load(Ordering::Relaxed)) >= self.every
    }
}

/// Starts writing them, until the handle or the engine is dropped.
pub(crate) fn start(engine: Weak<Inner>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(engine) = engine.upgrade() else { return };
            if let Err(error) = write_if_due(&engine).await {
                tracing::warn!(%error, "could not write a checkpoint of the tables; the log has all of it");
            }
        }
    }))
}

/// Writes one if the newest lags too far behind.
///
/// # Errors
/// The disk's. The one before is still there.
pub(crate) async fn write_if_due(engine: &Inner) -> Result<()> {
    let commit = &engine.commit;
    // One that goes with the engine helps nobody.
    let wanted = commit.is_replayed() && !engine.is_temporary();
    let Some(log) = commit.opened().filter(|_| wanted) else { return Ok(()) };
    let _writing = commit.checkpoints.writing.lock().await;
    // Before the tables are looked at: what they show then has all of it.
    let end = log.main().end();
    if !commit.checkpoints.lags(end.offset.0) {
        return Ok(());
    }
    let (tables, folder) = (Arc::clone(commit.own()), commit.checkpoints.folder());
    let requests = commit.requests().await?.snapshot(end.entries.0);
    let position = crate::commit::position([(polder_log::store::MAIN.to_string(), end.offset)]);
    let written = tokio::task::spawn_blocking(move || tables.checkpoint(&folder, &position, &requests));
    written.await.map_err(|error| Error::report("writing a checkpoint ended in a panic").with_source(error))??;
    commit.checkpoints.restored(end.offset.0);
    Ok(())
}
