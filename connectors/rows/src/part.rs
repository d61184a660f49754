//! A part of an entry on its way into a table: its keys are computed before the log decides about it.

use crate::path::Keys;
use crate::table::{Table, defect};
use arrow::array::{Int64Array, RecordBatch};
use arrow::row::Rows;
use polder_catalog::{ChangePart, Error, Result, SqlState};
use std::sync::Arc;

/// Rows with their weights, and their keys in every path of the table.
pub(crate) struct Part {
    pub(crate) rows: RecordBatch,
    pub(crate) weights: Int64Array,
    pub(crate) keys: Vec<Keys>,
    /// And in every ordered index.
    pub(crate) ordered: Vec<Rows>,
}

impl Part {
    /// Of a batch whose last column are the weights.
    ///
    /// # Errors
    /// 42804 for other columns than the table's, 0A000 for weights beyond one.
    pub(crate) fn of(table: &Table, batch: &RecordBatch) -> Result<Self> {
        let width = table.schema.fields().len();
        let part = ChangePart { dataset: table.definition.id.clone(), batch: batch.clone() };
        let weights = part.weights().ok_or_else(|| Error::report("a batch of changes has no weights"))?.clone();
        if batch.num_columns() != width + 1 {
            let found = batch.num_columns() - 1;
            return Err(Error::fix(SqlState::TYPE, format!("the table has {width} columns, the rows have {found}")));
        }
        if weights.values().iter().any(|weight| weight.abs() != 1) {
            let message = "a row that is there several times is written several times";
            return Err(Error::fix(SqlState::NOT_SUPPORTED, message));
        }
        let rows = RecordBatch::try_new(Arc::clone(&table.schema), batch.columns()[..width].to_vec());
        let rows = rows.map_err(|error| {
            let name = &table.definition.name;
            Error::fix(SqlState::TYPE, format!("the rows do not have the columns of table \"{name}\""))
                .with_source(defect(&error))
        })?;
        let keys = table.paths.iter().map(|path| path.keys(&rows)).collect::<Result<_>>()?;
        let ordered = table.indexes.iter().map(|index| index.keys(&rows)).collect::<Result<_>>()?;
        Ok(Self { rows, weights, keys, ordered })
    }

    /// The places of the rows that are added, or of those that go.
    pub(crate) fn places(&self, added: bool) -> impl Iterator<Item = usize> + '_ {
        let weights = self.weights.values().iter().enumerate();
        weights.filter(move |(_, weight)| (**weight > 0) == added).map(|(at, _)| at)
    }
}
