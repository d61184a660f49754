//! A complete block: pairs of hash and place, sorted, in a file that is searched in place.
//!
//! ```text
//! | magic 8 | version u32 | dataset u64 | column u32 | base u64 | entry u64 | time i64 | count u32 | pairs | crc32c u32 |
//! ```
//!
//! A pair is a hash (u64) and a place in the block (u32), little endian. The checksum covers all before it, and is checked
//! when the file is first used; in memory stays where the pairs of each beginning of a hash are.

use crate::error::of_store;
use crate::store::Error as StoreError;
use crate::store::files::{File, Files, Mode, read_full_at, read_small};
use polder_catalog::Result;
use std::path::PathBuf;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"plderKEY";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 52;
const PAIR_BYTES: usize = 12;

/// Bits of a hash that lead to its pairs: 4,097 integers a block in memory.
const PREFIX_BITS: u32 = 12;

/// Longer than any file of ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// So many pairs are read at once.
const PAIRS_READ: usize = 256;

/// What a block is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) dataset: u64,
    pub(super) column: u32,
    pub(super) base: u64,
    /// The number and the time of the first entry.
    pub(super) entry: u64,
    pub(super) time: i64,
}

/// Where a block is kept.
pub(super) struct BlockFile {
    pub(super) files: Arc<dyn Files>,
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
}

pub(super) enum Block {
    /// In its file, which is opened for each search: a long topic has more blocks than a process may have files open.
    File { files: Arc<dyn Files>, path: PathBuf, starts: Vec<u32> },
    /// In memory, because it could not be written.
    Memory(Vec<(u64, u32)>),
}

impl BlockFile {
    fn path(&self) -> PathBuf {
        let Identity { dataset, column, base, .. } = self.identity;
        self.folder.join(format!("{dataset}-{column}-{base:020}.keys"))
    }

    /// The block, if its file is there and whole.
    pub(super) fn load(&self) -> Option<Block> {
        let path = self.path();
        let content = read_small(self.files.as_ref(), &path, FILE_BYTES_MAX).ok()?;
        let Some(pairs) = self.parse(&content) else {
            tracing::warn!(file = %path.display(), "a key index is damaged or of other records, it is made anew");
            return None;
        };
        let starts = starts(pairs.chunks_exact(PAIR_BYTES).map(hash_of));
        Some(Block::File { files: Arc::clone(&self.files), path, starts })
    }

    fn parse<'a>(&self, content: &'a [u8]) -> Option<&'a [u8]> {
        let (covered, check) = content.split_last_chunk::<4>()?;
        let (head, pairs) = covered.split_at_checked(HEAD_BYTES)?;
        let is_whole = u32::from_le_bytes(*check) == crc32c::crc32c(covered);
        let is_ours = head == self.head(pairs.len() / PAIR_BYTES);
        (is_whole && is_ours && pairs.len() % PAIR_BYTES == 0).then_some(pairs)
    }

    fn head(&self, pairs: usize) -> Vec<u8> {
        let Identity { dataset, column, base, entry, time } = self.identity;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&dataset.to_le_bytes());
        head.extend_from_slice(&column.to_le_bytes());
        head.extend_from_slice(&base.to_le_bytes());
        head.extend_from_slice(&entry.to_le_bytes());
        head.extend_from_slice(&time.to_le_bytes());
        head.extend_from_slice(&(pairs as u32).to_le_bytes());
        debug_assert_eq!(head.len(), HEAD_BYTES);
        head
    }

    /// Writes a block. If that fails it is kept in memory: nothing but time is lost.
    pub(super) fn write(&self, pairs: Vec<(u64, u32)>) -> Block {
        match self.try_write(&pairs) {
            Ok(path) => {
                let starts = starts(pairs.iter().map(|(hash, _)| *hash));
                Block::File { files: Arc::clone(&self.files), path, starts }
            }
            Err(error) => {
                tracing::warn!(file = %self.path().display(), %error, "a key index could not be written, it stays in memory");
                Block::Memory(pairs)
            }
        }
    }

    fn try_write(&self, pairs: &[(u64, u32)]) -> std::io::Result<PathBuf> {
        let mut content = self.head(pairs.len());
        for (hash, place) in pairs {
            content.extend_from_slice(&hash.to_le_bytes());
            content.extend_from_slice(&place.to_le_bytes());
        }
        content.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        let path = self.path();
        let unfinished = path.with_added_extension("new");
        self.files.create_dir(&self.folder)?;
        // Not synced: what a crash leaves of it is found out by its checksum.
        self.files.open(&unfinished, Mode::Create)?.write_all_at(&content, 0)?;
        self.files.rename(&unfinished, &path)?;
        Ok(path)
    }
}

/// For each beginning of a hash, where its pairs start.
fn starts(hashes: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut starts = vec![0u32; (1 << PREFIX_BITS) + 1];
    for hash in hashes {
        starts[prefix(hash) + 1] += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    starts
}

fn prefix(hash: u64) -> usize {
    (hash >> (64 - PREFIX_BITS)) as usize
}

fn hash_of(pair: &[u8]) -> u64 {
    pair.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn read_pair(pair: &[u8]) -> (u64, u32) {
    (hash_of(pair), pair.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
}

impl Block {
    /// The last place before `before` with this hash.
    pub(super) fn newest_before(&self, hash: u64, before: u32) -> Result<Option<u32>> {
        let found = match self {
            Self::Memory(pairs) => last_before(pairs, hash, before),
            Self::File { files, path, starts } => {
                let range = starts[prefix(hash)] as usize..starts[prefix(hash) + 1] as usize;
                if range.is_empty() {
                    return Ok(None);
                }
                let file = files.open(path, Mode::Read);
                let file = file.map_err(|error| of_store(StoreError::io("open a key index", error)))?;
                last_before(&narrowed(file.as_ref(), range, (hash, before))?, hash, before)
            }
        };
        Ok(found)
    }

    /// Removes the file of a block whose records were trimmed.
    pub(super) fn remove(&self) {
        if let Self::File { files, path, .. } = self
            && let Err(error) = files.remove(path)
        {
            tracing::warn!(file = %path.display(), %error, "the key index of trimmed records could not be removed");
        }
    }
}

fn last_before(pairs: &[(u64, u32)], hash: u64, before: u32) -> Option<u32> {
    let after = pairs.partition_point(|pair| *pair < (hash, before));
    let (found, place) = *pairs.get(after.checked_sub(1)?)?;
    (found == hash).then_some(place)
}

/// The few pairs of a range of the file among which the last before `before` is.
fn narrowed(file: &dyn File, mut range: std::ops::Range<usize>, before: (u64, u32)) -> Result<Vec<(u64, u32)>> {
    while range.len() > PAIRS_READ {
        let middle = range.start + range.len() / 2;
        match read_pairs(file, middle..middle + 1)?[..] {
            [pair] if pair < before => range.start = middle,
            _ => range.end = middle,
        }
    }
    read_pairs(file, range)
}

fn read_pairs(file: &dyn File, range: std::ops::Range<usize>) -> Result<Vec<(u64, u32)>> {
    let mut bytes = vec![0; range.len() * PAIR_BYTES];
    let position = (HEAD_BYTES + range.start * PAIR_BYTES) as u64;
    let filled = read_full_at(file, &mut bytes, position)
        .map_err(|error| of_store(StoreError::io("read a key index", error)))?;
    bytes.truncate(filled);
    Ok(bytes.chunks_exact(PAIR_BYTES).map(read_pair).collect())
}
