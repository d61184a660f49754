//! The scan verb: what a connector implements to stream rows ([`Scan`]), and the plan node around it ([`ScanExec`]).
//!
//! A provider's `scan()` describes, the stream works: nothing is sent to the source before the first poll.

use crate::{CatalogName, Error, KeptLocal, ReadContext, Request, RuntimeFilters};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result, Statistics};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion_physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion_physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion_physical_plan::statistics::StatisticsArgs;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Instrument;

#[cfg(test)]
mod tests;

/// One request to a source, as planned: what is asked, and how to run it.
///
/// # Promises
/// 1. `schema`, `request`, `partitions` and `statistics` do no I/O and are the same at each call.
/// 2. `request` is the exact text that the source receives (secrets aside), or as close as its protocol has a text.
/// 3. The union of all partitions is the result; each partition is opened at most once per execution.
/// 4. Nothing is sent before the first poll of a stream; a dropped stream cancels the work at the source.
/// 5. A stream that fails ends with an error that names the source; rows before it are not the whole result.
pub trait Scan: fmt::Debug + Send + Sync {
    /// The columns of the stream, in order.
    fn schema(&self) -> SchemaRef;

    /// What the source is asked, for EXPLAIN and for logs.
    fn request(&self) -> String;

    /// What could not be handed to the source, and why.
    fn kept_local(&self) -> Vec<KeptLocal> {
        Vec::new()
    }

    /// How many streams the result comes in, at least one.
    fn partitions(&self) -> usize {
        1
    }

    /// What is known of the result's size. Estimates must be `Precision::Inexact`.
    fn statistics(&self) -> Statistics {
        Statistics::new_unknown(&self.schema())
    }

    /// Whether a transaction that reads this can tell, when it commits, that the rows are still the same.
    fn is_noted(&self) -> bool {
        false
    }

    /// A scan like this one which asks for no more than `filters` want, read when its first stream is first polled: they are
    /// filled in while the query runs. None if the source has no use for them. The new scan has the schema and the
    /// partitions of this one; its rows are all those that are wanted, and may be more.
    fn with_runtime_filters(&self, _filters: RuntimeFilters) -> Option<Arc<dyn Scan>> {
        None
    }

    /// The rows of one partition.
    fn open(&self, partition: usize, task: Arc<TaskContext>, meter: ScanMeter) -> Result<SendableRecordBatchStream>;
}

/// What EXPLAIN prints of one scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// The exact text or request, as planned.
    pub request: String,
    /// Whether a transaction can tell later that the rows are still the same.
    pub is_noted: bool,
    /// The columns whose keys narrow the request once the query has found them out.
    pub runtime_columns: Vec<String>,
    /// What they added to the request, if it has been sent: a column and its keys.
    pub keys: Vec<String>,
    /// What was not handed over, and why.
    pub kept_local: Vec<KeptLocal>,
}

/// Notes what a stream asks of its source, and counts what it receives. Rows are counted by [`ScanExec`] itself.
#[derive(Clone, Debug)]
pub struct ScanMeter {
    bytes: Count,
    asked: Asked,
}

/// What runtime filters added to the request, for people.
type Asked = Arc<Mutex<Vec<String>>>;

impl ScanMeter {
    /// Name of the metric that holds the bytes received from a source.
    pub const BYTES: &'static str = "bytes_received";

    /// Adds bytes as they came over the wire, before decoding.
    pub fn received(&self, bytes: usize) {
        self.bytes.add(bytes);
    }

    /// Notes what a runtime filter added to the request, such as a column and its keys. Said again by another stream,
    /// it counts once.
    pub fn asked(&self, what: String) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.contains(&what) {
            asked.push(what);
        }
    }
}

/// The plan node around a [`Scan`]: metrics, cancellation and deadline are handled here, once for all connectors.
#[derive(Debug)]
pub struct ScanExec {
    catalog: CatalogName,
    scan: Arc<dyn Scan>,
    context: ReadContext,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    runtime: Option<Runtime>,
    asked: Asked,
}

/// Filters that are filled in while the query runs, and the scan that makes use of them.
#[derive(Clone, Debug)]
struct Runtime {
    filters: RuntimeFilters,
    scan: Arc<dyn Scan>,
}

impl ScanExec {
    /// Wraps a scan of `catalog`, made under `context`.
    pub fn new(catalog: CatalogName, scan: Arc<dyn Scan>, context: ReadContext) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(scan.schema()),
            Partitioning::UnknownPartitioning(scan.partitions().max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let metrics = ExecutionPlanMetricsSet::new();
        Self { catalog, scan, context, properties, metrics, runtime: None, asked: Asked::default() }
    }

    /// The same request with filters that are filled in while the query runs, or without.
    fn with_runtime(&self, runtime: Option<Runtime>) -> Arc<dyn ExecutionPlan> {
        let scan = Self::new(self.catalog.clone(), Arc::clone(&self.scan), self.context.clone());
        Arc::new(Self { runtime, ..scan })
    }

    /// The catalog that is read.
    pub fn catalog(&self) -> &CatalogName {
        &self.catalog
    }

    /// The planned request.
    pub fn scan(&self) -> &Arc<dyn Scan> {
        &self.scan
    }

    /// What EXPLAIN prints of it: also what runtime filters have added so far.
    pub fn report(&self) -> ScanReport {
        let keys = match &self.runtime {
            Some(_) => self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            None => Vec::new(),
        };
        ScanReport {
            request: self.scan.request(),
            is_noted: self.scan.is_noted(),
            runtime_columns: self.runtime.as_ref().map(|runtime| runtime.filters.columns()).unwrap_or_default(),
            keys,
            kept_local: self.scan.kept_local(),
        }
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec: {}: {}", self.catalog, self.scan.request())
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// A join fills its filter in only if it finds it here.
    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let filters = self.runtime.iter().flat_map(|runtime| runtime.filters.expressions());
        for filter in filters {
            if visit(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// Takes the filters that are filled in while the query runs. They stay above, too: fewer rows come, not only right ones.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offered: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters = offered.parent_filters.iter().map(|offered| Arc::clone(&offered.filter));
        let filters: Vec<_> = filters.filter(RuntimeFilters::is_dynamic).collect();
        let stay = FilterPushdownPropagation::all_unsupported(offered);
        if phase != FilterPushdownPhase::Post || filters.is_empty() || !self.context.pushdown() {
            return Ok(stay);
        }
        let filters = RuntimeFilters::new(filters, self.scan.schema());
        Ok(match self.scan.with_runtime_filters(filters.clone()) {
            Some(scan) => stay.with_updated_node(self.with_runtime(Some(Runtime { filters, scan }))),
            None => stay,
        })
    }

    /// A plan that runs again, as the step of a recursive query does, has joins that no longer fill their filters in.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.with_runtime(None))
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.context.check().map_err(DataFusionError::from)?;
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let bytes = MetricBuilder::new(&self.metrics).counter(ScanMeter::BYTES, partition);
        let meter = ScanMeter { bytes, asked: Arc::clone(&self.asked) };
        let scan = self.runtime.as_ref().map_or(&self.scan, |runtime| &runtime.scan);
        let rows = scan.open(partition, task, meter)?;
        Ok(guarded(rows, self.context.clone(), self.catalog.clone(), baseline))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        // The share of one partition is unknown.
        match args.partition() {
            Some(_) if self.scan.partitions() > 1 => Ok(Arc::new(Statistics::new_unknown(&self.schema()))),
            _ => Ok(Arc::new(self.scan.statistics())),
        }
    }
}

/// Tells of a panic on a thread that sends the rows of a scan, so that what was sent before it is not taken for the whole.
/// The thread keeps it as long as it may send.
#[derive(Debug)]
pub struct TellPanic(pub tokio::sync::mpsc::Sender<crate::Result<RecordBatch>>);

impl Drop for TellPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody may be left to hear it.
            let _ = self.0.blocking_send(Err(Error::report("the thread that reads the rows panicked")));
        }
    }
}

/// Ends the stream with an error as soon as the query is cancelled or out of time, and counts its rows. The request is one
/// from the first poll to the end.
fn guarded(
    rows: SendableRecordBatchStream,
    context: ReadContext,
    catalog: CatalogName,
    baseline: BaselineMetrics,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let (watched, asked) = (context.clone(), (context, catalog));
    let stopped = Box::pin(async move { watched.stopped().await });
    let state = Some((rows, stopped, baseline, None));
    let stream = futures::stream::unfold((state, asked), |(state, asked)| async move {
        let (mut rows, mut stopped, baseline, request) = state?;
        let mut request = request.unwrap_or_else(|| Request::begin(&asked.0, &asked.1, "scan"));
        let span = request.span().clone();
        let next: Option<Result<RecordBatch>> = tokio::select! {
            biased;
            error = &mut stopped => Some(Err(error.into())),
            next = rows.next().instrument(span) => next,
        };
        match next {
            Some(Ok(batch)) => {
                baseline.record_output(batch.num_rows());
                request.answered();
                Some((Ok(batch), (Some((rows, stopped, baseline, Some(request))), asked)))
            }
            // The first error is the last item: the stream below is dropped, which cancels its work.
            Some(Err(error)) => {
                let error = Error::from_datafusion(error);
                request.failed(&error);
                Some((Err(error.into()), (None, asked)))
            }
            None => {
                baseline.done();
                request.answered();
                None
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream))
}
