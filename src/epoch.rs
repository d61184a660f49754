//! Epochs: entries of `main` that say how far each shard counts.
//!
//! ```text
//! tables-0  ─ a ─ b ──────── c ─
//! tables-1  ───── d ─ e ────────
//! main      ─── 7 ───┬─ 8 ─── 9 ┬
//!                    │          └ epoch {tables-0: c, tables-1: e}
//!                    └ epoch {tables-0: b, tables-1: e}
//! ```
//!
//! The rows of tables that are spread are shown as of the newest epoch that is durable, so that all tables together are one
//! state at each entry of `main`: an offset of `main` names it for ever, and reading the log again comes by the same states.
//! A write to a shard is answered when an epoch has it. So what its client reads, writes and causes comes after it,
//! and an epoch never has an entry without what caused it.

use crate::home::{NO_DATASET, table_shard};
use polder_log::store::{self, Entry, EntryKind, NewEntry};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format that this version writes. A newer one is refused.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    /// The offset at which each shard ends.
    cut: BTreeMap<String, u64>,
}

/// The entry of an epoch: where each shard ends, by its number.
pub(crate) fn entry_of(cut: &[u64]) -> store::Result<NewEntry> {
    let cut = (0..).zip(cut).map(|(at, end)| (table_shard(at), *end)).collect();
    let record = Record { format: FORMAT, cut };
    let mut entry = NewEntry::new(EntryKind::EPOCH);
    entry.add_bytes(NO_DATASET, &serde_json::to_vec(&record).expect("numbers serialize"))?;
    Ok(entry)
}

/// Where each shard ended at an epoch, if the entry is one.
///
/// # Errors
/// In words, if it cannot be read.
pub(crate) fn cut_of(entry: &Entry) -> Result<Option<Vec<u64>>, String> {
    if entry.header().kind != EntryKind::EPOCH {
        return Ok(None);
    }
    let part = entry.parts().next().ok_or("an epoch without a cut")?.map_err(|error| error.to_string())?;
    let record: Record = serde_json::from_slice(&part.payload).map_err(|error| error.to_string())?;
    if record.format > FORMAT {
        return Err(format!("an epoch of format {}, this version reads up to {FORMAT}", record.format));
    }
    let end = |at| record.cut.get(&table_shard(at)).copied();
    Ok(Some((0..).map_while(end).collect()))
}
