//! One version of one table: immutable, so whoever reads it may keep it.

use crate::transaction::weighted_schema;
use crate::{Alteration, TableDefinition, TablePath};
use arrow::array::{ArrayRef, Int64Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use polder_catalog::{ChangePart, ColumnId, DatasetId, Error, Result, SqlState};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Batches smaller than this are joined with what is appended next, so that many small writes stay readable.
const BATCH_ROWS_MIN: usize = 1024;

/// The columns of one version of a table.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) schema: SchemaRef,
    /// One id for each column, never used again for another.
    pub(crate) ids: Vec<ColumnId>,
    /// Positions of the key's columns; empty for a table that may repeat rows.
    pub(crate) key: Vec<usize>,
    next_id: usize,
}

/// A table at one version.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) id: DatasetId,
    pub(crate) path: TablePath,
    pub(crate) columns: Arc<Columns>,
    pub(crate) batches: Vec<RecordBatch>,
}

impl Table {
    /// An empty table.
    pub(crate) fn create(id: DatasetId, definition: TableDefinition) -> Result<Self> {
        let TableDefinition { path, schema, key } = definition;
        let mut names = HashSet::new();
        if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
            let message = format!("column \"{}\" of table {path} is given twice", twice.name());
            return Err(Error::fix(SqlState::DUPLICATE_OBJECT, message));
        }
        if schema.fields().is_empty() || !RowConverter::supports_fields(&sort_fields(&schema, None)) {
            let message = format!("table {path} needs at least one column, of types that can be compared");
            return Err(Error::fix(SqlState::NOT_SUPPORTED, message));
        }
        let key = key.iter().map(|name| position(&schema, &path, name)).collect::<Result<_>>()?;
        let next_id = schema.fields().len();
        let ids = (0..next_id).map(column_id).collect();
        Ok(Self { id, path, columns: Arc::new(Columns { schema, ids, key, next_id }), batches: Vec::new() })
    }

    pub(crate) fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Checks a batch of changes against this version: the columns, then the weights.
    pub(crate) fn fit(&self, changes: &RecordBatch) -> Result<RecordBatch> {
        let expected = weighted_schema(&self.columns.schema);
        let same_columns = changes.num_columns() == expected.fields().len()
            && expected
                .fields()
                .iter()
                .zip(changes.schema_ref().fields())
                .all(|(mine, theirs)| mine.name() == theirs.name() && mine.data_type() == theirs.data_type());
        if !same_columns {
            let message = format!("the rows do not have the columns of table {}", self.path);
            return Err(Error::fix(SqlState::TYPE, message)
                .with_detail(format!("the table has {expected:?}, the rows have {:?}", changes.schema_ref())));
        }
        RecordBatch::try_new(expected, changes.columns().to_vec()).map_err(|error| {
            Error::fix(SqlState::NOT_NULL, format!("the rows do not fit table {}", self.path))
                .with_detail(error.to_string())
        })
    }

    /// The next version: `changes` [fit](Self::fit), and take effect as one, whatever their order.
    pub(crate) fn changed(&self, changes: &RecordBatch) -> Result<Self> {
        let part = ChangePart { dataset: self.id.clone(), batch: changes.clone() };
        let weights = part.weights().ok_or_else(|| Error::report("a batch of changes has no weights"))?;
        let rows = changes.project(&(0..self.columns.ids.len()).collect::<Vec<_>>()).map_err(defect)?;
        let only_inserts = weights.values().iter().all(|weight| *weight == 1);
        let mut next = self.clone();
        if only_inserts {
            next.append(&rows)?;
        } else {
            let net = Net::of(&self.row_converter()?, &rows, weights)?;
            next.remove(net.removed)?;
            next.append(&interleave_record_batch(&[&rows], &net.added).map_err(defect)?)?;
        }
        next.check_key()?;
        Ok(next)
    }

    /// The next version: no rows.
    pub(crate) fn truncated(&self) -> Self {
        Self { batches: Vec::new(), ..self.clone() }
    }

    /// The next version: other columns or another name.
    pub(crate) fn altered(&self, alteration: Alteration) -> Result<Self> {
        match alteration {
            Alteration::AddColumn(field) => self.with_column(field),
            Alteration::DropColumn(name) => self.without_column(&name),
            Alteration::RenameColumn { from, to } => self.with_renamed_column(&from, &to),
            Alteration::Rename(path) => Ok(Self { path, ..self.clone() }),
        }
    }

    fn with_column(&self, field: FieldRef) -> Result<Self> {
        self.check_free(field.name())?;
        if !field.is_nullable() {
            let message = format!("new column \"{}\" of table {} must be nullable", field.name(), self.path);
            return Err(Error::fix(SqlState::NOT_NULL, message));
        }
        let mut columns = Columns::clone(&self.columns);
        columns.ids.push(column_id(columns.next_id));
        columns.next_id += 1;
        let data_type = field.data_type().clone();
        columns.schema = with_fields(&columns.schema, |fields| fields.push(field));
        self.with_columns(columns, |batch| {
            let mut arrays = batch.columns().to_vec();
            arrays.push(new_null_array(&data_type, batch.num_rows()));
            arrays
        })
    }

    fn without_column(&self, name: &str) -> Result<Self> {
        let at = position(&self.columns.schema, &self.path, name)?;
        if self.columns.key.contains(&at) || self.columns.ids.len() == 1 {
            let message = format!("column \"{name}\" of table {} cannot go: it is its key or all it has", self.path);
            return Err(Error::fix(SqlState::DEPENDENTS, message));
        }
        let mut columns = Columns::clone(&self.columns);
        columns.ids.remove(at);
        columns.key.iter_mut().filter(|key| **key > at).for_each(|key| *key -= 1);
        columns.schema = with_fields(&columns.schema, |fields| {
            fields.remove(at);
        });
        self.with_columns(columns, |batch| {
            let mut arrays = batch.columns().to_vec();
            arrays.remove(at);
            arrays
        })
    }

    fn with_renamed_column(&self, from: &str, to: &str) -> Result<Self> {
        let at = position(&self.columns.schema, &self.path, from)?;
        self.check_free(to)?;
        let mut columns = Columns::clone(&self.columns);
        columns.schema = with_fields(&columns.schema, |fields| {
            fields[at] = Arc::new(fields[at].as_ref().clone().with_name(to));
        });
        self.with_columns(columns, |batch| batch.columns().to_vec())
    }

    fn with_columns(&self, columns: Columns, convert: impl Fn(&RecordBatch) -> Vec<ArrayRef>) -> Result<Self> {
        let convert = |batch| RecordBatch::try_new(Arc::clone(&columns.schema), convert(batch)).map_err(defect);
        let batches = self.batches.iter().map(convert).collect::<Result<_>>()?;
        Ok(Self { columns: Arc::new(columns), batches, ..self.clone() })
    }

    fn check_free(&self, name: &str) -> Result<()> {
        match self.columns.schema.column_with_name(name) {
            None => Ok(()),
            Some(_) => {
                let message = format!("column \"{name}\" of table {} exists already", self.path);
                Err(Error::fix(SqlState::DUPLICATE_OBJECT, message))
            }
        }
    }

    fn append(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let schema = &self.columns.schema;
        let rows = rows.clone().with_schema(Arc::clone(schema)).map_err(defect)?;
        match self.batches.last_mut().filter(|last| last.num_rows() < BATCH_ROWS_MIN) {
            Some(last) => *last = concat_batches(schema, [&*last, &rows]).map_err(defect)?,
            None => self.batches.push(rows),
        }
        Ok(())
    }

    /// Takes out as many copies of each row as asked; an error if a row is not there.
    fn remove(&mut self, mut removed: HashMap<OwnedRow, i64>) -> Result<()> {
        let converter = self.row_converter()?;
        let mut kept = Vec::with_capacity(self.batches.len());
        for batch in &self.batches {
            let rows = converter.convert_columns(batch.columns()).map_err(defect)?;
            let keep = rows.iter().map(|row| match removed.get_mut(&row.owned()) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    false
                }
                _ => true,
            });
            let keep = keep.collect::<Vec<bool>>().into();
            let batch = filter_record_batch(batch, &keep).map_err(defect)?;
            if batch.num_rows() > 0 {
                kept.push(batch);
            }
        }
        if removed.values().any(|left| *left > 0) {
            let message = format!("a row to be deleted from table {} is not there", self.path);
            return Err(Error::fix(SqlState::DATA, message));
        }
        self.batches = kept;
        Ok(())
    }

    fn check_key(&self) -> Result<()> {
        if self.columns.key.is_empty() {
            return Ok(());
        }
        let fields = sort_fields(&self.columns.schema, Some(&self.columns.key));
        let converter = RowConverter::new(fields).map_err(defect)?;
        let mut seen = HashSet::with_capacity(self.row_count());
        for batch in &self.batches {
            let key = batch.project(&self.columns.key).map_err(defect)?;
            let rows: Rows = converter.convert_columns(key.columns()).map_err(defect)?;
            if rows.iter().any(|row| !seen.insert(row.owned())) {
                let message = format!("two rows of table {} would have the same key", self.path);
                return Err(Error::fix(SqlState::UNIQUE, message));
            }
        }
        Ok(())
    }

    fn row_converter(&self) -> Result<RowConverter> {
        RowConverter::new(sort_fields(&self.columns.schema, None)).map_err(defect)
    }
}

/// What a batch of changes comes to: weights of equal rows are added up first, as in any Z-set.
struct Net {
    removed: HashMap<OwnedRow, i64>,
    /// Batch (always the first) and row of each copy to append, in the order given.
    added: Vec<(usize, usize)>,
}

impl Net {
    fn of(converter: &RowConverter, rows: &RecordBatch, weights: &Int64Array) -> Result<Self> {
        let converted = converter.convert_columns(rows.columns()).map_err(defect)?;
        let mut totals: HashMap<OwnedRow, (usize, i64)> = HashMap::new();
        for (at, row) in converted.iter().enumerate() {
            totals.entry(row.owned()).or_insert((at, 0)).1 += weights.value(at);
        }
        let mut net = Self { removed: HashMap::new(), added: Vec::new() };
        for (row, (at, weight)) in totals {
            if weight < 0 {
                net.removed.insert(row, -weight);
            }
            net.added.extend((0..weight.max(0)).map(|_| (0, at)));
        }
        net.added.sort_unstable();
        Ok(net)
    }
}

fn position(schema: &Schema, path: &TablePath, name: &str) -> Result<usize> {
    schema
        .column_with_name(name)
        .map(|(at, _)| at)
        .ok_or_else(|| Error::fix(SqlState::NO_COLUMN, format!("table {path} has no column \"{name}\"")))
}

fn column_id(number: usize) -> ColumnId {
    ColumnId(format!("c{number}").into())
}

fn sort_fields(schema: &Schema, only: Option<&[usize]>) -> Vec<SortField> {
    let wanted = |at: &usize| only.is_none_or(|only| only.contains(at));
    let positions = (0..schema.fields().len()).filter(wanted);
    positions.map(|at| SortField::new(schema.field(at).data_type().clone())).collect()
}

fn with_fields(schema: &Schema, edit: impl FnOnce(&mut Vec<FieldRef>)) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    edit(&mut fields);
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Arrow refused what was checked before.
fn defect(error: arrow::error::ArrowError) -> Error {
    Error::report("a batch in memory does not fit its table").with_source(error)
}
