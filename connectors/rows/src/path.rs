//! A way to find rows: by the primary key, by a unique constraint or, in a table without a key, by the whole row.

use crate::index::{self, Index};
use crate::table::defect;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use polder_catalog::{ColumnId, DatasetDefinition, Error, Result, SqlState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Columns by which rows are found, and the index that finds them.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) kind: Kind,
    /// Places of the columns.
    pub(crate) columns: Arc<[usize]>,
    ids: Arc<[ColumnId]>,
    converter: Arc<RowConverter>,
    pub(crate) index: Arc<RwLock<Index>>,
    /// Of the rows that a transaction has added and nobody else sees; then the other one is only read.
    own: Option<Arc<RwLock<Index>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No two rows have the same, and none has NULL.
    Key,
    /// No two rows have the same; rows with NULL are not compared.
    Unique,
    /// Rows may repeat.
    Whole,
    /// Rows that refer to others, by what they refer to; those with NULL refer to nothing.
    Reference,
}

/// What rows have in the columns of a path.
pub(crate) struct Keys {
    pub(crate) rows: Rows,
    pub(crate) hashes: Vec<u64>,
    /// Which rows take part; none if all do.
    nulls: Option<Vec<bool>>,
}

impl Keys {
    /// Whether the row has a key here.
    pub(crate) fn has(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| !nulls[row])
    }
}

/// The paths of a table. The first finds every row.
pub(crate) fn paths_of(definition: &DatasetDefinition, schema: &SchemaRef, version: u64) -> Result<Vec<Path>> {
    let first = match definition.key.is_empty() {
        true => {
            let all: Vec<ColumnId> = definition.columns.iter().map(|column| column.id.clone()).collect();
            Path::new(Kind::Whole, &all, definition, schema, version)?
        }
        false => Path::new(Kind::Key, &definition.key, definition, schema, version)?,
    };
    let unique = definition.unique.iter();
    let unique = unique.map(|columns| Path::new(Kind::Unique, columns, definition, schema, version));
    let references = definition.references.iter();
    let references = references.map(|known| Path::new(Kind::Reference, &known.columns, definition, schema, version));
    std::iter::once(Ok(first)).chain(unique).chain(references).collect()
}

impl Kind {
    /// Whether a key leads to one row.
    pub(crate) fn is_unique(self) -> bool {
        matches!(self, Self::Key | Self::Unique)
    }
}

impl Path {
    /// Whether it finds rows by just these columns, in this order.
    pub(crate) fn is_by(&self, columns: &[ColumnId]) -> bool {
        *self.ids == *columns
    }

    fn new(
        kind: Kind,
        ids: &[ColumnId],
        definition: &DatasetDefinition,
        schema: &SchemaRef,
        version: u64,
    ) -> Result<Self> {
        let place = |id: &ColumnId| {
            let place = definition.columns.iter().position(|column| column.id == *id);
            place.ok_or_else(|| Error::report(format!("a key has a column {id} that the table has not")))
        };
        let columns: Arc<[usize]> = ids.iter().map(place).collect::<Result<_>>()?;
        let converter = Arc::new(converter(schema, &columns)?);
        let index = Arc::new(RwLock::new(Index::since(version)));
        Ok(Self { kind, columns, ids: ids.into(), converter, index, own: None })
    }

    /// Whether this finds the same rows by the same keys, so that its index can be kept.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.ids == other.ids
    }

    /// For a transaction: what it adds is found by it alone.
    pub(crate) fn private(&self, version: u64) -> Self {
        Self { own: Some(Arc::new(RwLock::new(Index::since(version)))), ..self.clone() }
    }

    /// The keys of rows.
    pub(crate) fn keys(&self, rows: &RecordBatch) -> Result<Keys> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        self.keys_of(&columns)
    }

    /// The keys, by the columns of the path.
    pub(crate) fn keys_of(&self, columns: &[ArrayRef]) -> Result<Keys> {
        let rows = self.converter.convert_columns(columns).map_err(|error| defect(&error))?;
        let hashes = rows.iter().map(|key| index::hash(key.as_ref())).collect();
        let may_be_null = matches!(self.kind, Kind::Unique | Kind::Reference);
        let has_nulls = may_be_null && columns.iter().any(|column| column.null_count() > 0);
        let is_null = |row: usize| columns.iter().any(|column| column.is_null(row));
        let nulls = has_nulls.then(|| (0..rows.num_rows()).map(is_null).collect());
        Ok(Keys { rows, hashes, nulls })
    }

    /// The keys of the row at a place.
    pub(crate) fn key_at(&self, rows: &RecordBatch, place: usize) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| rows.column(*at).slice(place, 1)).collect();
        self.converter.convert_columns(&columns).map_err(|error| defect(&error))
    }

    pub(crate) fn read(&self) -> Reader<'_> {
        let read = |index| RwLock::read(index).unwrap_or_else(PoisonError::into_inner);
        Reader { shared: read(&self.index), own: self.own.as_deref().map(read) }
    }

    /// Adds rows and notes which are gone, as of a version.
    pub(crate) fn change(
        &self,
        version: u64,
        gone: impl Iterator<Item = (u64, u64)>,
        added: impl Iterator<Item = (u64, u64)>,
    ) {
        // What is gone is not found in the versions of the transaction, wherever it was.
        let mut index = self.own.as_ref().unwrap_or(&self.index).write().unwrap_or_else(PoisonError::into_inner);
        if self.own.is_none() {
            gone.for_each(|(hash, number)| index.remove(version, hash, number));
        }
        added.for_each(|(hash, number)| index.insert(hash, number));
    }
}

/// An index that is read.
pub(crate) struct Reader<'a> {
    shared: RwLockReadGuard<'a, Index>,
    own: Option<RwLockReadGuard<'a, Index>>,
}

impl Reader<'_> {
    /// Rows that may have a key of this hash, the newest first.
    pub(crate) fn candidates(&self, hash: u64) -> impl Iterator<Item = u64> + '_ {
        let own = self.own.iter().flat_map(move |index| index.candidates(hash).iter().rev());
        own.chain(self.shared.candidates(hash).iter().rev()).copied()
    }

    /// Whether every row of a version is found.
    pub(crate) fn is_complete(&self, version: u64) -> bool {
        self.shared.is_complete(version)
    }
}

/// Makes keys comparable as bytes.
///
/// # Errors
/// 0A000 for a type that cannot be compared.
fn converter(schema: &SchemaRef, key: &[usize]) -> Result<RowConverter> {
    let fields: Vec<_> = key.iter().map(|at| SortField::new(schema.field(*at).data_type().clone())).collect();
    if !RowConverter::supports_fields(&fields) {
        let types: Vec<DataType> = key.iter().map(|at| schema.field(*at).data_type().clone()).collect();
        return Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("rows with a column of {types:?} cannot be told apart"),
        ));
    }
    RowConverter::new(fields).map_err(|error| defect(&error))
}
