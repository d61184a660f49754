//! Foreign keys: after an entry, whatever refers to a row finds it.

use crate::part::Part;
use crate::path::{Keys, Kind, Path};
use crate::plan::Planned;
use crate::store::State;
use crate::table::Table;
use arrow::array::RecordBatch;
use arrow::row::OwnedRow;
use arrow::util::display::array_value_to_string;
use polder_catalog::{DatasetId, Error, ForeignKey, Result, SqlState};
use std::collections::{BTreeMap, HashSet};

/// What an entry does to each table.
pub(crate) type Plans<'a> = BTreeMap<&'a DatasetId, (&'a Planned, &'a [Part])>;

/// Checks what the entry adds and takes away, on top of a state.
///
/// # Errors
/// 23503 naming the row and the other table.
pub(crate) fn check(state: &State, plans: &Plans<'_>) -> Result<()> {
    for (dataset, (planned, parts)) in plans {
        let Some(table) = state.tables.get(*dataset) else { continue };
        for reference in &table.definition.references {
            refers(state, plans, table, reference, &planned.added)?;
        }
        if parts.iter().all(|part| part.places(false).next().is_none()) {
            continue;
        }
        for other in state.tables.values() {
            for reference in other.definition.references.iter().filter(|known| known.dataset == **dataset) {
                is_not_missed(plans, table, other, reference, parts)?;
            }
        }
    }
    Ok(())
}

/// What is added refers to rows that are there when the entry is done.
fn refers(state: &State, plans: &Plans<'_>, table: &Table, reference: &ForeignKey, rows: &[RecordBatch]) -> Result<()> {
    let target =
        state.tables.get(&reference.dataset).ok_or_else(|| Error::report("a foreign key refers to no table"))?;
    let path = path_of(target, &reference.key, Kind::is_unique)?;
    let place = place_of(table, &reference.columns)?;
    let added = added_keys(plans, &reference.dataset, path)?;
    for rows in rows {
        let keys = &table.paths[place].keys(rows)?;
        for row in (0..rows.num_rows()).filter(|row| keys.has(*row)) {
            let is_there = added.contains(&keys.rows.row(row).owned()) || is_kept(plans, target, path, keys, row)?;
            if !is_there {
                let what = format!("a row of table {} refers to a row of table", table.full_name());
                let message = format!("{what} {} that is not there", target.full_name());
                return Err(violated(message, table, &table.paths[place], rows, row));
            }
        }
    }
    Ok(())
}

/// Nobody refers to what goes, unless it comes again or goes as well.
fn is_not_missed(
    plans: &Plans<'_>,
    table: &Table,
    other: &Table,
    reference: &ForeignKey,
    parts: &[Part],
) -> Result<()> {
    let path = path_of(table, &reference.key, Kind::is_unique)?;
    let referring = path_of(other, &reference.columns, |kind| kind == Kind::Reference)?;
    let place = place_of(table, &reference.key)?;
    let added = added_keys(plans, &table.definition.id, path)?;
    for part in parts {
        let keys = &part.keys[place];
        for row in part.places(false).filter(|row| keys.has(*row)) {
            let comes_again = added.contains(&keys.rows.row(row).owned());
            if !comes_again && is_kept(plans, other, referring, keys, row)? {
                let message = format!(
                    "a row of table {} is what rows of table {} refer to",
                    table.full_name(),
                    other.full_name()
                );
                return Err(violated(message, table, &table.paths[place], &part.rows, row));
            }
        }
    }
    Ok(())
}

/// Whether a row with this key was there and does not go.
fn is_kept(plans: &Plans<'_>, table: &Table, path: &Path, keys: &Keys, row: usize) -> Result<bool> {
    let gone = plans.get(&table.definition.id).map(|(planned, _)| &planned.gone);
    let index = path.read();
    for number in index.candidates(keys.hashes[row]) {
        if gone.is_some_and(|gone| gone.contains(&number)) {
            continue;
        }
        if let Some((chunk, place)) = table.locate(number)
            && path.key_at(table.chunks[chunk].rows(), place)?.row(0) == keys.rows.row(row)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The keys of the rows that an entry adds to a table.
fn added_keys(plans: &Plans<'_>, dataset: &DatasetId, path: &Path) -> Result<HashSet<OwnedRow>> {
    let mut added = HashSet::new();
    for rows in plans.get(dataset).into_iter().flat_map(|(planned, _)| &planned.added) {
        let keys = path.keys(rows)?;
        added.extend((0..rows.num_rows()).filter(|row| keys.has(*row)).map(|row| keys.rows.row(row).owned()));
    }
    Ok(added)
}

fn path_of<'a>(
    table: &'a Table,
    columns: &[polder_catalog::ColumnId],
    is_meant: impl Fn(Kind) -> bool,
) -> Result<&'a Path> {
    let path = table.paths.iter().find(|path| is_meant(path.kind) && path.is_by(columns));
    path.ok_or_else(|| Error::report(format!("table {} is not found by a foreign key", table.full_name())))
}

fn place_of(table: &Table, columns: &[polder_catalog::ColumnId]) -> Result<usize> {
    let place = table.paths.iter().position(|path| path.is_by(columns));
    place.ok_or_else(|| Error::report(format!("table {} has no such foreign key", table.full_name())))
}

fn violated(message: String, table: &Table, path: &Path, rows: &RecordBatch, row: usize) -> Error {
    let name = |at: &usize| table.schema.field(*at).name().as_str();
    let names: Vec<_> = path.columns.iter().map(name).collect();
    let text = |at: &usize| array_value_to_string(rows.column(*at), row).unwrap_or_default();
    let values: Vec<_> = path.columns.iter().map(text).collect();
    Error::fix(SqlState::FOREIGN_KEY, message).with_detail(format!("({}) = ({})", names.join(", "), values.join(", ")))
}
