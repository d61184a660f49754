//! Reads records into batches: entries, their parts of one dataset, the columns that are asked for.
//!
//! Parts are read by the ids of their columns: one that the part does not have is NULL, one that was dropped is left out.
//! A record that cannot be decoded is a row all the same, with the reason in `_error`: a reader must be able to see it,
//! and to go on behind it. Damage of the log itself is an error of the query.

mod assembly;
mod mapping;

use crate::columns::{Hidden, Origin, TopicTable};
use crate::error::of_store;
use crate::pins::entries;
use crate::store::{Encoding, Entry, Part, Shard};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use assembly::Assembly;
use mapping::Undecodable;
use polder_catalog::Result;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is read of each record.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// Where each column of the batches comes from.
    pub(crate) origins: Vec<Origin>,
    /// The batches' schema.
    pub(crate) schema: SchemaRef,
    /// The declared columns that must be decoded, in order.
    decoded: Vec<usize>,
    /// Whether each hidden column is asked for; looked at for each entry.
    hidden: [bool; Hidden::ALL.len()],
}

impl Columns {
    /// The columns at these places of the table.
    pub(crate) fn new(table: &TopicTable, places: &[usize]) -> Self {
        let origins: Vec<Origin> = places.iter().map(|place| table.origin(*place)).collect();
        let fields: Vec<_> = places.iter().map(|place| Arc::clone(&table.schema.fields()[*place])).collect();
        Self::of(table, origins, Arc::new(Schema::new(fields)))
    }

    /// Columns from these origins.
    pub(crate) fn of(table: &TopicTable, origins: Vec<Origin>, schema: SchemaRef) -> Self {
        let wants = |column: usize| {
            origins.iter().any(|origin| match origin {
                Origin::Declared(declared) => *declared == column,
                Origin::Hidden(Hidden::Key) => table.key == Some(column),
                // Whether a record can be decoded is known when all of it was.
                Origin::Hidden(Hidden::Error) => true,
                Origin::Hidden(_) => false,
            })
        };
        let decoded = (0..table.declared()).filter(|column| wants(*column)).collect();
        let hidden = Hidden::ALL.map(|hidden| origins.contains(&Origin::Hidden(hidden)));
        Self { origins, schema, decoded, hidden }
    }

    /// The same with the nullability and the metadata of these fields, under the names `c0`, `c1`, ...
    pub(crate) fn renamed_as(mut self, like: &Schema) -> Self {
        let field = |(at, (own, like)): (usize, (&FieldRef, &FieldRef))| {
            let own = own.as_ref().clone().with_name(format!("c{at}")).with_nullable(like.is_nullable());
            own.with_metadata(like.metadata().clone())
        };
        let fields = self.schema.fields().iter().zip(like.fields()).enumerate().map(field);
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self
    }

    /// Some of the columns.
    pub(crate) fn project(&self, table: &TopicTable, columns: &[usize]) -> Self {
        let origins: Vec<_> = columns.iter().map(|column| self.origins[*column]).collect();
        let fields: Vec<_> = columns.iter().map(|column| Arc::clone(&self.schema.fields()[*column])).collect();
        Self::of(table, origins, Arc::new(Schema::new(fields)))
    }

    fn has(&self, hidden: Hidden) -> bool {
        self.hidden[hidden as usize]
    }
}

/// Where batches go. It may say that it has enough.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(RecordBatch) -> ControlFlow<()>;

/// How many entries are passed over between two questions whether anybody still waits.
const ENTRIES_PER_QUESTION: u64 = 1024;

/// Reads ranges of shards one after the other.
pub(crate) struct Records<'a> {
    table: &'a TopicTable,
    columns: &'a Columns,
    assembly: Assembly<'a>,
    rows: u64,
    /// Counts the records that were decoded.
    decoded: &'a AtomicU64,
    /// Asked now and then: whether to stop.
    is_stopped: &'a dyn Fn() -> bool,
}

impl<'a> Records<'a> {
    pub(crate) fn new(
        table: &'a TopicTable,
        columns: &'a Columns,
        batch_rows: usize,
        decoded: &'a AtomicU64,
        is_stopped: &'a dyn Fn() -> bool,
    ) -> Self {
        let assembly = Assembly::new(table, columns, batch_rows.max(1));
        Self { table, columns, assembly, rows: 0, decoded, is_stopped }
    }

    /// Reads the records with offsets in `range`. Full batches go to the sink; what is left stays for [`finish`](Self::finish).
    pub(crate) fn read(&mut self, shard: &Shard, range: Range<u64>, sink: Sink<'_>) -> Result<ControlFlow<()>> {
        if range.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        for (count, entry) in (0u64..).zip(entries(shard, range.clone())?) {
            if count % ENTRIES_PER_QUESTION == 0 && (self.is_stopped)() {
                return Ok(ControlFlow::Break(()));
            }
            let entry = entry.map_err(of_store)?;
            if entry.header().record_count > 0 && self.entry(shard, &entry, &range, sink)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads the records of one entry.
    pub(crate) fn read_entry(&mut self, shard: &Shard, entry: &Entry, sink: Sink<'_>) -> Result<ControlFlow<()>> {
        self.entry(shard, entry, &(0..u64::MAX), sink)
    }

    /// How many rows there were so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Sends what is left.
    pub(crate) fn finish(&mut self, sink: Sink<'_>) -> Result<ControlFlow<()>> {
        match self.assembly.take()? {
            Some(batch) => Ok(sink(batch)),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    fn entry(&mut self, shard: &Shard, entry: &Entry, range: &Range<u64>, sink: Sink<'_>) -> Result<ControlFlow<()>> {
        let mut first = entry.header().first_offset.0;
        for part in entry.parts() {
            if first >= range.end {
                break;
            }
            let (part, count) = match part {
                Ok(part) if part.id.dataset == self.table.definition.id => {
                    let count = part.row_count;
                    (Ok(part), count)
                }
                Ok(other) => {
                    first += other.row_count;
                    continue;
                }
                Err(error) if error.damage().is_some() => return Err(of_store(error)),
                Err(error) => (Err(error.message().to_string()), entry.header().end_offset().0 - first),
            };
            let wanted = range.start.max(first)..range.end.min(first + count);
            if !wanted.is_empty() && self.part(shard, entry, part, first, wanted, sink)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            first += count;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The records of a part whose offsets are `wanted`; its own first offset is `first`.
    fn part(
        &mut self,
        shard: &Shard,
        entry: &Entry,
        part: Result<Part, Undecodable>,
        first: u64,
        wanted: Range<u64>,
        sink: Sink<'_>,
    ) -> Result<ControlFlow<()>> {
        let is_whole = |part: &Part| wanted == (first..first + part.row_count);
        let rows = match &part {
            Ok(part) if is_whole(part) && part.row_count <= self.assembly.room() as u64 => self.join(entry, part)?,
            Ok(part) => self.decode(entry, part)?,
            Err(why) => Err(why.clone()),
        };
        let weights = part.ok().and_then(|part| part.weights);
        let mut at = wanted.start;
        while at < wanted.end {
            let count = (wanted.end - at).min(self.assembly.room() as u64);
            let skipped = (at - first) as usize;
            let rows = match &rows {
                Ok(Rows::Joined) => Ok(None),
                Ok(Rows::Batch(rows)) => Ok(Some(rows.slice(skipped, count as usize))),
                Err(why) => Err(why.as_str()),
            };
            let weights = weights.as_ref().map(|weights| &weights[skipped..skipped + count as usize]);
            self.assembly.add(shard.name(), entry.header(), at..at + count, rows, weights)?;
            at += count;
            self.rows += count;
            if self.assembly.room() == 0
                && let Some(batch) = self.assembly.take()?
                && sink(batch).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A small part, decoded together with its neighbors if it can be.
    fn join(&mut self, entry: &Entry, part: &Part) -> Result<Result<Rows, Undecodable>> {
        if self.columns.decoded.is_empty() || part.encoding != Encoding::COMPACT {
            return self.decode(entry, part);
        }
        self.decoded.fetch_add(part.row_count, Ordering::Relaxed);
        let joined = self.assembly.join(self.table, entry, part)?;
        Ok(joined.map(|()| Rows::Joined))
    }

    /// The decoded columns of a part, or why it cannot be decoded.
    fn decode(&mut self, entry: &Entry, part: &Part) -> Result<Result<Rows, Undecodable>> {
        if self.columns.decoded.is_empty() {
            return Ok(Ok(Rows::Joined));
        }
        self.decoded.fetch_add(part.row_count, Ordering::Relaxed);
        let decoded = self.assembly.mappings.decode(self.table, entry, part)?;
        Ok(decoded.map(Rows::Batch))
    }
}

/// The decoded columns of a part.
enum Rows {
    /// They are in the assembly already, or there are none.
    Joined,
    Batch(RecordBatch),
}
