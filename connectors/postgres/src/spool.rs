//! The rows between a COPY and its reader.
//!
//! As a rule a spool is short: two batches, then the COPY waits, and through it the server. While another scan of the
//! query waits for the connection ([`crate::snapshot`]), the COPY must not wait for its reader. Then batches are taken into
//! memory, accounted to the query, and once that is used up, to disk.

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion_common::DataFusionError;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SpillFile, SpillWriter, TaskContext};
use futures::{Stream, StreamExt};
use polder_catalog::{Error, ReadContext, Result, SqlState};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Batches that may wait for the reader in ordinary times.
const BATCHES_MAX: usize = 2;
/// Bytes in memory per scan beyond those, even if the query's pool would grant more.
const BYTES_MAX: usize = 32 << 20;

pub(crate) struct Spool {
    schema: SchemaRef,
    task: Arc<TaskContext>,
    queue: Mutex<Queue>,
    pushed: Notify,
    popped: Notify,
    /// Cancelled when the reader has gone away.
    closed: CancellationToken,
}

struct Queue {
    segments: VecDeque<Segment>,
    /// Batches in memory.
    batches: usize,
    reservation: MemoryReservation,
    end: Option<Result<()>>,
}

enum Segment {
    /// A batch, and how much of the reservation is its.
    Memory(RecordBatch, usize),
    /// Batches on disk, still being written if it is the last segment.
    Disk(Box<Run>),
}

impl Spool {
    pub(crate) fn new(schema: SchemaRef, context: &ReadContext, task: Arc<TaskContext>) -> Arc<Self> {
        let reservation = MemoryConsumer::new("postgres scan").register(context.memory());
        let queue = Queue { segments: VecDeque::new(), batches: 0, reservation, end: None };
        Arc::new(Self {
            schema,
            task,
            queue: Mutex::new(queue),
            pushed: Notify::new(),
            popped: Notify::new(),
            closed: CancellationToken::new(),
        })
    }

    /// Cancelled when nobody reads any more.
    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Adds a batch: waits for the reader, unless scans wait for the connection.
    pub(crate) async fn push(&self, batch: RecordBatch, waiting: &mut watch::Receiver<usize>) -> Result<()> {
        loop {
            let popped = self.popped.notified();
            let is_waited_for = *waiting.borrow_and_update() > 0;
            if self.queue().has_room() {
                self.queue().push_memory(batch, 0);
                break;
            }
            if is_waited_for {
                self.queue().overflow(&batch, self)?;
                break;
            }
            tokio::select! {
                () = popped => {}
                // The sender lives in the snapshot that the scan's connection belongs to.
                _ = waiting.changed() => {}
                () = self.closed.cancelled() => return Err(Error::cancelled()),
            }
        }
        self.pushed.notify_one();
        Ok(())
    }

    /// Says that no batch follows.
    pub(crate) fn end(&self, result: Result<()>) {
        self.queue().end.get_or_insert(result);
        self.pushed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.batches < BATCHES_MAX && !matches!(self.segments.back(), Some(Segment::Disk(_)))
    }

    fn push_memory(&mut self, batch: RecordBatch, reserved: usize) {
        self.batches += 1;
        self.segments.push_back(Segment::Memory(batch, reserved));
    }

    /// Takes a batch beyond the ordinary bound: into accounted memory, else to disk. Rows stay in order.
    fn overflow(&mut self, batch: &RecordBatch, spool: &Spool) -> Result<()> {
        if let Some(Segment::Disk(run)) = self.segments.back_mut() {
            return run.write(batch);
        }
        let bytes = batch.get_array_memory_size();
        if self.reservation.size() + bytes <= BYTES_MAX && self.reservation.try_grow(bytes).is_ok() {
            self.push_memory(batch.clone(), bytes);
            return Ok(());
        }
        let mut run = Run::create(spool)?;
        run.write(batch)?;
        self.segments.push_back(Segment::Disk(Box::new(run)));
        Ok(())
    }
}

/// Batches written one after the other to a temporary file.
struct Run {
    file: Arc<dyn SpillFile>,
    writer: StreamWriter<Box<dyn SpillWriter>>,
}

impl Run {
    fn create(spool: &Spool) -> Result<Self> {
        let disk = &spool.task.runtime_env().disk_manager;
        let file = disk.create_tmp_file("keeping rows of a postgres scan for their reader").map_err(no_disk)?;
        let writer = StreamWriter::try_new(file.open_writer().map_err(no_disk)?, &spool.schema);
        Ok(Self { file, writer: writer.map_err(|error| no_disk(error.into()))? })
    }

    /// A batch is about a megabyte, written to the page cache: not worth a thread of its own.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| no_disk(error.into()))
    }

    fn read(mut self) -> Result<Rereading> {
        self.writer.finish().map_err(|error| no_disk(error.into()))?;
        let mut file = self.writer.into_inner().map_err(|error| no_disk(error.into()))?;
        file.finish().map_err(no_disk)?;
        let bytes = self.file.read_stream().map_err(no_disk)?;
        Ok(Rereading { bytes, decoder: StreamDecoder::new(), buffer: Buffer::default(), _file: self.file })
    }
}

/// A run on its way back.
struct Rereading {
    bytes: Pin<Box<dyn Stream<Item = Result<Bytes, DataFusionError>> + Send>>,
    decoder: StreamDecoder,
    /// What has been read and not yet decoded.
    buffer: Buffer,
    /// Deleted when the run has been read.
    _file: Arc<dyn SpillFile>,
}

impl Rereading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.buffer).map_err(|error| no_disk(error.into()))? {
                return Ok(Some(batch));
            }
            match self.bytes.next().await {
                Some(bytes) => self.buffer = Buffer::from(bytes.map_err(no_disk)?),
                None => {
                    self.decoder.finish().map_err(|error| no_disk(error.into()))?;
                    return Ok(None);
                }
            }
        }
    }
}

fn no_disk(error: DataFusionError) -> Error {
    Error::retry(SqlState::IO, "rows that wait for their reader could not be kept on disk")
        .with_detail(error.to_string())
        .with_hint("give the catalog a larger pool_size, the query more memory, or mend the temporary directory")
}

/// The reader's end of a spool. Dropped, it ends the scan.
pub(crate) struct SpoolReader {
    spool: Arc<Spool>,
    rereading: Option<Rereading>,
}

impl SpoolReader {
    pub(crate) fn new(spool: Arc<Spool>) -> Self {
        Self { spool, rereading: None }
    }

    /// The next batch, or how the rows ended.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(run) = &mut self.rereading {
                match run.next().await? {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.rereading = None,
                }
            }
            let pushed = self.spool.pushed.notified();
            let segment = {
                let mut queue = self.spool.queue();
                let segment = queue.segments.pop_front();
                match &segment {
                    Some(Segment::Memory(_, reserved)) => {
                        queue.batches -= 1;
                        queue.reservation.shrink(*reserved);
                    }
                    Some(Segment::Disk(_)) => {}
                    None => {
                        if let Some(end) = queue.end.take() {
                            queue.end = Some(Ok(()));
                            return end.map(|()| None);
                        }
                    }
                }
                segment
            };
            match segment {
                Some(Segment::Memory(batch, _)) => {
                    self.spool.popped.notify_one();
                    return Ok(Some(batch));
                }
                Some(Segment::Disk(run)) => {
                    self.spool.popped.notify_one();
                    self.rereading = Some(run.read()?);
                }
                None => pushed.await,
            }
        }
    }
}

impl Drop for SpoolReader {
    fn drop(&mut self) {
        self.spool.closed.cancel();
    }
}
