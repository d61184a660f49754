//! Checkpoints of what is made of the log and kept in memory: Polder's own tables, and the requests.
//!
//! They may lag, and be lost: what they do not have is read from the log. So nobody waits for one, and the only sync that a
//! commit waits for is the log's.

use crate::commit::{Ledger, position};
use crate::effects::{DeadLetter, Effects};
use crate::engine::Inner;
use crate::follow;
use crate::home::table_shard;
use polder_catalog::{Error, Position, Result, ShardName};
use polder_log::store::Offset;
use polder_rows::{Home, RowsSource};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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
    /// The end of its shard that the newest one of each home reflects.
    reached: Mutex<BTreeMap<Home, u64>>,
    writing: tokio::sync::Mutex<()>,
}

impl Checkpoints {
    pub(crate) fn new(folder: PathBuf, every: u64) -> Self {
        Self { folder, every: every.max(1), reached: Mutex::default(), writing: Default::default() }
    }

    fn reached(&self) -> MutexGuard<'_, BTreeMap<Home, u64>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of its shard that the newest checkpoint of each home reflects.
    pub(crate) fn positions(&self) -> BTreeMap<Home, u64> {
        self.reached().clone()
    }

    fn lags(&self, home: Home, end: u64) -> bool {
        end.saturating_sub(self.reached().get(&home).copied().unwrap_or(0)) >= self.every
    }

    fn folder(&self, home: Home) -> PathBuf {
        match home {
            Home::Main => self.folder.clone(),
            Home::Shard(at) => self.folder.with_file_name(table_shard(at)),
        }
    }
}

/// Fills the tables and the requests of a home: from the newest checkpoint, and with what the log has behind it. A checkpoint that
/// cannot be used is as good as none.
pub(crate) async fn fill(
    ledger: Ledger,
    tables: Arc<RowsSource>,
    effects: Arc<Effects>,
    checkpoints: Arc<Checkpoints>,
) -> Result<()> {
    let home = ledger.home;
    let (reading, folder) = (Arc::clone(&tables), checkpoints.folder(home));
    let restored = tokio::task::spawn_blocking(move || reading.restore(home, &folder)).await;
    let restored = match restored {
        Ok(Ok(None)) => Ok(ledger.shard.start()),
        Ok(Ok(Some((position, extra)))) => checked(&ledger, &position, &extra, &effects),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let from = restored.unwrap_or_else(|error| {
        let shard = ledger.shard.name();
        tracing::warn!(%error, shard, "the checkpoint of the tables cannot be used, they are made anew from the log");
        tables.clear(home);
        ledger.shard.start()
    });
    checkpoints.reached().insert(home, from.0);
    follow::replay(&ledger, from, &tables, &effects).await
}

/// What is kept beside the tables.
#[derive(Serialize, Deserialize)]
struct Extra {
    requests: Vec<u8>,
    /// Entries whose effects are still to be done, by their ends.
    pending: Vec<u64>,
    dead: Vec<DeadLetter>,
}

fn checked(ledger: &Ledger, position: &Position, extra: &[u8], effects: &Effects) -> Result<Offset, String> {
    let shard = &ledger.shard;
    let offset = position.shards.get(&ShardName(shard.name().into())).map_or(0, |offset| offset.0);
    let (start, end) = (shard.start().0, shard.end().offset.0);
    if !(start..=end).contains(&offset) {
        return Err(format!("it reflects offset {offset} of a log that has {start} to {end}"));
    }
    let Extra { requests, pending, dead } = serde_json::from_slice(extra).map_err(|error| error.to_string())?;
    ledger.requests.restore(&requests)?;
    effects.restore(ledger.home, (pending, dead));
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

/// Writes one of each home whose newest lags too far behind.
///
/// # Errors
/// The disk's. The one before is still there.
pub(crate) async fn write_if_due(engine: &Inner) -> Result<()> {
    let (commit, checkpoints) = (&engine.commit, &engine.checkpoints);
    if !commit.is_replayed() {
        return Ok(());
    }
    // What was written by a statement that was given up in between is shown, too.
    commit.show_all().await?;
    commit.effects().tell();
    // A checkpoint that goes with the engine helps nobody.
    if engine.is_temporary() {
        return Ok(());
    }
    let _writing = checkpoints.writing.lock().await;
    for Ledger { home, shard, requests } in commit.ledgers().await? {
        // Before the tables are looked at: what they show then has all of it.
        let end = shard.end();
        if !checkpoints.lags(home, end.offset.0) {
            continue;
        }
        let (tables, folder) = (Arc::clone(commit.own()), checkpoints.folder(home));
        let (pending, dead) = commit.effects().snapshot(home, end.offset.0);
        let extra = Extra { requests: requests.snapshot(end.entries.0), pending, dead };
        let extra =
            serde_json::to_vec(&extra).map_err(|error| Error::report("numbers do not serialize").with_source(error))?;
        let position = position([(shard.name().to_string(), end.offset)]);
        let written = tokio::task::spawn_blocking(move || tables.checkpoint(home, &folder, &position, &extra));
        written.await.map_err(|error| Error::report("writing a checkpoint ended in a panic").with_source(error))??;
        checkpoints.reached().insert(home, end.offset.0);
    }
    Ok(())
}
