//! Turns parts into batches: many small parts into one batch, large ones as they are.

use super::column::Column;
use super::compact;
use super::layout::Layout;
use crate::store::part::{Encoding, Part};
use crate::store::wire::{Malformed, Reader};
use crate::store::{Error, Result};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, SchemaRef};
use std::collections::VecDeque;
use std::sync::Arc;

/// Decodes parts of one schema, one after the other, into batches of at most so many rows.
///
/// 1. The rows come out in the order in which they went in.
/// 2. A part that cannot be decoded is an error of [`push`](Self::push); nothing of it comes out, and the next can be
///    pushed.
/// 3. Small parts are appended to common columns: a thousand entries of one row cost little more than one of a
///    thousand.
pub struct BatchDecoder {
    /// The schema of the parts.
    written: SchemaRef,
    /// The schema of the batches.
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    rows_max: usize,
    /// For each column of the schema its layout, and which of `columns` it feeds. `None` if a type is not compact.
    plan: Option<Vec<(Layout, Option<usize>)>>,
    columns: Vec<Column>,
    rows: usize,
    ready: VecDeque<RecordBatch>,
}

impl BatchDecoder {
    /// A decoder for parts of this schema; batches have the columns of `projection`, in its order.
    pub fn new(schema: SchemaRef, projection: Option<Vec<usize>>, rows_max: usize) -> Result<Self> {
        let projected = match &projection {
            None => Arc::clone(&schema),
            Some(columns) => Arc::new(schema.project(columns).map_err(|error| Error::fix(error.to_string()))?),
        };
        let fields = projected.fields().iter();
        let columns: Option<Vec<_>> = fields.map(|field| Column::new(field.data_type())).collect();
        let plan = plan(&schema, projection.as_deref());
        let compact = columns.is_some() && plan.is_some();
        Ok(Self {
            written: schema,
            schema: projected,
            projection,
            rows_max: rows_max.max(1),
            plan: plan.filter(|_| compact),
            columns: columns.unwrap_or_default(),
            rows: 0,
            ready: VecDeque::new(),
        })
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds the rows of a part.
    pub fn push(&mut self, part: &Part) -> Result<()> {
        match part.encoding {
            Encoding::COMPACT => self.push_compact(part),
            _ => self.push_batch(&part.to_batch(&self.written, self.projection.as_deref())?),
        }
    }

    /// The next batch that is full.
    pub fn next_batch(&mut self) -> Option<RecordBatch> {
        self.ready.pop_front()
    }

    /// The next batch, full or not; `None` when no rows are left.
    pub fn flush(&mut self) -> Result<Option<RecordBatch>> {
        if self.ready.is_empty() {
            self.complete()?;
        }
        Ok(self.ready.pop_front())
    }

    fn push_compact(&mut self, part: &Part) -> Result<()> {
        let rows = usize::try_from(part.row_count).unwrap_or(usize::MAX);
        if self.rows > 0 && self.rows.saturating_add(rows) > self.rows_max {
            self.complete()?;
        }
        let before = self.rows;
        if let Err(malformed) = self.append(part, rows) {
            self.columns.iter_mut().for_each(|column| column.truncate(before));
            return Err(part.not_decoded(&ArrowError::IpcError(malformed.to_string())));
        }
        self.rows += rows;
        if self.rows >= self.rows_max { self.complete() } else { Ok(()) }
    }

    #[inline]
    fn append(&mut self, part: &Part, rows: usize) -> Result<(), Malformed> {
        let plan = self.plan.as_ref().ok_or(Malformed("the schema has a type that is never compact"))?;
        let mut reader = Reader::new(&part.payload);
        for (layout, column) in plan {
            match column {
                Some(column) => self.columns[*column].append(&mut reader, rows)?,
                None => compact::skip(&mut reader, layout, rows)?,
            }
        }
        if reader.is_empty() { Ok(()) } else { Err(Malformed("there are bytes behind the last column")) }
    }

    fn push_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        self.complete()?;
        for start in (0..batch.num_rows()).step_by(self.rows_max) {
            self.ready.push_back(batch.slice(start, self.rows_max.min(batch.num_rows() - start)));
        }
        Ok(())
    }

    /// Makes a batch of the common columns.
    fn complete(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            columns.and_then(|columns| RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options));
        let batch =
            batch.map_err(|error| Error::new(crate::store::Kind::Repair, format!("could not decode: {error}")))?;
        self.ready.push_back(batch);
        Ok(())
    }
}

/// Which column of the schema feeds which of the batch. `None` if a type is not compact, or a column is asked for
/// twice.
fn plan(schema: &SchemaRef, projection: Option<&[usize]>) -> Option<Vec<(Layout, Option<usize>)>> {
    let target = |index: usize| match projection {
        None => Some(index),
        Some(columns) => columns.iter().position(|column| *column == index),
    };
    let twice = projection.is_some_and(|columns| (1..columns.len()).any(|at| columns[..at].contains(&columns[at])));
    let fields = schema.fields().iter().enumerate();
    let plan = fields.map(|(index, field)| Some((Layout::of(field.data_type())?, target(index))));
    if twice { None } else { plan.collect() }
}
