//! The file `tree`: the complete nodes of the Merkle tree, in post-order. It is derived and not synced with every
//! commit; what is missing at its end is computed from the segments when the shard is opened.

use super::super::files::{File, Files, Mode, read_full_at};
use super::super::sealed::{self, Magic};
use super::super::{Error, Kind, Result};
use super::{Hash, Peaks, node_count, node_index, parent_hash, peak_places};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NODE_BYTES: u64 = 32;

/// Before the first node; the header is padded with zeros to it.
const TREE_HEADER_BYTES: u64 = 128;

const _: () = assert!(16 + 1 + super::super::segment::SHARD_NAME_BYTES_MAX + 4 <= TREE_HEADER_BYTES as usize);

/// The header of the tree of a shard.
fn tree_header(shard: &str) -> Vec<u8> {
    let mut header = sealed::seal(Magic::TREE, shard.as_bytes());
    header.resize(TREE_HEADER_BYTES as usize, 0);
    header
}

/// The writer's end of the file. Nodes that could not be written, for want of space, stay in memory and are tried
/// again.
pub(crate) struct TreeFile {
    file: Arc<dyn File>,
    written_nodes: u64,
    pending: Vec<u8>,
}

impl TreeFile {
    /// An empty tree file in the place of any other.
    pub(crate) fn create(files: &dyn Files, path: &Path, shard: &str) -> io::Result<Self> {
        let file = files.open(path, Mode::Create)?;
        file.write_all_at(&tree_header(shard), 0)?;
        Ok(Self { file, written_nodes: 0, pending: Vec::new() })
    }

    /// The file as it is, to be continued after the nodes of `leaves` entries.
    pub(crate) fn open(files: &dyn Files, path: &Path, leaves: u64) -> io::Result<Self> {
        let file = files.open(path, Mode::Write)?;
        Ok(Self { file, written_nodes: node_count(leaves), pending: Vec::new() })
    }

    /// Starts a tree behind what was trimmed: writes the peaks of that, which every later proof and trimming needs. The
    /// other nodes of trimmed entries stay what they are; in a new file they are a hole.
    pub(crate) fn start_at(&mut self, trimmed: &Peaks) -> io::Result<()> {
        for ((last, level), node) in peak_places(trimmed.leaves()).zip(trimmed.roots()) {
            self.file.write_all_at(node, TREE_HEADER_BYTES + node_index(last, level) * NODE_BYTES)?;
        }
        self.written_nodes = node_count(trimmed.leaves());
        Ok(())
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn append(&mut self, nodes: &[u8]) {
        self.pending.extend_from_slice(nodes);
    }

    /// Adds a leaf to `peaks`, and appends the nodes that it completes.
    pub(crate) fn push(&mut self, peaks: &mut Peaks, leaf: Hash) {
        peaks.push(leaf, &mut self.pending);
    }

    /// Writes what is pending.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.file.write_all_at(&self.pending, TREE_HEADER_BYTES + self.written_nodes * NODE_BYTES)?;
            self.written_nodes += self.pending.len() as u64 / NODE_BYTES;
            self.pending.clear();
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }

    /// Cuts what stands behind the last node.
    pub(crate) fn cut(&self) -> io::Result<()> {
        self.file.truncate(TREE_HEADER_BYTES + self.written_nodes * NODE_BYTES)
    }
}

/// Reads nodes.
pub(crate) struct TreeReader {
    file: Arc<dyn File>,
    path: PathBuf,
}

impl TreeReader {
    /// Opens the file. `Ok(None)` if it is not there or does not start as the tree of this shard does.
    pub(crate) fn open(files: &dyn Files, path: &Path, shard: &str) -> io::Result<Option<Self>> {
        let file = match files.open(path, Mode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut header = [0; TREE_HEADER_BYTES as usize];
        let filled = read_full_at(file.as_ref(), &mut header, 0)?;
        let ours = tree_header(shard);
        Ok((ours == header[..filled]).then(|| Self { file, path: path.to_path_buf() }))
    }

    /// The byte position at which the node over a single leaf stands.
    pub(crate) fn leaf_position(leaf: u64) -> u64 {
        TREE_HEADER_BYTES + node_index(leaf, 0) * NODE_BYTES
    }

    /// Reads the raw nodes that entry number `leaf` completed.
    pub(crate) fn nodes_of(&self, leaf: u64) -> io::Result<Vec<u8>> {
        let count = usize::try_from(leaf.trailing_ones() + 1).map_err(io::Error::other)?;
        let mut nodes = vec![0; count * NODE_BYTES as usize];
        let filled = read_full_at(self.file.as_ref(), &mut nodes, Self::leaf_position(leaf))?;
        nodes.truncate(filled);
        Ok(nodes)
    }

    /// The complete node of this level whose last leaf is `last`.
    pub(crate) fn node(&self, last: u64, level: u32) -> Result<Hash> {
        let mut node = [0; NODE_BYTES as usize];
        let position = TREE_HEADER_BYTES + node_index(last, level) * NODE_BYTES;
        let filled = read_full_at(self.file.as_ref(), &mut node, position)
            .map_err(|error| Error::io(format!("read {}", self.path.display()), error))?;
        if filled < node.len() || node == [0; NODE_BYTES as usize] {
            let message = format!("the Merkle node of level {level} that ends at entry {last} is not kept");
            return Err(Error::new(Kind::Repair, message)
                .with_hint("nodes of trimmed entries are lost with the file \"tree\"; restore it from a backup"));
        }
        Ok(node)
    }

    /// The peaks over the first `leaves` entries.
    pub(crate) fn peaks(&self, leaves: u64) -> Result<Peaks> {
        let roots = peak_places(leaves).map(|(last, level)| self.node(last, level)).collect::<Result<Vec<_>>>()?;
        Ok(Peaks::new(leaves, roots).expect("there is a peak for each one bit"))
    }

    /// Like [`peaks`](Self::peaks), but `None` if they are not there. A disk that cannot be read just now is an error: no
    /// reason to make the tree anew.
    pub(crate) fn peaks_if_kept(&self, leaves: u64) -> Result<Option<Peaks>> {
        match self.peaks(leaves) {
            Err(error) if error.kind() == Kind::Repair => Ok(None),
            peaks => peaks.map(Some),
        }
    }

    /// The root over leaves `start .. end`, where `start` is a multiple of the least power of two that is not below
    /// their number: what a node of the tree covers, complete or not.
    pub(crate) fn subtree(&self, start: u64, end: u64) -> Result<Hash> {
        let leaves = end - start;
        if leaves.is_power_of_two() {
            return self.node(end - 1, leaves.trailing_zeros());
        }
        let left = 1 << leaves.ilog2();
        Ok(parent_hash(&self.subtree(start, start + left)?, &self.subtree(start + left, end)?))
    }
}
