//! Polder's own tables: rows that follow the log and are kept nowhere else.
//!
//! The log is the system of record. What is here is made of its entries, whole and in order, and made anew when the log is
//! opened: rows are in memory, and a [`checkpoint`] saves reading all of the log.
//!
//! # How rows lie
//!
//! A row gets the next **number** when it is inserted, and keeps it. Rows lie in [`chunk`]s, columnar and immutable, in the
//! order of their numbers; a bitmap beside a chunk says which are deleted. An update is a deletion and an insertion. Small chunks
//! are merged with their neighbors, and one that is mostly deleted is rewritten without those rows, so that a
//! scan is columnar however the rows were written. The [`index`] leads from the key of a row, or from the whole row where
//! there is no key, to its number.
//!
//! # Promises
//! 1. An entry takes effect whole or not at all, and a reader sees the tables between two entries, however long it reads.
//! 2. The changes of an entry take effect as one: keys that it frees may be taken by it.
//! 3. A lookup by key reads the row and no other.
//! 4. An entry is decided on top of all that was decided before it, in the order in which the log takes them ([`store`]). What
//!    a constraint refuses has no effect; neither has what stands on rows that have changed since they were read ([`reads`]).
//! 5. What is shown is durable. What the log did not take is taken back before the next entry is decided.
//! 6. The rows of a table that is spread ([`home`]) are shown as of an **epoch**, an entry of `main` that says how far each shard
//!    counts: so all tables together are, at each entry of `main`, one state for ever.

mod arbiter;
mod checkpoint;
mod chunk;
mod history;
mod home;
mod index;
mod ordered;
mod part;
mod path;
mod plan;
mod provider;
mod reads;
mod references;
mod source;
mod store;
mod table;
mod view;
mod write;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;

pub use arbiter::{Arbiter, Verdict};
pub use home::{Home, spans};
pub use reads::Reads;
pub use source::RowsSource;
pub use store::{Changes, EffectNumber, Epoch, Proposal};
pub use view::View;
