//! The Merkle tree over the entries of a shard, as in RFC 6962 with SHA-256.
//!
//! A leaf is SHA-256(0x00, the frames of the entry as written); an inner node SHA-256(0x01, left, right). The root over
//! the first `n` entries commits to every byte of them, and a consistency proof shows that a later tree only appended.
//!
//! [`Peaks`] is the state that appending needs: the roots of the complete subtrees, of which there are as many as `n`
//! has one bits. Complete nodes are also kept in the file `tree`, in post-order: each leaf, then the inner nodes that
//! it completes. So the file only ever grows at its end, each node is written once, and the node over leaves
//! `last - 2^level + 1 ..= last` stands at `2 last - ones(last) + level`. Proofs come from ct-merkle's indices.

mod file;
mod proof;

pub(crate) use file::{TreeFile, TreeReader};
pub use proof::{ConsistencyProof, InclusionProof, Root};

use super::segment::ENTRIES_MAX;
use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// Hashes the bytes of an entry, given piece by piece.
pub(crate) struct LeafHasher(Sha256);

impl LeafHasher {
    pub(crate) fn new() -> Self {
        Self(Sha256::new_with_prefix([0]))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

pub(crate) fn leaf_hash(bytes: &[u8]) -> Hash {
    let mut hasher = LeafHasher::new();
    hasher.update(bytes);
    hasher.finish()
}

pub(crate) fn parent_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// The roots of the complete subtrees over the first `leaves` entries, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peaks {
    leaves: u64,
    roots: Vec<Hash>,
}

impl Peaks {
    /// `None` unless there are as many roots as a tree of this size has, and the size is one that a shard can have.
    pub(crate) fn new(leaves: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == leaves.count_ones() as usize && leaves <= ENTRIES_MAX).then_some(Self { leaves, roots })
    }

    pub(crate) fn leaves(&self) -> u64 {
        self.leaves
    }

    pub(crate) fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Adds a leaf; appends to `nodes` what it completes, in post-order.
    pub(crate) fn push(&mut self, leaf: Hash, nodes: &mut Vec<u8>) {
        nodes.extend_from_slice(&leaf);
        let mut node = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            let left = self.roots.pop().expect("a tree has a peak for each one bit of its size");
            node = parent_hash(&left, &node);
            nodes.extend_from_slice(&node);
        }
        self.roots.push(node);
        self.leaves += 1;
    }

    /// The root over all leaves.
    pub(crate) fn root(&self) -> Hash {
        let mut smallest_first = self.roots.iter().rev();
        match smallest_first.next() {
            None => Sha256::digest([]).into(),
            Some(last) => smallest_first.fold(*last, |right, left| parent_hash(left, &right)),
        }
    }
}

/// How many nodes are complete over the first `leaves` entries.
pub(crate) fn node_count(leaves: u64) -> u64 {
    2 * leaves - u64::from(leaves.count_ones())
}

/// Where the complete node of this level stands whose last leaf is `last`.
fn node_index(last: u64, level: u32) -> u64 {
    2 * last - u64::from(last.count_ones()) + u64::from(level)
}

/// The complete subtrees over the first `leaves` entries as (last leaf, level), the largest first.
pub(crate) fn peak_places(leaves: u64) -> impl Iterator<Item = (u64, u32)> {
    let mut start = 0;
    (0..64).rev().filter(move |level| leaves >> level & 1 == 1).map(move |level| {
        start += 1_u64 << level;
        (start - 1, level)
    })
}
