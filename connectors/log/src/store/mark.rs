//! The durable mark: how far a shard is known to be durable.
//!
//! The file `mark` is overwritten in place after each commit's sync. It is not synced itself (that would double the
//! cost of a commit), so after a power failure it may be older than the truth, but **what it claims was durable**.
//! When a shard is opened, what is bad before the mark is damage, and what is bad behind it may be a torn tail.

use super::sealed::{self, Broken, Magic};
use super::tree::{Hash, Root};
use super::wire::{Malformed, Reader};
use super::{CommitTime, EntryNumber, Offset};

/// The name of the file.
pub(crate) const MARK: &str = "mark";

/// What was durable when the mark was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The first entry of the last segment.
    pub(crate) segment: EntryNumber,
    /// How many bytes of that segment.
    pub(crate) position: u64,
    /// The end offset.
    pub(crate) end_offset: Offset,
    /// The time of the last entry.
    pub(crate) last_time: CommitTime,
    /// How many entries, and the Merkle root over them.
    pub(crate) root: Root,
}

const CONTENT_BYTES: usize = 72;

// It must lie in one sector, or a crash could mix two marks (which the checksum would tell, at the price of the mark).
const _: () = assert!(CONTENT_BYTES + 20 <= 512);

impl Mark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(CONTENT_BYTES);
        for number in [self.segment.0, self.position, self.end_offset.0, self.root.entries] {
            content.extend_from_slice(&number.to_le_bytes());
        }
        content.extend_from_slice(&self.last_time.0.to_le_bytes());
        content.extend_from_slice(&self.root.hash);
        debug_assert_eq!(content.len(), CONTENT_BYTES);
        sealed::seal(Magic::MARK, &content)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Broken> {
        let content = sealed::open(Magic::MARK, bytes)?;
        Self::parse(content).map_err(|Malformed(why)| Broken::Damaged(why))
    }

    fn parse(content: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        let segment = EntryNumber(reader.u64()?);
        let position = reader.u64()?;
        let end_offset = Offset(reader.u64()?);
        let entries = reader.u64()?;
        let last_time = CommitTime(reader.i64()?);
        let hash: Hash = reader.array()?;
        Ok(Self { segment, position, end_offset, last_time, root: Root { entries, hash } })
    }
}
