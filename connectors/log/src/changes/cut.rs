//! How far the shards of all topics were told, as a position: bytes in the order of history.
//!
//! ```text
//! | time of the newest entry | entries in all | length, name, next entry of each shard that has entries, by name ... |
//! ```
//!
//! Numbers are big-endian. Commit times come first, so that a position never decreases when a topic is dropped.

use crate::source::Topics;
use polder_catalog::{Error, Result, SourcePosition, SqlState};
use std::collections::BTreeMap;

/// A cut through the shards of all topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    time: i64,
    /// The next entry of each shard.
    entries: BTreeMap<String, u64>,
}

impl Cut {
    /// The ends of now.
    pub(super) fn now(topics: &Topics) -> Result<Self> {
        let mut cut = Self::default();
        for shard in topics.shards()? {
            let end = shard.end();
            cut.pass(shard.name(), end.entries.0, end.time.0);
        }
        Ok(cut)
    }

    /// The next entry of a shard.
    pub(super) fn entry(&self, shard: &str) -> u64 {
        self.entries.get(shard).copied().unwrap_or_default()
    }

    /// Moves behind an entry.
    pub(super) fn pass(&mut self, shard: &str, next: u64, time: i64) {
        if next > 0 {
            self.time = self.time.max(time);
            self.entries.insert(shard.to_string(), next);
        }
    }

    pub(super) fn position(&self) -> SourcePosition {
        let mut bytes = order(self.time).to_be_bytes().to_vec();
        bytes.extend(self.entries.values().sum::<u64>().to_be_bytes());
        for (shard, next) in &self.entries {
            bytes.push(u8::try_from(shard.len()).expect("the name of a shard is short"));
            bytes.extend(shard.as_bytes());
            bytes.extend(next.to_be_bytes());
        }
        SourcePosition::new(bytes)
    }

    pub(super) fn parse(position: &SourcePosition) -> Result<Self> {
        Self::read(position.as_bytes()).ok_or_else(|| {
            Error::fix(SqlState::PARAMETER, format!("{position} is no position of the topics"))
                .with_hint("resume from a position that this source told")
        })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (time, rest) = bytes.split_first_chunk::<8>()?;
        let (_, mut rest) = rest.split_first_chunk::<8>()?;
        let mut entries = BTreeMap::new();
        while let Some((length, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            let (next, after) = after.split_first_chunk::<8>()?;
            entries.insert(std::str::from_utf8(name).ok()?.to_string(), u64::from_be_bytes(*next));
            rest = after;
        }
        Some(Self { time: (u64::from_be_bytes(*time) ^ SIGN) as i64, entries })
    }
}

const SIGN: u64 = 1 << 63;

/// A number that sorts as the time does.
fn order(time: i64) -> u64 {
    time as u64 ^ SIGN
}
