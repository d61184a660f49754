//! The seeded simulation: thousands of lives of a shard on a disk that loses, tears, refuses and fills up.
//!
//! One seed is one life. An actor appends, reads, trims and notes roots through the writer's synchronous core; the
//! [`disk`](SimFiles) fails system calls and loses power in the middle of them; the checker knows what was
//! acknowledged. All chance comes from the seed, nothing runs in a thread while power can fail, so a failing seed
//! fails again.
//!
//! # What is checked
//!
//! Say the shard was opened and held the entries `L`. Each append is then one of three:
//!
//! - **acknowledged**: it joins `L`, with the number, offset and time that it was told;
//! - **failed**, and the shard goes on: it is never seen, in this life or after any crash;
//! - **unknown**, because the shard was poisoned or the power failed: these are all of one group.
//!
//! After every recovery the shard holds exactly `L`, followed by a prefix of the unknown group, each entry whole, once,
//! with all of its bytes. That is the new `L`: what recovery has shown stays. Opening without faults always succeeds,
//! so no torn tail is taken for damage; with a flipped bit it succeeds only if all of `L` is there, so no damage is
//! taken for a torn tail. Every root noted before is the beginning of every root after.

mod campaign;
mod chance;
mod disk;
mod life;

pub use campaign::Campaign;
pub use disk::SimFiles;

use chance::Chance;
use life::Life;

/// Lives a life; `Err` tells what was not as it must be.
pub fn run(seed: u64) -> Result<Outcome, String> {
    Life::new(Chance::new(seed)).live().map_err(|what| format!("seed {seed}: {what}"))
}

/// What happened in a life, to see that faults do happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Entries that were acknowledged.
    pub acknowledged: u64,
    /// Entries that failed for certain.
    pub failed: u64,
    /// Entries whose outcome a fault left unknown, and how many of them recovery has found.
    pub unknown: u64,
    /// Of these, how many were found after recovery.
    pub found: u64,
    /// How often the power failed.
    pub crashes: u64,
    /// How often the shard was poisoned.
    pub poisoned: u64,
    /// How many segments were trimmed.
    pub trimmed: u64,
    /// How many flipped bits were named as damage.
    pub flips_named: u64,
    /// How many flipped bits made no difference.
    pub flips_harmless: u64,
}

impl Outcome {
    /// Adds up lives.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.found += other.found;
        self.crashes += other.crashes;
        self.poisoned += other.poisoned;
        self.trimmed += other.trimmed;
        self.flips_named += other.flips_named;
        self.flips_harmless += other.flips_harmless;
    }
}

#[cfg(test)]
mod tests;
