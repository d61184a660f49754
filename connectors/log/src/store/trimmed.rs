//! The record of what was trimmed: where the shard starts now, and the Merkle peaks over all that was removed.
//!
//! The file `trimmed` is durable before the first segment is removed. A crash in between leaves segments that the
//! record disowns; opening the shard removes them.

use super::sealed::{self, Broken, Magic};
use super::tree::Peaks;
use super::wire::{Malformed, Reader, put_varint};
use super::{EntryNumber, Offset};

/// The name of the file.
pub(crate) const TRIMMED: &str = "trimmed";

/// Where a trimmed shard starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// The first offset that is kept.
    pub(crate) offset: Offset,
    /// The peaks over all entries before the first that is kept.
    pub(crate) peaks: Peaks,
}

impl Trimmed {
    /// The first entry that is kept.
    pub(crate) fn entry(&self) -> EntryNumber {
        EntryNumber(self.peaks.leaves())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        put_varint(&mut content, self.offset.0);
        put_varint(&mut content, self.peaks.leaves());
        self.peaks.roots().iter().for_each(|root| content.extend_from_slice(root));
        sealed::seal(Magic::TRIMMED, &content)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Broken> {
        let content = sealed::open(Magic::TRIMMED, bytes)?;
        Self::parse(content).map_err(|Malformed(why)| Broken::Damaged(why))
    }

    fn parse(content: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        let offset = Offset(reader.varint()?);
        let leaves = reader.varint()?;
        let roots = (0..leaves.count_ones()).map(|_| reader.array()).collect::<Result<Vec<_>, _>>()?;
        let peaks = Peaks::new(leaves, roots).ok_or(Malformed("there is not a peak for each one bit"))?;
        Ok(Self { offset, peaks })
    }
}
