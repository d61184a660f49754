//! Segment files: their names and their headers.
//!
//! A shard is a chain of segments. Each header says where in the shard the segment starts, how long its predecessor is
//! and what the Merkle root was, so that the chain is checked by reading the headers alone. A segment gets its name
//! only when its header is durable: a bad header is damage, never a torn creation.

use super::files::{File, read_full_at};
use super::sealed::{self, Broken, Magic};
use super::tree::Hash;
use super::wire::{Malformed, Reader, put_bytes, put_varint};
use super::{CommitTime, EntryNumber, Offset, Result};
use std::io;

/// The longest name of a shard, in bytes.
pub(crate) const SHARD_NAME_BYTES_MAX: usize = 64;

/// More than any header of a segment takes.
const HEADER_BYTES_MAX: usize = 256;

/// What the header of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) shard: String,
    /// The number of its first entry.
    pub(crate) base_entry: EntryNumber,
    /// The offset of its first record.
    pub(crate) base_offset: Offset,
    /// The time of the last entry before it; no entry in it is earlier.
    pub(crate) base_time: CommitTime,
    /// The number of the first entry of the segment before it, its own if there was none.
    pub(crate) previous_entry: EntryNumber,
    /// The length of the segment before it, 0 if there was none.
    pub(crate) previous_bytes: u64,
    /// The Merkle root of all entries before it.
    pub(crate) root: Hash,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        put_bytes(&mut content, self.shard.as_bytes());
        put_varint(&mut content, self.base_entry.0);
        put_varint(&mut content, self.base_offset.0);
        content.extend_from_slice(&self.base_time.0.to_le_bytes());
        put_varint(&mut content, self.previous_entry.0);
        put_varint(&mut content, self.previous_bytes);
        content.extend_from_slice(&self.root);
        sealed::seal(Magic::SEGMENT, &content)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Broken> {
        let content = sealed::open(Magic::SEGMENT, bytes)?;
        Self::parse(content).map_err(|Malformed(why)| Broken::Damaged(why))
    }

    fn parse(content: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        Ok(Self {
            shard: reader.text()?.to_string(),
            base_entry: entry_number(reader.varint()?)?,
            base_offset: Offset(reader.varint()?),
            base_time: CommitTime(reader.i64()?),
            previous_entry: EntryNumber(reader.varint()?),
            previous_bytes: reader.varint()?,
            root: reader.array()?,
        })
    }

    /// Reads the header of a segment file.
    pub(crate) fn read(file: &dyn File) -> io::Result<Result<Self, Broken>> {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let filled = read_full_at(file, &mut bytes, 0)?;
        Ok(Self::decode(&bytes[..filled]))
    }

    /// Where the first frame stands.
    pub(crate) fn bytes(&self) -> u64 {
        self.encode().len() as u64
    }

    pub(crate) fn stem(&self) -> SegmentStem {
        SegmentStem { base_entry: self.base_entry, base_offset: self.base_offset }
    }
}

/// No shard has more entries: with room to count on, the numbers never overflow.
pub(crate) const ENTRIES_MAX: u64 = 1 << 62;

fn entry_number(number: u64) -> Result<EntryNumber, Malformed> {
    if number > ENTRIES_MAX {
        return Err(Malformed("an entry number is beyond what a shard can have"));
    }
    Ok(EntryNumber(number))
}

/// The name of a segment without its ending: two numbers of 20 digits, so that names sort as the segments do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentStem {
    pub(crate) base_entry: EntryNumber,
    pub(crate) base_offset: Offset,
}

impl SegmentStem {
    pub(crate) fn segment(self) -> String {
        format!("{:020}-{:020}.seg", self.base_entry.0, self.base_offset.0)
    }

    pub(crate) fn index(self) -> String {
        format!("{:020}-{:020}.idx", self.base_entry.0, self.base_offset.0)
    }

    /// Reads the name of a segment file; `None` if it is the name of something else.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (entry, offset) = name.strip_suffix(".seg")?.split_once('-')?;
        let number = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
        Some(Self { base_entry: EntryNumber(number(entry)?), base_offset: Offset(number(offset)?) })
    }
}

/// The name of the folder of a shard: what is not a small letter, a digit, `-` or `_` is escaped, so that shards differ
/// on file systems that do not tell cases apart, and no shard is called as a file of ours.
pub(crate) fn folder_of(shard: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    shard.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The shard whose folder has this name; `None` if it is no shard's.
pub(crate) fn shard_of(folder: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = folder;
    while let Some(first) = rest.bytes().next() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
            rest = &rest[3..];
        } else {
            bytes.push(first);
            rest = rest.get(1..)?;
        }
    }
    let shard = String::from_utf8(bytes).ok()?;
    (folder_of(&shard) == folder && !shard.is_empty()).then_some(shard)
}
