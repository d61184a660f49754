//! What readers see of a shard: its segments, and how far they are durable.
//!
//! The writer makes a new [`View`] after each commit; a reader takes one at its start and keeps it, so it sees a
//! prefix of the shard that no later commit, roll or trim changes under it.

use super::files::{File, Files, Mode, read_small};
use super::index::SegmentIndex;
use super::scan::Stop;
use super::segment::{SegmentHeader, SegmentStem};
use super::walk::Walk;
use super::{CommitTime, Damage, EntryNumber, Error, Offset, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

/// The durable end of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurableEnd {
    /// The offset that the next record will get.
    pub offset: Offset,
    /// How many entries there are, which is the number that the next will get.
    pub entries: EntryNumber,
    /// The time of the last entry.
    pub time: CommitTime,
}

/// The segments of a shard, and its durable end.
#[derive(Clone)]
pub(crate) struct View {
    /// In order; the last is the one being written.
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    /// How many bytes of the last segment are durable.
    pub(crate) position: u64,
    pub(crate) end: DurableEnd,
}

/// A segment as readers share it. A sealed one is opened by each reader for itself, so that a long log does not use up
/// the file table; the one being written is open anyway.
pub(crate) struct Segment {
    pub(crate) shard: Shared,
    pub(crate) stem: SegmentStem,
    /// The time of the last entry before it.
    pub(crate) base_time: CommitTime,
    /// Where its first frame stands.
    pub(crate) header_bytes: u64,
    /// Its length, if it is sealed.
    pub(crate) sealed_bytes: Option<u64>,
    open: Option<Arc<dyn File>>,
    index: RwLock<Option<Arc<SegmentIndex>>>,
}

/// What all segments of a shard have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) name: Arc<str>,
    pub(crate) folder: Arc<Path>,
    /// The distance of two points of an index.
    pub(crate) index_bytes: u64,
    /// How often the writer has synced a commit.
    pub(crate) syncs: Arc<AtomicU64>,
}

impl Shared {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Verb and object for an error of the system.
    pub(crate) fn io(&self, verb: &str, name: &str) -> impl FnOnce(std::io::Error) -> Error {
        let what = format!("{verb} {}", self.path(name).display());
        move |error| Error::io(what, error)
    }

    pub(crate) fn damage(&self, file: &str, position: u64, entry: EntryNumber, offset: Offset) -> Damage {
        Damage { shard: self.name.to_string(), file: file.to_string(), position, entry, offset }
    }
}

impl Segment {
    /// A segment that is complete.
    pub(crate) fn sealed(shard: Shared, header: &SegmentHeader, bytes: u64) -> Self {
        Self::new(shard, header, Some(bytes), None)
    }

    /// The segment being written.
    pub(crate) fn active(shard: Shared, header: &SegmentHeader, file: Arc<dyn File>) -> Self {
        Self::new(shard, header, None, Some(file))
    }

    fn new(shard: Shared, header: &SegmentHeader, sealed_bytes: Option<u64>, open: Option<Arc<dyn File>>) -> Self {
        Self {
            shard,
            stem: header.stem(),
            base_time: header.base_time,
            header_bytes: header.bytes(),
            sealed_bytes,
            open,
            index: RwLock::new(None),
        }
    }

    /// The same segment when nothing more is added to it.
    pub(crate) fn seal(&self, bytes: u64) -> Self {
        Self {
            shard: self.shard.clone(),
            stem: self.stem,
            base_time: self.base_time,
            header_bytes: self.header_bytes,
            sealed_bytes: Some(bytes),
            open: None,
            index: RwLock::new(self.held_index()),
        }
    }

    /// The file. Who has it open can read it even after the segment is trimmed.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        if let Some(file) = &self.open {
            return Ok(Arc::clone(file));
        }
        let name = self.stem.segment();
        match self.shard.files.open(&self.shard.path(&name), Mode::Read) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(self.trimmed()),
            Err(error) => Err(self.shard.io("open", &name)(error)),
        }
    }

    fn trimmed(&self) -> Error {
        let offset = self.stem.base_offset;
        Error::fix(format!("the records from offset {offset} on were trimmed while they were read"))
            .with_hint("start from the first offset that is kept, or hold what is to be read")
    }

    /// Replaces the index, as the writer does when it has added to it.
    pub(crate) fn set_index(&self, index: Arc<SegmentIndex>) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index);
    }

    fn held_index(&self) -> Option<Arc<SegmentIndex>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The index of a segment of this length: as held, as read from its file, or made anew.
    pub(crate) fn index(&self, bytes: u64) -> Result<Arc<SegmentIndex>> {
        if let Some(index) = self.held_index() {
            return Ok(index);
        }
        let index = Arc::new(match self.stored_index(bytes) {
            Some(index) => index,
            None => self.rebuilt_index(bytes)?,
        });
        self.set_index(Arc::clone(&index));
        Ok(index)
    }

    /// An index longer than this is not ours.
    pub(crate) const INDEX_BYTES_MAX: u64 = 64 << 20;

    fn stored_index(&self, bytes: u64) -> Option<SegmentIndex> {
        let path = self.shard.path(&self.stem.index());
        let content = read_small(self.shard.files.as_ref(), &path, Self::INDEX_BYTES_MAX).ok()?;
        SegmentIndex::decode(&content, bytes).ok()
    }

    fn rebuilt_index(&self, bytes: u64) -> Result<SegmentIndex> {
        tracing::warn!(shard = %self.shard.name, segment = %self.stem.segment(), "the index is missing or damaged, made anew");
        let mut walk = Walk::new(self, self.file()?, bytes);
        while walk.next_entry(self)?.is_some() {}
        Ok(walk.index)
    }

    /// The error for what stopped a scan of acknowledged bytes, at this entry.
    pub(crate) fn stopped(&self, stop: Stop, entry: EntryNumber, offset: Offset) -> Error {
        let name = self.stem.segment();
        match stop {
            Stop::Io(error) => self.shard.io("read", &name)(error),
            Stop::Bad { frame: position, why, .. } | Stop::Wrong { entry: position, why } => {
                Error::damaged(self.shard.damage(&name, position, entry, offset), why)
            }
        }
    }
}

impl View {
    /// How many bytes of a segment there are to read.
    pub(crate) fn bytes_of(&self, segment: &Segment) -> u64 {
        segment.sealed_bytes.unwrap_or(self.position)
    }

    /// Where the shard starts.
    pub(crate) fn start(&self) -> SegmentStem {
        self.segments.first().expect("a shard has at least one segment").stem
    }
}
