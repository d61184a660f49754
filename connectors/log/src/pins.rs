//! One cut for all reads of a query: where each shard starts and ends is looked up once, so that a self-join sees the same
//! records on both sides while others append.

use crate::error::of_store;
use crate::store::{self, Log, Shard};
use polder_catalog::{CatalogName, Error, Kind, Offset, Position, ReadContext, Result, ShardName, SqlState};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The pinned shards of one query.
#[derive(Default)]
pub(crate) struct Pins(Mutex<Pinned>);

#[derive(Default)]
struct Pinned {
    /// Where the engine wants the cut; later ends do not count.
    at: BTreeMap<String, u64>,
    shards: BTreeMap<String, Range<u64>>,
}

impl Pins {
    /// The pins of this query, which its reads share.
    pub(crate) fn of(context: &ReadContext, catalog: &CatalogName) -> Arc<Self> {
        context.shared(catalog, Self::default)
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
        if !pinned.shards.contains_key(shard) {
            pinned.pin(&find(log, shard)?);
        }
        let range = pinned.shards.get(shard).expect("the shard was just pinned").clone();
        let end = log.shard(shard).map_or(range.end, |shard| shard.end().offset.0);
        if range.end > end {
            return Err(beyond(shard, range.end, end));
        }
        Ok(range)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pinned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pinned {
    fn pin(&mut self, shard: &Shard) {
        let start = shard.start().0;
        let end = self.at.get(shard.name()).copied().unwrap_or_else(|| shard.end().offset.0);
        self.shards.insert(shard.name().to_string(), start.min(end)..end);
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
