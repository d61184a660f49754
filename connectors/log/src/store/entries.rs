//! Reading: a cursor over the entries of a shard, each with its header, its parts read when they are asked for.

mod body;

pub use body::Parts;

use super::encoding::ipc;
use super::files::File;
use super::header::EntryHeader;
use super::part::SchemaId;
use super::scan::{RawEntry, Scan, Stop};
use super::view::{Segment, View};
use super::walk::first_part;
use super::wire::Reader;
use super::{CommitTime, EntryNumber, Error, Kind, Offset, Result};
use arrow_schema::SchemaRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Iterates over entries in order, from a place in the shard up to the durable end at the time the cursor was made.
///
/// What it yields is a prefix of what was acknowledged by then, whole entries only. The first error is the last item.
pub struct Entries {
    view: View,
    schemas: Arc<Schemas>,
    until: Until,
    /// The index of the segment being read.
    segment: usize,
    reading: Option<Reading>,
    entry: EntryNumber,
    offset: Offset,
    /// Entries that end at or before this offset are passed over.
    from: Offset,
    done: bool,
}

/// What an entry must be before to be yielded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Offset(Offset),
    Entry(EntryNumber),
}

/// Where a cursor starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Offset(Offset),
    Entry(EntryNumber),
    Time(CommitTime),
}

struct Reading {
    scan: Scan,
    place: Arc<EntryPlace>,
}

/// What the entries of one segment share.
pub(crate) struct EntryPlace {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    bytes: u64,
    schemas: Arc<Schemas>,
}

/// Schemas by their ids, which are never reused: what was read once holds for the whole shard.
#[derive(Default)]
pub(crate) struct Schemas(Mutex<HashMap<SchemaId, SchemaRef>>);

impl Entries {
    pub(crate) fn new(view: View, schemas: Arc<Schemas>, from: From, until: Until) -> Result<Self> {
        let segment = starting_segment(&view, from)?;
        let start = view.segments[segment].stem;
        let mut entries = Self {
            view,
            schemas,
            until,
            segment,
            reading: None,
            entry: start.base_entry,
            offset: start.base_offset,
            from: Offset(0),
            done: false,
        };
        entries.seek(from)?;
        Ok(entries)
    }

    /// Moves within the segment to the last point of its index that is before what is looked for, then entry by entry.
    fn seek(&mut self, from: From) -> Result<()> {
        let segment = Arc::clone(&self.view.segments[self.segment]);
        let index = segment.index(self.view.bytes_of(&segment))?;
        let point = index.last_where(|point| match from {
            From::Offset(offset) => point.offset < offset,
            From::Entry(entry) => point.entry <= entry,
            From::Time(time) => point.time < time,
        });
        let position = point.map_or(segment.header_bytes, |point| point.position);
        if let Some(point) = point {
            (self.entry, self.offset) = (point.entry, point.offset);
        }
        self.open(position)?;
        if let From::Offset(offset) = from {
            self.from = offset;
        }
        while let From::Entry(entry) = from
            && self.entry < entry
            && self.advance()?.is_some()
        {}
        Ok(())
    }

    fn open(&mut self, position: u64) -> Result<()> {
        let segment = Arc::clone(&self.view.segments[self.segment]);
        let bytes = self.view.bytes_of(&segment);
        let file = segment.file()?;
        let scan = Scan::new(Arc::clone(&file), segment.stem.base_entry.0, position, bytes);
        let place = Arc::new(EntryPlace { segment, file, bytes, schemas: Arc::clone(&self.schemas) });
        self.reading = Some(Reading { scan, place });
        Ok(())
    }

    /// The next entry, wherever it is.
    fn advance(&mut self) -> Result<Option<Entry>> {
        loop {
            let Some(reading) = &mut self.reading else { return Ok(None) };
            let (number, offset) = (self.entry, self.offset);
            let stopped = |stop| reading.place.segment.stopped(stop, number, offset);
            if let Some(raw) = reading.scan.next_entry().map_err(stopped)? {
                return self.read(raw).map(Some);
            }
            self.next_segment()?;
        }
    }

    fn next_segment(&mut self) -> Result<()> {
        self.reading = None;
        if self.segment + 1 == self.view.segments.len() {
            return Ok(());
        }
        self.segment += 1;
        let header_bytes = self.view.segments[self.segment].header_bytes;
        self.open(header_bytes)
    }

    fn read(&mut self, raw: RawEntry) -> Result<Entry> {
        let place = self.reading.as_ref().map(|reading| Arc::clone(&reading.place)).expect("an entry was just read");
        let body = raw.body_start();
        let mut reader = Reader::new(&body);
        let wrong = |why| place.segment.stopped(Stop::Wrong { entry: raw.position, why }, self.entry, self.offset);
        let header = EntryHeader::decode(&mut reader, self.entry).map_err(|malformed| wrong(malformed.0))?;
        if header.first_offset != self.offset {
            return Err(wrong("the offset of an entry does not follow the one before"));
        }
        self.entry = self.entry + 1;
        self.offset = header.end_offset();
        let parts_start = body.len() - reader.rest().len();
        Ok(Entry { header, raw, parts_start, place })
    }

    fn is_at_end(&self) -> bool {
        match self.until {
            Until::Offset(offset) => self.offset >= offset,
            Until::Entry(entry) => self.entry >= entry,
        }
    }
}

/// The last segment that starts at or before what is looked for.
fn starting_segment(view: &View, from: From) -> Result<usize> {
    let start = view.start();
    let trimmed = match from {
        From::Offset(offset) => offset < start.base_offset,
        From::Entry(entry) => entry < start.base_entry,
        From::Time(_) => false,
    };
    if trimmed {
        let message = format!("{from} was trimmed; the shard starts at offset {}", start.base_offset);
        return Err(Error::fix(message).with_hint("start from the first offset that is kept"));
    }
    let count = view.segments.partition_point(|segment| match from {
        From::Offset(offset) => segment.stem.base_offset <= offset,
        From::Entry(entry) => segment.stem.base_entry <= entry,
        From::Time(time) => segment.base_time < time,
    });
    Ok(count.saturating_sub(1))
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Entry(entry) => write!(f, "entry {entry}"),
            Self::Time(time) => write!(f, "time {time}"),
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done && !self.is_at_end() {
            match self.advance() {
                Ok(Some(entry)) if entry.is_before(self.from) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => break,
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        self.done = true;
        None
    }
}

/// An entry that was read. It can be read further whatever happens to the log.
#[derive(Clone)]
pub struct Entry {
    header: EntryHeader,
    raw: RawEntry,
    /// Where the parts begin in the body.
    parts_start: usize,
    place: Arc<EntryPlace>,
}

impl Entry {
    /// What it says about itself.
    pub fn header(&self) -> &EntryHeader {
        &self.header
    }

    /// The length of its frames on disk.
    pub fn stored_bytes(&self) -> u64 {
        self.raw.end - self.raw.position
    }

    /// Its parts, read one after the other.
    pub fn parts(&self) -> Parts {
        Parts::new(self)
    }

    /// Shows the bytes of the entry as they are on disk, which are what its Merkle leaf is made of, piece by piece.
    pub fn stored(&self, mut show: impl FnMut(&[u8])) -> Result<()> {
        if self.raw.is_small() {
            show(&self.raw.frame);
            return Ok(());
        }
        self.place.scan(&self.raw).each_frame(&self.raw, show).map_err(|stop| self.stopped(stop))
    }

    /// The schema of a part of this entry.
    pub fn schema(&self, id: SchemaId) -> Result<SchemaRef> {
        self.place.schema(id)
    }

    fn is_before(&self, from: Offset) -> bool {
        self.header.first_offset < from && self.header.end_offset() <= from
    }

    fn stopped(&self, stop: Stop) -> Error {
        self.place.segment.stopped(stop, self.header.number, self.header.first_offset)
    }
}

impl EntryPlace {
    fn scan(&self, raw: &RawEntry) -> Scan {
        Scan::new(Arc::clone(&self.file), self.segment.stem.base_entry.0, raw.position, self.bytes)
    }

    /// The schema, which stands in this segment before its first use.
    fn schema(&self, id: SchemaId) -> Result<SchemaRef> {
        if let Some(known) = self.schemas.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(known));
        }
        let schema = self.read_schema(id)?;
        self.schemas.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    fn read_schema(&self, id: SchemaId) -> Result<SchemaRef> {
        let SchemaId { dataset, schema } = id;
        let missing = |why: &str| {
            Error::new(Kind::Repair, format!("schema {schema} of dataset {dataset} {why} in its segment"))
                .at(self.segment.stem.segment())
        };
        let index = self.segment.index(self.bytes)?;
        let position = index.schema_position(id).ok_or_else(|| missing("is not"))?;
        let mut scan = Scan::new(Arc::clone(&self.file), self.segment.stem.base_entry.0, position, self.bytes);
        let stem = self.segment.stem;
        let raw = scan.next_entry().map_err(|stop| self.segment.stopped(stop, stem.base_entry, stem.base_offset))?;
        let raw = raw.ok_or_else(|| missing("ends beyond what is durable"))?;
        let part = first_part(&raw).map_err(|_| missing("is not whole"))?;
        if part.id != id {
            return Err(missing("is another one"));
        }
        ipc::decode_schema(&part.payload).map_err(|_| missing("is not readable"))
    }
}
