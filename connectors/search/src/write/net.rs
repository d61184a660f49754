//! What the changes of one entry come to, for one table.

use crate::document::Documents;
use crate::encoding;
use crate::layout::Layout;
use crate::store::Table;
use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use polder_catalog::{ChangePart, Error, Result, SqlState};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tantivy::query::{Query, TermQuery};
use tantivy::schema::IndexRecordOption;

/// Names of rows to delete, then rows to add under their names.
pub(super) struct Net {
    pub(super) rows: RecordBatch,
    pub(super) removed: Vec<Vec<u8>>,
    pub(super) added: Vec<(usize, Vec<u8>)>,
}

impl Net {
    /// Weights of equal rows are added up first, so the order of changes within an entry says nothing.
    pub(super) fn of(table: &Table, changes: &RecordBatch) -> Result<Self> {
        let rows = fit(&table.layout, changes)?;
        let part = ChangePart { dataset: table.layout.definition.id.clone(), batch: changes.clone() };
        let weights = part.weights().ok_or_else(|| Error::report("a batch of changes has no weights"))?;
        let documents = Documents::new(&table.layout, &rows).map_err(unfit)?;
        let mut totals: HashMap<[u8; 32], (usize, i64)> = HashMap::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            totals.entry(documents.whole(row)).or_insert((row, 0)).1 += weights.value(row);
        }
        let mut totals: Vec<(usize, i64)> = totals.into_values().filter(|(_, weight)| *weight != 0).collect();
        totals.sort_unstable();
        let (removed, added) = match table.layout.key_columns.is_empty() {
            true => by_row(table, &documents, &totals)?,
            false => by_key(table, &documents, &totals)?,
        };
        drop(documents);
        Ok(Self { rows, removed, added })
    }
}

type Plan = (Vec<Vec<u8>>, Vec<(usize, Vec<u8>)>);

/// With a key: each key has one row at most, before and after.
fn by_key(table: &Table, documents: &Documents<'_>, totals: &[(usize, i64)]) -> Result<Plan> {
    let (mut removed, mut added) = (HashSet::new(), Vec::new());
    for (row, weight) in totals {
        let name = documents.name(*row);
        match weight {
            -1 if removed.insert(name.clone()) => {
                if count(table, documents, &name)? != 1 {
                    return Err(missing(table));
                }
            }
            1 => added.push((*row, name)),
            _ => return Err(twice(table)),
        }
    }
    let mut seen = HashSet::new();
    for (_, name) in &added {
        if !seen.insert(name) || (!removed.contains(name) && count(table, documents, name)? > 0) {
            return Err(twice(table));
        }
    }
    Ok((removed.into_iter().collect(), added))
}

/// Without one: all copies of a row have one name, so what is left of them is written again.
fn by_row(table: &Table, documents: &Documents<'_>, totals: &[(usize, i64)]) -> Result<Plan> {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for (row, weight) in totals {
        let name = documents.name(*row);
        let mut copies = *weight;
        if *weight < 0 {
            copies += i64::try_from(count(table, documents, &name)?).unwrap_or(i64::MAX);
            removed.push(name.clone());
        }
        if copies < 0 {
            return Err(missing(table));
        }
        added.extend((0..copies).map(|_| (*row, name.clone())));
    }
    Ok((removed, added))
}

fn count(table: &Table, documents: &Documents<'_>, name: &[u8]) -> Result<usize> {
    if table.searcher.num_docs() == 0 {
        return Ok(0);
    }
    let query = TermQuery::new(documents.term(name), IndexRecordOption::Basic);
    query.count(&table.searcher).map_err(crate::error::reading)
}

/// The rows without their weights, if they have the columns of the table.
fn fit(layout: &Layout, changes: &RecordBatch) -> Result<RecordBatch> {
    let expected = layout.rows();
    let found = changes.schema_ref().fields();
    let fits = found.len() == expected.fields().len() + 1
        && expected
            .fields()
            .iter()
            .zip(found)
            .all(|(mine, theirs)| mine.name() == theirs.name() && mine.data_type() == theirs.data_type());
    let name = &layout.definition.name;
    if !fits {
        let message = format!("the rows do not have the columns of table \"{name}\"");
        return Err(Error::fix(SqlState::TYPE, message)
            .with_detail(format!("expected {expected}, found {}", changes.schema_ref())));
    }
    let columns = changes.columns()[..expected.fields().len()].to_vec();
    RecordBatch::try_new(expected, columns).map_err(|error| {
        Error::fix(SqlState::NOT_NULL, format!("the rows do not fit table \"{name}\"")).with_detail(error.to_string())
    })
}

/// Rows of one layout in the columns of another; a column that is new is NULL.
pub(super) fn moved(rows: &RecordBatch, from: &Layout, to: &Layout) -> Result<RecordBatch> {
    let columns = to.definition.columns.iter().map(|column| {
        let at = from.definition.columns.iter().position(|old| old.id == column.id);
        at.map_or_else(|| new_null_array(column.field.data_type(), rows.num_rows()), |at| Arc::clone(rows.column(at)))
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let fits =
        to.definition.columns.iter().zip(&columns).all(|(column, array)| column.field.data_type() == array.data_type());
    if !fits {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, "the type of a column cannot be changed"));
    }
    let schema: Schema = to.rows().as_ref().clone();
    RecordBatch::try_new(Arc::new(schema), columns).map_err(unfit)
}

fn twice(table: &Table) -> Error {
    let message = format!("two rows of table \"{}\" would have the same key", table.layout.definition.name);
    Error::fix(SqlState::UNIQUE, message)
}

fn missing(table: &Table) -> Error {
    let message = format!("a row to be deleted from table \"{}\" is not there", table.layout.definition.name);
    Error::fix(SqlState::DATA, message)
}

/// Arrow refused a value.
pub(super) fn unfit(error: ArrowError) -> Error {
    Error::fix(SqlState::DATA, "a value does not fit its column").with_detail(error.to_string())
}

const _: () = assert!(encoding::TERM_BYTES_MAX > 32, "the name of a row is a term");
