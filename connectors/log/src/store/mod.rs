//! The embedded durable log store.

pub(crate) mod audit;
mod clock;
mod encoding;
pub(crate) mod entries;
pub(crate) mod entry;
mod error;
pub mod files;
mod frame;
mod header;
mod index;
pub(crate) mod inspect;
mod log;
mod mark;
mod part;
mod pending;
mod position;
pub(crate) mod recovery;
mod scan;
mod sealed;
mod segment;
mod shard;
mod survey;
mod tree;
mod trimmed;
pub(crate) mod view;
mod walk;
mod wire;
pub(crate) mod writer;

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

/// Reads all entries of a view, for the simulation, which has no shard.
#[cfg(any(test, feature = "simulation"))]
pub(crate) fn reader_of(view: view::View) -> Result<Entries> {
    let (start, end) = (view.start().base_entry, view.end.entries);
    Entries::new(view, Default::default(), entries::From::Entry(start), entries::Until::Entry(end))
}
