//! The tables as a source.

use crate::arbiter::Arbiter;
use crate::checkpoint::{self, Restored};
use crate::provider::RowsTable;
use crate::reads::{Reads, Snapshot};
use crate::store::{Changes, Proposal, State, Store};
use crate::table::Table;
use crate::view::View;
use crate::write::RowsWriter;
use async_trait::async_trait;
use polder_catalog::{
    Capabilities, CatalogName, Check, Column, ColumnId, Dataset, DatasetEntry, DatasetId, DatasetKind, Definition,
    Error, Position, ReadContext, Result, Source, SqlState, Support, Writer,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Tables that live here. Empty until their entries are applied.
#[derive(Debug)]
pub struct RowsSource {
    name: CatalogName,
    store: Arc<Store>,
}

impl RowsSource {
    /// The tables of this catalog.
    pub fn new(name: CatalogName) -> Self {
        let store = Arc::new(Store::new(name.clone()));
        Self { name, store }
    }

    /// Shows what is durable from now on: how many entries of the log are. Until then, everything that is applied.
    pub fn show_durable(&self, durable: impl Fn() -> u64 + Send + Sync + 'static) {
        self.store.show_durable(durable);
    }

    /// Lets a statement that writes read the newest tables, also what is decided and not durable yet: its own entry comes after
    /// it. Called before anything is read under this context. What it reads is noted.
    pub fn read_newest(&self, context: &ReadContext) -> Reads {
        let reads = Reads::default();
        context.shared(&self.name, || Snapshot::new(self.store.newest(), Some(reads.clone())));
        reads
    }

    /// Writes what is shown to a folder, with what else the caller wants to have there. Everything before `position` was shown
    /// when this is called. Blocks the thread.
    ///
    /// # Errors
    /// 58030 if the disk refuses: the checkpoint before is still there.
    pub fn checkpoint(&self, folder: &Path, position: &Position, extra: &[u8]) -> Result<()> {
        checkpoint::write(folder, &self.store.shown(), position, extra)
    }

    /// Reads what [`checkpoint`](Self::checkpoint) wrote, before anything else is applied: the position, and what the caller wanted
    /// to have there. None if there is nothing. Blocks the thread.
    ///
    /// # Errors
    /// XX001 if it is damaged: the tables are empty then, and the log has it all.
    pub fn restore(&self, folder: &Path) -> Result<Option<(Position, Vec<u8>)>> {
        let restored = checkpoint::read(folder, &self.name, || self.store.next_version())?;
        Ok(restored.map(|Restored { state, position, extra }| {
            self.store.restore(state);
            (position, extra)
        }))
    }

    /// The ids of all tables.
    pub fn ids(&self) -> Vec<DatasetId> {
        self.store.newest().tables.keys().cloned().collect()
    }

    /// Forgets all tables, before anything is applied anew.
    pub fn clear(&self) {
        self.store.restore(State::default());
    }

    /// A table by its id, whatever it is called.
    pub fn dataset_by_id(&self, context: &ReadContext, id: &DatasetId) -> Result<Option<Dataset>> {
        let snapshot = self.snapshot(context)?;
        let table = snapshot.state.tables.get(id).cloned();
        Ok(table.map(|table| self.described(context, &snapshot, &table)))
    }

    fn described(&self, context: &ReadContext, snapshot: &Arc<Snapshot>, table: &Arc<Table>) -> Dataset {
        let provider = RowsTable::new(self.name.clone(), Arc::clone(table), Arc::clone(snapshot), context.clone());
        Dataset { entry: entry(table), columns: columns(table), provider: Arc::new(provider) }
    }

    /// The position of the newest entry that is shown; empty if there is none.
    pub fn position(&self) -> Position {
        self.store.shown().last_applied.clone().unwrap_or_default()
    }

    /// The position that the reads of a query reflect, if it has read any table.
    pub fn position_of(&self, context: &ReadContext) -> Option<Position> {
        let mut is_read = true;
        let snapshot = context.shared(&self.name, || {
            is_read = false;
            Snapshot::new(Arc::default(), None)
        });
        snapshot.state.last_applied.clone().filter(|_| is_read)
    }

    /// Begins a transaction, on the tables as they are shown now.
    pub fn begin(&self) -> View {
        View::new(self.store.shown())
    }

    /// Lets a statement read what a transaction sees. Called before anything is read under this context.
    pub fn read(&self, context: &ReadContext, view: &View) {
        context.shared(&self.name, || Snapshot::new(view.state(), Some(view.reads().clone())));
    }

    /// Changes the tables for a transaction alone.
    ///
    /// # Errors
    /// 23505 if a key is there already as the transaction sees it: then nothing has happened.
    pub fn change(&self, view: &View, changes: &Changes) -> Result<()> {
        view.change(&self.store, changes)
    }

    /// Compares rows that are inserted with those of a table, as this context sees it: by the key or unique constraint that has
    /// these columns, or by all of them.
    ///
    /// # Errors
    /// 42P01 if the table is not there, 42P10 if there is no such key.
    pub fn arbiter(&self, context: &ReadContext, table: &DatasetId, columns: Option<&[ColumnId]>) -> Result<Arbiter> {
        let snapshot = self.snapshot(context)?;
        let found = snapshot.state.tables.get(table).cloned();
        let found = found.ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("there is no dataset {table}")))?;
        Arbiter::new(snapshot, found, columns)
    }

    /// Numbers for the identity column of so many rows, which nobody else gets; none if there is no such column. They ascend, with
    /// gaps where they were not used.
    pub fn numbers(&self, table: &DatasetId, count: usize) -> Option<std::ops::Range<i64>> {
        self.store.newest().tables.get(table)?.numbers(i64::try_from(count).ok()?)
    }

    /// Whether what a statement has read of the newest tables still holds and is durable, so that it can be answered without an
    /// entry of its own.
    pub fn is_settled(&self, reads: &Reads) -> bool {
        self.store.is_settled(reads)
    }

    /// Makes of changes what [`decide`](Self::decide) takes, in the caller's thread.
    ///
    /// # Errors
    /// 42P01 for a table that is not there, 42804 for other columns than its own.
    pub fn propose(&self, definitions: Vec<Definition>, changes: &Changes, reads: Option<Reads>) -> Result<Proposal> {
        self.store.propose(&self.store.newest(), definitions, changes, reads)
    }

    /// Decides about an entry when the log takes it, knowing how many entries it has, and which position the entry will make.
    /// What was decided before and did not come into the log is taken back first.
    ///
    /// # Errors
    /// 40001 if what it has read has changed, 23505 if a key is there already: then nothing has happened.
    pub fn decide(&self, after: u64, position: Position, proposal: &Proposal) -> Result<()> {
        self.store.decide(after, position, proposal)
    }

    fn snapshot(&self, context: &ReadContext) -> Result<Arc<Snapshot>> {
        context.check()?;
        Ok(context.shared(&self.name, || Snapshot::new(self.store.shown(), None)))
    }
}

#[async_trait]
impl Source for RowsSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            projection: Support::Exact,
            filter: Support::Inexact,
            limit: Support::Exact,
            snapshot: true,
            transactions: true,
            ..Capabilities::NONE
        }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        let snapshot = self.snapshot(context)?;
        let schemas = snapshot.state.tables.values().map(|table| table.definition.schema.clone());
        let schemas: BTreeSet<String> = schemas.chain([self.default_schema().to_string()]).collect();
        Ok(schemas.into_iter().collect())
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        let snapshot = self.snapshot(context)?;
        let tables = snapshot.state.tables.values().filter(|table| table.definition.schema == schema);
        let mut entries: Vec<DatasetEntry> = tables.map(|table| entry(table)).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        let snapshot = self.snapshot(context)?;
        let Some(table) = snapshot.state.named(schema, table) else { return Ok(None) };
        Ok(Some(self.described(context, &snapshot, table)))
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        match self.snapshot(context) {
            Ok(snapshot) => vec![Check::ok("reachable", format!("{} tables", snapshot.state.tables.len()))],
            Err(error) => vec![Check::failed("reachable", error.to_string(), None)],
        }
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        Some(Arc::new(RowsWriter::new(Arc::clone(&self.store))))
    }
}

fn entry(table: &Table) -> DatasetEntry {
    let definition = &table.definition;
    DatasetEntry { id: definition.id.clone(), name: definition.name.clone(), kind: DatasetKind::Table }
}

fn columns(table: &Table) -> Vec<Column> {
    let column = |column: &polder_catalog::ColumnDefinition| Column {
        id: column.id.clone(),
        field: Arc::clone(&column.field),
        native_type: column.field.data_type().to_string(),
        note: None,
    };
    table.definition.columns.iter().map(column).collect()
}
