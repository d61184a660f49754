//! The rows of a statement, as a stream that can be watched and cancelled.

use crate::activity::{Killed, Running};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;
use futures::StreamExt;
use polder_catalog::{CatalogName, Error, Position, ReadContext, Result, ScanMeter, Source};
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Rows on their way to a client. Dropping them cancels what is still running.
pub struct Rows {
    stream: SendableRecordBatchStream,
    context: Option<ReadContext>,
    progress: Progress,
    position: Position,
    /// The statement, until its end was told.
    running: Option<Running>,
    _cancel_on_drop: Option<DropGuard>,
}

impl Rows {
    /// Rows that a plan is about to give.
    pub(crate) fn running(stream: SendableRecordBatchStream, context: ReadContext, progress: Progress) -> Self {
        let guard = context.cancellation().clone().drop_guard();
        let position = Position::default();
        Self { stream, context: Some(context), progress, position, running: None, _cancel_on_drop: Some(guard) }
    }

    /// Rows that are already here: listings, explanations.
    pub(crate) fn ready(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let stream = futures::stream::iter([Ok(batch)]);
        let stream = datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, stream);
        let (progress, position) = Default::default();
        Self { stream: Box::pin(stream), context: None, progress, position, running: None, _cancel_on_drop: None }
    }

    pub(crate) fn reflecting(self, position: Position) -> Self {
        Self { position, ..self }
    }

    /// The rows of a statement, whose end is theirs.
    pub(crate) fn watched(self, running: Running) -> Self {
        running.watch(self.progress.clone());
        Self { running: Some(running), ..self }
    }

    /// Tells when the statement is killed, also while its rows are computed and nothing is heard there.
    pub(crate) fn killed(&self) -> Killed {
        self.running.as_ref().map(Running::killed).unwrap_or_default()
    }

    /// What the rows reflect of the log: of tables of Polder's own and of topics, as far as the statement has read them. As text
    /// it is a token.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next rows; `None` after the last. After an error there are none, and those before it are not the whole result.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut next = self.pull().await;
        let Some(running) = &self.running else { return next };
        match &next {
            Ok(Some(batch)) => {
                if let Err(error) = running.gives(batch) {
                    self.cancel();
                    next = Err(error);
                }
            }
            Ok(None) => self.running.take().into_iter().for_each(Running::done),
            Err(_) => {}
        }
        next.map_err(|error| match self.running.take() {
            Some(running) => {
                let error = running.named(error);
                running.failed(&error);
                error
            }
            None => error,
        })
    }

    async fn pull(&mut self) -> Result<Option<RecordBatch>> {
        let next = match &self.context {
            None => self.stream.next().await,
            Some(context) => {
                // A query without sources is not stopped by a scan, so it is stopped here.
                tokio::select! {
                    biased;
                    error = context.stopped() => return Err(error),
                    next = self.stream.next() => next,
                }
            }
        };
        next.transpose().map_err(Error::from_datafusion)
    }

    /// All rows. For results that are known to be small.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// What was read so far, per source; may be asked while the rows are read elsewhere.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// What the user is told beside the rows, such as a suggestion for a word that no row has; may be asked at the end.
    pub fn notices(&self) -> Notices {
        Notices(self.context.clone())
    }

    /// Stops the query: the next call of [`next`](Self::next) gives error 57014.
    pub fn cancel(&self) {
        if let Some(context) = &self.context {
            context.cancellation().cancel();
        }
    }

    /// Stops the query from elsewhere.
    pub fn cancellation(&self) -> CancellationToken {
        self.context.as_ref().map(|context| context.cancellation().clone()).unwrap_or_default()
    }
}

/// What the user is told beside the rows.
#[derive(Clone, Debug, Default)]
pub struct Notices(Option<ReadContext>);

impl Notices {
    /// What was told so far.
    pub fn told(&self) -> Vec<String> {
        self.0.as_ref().map(ReadContext::notices).unwrap_or_default()
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema()).finish_non_exhaustive()
    }
}

/// What a query has read so far. Cheap to clone.
#[derive(Clone, Default)]
pub struct Progress {
    leaves: Arc<[(String, Arc<dyn ExecutionPlan>)]>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources()).finish()
    }
}

/// What was read from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceProgress {
    /// The catalog.
    pub name: String,
    /// Rows received.
    pub rows: u64,
    /// Bytes received, as they came over the wire or from the file.
    pub bytes: u64,
}

impl Progress {
    /// Watches the scans of a plan.
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>, sources: &[(CatalogName, Arc<dyn Source>)]) -> Self {
        let mut leaves = Vec::new();
        collect_leaves(plan, sources, &mut leaves);
        Self { leaves: leaves.into() }
    }

    /// Rows and bytes per source, up to now.
    pub fn sources(&self) -> Vec<SourceProgress> {
        let mut sources: Vec<SourceProgress> = Vec::new();
        for (name, leaf) in self.leaves.iter() {
            let (rows, bytes) = rows_and_bytes(leaf.as_ref());
            match sources.iter_mut().find(|source| source.name == *name) {
                Some(source) => {
                    source.rows += rows;
                    source.bytes += bytes;
                }
                None => sources.push(SourceProgress { name: name.clone(), rows, bytes }),
            }
        }
        sources
    }
}

fn collect_leaves(
    plan: &Arc<dyn ExecutionPlan>,
    sources: &[(CatalogName, Arc<dyn Source>)],
    leaves: &mut Vec<(String, Arc<dyn ExecutionPlan>)>,
) {
    let children = plan.children();
    if children.is_empty() {
        let owner = sources.iter().find(|(name, source)| source.describe_scan(name, plan.as_ref()).is_some());
        if let Some((name, _)) = owner {
            leaves.push((name.to_string(), Arc::clone(plan)));
        }
    }
    children.into_iter().for_each(|child| collect_leaves(child, sources, leaves));
}

/// Rows and bytes that a scan has received. DataFusion's file scans count bytes under a name of their own.
pub(crate) fn rows_and_bytes(leaf: &dyn ExecutionPlan) -> (u64, u64) {
    let Some(metrics) = leaf.metrics() else { return (0, 0) };
    let is_bytes = |name: &str| name == ScanMeter::BYTES || name == "bytes_scanned";
    let bytes = metrics.sum(|metric| matches!(metric.value(), MetricValue::Count { name, .. } if is_bytes(name)));
    let rows = metrics.output_rows().unwrap_or(0);
    (rows as u64, bytes.map_or(0, |bytes| bytes.as_usize()) as u64)
}
