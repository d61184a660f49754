//! A batch under assembly: decoded columns as they come, and the hidden ones beside them.

use super::Columns;
use crate::columns::{Hidden, Origin, TopicTable};
use crate::store::EntryHeader;
use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Array, StringArray, StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use polder_catalog::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

pub(crate) struct Assembly<'a> {
    table: &'a TopicTable,
    columns: &'a Columns,
    batch_rows: usize,
    rows: usize,
    /// The decoded columns.
    schema: SchemaRef,
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
        let fields = columns.decoded.iter().map(|column| Arc::clone(&table.schema.fields()[*column]));
        Self {
            table,
            columns,
            batch_rows,
            rows: 0,
            schema: Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>())),
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

    /// Rows of which no column is decoded.
    pub(crate) fn no_columns(&self, rows: usize) -> Result<RecordBatch> {
        batch(Arc::clone(&self.schema), Vec::new(), rows)
    }

    /// Adds the records at these offsets, of one entry and one part.
    pub(crate) fn add(
        &mut self,
        shard: &str,
        header: &EntryHeader,
        offsets: Range<u64>,
        rows: Result<RecordBatch, &str>,
        weights: Option<&[i64]>,
    ) {
        let count = (offsets.end - offsets.start) as usize;
        self.rows += count;
        self.add_hidden(shard, header, offsets, count, weights, rows.as_ref().err().copied());
        if self.columns.decoded.is_empty() {
            return;
        }
        self.decoded.push(match rows {
            Ok(rows) => rows,
            Err(_) => {
                let nulls = self.schema.fields().iter().map(|field| new_null_array(field.data_type(), count));
                RecordBatch::try_new(Arc::clone(&self.schema), nulls.collect()).expect("every column is nullable")
            }
        });
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
        let decoded = std::mem::take(&mut self.decoded);
        match &decoded[..] {
            [] => Ok(Vec::new()),
            [one] => Ok(one.columns().to_vec()),
            several => {
                let one = concat_batches(&self.schema, several);
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
                let names = self.shards.iter().flat_map(|(shard, rows)| std::iter::repeat_n(shard.as_str(), *rows));
                Arc::new(StringArray::from_iter_values(names))
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

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| Error::from_datafusion(error.into()))
}
