//! A topic as DataFusion sees it: what it declares pushed, and the scan that it plans.

use crate::columns::TopicTable;
use crate::latest::LatestScan;
use crate::pushdown::{Exactness, Selection};
use crate::records::Columns;
use crate::scan::{ScanRequest, TopicScan};
use crate::source::Topics;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_common::stats::Precision;
use datafusion_common::{Result as DataFusionResult, Statistics, project_schema};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{Error, KeptLocal, ReadContext, Reason, ReasonCode, Scan, ScanExec};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// One topic for the length of one query.
#[derive(Debug)]
pub(crate) struct TopicProvider {
    topics: Arc<Topics>,
    context: ReadContext,
    table: Arc<TopicTable>,
    pinned: Vec<Range<u64>>,
    /// Only the newest row of each key.
    is_latest: bool,
    /// Filters that the optimizer offered and that stay local. It offers them before it plans the scan.
    kept_local: Mutex<Vec<KeptLocal>>,
}

impl TopicProvider {
    pub(crate) fn new(
        topics: Arc<Topics>,
        context: ReadContext,
        table: Arc<TopicTable>,
        pinned: Vec<Range<u64>>,
        is_latest: bool,
    ) -> Self {
        Self { topics, context, table, pinned, is_latest, kept_local: Mutex::default() }
    }

    pub(crate) fn table(&self) -> &Arc<TopicTable> {
        &self.table
    }

    /// What a filter narrows, or why it stays local.
    fn offered(&self, filter: &Expr) -> Result<Exactness, Reason> {
        if !self.context.pushdown() {
            return Err(Reason::off());
        }
        let mut selection = Selection::all(&self.table);
        let exactness = selection.narrow(&self.table, filter)?;
        if self.is_latest && (!selection.offsets.is_all() || !selection.times.is_all()) {
            let text = "which row is the newest of its key is found out before it is filtered";
            return Err(Reason::new(ReasonCode::Semantics, text));
        }
        Ok(exactness)
    }

    /// Whether it has only the newest row of each key.
    pub(crate) fn is_latest(&self) -> bool {
        self.is_latest
    }

    fn keep_local(&self, filter: &Expr, reason: Reason) {
        let kept = KeptLocal { what: "filter", expression: filter.to_string(), reason };
        let mut all = self.kept_local.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&kept) {
            all.push(kept);
        }
    }

    /// What the pushed filters leave.
    pub(crate) fn selection(&self, filters: &[Expr]) -> Result<Selection, Error> {
        let mut selection = Selection::all(&self.table);
        for filter in filters {
            let narrowed = selection.narrow(&self.table, filter);
            narrowed.map_err(|reason| Error::report(format!("a filter was pushed that cannot be: {reason}")))?;
        }
        Ok(selection)
    }

    /// A request for all records, which a scan narrows.
    pub(crate) fn request(&self, columns: Columns, selection: Selection) -> ScanRequest {
        ScanRequest {
            table: Arc::clone(&self.table),
            columns,
            selection,
            pinned: self.pinned.clone(),
            limit: None,
            newest: None,
            kept_local: self.kept_local.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            streams: self.context.partitions(),
        }
    }

    pub(crate) fn exec(&self, request: ScanRequest) -> Arc<dyn ExecutionPlan> {
        let topics = Arc::clone(&self.topics);
        let scan: Arc<dyn Scan> = match self.is_latest {
            true => Arc::new(LatestScan::new(topics, self.context.clone(), request)),
            false => Arc::new(TopicScan::new(topics, request)),
        };
        Arc::new(ScanExec::new(self.topics.catalog.clone(), scan, self.context.clone()))
    }
}

#[async_trait]
impl TableProvider for TopicProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let answers = filters.iter().map(|filter| match self.offered(filter) {
            Ok(Exactness::Exact) => TableProviderFilterPushDown::Exact,
            Ok(Exactness::Inexact) => TableProviderFilterPushDown::Inexact,
            Err(reason) => {
                self.keep_local(filter, reason);
                TableProviderFilterPushDown::Unsupported
            }
        });
        Ok(answers.collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let records: u64 = self.pinned.iter().map(|range| range.end - range.start).sum();
        let unknown = Statistics::new_unknown(&self.table.schema);
        Some(Statistics { num_rows: Precision::Inexact(usize::try_from(records).unwrap_or(usize::MAX)), ..unknown })
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // Checks the indices.
        project_schema(&self.table.schema, projection)?;
        let all: Vec<usize> = (0..self.table.schema.fields().len()).collect();
        let columns = Columns::new(&self.table, projection.unwrap_or(&all));
        let limit = limit.filter(|_| self.context.pushdown());
        let request = ScanRequest { limit, ..self.request(columns, self.selection(filters)?) };
        Ok(self.exec(request))
    }
}
