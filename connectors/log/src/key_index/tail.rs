//! The records behind the last complete block: for each hash the newest, and for each record the one before it.

use super::BLOCK;
use std::collections::HashMap;

/// No record before.
const NONE: u32 = u32::MAX;

const _: () = assert!(BLOCK < NONE as u64, "a place in a block is never taken for none");

#[derive(Default)]
pub(super) struct Tail {
    /// Where its block starts; none if there is no tail yet.
    base: Option<u64>,
    end: u64,
    newest: HashMap<u64, u32>,
    /// For each offset from the base on, the record before it with the same hash.
    previous: Vec<u32>,
}

impl Tail {
    /// A tail of the block at `base` that begins with the offset `from`.
    pub(super) fn new(base: u64, from: u64) -> Self {
        Self { base: Some(base), end: from, ..Self::default() }
    }

    pub(super) fn base(&self) -> Option<u64> {
        self.base
    }

    /// The first offset that it does not know.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn add(&mut self, offset: u64, hash: u64) {
        let Some(base) = self.base else { return };
        debug_assert!((base..base + BLOCK).contains(&offset), "a tail stays in its block");
        let place = (offset - base) as u32;
        self.previous.resize(place as usize, NONE);
        self.previous.push(self.newest.insert(hash, place).unwrap_or(NONE));
    }

    /// All records before `end` were added.
    pub(super) fn close(&mut self, end: u64) {
        self.end = end;
    }

    pub(super) fn newest_before(&self, hash: u64, before: u64) -> Option<u64> {
        let base = self.base?;
        let mut place = *self.newest.get(&hash)?;
        while place != NONE && base + u64::from(place) >= before {
            place = self.previous[place as usize];
        }
        (place != NONE).then_some(base + u64::from(place))
    }

    /// All hashes with the places that have them, sorted.
    pub(super) fn into_sorted(self) -> Vec<(u64, u32)> {
        let mut all = Vec::with_capacity(self.previous.len());
        for (hash, newest) in self.newest {
            let mut place = newest;
            while place != NONE {
                all.push((hash, place));
                place = self.previous[place as usize];
            }
        }
        all.sort_unstable();
        all
    }
}
