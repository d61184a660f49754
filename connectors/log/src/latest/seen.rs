//! The keys that were met, each once, in one piece of memory.

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder};
use hashbrown::{DefaultHashBuilder, HashTable};
use polder_catalog::Result;
use polder_catalog::key;
use std::hash::BuildHasher;

#[derive(Default)]
pub(super) struct Seen {
    hasher: DefaultHashBuilder,
    /// Places in `ends`.
    table: HashTable<u32>,
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`; it starts where the one before it ends.
    ends: Vec<u64>,
}

impl Seen {
    /// Which rows are the newest of their key and not deleted. Later rows are newer, and rows of earlier calls newer still.
    pub(super) fn newest(&mut self, keys: &ArrayRef, deleted: &BooleanArray) -> Result<BooleanArray> {
        let (mut bytes, mut spans) = (Vec::new(), Vec::with_capacity(keys.len()));
        key::each(keys, |_, key| {
            let start = bytes.len();
            bytes.extend_from_slice(key.unwrap_or_default());
            spans.push(key.map(|_| start..bytes.len()));
        })?;
        let mut newest = BooleanBufferBuilder::new(keys.len());
        newest.append_n(keys.len(), false);
        for (row, span) in spans.into_iter().enumerate().rev() {
            let is_new = span.is_some_and(|span| self.insert(&bytes[span]));
            if is_new && !deleted.value(row) {
                newest.set_bit(row, true);
            }
        }
        Ok(BooleanArray::new(newest.finish(), None))
    }

    /// Whether the key was not met before.
    fn insert(&mut self, key: &[u8]) -> bool {
        let Self { hasher, table, bytes, ends } = self;
        let at = |place: u32| {
            let start = if place == 0 { 0 } else { ends[place as usize - 1] };
            &bytes[start as usize..ends[place as usize] as usize]
        };
        let hash = hasher.hash_one(key);
        if table.find(hash, |place| at(*place) == key).is_some() {
            return false;
        }
        let place = u32::try_from(ends.len()).expect("a shard has fewer than four billion keys in memory");
        table.insert_unique(hash, place, |place| hasher.hash_one(at(*place)));
        bytes.extend_from_slice(key);
        ends.push(bytes.len() as u64);
        true
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        // A bucket is a place and a byte of control; the table is at most seven eighths full.
        let table = self.table.capacity() * (size_of::<u32>() + 1) * 8 / 7;
        self.bytes.capacity() + self.ends.capacity() * size_of::<u64>() + table
    }
}
