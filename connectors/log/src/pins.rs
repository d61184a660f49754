//! One cut for all reads of a query: where each shard starts and ends is looked up once, so that a self-join sees the same
//! records on both sides while others append. What is pinned is held: it is not trimmed before the query ends.

use crate::error::of_store;
use crate::store::{self, Log, Shard};
use polder_catalog::{CatalogName, Error, Kind, Offset, Position, ReadContext, Result, ShardName, SqlState};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The pinned shards of one query.
pub(crate) struct Pins {
    /// The name of its holds.
    hold: String,
    pinned: Mutex<Pinned>,
}

/// Tells the holds of queries apart.
static QUERIES: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct Pinned {
    /// Where the engine wants the cut; later ends do not count.
    at: BTreeMap<String, u64>,
    shards: BTreeMap<String, Range<u64>>,
    /// What is kept from being trimmed.
    held: Vec<Shard>,
}

impl Pins {
    /// The pins of this query, which its reads share.
    pub(crate) fn of(context: &ReadContext, catalog: &CatalogName) -> Arc<Self> {
        context.shared(catalog, || {
            let hold = format!("query {} {}", QUERIES.fetch_add(1, Ordering::Relaxed), context.query());
            Self { hold, pinned: Mutex::default() }
        })
    }

    /// Sets where the cut is, for shards that are not pinned yet.
    pub(crate) fn cut_at(&self, position: &Position) {
        let mut pinned = self.lock();
        pinned.at.extend(position.shards.iter().map(|(shard, offset)| (shard.0.to_string(), offset.0)));
    }

    /// The ends that the query reads to, of the shards that it has come upon.
    pub(crate) fn position(&self) -> Position {
        let pinned = self.lock();
        let end = |(shard, range): (&String, &Range<u64>)| (ShardName(shard.as_str().into()), Offset(range.end));
        Position { shards: pinned.shards.iter().map(end).collect(), ..Position::default() }
    }

    /// The offsets of a shard that the query sees. At its first call the ends of all shards are taken together.
    pub(crate) fn range(&self, log: &Log, shard: &str) -> Result<Range<u64>> {
        let mut pinned = self.lock();
        if pinned.shards.is_empty() {
            for shard in log.shards() {
                pinned.pin(&shard);
            }
        }
        let shard = find(log, shard)?;
        if !pinned.shards.contains_key(shard.name()) {
            pinned.pin(&shard);
        }
        let range = pinned.hold(&shard, &self.hold);
        let end = shard.end().offset.0;
        if range.end > end {
            return Err(beyond(shard.name(), range.end, end));
        }
        Ok(range)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pinned> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pinned {
    fn pin(&mut self, shard: &Shard) {
        let start = shard.start().0;
        let end = self.at.get(shard.name()).copied().unwrap_or_else(|| shard.end().offset.0);
        self.shards.insert(shard.name().to_string(), start.min(end)..end);
    }

    /// Keeps a pinned shard from being trimmed; what was trimmed before that was not seen yet.
    fn hold(&mut self, shard: &Shard, name: &str) -> Range<u64> {
        let range = self.shards.get_mut(shard.name()).expect("the shard was pinned");
        if self.held.iter().any(|held| held.name() == shard.name()) {
            return range.clone();
        }
        while shard.hold(name, store::Offset(range.start)).is_err() && range.start < range.end {
            range.start = shard.start().0.min(range.end);
        }
        self.held.push(shard.clone());
        range.clone()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.lock().held);
        held.iter().for_each(|shard| shard.release(&self.hold));
    }
}

/// A shard that a definition names.
pub(crate) fn find(log: &Log, shard: &str) -> Result<Shard> {
    log.shard(shard).ok_or_else(|| {
        Error::new(Kind::Repair, SqlState::DAMAGED, format!("shard \"{shard}\" is not in the log"))
            .with_hint("a topic is defined over it; restore its folder, or drop the topic")
    })
}

fn beyond(shard: &str, wanted: u64, end: u64) -> Error {
    Error::fix(SqlState::PARAMETER, format!("shard \"{shard}\" ends at offset {end}, before the position {wanted}"))
        .with_hint("send a token that SHOW POSITION printed for this data directory")
}

/// The entries of a shard with records in `range`.
pub(crate) fn entries(shard: &Shard, range: Range<u64>) -> Result<store::Entries> {
    shard.read(store::Offset(range.start)..store::Offset(range.end)).map_err(of_store)
}
