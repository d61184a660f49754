//! A part: the rows of one dataset in one entry.
//!
//! ```text
//! | length varint | encoding u8 | flags u8 | dataset varint | schema varint | rows varint | weights | payload ... |
//! ```
//!
//! Weights are zigzag varints, one a row, and are there only if flag 1 is set: without it each row was inserted once.
//! The length leads, so that a part of an unknown encoding is stepped over and is an error of its own, not of the scan.

use super::wire::{Malformed, Reader, put_varint, put_zigzag};
use super::{Error, Kind, Result};
use bytes::Bytes;

/// A part in memory may not be longer: whoever has more rows makes more parts, and a reader needs memory for one of
/// them.
pub const PART_BYTES_MAX: usize = 256 << 20;

const HAS_WEIGHTS: u8 = 1;

/// Names the columns of a part: which dataset, and which of the schemas it had over time. Neither id is ever reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId {
    /// The dataset.
    pub dataset: u64,
    /// Its schema.
    pub schema: u32,
}

/// How a payload is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoding(pub u8);

impl Encoding {
    /// Opaque bytes: definitions, requests, outcomes, epochs.
    pub const BYTES: Self = Self(0);
    /// Our own, for few rows.
    pub const COMPACT: Self = Self(1);
    /// A record batch message of Arrow IPC, without its schema.
    pub const ARROW_IPC: Self = Self(2);
}

/// A part as read: its head, and its payload still encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Dataset and schema.
    pub id: SchemaId,
    /// How many rows.
    pub row_count: u64,
    /// How to read the payload.
    pub encoding: Encoding,
    /// The weight of each row; `None` if each is +1.
    pub weights: Option<Vec<i64>>,
    /// The rows.
    pub payload: Bytes,
}

/// Appends a part as it stands on disk.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    id: SchemaId,
    row_count: u64,
    encoding: Encoding,
    weights: Option<&[i64]>,
    payload: &[u8],
) -> Result<()> {
    let mut head = Vec::with_capacity(24);
    head.extend_from_slice(&[encoding.0, if weights.is_some() { HAS_WEIGHTS } else { 0 }]);
    put_varint(&mut head, id.dataset);
    put_varint(&mut head, u64::from(id.schema));
    put_varint(&mut head, row_count);
    for weight in weights.unwrap_or_default() {
        put_zigzag(&mut head, *weight);
    }
    let bytes = head.len() + payload.len();
    if bytes > PART_BYTES_MAX {
        let message = format!("a part of {bytes} bytes is beyond the limit of {PART_BYTES_MAX} bytes");
        return Err(Error::fix(message).with_hint("split the rows into several batches"));
    }
    out.reserve(bytes + 5);
    put_varint(out, bytes as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
    Ok(())
}

impl Part {
    /// Reads a part; `bytes` is what follows its length.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self> {
        Self::parse(bytes).map_err(|malformed| Error::new(Kind::Repair, format!("could not read a part: {malformed}")))
    }

    fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let encoding = Encoding(reader.u8()?);
        let flags = reader.u8()?;
        if flags & !HAS_WEIGHTS != 0 {
            return Err(Malformed("the part has flags of a newer version"));
        }
        let dataset = reader.varint()?;
        let schema = u32::try_from(reader.varint()?).map_err(|_| Malformed("a schema id is beyond 32 bits"))?;
        let row_count = reader.varint()?;
        let weights = if flags & HAS_WEIGHTS == 0 { None } else { Some(read_weights(&mut reader, row_count)?) };
        let payload_start = bytes.len() - reader.rest().len();
        let payload = bytes.slice(payload_start..);
        Ok(Self { id: SchemaId { dataset, schema }, row_count, encoding, weights, payload })
    }
}

fn read_weights(reader: &mut Reader<'_>, row_count: u64) -> Result<Vec<i64>, Malformed> {
    // Each weight takes a byte at least, so the bytes at hand bound the memory.
    if row_count > reader.rest().len() as u64 {
        return Err(Malformed("there are fewer weights than rows"));
    }
    (0..row_count).map(|_| reader.zigzag()).collect()
}
