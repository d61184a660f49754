//! The sparse index of a segment: enough points to start a read near to any offset, entry or time, and where its
//! schemas stand. It lives in memory while the segment is written, and in an `.idx` file beside it once it is sealed.
//! It is derived: missing or damaged, it is made anew from the segment.

use super::part::SchemaId;
use super::sealed::{self, Broken, Magic};
use super::wire::{Malformed, Reader, put_varint};
use super::{CommitTime, EntryNumber, Offset};

/// An entry that a read can start at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) entry: EntryNumber,
    pub(crate) offset: Offset,
    pub(crate) time: CommitTime,
    /// Its byte position in the segment.
    pub(crate) position: u64,
}

/// The points of a segment in order, and its schemas in order of their first use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentIndex {
    pub(crate) points: Vec<Point>,
    pub(crate) schemas: Vec<(SchemaId, u64)>,
}

impl SegmentIndex {
    /// Whether an entry at `position` is far enough from the last point to be one.
    pub(crate) fn is_due(&self, position: u64, interval_bytes: u64) -> bool {
        self.points.last().is_none_or(|last| position >= last.position + interval_bytes)
    }

    /// The last point that is `before` what is looked for; `None` if the segment must be read from its start.
    pub(crate) fn last_where(&self, before: impl Fn(&Point) -> bool) -> Option<Point> {
        let count = self.points.partition_point(before);
        count.checked_sub(1).map(|last| self.points[last])
    }

    pub(crate) fn schema_position(&self, id: SchemaId) -> Option<u64> {
        self.schemas.iter().find(|(known, _)| *known == id).map(|(_, position)| *position)
    }

    /// The content of the `.idx` file of a segment of this length.
    pub(crate) fn encode(&self, segment_bytes: u64) -> Vec<u8> {
        let mut content = Vec::new();
        put_varint(&mut content, segment_bytes);
        put_varint(&mut content, self.points.len() as u64);
        for point in &self.points {
            put_varint(&mut content, point.entry.0);
            put_varint(&mut content, point.offset.0);
            content.extend_from_slice(&point.time.0.to_le_bytes());
            put_varint(&mut content, point.position);
        }
        put_varint(&mut content, self.schemas.len() as u64);
        for (id, position) in &self.schemas {
            put_varint(&mut content, id.dataset);
            put_varint(&mut content, u64::from(id.schema));
            put_varint(&mut content, *position);
        }
        sealed::seal(Magic::INDEX, &content)
    }

    /// Reads an `.idx` file, if it is the one of a segment of this length.
    pub(crate) fn decode(bytes: &[u8], segment_bytes: u64) -> Result<Self, Broken> {
        let content = sealed::open(Magic::INDEX, bytes)?;
        Self::parse(content, segment_bytes).map_err(|Malformed(why)| Broken::Damaged(why))
    }

    fn parse(content: &[u8], segment_bytes: u64) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        if reader.varint()? != segment_bytes {
            return Err(Malformed("the index is of a segment of another length"));
        }
        let mut index = Self::default();
        for _ in 0..reader.varint()? {
            index.points.push(Point {
                entry: EntryNumber(reader.varint()?),
                offset: Offset(reader.varint()?),
                time: CommitTime(reader.i64()?),
                position: reader.varint()?,
            });
        }
        for _ in 0..reader.varint()? {
            let dataset = reader.varint()?;
            let schema = u32::try_from(reader.varint()?).map_err(|_| Malformed("a schema id is beyond 32 bits"))?;
            index.schemas.push((SchemaId { dataset, schema }, reader.varint()?));
        }
        Ok(index)
    }
}
