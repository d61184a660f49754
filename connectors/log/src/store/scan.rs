//! Walks the frames of one segment and finds its entries, checking each byte it passes.
//!
//! The scan tells apart what it sees, and leaves it to the caller to say what it means: a bad frame is a torn tail to a
//! shard that is being opened, the end to somebody who looks into a live log, and damage to everyone else.

use super::files::{File, read_full_at};
use super::frame::{self, BODY_LENGTH_BYTES, CHUNK_BYTES, FIRST, FRAME_HEAD_BYTES, FrameHead, GROUP, LAST, Place};
use super::tree::{Hash, LeafHasher, leaf_hash};
use bytes::{Bytes, BytesMut};
use std::io;
use std::sync::Arc;

/// What a first read takes: a lookup of one entry seldom needs more.
const READ_BYTES_MIN: usize = 64 << 10;

/// What later reads take. It holds a whole frame, so a frame is never pieced together.
const READ_BYTES_MAX: usize = 1 << 20;

/// Reads a range of a segment file through a window that is refilled with large reads.
pub(crate) struct Scan {
    file: Arc<dyn File>,
    base_entry: u64,
    position: u64,
    end: u64,
    window: Bytes,
    window_start: u64,
    read_bytes: usize,
}

/// An entry as it lies in a segment: all of it, or the place of it if it spans frames.
#[derive(Clone, Debug)]
pub(crate) struct RawEntry {
    /// The position of its first frame.
    pub(crate) position: u64,
    /// The position after its last frame.
    pub(crate) end: u64,
    /// Its first frame; the only one of a small entry.
    pub(crate) frame: Bytes,
    /// The length of its body.
    pub(crate) body_bytes: u64,
}

impl RawEntry {
    pub(crate) fn is_small(&self) -> bool {
        self.end - self.position == self.frame.len() as u64
    }

    /// Whether it is the first of a commit: then all before it had been durable.
    pub(crate) fn starts_commit(&self) -> bool {
        FrameHead::parse(&self.frame).is_some_and(|head| head.is(GROUP))
    }

    /// The body if it is small, else its beginning.
    pub(crate) fn body_start(&self) -> Bytes {
        let skipped = if self.is_small() { 0 } else { BODY_LENGTH_BYTES };
        self.frame.slice(FRAME_HEAD_BYTES + skipped..)
    }
}

/// Why a scan stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nothing whole begins at `entry`: the frame at `frame` is not one of ours.
    Bad { entry: u64, frame: u64, why: &'static str },
    /// The frames of the entry at `entry` are whole, but it cannot stand there: no crash makes that.
    Wrong { entry: u64, why: &'static str },
    /// The system could not read.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Scan {
    /// Scans the frames from `position`, which must be the start of an entry, to `end`.
    pub(crate) fn new(file: Arc<dyn File>, base_entry: u64, position: u64, end: u64) -> Self {
        Self { file, base_entry, position, end, window: Bytes::new(), window_start: 0, read_bytes: READ_BYTES_MIN }
    }

    /// Where the next entry begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry, or `None` at the end. Of an entry that spans frames only the first is checked; the others are
    /// when they are read, or by [`Scan::leaf`].
    pub(crate) fn next_entry(&mut self) -> Result<Option<RawEntry>, Stop> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let (head, frame) = self.frame(position, position)?;
        if !head.is(FIRST) {
            return Err(Stop::Bad {
                entry: position,
                frame: position,
                why: "an entry does not start with its first frame",
            });
        }
        let (end, body_bytes) = self.extent(position, head, &frame)?;
        self.position = end;
        Ok(Some(RawEntry { position, end, frame, body_bytes }))
    }

    /// Where an entry ends, and how long its body is.
    fn extent(&self, position: u64, head: FrameHead, frame: &Bytes) -> Result<(u64, u64), Stop> {
        if head.is(LAST) {
            return Ok((position + head.frame_bytes() as u64, head.payload_bytes as u64));
        }
        let bad = |why| Stop::Bad { entry: position, frame: position, why };
        let length = frame.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + BODY_LENGTH_BYTES);
        let body_bytes = length.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let body_bytes = body_bytes.ok_or(bad("the first frame of a large entry is too short"))?;
        if body_bytes <= CHUNK_BYTES as u64 || head.payload_bytes != CHUNK_BYTES {
            return Err(bad("a small entry spans frames"));
        }
        match position.checked_add(frame::entry_bytes(body_bytes)) {
            Some(end) if end <= self.end => Ok((end, body_bytes)),
            _ => Err(Stop::Bad { entry: position, frame: self.end, why: "a large entry ends beyond the segment" }),
        }
    }

    /// The frame at `position`, checked. `entry` is where its entry begins.
    fn frame(&mut self, entry: u64, position: u64) -> Result<(FrameHead, Bytes), Stop> {
        let bad = |why| Stop::Bad { entry, frame: position, why };
        if self.end - position < FRAME_HEAD_BYTES as u64 {
            return Err(bad("a frame is cut short"));
        }
        let head = FrameHead::parse(self.window(position, FRAME_HEAD_BYTES)?);
        let head = head.ok_or(bad("the head of a frame is not valid"))?;
        let bytes = head.frame_bytes();
        if self.end - position < bytes as u64 || self.window(position, bytes)?.len() < bytes {
            return Err(bad("a frame is cut short"));
        }
        let start = (position - self.window_start) as usize;
        let frame = self.window.slice(start..start + bytes);
        if !frame::is_whole(&frame, Place { base_entry: self.base_entry, position }) {
            return Err(bad("the checksum of a frame does not match"));
        }
        Ok((head, frame))
    }

    /// The bytes at `position`, at least `count` of them unless the file ends before.
    fn window(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let held = position.checked_sub(self.window_start).filter(|skip| *skip <= self.window.len() as u64);
        let missing = held.is_none_or(|skip| self.window.len() - (skip as usize) < count);
        if missing {
            self.refill(position, count)?;
        }
        let start = ((position - self.window_start) as usize).min(self.window.len());
        Ok(&self.window[start..])
    }

    fn refill(&mut self, position: u64, count: usize) -> io::Result<()> {
        let rest = usize::try_from(self.end - position).unwrap_or(usize::MAX);
        let bytes = self.read_bytes.max(count).min(rest);
        self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        // Nobody may hold a piece of the window any more; then its memory serves again.
        let mut buffer = std::mem::take(&mut self.window).try_into_mut().unwrap_or_default();
        buffer.resize(bytes, 0);
        let filled = read_full_at(self.file.as_ref(), &mut buffer, position)?;
        buffer.truncate(filled);
        self.window = BytesMut::freeze(buffer);
        self.window_start = position;
        Ok(())
    }

    /// The Merkle leaf of an entry, after all of its frames were checked.
    pub(crate) fn leaf(&mut self, entry: &RawEntry) -> Result<Hash, Stop> {
        if entry.is_small() {
            return Ok(leaf_hash(&entry.frame));
        }
        let mut hasher = LeafHasher::new();
        self.each_frame(entry, |frame| hasher.update(frame))?;
        Ok(hasher.finish())
    }

    /// Checks all frames of an entry and shows each, head and payload.
    pub(crate) fn each_frame(&mut self, entry: &RawEntry, mut show: impl FnMut(&[u8])) -> Result<(), Stop> {
        show(&entry.frame);
        let mut position = entry.position + entry.frame.len() as u64;
        while position < entry.end {
            let frame = self.inner_frame(entry, position)?;
            show(&frame);
            position += frame.len() as u64;
        }
        Ok(())
    }

    /// A frame of a large entry after its first, checked against what must stand there.
    pub(crate) fn inner_frame(&mut self, entry: &RawEntry, position: u64) -> Result<Bytes, Stop> {
        let (head, frame) = self.frame(entry.position, position)?;
        let rest = entry.end - position;
        let full = (FRAME_HEAD_BYTES + CHUNK_BYTES) as u64;
        let expected = (rest.min(full), if rest <= full { LAST } else { 0 });
        if (frame.len() as u64, head.flags) != expected {
            return Err(Stop::Bad {
                entry: entry.position,
                frame: position,
                why: "a frame of another entry stands here",
            });
        }
        Ok(frame)
    }
}

/// How many times the length of a tail its search may read, before the tail is taken for torn. Only bytes that were
/// made to look like frames at every position reach it.
const SEARCH_EFFORT_MAX: u64 = 64;

/// Looks between `start` and `end` for a whole frame that starts a commit: proof that all before it had been durable.
pub(crate) fn find_group(file: &Arc<dyn File>, base_entry: u64, start: u64, end: u64) -> io::Result<Option<u64>> {
    let mut heads = Scan::new(Arc::clone(file), base_entry, start, end);
    let mut frames = Scan::new(Arc::clone(file), base_entry, start, end);
    let mut effort = (end - start).saturating_mul(SEARCH_EFFORT_MAX);
    for position in start..end {
        let head = FrameHead::parse(heads.window(position, FRAME_HEAD_BYTES)?);
        let Some(head) = head.filter(|head| head.is(GROUP) && head.is(FIRST)) else { continue };
        if head.frame_bytes() as u64 > end - position {
            continue;
        }
        match frames.frame(position, position) {
            Ok(_) => return Ok(Some(position)),
            Err(Stop::Io(error)) => return Err(error),
            Err(Stop::Bad { .. } | Stop::Wrong { .. }) => effort = effort.saturating_sub(head.frame_bytes() as u64),
        }
        if effort == 0 {
            break;
        }
    }
    Ok(None)
}
