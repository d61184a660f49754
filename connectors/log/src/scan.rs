//! The scan of a topic: which ranges of which shards are read, by how many streams.
//!
//! Streams read on threads that may block, and hand batches over a channel of [`BATCHES_AHEAD`]. A stream that is dropped
//! closes its channel, which its thread sees at the next batch, or after a thousand entries without one.

mod work;

use crate::columns::TopicTable;
use crate::pins::find;
use crate::pushdown::Selection;
use crate::records::{Columns, Records};
use crate::source::Topics;
use crate::store::Log;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_common::stats::Precision;
use datafusion_common::{DataFusionError, Result as DataFusionResult, Statistics};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use polder_catalog::{KeptLocal, Result, RuntimeFilters, Scan, ScanMeter, TellPanic};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
pub(crate) use work::{Newest, Piece, narrow};

/// Batches that wait for a slow reader.
const BATCHES_AHEAD: usize = 2;

/// Records that a stream of its own is worth.
const RECORDS_PER_STREAM: u64 = 50_000;

/// What is read of a topic.
#[derive(Clone, Debug)]
pub(crate) struct ScanRequest {
    pub(crate) table: Arc<TopicTable>,
    pub(crate) columns: Columns,
    pub(crate) selection: Selection,
    /// The offsets that the query sees of each shard of the topic.
    pub(crate) pinned: Vec<Range<u64>>,
    /// Rows that each stream needs no more than.
    pub(crate) limit: Option<usize>,
    /// Only the first or the last rows of each shard are wanted.
    pub(crate) newest: Option<Newest>,
    pub(crate) kept_local: Vec<KeptLocal>,
    /// How many streams the engine can use.
    pub(crate) streams: usize,
}

/// A planned scan.
pub(crate) struct TopicScan {
    topics: Arc<Topics>,
    request: Arc<ScanRequest>,
    runtime_filters: Option<RuntimeFilters>,
    /// The pieces of each stream, decided when the first is polled: by then the rest of the query knows what it wants.
    work: Arc<OnceLock<Vec<Vec<Piece>>>>,
}

impl std::fmt::Debug for TopicScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicScan").field("request", &self.request()).finish_non_exhaustive()
    }
}

impl TopicScan {
    pub(crate) fn new(topics: Arc<Topics>, request: ScanRequest) -> Self {
        Self { topics, request: Arc::new(request), runtime_filters: None, work: Arc::default() }
    }
}

impl ScanRequest {
    /// The offsets of a shard that the selection leaves; those of a range of times are known when it is read.
    fn offsets(&self, shard: usize) -> Vec<Range<u64>> {
        self.selection.offsets.within(self.pinned[shard].clone())
    }

    /// What is asked, for people.
    pub(crate) fn describe(&self) -> String {
        let Self { table, selection, limit, newest, .. } = self;
        let all = &table.definition.shards;
        let mut text = format!("topic {}: ", table.definition.name);
        if selection.shards.len() == all.len() {
            text += &format!("all of {} shards", all.len());
        } else {
            let names: Vec<_> = selection.shards.iter().map(|shard| all[*shard].as_str()).collect();
            text += &format!("shards {} of {}", names.join(", "), all.len());
        }
        if !selection.offsets.is_all() {
            text += &format!("; offsets {}", selection.offsets);
        }
        if !selection.times.is_all() {
            text += &format!("; times in \u{b5}s {}", selection.times);
        }
        match newest {
            Some(Newest { rows, oldest: false }) => text += &format!("; newest {rows} of each"),
            Some(Newest { rows, oldest: true }) => text += &format!("; oldest {rows} of each"),
            None => {}
        }
        if let Some(limit) = limit {
            text += &format!("; limit {limit}");
        }
        let columns = self.columns.origins.iter().map(|origin| table.name(*origin));
        let columns = columns.collect::<Vec<_>>().join(", ");
        text + &if columns.is_empty() { "; no columns".to_string() } else { format!("; columns {columns}") }
    }

    /// How many records there are to read at most.
    pub(crate) fn records(&self) -> u64 {
        let shards = self.selection.shards.iter();
        shards.flat_map(|shard| self.offsets(*shard)).map(|range| range.end - range.start).sum()
    }
}

impl Scan for TopicScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.request.columns.schema)
    }

    fn request(&self) -> String {
        self.request.describe()
    }

    fn kept_local(&self) -> Vec<KeptLocal> {
        self.request.kept_local.clone()
    }

    fn partitions(&self) -> usize {
        let ScanRequest { limit, newest, streams, .. } = &*self.request;
        let shards = self.request.selection.shards.len().max(1);
        let records = self.request.records();
        let worth = match (limit, newest) {
            (Some(limit), _) if (*limit as u64) < RECORDS_PER_STREAM => 1,
            (_, Some(newest)) => {
                shards.min((newest.rows as u64).saturating_mul(shards as u64).div_ceil(RECORDS_PER_STREAM) as usize)
            }
            _ => records.div_ceil(RECORDS_PER_STREAM) as usize,
        };
        worth.clamp(1, (*streams).max(1))
    }

    fn statistics(&self) -> Statistics {
        let rows = usize::try_from(self.request.records()).unwrap_or(usize::MAX);
        let rows = self.request.limit.map_or(rows, |limit| rows.min(limit.saturating_mul(self.partitions())));
        let shards = self.request.selection.shards.len();
        let rows = self.request.newest.map_or(rows, |newest| rows.min(newest.rows.saturating_mul(shards)));
        let unknown = Statistics::new_unknown(&self.schema());
        // Other datasets may have records in the same shards.
        Statistics { num_rows: Precision::Inexact(rows), ..unknown }
    }

    fn with_runtime_filters(&self, filters: RuntimeFilters) -> Option<Arc<dyn Scan>> {
        // A limit cuts the rows first: which of them are wanted says nothing about the others.
        if self.request.limit.is_some() || self.request.newest.is_some() {
            return None;
        }
        Some(Arc::new(Self {
            topics: Arc::clone(&self.topics),
            request: Arc::clone(&self.request),
            runtime_filters: Some(filters),
            work: Arc::default(),
        }))
    }

    fn open(
        &self,
        partition: usize,
        task: Arc<TaskContext>,
        meter: ScanMeter,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let stream = Stream {
            topics: Arc::clone(&self.topics),
            request: Arc::clone(&self.request),
            runtime_filters: self.runtime_filters.clone(),
            work: Arc::clone(&self.work),
            partition,
            partitions: self.partitions(),
            batch_rows: task.session_config().batch_size(),
            meter,
        };
        let streams = Arc::clone(&self.topics.streams);
        Ok(spawn_at_first_poll(self.schema(), streams, move |sink| stream.run(sink)))
    }
}

/// Counts the streams that read.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    started: AtomicU64,
    active: AtomicUsize,
}

impl Streams {
    /// How many were ever started.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// How many read now.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    fn start(self: Arc<Self>) -> Reading {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        Reading(self)
    }
}

/// A stream that reads.
struct Reading(Arc<Streams>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the thread of a stream puts its batches.
pub(crate) struct BatchSink(mpsc::Sender<Result<RecordBatch>>);

impl BatchSink {
    /// Waits for room. Breaks if nobody wants more.
    pub(crate) fn send(&self, batch: RecordBatch) -> ControlFlow<()> {
        match self.0.blocking_send(Ok(batch)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Whether nobody wants more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// A stream whose batches come from `run`, on a thread that may block, from the first poll on.
pub(crate) fn spawn_at_first_poll(
    schema: SchemaRef,
    streams: Arc<Streams>,
    run: impl FnOnce(&BatchSink) -> Result<()> + Send + 'static,
) -> SendableRecordBatchStream {
    enum State<F> {
        Planned(F),
        Running(mpsc::Receiver<Result<RecordBatch>>),
    }
    let rows = futures::stream::try_unfold(State::Planned((streams, run)), |state| async move {
        let mut batches = match state {
            State::Planned((streams, run)) => start(streams, run),
            State::Running(batches) => batches,
        };
        let batch = batches.recv().await.transpose()?;
        Ok::<_, DataFusionError>(batch.map(|batch| (batch, State::Running(batches))))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Starts the thread. Its owner is the receiver: dropped, it ends the thread.
fn start(
    streams: Arc<Streams>,
    run: impl FnOnce(&BatchSink) -> Result<()> + Send + 'static,
) -> mpsc::Receiver<Result<RecordBatch>> {
    let (send, batches) = mpsc::channel(BATCHES_AHEAD);
    let reading = streams.start();
    tokio::task::spawn_blocking(move || {
        let _reading = reading;
        let sink = BatchSink(send.clone());
        let _panics_are_told = TellPanic(send);
        if let Err(error) = run(&sink) {
            // Nobody is left to hear it if this fails.
            let _ = sink.0.blocking_send(Err(error));
        }
    });
    batches
}

/// One stream of a scan.
struct Stream {
    topics: Arc<Topics>,
    request: Arc<ScanRequest>,
    runtime_filters: Option<RuntimeFilters>,
    work: Arc<OnceLock<Vec<Vec<Piece>>>>,
    partition: usize,
    partitions: usize,
    batch_rows: usize,
    meter: ScanMeter,
}

impl Stream {
    fn run(self, sink: &BatchSink) -> Result<()> {
        let log = self.topics.log()?;
        let pieces = self.pieces(&log)?;
        let stopped = || sink.is_closed();
        let ScanRequest { table, columns, limit, newest, .. } = &*self.request;
        let mut left = limit.unwrap_or(usize::MAX);
        let batch_rows = self.batch_rows.min(left);
        let mut records = Records::new(table, columns, batch_rows, &self.topics.decoded, &stopped);
        let mut send = |batch: RecordBatch| {
            self.meter.received(batch.get_array_memory_size());
            let batch = if batch.num_rows() > left { batch.slice(0, left) } else { batch };
            left -= batch.num_rows();
            if batch.num_rows() > 0 && sink.send(batch).is_break() || left == 0 {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        for piece in pieces {
            let shard = find(&log, &table.definition.shards[piece.shard])?;
            let read = match newest {
                Some(newest) => newest.read(&mut records, &shard, piece.offsets.clone(), &mut send)?,
                None => records.read(&shard, piece.offsets.clone(), &mut send)?,
            };
            if read.is_break() {
                return Ok(());
            }
        }
        records.finish(&mut send).map(|_| ())
    }

    /// What this stream reads. The first one decides for all.
    fn pieces(&self, log: &Log) -> Result<&[Piece]> {
        if self.work.get().is_none() {
            let work = work::plan(&self.request, log, self.runtime_filters.as_ref(), &self.meter, self.partitions)?;
            // Another stream may have been faster; both plan the same.
            let _ = self.work.set(work);
        }
        let work = self.work.get().expect("it was just set");
        Ok(&work[self.partition])
    }
}
