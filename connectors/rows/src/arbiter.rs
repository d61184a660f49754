//! `ON CONFLICT`: which of the rows that are inserted have a key that is there already.

use crate::home;
use crate::path::Path;
use crate::reads::{Condition, Snapshot};
use crate::table::Table;
use arrow::array::RecordBatch;
use arrow::row::OwnedRow;
use polder_catalog::{ColumnId, Error, Result, SqlState};
use std::collections::HashSet;
use std::sync::Arc;

/// Compares the rows of one statement with those of its table, and with each other. What it looks for is noted as read.
#[derive(Debug)]
pub struct Arbiter {
    snapshot: Arc<Snapshot>,
    table: Arc<Table>,
    /// Those whose keys count, with what the statement has had so far.
    paths: Vec<(Path, HashSet<OwnedRow>)>,
}

/// What an inserted row meets.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing: its keys are free.
    New,
    /// This row of the table, a batch of one.
    Exists(RecordBatch),
    /// An earlier row of the statement itself.
    Twice,
}

impl Arbiter {
    /// By one key or unique constraint, or by all of them.
    ///
    /// # Errors
    /// 42P10 if no key or unique constraint has just these columns.
    pub(crate) fn new(snapshot: Arc<Snapshot>, table: Arc<Table>, columns: Option<&[ColumnId]>) -> Result<Self> {
        let is_meant = |path: &Path| {
            let place = |id: &ColumnId| table.definition.columns.iter().position(|column| column.id == *id);
            columns.is_none_or(|columns| {
                let mut wanted: Vec<_> = columns.iter().filter_map(place).collect();
                let mut known = path.columns.to_vec();
                wanted.sort_unstable();
                known.sort_unstable();
                wanted == known
            })
        };
        let unique = table.paths.iter().filter(|path| path.kind.is_unique() && is_meant(path));
        let paths: Vec<_> = unique.map(|path| (path.clone(), HashSet::new())).collect();
        if paths.is_empty() && columns.is_some() {
            let message = format!("no key or unique constraint of table {} has just these columns", table.full_name());
            return Err(Error::fix(SqlState::NO_SUCH_KEY, message));
        }
        Ok(Self { snapshot, table, paths })
    }

    /// What each of these rows meets.
    ///
    /// # Errors
    /// 0A000 if they are at home in several shards.
    pub fn judge(&mut self, rows: &RecordBatch) -> Result<Vec<Verdict>> {
        let mut verdicts = vec![Verdict::New; rows.num_rows()];
        let home = home::home_of_rows(&self.table, rows)?.unwrap_or_default();
        let part = self.snapshot.state.parts_of(&self.table).into_iter().find(|(known, _)| *known == home);
        let table = part.map_or_else(|| Arc::clone(&self.table), |(_, part)| part);
        for (path, seen) in &mut self.paths {
            // Each shard has indexes of its own.
            let path = table.paths.iter().find(|known| known.is_like(path)).unwrap_or(path);
            let keys = path.keys(rows)?;
            let wanted = (0..rows.num_rows()).filter(|at| keys.has(*at)).map(|at| keys.rows.row(at).owned());
            self.snapshot.note(home, &table, Condition::HasKey(path.clone(), Arc::new(wanted.collect())));
            for (at, found) in table.find(path, &keys)?.into_iter().enumerate().filter(|(at, _)| keys.has(*at)) {
                let is_first = seen.insert(keys.rows.row(at).owned());
                match (found, &verdicts[at]) {
                    _ if !is_first => verdicts[at] = Verdict::Twice,
                    (Some(row), Verdict::New) => verdicts[at] = Verdict::Exists(row),
                    _ => {}
                }
            }
        }
        Ok(verdicts)
    }
}
