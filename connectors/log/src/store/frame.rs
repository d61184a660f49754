//! Frames: how the bytes of an entry lie in a segment file, and how a reader knows that they are the ones written.
//!
//! ```text
//! | length u32 | check u32 | flags u8 | payload ... |        length counts the payload
//! ```
//!
//! `check` is the CRC-32C of length, flags and payload, mixed with the place of the frame: the first entry number of
//! its segment and its byte position. A frame that was copied elsewhere, by a stray write or inside somebody's
//! payload, is not a frame there.
//!
//! A small entry is one frame, FIRST and LAST. A large one spans frames of [`CHUNK_BYTES`] payload each; the first of
//! them begins with the length of the whole, so that a reader can step over the entry.
//!
//! GROUP stands on the first frame of what one commit wrote. The writer starts a commit only after the one before it is
//! durable, so a whole GROUP frame proves that **everything before it in the file had been durable**: a bad frame with
//! a good GROUP frame somewhere behind it is damage, not a torn tail. This costs nothing, for the position that was
//! durable is the position of the frame itself.

use super::wire::Reader;

/// Before the payload.
pub(crate) const FRAME_HEAD_BYTES: usize = 9;

/// The payload of each frame of a large entry but its last, and the longest payload of any frame: it bounds what a
/// reader allocates to check one, and is large enough that the heads cost nothing.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Before the body of an entry in the first of several frames: the length of the body, u64.
pub(crate) const BODY_LENGTH_BYTES: usize = 8;

pub(crate) const FIRST: u8 = 1;
pub(crate) const LAST: u8 = 2;
pub(crate) const GROUP: u8 = 4;

const KNOWN_FLAGS: u8 = FIRST | LAST | GROUP;

/// Reserves the head of a frame at the end of `out`; [`seal`] fills it in.
pub(crate) fn reserve(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    start
}

/// Completes the frame that began at `start` of `out` and will stand at `position` of its segment.
pub(crate) fn seal(out: &mut [u8], start: usize, flags: u8, place: Place) {
    let length = out.len() - start - FRAME_HEAD_BYTES;
    assert!(length <= CHUNK_BYTES, "a frame is at most a chunk");
    let head = &mut out[start..];
    head[..4].copy_from_slice(&(length as u32).to_le_bytes());
    head[8] = flags;
    let check = check(&head[..4], &head[8..], place);
    head[4..8].copy_from_slice(&check.to_le_bytes());
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The first entry number of the segment.
    pub(crate) base_entry: u64,
    /// The byte position in the segment.
    pub(crate) position: u64,
}

fn check(length: &[u8], flags_and_payload: &[u8], place: Place) -> u32 {
    let mut place_bytes = [0; 16];
    place_bytes[..8].copy_from_slice(&place.base_entry.to_le_bytes());
    place_bytes[8..].copy_from_slice(&place.position.to_le_bytes());
    let check = crc32c::crc32c_append(crc32c::crc32c(length), flags_and_payload);
    check ^ crc32c::crc32c(&place_bytes)
}

/// The head of a frame, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) payload_bytes: usize,
    pub(crate) flags: u8,
}

impl FrameHead {
    /// Reads the head; `None` if no frame of ours looks like this.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let payload_bytes = reader.u32().ok()? as usize;
        reader.u32().ok()?;
        let flags = reader.u8().ok()?;
        let plausible = payload_bytes <= CHUNK_BYTES && payload_bytes > 0 && flags & !KNOWN_FLAGS == 0;
        (plausible && (flags & GROUP == 0 || flags & FIRST != 0)).then_some(Self { payload_bytes, flags })
    }

    /// Head and payload.
    pub(crate) fn frame_bytes(self) -> usize {
        FRAME_HEAD_BYTES + self.payload_bytes
    }

    pub(crate) fn is(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Whether `frame`, head and payload, is what was written at this place.
pub(crate) fn is_whole(frame: &[u8], place: Place) -> bool {
    let Some(stored) = frame.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes) else {
        return false;
    };
    frame.len() > FRAME_HEAD_BYTES && check(&frame[..4], &frame[8..], place) == stored
}

/// How many bytes of a segment an entry takes that has a body of this length.
pub(crate) fn entry_bytes(body_bytes: u64) -> u64 {
    if body_bytes <= CHUNK_BYTES as u64 {
        return FRAME_HEAD_BYTES as u64 + body_bytes;
    }
    let stream = body_bytes.saturating_add(BODY_LENGTH_BYTES as u64);
    stream.saturating_add(stream.div_ceil(CHUNK_BYTES as u64).saturating_mul(FRAME_HEAD_BYTES as u64))
}
