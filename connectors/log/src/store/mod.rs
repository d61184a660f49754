//! The log store: durable, totally ordered shards in files, one writer each.
//!
//! ```
//! use polder_log::store::{EntryKind, Log, LogOptions, Offset};
//!
//! # fn main() -> polder_log::store::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let log = Log::open(folder.path(), LogOptions::default())?;
//! let main = log.main();
//! let mut entry = main.new_entry(EntryKind::DEFINITION);
//! entry.add_bytes(1, b"CREATE TABLE t (id BIGINT)")?;
//! let appended = main.append(entry).wait()?;
//! for entry in main.read(Offset(0)..appended.end_offset())? {
//!     for part in entry?.parts() {
//!         assert_eq!(&part?.payload[..6], b"CREATE");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Words
//!
//! A **shard** is a sequence of entries. An **entry** is one transaction in it: a header and **parts**, each the rows
//! of one dataset. Records are numbered by [`Offset`], entries by [`EntryNumber`]; both are dense. A schema is an
//! entry as well, without records, written by the store before its first use in each segment, so a segment is read by
//! itself.
//!
//! # Guarantees
//!
//! 1. **An entry is there whole or not at all**, however large it is and whenever the power fails.
//! 2. **What is acknowledged is durable**: an append is answered after the sync of its bytes, of the length of the file
//!    and, in a new file, of its name.
//! 3. **All readers see one order**, with dense offsets and entry numbers, and times that never go back.
//! 4. **Recovery keeps a prefix**: after a crash the shard holds all that was acknowledged, then perhaps some first
//!    entries of the one commit that was on its way. What recovery has shown is durable.
//! 5. **Nothing acknowledged is cut.** Only what no durable mark and no later commit vouches for is taken for a torn
//!    tail. Anything else that cannot be read is an error that names shard, file, byte, entry and offset, and changes
//!    nothing.
//! 6. **One process writes a log.** Looking into it needs no lock and changes nothing.
//! 7. **A reader sees a prefix that does not change**: the durable end when it began, whatever is appended or trimmed
//!    since. If what it has not read yet is trimmed, it gets an error that says so.
//! 8. **A failed append is never seen**, unless its error says that the outcome is unknown ([`Kind::Reopen`]).
//! 9. **A poisoned shard stays poisoned**: after a failed sync it takes no more entries until the log is opened anew,
//!    and goes on being read up to its durable end.
//! 10. **Dropping an answer does not take the append back.** Closing the log answers all that waits.
//! 11. **Trimming removes whole segments, the oldest first, never at or behind a hold**, and keeps the Merkle nodes.
//! 12. **A noted root stays provable**: every later root has a consistency proof from it, before and after trimming.
//! 13. **Bytes from disk never panic** and never make anyone allocate more than the disk holds; files of a newer format
//!     are refused by version.
//!
//! One limit: if the power fails, the mark may be older than the truth. Should bytes of the very last commit also rot
//! before the log is opened again, nothing tells that from a torn tail.
//!
//! # A directory
//!
//! ```text
//! LOCK                       held while the log is open; names the format
//! main/                      a folder for each shard, its name escaped
//!   <entry>-<offset>.seg     segments, named by their first entry and offset       `segment`, `frame`, `header`,
//!   `part` <entry>-<offset>.idx     the sparse index of a sealed segment, derived         `index`
//!   mark                     how far the shard is known to be durable, derived     `mark`
//!   tree                     the nodes of the Merkle tree, derived                 `tree`
//!   trimmed                  where a trimmed shard starts, with the peaks before   `trimmed`
//! ```
//!
//! # The way of an append
//!
//! The caller's thread encodes the parts ([`NewEntry`]), the shard's thread takes what waits ([`Shard`]), its
//! synchronous core frames, writes, syncs and publishes it (`writer`), and the answer comes ([`Pending`]). Opening a
//! shard is `recovery`; reading is [`Entries`], and [`BatchDecoder`] makes batches of many small parts.

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
#[cfg(feature = "table")]
pub(crate) use encoding::ipc::{decode_schema, encode_schema};
pub use entries::{Entries, Entry, Parts};
pub use entry::NewEntry;
pub use error::{Damage, Error, Kind, Result};
pub use header::{Attributes, Cause, Deriving, EntryHeader, EntryKind};
pub use inspect::{Inspection, ShardInspection, ShardSummary};
pub use log::{Log, LogOptions, MAIN};
pub use part::{Encoding, PART_BYTES_MAX, Part, SchemaId};
pub use pending::Pending;
pub use position::{CommitTime, EntryNumber, Offset};
#[cfg(feature = "table")]
pub(crate) use segment::folder_of;
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
