//! The primary key of a table that is written: no two rows have the same one.
//!
//! What a statement inserts is compared with itself and, batch by batch, with what the table shows. That is enough because
//! writers take turns, and a statement answers only once the table shows its entry.

use crate::definitions::TableDefinition;
use crate::execute::resolve::Resolver;
use crate::plan::{Planner, Tables};
use crate::session::Session;
use crate::sql::{self, Statement};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use arrow::util::display::array_value_to_string;
use datafusion::catalog::MemTable;
use datafusion::common::TableReference;
use datafusion::physical_plan::collect;
use polder_catalog::{Error, ReadContext, Result, SqlState};
use std::collections::HashSet;
use std::sync::Arc;

/// What the rows that are written are called in the query that looks for their keys.
const GIVEN: &str = "given rows";

/// The keys of one statement. Nothing is checked for a table without a primary key.
pub(super) struct Keys<'a> {
    table: &'a TableDefinition,
    /// Places of the key in a row.
    columns: Vec<usize>,
    converter: Option<RowConverter>,
    given: HashSet<OwnedRow>,
    freed: HashSet<OwnedRow>,
    /// Rows with another key than before, until all keys that they free are known.
    moved: Vec<RecordBatch>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(table: &'a TableDefinition) -> Self {
        let place = |id: &u32| table.columns.iter().position(|column| column.id == *id);
        // The log decides about Polder's own tables.
        let key = if table.is_own() { &[][..] } else { &table.key };
        let columns: Vec<usize> = key.iter().filter_map(place).collect();
        let fields = columns.iter().map(|at| SortField::new(table.columns[*at].field.data_type().clone()));
        let converter = if columns.is_empty() { None } else { RowConverter::new(fields.collect()).ok() };
        Self { table, columns, converter, given: HashSet::new(), freed: HashSet::new(), moved: Vec::new() }
    }

    /// Notes rows that are inserted.
    ///
    /// # Errors
    /// 23505 naming the key, if the statement or the table has it already.
    pub(super) async fn add(&mut self, session: &Session, context: &ReadContext, rows: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let keys = self.keys(rows)?;
        self.distinct(rows, &keys)?;
        self.absent(session, context, rows).await
    }

    /// Notes the first rows of a table.
    ///
    /// # Errors
    /// 23505 if two have one key.
    pub(super) fn add_first(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let keys = self.keys(rows)?;
        self.distinct(rows, &keys)
    }

    /// Notes rows whose key changes; [`settle`](Self::settle) checks them.
    pub(super) fn replace(&mut self, old: &RecordBatch, new: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let old = self.keys(old)?;
        self.freed.extend(old.iter().map(|key| key.owned()));
        let keys = self.keys(new)?;
        self.distinct(new, &keys)?;
        self.moved.push(new.clone());
        Ok(())
    }

    /// Checks the keys that rows moved to: each must be free, or freed by the statement itself.
    pub(super) async fn settle(&mut self, session: &Session, context: &ReadContext) -> Result<()> {
        for rows in std::mem::take(&mut self.moved) {
            let keys = self.keys(&rows)?;
            let is_new: BooleanArray = keys.iter().map(|key| Some(!self.freed.contains(&key.owned()))).collect();
            let rows = filter_record_batch(&rows, &is_new)
                .map_err(|error| Error::report("keys do not fit their rows").with_source(error))?;
            if rows.num_rows() > 0 {
                self.absent(session, context, &rows).await?;
            }
        }
        Ok(())
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        let converter = self
            .converter
            .as_ref()
            .ok_or_else(|| Error::fix(SqlState::NOT_SUPPORTED, "a primary key of this type is not supported"))?;
        converter
            .convert_columns(&columns)
            .map_err(|error| Error::report("a key cannot be compared").with_source(error))
    }

    fn distinct(&mut self, rows: &RecordBatch, keys: &Rows) -> Result<()> {
        for (row, key) in keys.iter().enumerate() {
            if !self.given.insert(key.owned()) {
                return Err(self.duplicate(rows, row));
            }
        }
        Ok(())
    }

    /// Looks for the keys of these rows in the table.
    async fn absent(&self, session: &Session, context: &ReadContext, rows: &RecordBatch) -> Result<()> {
        let names = self.table.key_names();
        let keys =
            rows.project(&self.columns).map_err(|error| Error::report("a row without its key").with_source(error))?;
        let given = MemTable::try_new(keys.schema(), vec![vec![keys]]).map_err(Error::from_datafusion)?;
        let selected = names.iter().map(|name| format!("k.{}", sql::identifier(name)));
        let equal = names.iter().map(|name| format!("t.{0} = k.{0}", sql::identifier(name)));
        let table = self.table.full_name();
        let table = [table.catalog.as_str(), &table.schema, &table.table].map(sql::identifier).join(".");
        let text = format!(
            "SELECT {} FROM {} AS k JOIN {table} AS t ON {} LIMIT 1",
            selected.collect::<Vec<_>>().join(", "),
            sql::identifier(GIVEN),
            equal.collect::<Vec<_>>().join(" AND "),
        );
        let Statement::Query(query) = sql::parse(&text)? else {
            return Err(Error::report("a query was read as another statement"));
        };
        let engine = &session.engine.0;
        let catalogs = engine.catalogs();
        let provider = Resolver::new(engine, &catalogs, context).table(&self.table.full_name()).await?;
        let reference =
            TableReference::full(self.table.catalog.as_str(), self.table.schema.as_str(), self.table.name.as_str());
        let tables = vec![(reference, provider), (TableReference::bare(GIVEN), Arc::new(given) as _)];
        let tables = Tables { tables, calls: Default::default() };
        let planned = Planner::new(engine, context).physical(&query, &tables).await?;
        let found = collect(Arc::clone(&planned.physical), planned.task()).await.map_err(Error::from_datafusion)?;
        match found.iter().find(|batch| batch.num_rows() > 0) {
            None => Ok(()),
            Some(batch) => Err(self.exists(batch, 0, &(0..self.columns.len()).collect::<Vec<_>>())),
        }
    }

    fn duplicate(&self, rows: &RecordBatch, row: usize) -> Error {
        self.exists(rows, row, &self.columns).with_hint("the statement itself has the key twice")
    }

    fn exists(&self, rows: &RecordBatch, row: usize, columns: &[usize]) -> Error {
        let text = |at: &usize| array_value_to_string(rows.column(*at), row).unwrap_or_default();
        let values: Vec<_> = columns.iter().map(text).collect();
        let message = format!("table {} has a row with this key already", self.table.full_name());
        let detail = format!("key ({}) = ({})", self.table.key_names().join(", "), values.join(", "));
        Error::fix(SqlState::UNIQUE, message).with_detail(detail)
    }
}
