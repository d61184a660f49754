//! The scan verb: a table as DataFusion sees it, and the stream of its rows.

use crate::chunk::Chunk;
use crate::home::Home;
use crate::ordered::{Ordered, Wanted};
use crate::path::Path;
use crate::reads::{Condition, Snapshot};
use crate::table::{Table, defect};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_common::stats::Precision;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, Constraint, Constraints, DFSchema, Result, ScalarValue, Statistics};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{CatalogName, ReadContext, Scan, ScanExec, ScanMeter};
use std::collections::VecDeque;
use std::sync::Arc;

/// A version of a table, for the length of one query.
#[derive(Debug)]
pub(crate) struct RowsTable {
    catalog: CatalogName,
    /// Without rows, if it is spread.
    table: Arc<Table>,
    /// The rows, by where they are at home.
    parts: Vec<(Home, Arc<Table>)>,
    snapshot: Arc<Snapshot>,
    context: ReadContext,
    constraints: Constraints,
}

impl RowsTable {
    pub(crate) fn new(catalog: CatalogName, table: Arc<Table>, snapshot: Arc<Snapshot>, context: ReadContext) -> Self {
        let key = table.has_key().then(|| Constraint::PrimaryKey(table.key().to_vec()));
        let unique = table.unique().map(|columns| Constraint::Unique(columns.to_vec()));
        let constraints = Constraints::new_unverified(key.into_iter().chain(unique).collect());
        let parts = snapshot.state.parts_of(&table);
        Self { catalog, table, parts, snapshot, context, constraints }
    }

    /// The column of the key that a filter sets equal to a constant.
    fn key_of(&self, filter: &Expr) -> Option<(usize, ScalarValue)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
        let (Expr::Column(column), Expr::Literal(value, _)) = (left.as_ref(), right.as_ref()) else {
            let (Expr::Literal(value, _), Expr::Column(column)) = (left.as_ref(), right.as_ref()) else { return None };
            return self.key_column(&column.name, value);
        };
        self.key_column(&column.name, value)
    }

    fn key_column(&self, name: &str, value: &ScalarValue) -> Option<(usize, ScalarValue)> {
        let at = self.table.schema.index_of(name).ok()?;
        let same_type = value.data_type() == *self.table.schema.field(at).data_type();
        // -0 and 0 are equal, and two keys.
        (same_type && !value.is_null() && !value.data_type().is_floating()).then(|| (at, value.clone()))
    }

    /// A column, how a filter compares it, and with what.
    fn compared(&self, filter: &Expr) -> Option<(usize, Operator, ScalarValue)> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        let (name, op, value) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => (&column.name, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => (&column.name, op.swap()?, value),
            _ => return None,
        };
        let (at, value) = self.key_column(name, value)?;
        matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
            .then_some((at, op, value))
    }

    /// What the filters ask of an index: values of its first columns, then bounds of the next one.
    fn wanted(&self, index: &Ordered, compared: &[(usize, Operator, ScalarValue)]) -> Wanted {
        let mut wanted = Wanted::default();
        for column in index.columns.iter() {
            let find = |ops: &[Operator]| {
                let found = compared.iter().find(|(at, op, _)| at == column && ops.contains(op));
                found.map(|(_, op, value)| (*op, value.clone()))
            };
            if let Some((_, value)) = find(&[Operator::Eq]) {
                wanted.equal.push(value);
                continue;
            }
            let from = find(&[Operator::Gt, Operator::GtEq]);
            let to = find(&[Operator::Lt, Operator::LtEq]);
            wanted.from = from.map(|(op, value)| (value, op == Operator::GtEq));
            wanted.to = to.map(|(op, value)| (value, op == Operator::LtEq));
            break;
        }
        wanted
    }

    /// Where the rows are that the filters may ask for: in one place, if they give the whole sharding key.
    fn asked(&self, filters: &[Expr]) -> Result<Vec<(Home, Arc<Table>)>> {
        let Some(spread) = &self.table.spread else { return Ok(self.parts.clone()) };
        let known: Vec<_> = filters.iter().filter_map(|filter| self.key_of(filter)).collect();
        let value = |at: &usize| known.iter().find(|(column, _)| column == at).map(|(_, value)| value.to_array());
        let Some(key) = spread.columns.iter().map(value).collect::<Option<Result<Vec<_>>>>().transpose()? else {
            return Ok(self.parts.clone());
        };
        let home = spread.home_of(&key)?;
        Ok(self.parts.iter().filter(|(known, _)| *known == home).cloned().collect())
    }

    /// The rows that the best of the indexes finds, if that is worth it: far fewer than there are.
    fn by_index(&self, table: &Table, filters: &[Expr]) -> Result<Option<Lookup>> {
        if !self.context.pushdown() || table.indexes.is_empty() {
            return Ok(None);
        }
        let compared: Vec<_> = filters.iter().filter_map(|filter| self.compared(filter)).collect();
        let max = (table.row_count() / ROWS_SHARE_MAX).max(ROWS_ALWAYS);
        let mut best: Option<Lookup> = None;
        for index in &table.indexes {
            let wanted = self.wanted(index, &compared);
            if !wanted.is_any() {
                continue;
            }
            let max = best.as_ref().map_or(max, |best| best.count().saturating_sub(1));
            if let Some(numbers) = index.find(&wanted, table.read_version(), max)? {
                best = Some(Lookup::Index { name: Arc::clone(&index.name), numbers: numbers.into() });
            }
        }
        Ok(best)
    }

    /// Whether a comparison of a column may lead to rows.
    fn is_found_by(&self, column: usize, op: Operator) -> bool {
        let mut paths = self.table.paths.iter().filter(|path| path.kind.is_unique());
        op == Operator::Eq && paths.any(|path| path.columns.contains(&column))
            || self.table.indexes.iter().any(|index| index.columns.contains(&column))
    }

    /// Whether a filter tells where rows are at home.
    fn is_spread_by(&self, filter: &Expr) -> bool {
        let spread = self.table.spread.as_ref();
        spread.is_some_and(|spread| self.key_of(filter).is_some_and(|(at, _)| spread.columns.contains(&at)))
    }

    /// The path by which the filters ask for one row, and its key, if they say all of it.
    fn lookup(&self, filters: &[Expr]) -> Option<Lookup> {
        if !self.context.pushdown() {
            return None;
        }
        let known: Vec<_> = filters.iter().filter_map(|filter| self.key_of(filter)).collect();
        let value = |at: &usize| known.iter().find(|(column, _)| column == at).map(|(_, value)| value.clone());
        let key = |path: &Path| path.columns.iter().map(value).collect::<Option<Vec<_>>>();
        let unique = self.table.paths.iter().enumerate().filter(|(_, path)| path.kind.is_unique());
        unique.filter_map(|(path, known)| Some(Lookup::Key { path, key: key(known)? })).next()
    }

    /// Notes what is read, if anybody will ask: the rows that meet the filters.
    fn note(&self, session: &dyn Session, filters: &[Expr], parts: &[(Home, Arc<Table>)]) -> Result<()> {
        if !self.snapshot.is_noted() {
            return Ok(());
        }
        let schema = DFSchema::try_from(Arc::clone(&self.table.schema))?;
        let all = filters.iter().cloned().reduce(Expr::and);
        let condition = all.map(|all| session.create_physical_expr(unqualified(all)?, &schema)).transpose()?;
        let condition = condition.map_or(Condition::All, Condition::Meets);
        parts.iter().for_each(|(home, part)| self.snapshot.note(*home, part, condition.clone()));
        Ok(())
    }
}

/// Some rows, without reading the others.
#[derive(Clone, Debug)]
enum Lookup {
    /// One, by a key; the path's place among those of the table.
    Key { path: usize, key: Vec<ScalarValue> },
    /// Those that an index has found.
    Index { name: Arc<str>, numbers: Arc<[u64]> },
}

impl Lookup {
    fn count(&self) -> usize {
        match self {
            Self::Key { .. } => 1,
            Self::Index { numbers, .. } => numbers.len(),
        }
    }
}

/// An index is used if it finds at most one row in so many, or so many rows.
const ROWS_SHARE_MAX: usize = 16;
const ROWS_ALWAYS: usize = 1024;

/// The filters of a scan name the table; its schema does not.
fn unqualified(filter: Expr) -> Result<Expr> {
    let bare = |expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::from_name(column.name)))),
        other => Ok(Transformed::no(other)),
    };
    Ok(filter.transform(bare)?.data)
}

/// Whether a filter means the same whenever and wherever it is evaluated.
fn is_plain(filter: &Expr) -> bool {
    let is_other = |expr: &Expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(..)
            | Expr::ScalarSubquery(_)
            | Expr::InSubquery(_)
            | Expr::Exists(_)
            | Expr::Placeholder(_)
            | Expr::ScalarVariable(..) => true,
            other => other.is_volatile_node(),
        })
    };
    !filter.exists(is_other).unwrap_or(true)
}

#[async_trait]
impl TableProvider for RowsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A key leads to its row, and what is read is noted with its condition; both are checked where the rows arrive.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let is_taken = |filter: &Expr| {
            self.context.pushdown() && self.compared(filter).is_some_and(|(at, op, _)| self.is_found_by(at, op))
                || self.is_spread_by(filter)
                || self.snapshot.is_noted() && is_plain(filter)
        };
        let support = |filter: &&Expr| match is_taken(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
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
        let parts = self.asked(filters)?;
        self.note(session, filters, &parts)?;
        let projection = projection.cloned().unwrap_or_else(|| (0..self.table.schema.fields().len()).collect());
        let (mut lookups, mut chunks) = (Vec::new(), Vec::new());
        for (_, part) in &parts {
            let lookup = match self.lookup(filters) {
                Some(key) => Some(key),
                None => self.by_index(part, filters)?,
            };
            match lookup {
                Some(lookup) => lookups.push((Arc::clone(part), lookup)),
                None => chunks.extend(part.chunks.iter().cloned()),
            }
        }
        let scan = RowsScan {
            is_noted: self.snapshot.is_noted(),
            schema: Arc::new(self.table.schema.project(&projection)?),
            table: Arc::clone(&self.table),
            shards: self.table.spread.is_some().then_some(parts.len()),
            limit: limit.filter(|_| filters.is_empty() && self.context.pushdown()),
            partitions: self.context.partitions().clamp(1, chunks.len().max(1)),
            lookups,
            chunks,
            projection,
        };
        Ok(Arc::new(ScanExec::new(self.catalog.clone(), Arc::new(scan), self.context.clone())))
    }
}

/// A planned read of one version of one table.
#[derive(Debug)]
struct RowsScan {
    is_noted: bool,
    table: Arc<Table>,
    schema: SchemaRef,
    projection: Vec<usize>,
    /// How many shards are read, of a table that is spread.
    shards: Option<usize>,
    /// In which parts of the table to look, and for what.
    lookups: Vec<(Arc<Table>, Lookup)>,
    /// What is read from one end to the other.
    chunks: Vec<Arc<Chunk>>,
    limit: Option<usize>,
    partitions: usize,
}

impl RowsScan {
    fn row_count(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.live()).sum()
    }
}

impl Scan for RowsScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn request(&self) -> String {
        let name = &self.table.definition.name;
        let columns: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let limit = self.limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        let how = match self.lookups.first() {
            None => format!("{} rows in {} chunks", self.row_count(), self.chunks.len()),
            Some((_, Lookup::Index { name, .. })) => {
                let entries: usize = self.lookups.iter().map(|(_, lookup)| lookup.count()).sum();
                let more = match self.row_count() {
                    0 => String::new(),
                    rows => format!(", and {rows} rows in {} chunks", self.chunks.len()),
                };
                format!("by index {name}: {entries} entries{more}")
            }
            Some((table, Lookup::Key { path, key })) => {
                let key: Vec<_> = key.iter().map(ToString::to_string).collect();
                format!("by {} ({})", table.name_of(*path), key.join(", "))
            }
        };
        let shards = match self.shards {
            None => String::new(),
            Some(1) => " in 1 shard".to_string(),
            Some(shards) => format!(" in {shards} shards"),
        };
        format!("{name} ({}){limit}: {how}{shards}", columns.join(", "))
    }

    fn is_noted(&self) -> bool {
        self.is_noted
    }

    fn partitions(&self) -> usize {
        self.partitions
    }

    fn statistics(&self) -> Statistics {
        let rows = self.row_count();
        let found = self.lookups.iter().map(|(_, lookup)| lookup.count()).sum::<usize>();
        let num_rows = match (self.lookups.is_empty(), self.limit) {
            (false, _) => Precision::Inexact(found + rows),
            (true, Some(limit)) => Precision::Inexact(rows.min(limit)),
            (true, None) => Precision::Exact(rows),
        };
        Statistics { num_rows, ..Statistics::new_unknown(&self.schema) }
    }

    fn open(&self, partition: usize, task: Arc<TaskContext>, meter: ScanMeter) -> Result<SendableRecordBatchStream> {
        let chunks = self.chunks.iter().skip(partition).step_by(self.partitions()).cloned();
        let rows = Rows {
            projection: self.projection.clone(),
            lookups: if partition == 0 { self.lookups.clone() } else { Vec::new() },
            left: self.limit.unwrap_or(usize::MAX),
            batch_rows: task.session_config().batch_size().max(1),
            chunks: chunks.collect(),
            place: 0,
            found: Vec::new(),
            meter,
        };
        let stream = futures::stream::unfold(Some(rows), |rows| async move {
            let mut rows = rows?;
            let next = rows.next().transpose()?;
            // The first error is the last item.
            let rows = next.is_ok().then_some(rows);
            Some((next, rows))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

/// One partition on its way out: what was looked up, then its chunks, a batch at a time.
struct Rows {
    projection: Vec<usize>,
    lookups: Vec<(Arc<Table>, Lookup)>,
    /// Rows that may still be given.
    left: usize,
    batch_rows: usize,
    chunks: VecDeque<Arc<Chunk>>,
    /// In the first chunk.
    place: usize,
    found: Vec<RecordBatch>,
    meter: ScanMeter,
}

impl Rows {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            let Some(rows) = self.rows()? else { break };
            if rows.num_rows() == 0 {
                continue;
            }
            let taken = rows.slice(0, self.left.min(rows.num_rows()));
            self.left -= taken.num_rows();
            self.meter.received(taken.get_array_memory_size());
            return Ok(Some(taken));
        }
        Ok(None)
    }

    fn rows(&mut self) -> Result<Option<RecordBatch>> {
        while self.found.is_empty()
            && let Some((table, lookup)) = self.lookups.pop()
        {
            self.look_up(&table, lookup)?;
        }
        if let Some(found) = self.found.pop() {
            return Ok(Some(found.project(&self.projection)?));
        }
        let Some(chunk) = self.chunks.front() else { return Ok(None) };
        let count = self.batch_rows.min(chunk.len() - self.place);
        let rows = chunk.slice(self.place, count, &self.projection).map_err(|error| defect(&error))?;
        self.place += count;
        if self.place == chunk.len() {
            self.place = 0;
            self.chunks.pop_front();
        }
        Ok(Some(rows))
    }

    fn look_up(&mut self, table: &Table, lookup: Lookup) -> Result<()> {
        match lookup {
            Lookup::Key { path, key } => {
                let key = key.iter().map(|value| value.to_array()).collect::<Result<Vec<ArrayRef>>>()?;
                match table.look_up(&table.paths[path], &key)? {
                    Some(found) => self.found = found,
                    // Only reading all of them can tell.
                    None => self.chunks.extend(table.chunks.iter().cloned()),
                }
            }
            Lookup::Index { numbers, .. } => {
                self.found = table.rows_of(&numbers)?;
                self.found.reverse();
            }
        }
        Ok(())
    }
}
