//! An entry that is being written: for the log, and for Polder's own tables, which take it from memory.

use crate::commit::log_error;
use crate::definitions::{self, TableDefinition, dataset_id, entry_of};
use crate::effects::{self, Effect};
use crate::engine::Inner;
use crate::session::Change;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use polder_catalog::{Error, Result, WEIGHT_COLUMN};
use polder_log::store::{EntryKind, NewEntry};
use polder_rows::Changes;
use std::sync::Arc;

/// An entry, and its changes of Polder's own tables.
pub(in crate::execute) struct Draft {
    /// None in a transaction, whose entry is written when it commits.
    entry: Option<NewEntry>,
    own: Changes,
    changes: Vec<Change>,
    record_count: u64,
}

impl Draft {
    pub(in crate::execute) async fn new(engine: &Inner, kind: EntryKind) -> Result<Self> {
        Ok(Self { entry: Some(engine.commit.new_entry(kind).await?), ..Self::in_transaction() })
    }

    /// What a statement changes for a transaction alone.
    pub(super) fn in_transaction() -> Self {
        Self { entry: None, own: Changes::new(), changes: Vec::new(), record_count: 0 }
    }

    /// Says what an entry defines, before its rows.
    pub(in crate::execute) fn define(&mut self, changes: &[definitions::Change]) -> Result<()> {
        match &mut self.entry {
            Some(entry) => entry_of(entry, changes).map_err(log_error),
            None => Err(Error::report("a definition in a transaction")),
        }
    }

    /// Says what an entry emits, before its rows.
    pub(in crate::execute) fn emit(&mut self, effects: Vec<Effect>) -> Result<()> {
        match &mut self.entry {
            Some(entry) => effects::emit(entry, effects).map_err(log_error),
            None => Err(Error::report("an effect in a transaction")),
        }
    }

    /// Adds rows of a table, each inserted once, or with a weight for each.
    pub(in crate::execute) fn add(
        &mut self,
        table: &TableDefinition,
        rows: &RecordBatch,
        weights: Option<Vec<i64>>,
    ) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.record_count += rows.num_rows() as u64;
        match &mut self.entry {
            Some(entry) => {
                entry.add_changes(table.schema_id(), rows, weights.as_deref()).map_err(log_error)?;
            }
            None => {
                let (table, rows, weights) = (table.clone(), rows.clone(), weights.clone());
                self.changes.push(Change { table, rows, weights });
            }
        }
        if table.is_own() {
            let weights = weights.unwrap_or_else(|| vec![1; rows.num_rows()]);
            self.own.entry(dataset_id(table.id)).or_default().push(weighed(rows, weights)?);
        }
        Ok(())
    }

    /// How many rows it has, those counted that are taken away.
    pub(in crate::execute) fn record_count(&self) -> u64 {
        self.record_count
    }

    /// The entry, and what it changes of Polder's own tables.
    pub(in crate::execute) fn finish(self) -> Result<(NewEntry, Changes)> {
        let entry = self.entry.ok_or_else(|| Error::report("a statement of a transaction has no entry of its own"))?;
        Ok((entry, self.own))
    }

    /// What it changes of Polder's own tables, for them and for the entry that the transaction will be.
    pub(super) fn changes(self) -> (Changes, Vec<Change>) {
        (self.own, self.changes)
    }
}

/// Rows with their weights as the last column.
fn weighed(rows: &RecordBatch, weights: Vec<i64>) -> Result<RecordBatch> {
    let weight = Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false));
    let fields: Vec<_> = rows.schema().fields().iter().cloned().chain([weight]).collect();
    let weights: ArrayRef = Arc::new(Int64Array::from(weights));
    let columns = rows.columns().iter().cloned().chain([weights]).collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, columns)
        .map_err(|error| Error::report("weights do not fit their rows").with_source(error))
}
