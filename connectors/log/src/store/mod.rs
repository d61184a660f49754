//! The embedded durable log store.

mod clock;
mod encoding;
mod entries;
mod entry;
mod error;
pub mod files;
mod frame;
mod header;
mod index;
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

#[cfg(feature = "table")]
pub(crate) use encoding::ipc::{decode_schema, encode_schema};

pub use clock::{Clock, SystemClock};
pub use entries::{Entries, Entry, Parts};
pub use entry::NewEntry;
pub use error::{Damage, Error, Kind, Result};
pub use header::{Attributes, Cause, Deriving, EntryHeader, EntryKind};
pub use log::{Log, LogOptions, MAIN};
pub use part::{Encoding, PART_BYTES_MAX, Part, SchemaId};
pub use pending::Pending;
pub use position::{CommitTime, EntryNumber, Offset};
pub use shard::Shard;
pub use tree::{ConsistencyProof, Hash, InclusionProof, Root};
pub use view::DurableEnd;
pub use writer::Appended;

/// The bytes of an entry or of a payload.
pub use bytes::Bytes;
