//! Checkpoints of what is made of the log and kept in memory: Polder's own tables, and the requests.
//!
//! They may lag, and be lost: what they do not have is read from the log. So nobody waits for one, and the only sync that a
//! commit waits for is the log's.

use crate::commit::position;
use crate::engine::Inner;
use crate::follow;
use crate::requests::Requests;
use polder_catalog::{Error, Position, Result, ShardName};
use polder_log::store::{MAIN, Offset, Shard};
use polder_rows::RowsSource;
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

    fn lags(&self, end: u64) -> bool {
        end.saturating_sub(self.reached.load(Ordering::Relaxed)) >= self.every
    }
}

/// Fills the tables and the requests: from the newest checkpoint, and with what the log has behind it. A checkpoint that cannot be
/// used is as good as none.
pub(crate) async fn fill(
    main: Shard,
    tables: Arc<RowsSource>,
    requests: Arc<Requests>,
    checkpoints: Arc<Checkpoints>,
) -> Result<()> {
    let (reading, folder) = (Arc::clone(&tables), checkpoints.folder.clone());
    let restored = tokio::task::spawn_blocking(move || reading.restore(&folder)).await;
    let restored = match restored {
        Ok(Ok(None)) => Ok(main.start()),
        Ok(Ok(Some((position, snapshot)))) => checked(&main, &position, &snapshot, &requests),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let from = restored.unwrap_or_else(|error| {
        tracing::warn!(%error, "the checkpoint of the tables cannot be used, they are made anew from the log");
        tables.clear();
        main.start()
    });
    checkpoints.reached.store(from.0, Ordering::Relaxed);
    follow::replay(&main, from, &tables, &requests).await
}

fn checked(main: &Shard, position: &Position, snapshot: &[u8], requests: &Requests) -> Result<Offset, String> {
    let offset = position.shards.get(&ShardName(MAIN.into())).map_or(0, |offset| offset.0);
    let (start, end) = (main.start().0, main.end().offset.0);
    if !(start..=end).contains(&offset) {
        return Err(format!("it reflects offset {offset} of a log that has {start} to {end}"));
    }
    requests.restore(snapshot)?;
    Ok(Offset(offset))
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
    let (commit, checkpoints) = (&engine.commit, &engine.checkpoints);
    // One that goes with the engine helps nobody.
    let wanted = commit.is_replayed() && !engine.is_temporary();
    let Some(log) = commit.opened().filter(|_| wanted) else { return Ok(()) };
    let _writing = checkpoints.writing.lock().await;
    // Before the tables are looked at: what they show then has all of it.
    let end = log.main().end();
    if !checkpoints.lags(end.offset.0) {
        return Ok(());
    }
    let (tables, folder) = (Arc::clone(commit.own()), checkpoints.folder.clone());
    let requests = commit.requests().await?.snapshot(end.entries.0);
    let position = position([(MAIN.to_string(), end.offset)]);
    let written = tokio::task::spawn_blocking(move || tables.checkpoint(&folder, &position, &requests));
    written.await.map_err(|error| Error::report("writing a checkpoint ended in a panic").with_source(error))??;
    checkpoints.reached.store(end.offset.0, Ordering::Relaxed);
    Ok(())
}
