//! All tables at one time, and the next of them.

use crate::table::{Planned, Table};
use arrow::record_batch::RecordBatch;
use polder_catalog::{ChangePart, DatasetId, Definition, Error, Position, Result, SqlState};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// All tables between two entries. Immutable.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) tables: BTreeMap<DatasetId, Arc<Table>>,
    pub(crate) last_applied: Option<Position>,
}

impl State {
    pub(crate) fn named(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| table.definition.schema == schema && table.definition.name == name)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    state: RwLock<Arc<State>>,
    /// Held while an entry is applied.
    writing: Mutex<()>,
}

/// The changes of an entry by what they change: rows, and their weights as the last column.
pub(crate) type Changes = BTreeMap<DatasetId, Vec<RecordBatch>>;

impl Store {
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies an entry: all of it is checked before any of it takes effect.
    pub(crate) fn apply(&self, position: Position, definitions: Vec<Definition>, changes: Changes) -> Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = State::clone(&self.state());
        for definition in definitions {
            define(&mut state, definition)?;
        }
        let mut planned = Vec::new();
        for (dataset, batches) in changes {
            let table = state.tables.get(&dataset);
            let table =
                table.ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("there is no dataset {dataset}")))?;
            planned.push((dataset, plan(table, &batches)?));
        }
        for (dataset, planned) in planned {
            let table = state.tables.get(&dataset).ok_or_else(|| Error::report("a table went while it was changed"))?;
            let next = table.changed(planned)?;
            state.tables.insert(dataset, Arc::new(next));
        }
        state.last_applied = Some(position);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        Ok(())
    }
}

fn define(state: &mut State, definition: Definition) -> Result<()> {
    match definition {
        Definition::Create(definition) => {
            let table = Table::create(definition)?;
            state.tables.insert(table.definition.id.clone(), Arc::new(table));
        }
        Definition::Alter(definition) => {
            let table = state.tables.get(&definition.id);
            let table = table.ok_or_else(|| {
                Error::fix(SqlState::NO_TABLE, format!("there is no dataset {} to alter", definition.id))
            })?;
            let altered = table.altered(definition)?;
            state.tables.insert(altered.definition.id.clone(), Arc::new(altered));
        }
        Definition::Drop(id) => drop(state.tables.remove(&id)),
    }
    Ok(())
}

/// Parts stay apart: together they may be longer than an array of Arrow can be.
fn plan(table: &Table, batches: &[RecordBatch]) -> Result<Planned> {
    let width = table.schema.fields().len();
    let part = |batch: &RecordBatch| {
        let part = ChangePart { dataset: table.definition.id.clone(), batch: batch.clone() };
        let weights = part.weights().ok_or_else(|| Error::report("a batch of changes has no weights"))?;
        if batch.num_columns() != width + 1 {
            let found = batch.num_columns() - 1;
            return Err(Error::fix(SqlState::TYPE, format!("the table has {width} columns, the rows have {found}")));
        }
        let rows = RecordBatch::try_new(Arc::clone(&table.schema), batch.columns()[..width].to_vec());
        let rows = rows.map_err(|error| {
            let name = &table.definition.name;
            Error::fix(SqlState::TYPE, format!("the rows do not have the columns of table \"{name}\""))
                .with_detail(error.to_string())
        })?;
        Ok((rows, weights.clone()))
    };
    table.plan(&batches.iter().map(part).collect::<Result<Vec<_>>>()?)
}
