//! The log: what is written first, and what everything else is derived from.
//!
//! The [`store`] keeps **shards** on disk: totally ordered, durable sequences of **entries**. It knows Arrow, but
//! neither DataFusion nor the other crates of Polder, so that it compiles, is tested and is simulated alone. What
//! makes topics and tables of it lives beside it, behind the feature `table`.
//!
//! # Topics as tables
//!
//! A **topic** is a dataset whose records are only ever appended. [`LogSource`] shows each as a table: the declared
//! columns, then [hidden ones](Hidden) that say where a record stands and when it was committed.
//!
//! ```text
//! append    rows ─ route by key ─ one entry a shard ─ durable ─ end offsets
//! scan      end offsets pinned once a query ─ shards and ranges ─ streams of batches
//! latest    t$latest: the newest row of each key, without the deleted ones
//! changes   whole entries, in order, from any position on
//! ```

#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod store;

#[cfg(feature = "table")]
mod append;
#[cfg(feature = "table")]
mod changes;
#[cfg(feature = "table")]
mod check;
#[cfg(feature = "table")]
mod columns;
#[cfg(feature = "table")]
mod error;
#[cfg(feature = "table")]
mod federation;
#[cfg(feature = "table")]
#[cfg(feature = "table")]
mod key_index;
#[cfg(feature = "table")]
mod latest;
#[cfg(feature = "table")]
mod pins;
#[cfg(feature = "table")]
mod provider;
#[cfg(feature = "table")]
mod pushdown;
#[cfg(feature = "table")]
mod records;
#[cfg(feature = "table")]
mod scan;
#[cfg(feature = "table")]
mod source;
#[cfg(feature = "table")]
mod topic;

#[cfg(test)]
#[cfg(feature = "suite")]
mod tests;

#[cfg(feature = "table")]
pub use append::Appended;
#[cfg(feature = "table")]
pub use columns::Hidden;
#[cfg(feature = "table")]
pub use polder_catalog::key::KeyHash;
#[cfg(feature = "table")]
pub use source::{LogSource, OpenLog};
#[cfg(feature = "table")]
pub use topic::{Retention, TopicColumn, TopicDefinition, field_as_text};
