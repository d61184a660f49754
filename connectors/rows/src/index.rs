//! From the hash of a key to the numbers of the rows that may have it.
//!
//! One index serves every version of a table that is still read: it has rows that an older version does not have yet, and,
//! for a while, rows that a newer one has no more. Who asks looks whether the row is in its version, and compares the key.

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// One for all, so that keys can be hashed before it is known which index will take them. Random, so that nobody can
/// choose keys that collide.
static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// How many rows that are gone an index still finds. A version in which they are there is nearly always younger than that;
/// an older one is read as a whole.
const GONE_MAX: usize = 4096;

/// The hash of the bytes of a key.
pub(crate) fn hash(key: &[u8]) -> u64 {
    HASHER.hash_one(key)
}

/// The rows of one table, by the hash of their key.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: HashTable<Slot>,
    /// Rows that are gone, the oldest first: since which version, hash and number.
    gone: VecDeque<(u64, u64, u64)>,
    /// The first version of which every row is found.
    complete_since: u64,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    rows: Rows,
}

/// Nearly always one. Rows that repeat, in a table without a key, are many. Numbers ascend.
#[derive(Debug)]
enum Rows {
    One(u64),
    Many(Vec<u64>),
}

impl Index {
    /// Of a table from this version on.
    pub(crate) fn since(version: u64) -> Self {
        Self { complete_since: version, ..Self::default() }
    }

    /// Whether every row of this version is found.
    pub(crate) fn is_complete(&self, version: u64) -> bool {
        version >= self.complete_since
    }

    /// The rows with this hash, the newest last. Different keys may have the same: who asks compares.
    pub(crate) fn candidates(&self, hash: u64) -> &[u64] {
        match self.slots.find(hash, |slot| slot.hash == hash).map(|slot| &slot.rows) {
            None => &[],
            Some(Rows::One(number)) => std::slice::from_ref(number),
            Some(Rows::Many(numbers)) => numbers,
        }
    }

    /// Adds a row. Its number is greater than all that were added before.
    pub(crate) fn insert(&mut self, hash: u64, number: u64) {
        match self.slots.entry(hash, |slot| slot.hash == hash, |slot| slot.hash) {
            Entry::Vacant(vacant) => drop(vacant.insert(Slot { hash, rows: Rows::One(number) })),
            Entry::Occupied(mut slot) => match &mut slot.get_mut().rows {
                Rows::Many(numbers) => numbers.push(number),
                one @ Rows::One(_) => {
                    if let Rows::One(first) = *one {
                        *one = Rows::Many(vec![first, number]);
                    }
                }
            },
        }
    }

    /// Notes that a row is gone in this version and all later ones.
    pub(crate) fn remove(&mut self, version: u64, hash: u64, number: u64) {
        self.gone.push_back((version, hash, number));
        while self.gone.len() > GONE_MAX
            && let Some((since, hash, number)) = self.gone.pop_front()
        {
            self.forget(hash, number);
            self.complete_since = self.complete_since.max(since);
        }
    }

    fn forget(&mut self, hash: u64, number: u64) {
        let Ok(mut slot) = self.slots.find_entry(hash, |slot| slot.hash == hash) else { return };
        match &mut slot.get_mut().rows {
            Rows::One(only) if *only == number => drop(slot.remove()),
            Rows::One(_) => {}
            Rows::Many(numbers) => {
                if let Ok(at) = numbers.binary_search(&number) {
                    numbers.remove(at);
                }
                if numbers.is_empty() {
                    slot.remove();
                }
            }
        }
    }
}
