//! The parts of an entry, in memory or from its frames, one at a time.

use super::super::frame::{BODY_LENGTH_BYTES, FRAME_HEAD_BYTES};
use super::super::part::{PART_BYTES_MAX, Part};
use super::super::scan::{RawEntry, Scan, Stop};
use super::super::wire::{Malformed, Reader};
use super::super::{EntryNumber, Error, Kind, Result};
use super::Entry;
use bytes::Bytes;

/// Iterates over the parts of an entry. It holds one part in memory, so an entry may be larger than that.
///
/// A part that cannot be read is an error of its own; those after it can be read as long as the frames are whole.
pub struct Parts {
    body: Body,
    left: u64,
    number: EntryNumber,
}

enum Body {
    /// What is left of the body.
    Small(Bytes),
    Large(Box<Stream>),
}

impl Parts {
    pub(super) fn new(entry: &Entry) -> Self {
        let start = entry.raw.body_start().slice(entry.parts_start..);
        let body =
            if entry.raw.is_small() { Body::Small(start) } else { Body::Large(Box::new(Stream::new(entry, start))) };
        Self { body, left: entry.header.part_count, number: entry.header.number }
    }

    fn next_part(&mut self) -> Result<Part> {
        let bytes = match &mut self.body {
            Body::Small(rest) => take_part(rest).map_err(|malformed| malformed_part(self.number, malformed)),
            Body::Large(stream) => stream.part(),
        };
        match bytes {
            Ok(bytes) => Part::decode(bytes),
            Err(error) => {
                // Where the next part begins is not known.
                self.left = 0;
                Err(error)
            }
        }
    }
}

impl Iterator for Parts {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.next_part())
    }
}

fn take_part(rest: &mut Bytes) -> Result<Bytes, Malformed> {
    let mut reader = Reader::new(rest);
    let part = rest.slice_ref(reader.bytes()?);
    *rest = rest.slice_ref(reader.rest());
    Ok(part)
}

fn malformed_part(number: EntryNumber, Malformed(why): Malformed) -> Error {
    Error::new(Kind::Repair, format!("the parts of entry {number} cannot be told apart: {why}"))
}

/// The body of a large entry as a stream over its frames.
struct Stream {
    entry: Entry,
    scan: Scan,
    raw: RawEntry,
    /// What is left of the current frame.
    held: Bytes,
    /// Where the next frame stands.
    position: u64,
    /// How much of the body is left, the held bytes included.
    left: u64,
}

impl Stream {
    fn new(entry: &Entry, start: Bytes) -> Self {
        let raw = entry.raw.clone();
        let position = raw.position + raw.frame.len() as u64;
        let left = raw.body_bytes - entry.parts_start as u64;
        debug_assert_eq!(raw.frame.len(), FRAME_HEAD_BYTES + BODY_LENGTH_BYTES + entry.parts_start + start.len());
        Self { entry: entry.clone(), scan: entry.place.scan(&raw), raw, held: start, position, left }
    }

    fn part(&mut self) -> Result<Bytes> {
        let length = self.length()?;
        if length > self.left || length > PART_BYTES_MAX as u64 {
            return Err(malformed_part(self.entry.header.number, Malformed("a part is longer than its entry")));
        }
        self.take(length as usize)
    }

    /// A varint, which may lie across two frames.
    fn length(&mut self) -> Result<u64> {
        let mut digits = Vec::with_capacity(10);
        loop {
            let digit = self.take(1)?[0];
            digits.push(digit);
            if digit < 0x80 || digits.len() == 10 {
                return Reader::new(&digits)
                    .varint()
                    .map_err(|malformed| malformed_part(self.entry.header.number, malformed));
            }
        }
    }

    /// The next bytes of the body. Memory grows with the frames that were read, not with the length that was asked for.
    fn take(&mut self, count: usize) -> Result<Bytes> {
        if self.held.is_empty() && count > 0 {
            self.next_frame().map_err(|stop| self.entry.stopped(stop))?;
        }
        if count <= self.held.len() {
            self.left -= count as u64;
            return Ok(self.held.split_to(count));
        }
        let mut taken = Vec::new();
        while taken.len() < count {
            if self.held.is_empty() {
                self.next_frame().map_err(|stop| self.entry.stopped(stop))?;
            }
            let piece = self.held.split_to(self.held.len().min(count - taken.len()));
            taken.extend_from_slice(&piece);
        }
        self.left -= count as u64;
        Ok(taken.into())
    }

    fn next_frame(&mut self) -> Result<(), Stop> {
        if self.position >= self.raw.end {
            let (entry, frame) = (self.raw.position, self.position);
            return Err(Stop::Bad { entry, frame, why: "the parts end beyond the entry" });
        }
        let frame = self.scan.inner_frame(&self.raw, self.position)?;
        self.position += frame.len() as u64;
        self.held = frame.slice(FRAME_HEAD_BYTES..);
        Ok(())
    }
}
