//! Where the records of a key are: for each shard, topic and key column, sorted hashes with the offsets that have them.
//!
//! Offsets are cut into **blocks** of [`BLOCK`]. A complete block never changes, so it is a file; the records behind the
//! last complete block are the **tail**, in memory, which every lookup first extends to the durable end.
//!
//! ```text
//! keys.idx/<shard>/<dataset>-<column>-<block>.keys      complete blocks: derived, made anew if missing or damaged
//! ```
//!
//! # Promises
//! 1. A lookup finds the newest record before an offset whose key *may* be the one: hashes of different keys can be equal, so
//!    the caller reads the record and goes on with an older one if it is another key's.
//! 2. Every record that can be decoded and has a key is found, also those appended a moment ago.
//! 3. A file of another history (a shard that was dropped and made again under its name) is not believed.

mod block;
mod tail;

use crate::columns::{Hidden, TopicTable};
use crate::error::of_store;
use crate::pins::entries;
use crate::records::{Columns, Records};
use crate::store::{Log, Shard, folder_of};
use crate::topic::TopicDefinition;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use block::{Block, BlockFile, Identity};
use polder_catalog::key;
use polder_catalog::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tail::Tail;

/// Offsets in a block: the tail takes a few megabytes, and ten million records are under a hundred files.
pub(crate) const BLOCK: u64 = 1 << 17;

/// The folder of all key indexes, beside the shards.
const FOLDER: &str = "keys.idx";

/// The indexes that are in use.
#[derive(Default)]
pub(crate) struct KeyIndexes(Mutex<HashMap<Owner, Arc<Mutex<KeyIndex>>>>);

/// Shard, dataset and column.
type Owner = (String, u64, u32);

impl KeyIndexes {
    /// The index of the keys of a topic in a shard.
    pub(crate) fn of(&self, shard: &Shard, table: &TopicTable) -> Result<Arc<Mutex<KeyIndex>>> {
        let definition = &table.definition;
        let column = definition.key.ok_or_else(|| Error::report("a topic without a key has no key index"))?;
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = indexes.entry((shard.name().to_string(), definition.id, column)).or_default();
        Ok(Arc::clone(index))
    }

    /// Forgets the indexes of a topic that is no more, and removes their files. What cannot be removed costs room and
    /// nothing else: it is told.
    pub(crate) fn forget(&self, log: &Log, definition: &TopicDefinition) {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.retain(|(_, dataset, _), _| *dataset != definition.id);
        let (files, folder) = log.beside(FOLDER);
        let ours = format!("{}-", definition.id);
        for shard in &definition.shards {
            let folder = folder.join(folder_of(shard));
            let Ok(names) = files.list(&folder) else { continue };
            for name in names.iter().filter(|name| name.starts_with(&ours)) {
                if let Err(error) = files.remove(&folder.join(name)) {
                    tracing::warn!(file = %folder.join(name).display(), %error, "a key index could not be removed");
                }
            }
            // Another topic may have its index there.
            let _ = files.remove_dir(&folder);
        }
    }
}

/// The keys of one topic in one shard.
#[derive(Default)]
pub(crate) struct KeyIndex {
    blocks: BTreeMap<u64, Block>,
    tail: Tail,
}

/// What an index is made of.
pub(crate) struct Source<'a> {
    pub(crate) log: &'a Log,
    pub(crate) shard: &'a Shard,
    pub(crate) table: &'a TopicTable,
    pub(crate) decoded: &'a AtomicU64,
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
}

impl KeyIndex {
    /// Makes the index complete for these offsets; false if it was stopped before.
    pub(crate) fn cover(&mut self, source: &Source<'_>, range: &Range<u64>) -> Result<bool> {
        let (start, end) = (source.shard.start().0, source.shard.end().offset.0);
        self.blocks.retain(|block, trimmed| {
            let is_kept = (block + 1) * BLOCK > start;
            if !is_kept {
                trimmed.remove();
            }
            is_kept
        });
        for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
            if self.blocks.contains_key(&block) {
                continue;
            }
            let (base, complete) = (block * BLOCK, (block + 1) * BLOCK <= end);
            let file = complete.then(|| source.file(base, start)).transpose()?;
            if let Some(block_of) = file.as_ref().and_then(BlockFile::load) {
                self.blocks.insert(block, block_of);
                continue;
            }
            if self.tail.base() != Some(base) {
                self.tail = Tail::new(base, base.max(start));
            }
            if !self.extend_tail(source, end.min(base + BLOCK))? {
                return Ok(false);
            }
            if let Some(file) = file {
                let tail = std::mem::take(&mut self.tail);
                self.blocks.insert(block, file.write(tail.into_sorted()));
            }
        }
        Ok(true)
    }

    fn extend_tail(&mut self, source: &Source<'_>, to: u64) -> Result<bool> {
        let from = self.tail.end();
        let tail = &mut self.tail;
        let read = source.each(from..to, &mut |offset, hash| tail.add(offset, hash))?;
        if read {
            self.tail.close(to);
        } else {
            // What was added is in order, but not all of it.
            self.tail = Tail::default();
        }
        Ok(read)
    }

    /// The newest offset before `before` with this hash. The index covers it.
    pub(crate) fn newest_before(&self, hash: u64, before: u64) -> Result<Option<u64>> {
        if let Some(offset) = self.tail.newest_before(hash, before) {
            return Ok(Some(offset));
        }
        for (number, block) in self.blocks.range(..before.div_ceil(BLOCK)).rev() {
            let base = number * BLOCK;
            let relative = u32::try_from((before - base).min(BLOCK)).expect("a block is small");
            if let Some(found) = block.newest_before(hash, relative)? {
                return Ok(Some(base + u64::from(found)));
            }
        }
        Ok(None)
    }
}

impl Source<'_> {
    /// Calls `visit` for each record with a key, in order; false if it was stopped.
    fn each(&self, range: Range<u64>, visit: &mut dyn FnMut(u64, u64)) -> Result<bool> {
        let hash = self.table.definition.hash;
        let places = [self.table.place(Hidden::Key), self.table.place(Hidden::Offset)];
        let columns = Columns::new(self.table, &places);
        let mut records = Records::new(self.table, &columns, 8192, self.decoded, self.is_stopped);
        let mut failed = Ok(());
        let mut add = |batch: arrow::record_batch::RecordBatch| {
            let offsets = batch.column(1).as_primitive::<Int64Type>();
            failed = key::each(batch.column(0), |row, key| {
                if let Some(key) = key {
                    visit(offsets.value(row) as u64, hash.of(key));
                }
            });
            if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let read = records.read(self.shard, range, &mut add)?;
        if read.is_continue() {
            let _ = records.finish(&mut add)?;
        }
        failed?;
        Ok(read.is_continue())
    }

    /// The file of a complete block.
    fn file(&self, base: u64, start: u64) -> Result<BlockFile> {
        let from = base.max(start);
        // The first entry of the block tells histories apart.
        let first = entries(self.shard, from..from + 1)?.next().transpose().map_err(of_store)?;
        let (entry, time) = first.map_or((0, 0), |entry| (entry.header().number.0, entry.header().commit_time.0));
        let definition = &self.table.definition;
        let identity =
            Identity { dataset: definition.id, column: definition.key.unwrap_or_default(), base, entry, time };
        let (files, folder) = self.log.beside(FOLDER);
        let folder: PathBuf = folder.join(folder_of(self.shard.name()));
        Ok(BlockFile { files, folder, identity })
    }
}
