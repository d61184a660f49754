//! The envelope that all small files of a shard share: magic, format version, content, checksum.
//!
//! ```text
//! | magic 8 bytes | version u32 | length u32 | content ... | crc32c u32 |
//! ```
//!
//! The checksum covers all before it. Segment files begin with such an envelope; the mark, the index and the record of
//! what was trimmed are nothing else.

use super::wire::Reader;
use super::{Error, Result};

/// The version of all files of the log. A file with a greater one is refused.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Names the kind of a file, in its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Magic(pub(crate) &'static [u8; 8]);

impl Magic {
    pub(crate) const LOCK: Self = Self(b"plderLCK");
    pub(crate) const SEGMENT: Self = Self(b"plderSEG");
    pub(crate) const INDEX: Self = Self(b"plderIDX");
    pub(crate) const MARK: Self = Self(b"plderMRK");
    pub(crate) const TREE: Self = Self(b"plderTRE");
    pub(crate) const TRIMMED: Self = Self(b"plderTRM");
}

const HEAD_BYTES: usize = 16;
const CHECK_BYTES: usize = 4;

/// Why an envelope could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Not ours, cut short, or changed.
    Damaged(&'static str),
    /// Written by a newer Polder.
    Newer(u32),
}

impl Broken {
    /// The error for a file that cannot be rebuilt and must not be guessed at; `damaged` makes it from the reason.
    pub(crate) fn into_error(self, file: &str, damaged: impl FnOnce(&'static str) -> Error) -> Error {
        match self {
            Self::Damaged(why) => damaged(why),
            Self::Newer(version) => Error::newer(format!("file {file}"), version, FORMAT_VERSION),
        }
    }
}

pub(crate) fn seal(magic: Magic, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sealed_bytes(content.len()));
    out.extend_from_slice(magic.0);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&(content.len() as u32).to_le_bytes());
    out.extend_from_slice(content);
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

pub(crate) fn sealed_bytes(content_bytes: usize) -> usize {
    HEAD_BYTES + content_bytes + CHECK_BYTES
}

/// Opens the envelope at the front of `bytes`; gives its content.
pub(crate) fn open(magic: Magic, bytes: &[u8]) -> Result<&[u8], Broken> {
    let mut reader = Reader::new(bytes);
    let short = |_| Broken::Damaged("the file is cut short");
    if reader.take(8).map_err(short)? != magic.0 {
        return Err(Broken::Damaged("the file does not start as it should"));
    }
    let version = reader.u32().map_err(short)?;
    let length = reader.u32().map_err(short)? as usize;
    let content = reader.take(length);
    let covered = &bytes[..HEAD_BYTES + content.map_or(0, <[u8]>::len)];
    let check = reader.u32().ok();
    if version == FORMAT_VERSION && content.is_ok() && check == Some(crc32c::crc32c(covered)) {
        return content.map_err(short);
    }
    // A version that a flipped bit has made is told by the checksum over ours. A truly newer version may lay out all
    // that follows in another way, so nothing more is asked of it.
    if version > FORMAT_VERSION && version < VERSION_MAX && check != Some(check_of_ours(covered)) {
        return Err(Broken::Newer(version));
    }
    Err(Broken::Damaged("the checksum of the file does not match"))
}

/// The checksum as it would be with our version.
fn check_of_ours(covered: &[u8]) -> u32 {
    let check = crc32c::crc32c_append(crc32c::crc32c(&covered[..8]), &FORMAT_VERSION.to_le_bytes());
    crc32c::crc32c_append(check, &covered[12..])
}

/// Versions beyond this are not to be expected; such a number is a flipped bit.
const VERSION_MAX: u32 = 1 << 16;
