//! Roots and proofs, in the shapes that travel: plain hashes, checked with ct-merkle.

use super::super::{EntryNumber, Error, Result};
use super::file::TreeReader;
use super::{Hash, Peaks};
use ct_merkle::{HashableLeaf, RootHash};
use sha2::Sha256;
use std::fmt;

/// The Merkle root over the first `entries` entries of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root {
    /// How many entries it covers.
    pub entries: u64,
    /// The hash.
    pub hash: Hash,
}

impl Root {
    pub(crate) fn of(peaks: &Peaks) -> Self {
        Self { entries: peaks.leaves(), hash: peaks.root() }
    }

    fn theirs(&self) -> RootHash<Sha256> {
        RootHash::new(self.hash.into(), self.entries)
    }

    /// The hash in hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.entries, self.to_hex())
    }
}

/// Shows that a log of `older` entries is the beginning of one of `newer` entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The smaller size.
    pub older: u64,
    /// The greater size.
    pub newer: u64,
    /// RFC 6962: `PROOF(older, D[newer])`.
    pub hashes: Vec<Hash>,
}

impl ConsistencyProof {
    /// Whether the log with root `older` is the beginning of the log with root `newer`.
    pub fn verify(&self, older: &Root, newer: &Root) -> bool {
        if older.entries != self.older || newer.entries != self.newer || older.entries > newer.entries {
            return false;
        }
        if older.entries == 0 {
            // Every log begins with the empty one, whose root is known.
            return self.hashes.is_empty() && *older == Root::of(&Peaks::default());
        }
        let digests: Vec<_> = self.hashes.iter().map(|hash| (*hash).into()).collect();
        let proof = ct_merkle::ConsistencyProof::from_digests(&digests);
        newer.theirs().verify_consistency(&older.theirs(), &proof).is_ok()
    }
}

/// Shows that an entry is in a log of `entries` entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry.
    pub entry: EntryNumber,
    /// The size of the log.
    pub entries: u64,
    /// RFC 6962: `PATH(entry, D[entries])`.
    pub hashes: Vec<Hash>,
}

impl InclusionProof {
    /// Whether an entry with these bytes, frames and all, stands at its number in the log with this root.
    pub fn verify(&self, entry_bytes: &[u8], root: &Root) -> bool {
        self.verify_leaf(&Pieces(&[entry_bytes]), root)
    }

    fn verify_leaf(&self, leaf: &impl HashableLeaf, root: &Root) -> bool {
        if root.entries != self.entries {
            return false;
        }
        let digests: Vec<_> = self.hashes.iter().map(|hash| (*hash).into()).collect();
        let proof = ct_merkle::InclusionProof::from_digests(&digests);
        root.theirs().verify_inclusion(leaf, self.entry.0, &proof).is_ok()
    }
}

/// The bytes of an entry, in pieces.
struct Pieces<'a>(&'a [&'a [u8]]);

impl HashableLeaf for Pieces<'_> {
    fn hash<H: sha2::digest::Update>(&self, hasher: &mut H) {
        for piece in self.0 {
            hasher.update(piece);
        }
    }
}

impl TreeReader {
    /// The root over the first `entries` entries.
    pub(crate) fn root(&self, entries: u64) -> Result<Root> {
        Ok(Root::of(&self.peaks(entries)?))
    }

    pub(crate) fn consistency_proof(&self, older: u64, newer: u64) -> Result<ConsistencyProof> {
        if older > newer {
            return Err(Error::fix(format!("a log of {newer} entries is not a continuation of one of {older}")));
        }
        let indices = match older {
            0 => Vec::new(),
            _ => ct_merkle::indices_for_consistency_proof(older, newer - older),
        };
        Ok(ConsistencyProof { older, newer, hashes: self.hashes(&indices, newer)? })
    }

    pub(crate) fn inclusion_proof(&self, entry: EntryNumber, entries: u64) -> Result<InclusionProof> {
        if entry.0 >= entries {
            return Err(Error::fix(format!("entry {entry} is not among the first {entries} entries")));
        }
        let indices = ct_merkle::indices_for_inclusion_proof(entries, entry.0);
        Ok(InclusionProof { entry, entries, hashes: self.hashes(&indices, entries)? })
    }

    fn hashes(&self, indices: &[u64], entries: u64) -> Result<Vec<Hash>> {
        indices.iter().map(|index| self.node_in_order(*index, entries)).collect()
    }

    /// The node that has this in-order index in a tree of `entries` leaves: level by its trailing one bits, and on the
    /// right edge it covers only the leaves that there are.
    fn node_in_order(&self, index: u64, entries: u64) -> Result<Hash> {
        let level = index.trailing_ones();
        let start = (index + 1 - (1 << level)) / 2;
        self.subtree(start, entries.min(start + (1 << level)))
    }
}
