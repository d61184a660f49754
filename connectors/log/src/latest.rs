//! `topic$latest`: the newest row of each key, without those whose newest record is a tombstone.
//!
//! A key stays in its shard, so shards are read apart. All rows are found newest first: a block of records from the end of
//! the shard, then the one before it; what counts of a key is the first record that is met. The keys that were met are
//! remembered, accounted to the memory of the query. Rows of a few known keys are found by the [key index](crate::key_index).
//!
//! Records that cannot be decoded have no key, so they are in the topic, but not here.

mod seen;

use crate::columns::{Hidden, Origin, TopicTable};
use crate::key_index::Source;
use crate::pins::find;
use crate::records::{Columns, Records};
use crate::scan::{BatchSink, ScanRequest, narrow, spawn_at_first_poll};
use crate::source::Topics;
use crate::store::{Log, Shard};
use arrow::array::{AsArray, BooleanArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::stats::Precision;
use datafusion_common::{Result as DataFusionResult, ScalarValue, Statistics};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use polder_catalog::key;
use polder_catalog::{Error, KeptLocal, ReadContext, Result, RuntimeFilters, Scan, ScanMeter};
use seen::Seen;
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, PoisonError};

/// Records that are read together, newest first: at first, and at most.
const BLOCK_RECORDS_FIRST: u64 = 1_024;
const BLOCK_RECORDS_MAX: u64 = 32_768;

/// What a block takes in memory, more or less: the number of its records follows from those before.
const BLOCK_BYTES: usize = 16 << 20;

/// Keys that are looked up one by one; for more of them all is read.
const LOOKUPS_MAX: usize = 1_000;

/// A planned scan of the newest rows.
pub(crate) struct LatestScan {
    topics: Arc<Topics>,
    context: ReadContext,
    request: Arc<ScanRequest>,
    runtime_filters: Option<RuntimeFilters>,
}

impl std::fmt::Debug for LatestScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LatestScan").field("request", &self.request()).finish_non_exhaustive()
    }
}

impl LatestScan {
    pub(crate) fn new(topics: Arc<Topics>, context: ReadContext, request: ScanRequest) -> Self {
        Self { topics, context, request: Arc::new(request), runtime_filters: None }
    }
}

impl Scan for LatestScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.request.columns.schema)
    }

    fn request(&self) -> String {
        let keys = match &self.request.selection.keys {
            Some(keys) if keys.len() <= LOOKUPS_MAX => format!("; by the index of {} keys", keys.len()),
            _ => String::new(),
        };
        format!("newest row of each key of {}{keys}", self.request.describe())
    }

    fn kept_local(&self) -> Vec<KeptLocal> {
        self.request.kept_local.clone()
    }

    fn partitions(&self) -> usize {
        self.request.selection.shards.len().clamp(1, self.request.streams.max(1))
    }

    fn statistics(&self) -> Statistics {
        let records = usize::try_from(self.request.records()).unwrap_or(usize::MAX);
        let rows = self.request.selection.keys.as_ref().map_or(records, |keys| keys.len().min(records));
        Statistics { num_rows: Precision::Inexact(rows), ..Statistics::new_unknown(&self.schema()) }
    }

    fn with_runtime_filters(&self, filters: RuntimeFilters) -> Option<Arc<dyn Scan>> {
        // A limit cuts the rows first: which of them are wanted says nothing about the others.
        if self.request.limit.is_some() {
            return None;
        }
        let (topics, context, request) = (Arc::clone(&self.topics), self.context.clone(), Arc::clone(&self.request));
        Some(Arc::new(Self { topics, context, request, runtime_filters: Some(filters) }))
    }

    fn open(
        &self,
        partition: usize,
        task: Arc<TaskContext>,
        meter: ScanMeter,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let consumer = MemoryConsumer::new(format!("keys of {}", self.request.table.definition.name));
        let stream = Stream {
            topics: Arc::clone(&self.topics),
            memory: consumer.register(self.context.memory()),
            request: Arc::clone(&self.request),
            runtime_filters: self.runtime_filters.clone(),
            partition,
            partitions: self.partitions(),
            batch_rows: task.session_config().batch_size(),
            meter,
        };
        let streams = Arc::clone(&self.topics.streams);
        Ok(spawn_at_first_poll(self.schema(), streams, move |sink| stream.run(sink)))
    }
}

/// One stream of a scan: every n-th shard.
struct Stream {
    topics: Arc<Topics>,
    memory: MemoryReservation,
    request: Arc<ScanRequest>,
    runtime_filters: Option<RuntimeFilters>,
    partition: usize,
    partitions: usize,
    batch_rows: usize,
    meter: ScanMeter,
}

impl Stream {
    fn run(self, sink: &BatchSink) -> Result<()> {
        let log = self.topics.log()?;
        let request = &*self.request;
        let mut selection = request.selection.clone();
        if let Some(filters) = &self.runtime_filters
            && !narrow(&mut selection, request, filters, &self.meter)?
        {
            return Ok(());
        }
        let keys = selection.keys.filter(|keys| keys.len() <= LOOKUPS_MAX);
        let columns = WithKey::new(&request.table, &request.columns);
        let mut output = Output::new(&self, sink);
        for (at, place) in request.selection.shards.iter().enumerate() {
            if at % self.partitions != self.partition || !selection.shards.contains(place) {
                continue;
            }
            let shard = find(&log, &request.table.definition.shards[*place])?;
            let range = request.pinned[*place].clone();
            let done = match &keys {
                Some(keys) => self.look_up(&log, &shard, *place, range, keys, &columns, &mut output)?,
                None => self.read_all(&shard, range, &columns, &mut output)?,
            };
            if done.is_break() {
                return Ok(());
            }
        }
        output.flush().map(|_| ())
    }

    /// Newest block first.
    fn read_all(
        &self,
        shard: &Shard,
        mut range: Range<u64>,
        columns: &WithKey,
        output: &mut Output<'_>,
    ) -> Result<ControlFlow<()>> {
        let stopped = || output.sink.is_closed();
        let stopped: &dyn Fn() -> bool = &stopped;
        let mut seen = Seen::default();
        let mut records = BLOCK_RECORDS_FIRST;
        while !range.is_empty() {
            if stopped() {
                return Ok(ControlFlow::Break(()));
            }
            let start = range.start.max(range.end.saturating_sub(records));
            let batches = self.block(shard, start..range.end, columns, output.sink)?;
            range.end = start;
            records = next_block(records, batches.iter().map(RecordBatch::get_array_memory_size).sum());
            for batch in batches.iter().rev() {
                let newest = seen.newest(batch.column(columns.key), batch.column(columns.deleted).as_boolean())?;
                self.memory.try_resize(seen.bytes()).map_err(Error::from_datafusion)?;
                if newest.true_count() > 0 && output.add(columns.shown(batch)?, Some(&newest))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn block(&self, shard: &Shard, range: Range<u64>, columns: &WithKey, sink: &BatchSink) -> Result<Vec<RecordBatch>> {
        let stopped = || sink.is_closed();
        let mut batches = Vec::new();
        let table = &self.request.table;
        let mut records = Records::new(table, &columns.columns, self.batch_rows, &self.topics.decoded, &stopped);
        let mut keep = |batch| {
            batches.push(batch);
            ControlFlow::Continue(())
        };
        let _ = records.read(shard, range, &mut keep)?;
        let _ = records.finish(&mut keep)?;
        Ok(batches)
    }

    #[expect(clippy::too_many_arguments, reason = "they are what a lookup is about, and nothing groups them")]
    fn look_up(
        &self,
        log: &Log,
        shard: &Shard,
        place: usize,
        range: Range<u64>,
        keys: &[ScalarValue],
        columns: &WithKey,
        output: &mut Output<'_>,
    ) -> Result<ControlFlow<()>> {
        let table = &self.request.table;
        let definition = &table.definition;
        // Values that are one key, such as 0 and -0, have the same bytes.
        let keys: BTreeSet<_> = keys.iter().filter_map(key::bytes_of).collect();
        let keys = keys.iter().map(|key| (key, definition.hash.of(key)));
        let keys: Vec<_> = keys.filter(|(_, hash)| definition.shard_of(*hash) == place).collect();
        if keys.is_empty() || range.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let sink = output.sink;
        let stopped = || sink.is_closed();
        let source = Source { log, shard, table, decoded: &self.topics.decoded, is_stopped: &stopped };
        let index = self.topics.keys.of(shard, table)?;
        let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
        if !index.cover(&source, &range)? {
            return Ok(ControlFlow::Break(()));
        }
        for (key, hash) in keys {
            let mut before = range.end;
            while let Some(offset) = index.newest_before(hash, before)?.filter(|offset| *offset >= range.start) {
                let batches = self.block(shard, offset..offset + 1, columns, sink)?;
                if let Some(row) = batches.first().filter(|row| columns.is_of(row, key)) {
                    let is_deleted = row.column(columns.deleted).as_boolean().value(0);
                    if !is_deleted && output.add(columns.shown(row)?, None)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    break;
                }
                // Another key with the same hash.
                before = offset;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// How many records the next block has, after one of so many that took so many bytes.
fn next_block(records: u64, bytes: usize) -> u64 {
    match bytes {
        BLOCK_BYTES.. => (records / 2).max(1),
        bytes if bytes < BLOCK_BYTES / 2 => (records * 2).min(BLOCK_RECORDS_MAX),
        _ => records,
    }
}

/// The columns that are wanted, then the key and whether it is deleted.
struct WithKey {
    columns: Columns,
    shown: SchemaRef,
    key: usize,
    deleted: usize,
}

impl WithKey {
    fn new(table: &TopicTable, wanted: &Columns) -> Self {
        let key = wanted.origins.len();
        let mut origins = wanted.origins.clone();
        let mut fields = wanted.schema.fields().to_vec();
        for hidden in [Hidden::Key, Hidden::Deleted] {
            origins.push(Origin::Hidden(hidden));
            fields.push(Arc::clone(&table.schema.fields()[table.place(hidden)]));
        }
        let columns = Columns::of(table, origins, Arc::new(Schema::new(fields)));
        Self { columns, shown: Arc::clone(&wanted.schema), key, deleted: key + 1 }
    }

    /// The wanted columns alone.
    fn shown(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns()[..self.key].to_vec();
        RecordBatch::try_new_with_options(Arc::clone(&self.shown), columns, &options)
            .map_err(|error| Error::from_datafusion(error.into()))
    }

    /// Whether the one row is of this key.
    fn is_of(&self, row: &RecordBatch, key: &[u8]) -> bool {
        let mut same = false;
        let compared = key::each(row.column(self.key), |_, found| same = found == Some(key));
        compared.is_ok() && same
    }
}

/// Gathers rows into batches of a fair size, up to the limit.
struct Output<'a> {
    stream: &'a Stream,
    sink: &'a BatchSink,
    waiting: Vec<RecordBatch>,
    rows: usize,
    left: usize,
}

impl<'a> Output<'a> {
    fn new(stream: &'a Stream, sink: &'a BatchSink) -> Self {
        Self { stream, sink, waiting: Vec::new(), rows: 0, left: stream.request.limit.unwrap_or(usize::MAX) }
    }

    fn add(&mut self, batch: RecordBatch, kept: Option<&BooleanArray>) -> Result<ControlFlow<()>> {
        let batch = match kept {
            Some(kept) => filter_record_batch(&batch, kept).map_err(|error| Error::from_datafusion(error.into()))?,
            None => batch,
        };
        let batch = if batch.num_rows() > self.left { batch.slice(0, self.left) } else { batch };
        self.left -= batch.num_rows();
        self.rows += batch.num_rows();
        self.waiting.push(batch);
        if self.left == 0 {
            let _ = self.flush()?;
            return Ok(ControlFlow::Break(()));
        }
        // Half a batch and a whole one are still a fair size.
        if self.rows > self.stream.batch_rows / 2 { self.flush() } else { Ok(ControlFlow::Continue(())) }
    }

    fn flush(&mut self) -> Result<ControlFlow<()>> {
        let waiting = std::mem::take(&mut self.waiting);
        let rows = std::mem::take(&mut self.rows);
        let Some(first) = waiting.first().filter(|_| rows > 0) else { return Ok(ControlFlow::Continue(())) };
        let batch = concat_batches(&first.schema(), &waiting).map_err(|error| Error::from_datafusion(error.into()))?;
        self.stream.meter.received(batch.get_array_memory_size());
        Ok(self.sink.send(batch))
    }
}
