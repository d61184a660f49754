//! The scan verb: a table as DataFusion sees it, and the stream of its rows.

use crate::fault::Faults;
use crate::table::Table;
use crate::{Fault, pushdown};
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion_common::cast::as_boolean_array;
use datafusion_common::stats::Precision;
use datafusion_common::{Constraint, Constraints, DFSchema, DataFusionError, Result, Statistics};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{CatalogName, Error, KeptLocal, ReadContext, Scan, ScanExec, ScanMeter, SqlState};
use std::fmt::Write;
use std::sync::Arc;

/// A version of a table, for the length of one query.
#[derive(Debug)]
pub(crate) struct MemoryTable {
    catalog: CatalogName,
    table: Arc<Table>,
    context: ReadContext,
    constraints: Constraints,
    faults: Arc<Faults>,
}

impl MemoryTable {
    pub(crate) fn new(catalog: CatalogName, table: Arc<Table>, context: ReadContext, faults: Arc<Faults>) -> Self {
        let key = &table.columns.key;
        let constraint = (!key.is_empty()).then(|| Constraint::PrimaryKey(key.clone()));
        let constraints = Constraints::new_unverified(constraint.into_iter().collect());
        Self { catalog, table, context, constraints, faults }
    }
}

#[async_trait]
impl TableProvider for MemoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.columns.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A filter that stays local is `Inexact` rather than `Unsupported`: then the scan sees it, and can say why.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let schema = self.schema();
        let support = |filter: &&Expr| match pushdown::obstacle(filter, &schema) {
            _ if !self.context.pushdown() => TableProviderFilterPushDown::Unsupported,
            None => TableProviderFilterPushDown::Exact,
            Some(_) => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (mut pushed, mut kept_local) = (Vec::new(), Vec::new());
        for filter in filters {
            match pushdown::obstacle(filter, &self.schema()) {
                None => pushed.push(filter.clone()),
                Some(reason) => {
                    kept_local.push(KeptLocal { what: "filter", expression: filter.to_string(), reason });
                }
            }
        }
        // A limit below a filter that is evaluated above would lose rows.
        let limit = limit.filter(|_| kept_local.is_empty() && self.context.pushdown());
        let projection = projection.cloned().unwrap_or_else(|| (0..self.table.columns.ids.len()).collect());
        let text = request(&self.table, &projection, &pushed, limit);
        let predicate = match conjunction(pushed) {
            None => None,
            Some(filter) => {
                let schema = DFSchema::try_from(self.schema())?;
                Some(session.create_physical_expr(filter, &schema)?)
            }
        };
        let scan = MemoryScan {
            catalog: self.catalog.clone(),
            schema: Arc::new(self.schema().project(&projection)?),
            table: Arc::clone(&self.table),
            projection,
            predicate,
            limit,
            request: text,
            kept_local,
            partitions: self.context.partitions().clamp(1, self.table.batches.len().max(1)),
            faults: Arc::clone(&self.faults),
        };
        Ok(Arc::new(ScanExec::new(self.catalog.clone(), Arc::new(scan), self.context.clone())))
    }
}

/// What is asked, in words like SQL.
fn request(table: &Table, projection: &[usize], filters: &[Expr], limit: Option<usize>) -> String {
    let columns: Vec<_> = projection.iter().map(|at| table.columns.schema.field(*at).name().as_str()).collect();
    let mut text = format!("SELECT {} FROM {}", columns.join(", "), table.path);
    if let Some(filter) = conjunction(filters.iter().cloned()) {
        write!(text, " WHERE {filter}").expect("a String takes any text");
    }
    if let Some(limit) = limit {
        write!(text, " LIMIT {limit}").expect("a String takes any text");
    }
    text
}

/// A planned read of one version of one table.
#[derive(Debug)]
struct MemoryScan {
    catalog: CatalogName,
    table: Arc<Table>,
    schema: SchemaRef,
    projection: Vec<usize>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
    request: String,
    kept_local: Vec<KeptLocal>,
    partitions: usize,
    faults: Arc<Faults>,
}

impl Scan for MemoryScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn request(&self) -> String {
        self.request.clone()
    }

    fn kept_local(&self) -> Vec<KeptLocal> {
        self.kept_local.clone()
    }

    fn partitions(&self) -> usize {
        self.partitions
    }

    fn statistics(&self) -> Statistics {
        let rows = self.table.row_count();
        let num_rows = match (&self.predicate, self.limit) {
            (None, None) => Precision::Exact(rows),
            (_, limit) => Precision::Inexact(rows.min(limit.unwrap_or(usize::MAX))),
        };
        Statistics { num_rows, ..Statistics::new_unknown(&self.schema) }
    }

    fn open(&self, partition: usize, task: Arc<TaskContext>, meter: ScanMeter) -> Result<SendableRecordBatchStream> {
        let mine = self.table.batches.iter().skip(partition).step_by(self.partitions);
        let batch_size = task.session_config().batch_size().max(1);
        let slices = mine.flat_map(|batch| slices(batch, batch_size)).collect::<Vec<_>>();
        let rows = Rows {
            projection: self.projection.clone(),
            predicate: self.predicate.clone(),
            left: self.limit.unwrap_or(usize::MAX),
            faults: Arc::clone(&self.faults),
            fault: None,
            catalog: self.catalog.clone(),
            meter,
        };
        let stream = futures::stream::unfold(Some((rows, slices.into_iter())), |state| async move {
            let (mut rows, mut slices) = state?;
            let next = rows.next(&mut slices).transpose()?;
            // The first error is the last item.
            let state = next.is_ok().then_some((rows, slices));
            Some((next, state))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

/// Cuts a batch into pieces that a consumer can take one at a time; nothing is copied.
fn slices(batch: &RecordBatch, rows_max: usize) -> impl Iterator<Item = RecordBatch> + use<'_> {
    let starts = (0..batch.num_rows()).step_by(rows_max);
    starts.map(move |start| batch.slice(start, rows_max.min(batch.num_rows() - start)))
}

/// One partition on its way out.
struct Rows {
    projection: Vec<usize>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Rows that may still be given.
    left: usize,
    faults: Arc<Faults>,
    /// Batches until an injected fault, once one was taken.
    fault: Option<usize>,
    catalog: CatalogName,
    meter: ScanMeter,
}

impl Rows {
    /// The next batch that has rows.
    fn next(&mut self, slices: &mut impl Iterator<Item = RecordBatch>) -> Result<Option<RecordBatch>> {
        self.fail_if_asked()?;
        while self.left > 0 {
            let Some(slice) = slices.next() else { break };
            let matching = self.matching(slice)?;
            if matching.num_rows() == 0 {
                continue;
            }
            let taken = matching.slice(0, self.left.min(matching.num_rows())).project(&self.projection)?;
            self.left -= taken.num_rows();
            self.meter.received(taken.get_array_memory_size());
            return Ok(Some(taken));
        }
        Ok(None)
    }

    fn matching(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let Some(predicate) = &self.predicate else { return Ok(rows) };
        let verdict = predicate.evaluate(&rows)?.into_array(rows.num_rows())?;
        let verdict: &BooleanArray = as_boolean_array(&verdict)?;
        Ok(filter_record_batch(&rows, verdict)?)
    }

    fn fail_if_asked(&mut self) -> Result<()> {
        let asked = |fault: &Fault| match fault {
            Fault::Scan { after_batches } => Some(*after_batches),
            _ => None,
        };
        self.fault = self.fault.or_else(|| self.faults.take(asked));
        match self.fault {
            Some(0) => {
                let error = Error::retry(SqlState::CONNECTION_LOST, "the memory went away (injected)");
                Err(DataFusionError::from(error.at(format!("catalog \"{}\"", self.catalog))))
            }
            Some(batches) => {
                self.fault = Some(batches - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}
