//! A relation as DataFusion sees it: what it declares pushed, and the scan that it plans.

use crate::narrow::Narrowing;
use crate::pool::Pool;
use crate::pushdown::{self, ast};
use crate::scan::{ScanRequest, scan_query};
use crate::statistics;
use crate::table::{PgOutput, PgRelation};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_common::{Result as DataFusionResult, Statistics, project_schema};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{DatasetKind, Error, KeptLocal, ReadContext, Reason};
use std::sync::{Arc, Mutex, PoisonError};

/// Pages that a stream of its own is worth: 8 MiB. Below, opening a connection costs more than it saves.
const PAGES_PER_STREAM: u64 = 1_024;
/// The first version whose ctid ranges read only their own pages.
const RANGES_SINCE: i32 = 140_000;

/// One relation for the length of one query.
#[derive(Debug)]
pub(crate) struct PgTable {
    pool: Arc<Pool>,
    context: ReadContext,
    relation: Arc<PgRelation>,
    schema: SchemaRef,
    /// Filters that the optimizer offered and that stay local. It offers them before it plans the scan.
    kept_local: Mutex<Vec<KeptLocal>>,
}

impl PgTable {
    pub(crate) fn new(pool: Arc<Pool>, context: ReadContext, relation: Arc<PgRelation>) -> Self {
        let schema = relation.arrow_schema();
        Self { pool, context, relation, schema, kept_local: Mutex::default() }
    }

    /// The relation that is read.
    pub(crate) fn relation(&self) -> &Arc<PgRelation> {
        &self.relation
    }

    /// The query that reads it.
    pub(crate) fn context(&self) -> &ReadContext {
        &self.context
    }

    /// The filter as the server's, or why it stays local.
    fn translate(&self, filter: &Expr) -> Result<ast::Expr, Reason> {
        if !self.context.pushdown() {
            return Err(Reason::off());
        }
        pushdown::filter(filter, &self.relation)
    }

    fn keep_local(&self, filter: &Expr, reason: Reason) {
        let kept = KeptLocal { what: "filter", expression: filter.to_string(), reason };
        let mut all = self.kept_local.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&kept) {
            all.push(kept);
        }
    }

    /// How many streams read the relation, and by which ranges of pages; none to read it whole.
    fn ranges(&self, limit: Option<usize>) -> Vec<ast::Expr> {
        let relation = &self.relation;
        let is_ranged = relation.kind == DatasetKind::Table || relation.kind == DatasetKind::MaterializedView;
        // A limit in each range would read too much, and one for all cannot be shared.
        if !is_ranged || limit.is_some() || relation.server_version < RANGES_SINCE {
            return Vec::new();
        }
        let streams = self.context.partitions().min(self.pool.endpoint().options.pool_size) as u64;
        let streams = streams.min(relation.pages / PAGES_PER_STREAM);
        if streams < 2 {
            return Vec::new();
        }
        (0..streams).map(|stream| page_range(relation.pages, stream, streams)).collect()
    }
}

/// The rows on one share of the pages. The last range is open: the table may have grown since its pages were counted.
fn page_range(pages: u64, stream: u64, streams: u64) -> ast::Expr {
    let at = |page: u64| ast::Expr::typed(format!("({page},0)"), ast::Type::Tid);
    let from = (stream > 0).then(|| ast::Expr::Ctid.binary(ast::Operator::GtEq, at(pages * stream / streams)));
    let last = stream + 1 == streams;
    let to = (!last).then(|| ast::Expr::Ctid.binary(ast::Operator::Lt, at(pages * (stream + 1) / streams)));
    ast::Expr::all(from.into_iter().chain(to)).expect("of two streams or more, each has a bound")
}

#[async_trait]
impl TableProvider for PgTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        match self.relation.kind {
            DatasetKind::View => TableType::View,
            _ => TableType::Base,
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let answers = filters.iter().map(|filter| match self.translate(filter) {
            Ok(_) => TableProviderFilterPushDown::Exact,
            Err(reason) => {
                self.keep_local(filter, reason);
                TableProviderFilterPushDown::Unsupported
            }
        });
        Ok(answers.collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(statistics::of_relation(&self.relation))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // Checks the indices.
        project_schema(&self.schema, projection)?;
        let all: Vec<usize> = (0..self.relation.columns.len()).collect();
        let projection = projection.unwrap_or(&all);
        let limit = limit.filter(|_| self.context.pushdown());
        let translated = filters.iter().map(|filter| self.translate(filter)).collect::<Result<Vec<_>, _>>();
        let translated =
            translated.map_err(|reason| Error::report(format!("a filter was pushed that cannot be: {reason}")))?;
        let query = pushdown::select(&self.relation, projection, translated, limit);
        let ranges = self.ranges(limit);
        let selects: Vec<String> = if ranges.is_empty() {
            vec![pushdown::print(&query)]
        } else {
            let share = |range: &ast::Expr| {
                let mut query = query.clone();
                query.restrict(range.clone());
                pushdown::print(&query)
            };
            ranges.iter().map(share).collect()
        };
        // A limit cuts the rows first: which of them are wanted says nothing about the others.
        let narrowing = limit.is_none().then(|| Narrowing {
            whole: query,
            shares: ranges,
            columns: pushdown::columns(&self.relation, projection),
            is_utf8: self.relation.is_utf8,
        });
        let request = ScanRequest {
            streams: selects.len(),
            selects,
            outputs: projection.iter().map(|index| PgOutput::from(&self.relation.columns[*index])).collect(),
            kept_local: self.kept_local.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            statistics: statistics::of_scan(&self.relation, projection, filters.len(), limit),
            narrowing: narrowing.map(Arc::new),
            verbatim: false,
        };
        Ok(scan_query(&self.pool, &self.context, request))
    }
}
