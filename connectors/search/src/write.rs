//! The apply verb: entries of the log, whole and once.
//!
//! An entry is gathered, checked against every table that it touches, and only then written: each table's index is
//! committed with the position of the entry in it, then `catalog.json` is replaced, then readers see all of it at once.
//!
//! Between the commits of two tables there is no transaction. A process that ends there leaves one table ahead of
//! another until it opens the catalog again and is given the entry again; the table that has it already skips it.
//!
//! An entry is held in memory while it is applied.

mod net;

use crate::document::Documents;
use crate::error::at;
use crate::layout::Layout;
use crate::options::{COLUMN_OPTIONS, SearchOptions};
use crate::store::{State, Store, Table};
use crate::{definition, read};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt;
use net::Net;
use polder_catalog::{
    Applied, DatasetDefinition, DatasetId, Definition, Entry, Error, Kind, OptionSpec, Position, Result, SqlState,
    Writer,
};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use tantivy::indexer::LogMergePolicy;
use tantivy::{IndexWriter, TantivyDocument};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Indexes that are kept open for writing; each has a thread and, while rows arrive, its memory.
const WRITERS_MAX: usize = 8;

/// Writes into one catalog.
#[derive(Debug)]
pub(crate) struct SearchWriter {
    store: Arc<Store>,
    writers: Arc<Mutex<Writers>>,
}

impl SearchWriter {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store, writers: Arc::default() }
    }

    /// Runs what may block, one at a time. Once started it runs to its end, whether or not anybody waits for it: so
    /// what was dropped is whole or absent, and the next call sees which.
    async fn exclusively<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>, &mut Writers) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut writers: OwnedMutexGuard<Writers> = Arc::clone(&self.writers).lock_owned().await;
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store, &mut writers)).await;
        let done = done.map_err(|error| Error::report("writing to the index broke off").with_source(error))?;
        done.map_err(|error| error.at(format!("catalog \"{}\"", self.store.catalog)))
    }

    /// Closes the indexes.
    pub(crate) async fn close(&self) {
        let closed = self.exclusively(|_, writers| {
            writers.close();
            Ok(())
        });
        if let Err(error) = closed.await {
            tracing::warn!(catalog = %self.store.catalog, %error, "an index did not close");
        }
    }
}

#[async_trait]
impl Writer for SearchWriter {
    async fn apply(&self, entry: Entry) -> Result<Applied> {
        let Entry { position, definitions, parts, .. } = entry;
        if self.last_applied().await?.is_some_and(|last| last.includes(&position)) {
            return Ok(Applied::Done);
        }
        let changes = gather(parts).await?;
        let applied = self.exclusively(move |store, writers| {
            let changes = concatenate(changes)?;
            let written = write(store, writers, &position, &definitions, &changes);
            if written.is_err() {
                writers.roll_back();
            }
            if written.as_ref().is_err_and(|error| error.kind() != Kind::Fix) {
                store.forget();
            }
            written
        });
        match applied.await {
            Ok(()) => Ok(Applied::Done),
            Err(error) if error.kind() == Kind::Fix => Ok(Applied::Refused { reason: told(&error) }),
            Err(error) if error.kind() == Kind::Retry => {
                Ok(Applied::Retry { after: std::time::Duration::from_secs(1), reason: told(&error) })
            }
            Err(error) => Err(error),
        }
    }

    async fn last_applied(&self) -> Result<Option<Position>> {
        self.exclusively(|store, writers| {
            let state = store.open()?;
            if store.is_whole(&state) {
                return Ok(state.last_applied.clone());
            }
            writers.close();
            store.forget();
            Ok(store.open()?.last_applied.clone())
        })
        .await
    }

    fn column_options(&self) -> &'static [OptionSpec] {
        COLUMN_OPTIONS
    }

    fn check_definition(&self, definition: &DatasetDefinition) -> Result<()> {
        definition::check(definition)
    }
}

fn told(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    }
}

type Changes<T> = BTreeMap<DatasetId, T>;

async fn gather(mut parts: polder_catalog::PartStream) -> Result<Changes<Vec<RecordBatch>>> {
    let mut changes: Changes<Vec<RecordBatch>> = BTreeMap::new();
    while let Some(part) = parts.try_next().await? {
        if part.weights().is_none() {
            return Err(Error::report(format!("a part of dataset {} has no weights", part.dataset)));
        }
        changes.entry(part.dataset).or_default().push(part.batch);
    }
    Ok(changes)
}

/// The parts of a dataset as one: weights of equal rows add up across parts.
fn concatenate(changes: Changes<Vec<RecordBatch>>) -> Result<Changes<RecordBatch>> {
    let concatenated = changes.into_iter().map(|(dataset, batches)| {
        let all = concat_batches(&batches[0].schema(), &batches).map_err(|error| {
            let message = format!("the parts of dataset {dataset} do not fit together");
            Error::fix(SqlState::TYPE, message).with_detail(error.to_string())
        })?;
        Ok((dataset, all))
    });
    concatenated.collect()
}

/// Takes an entry whole, or not at all.
fn write(
    store: &Arc<Store>,
    writers: &mut Writers,
    position: &Position,
    definitions: &[Definition],
    changes: &Changes<RecordBatch>,
) -> Result<()> {
    let before = store.open()?;
    let mut draft = State::clone(&before);
    for definition in definitions {
        define(store, writers, &mut draft, definition, position)?;
    }
    let mut nets = Vec::with_capacity(changes.len());
    for (dataset, changes) in changes {
        let table = draft.tables.get(dataset);
        let table = table.ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("there is no dataset {dataset}")))?;
        if !table.holds(position) {
            nets.push((Arc::clone(table), Net::of(table, changes)?));
        }
    }
    let token = position.to_string();
    for (table, net) in &nets {
        writers.stage(store, table, net)?;
    }
    for (table, _) in &nets {
        writers.commit(store, table, &token)?;
        let reloaded = table.reloaded(store.root())?;
        draft.tables.insert(table.layout.definition.id.clone(), Arc::new(reloaded));
    }
    draft.last_applied = Some(position.clone());
    store.write(&draft)?;
    let draft = Arc::new(draft);
    store.publish(Arc::clone(&draft));
    writers.remove_dropped(store, &before, &draft);
    Ok(())
}

/// Changes what exists, in the draft. A table that has the entry already is left alone.
fn define(
    store: &Arc<Store>,
    writers: &mut Writers,
    draft: &mut State,
    definition: &Definition,
    position: &Position,
) -> Result<()> {
    let existing = draft.tables.get(definition.dataset()).map(Arc::clone);
    // One that has the very entry got as far as its rows: the entry was cut off before its definition was kept.
    let is_ahead = existing.as_ref().is_some_and(|table| table.holds(position));
    let is_cut_off = existing.as_ref().is_some_and(|table| table.applied.as_ref() == Some(position));
    let table = match definition {
        Definition::Drop(id) => {
            draft.tables.remove(id);
            return Ok(());
        }
        Definition::Alter(wanted) if is_cut_off => {
            let existing = existing.ok_or_else(|| Error::report("a table has an entry and is not there"))?;
            existing.with_layout(Layout::new(existing.layout.physical.clone(), wanted.clone())?)
        }
        _ if is_ahead => return Ok(()),
        Definition::Create(wanted) => {
            check(draft, wanted, position)?;
            draft.next_folder += 1;
            let layout = Layout::new(wanted.clone(), wanted.clone())?;
            Table::create(store.root(), format!("t{}", draft.next_folder), layout)?
        }
        Definition::Alter(wanted) => {
            check(draft, wanted, position)?;
            let missing = || Error::fix(SqlState::NO_TABLE, format!("there is no dataset {}", wanted.id));
            let existing = existing.ok_or_else(missing)?;
            match keeps_index(&existing.layout, wanted) {
                true => existing.with_layout(Layout::new(existing.layout.physical.clone(), wanted.clone())?),
                false => {
                    draft.next_folder += 1;
                    rebuild(store, writers, &existing, wanted, format!("t{}", draft.next_folder))?
                }
            }
        }
    };
    draft.tables.insert(definition.dataset().clone(), Arc::new(table));
    Ok(())
}

/// A table that is further ahead took the name later, when it was free again.
fn check(draft: &State, wanted: &DatasetDefinition, position: &Position) -> Result<()> {
    definition::check(wanted)?;
    let has_name = |table: &&Arc<Table>| {
        let definition = &table.layout.definition;
        (&definition.schema, &definition.name) == (&wanted.schema, &wanted.name) && definition.id != wanted.id
    };
    match draft.tables.values().filter(has_name).any(|table| !table.holds(position)) {
        true => {
            let message = format!("table {}.{} exists already", wanted.schema, wanted.name);
            Err(Error::fix(SqlState::DUPLICATE_TABLE, message))
        }
        false => Ok(()),
    }
}

/// Whether every wanted column is in the index as it is wanted, and rows keep their names: then only names change.
fn keeps_index(layout: &Layout, wanted: &DatasetDefinition) -> bool {
    let is_there = |column: &polder_catalog::ColumnDefinition| {
        let there = layout.definition.columns.iter().find(|there| there.id == column.id);
        there
            .is_some_and(|there| there.field.data_type() == column.field.data_type() && there.options == column.options)
    };
    // Without a key a row is named by all of its columns.
    let names_stay = !wanted.key.is_empty() || wanted.columns.len() == layout.definition.columns.len();
    wanted.key == layout.definition.key && names_stay && wanted.columns.iter().all(is_there)
}

/// The same rows in a new index.
fn rebuild(
    store: &Arc<Store>,
    writers: &mut Writers,
    old: &Table,
    wanted: &DatasetDefinition,
    folder: String,
) -> Result<Table> {
    let new = Table::create(store.root(), folder, Layout::new(wanted.clone(), wanted.clone())?)?;
    let writer = writers.of(store, &new)?;
    read::every_row(old, &mut |rows| {
        let rows = net::moved(&rows, &old.layout, &new.layout)?;
        let documents = Documents::new(&new.layout, &rows).map_err(net::unfit)?;
        for row in 0..rows.num_rows() {
            let document = documents.document(row, &documents.name(row)).map_err(net::unfit)?;
            writer.add_document(document).map_err(crate::error::reading)?;
        }
        Ok(())
    })?;
    // No position yet: the folder counts for nothing before the entry is whole.
    writer.commit().map_err(crate::error::reading)?;
    new.reloaded(store.root())
}

/// Indexes open for writing, the one used last at the end.
#[derive(Default)]
pub(crate) struct Writers(Vec<(String, IndexWriter<TantivyDocument>)>);

impl std::fmt::Debug for Writers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(folder, _)| folder)).finish()
    }
}

impl Writers {
    fn of(&mut self, store: &Store, table: &Table) -> Result<&mut IndexWriter<TantivyDocument>> {
        let open = match self.0.iter().position(|(folder, _)| *folder == table.folder) {
            Some(at) => self.0.remove(at),
            None => (
                table.folder.clone(),
                open(&store.options, table).map_err(|error| at(&store.root().join(&table.folder), error))?,
            ),
        };
        self.0.push(open);
        Ok(&mut self.0.last_mut().expect("it was just put there").1)
    }

    /// Hands the changes of a table over, not yet committed.
    fn stage(&mut self, store: &Store, table: &Table, net: &Net) -> Result<()> {
        let failed = |error| at(&store.root().join(&table.folder), error);
        let writer = self.of(store, table)?;
        let documents = Documents::new(&table.layout, &net.rows).map_err(net::unfit)?;
        for name in &net.removed {
            writer.delete_term(documents.term(name));
        }
        for (row, name) in &net.added {
            let document = documents.document(*row, name).map_err(net::unfit)?;
            writer.add_document(document).map_err(failed)?;
        }
        Ok(())
    }

    fn commit(&mut self, store: &Store, table: &Table, token: &str) -> Result<()> {
        let failed = |error| at(&store.root().join(&table.folder), error);
        let writer = self.of(store, table)?;
        let mut prepared = writer.prepare_commit().map_err(failed)?;
        prepared.set_payload(token);
        prepared.commit().map_err(failed)?;
        while self.0.len() > WRITERS_MAX {
            let (folder, writer) = self.0.remove(0);
            merged(&folder, writer);
        }
        Ok(())
    }

    /// Forgets what was handed over and not committed. A writer that cannot go back is opened anew.
    fn roll_back(&mut self) {
        self.0.retain_mut(|(folder, writer)| match writer.rollback() {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(folder, %error, "an index is opened anew for writing");
                false
            }
        });
    }

    fn close(&mut self) {
        self.0.drain(..).for_each(|(folder, writer)| merged(&folder, writer));
    }

    /// Removes the folders that no longer count. What is left behind is harmless.
    fn remove_dropped(&mut self, store: &Store, before: &State, after: &State) {
        let counts = |folder: &String| after.tables.values().any(|table| table.folder == *folder);
        for table in before.tables.values().filter(|table| !counts(&table.folder)) {
            self.0.retain(|(folder, _)| *folder != table.folder);
            let path = store.root().join(&table.folder);
            if let Err(error) = fs::remove_dir_all(&path) {
                let path = path.display();
                tracing::warn!(catalog = %store.catalog, %path, %error, "a dropped index was not removed");
            }
        }
    }
}

/// Closes an index for writing once its segments are merged: one that is closed before leaves them for ever.
fn merged(folder: &str, writer: IndexWriter<TantivyDocument>) {
    if let Err(error) = writer.wait_merging_threads() {
        tracing::warn!(folder, %error, "the segments of an index were not merged");
    }
}

fn open(options: &SearchOptions, table: &Table) -> tantivy::Result<IndexWriter<TantivyDocument>> {
    let writer = table.index.writer_with_num_threads(1, options.memory_bytes)?;
    let mut policy = LogMergePolicy::default();
    policy.set_min_num_segments(options.segments_max);
    writer.set_merge_policy(Box::new(policy));
    Ok(writer)
}
