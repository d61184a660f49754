//! One commit in the making: entries are staged in a buffer and become the writer's state only when they are durable.

use super::super::entry::{NewEntry, schema_id_reused};
use super::super::frame::{self, BODY_LENGTH_BYTES, CHUNK_BYTES, FIRST, FRAME_HEAD_BYTES, GROUP, LAST, Place};
use super::super::header::{EntryHeader, EntryKind, FixedHeader};
use super::super::index::Point;
use super::super::part::{self, Encoding, SchemaId};
use super::super::tree::{Hash, LeafHasher, leaf_hash};
use super::super::view::DurableEnd;
use super::super::{CommitTime, EntryNumber, Error, Kind, Result, encoding};
use super::{Appended, Tail, Writer};
use arrow_schema::SchemaRef;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Decides under the writer what is appended, knowing the end of the log. It runs in the middle of a commit, so it
/// must be quick and must not wait for anything.
pub(crate) type Decide = Box<dyn FnOnce(DurableEnd) -> Result<NewEntry> + Send>;

/// What is appended.
pub(crate) enum Item {
    Entry(Box<NewEntry>),
    /// And what it holds in memory.
    Decide(Decide, usize),
}

impl Item {
    /// What it holds in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Entry(entry) => entry.memory_bytes(),
            Self::Decide(_, bytes) => *bytes,
        }
    }
}

/// The attributes of an entry must fit its first frame, beside much else.
const ATTRIBUTES_BYTES_MAX: usize = 256 << 10;

const _: () = assert!(ATTRIBUTES_BYTES_MAX + 64 < CHUNK_BYTES);

/// A commit in the making.
pub(super) struct Group<'a> {
    writer: &'a mut Writer,
    now: CommitTime,
    /// Where the buffer begins in the segment.
    buffer_start: u64,
    /// How far the file has been written.
    written_end: u64,
    staged: Staged,
    failed: Option<Error>,
}

/// What the state of the writer becomes when the commit is durable.
pub(super) struct Staged {
    pub(super) tail: Tail,
    pub(super) buffer: Vec<u8>,
    pub(super) nodes: Vec<u8>,
    pub(super) points: Vec<Point>,
    pub(super) schemas: Vec<(SchemaId, SchemaRef, u64)>,
}

/// An entry ready to be framed.
struct Framed<'a> {
    fixed: FixedHeader,
    attributes: &'a [u8],
    parts_bytes: u64,
    read_parts: &'a dyn Fn(u64, &mut [u8]) -> Result<()>,
}

impl<'a> Group<'a> {
    pub(super) fn new(writer: &'a mut Writer, now: CommitTime) -> Self {
        let tail = writer.tail.clone();
        let mut buffer = std::mem::take(&mut writer.buffer);
        buffer.clear();
        let position = tail.position;
        let staged = Staged { tail, buffer, nodes: Vec::new(), points: Vec::new(), schemas: Vec::new() };
        Self { writer, now, buffer_start: position, written_end: position, staged, failed: None }
    }

    /// Adds an entry, or nothing of it if it fails.
    pub(super) fn stage(&mut self, item: Item) -> Result<Appended> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let entry = match item {
            Item::Entry(entry) => *entry,
            Item::Decide(decide, _) => decided(decide, self.staged.tail.end())?,
        };
        let attributes = entry.attributes().encode();
        check(&entry, &attributes)?;
        let tail = self.staged.tail.clone();
        let lengths = (self.staged.nodes.len(), self.staged.points.len(), self.staged.schemas.len());
        let appended = self.stage_entry(&entry, &attributes);
        if appended.is_err() {
            self.rewind(tail, lengths);
        }
        appended
    }

    /// Whether writing has failed, and so all entries have.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    fn rewind(&mut self, tail: Tail, (nodes, points, schemas): (usize, usize, usize)) {
        let kept = tail.position.saturating_sub(self.buffer_start);
        self.staged.buffer.truncate(kept as usize);
        self.buffer_start = self.buffer_start.min(tail.position);
        self.staged.nodes.truncate(nodes);
        self.staged.points.truncate(points);
        self.staged.schemas.truncate(schemas);
        self.staged.tail = tail;
    }

    fn stage_entry(&mut self, entry: &NewEntry, attributes: &[u8]) -> Result<Appended> {
        for (id, schema) in entry.schemas() {
            self.stage_schema(*id, schema)?;
        }
        let fixed = self.fixed(entry.kind(), entry.record_count(), entry.part_count());
        let read_parts = |position, out: &mut [u8]| entry.read_parts(position, out);
        self.frame(&Framed { fixed, attributes, parts_bytes: entry.parts_bytes(), read_parts: &read_parts })
    }

    /// Writes a schema that the segment has not yet, as an entry of its own without records.
    fn stage_schema(&mut self, id: SchemaId, schema: &SchemaRef) -> Result<()> {
        let staged = self.staged.schemas.iter().find(|(known, ..)| *known == id).map(|(_, known, _)| known);
        match staged.or_else(|| self.writer.schemas.get(&id)) {
            Some(known) if Arc::ptr_eq(known, schema) || known == schema => return Ok(()),
            Some(_) => return Err(schema_id_reused(id)),
            None => {}
        }
        let mut parts = Vec::new();
        part::encode(&mut parts, id, 0, Encoding::BYTES, None, &encoding::ipc::encode_schema(schema))?;
        let position = self.staged.tail.position;
        let fixed = self.fixed(EntryKind::SCHEMA, 0, 1);
        let read_parts = |start: u64, out: &mut [u8]| {
            out.copy_from_slice(&parts[start as usize..][..out.len()]);
            Ok(())
        };
        self.frame(&Framed { fixed, attributes: &[], parts_bytes: parts.len() as u64, read_parts: &read_parts })?;
        self.staged.schemas.push((id, Arc::clone(schema), position));
        Ok(())
    }

    fn fixed(&self, kind: EntryKind, record_count: u64, part_count: u64) -> FixedHeader {
        let tail = &self.staged.tail;
        FixedHeader { kind, first_offset: tail.offset, record_count, part_count, commit_time: self.now.max(tail.time) }
    }

    /// Frames an entry behind the others and moves the staged tail behind it.
    fn frame(&mut self, entry: &Framed<'_>) -> Result<Appended> {
        let mut head = Vec::with_capacity(64 + entry.attributes.len());
        EntryHeader::encode(&entry.fixed, entry.attributes, &mut head);
        let position = self.staged.tail.position;
        let body_bytes = head.len() as u64 + entry.parts_bytes;
        let leaf = if body_bytes <= CHUNK_BYTES as u64 {
            self.frame_small(&head, entry)?
        } else {
            self.frame_large(&head, entry, body_bytes)?
        };
        Ok(self.advance(&entry.fixed, position, leaf))
    }

    fn frame_small(&mut self, head: &[u8], entry: &Framed<'_>) -> Result<Hash> {
        let place = self.place();
        let flags = FIRST | LAST | self.group_flag(place.position);
        let buffer = &mut self.staged.buffer;
        let start = frame::reserve(buffer);
        buffer.extend_from_slice(head);
        let parts_start = buffer.len();
        buffer.resize(parts_start + entry.parts_bytes as usize, 0);
        (entry.read_parts)(0, &mut buffer[parts_start..])?;
        frame::seal(buffer, start, flags, place);
        let leaf = leaf_hash(&buffer[start..]);
        self.flush_if_long()?;
        Ok(leaf)
    }

    fn frame_large(&mut self, head: &[u8], entry: &Framed<'_>, body_bytes: u64) -> Result<Hash> {
        let mut hasher = LeafHasher::new();
        let mut front = body_bytes.to_le_bytes().to_vec();
        front.extend_from_slice(head);
        let stream_bytes = BODY_LENGTH_BYTES as u64 + body_bytes;
        let mut read = 0;
        for chunk_start in (0..stream_bytes).step_by(CHUNK_BYTES) {
            let place = self.place();
            let rest = stream_bytes - chunk_start;
            let first = if chunk_start == 0 { FIRST | self.group_flag(place.position) } else { 0 };
            let last = if rest <= CHUNK_BYTES as u64 { LAST } else { 0 };
            let buffer = &mut self.staged.buffer;
            let start = frame::reserve(buffer);
            buffer.append(&mut front);
            let parts_start = buffer.len();
            buffer.resize(start + FRAME_HEAD_BYTES + rest.min(CHUNK_BYTES as u64) as usize, 0);
            (entry.read_parts)(read, &mut buffer[parts_start..])?;
            read += (buffer.len() - parts_start) as u64;
            frame::seal(buffer, start, first | last, place);
            hasher.update(&buffer[start..]);
            self.flush_if_long()?;
        }
        Ok(hasher.finish())
    }

    /// Where the next frame will stand.
    fn place(&self) -> Place {
        let position = self.buffer_start + self.staged.buffer.len() as u64;
        Place { base_entry: self.writer.header.base_entry.0, position }
    }

    /// The first frame behind the durable end proves that all before it was durable.
    fn group_flag(&self, position: u64) -> u8 {
        if position == self.writer.tail.position { GROUP } else { 0 }
    }

    fn advance(&mut self, fixed: &FixedHeader, position: u64, leaf: Hash) -> Appended {
        let end = self.buffer_start + self.staged.buffer.len() as u64;
        let staged = &mut self.staged;
        let entry = EntryNumber(staged.tail.peaks.leaves());
        let FixedHeader { first_offset, record_count, commit_time, .. } = *fixed;
        let last_point = staged.points.last().or(self.writer.index.points.last());
        if last_point.is_none_or(|last| position >= last.position + self.writer.shared.index_bytes) {
            staged.points.push(Point { entry, offset: first_offset, time: commit_time, position });
        }
        staged.tail.peaks.push(leaf, &mut staged.nodes);
        staged.tail.position = end;
        staged.tail.offset = first_offset + record_count;
        staged.tail.time = commit_time;
        Appended { entry, first_offset, record_count, commit_time }
    }

    fn flush_if_long(&mut self) -> Result<()> {
        if self.staged.buffer.len() >= self.writer.options.buffer_bytes { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = self.staged.buffer.len() as u64;
        if let Err(error) = self.writer.file.write_all_at(&self.staged.buffer, self.buffer_start) {
            let error = Error::io(format!("write to shard \"{}\"", self.writer.shared.name), error)
                .with_hint("nothing of it is in the log; make space on the disk, then try again");
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.buffer_start += bytes;
        self.written_end = self.written_end.max(self.buffer_start);
        self.staged.buffer.clear();
        Ok(())
    }

    /// Makes the group durable, or sees to it that nothing of it is in the log.
    pub(super) fn finish(mut self) -> Result<Staged> {
        if self.failed.is_none() && !self.staged.buffer.is_empty() {
            // The error is kept in `failed`.
            let _ = self.flush();
        }
        if let Some(error) = self.failed.take() {
            return Err(self.cut(error));
        }
        if self.written_end > self.staged.tail.position {
            // An entry failed after some of it was written. Left there, it could be found by a later recovery.
            self.truncate(self.staged.tail.position).map_err(|error| self.writer.poison(&error))?;
        }
        if self.staged.tail.position > self.writer.tail.position {
            self.sync().map_err(|error| self.writer.poison(&error))?;
        }
        Ok(self.staged)
    }

    /// Takes back what was written. If the disk refuses that too, nobody knows what is on it.
    fn cut(&mut self, error: Error) -> Error {
        let cut = self.truncate(self.writer.tail.position).and_then(|()| self.sync());
        match cut {
            Ok(()) => error,
            Err(cut) => self.writer.poison(&cut),
        }
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        let truncated = self.writer.file.truncate(bytes);
        truncated
            .map_err(|error| Error::io(format!("cut a segment of shard \"{}\"", self.writer.shared.name), error))?;
        self.writer.filled = bytes;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let synced = self.writer.file.sync_data();
        self.writer.shared.syncs.fetch_add(1, Ordering::Relaxed);
        synced.map_err(|error| Error::io(format!("sync shard \"{}\"", self.writer.shared.name), error))
    }
}

/// The caller's code runs in the middle of the commit of others, who must not suffer from it.
fn decided(decide: Decide, end: DurableEnd) -> Result<NewEntry> {
    catch_unwind(AssertUnwindSafe(|| decide(end))).unwrap_or_else(|_| {
        Err(Error::new(Kind::Report, "what decides about an entry has panicked; nothing of the entry is in the log"))
    })
}

fn check(entry: &NewEntry, attributes: &[u8]) -> Result<()> {
    if entry.record_count() == 0 {
        return Err(Error::fix("an entry needs at least one record")
            .with_hint("without a record it would have no offset of its own that a reader could wait for"));
    }
    if entry.kind() == EntryKind::SCHEMA {
        return Err(Error::fix("schema entries are written by the store"));
    }
    if attributes.len() > ATTRIBUTES_BYTES_MAX {
        return Err(Error::fix(format!("the attributes of an entry are at most {ATTRIBUTES_BYTES_MAX} bytes")));
    }
    Ok(())
}
