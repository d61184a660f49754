//! The scan verb: a table as DataFusion sees it, and the stream of its rows.

use crate::file::{Dump, OpenDump, Stamp};
use crate::index::Table;
use crate::pushdown::Condition;
use crate::row::{self, Column};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion_common::stats::Precision;
use datafusion_common::{DataFusionError, Result, Statistics};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{Error, KeptLocal, ReadContext, Scan, ScanExec, ScanMeter, SqlState};
use std::fmt::Write;
use std::io::BufRead;
use std::sync::Arc;

/// One table of one state of the dump, for the length of one query.
#[derive(Debug)]
pub(crate) struct DumpTable {
    pub(crate) dump: Arc<Dump>,
    pub(crate) stamp: Stamp,
    pub(crate) table: Arc<Table>,
    pub(crate) context: ReadContext,
}

#[async_trait]
impl TableProvider for DumpTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match Condition::of(filter, &self.table.columns) {
            _ if !self.context.pushdown() => TableProviderFilterPushDown::Unsupported,
            Ok(_) => TableProviderFilterPushDown::Exact,
            Err(_) => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    /// Describes; the file is opened at the first poll of the stream.
    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (mut conditions, mut taken, mut kept_local) = (Vec::new(), Vec::new(), Vec::new());
        for filter in filters {
            match Condition::of(filter, &self.table.columns) {
                Ok(condition) => {
                    conditions.push(condition);
                    taken.push(filter.to_string());
                }
                Err(reason) => kept_local.push(KeptLocal { what: "filter", expression: filter.to_string(), reason }),
            }
        }
        // A limit below a filter that is evaluated above would lose rows.
        let limit = limit.filter(|_| kept_local.is_empty() && self.context.pushdown());
        let projection = projection.cloned().unwrap_or_else(|| (0..self.table.columns.fields().len()).collect());
        let scan = DumpScan {
            request: request(&self.dump, &self.table, &projection, &taken, limit),
            schema: Arc::new(self.table.columns.project(&projection)?),
            dump: Arc::clone(&self.dump),
            stamp: self.stamp.clone(),
            table: Arc::clone(&self.table),
            projection,
            conditions,
            limit,
            kept_local,
        };
        Ok(Arc::new(ScanExec::new(self.dump.catalog.clone(), Arc::new(scan), self.context.clone())))
    }
}

/// There is no language to ask a file in; this says what is read.
fn request(dump: &Dump, table: &Table, projection: &[usize], filters: &[String], limit: Option<usize>) -> String {
    let columns: Vec<_> = projection.iter().map(|at| table.columns.field(*at).name().as_str()).collect();
    let Table { schema, name, start, .. } = table;
    let mut text = format!("{}, byte {start}: {schema}.{name} ({})", dump.path.display(), columns.join(", "));
    if !filters.is_empty() {
        write!(text, " WHERE {}", filters.join(" AND ")).expect("a String takes any text");
    }
    if let Some(limit) = limit {
        write!(text, " LIMIT {limit}").expect("a String takes any text");
    }
    text
}

#[derive(Clone, Debug)]
struct DumpScan {
    dump: Arc<Dump>,
    stamp: Stamp,
    table: Arc<Table>,
    schema: SchemaRef,
    projection: Vec<usize>,
    conditions: Vec<Condition>,
    limit: Option<usize>,
    request: String,
    kept_local: Vec<KeptLocal>,
}

impl Scan for DumpScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn request(&self) -> String {
        self.request.clone()
    }

    fn kept_local(&self) -> Vec<KeptLocal> {
        self.kept_local.clone()
    }

    fn statistics(&self) -> Statistics {
        let rows = self.table.row_count;
        let num_rows = match (self.conditions.is_empty(), self.limit) {
            (true, None) => Precision::Exact(rows),
            (_, limit) => Precision::Inexact(rows.min(limit.unwrap_or(usize::MAX))),
        };
        Statistics { num_rows, ..Statistics::new_unknown(&self.schema) }
    }

    fn open(&self, _: usize, task: Arc<TaskContext>, meter: ScanMeter) -> Result<SendableRecordBatchStream> {
        let batch_rows = task.session_config().batch_size().max(1);
        let lines = Lines { scan: self.clone(), left: self.limit.unwrap_or(usize::MAX), batch_rows, meter, file: None };
        let stream = futures::stream::unfold(Some(lines), |lines| async move {
            let mut lines = lines?;
            // A file has no asynchronous reads. A dropped stream ends after the batch that is being read.
            let read = tokio::task::spawn_blocking(move || (lines.next().transpose(), lines)).await;
            match read {
                Ok((None, _)) => None,
                Ok((Some(Ok(batch)), lines)) => Some((Ok(batch), Some(lines))),
                // The first error is the last item.
                Ok((Some(Err(error)), _)) => Some((Err(error.into()), None)),
                Err(panicked) => Some((Err(DataFusionError::External(panicked.into())), None)),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

/// A scan on its way through the file.
struct Lines {
    scan: DumpScan,
    /// Rows that may still be given.
    left: usize,
    batch_rows: usize,
    meter: ScanMeter,
    file: Option<OpenDump>,
}

impl Lines {
    /// The next rows that pass; `None` after the last.
    fn next(&mut self) -> polder_catalog::Result<Option<RecordBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                self.scan.dump.ask();
                self.scan.dump.expect(&self.scan.stamp)?;
                self.scan.dump.open(self.scan.table.start)?
            }
        };
        let mut columns: Vec<Column> =
            self.scan.schema.fields().iter().map(|field| Column::new(field.data_type())).collect();
        let (mut rows, mut line) = (0, Vec::new());
        while rows < self.batch_rows.min(self.left) {
            line.clear();
            let bytes = file.file.read_until(b'\n', &mut line).map_err(|error| self.scan.dump.unreadable(&error))?;
            self.meter.received(bytes);
            let Some(row) = line.strip_suffix(b"\n") else { return Err(self.scan.broken_off()) };
            if row == b"\\." {
                self.left = rows;
                self.scan.dump.expect(&self.scan.stamp)?;
                break;
            }
            rows += usize::from(self.scan.read(row, &mut columns).map_err(|how| self.scan.broken(&how))?);
        }
        self.left -= rows;
        self.file = Some(file);
        if rows == 0 { Ok(None) } else { self.scan.batch(columns, rows).map(Some) }
    }
}

impl DumpScan {
    /// Appends the row if it passes; tells whether it did.
    fn read(&self, line: &[u8], columns: &mut [Column]) -> Result<bool, String> {
        let mut fields = Vec::with_capacity(self.table.native_types.len());
        row::split(line, &mut fields);
        if fields.len() != self.table.native_types.len() {
            return Err(format!("a row has {} fields, expected {}", fields.len(), self.table.native_types.len()));
        }
        for condition in &self.conditions {
            if !condition.holds(fields[condition.column])? {
                return Ok(false);
            }
        }
        for (column, at) in columns.iter_mut().zip(&self.projection) {
            column.append(fields[*at])?;
        }
        Ok(true)
    }

    fn batch(&self, mut columns: Vec<Column>, rows: usize) -> polder_catalog::Result<RecordBatch> {
        let arrays = columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema(), arrays, &options)
            .map_err(|error| self.broken(&error.to_string()))
    }

    fn broken_off(&self) -> Error {
        self.broken("the dump ends in the middle of it").with_hint("was pg_dump interrupted? dump the database again")
    }

    fn broken(&self, how: &str) -> Error {
        let Table { schema, name, .. } = &*self.table;
        self.dump.at(Error::fix(SqlState::FORMAT, format!("table {schema}.{name} cannot be read: {how}")))
    }
}
