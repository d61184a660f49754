//! A scan: one query text, or several whose rows together are the result, read by COPY under the query's snapshot.

use crate::copy;
use crate::narrow::Narrowing;
use crate::pool::Pool;
use crate::snapshot::{self, Attempt, QuerySnapshot, Reader};
use crate::spool::{Spool, SpoolReader};
use crate::table::PgOutput;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion_common::{Result as DataFusionResult, Statistics};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use polder_catalog::{Error, KeptLocal, ReadContext, Result, RuntimeFilters, Scan, ScanExec, ScanMeter};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is to be read.
#[derive(Clone, Debug)]
pub(crate) struct ScanRequest {
    /// One SELECT, or several that each give a share of the rows: ranges of pages.
    pub(crate) selects: Vec<String>,
    /// How many streams the result comes in, at most as many as there are selects.
    pub(crate) streams: usize,
    pub(crate) outputs: Vec<PgOutput>,
    pub(crate) kept_local: Vec<KeptLocal>,
    pub(crate) statistics: Statistics,
    /// How the request takes the keys that the query finds out while it runs, if it can.
    pub(crate) narrowing: Option<Arc<Narrowing>>,
    /// Whether the text is a user's own, which then sees the role's search path.
    pub(crate) verbatim: bool,
}

impl ScanRequest {
    /// One query with one stream, of whose size nothing is known.
    pub(crate) fn query(select: String, outputs: Vec<PgOutput>) -> Self {
        let statistics = Statistics::new_unknown(&schema_of(&outputs));
        let selects = vec![select];
        Self { selects, streams: 1, outputs, kept_local: Vec::new(), statistics, narrowing: None, verbatim: false }
    }
}

/// The plan node that reads `request`.
pub(crate) fn scan_query(pool: &Arc<Pool>, context: &ReadContext, request: ScanRequest) -> Arc<dyn ExecutionPlan> {
    let catalog = pool.endpoint().catalog.clone();
    let scan = PgScan::new(Arc::clone(pool), context.clone(), request);
    Arc::new(ScanExec::new(catalog, Arc::new(scan), context.clone()))
}

fn schema_of(outputs: &[PgOutput]) -> SchemaRef {
    let fields: Vec<FieldRef> = outputs.iter().map(|output| Arc::clone(&output.field)).collect();
    Arc::new(Schema::new(fields))
}

/// The request in a plan.
pub(crate) struct PgScan {
    pool: Arc<Pool>,
    context: ReadContext,
    request: Arc<ScanRequest>,
    runtime_filters: Option<RuntimeFilters>,
    schema: SchemaRef,
    executions: Mutex<Executions>,
}

impl fmt::Debug for PgScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgScan").field("request", &self.request).finish_non_exhaustive()
    }
}

impl PgScan {
    fn new(pool: Arc<Pool>, context: ReadContext, request: ScanRequest) -> Self {
        let schema = schema_of(&request.outputs);
        let (request, executions) = (Arc::new(request), Mutex::default());
        Self { pool, context, request, runtime_filters: None, schema, executions }
    }
}

impl Scan for PgScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn request(&self) -> String {
        let copies: Vec<String> = self.request.selects.iter().map(|select| copy::statement(select)).collect();
        copies.join(";\n")
    }

    fn kept_local(&self) -> Vec<KeptLocal> {
        self.request.kept_local.clone()
    }

    fn partitions(&self) -> usize {
        self.request.streams.clamp(1, self.request.selects.len().max(1))
    }

    fn statistics(&self) -> Statistics {
        self.request.statistics.clone()
    }

    fn with_runtime_filters(&self, filters: RuntimeFilters) -> Option<Arc<dyn Scan>> {
        self.request.narrowing.as_ref()?;
        Some(Arc::new(Self {
            pool: Arc::clone(&self.pool),
            context: self.context.clone(),
            request: Arc::clone(&self.request),
            runtime_filters: Some(filters),
            schema: self.schema(),
            executions: Mutex::default(),
        }))
    }

    fn open(
        &self,
        partition: usize,
        task: Arc<TaskContext>,
        meter: ScanMeter,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let share = lock(&self.executions).enter(partition);
        let producer = Producer {
            pool: Arc::clone(&self.pool),
            context: self.context.clone(),
            request: Arc::clone(&self.request),
            runtime_filters: self.runtime_filters.clone(),
            schema: self.schema(),
            share,
            batch_rows: task.session_config().batch_size(),
            meter,
            task,
        };
        // Nothing is sent, and no task started, before the first poll.
        let state = Rows::Planned(Box::new(producer));
        let rows = futures::stream::try_unfold(state, |state| async move {
            let mut reader = match state {
                Rows::Planned(producer) => producer.start(),
                Rows::Reading(reader) => reader,
            };
            let batch = reader.next().await?;
            Ok::<_, datafusion_common::DataFusionError>(batch.map(|batch| (batch, Rows::Reading(reader))))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

enum Rows {
    Planned(Box<Producer>),
    Reading(SpoolReader),
}

/// The executions of one plan node. A plan may be run again, as the step of a recursive query is: the n-th opening of each
/// partition belongs to the n-th execution.
#[derive(Debug, Default)]
struct Executions {
    opened: HashMap<usize, usize>,
    shares: Vec<Share>,
}

/// The selects that are left in one execution. A stream with a connection reads one after the other, so a stream that gets
/// no connection leaves its part to its siblings and is empty.
type Share = Arc<Mutex<Work>>;

#[derive(Debug, Default)]
struct Work {
    /// Decided when the first stream is first polled: by then the rest of the query knows which rows it wants. One decision
    /// for all streams, since the selects are shares of one result.
    selects: Option<Arc<[String]>>,
    next: usize,
    /// Streams that read, or will.
    active: usize,
}

impl Executions {
    fn enter(&mut self, partition: usize) -> Share {
        let execution = self.opened.entry(partition).or_default();
        *execution += 1;
        while self.shares.len() < *execution {
            self.shares.push(Share::default());
        }
        Arc::clone(&self.shares[*execution - 1])
    }
}

impl Work {
    fn is_left(&self) -> bool {
        self.selects.as_ref().is_none_or(|selects| self.next < selects.len())
    }

    fn take(&mut self) -> Option<usize> {
        let next = self.is_left().then_some(self.next)?;
        self.next += 1;
        Some(next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one stream's share from the server into its spool.
struct Producer {
    pool: Arc<Pool>,
    context: ReadContext,
    request: Arc<ScanRequest>,
    runtime_filters: Option<RuntimeFilters>,
    schema: SchemaRef,
    share: Share,
    batch_rows: usize,
    meter: ScanMeter,
    task: Arc<TaskContext>,
}

impl Producer {
    /// Starts the task that reads. Its owner is the reader that is returned: dropped, it tells the task to stop, which
    /// then cancels what the server is doing and gives its connection back.
    fn start(self) -> SpoolReader {
        let spool = Spool::new(Arc::clone(&self.schema), &self.context, Arc::clone(&self.task));
        let reader = SpoolReader::new(Arc::clone(&spool));
        let selects = self.selects();
        let running = self.pool.endings().running(&self.context, spool.closed());
        tokio::spawn(async move {
            let _running = running;
            let ended = EndOnDrop(&spool);
            let result = match selects {
                Ok(selects) => self.run(&selects, &spool).await,
                Err(error) => Err(error),
            };
            spool.end(result.map_err(|error| snapshot::named(&self.pool, error)));
            drop(ended);
        });
        reader
    }

    /// What is sent, as far as it is known that it is wanted.
    fn selects(&self) -> Result<Arc<[String]>> {
        let mut work = lock(&self.share);
        if let Some(selects) = &work.selects {
            return Ok(Arc::clone(selects));
        }
        let narrowed = match (&self.request.narrowing, &self.runtime_filters) {
            (Some(narrowing), Some(filters)) => narrowing.selects(filters, &self.meter)?,
            _ => None,
        };
        let selects: Arc<[String]> = narrowed.unwrap_or_else(|| self.request.selects.clone()).into();
        work.selects = Some(Arc::clone(&selects));
        Ok(selects)
    }

    async fn run(&self, selects: &[String], spool: &Spool) -> Result<()> {
        let acquired = tokio::select! {
            biased;
            () = spool.closed().cancelled() => return Err(Error::cancelled()),
            acquired = self.acquire() => acquired?,
        };
        let Some((mut reader, _active)) = acquired else { return Ok(()) };
        loop {
            let Some(index) = lock(&self.share).take() else { return Ok(()) };
            let copy = copy::Copy {
                select: &selects[index],
                request: &self.request,
                policy: self.pool.endpoint().options.rules.unrepresentable,
                batch_rows: self.batch_rows,
                meter: &self.meter,
            };
            copy.run(&mut reader, spool).await?;
        }
    }

    /// A connection; `None` if there is none now and a sibling reads, so that nothing is left to this stream.
    async fn acquire(&self) -> Result<Option<(Reader, Active<'_>)>> {
        if !lock(&self.share).is_left() {
            return Ok(None);
        }
        let snapshot = QuerySnapshot::of(&self.context, &self.pool);
        if let Attempt::Reader(reader) = snapshot.try_reader(&self.context, &self.pool).await? {
            return Ok(Some((*reader, Active::enter(&self.share))));
        }
        // From here on this stream stands for its siblings: they may leave their parts to it.
        let Some(active) = Active::enter_alone(&self.share) else { return Ok(None) };
        let reader = snapshot.reader(&self.context, &self.pool).await?;
        Ok(Some((reader, active)))
    }
}

/// A stream that reads, or will. While there is one, its siblings need not.
struct Active<'a>(&'a Share);

impl<'a> Active<'a> {
    fn enter(share: &'a Share) -> Self {
        lock(share).active += 1;
        Self(share)
    }

    /// Unless another stream is active already.
    fn enter_alone(share: &'a Share) -> Option<Self> {
        let mut work = lock(share);
        if work.active > 0 || !work.is_left() {
            return None;
        }
        work.active += 1;
        Some(Self(share))
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        lock(self.0).active -= 1;
    }
}

/// Ends the spool even if the task panics, so that its reader never waits for ever.
struct EndOnDrop<'a>(&'a Spool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end(Err(Error::report("the task that reads from PostgreSQL stopped")));
    }
}
