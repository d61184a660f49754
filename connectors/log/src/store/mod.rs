//! The embedded durable log store.

mod audit;
mod clock;
mod encoding;
mod entries;
mod entry;
mod error;
pub mod files;
mod frame;
mod header;
mod index;
mod inspect;
mod log;
mod mark;
mod part;
mod pending;
mod position;
mod recovery;
mod scan;
mod sealed;
mod segment;
mod shard;
mod survey;
mod tree;
mod trimmed;
mod view;
mod walk;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

pub use audit::{Expectation, VerifyReport};
pub use clock::{Clock, SystemClock};
pub use encoding::BatchDecoder;
pub use entries::{Entries, Entry, Parts};
pub use entry::NewEntry;
pub use error::{Damage, Error, Kind, Result};
pub use header::{Attributes, Cause, Deriving, EntryHeader, EntryKind};
pub use inspect::{Inspection, ShardInspection, ShardSummary};
pub use log::{Log, LogOptions, MAIN};
pub use part::{Encoding, PART_BYTES_MAX, Part, SchemaId};
pub use pending::Pending;
pub use position::{CommitTime, EntryNumber, Offset};
pub use shard::Shard;
pub use tree::{ConsistencyProof, Hash, InclusionProof, Root};
pub use view::DurableEnd;
pub use writer::{Appended, TrimPolicy, TrimReport};

/// The bytes of an entry or of a payload.
pub use bytes::Bytes;
