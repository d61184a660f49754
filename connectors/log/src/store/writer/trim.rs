//! Retention: removes the oldest sealed segments, whole, and never rewrites one.
//!
//! ```text
//! sync tree and mark      the nodes of what goes must outlive it
//! record `trimmed`        from here on the segments are disowned, whatever happens
//! publish                 new readers start later; those who have a file open go on
//! sync                    the record is durable; if that fails, the files stay until the shard is opened anew
//! remove                  a crash in between is completed when the shard is opened
//! ```

use super::super::recovery::TREE;
use super::super::survey::{read_header, read_trimmed};
use super::super::tree::{Peaks, TreeReader};
use super::super::trimmed::{TRIMMED, Trimmed};
use super::super::view::{Segment, View};
use super::super::walk::{Passed, Walk};
use super::super::{CommitTime, EntryNumber, Error, Offset, Result};
use super::Writer;
use super::roll::write_durably;
use std::sync::{Arc, PoisonError};

/// What may be trimmed. A segment goes if any of the three says so, and all before it go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrimPolicy {
    /// Segments that end at or before this offset.
    pub before: Option<Offset>,
    /// Segments in which every entry is older than this time.
    pub older_than: Option<CommitTime>,
    /// The oldest segments, until the shard is no longer than this.
    pub bytes_max: Option<u64>,
}

/// What was trimmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrimReport {
    /// How many segments were removed.
    pub segments: usize,
    /// How long they were.
    pub bytes: u64,
    /// The first offset that is kept.
    pub start: Offset,
    /// The first entry that is kept.
    pub start_entry: EntryNumber,
}

impl Writer {
    /// Trims what the policy allows, but nothing at or behind `hold`.
    pub(crate) fn trim(&mut self, policy: &TrimPolicy, hold: Offset) -> Result<TrimReport> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        let count = removable(&view, policy, hold);
        let first = Arc::clone(&view.segments[count]);
        let bytes = view.segments[..count].iter().map(|segment| view.bytes_of(segment)).sum();
        let (start, start_entry) = (first.stem.base_offset, first.stem.base_entry);
        if count > 0 {
            self.disown(&view.segments[..count], &first)?;
            // Under its name the record counts, even if it is not known to be durable: whoever opens the shard goes by it.
            self.publish_view(|view| view.segments = Arc::new(view.segments[count..].to_vec()));
            let synced = self.shared.files.sync_dir(&self.shared.folder);
            synced.map_err(self.shared.io("sync", TRIMMED))?;
            self.remove(&view.segments[..count]);
        }
        Ok(TrimReport { segments: count, bytes, start, start_entry })
    }

    /// Records that the shard starts with this segment. The record is durable once the folder is synced.
    fn disown(&mut self, trimmed: &[Arc<Segment>], first: &Segment) -> Result<()> {
        self.sync_derived()?;
        let trimmed = Trimmed { offset: first.stem.base_offset, peaks: self.peaks_before(first, trimmed)? };
        let files = self.shared.files.as_ref();
        write_durably(files, &self.shared.path(TRIMMED), &trimmed.encode()).map_err(self.shared.io("write", TRIMMED))
    }

    /// The peaks over all entries before `first`. The tree has them, but it is derived and may be damaged, and the record
    /// made of them is not derived: unless they lead to the root that the header of `first` notes, they are made anew
    /// from the entries that go.
    fn peaks_before(&self, first: &Segment, trimmed: &[Arc<Segment>]) -> Result<Peaks> {
        let (header, _) = read_header(&self.shared, first.stem)?;
        if let Some(peaks) = self.stored_peaks(header.base_entry)?.filter(|peaks| peaks.root() == header.root) {
            return Ok(peaks);
        }
        tracing::warn!(shard = %self.shared.name, "the Merkle tree is damaged, the log is trimmed by its entries");
        let peaks = self.walked_peaks(trimmed)?;
        if peaks.root() != header.root {
            let damage = self.shared.damage(&first.stem.segment(), 0, header.base_entry, header.base_offset);
            return Err(Error::damaged(damage, "the entries before this segment do not have the root that it notes"));
        }
        Ok(peaks)
    }

    /// The peaks that the tree has, unless it is missing or damaged.
    fn stored_peaks(&self, entry: EntryNumber) -> Result<Option<Peaks>> {
        let shared = &self.shared;
        let reader = TreeReader::open(shared.files.as_ref(), &shared.path(TREE), &shared.name);
        let reader = reader.map_err(shared.io("open", TREE))?;
        reader.map_or(Ok(None), |reader| reader.peaks_if_kept(entry.0))
    }

    /// The peaks over what was trimmed before and the entries of these segments, the oldest that there are.
    fn walked_peaks(&self, segments: &[Arc<Segment>]) -> Result<Peaks> {
        let before = read_trimmed(&self.shared)?;
        let mut peaks = before.map(|trimmed| trimmed.peaks).unwrap_or_default();
        let mut nodes = Vec::new();
        for segment in segments {
            let bytes = segment.sealed_bytes.unwrap_or_default();
            let mut walk = Walk::new(segment, segment.file()?, bytes);
            while let Some(Passed { leaf, .. }) = walk.next_entry(segment)? {
                nodes.clear();
                peaks.push(leaf, &mut nodes);
            }
        }
        Ok(peaks)
    }

    /// Removes the files, the oldest first. What cannot be removed now is removed when the shard is opened.
    fn remove(&self, segments: &[Arc<Segment>]) {
        for segment in segments {
            for name in [segment.stem.index(), segment.stem.segment()] {
                match self.shared.files.remove(&self.shared.path(&name)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(shard = %self.shared.name, file = %name, %error, "a trimmed file was not removed");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// How many of the oldest segments may go. The last segment never does.
fn removable(view: &View, policy: &TrimPolicy, hold: Offset) -> usize {
    let mut bytes: u64 = view.segments.iter().map(|segment| view.bytes_of(segment)).sum();
    let goes = |pair: &[Arc<Segment>]| {
        let [segment, next] = pair else { return false };
        let end = next.stem.base_offset;
        let wanted = policy.before.is_some_and(|before| end <= before)
            || policy.older_than.is_some_and(|time| next.base_time < time)
            || policy.bytes_max.is_some_and(|bytes_max| bytes > bytes_max);
        bytes -= view.bytes_of(segment);
        wanted && end <= hold
    };
    view.segments.windows(2).map(goes).take_while(|goes| *goes).count()
}
