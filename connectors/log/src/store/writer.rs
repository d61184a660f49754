//! The writer of a shard: a synchronous core that no thread, clock or channel is part of, so that a simulation can
//! drive it call by call.
//!
//! A commit takes a group of entries through these steps:
//!
//! ```text
//! stage each entry      encode its frames, count its records, hash its leaf       nothing is visible yet
//! write                 all frames of the group, in one run behind the durable end
//! sync                  fdatasync: now the group is durable
//! publish               index, tree, mark, view: readers see it, then the waiters are told
//! ```
//!
//! **If a write fails**, the file is cut back to its durable end and synced: the entries are certainly not in the log,
//! the shard goes on when there is space again. **If a sync fails, or that cut,** nobody knows what is on the disk:
//! the shard is poisoned, all later appends fail, reads up to the durable end go on. Opening it anew finds out (see
//! `recovery`).

mod fill;
mod group;
mod roll;
mod trim;

pub(crate) use super::entry::SPOOL_ENDING;
pub(crate) use group::{Decide, Item};
pub(crate) use roll::{NEW_ENDING, create_segment};
pub use trim::{TrimPolicy, TrimReport};

use super::files::File;
use super::index::SegmentIndex;
use super::mark::{MARK, Mark};
use super::part::SchemaId;
use super::segment::SegmentHeader;
use super::tree::{Peaks, Root, TreeFile};
use super::view::{DurableEnd, Shared, View};
use super::{CommitTime, EntryNumber, Error, Kind, Offset, Result};
use arrow_schema::SchemaRef;
use group::Group;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// What an append is answered with once it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The number of the entry.
    pub entry: EntryNumber,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// How many records it has.
    pub record_count: u64,
    /// When it was committed.
    pub commit_time: CommitTime,
}

impl Appended {
    /// The offset after its last record: the position that a reader needs to have reached to see it.
    pub fn end_offset(&self) -> Offset {
        self.first_offset + self.record_count
    }
}

/// How a shard is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriterOptions {
    /// A segment of this length is sealed, and the next begun.
    pub(crate) segment_bytes: u64,
    /// What a commit holds in memory before it writes, so that a large entry needs no more.
    pub(crate) buffer_bytes: usize,
    /// A segment of this length is filled with zeros ahead of small commits.
    pub(crate) fill_from: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, buffer_bytes: 4 << 20, fill_from: 64 << 10 }
    }
}

/// The end of the log as the writer knows it.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// How many bytes of the last segment are written.
    pub(crate) position: u64,
    pub(crate) offset: Offset,
    pub(crate) time: CommitTime,
    /// Counts the entries as well.
    pub(crate) peaks: Peaks,
}

impl Tail {
    pub(crate) fn end(&self) -> DurableEnd {
        DurableEnd { offset: self.offset, entries: EntryNumber(self.peaks.leaves()), time: self.time }
    }
}

/// The writer of one shard. It is alone: the lock of the log and the ownership of this value see to that.
pub(crate) struct Writer {
    pub(super) shared: Shared,
    pub(super) options: WriterOptions,
    /// The header of the last segment.
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn File>,
    /// What is durable.
    pub(crate) tail: Tail,
    /// How long the last segment is: behind the durable end there may be zeros.
    pub(super) filled: u64,
    /// How long the last commit was.
    pub(super) last_commit_bytes: u64,
    pub(super) index: SegmentIndex,
    /// The schemas that stand in the last segment.
    pub(super) schemas: BTreeMap<SchemaId, SchemaRef>,
    pub(super) tree: TreeFile,
    pub(super) mark: Arc<dyn File>,
    pub(super) view: Arc<RwLock<View>>,
    pub(crate) poison: Option<Error>,
    /// The memory of the last group, to be used again.
    pub(super) buffer: Vec<u8>,
}

/// A shard that once had a large commit does not keep its memory: there may be many shards.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

impl Writer {
    /// Appends a group of entries in order, as one commit, and answers each.
    pub(crate) fn append_group(&mut self, items: Vec<Item>, now: CommitTime) -> Vec<Result<Appended>> {
        if let Err(error) = self.ready() {
            return items.iter().map(|_| Err(error.clone())).collect();
        }
        let mut group = Group::new(self, now);
        let stage = |item| {
            let answer = group.stage(item);
            let alone = answer.is_err() && !group.has_failed();
            (answer, alone)
        };
        let answers: Vec<_> = items.into_iter().map(stage).collect();
        let finished = group.finish().map(|staged| self.publish(staged));
        // An entry that failed alone is not in the log for certain; of the others only the commit can tell.
        let answer = |(answer, alone)| if alone { answer } else { finished.clone().and(answer) };
        answers.into_iter().map(answer).collect()
    }

    /// Does ahead of the next commit what it would have to wait for: seals a full segment, fills the next bytes. If that
    /// cannot be done now, the next commit tries again and tells.
    pub(crate) fn settle(&mut self) {
        match self.ready() {
            Ok(()) => self.fill_ahead(),
            Err(error) => {
                tracing::debug!(shard = %self.shared.name, %error, "the segment was not sealed ahead");
            }
        }
    }

    /// Whether the shard takes entries; begins a new segment if the last is full.
    fn ready(&mut self) -> Result<()> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        if self.tail.position >= self.options.segment_bytes && self.tail.position > self.header.bytes() {
            self.roll()?;
        }
        Ok(())
    }

    /// A sync failed, or a cut: nothing is known any more of what is behind the durable end.
    pub(super) fn poison(&mut self, error: &Error) -> Error {
        let poison = Error::new(Kind::Reopen, format!("shard \"{}\" takes no more entries: {error}", self.shared.name))
            .with_hint(
                "what was being written may or may not be in the log; check the disk, then open the log anew: that finds \
                 out what is there",
            );
        tracing::error!(shard = %self.shared.name, %error, "the shard is poisoned");
        self.poison = Some(poison.clone());
        poison
    }

    /// Makes a durable group visible.
    fn publish(&mut self, staged: group::Staged) {
        let index_grows = !staged.points.is_empty() || !staged.schemas.is_empty();
        self.last_commit_bytes = staged.tail.position - self.tail.position;
        self.tail = staged.tail;
        self.filled = self.filled.max(self.tail.position);
        self.index.points.extend(staged.points);
        self.index.schemas.extend(staged.schemas.iter().map(|(id, _, position)| (*id, *position)));
        self.schemas.extend(staged.schemas.into_iter().map(|(id, schema, _)| (id, schema)));
        self.buffer = staged.buffer;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.write_derived(&staged.nodes);
        self.publish_view(|view| {
            if let Some(last) = view.segments.last().filter(|_| index_grows) {
                last.set_index(Arc::new(self.index.clone()));
            }
        });
    }

    /// Writes the tree and the mark. Neither is needed to read what was acknowledged, so a failure is no failure of the
    /// commit: the tree is completed later, and an old mark still tells the truth.
    pub(super) fn write_derived(&mut self, nodes: &[u8]) {
        self.tree.append(nodes);
        if let Err(error) = self.tree.flush() {
            tracing::warn!(shard = %self.shared.name, %error, "the Merkle tree could not be written, it is tried again");
        }
        if let Err(error) = self.mark.write_all_at(&self.mark_now().encode(), 0) {
            tracing::warn!(shard = %self.shared.name, file = MARK, %error, "the durable mark could not be written");
        }
    }

    pub(super) fn mark_now(&self) -> Mark {
        Mark {
            segment: self.header.base_entry,
            position: self.tail.position,
            end_offset: self.tail.offset,
            last_time: self.tail.time,
            root: Root::of(&self.tail.peaks),
        }
    }

    /// Gives readers a new view: the durable end, and the segments as `change` leaves them.
    pub(super) fn publish_view(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut view);
        view.position = self.tail.position;
        view.end = self.tail.end();
    }

    /// The durable end.
    pub(crate) fn end(&self) -> DurableEnd {
        self.tail.end()
    }

    pub(crate) fn view(&self) -> Arc<RwLock<View>> {
        Arc::clone(&self.view)
    }

    /// Makes tree and mark durable, so that opening finds them complete. Nodes for which there is no space stay in memory
    /// and the caller may try again; a sync that failed poisons.
    pub(super) fn sync_derived(&mut self) -> Result<()> {
        self.tree.flush().map_err(|error| Error::io("write the Merkle tree", error))?;
        let synced = self.tree.sync().and_then(|()| self.mark.sync_data());
        synced.map_err(|error| self.poison(&Error::io("sync the tree and the mark", error)))
    }

    /// Ends the shard in good order. Errors are not the caller's: what was acknowledged is durable already.
    pub(crate) fn close(&mut self) {
        if self.poison.is_none()
            && let Err(error) = self.end_filling().and_then(|()| self.sync_derived())
        {
            tracing::warn!(shard = %self.shared.name, %error, "the shard was not closed in good order");
        }
    }
}
