//! A batch under assembly: decoded columns as they come, and the hidden ones beside them.

use super::Columns;
use super::mapping::{Mappings, Undecodable};
use crate::columns::{Hidden, Origin, TopicTable};
use crate::store::{Entry, EntryHeader, Part};
use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Array, StringArray, StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use polder_catalog::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

pub(crate) struct Assembly<'a> {
    table: &'a TopicTable,
    columns: &'a Columns,
    batch_rows: usize,
    rows: usize,
    pub(super) mappings: Mappings,
    /// The decoded columns, in order; what is joined comes after them.
    decoded: Vec<RecordBatch>,
    shards: Vec<(String, usize)>,
    offsets: Vec<i64>,
    times: Vec<i64>,
    requests: StringBuilder,
    deleted: BooleanBuilder,
    errors: StringBuilder,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(table: &'a TopicTable, columns: &'a Columns, batch_rows: usize) -> Self {
        Self {
            table,
            columns,
            batch_rows,
            rows: 0,
            mappings: Mappings::new(table, &columns.decoded),
            decoded: Vec::new(),
            shards: Vec::new(),
            offsets: Vec::new(),
            times: Vec::new(),
            requests: StringBuilder::new(),
            deleted: BooleanBuilder::new(),
            errors: StringBuilder::new(),
        }
    }

    /// How many rows the batch still takes.
    pub(crate) fn room(&self) -> usize {
        self.batch_rows - self.rows
    }

    /// Decodes a compact part behind those that were joined before.
    pub(crate) fn join(&mut self, table: &TopicTable, entry: &Entry, part: &Part) -> Result<Result<(), Undecodable>> {
        if self.mappings.holds_other(part.id) {
            self.settle()?;
            self.mappings.reset();
        }
        self.mappings.join(table, entry, part)
    }

    /// Puts what is joined behind what is decoded.
    fn settle(&mut self) -> Result<()> {
        while let Some(batch) = self.mappings.take()? {
            self.decoded.push(batch);
        }
        Ok(())
    }

    /// Adds the records at these offsets, of one entry and one part. Without rows they are joined already, or have none.
    pub(crate) fn add(
        &mut self,
        shard: &str,
        header: &EntryHeader,
        offsets: Range<u64>,
        rows: Result<Option<RecordBatch>, &str>,
        weights: Option<&[i64]>,
    ) -> Result<()> {
        let count = (offsets.end - offsets.start) as usize;
        self.rows += count;
        self.add_hidden(shard, header, offsets, count, weights, rows.as_ref().err().copied());
        let rows = match rows {
            Ok(None) => return Ok(()),
            Ok(Some(rows)) => rows,
            Err(_) if self.columns.decoded.is_empty() => return Ok(()),
            Err(_) => nulls(self.mappings.schema(), count),
        };
        self.settle()?;
        self.decoded.push(rows);
        Ok(())
    }

    fn add_hidden(
        &mut self,
        shard: &str,
        header: &EntryHeader,
        offsets: Range<u64>,
        count: usize,
        weights: Option<&[i64]>,
        error: Option<&str>,
    ) {
        let columns = self.columns;
        if columns.has(Hidden::Shard) {
            match self.shards.last_mut() {
                Some((last, rows)) if last == shard => *rows += count,
                _ => self.shards.push((shard.to_string(), count)),
            }
        }
        if columns.has(Hidden::Offset) {
            self.offsets.extend(offsets.map(|offset| offset as i64));
        }
        if columns.has(Hidden::Timestamp) {
            self.times.resize(self.times.len() + count, header.commit_time.0);
        }
        if columns.has(Hidden::RequestId) {
            let request = header.attributes.request_id.as_deref();
            (0..count).for_each(|_| self.requests.append_option(request));
        }
        if columns.has(Hidden::Deleted) {
            match weights {
                Some(weights) => weights.iter().for_each(|weight| self.deleted.append_value(*weight < 0)),
                None => self.deleted.append_n(count, false),
            }
        }
        if columns.has(Hidden::Error) {
            (0..count).for_each(|_| self.errors.append_option(error));
        }
    }

    /// The batch, if it has rows.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(None);
        }
        let decoded = self.take_decoded()?;
        let columns = self.columns.origins.iter().map(|origin| match origin {
            Origin::Declared(column) => self.declared(&decoded, *column),
            Origin::Hidden(Hidden::Key) => match self.table.key {
                Some(key) => self.declared(&decoded, key),
                None => Arc::new(StringArray::new_null(rows)),
            },
            Origin::Hidden(hidden) => self.hidden(*hidden, rows),
        });
        let columns = columns.collect();
        self.clear();
        batch(Arc::clone(&self.columns.schema), columns, rows).map(Some)
    }

    fn take_decoded(&mut self) -> Result<Vec<ArrayRef>> {
        self.settle()?;
        let decoded = std::mem::take(&mut self.decoded);
        match &decoded[..] {
            [] => Ok(Vec::new()),
            [one] => Ok(one.columns().to_vec()),
            several => {
                let one = concat_batches(self.mappings.schema(), several);
                Ok(one.map_err(|error| Error::from_datafusion(error.into()))?.columns().to_vec())
            }
        }
    }

    fn declared(&self, decoded: &[ArrayRef], column: usize) -> ArrayRef {
        let place = self.columns.decoded.binary_search(&column);
        Arc::clone(&decoded[place.expect("a column that is asked for is decoded")])
    }

    fn hidden(&self, hidden: Hidden, rows: usize) -> ArrayRef {
        match hidden {
            Hidden::Shard => {
                let mut names = StringBuilder::with_capacity(rows, 0);
                for (shard, rows) in &self.shards {
                    (0..*rows).for_each(|_| names.append_value(shard));
                }
                Arc::new(names.finish())
            }
            Hidden::Offset => Arc::new(Int64Array::from(self.offsets.clone())),
            Hidden::Timestamp => Arc::new(TimestampMicrosecondArray::from(self.times.clone()).with_timezone("UTC")),
            Hidden::RequestId => Arc::new(self.requests.finish_cloned()),
            Hidden::Deleted => Arc::new(self.deleted.finish_cloned()),
            Hidden::Error => Arc::new(self.errors.finish_cloned()),
            Hidden::Key => new_null_array(self.table.schema.field(self.table.place(hidden)).data_type(), rows),
        }
    }

    fn clear(&mut self) {
        self.shards.clear();
        self.offsets.clear();
        self.times.clear();
        self.requests = StringBuilder::new();
        self.deleted = BooleanBuilder::new();
        self.errors = StringBuilder::new();
    }
}

/// Rows of which nothing is known.
fn nulls(schema: &SchemaRef, rows: usize) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), rows));
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).expect("every column is nullable")
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| Error::from_datafusion(error.into()))
}
