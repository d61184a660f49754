//! The file source of a scan: one of DataFusion's, with what a person needs around it.
//!
//! Reading itself is untouched. Around each file: an error names it and says what to do ([`diagnose`]), a cancelled
//! or late query stops, and a decoder that panics on hostile bytes is an error like any other.

use crate::diagnose::{self, ScanInfo};
use crate::nan;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DataFusionError, Result};
use datafusion_datasource::PartitionedFile;
use datafusion_datasource::file::FileSource;
use datafusion_datasource::file_scan_config::FileScanConfig;
use datafusion_datasource::file_stream::FileOpener;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use datafusion_datasource::table_schema::TableSchema;
use datafusion_physical_expr::projection::ProjectionExprs;
use datafusion_physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion_physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion_physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::ObjectStore;
use polder_catalog::{Error, Request};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One of DataFusion's file sources, reading the pinned files of one scan.
#[derive(Clone)]
pub(crate) struct LakeSource {
    inner: Arc<dyn FileSource>,
    info: Arc<ScanInfo>,
}

impl LakeSource {
    pub(crate) fn new(inner: Arc<dyn FileSource>, info: Arc<ScanInfo>) -> Self {
        Self { inner, info }
    }

    /// What the scan is about.
    pub(crate) fn info(&self) -> &ScanInfo {
        &self.info
    }

    fn around(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        Arc::new(Self { inner, info: Arc::clone(&self.info) })
    }
}

impl FileSource for LakeSource {
    fn create_file_opener(
        &self,
        _: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(Arc::clone(&self.info.store), config, partition)
    }

    fn create_morselizer(
        &self,
        _: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        self.info.context.check()?;
        let inner = self.inner.create_morselizer(Arc::clone(&self.info.store), config, partition)?;
        Ok(Box::new(Named { inner, info: Arc::clone(&self.info) }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        self.around(self.inner.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(t, f)
    }

    fn supports_repartitioning(&self) -> bool {
        !self.info.is_compressed() && self.inner.supports_repartitioning()
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
        config: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        if !self.supports_repartitioning() {
            return Ok(None);
        }
        self.inner.repartitioned(target_partitions, repartition_file_min_size, output_ordering, config)
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        if !self.info.context.pushdown() {
            let none = vec![PushedDown::No; filters.len()];
            return Ok(FilterPushdownPropagation::with_parent_pushdown_result(none));
        }
        let schema = self.inner.table_schema().table_schema();
        let may_skip: Vec<bool> = filters.iter().map(|filter| nan::may_skip(filter, schema)).collect();
        let skipping = filters.into_iter().zip(&may_skip).filter(|(_, may_skip)| **may_skip);
        let mut pushed = self.inner.try_pushdown_filters(skipping.map(|(filter, _)| filter).collect(), config)?;
        let mut answers = pushed.filters.into_iter();
        let answer = |may_skip| if may_skip { answers.next().unwrap_or(PushedDown::No) } else { PushedDown::No };
        pushed.filters = may_skip.into_iter().map(answer).collect();
        pushed.updated_node = pushed.updated_node.map(|inner| self.around(inner));
        Ok(pushed)
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        use SortOrderPushdownResult as R;
        Ok(match self.inner.try_pushdown_sort(order, properties)? {
            R::Exact { inner } => R::Exact { inner: self.around(inner) },
            R::Inexact { inner } => R::Inexact { inner: self.around(inner) },
            R::Unsupported => R::Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_projection(projection)?.map(|inner| self.around(inner)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

/// Opens files under their names.
struct Named {
    inner: Box<dyn Morselizer>,
    info: Arc<ScanInfo>,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Named").field(&self.inner).finish()
    }
}

impl Morselizer for Named {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let scope = Scope { info: Arc::clone(&self.info), file: Arc::new(file.object_meta.clone()) };
        let inner = scope.run(|| self.inner.plan_file(file))?;
        Ok(Box::new(NamedPlanner { inner, scope }))
    }
}

/// One file of one scan.
#[derive(Clone)]
struct Scope {
    info: Arc<ScanInfo>,
    file: Arc<object_store::ObjectMeta>,
}

impl Scope {
    /// Runs a step that may fail or panic.
    fn run<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        catch_unwind(AssertUnwindSafe(step))
            .unwrap_or_else(|panic| Err(diagnose::panicked(panic.as_ref())))
            .map_err(|error| diagnose::named(&self.info, &self.file, error))
    }

    fn request(&self) -> Request {
        Request::begin(&self.info.context, &self.info.place.catalog, "file")
    }

    /// Waits for a step that may fail or panic, until the query is stopped.
    async fn wait<T>(&self, step: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let done = tokio::select! {
            biased;
            error = self.info.context.stopped() => return Err(error.into()),
            done = AssertUnwindSafe(step).catch_unwind() => done,
        };
        match done.unwrap_or_else(|panic| Err(diagnose::panicked(panic.as_ref()))) {
            Ok(value) => Ok(value),
            Err(error) => Err(diagnose::explained(&self.info, &self.file, error).await),
        }
    }
}

struct NamedPlanner {
    inner: Box<dyn MorselPlanner>,
    scope: Scope,
}

impl fmt::Debug for NamedPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedPlanner").field(&self.inner).finish()
    }
}

impl MorselPlanner for NamedPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, scope } = *self;
        let Some(mut plan) = scope.run(|| inner.plan())? else { return Ok(None) };
        let morsels = plan.take_morsels().into_iter();
        let planners = plan.take_ready_planners().into_iter();
        let mut named = MorselPlan::new()
            .with_morsels(morsels.map(|inner| NamedMorsel { inner, scope: scope.clone() }.boxed()).collect())
            .with_planners(planners.map(|inner| Self { inner, scope: scope.clone() }.boxed()).collect());
        if let Some(pending) = plan.take_pending_planner() {
            named.set_pending_planner(async move {
                let inner = scope.wait(pending.into_future()).await?;
                Ok(Self { inner, scope }.boxed())
            });
        }
        Ok(Some(named))
    }
}

impl NamedPlanner {
    fn boxed(self) -> Box<dyn MorselPlanner> {
        Box::new(self)
    }
}

struct NamedMorsel {
    inner: Box<dyn Morsel>,
    scope: Scope,
}

impl NamedMorsel {
    fn boxed(self) -> Box<dyn Morsel> {
        Box::new(self)
    }
}

impl fmt::Debug for NamedMorsel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedMorsel").field(&self.inner).finish()
    }
}

impl Morsel for NamedMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<arrow::record_batch::RecordBatch>> {
        let Self { inner, scope } = *self;
        let stream = match catch_unwind(AssertUnwindSafe(|| inner.into_stream())) {
            Ok(stream) => stream,
            Err(panic) => {
                let error: DataFusionError =
                    diagnose::named(&scope.info, &scope.file, diagnose::panicked(panic.as_ref()));
                return futures::stream::once(async { Err(error) }).boxed();
            }
        };
        // An error is the last item: what came before it is never taken for the whole.
        futures::stream::unfold(Some((stream, scope, None)), |state| async move {
            let (mut stream, scope, request) = state?;
            let mut request = request.unwrap_or_else(|| scope.request());
            let next = scope.wait(async { stream.next().await.transpose() }).await;
            match next {
                Ok(Some(batch)) => {
                    request.answered();
                    Some((Ok(batch), Some((stream, scope, Some(request)))))
                }
                Ok(None) => {
                    request.answered();
                    None
                }
                Err(error) => {
                    let error = Error::from_datafusion(error);
                    request.failed(&error);
                    Some((Err(error.into()), None))
                }
            }
        })
        .boxed()
    }
}
