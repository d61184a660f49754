//! From the hash of a key to the numbers of the rows that may have it.

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// The rows of one table, by the hash of their key.
#[derive(Debug, Default)]
pub(crate) struct Index {
    hasher: DefaultHashBuilder,
    slots: HashTable<Slot>,
    /// The version of the table that this is the index of.
    pub(crate) version: u64,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    rows: Rows,
}

/// Nearly always one. Rows that repeat, in a table without a key, are many.
#[derive(Debug)]
enum Rows {
    One(u64),
    Many(Vec<u64>),
}

impl Index {
    /// The hash of the bytes of a key.
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The rows with this hash, the newest last. Different keys may have the same: who asks compares.
    pub(crate) fn candidates(&self, hash: u64) -> &[u64] {
        match self.slots.find(hash, |slot| slot.hash == hash).map(|slot| &slot.rows) {
            None => &[],
            Some(Rows::One(number)) => std::slice::from_ref(number),
            Some(Rows::Many(numbers)) => numbers,
        }
    }

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

    pub(crate) fn remove(&mut self, hash: u64, number: u64) {
        let Ok(mut slot) = self.slots.find_entry(hash, |slot| slot.hash == hash) else { return };
        match &mut slot.get_mut().rows {
            Rows::One(only) if *only == number => drop(slot.remove()),
            Rows::One(_) => {}
            Rows::Many(numbers) => {
                // Of rows that repeat the newest goes first, so it is found at once.
                if let Some(at) = numbers.iter().rposition(|known| *known == number) {
                    numbers.remove(at);
                }
                if numbers.is_empty() {
                    slot.remove();
                }
            }
        }
    }
}
