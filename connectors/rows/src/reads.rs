//! What a statement has read of the tables, so that it can be told later whether that still holds.
//!
//! A read is a table and the condition of its scan. It still holds if no row that changed since satisfies the condition, as it
//! was or as it is: the precision locks of Jordan, Banerjee and Batman (SIGMOD 1981), checked when the entry is decided.
//! So rows that were not there, and came, are noticed like those that were read.

use crate::home::Home;
use crate::path::Path;
use crate::store::State;
use crate::table::Table;
use arrow::array::{AsArray, RecordBatch};
use arrow::row::OwnedRow;
use datafusion_physical_plan::PhysicalExpr;
use polder_catalog::{DatasetId, Error, Kind, Result, SqlState};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What the reads of one query see: the tables between two entries, perhaps with what the transaction has changed.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) state: Arc<State>,
    /// None if nobody will ask.
    reads: Option<Reads>,
}

/// The reads of a statement or transaction. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Reads(Arc<Mutex<Vec<Read>>>);

#[derive(Clone, Debug)]
struct Read {
    home: Home,
    dataset: DatasetId,
    version: u64,
    condition: Condition,
}

/// Which rows of a table were read.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    All,
    /// Those that meet it; over the columns of the table.
    Meets(Arc<dyn PhysicalExpr>),
    /// Those with one of these keys in a path.
    HasKey(Path, Arc<HashSet<OwnedRow>>),
}

impl Snapshot {
    pub(crate) fn new(state: Arc<State>, reads: Option<Reads>) -> Self {
        Self { state, reads }
    }

    /// Whether it is remembered what is read.
    pub(crate) fn is_noted(&self) -> bool {
        self.reads.is_some()
    }

    /// Notes that rows of a table are read, as far as they are at home there.
    pub(crate) fn note(&self, home: Home, table: &Table, condition: Condition) {
        let Some(Reads(reads)) = &self.reads else { return };
        let dataset = table.definition.id.clone();
        let read = Read { home, dataset, version: table.read_version(), condition };
        reads.lock().unwrap_or_else(PoisonError::into_inner).push(read);
    }
}

impl Reads {
    /// Forgets everything: the statement is tried again.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Where there were rows to read.
    pub fn homes(&self) -> BTreeSet<Home> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|read| read.home).collect()
    }

    /// Whether all that was read of a home is the same in a later state of it.
    ///
    /// # Errors
    /// 40001 if it is not, or nobody can tell.
    pub(crate) fn check(&self, home: Home, state: &State) -> Result<()> {
        let reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reads.iter().filter(|read| read.home == home).try_for_each(|read| read.check(state))
    }
}

impl Read {
    fn check(&self, state: &State) -> Result<()> {
        let Some(table) = state.tables.get(&self.dataset) else { return Err(conflict("a table was dropped")) };
        if table.version == self.version {
            return Ok(());
        }
        let history = table.history.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut changed) = history.after(self.version) else {
            return Err(conflict(format!("too much changed in table {}", table.full_name())));
        };
        let is_read = |rows: &RecordBatch| self.has_read(rows).unwrap_or(true);
        if changed.any(is_read) {
            return Err(conflict(format!("rows of table {} that it has read have changed", table.full_name())));
        }
        Ok(())
    }

    /// Whether one of the rows would have been read.
    fn has_read(&self, rows: &RecordBatch) -> Result<bool> {
        let condition = match &self.condition {
            Condition::All => return Ok(rows.num_rows() > 0),
            Condition::Meets(condition) => condition,
            Condition::HasKey(path, wanted) => {
                let keys = path.keys(rows)?;
                return Ok(keys.rows.iter().any(|key| wanted.contains(&key.owned())));
            }
        };
        let met = condition.evaluate(rows).map_err(Error::from_datafusion)?;
        let met = met.into_array(rows.num_rows()).map_err(Error::from_datafusion)?;
        let met = met.as_boolean_opt().ok_or_else(|| Error::report("a condition is no truth value"))?;
        Ok(met.true_count() > 0)
    }
}

/// The statement or transaction must be done again.
pub(crate) fn conflict(detail: impl Into<String>) -> Error {
    Error::new(Kind::Retry, SqlState::SERIALIZATION, "the transaction conflicts with another one")
        .with_detail(detail)
        .with_hint("nothing was written; do it again")
}
