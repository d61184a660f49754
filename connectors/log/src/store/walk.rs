//! Walks a segment from its start and follows entry number, offset and time: what opening a shard, making an index and
//! verifying have in common.

use super::files::File;
use super::header::{EntryHeader, EntryKind};
use super::index::{Point, SegmentIndex};
use super::part::Part;
use super::scan::{RawEntry, Scan, Stop};
use super::tree::Hash;
use super::view::Segment;
use super::wire::{Malformed, Reader};
use super::{CommitTime, EntryNumber, Offset, Result};
use std::sync::Arc;

/// An entry that a walk has passed.
pub(crate) struct Passed {
    pub(crate) raw: RawEntry,
    pub(crate) header: EntryHeader,
    pub(crate) leaf: Hash,
}

/// The state of a walk: all fields tell what holds before the next entry.
pub(crate) struct Walk {
    pub(crate) scan: Scan,
    pub(crate) entry: EntryNumber,
    pub(crate) offset: Offset,
    pub(crate) time: CommitTime,
    /// The index of what was passed.
    pub(crate) index: SegmentIndex,
    index_bytes: u64,
}

impl Walk {
    /// Starts at the first entry of a segment.
    pub(crate) fn new(segment: &Segment, file: Arc<dyn File>, bytes: u64) -> Self {
        let stem = segment.stem;
        Self {
            scan: Scan::new(file, stem.base_entry.0, segment.header_bytes, bytes),
            entry: stem.base_entry,
            offset: stem.base_offset,
            time: segment.base_time,
            index: SegmentIndex::default(),
            index_bytes: segment.shard.index_bytes,
        }
    }

    /// The next entry of a segment in which all bytes were acknowledged: whatever is wrong is damage.
    pub(crate) fn next_entry(&mut self, segment: &Segment) -> Result<Option<Passed>> {
        let (entry, offset) = (self.entry, self.offset);
        self.advance().map_err(|stop| segment.stopped(stop, entry, offset))
    }

    /// The next entry, all of its bytes checked, or why there is none.
    pub(crate) fn advance(&mut self) -> Result<Option<Passed>, Stop> {
        let Some(raw) = self.scan.next_entry()? else { return Ok(None) };
        let bad = |Malformed(why)| Stop::Wrong { entry: raw.position, why };
        let leaf = self.scan.leaf(&raw)?;
        let header = self.header(&raw).map_err(bad)?;
        if self.index.is_due(raw.position, self.index_bytes) {
            let Self { entry, offset, .. } = *self;
            self.index.points.push(Point { entry, offset, time: header.commit_time, position: raw.position });
        }
        if header.kind == EntryKind::SCHEMA {
            let part = first_part(&raw).map_err(bad)?;
            self.index.schemas.push((part.id, raw.position));
        }
        self.entry = self.entry + 1;
        self.offset = header.end_offset();
        self.time = header.commit_time;
        Ok(Some(Passed { raw, header, leaf }))
    }

    /// The header, checked against what must follow the entry before.
    fn header(&self, raw: &RawEntry) -> Result<EntryHeader, Malformed> {
        let header = EntryHeader::decode(&mut Reader::new(&raw.body_start()), self.entry)?;
        if header.first_offset != self.offset {
            return Err(Malformed("the offset of an entry does not follow the one before"));
        }
        if header.commit_time < self.time {
            return Err(Malformed("the time of an entry is before the one before"));
        }
        Ok(header)
    }
}

/// The only part of a small entry such as a schema.
pub(crate) fn first_part(raw: &RawEntry) -> Result<Part, Malformed> {
    let body = raw.body_start();
    let mut reader = Reader::new(&body);
    reader.bytes()?;
    let part = body.slice_ref(reader.bytes()?);
    Part::decode(part).map_err(|_| Malformed("the part of an entry is not readable"))
}
