//! An entry that is being written: for the log, and for Polder's own tables, which take it from memory.

use crate::commit::log_error;
use crate::definitions::{TableDefinition, dataset_id};
use crate::engine::Inner;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use polder_catalog::{Error, Result, WEIGHT_COLUMN};
use polder_log::store::{EntryKind, NewEntry};
use polder_rows::Changes;
use std::sync::Arc;

/// An entry, and its changes of Polder's own tables.
pub(in crate::execute) struct Draft {
    entry: NewEntry,
    own: Changes,
}

impl Draft {
    pub(in crate::execute) async fn new(engine: &Inner, kind: EntryKind) -> Result<Self> {
        Ok(Self { entry: engine.commit.new_entry(kind).await?, own: Changes::new() })
    }

    /// The entry, to say something else in it first.
    pub(in crate::execute) fn entry(&mut self) -> &mut NewEntry {
        &mut self.entry
    }

    /// Adds rows of a table, each inserted once, or with a weight for each.
    pub(in crate::execute) fn add(
        &mut self,
        table: &TableDefinition,
        rows: &RecordBatch,
        weights: Option<Vec<i64>>,
    ) -> Result<()> {
        self.entry.add_changes(table.schema_id(), rows, weights.as_deref()).map_err(log_error)?;
        if table.is_own() {
            let weights = weights.unwrap_or_else(|| vec![1; rows.num_rows()]);
            self.own.entry(dataset_id(table.id)).or_default().push(weighed(rows, weights)?);
        }
        Ok(())
    }

    pub(in crate::execute) fn record_count(&self) -> u64 {
        self.entry.record_count()
    }

    pub(in crate::execute) fn finish(self) -> (NewEntry, Changes) {
        (self.entry, self.own)
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
