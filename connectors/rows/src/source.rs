//! The tables as a source.

use crate::arbiter::Arbiter;
use crate::checkpoint::{self, Restored};
use crate::home::{self, Home};
use crate::provider::RowsTable;
use crate::reads::{Reads, Snapshot};
use crate::store::{Changes, EffectNumber, Epoch, Proposal, State, Store};
use crate::table::Table;
use crate::view::View;
use crate::write::RowsWriter;
use async_trait::async_trait;
use polder_catalog::{
    Capabilities, CatalogName, Check, Column, ColumnId, Dataset, DatasetDefinition, DatasetEntry, DatasetId,
    DatasetKind, Definition, Error, Position, ReadContext, Result, Source, SqlState, Support, Writer,
};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

/// Tables that live here. Empty until their entries are applied.
#[derive(Debug)]
pub struct RowsSource {
    name: CatalogName,
    main: Arc<Store>,
    shards: RwLock<Vec<Arc<Store>>>,
    versions: Arc<AtomicU64>,
}

impl RowsSource {
    /// The tables of this catalog.
    pub fn new(name: CatalogName) -> Self {
        let versions = Arc::new(AtomicU64::new(0));
        let main = Arc::new(Store::new(name.clone(), Arc::clone(&versions)));
        Self { name, main, shards: RwLock::default(), versions }
    }

    /// Makes room for the rows of so many shards. There are never fewer.
    pub fn extend(&self, count: u32) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        while shards.len() < count as usize {
            shards.push(Arc::new(Store::new(self.name.clone(), Arc::clone(&self.versions))));
        }
    }

    fn stores(&self) -> Vec<Arc<Store>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(test)]
    pub(crate) fn shown(&self) -> Arc<State> {
        self.main.shown()
    }

    fn store(&self, home: Home) -> Result<Arc<Store>> {
        let Home::Shard(at) = home else { return Ok(Arc::clone(&self.main)) };
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(at as usize).map(Arc::clone).ok_or_else(|| Error::report(format!("there is no shard {at}")))
    }

    /// Shows what is durable from now on: how many entries of the log are. Until then, everything that is applied.
    ///
    /// # Errors
    /// XX000 if there is no such shard.
    pub fn show_durable(&self, home: Home, durable: impl Fn() -> u64 + Send + Sync + 'static) -> Result<()> {
        self.store(home)?.show_durable(durable);
        Ok(())
    }

    /// Lets a statement that writes read the newest tables, also what is decided and not durable yet: its own entry comes after
    /// it. Called before anything is read under this context. What it reads is noted.
    pub fn read_newest(&self, context: &ReadContext) -> Reads {
        let reads = Reads::default();
        context.shared(&self.name, || Snapshot::new(self.newest(), Some(reads.clone())));
        reads
    }

    fn newest(&self) -> Arc<State> {
        let (main, stores) = (self.main.newest(), self.stores());
        if stores.is_empty() {
            return main;
        }
        let shards = stores.iter().map(|store| store.newest()).collect();
        Arc::new(State { shards: Arc::new(shards), ..State::clone(&main) })
    }

    /// The shards as far as they are durable, to become an entry of `main`. `end` tells how many entries a shard has for good,
    /// and the offset at which it ends.
    pub fn epoch(&self, end: impl Fn(u32) -> (u64, u64)) -> Epoch {
        let mut epoch = Epoch::default();
        for (at, store) in (0..).zip(self.stores()) {
            let mut before = end(at);
            let state = loop {
                let state = store.shown();
                // What is shown grows with the shard: it is what the shard had in between, if that has not moved.
                let after = end(at);
                if after == before {
                    break state;
                }
                before = after;
            };
            epoch.shards.push(state);
            epoch.cut.push(before.1);
        }
        epoch
    }

    /// Shows the shards as they are, without an entry: they were applied up to the newest epoch.
    ///
    /// # Errors
    /// Those of a definition that does not fit.
    pub fn adopt(&self, cut: Vec<u64>) -> Result<()> {
        let shards = self.stores().iter().map(|store| store.shown()).collect();
        self.main.adopt(Epoch { shards, cut })
    }

    /// Notes where each shard ended at an epoch that was read, before [`adopt`](Self::adopt).
    pub fn note_cut(&self, cut: Vec<u64>) {
        let state = State::clone(&self.main.newest());
        self.main.restore(State { cut: Arc::new(cut), ..state });
    }

    /// The newest effect of a home that has come to any.
    pub fn applied(&self, from: Home) -> EffectNumber {
        let stores = std::iter::once(Arc::clone(&self.main)).chain(self.stores());
        stores.filter_map(|store| store.newest().applied.get(&from).copied()).max().unwrap_or_default()
    }

    /// Notes an effect that was read.
    ///
    /// # Errors
    /// XX000 if there is no such shard.
    pub fn note_applied(&self, home: Home, from: Home, number: EffectNumber) -> Result<()> {
        let store = self.store(home)?;
        let mut state = State::clone(&store.newest());
        let newest = state.applied.entry(from).or_default();
        *newest = (*newest).max(number);
        store.restore(state);
        Ok(())
    }

    /// Where each shard ended at the newest epoch that is shown.
    pub fn cut(&self) -> Arc<Vec<u64>> {
        Arc::clone(&self.main.shown().cut)
    }

    /// Writes what is shown of a home to a folder, with what else the caller wants to have there. Everything before `position` was
    /// shown when this is called. Blocks the thread.
    ///
    /// # Errors
    /// 58030 if the disk refuses: the checkpoint before is still there.
    pub fn checkpoint(&self, home: Home, folder: &Path, position: &Position, extra: &[u8]) -> Result<()> {
        checkpoint::write(folder, &self.store(home)?.shown(), position, extra)
    }

    /// Reads what [`checkpoint`](Self::checkpoint) wrote, before anything else is applied: the position, and what the caller wanted
    /// to have there. None if there is nothing. Blocks the thread.
    ///
    /// # Errors
    /// XX001 if it is damaged: the tables are empty then, and the log has it all.
    pub fn restore(&self, home: Home, folder: &Path) -> Result<Option<(Position, Vec<u8>)>> {
        let store = self.store(home)?;
        let restored = checkpoint::read(folder, &self.name, || store.next_version())?;
        Ok(restored.map(|Restored { state, position, extra }| {
            store.restore(state);
            (position, extra)
        }))
    }

    /// The ids of all tables of a home.
    pub fn ids(&self, home: Home) -> Vec<DatasetId> {
        self.store(home).map(|store| store.newest().tables.keys().cloned().collect()).unwrap_or_default()
    }

    /// A table of a home as it is defined there.
    pub fn definition(&self, home: Home, id: &DatasetId) -> Option<Arc<DatasetDefinition>> {
        let store = self.store(home).ok()?;
        store.newest().tables.get(id).map(|table| Arc::clone(&table.definition))
    }

    /// How many bytes of memory the rows of a table take, the columns of deleted ones included that are still there, without its
    /// indexes; none if there is no such table.
    pub fn memory_bytes(&self, id: &DatasetId) -> Option<usize> {
        let newest = self.newest();
        let parts = newest.parts_of(newest.tables.get(id)?);
        let chunks = parts.iter().flat_map(|(_, part)| &part.chunks);
        Some(chunks.map(|chunk| chunk.rows().get_array_memory_size()).sum())
    }

    /// Forgets all tables of a home, before anything is applied anew.
    pub fn clear(&self, home: Home) {
        if let Ok(store) = self.store(home) {
            store.restore(State::default());
        }
    }

    /// What applies the entries of a home.
    ///
    /// # Errors
    /// XX000 if there is no such shard.
    pub fn writer_of(&self, home: Home) -> Result<Arc<dyn Writer>> {
        Ok(Arc::new(RowsWriter::new(self.store(home)?)))
    }

    /// Where all these changes are at home; none if there are none.
    ///
    /// # Errors
    /// 0A000 if that is more than one place, 42P01 for a table that is not there.
    pub fn home_of(&self, changes: &Changes) -> Result<Option<Home>> {
        let newest = self.main.newest();
        let mut homes = Vec::new();
        for (dataset, batches) in changes {
            let table = newest.tables.get(dataset);
            let table =
                table.ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("there is no dataset {dataset}")))?;
            for batch in batches {
                homes.extend(home::home_of_rows(table, batch)?);
            }
        }
        home::one(homes)
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
        self.main.shown().last_applied.clone().unwrap_or_default()
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

    /// Begins a transaction on the newest tables, also what is decided and not durable yet: its entry comes after it.
    pub fn begin_newest(&self) -> View {
        View::new(self.newest())
    }

    /// Begins a transaction, on the tables as they are shown now.
    pub fn begin(&self) -> View {
        View::new(self.main.shown())
    }

    /// Lets a statement read what a transaction sees. Called before anything is read under this context.
    pub fn read(&self, context: &ReadContext, view: &View) {
        context.shared(&self.name, || Snapshot::new(view.state(), Some(view.reads().clone())));
    }

    /// Changes the tables for a transaction alone.
    ///
    /// # Errors
    /// 23505 if a key is there already as the transaction sees it, 0A000 if it changes rows of two homes: then nothing has happened.
    pub fn change(&self, view: &View, changes: &Changes) -> Result<()> {
        match self.home_of(changes)? {
            Some(home) => view.change(&*self.store(home)?, home, changes),
            None => Ok(()),
        }
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
        self.main.newest().tables.get(table)?.numbers(i64::try_from(count).ok()?)
    }

    /// Whether what a statement has read of the newest tables still holds and is durable, so that it can be answered without an
    /// entry of its own.
    pub fn is_settled(&self, reads: &Reads) -> bool {
        reads.homes().into_iter().all(|home| self.store(home).is_ok_and(|store| store.is_settled(home, reads)))
    }

    /// Makes of changes what [`decide`](Self::decide) takes, in the caller's thread.
    ///
    /// # Errors
    /// 42P01 for a table that is not there, 42804 for other columns than its own.
    pub fn propose(
        &self,
        home: Home,
        definitions: Vec<Definition>,
        changes: &Changes,
        reads: Option<Reads>,
    ) -> Result<Proposal> {
        let store = self.store(home)?;
        store.propose(home, &store.newest(), definitions, changes, reads)
    }

    /// Decides about an entry when the log takes it, knowing how many entries it has, and which position the entry will make.
    /// What was decided before and did not come into the log is taken back first.
    ///
    /// # Errors
    /// 40001 if what it has read has changed, 23505 if a key is there already: then nothing has happened.
    pub fn decide(&self, after: u64, position: Position, proposal: &Proposal) -> Result<()> {
        self.store(proposal.home())?.decide(after, position, proposal)
    }

    /// Takes back what was decided and did not come into the log, which has so many entries now: before an entry is appended that
    /// [`decide`](Self::decide) does not see.
    ///
    /// # Errors
    /// XX000 if there is no such shard.
    pub fn take_back(&self, home: Home, entries: u64) -> Result<()> {
        self.store(home)?.take_back_alone(entries)
    }

    fn snapshot(&self, context: &ReadContext) -> Result<Arc<Snapshot>> {
        context.check()?;
        Ok(context.shared(&self.name, || Snapshot::new(self.main.shown(), None)))
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
        Some(Arc::new(RowsWriter::new(Arc::clone(&self.main))))
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
