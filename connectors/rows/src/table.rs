//! One version of one table, and how an entry makes the next of it.

use crate::chunk::Chunk;
use crate::index::Index;
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
use polder_catalog::{ColumnId, DatasetDefinition, Error, Result, SqlState};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

/// A table as readers see it: nothing of it ever changes.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) definition: Arc<DatasetDefinition>,
    pub(crate) schema: SchemaRef,
    /// Places of the columns by which rows are found: those of the key, or all.
    pub(crate) key: Arc<[usize]>,
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// The number of the next row.
    next: u64,
    pub(crate) version: u64,
    /// Of the newest version.
    pub(crate) index: Arc<RwLock<Index>>,
}

/// What an entry does to a table, checked: nothing of it can fail for what the rows are.
pub(crate) struct Planned {
    /// Rows to be deleted, with the hashes of their keys.
    gone: Vec<(u64, u64)>,
    added: Vec<RecordBatch>,
    added_hashes: Vec<u64>,
}

impl Table {
    /// # Errors
    /// 0A000 if its rows cannot be told apart.
    pub(crate) fn create(definition: DatasetDefinition) -> Result<Self> {
        let (schema, key) = (schema_of(&definition), key_of(&definition));
        converter(&schema, &key)?;
        let definition = Arc::new(definition);
        Ok(Self { definition, schema, key, chunks: Vec::new(), next: 0, version: 0, index: Arc::default() })
    }

    pub(crate) fn row_count(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.live()).sum()
    }

    pub(crate) fn has_key(&self) -> bool {
        !self.definition.key.is_empty()
    }

    /// Chunk and place of a row that is there.
    fn locate(&self, number: u64) -> Option<(usize, usize)> {
        let at = self.chunks.partition_point(|chunk| chunk.first() <= number).checked_sub(1)?;
        Some((at, self.chunks[at].place(number)?))
    }

    /// The row with this key, if this version has one; `None` if only reading all rows can tell, because the index is that
    /// of a newer version.
    pub(crate) fn look_up(&self, key: &[ArrayRef]) -> Result<Option<Vec<RecordBatch>>> {
        let converter = converter(&self.schema, &self.key)?;
        let keys = converter.convert_columns(key).map_err(|error| defect(&error))?;
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.row(0);
        let hash = index.hash(key.as_ref());
        for number in index.candidates(hash) {
            if let Some((chunk, place)) = self.locate(*number)
                && self.is_equal(&converter, chunk, place, key)?
            {
                return Ok(Some(vec![self.chunks[chunk].rows().slice(place, 1)]));
            }
        }
        Ok((index.version == self.version).then(Vec::new))
    }

    fn is_equal(&self, converter: &RowConverter, chunk: usize, place: usize, key: Row<'_>) -> Result<bool> {
        let row = self.chunks[chunk].rows();
        let columns: Vec<ArrayRef> = self.key.iter().map(|at| row.column(*at).slice(place, 1)).collect();
        let found = converter.convert_columns(&columns).map_err(|error| defect(&error))?;
        Ok(found.row(0) == key)
    }

    /// Checks changes against this version: rows, and what each adds or takes away.
    ///
    /// # Errors
    /// 23505 for a key that is there already, 22000 for a row that is to go and is not there, 0A000 for other weights.
    pub(crate) fn plan(&self, parts: &[(RecordBatch, Int64Array)]) -> Result<Planned> {
        if parts.iter().any(|(_, weights)| weights.values().iter().any(|weight| weight.abs() != 1)) {
            return Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                "a row that is there several times is written several times",
            ));
        }
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let converter = converter(&self.schema, &self.key)?;
        let keys = parts.iter().map(|(rows, _)| self.keys(&converter, rows)).collect::<Result<Vec<_>>>()?;
        let mut added = Added::new(self.has_key());
        let mut gone = Gone::default();
        for (keys, (_, weights)) in keys.iter().zip(parts) {
            for (at, _) in weights.values().iter().enumerate().filter(|(_, weight)| **weight < 0) {
                let key = keys.row(at);
                let hash = index.hash(key.as_ref());
                match self.find(&index, &converter, hash, key, &gone)? {
                    Some(found) => gone.add(found, hash),
                    None => added.take(key),
                }
            }
        }
        // After all deletions: an entry may take the keys that it frees.
        let mut planned = Planned { gone: Vec::new(), added: Vec::new(), added_hashes: Vec::new() };
        for (keys, (rows, weights)) in keys.iter().zip(parts) {
            let kept = added.kept(keys, weights)?;
            for (at, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
                let key = keys.row(at);
                let hash = index.hash(key.as_ref());
                if self.has_key() && self.find(&index, &converter, hash, key, &gone)?.is_some() {
                    return Err(self.duplicate());
                }
                planned.added_hashes.push(hash);
            }
            planned.added.push(filter_record_batch(rows, &BooleanArray::from(kept)).map_err(|error| defect(&error))?);
        }
        added.finish()?;
        planned.gone = gone.rows;
        Ok(planned)
    }

    fn keys(&self, converter: &RowConverter, rows: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.key.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        converter.convert_columns(&columns).map_err(|error| defect(&error))
    }

    /// The newest row with this key that is there and not among those that go.
    fn find(
        &self,
        index: &Index,
        converter: &RowConverter,
        hash: u64,
        key: Row<'_>,
        gone: &Gone,
    ) -> Result<Option<Found>> {
        let newest_first = index.candidates(hash).iter().rev().copied().enumerate();
        for (behind, number) in newest_first.skip(gone.newest(hash)) {
            if !gone.numbers.contains(&number)
                && let Some((chunk, place)) = self.locate(number)
                && self.is_equal(converter, chunk, place, key)?
            {
                return Ok(Some(Found { number, behind }));
            }
        }
        Ok(None)
    }

    /// The next version, and its index.
    pub(crate) fn changed(&self, planned: Planned) -> Result<Self> {
        let mut next = self.clone();
        next.version += 1;
        next.delete(&planned.gone).map_err(|error| defect(&error))?;
        let first = next.next;
        planned.added.into_iter().try_for_each(|rows| next.append(rows)).map_err(|error| defect(&error))?;
        let mut index = next.index.write().unwrap_or_else(PoisonError::into_inner);
        planned.gone.iter().for_each(|(number, hash)| index.remove(*hash, *number));
        (first..).zip(&planned.added_hashes).for_each(|(number, hash)| index.insert(*hash, number));
        index.version = next.version;
        drop(index);
        Ok(next)
    }

    fn delete(&mut self, gone: &[(u64, u64)]) -> Result<(), ArrowError> {
        let mut places: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, _) in gone {
            if let Some((chunk, place)) = self.locate(*number) {
                places.entry(chunk).or_default().push(place);
            }
        }
        let mut emptied = HashSet::new();
        for (chunk, places) in places {
            match self.chunks[chunk].without(&places)? {
                Some(left) => self.chunks[chunk] = Arc::new(left),
                None => drop(emptied.insert(chunk)),
            }
        }
        let mut at = 0..;
        self.chunks.retain(|_| at.next().is_none_or(|at| !emptied.contains(&at)));
        Ok(())
    }

    fn append(&mut self, rows: RecordBatch) -> Result<(), ArrowError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut last = Chunk::new(rows, self.next);
        self.next += last.len() as u64;
        while let Some(before) = self.chunks.pop_if(|before| before.should_join(&last)) {
            last = before.join(&last)?;
        }
        self.chunks.push(Arc::new(last));
        Ok(())
    }

    /// The next version under another definition: columns are the same if their ids are.
    pub(crate) fn altered(&self, definition: DatasetDefinition) -> Result<Self> {
        let (schema, key) = (schema_of(&definition), key_of(&definition));
        converter(&schema, &key)?;
        let column = |id| self.definition.columns.iter().position(|column| column.id == id);
        let from: Vec<Option<usize>> = definition.columns.iter().map(|wanted| column(wanted.id.clone())).collect();
        let moved = |rows: &RecordBatch| {
            let column = |(from, field): (&Option<usize>, &Arc<arrow::datatypes::Field>)| match from {
                Some(at) => Arc::clone(rows.column(*at)),
                None => new_null_array(field.data_type(), rows.num_rows()),
            };
            from.iter().zip(schema.fields()).map(column).collect()
        };
        let chunks = self.chunks.iter().map(|chunk| chunk.with_columns(&schema, moved).map(Arc::new));
        let chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(|error| defect(&error))?;
        let same_key = definition.key == self.definition.key && self.has_key();
        let index = if same_key { Arc::clone(&self.index) } else { Arc::default() };
        let (next, version) = (self.next, self.version + 1);
        let table = Self { definition: Arc::new(definition), schema, key, chunks, next, version, index };
        if same_key {
            table.index.write().unwrap_or_else(PoisonError::into_inner).version = version;
        } else {
            table.fill_index()?;
        }
        Ok(table)
    }

    /// Without a key, rows are found by all of their columns, which are others now.
    fn fill_index(&self) -> Result<()> {
        let converter = converter(&self.schema, &self.key)?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for chunk in &self.chunks {
            let keys = self.keys(&converter, chunk.rows())?;
            for (number, place) in chunk.numbers() {
                let hash = index.hash(keys.row(place).as_ref());
                index.insert(hash, number);
            }
        }
        index.version = self.version;
        Ok(())
    }

    fn duplicate(&self) -> Error {
        let name = &self.definition.name;
        Error::fix(SqlState::UNIQUE, format!("two rows of table \"{name}\" have one key"))
    }
}

/// The rows that an entry deletes.
#[derive(Default)]
struct Gone {
    rows: Vec<(u64, u64)>,
    numbers: HashSet<u64>,
    /// How many of the newest rows with a hash are all among them: those of rows that repeat are not looked at again.
    newest: HashMap<u64, usize>,
}

/// A row that was found, and how many candidates are newer.
struct Found {
    number: u64,
    behind: usize,
}

impl Gone {
    fn add(&mut self, found: Found, hash: u64) {
        self.numbers.insert(found.number);
        self.rows.push((found.number, hash));
        if found.behind == self.newest(hash) {
            *self.newest.entry(hash).or_default() += 1;
        }
    }

    fn newest(&self, hash: u64) -> usize {
        self.newest.get(&hash).copied().unwrap_or(0)
    }
}

/// Of the rows that an entry adds, those that it takes away again.
struct Added {
    unique: bool,
    taken: HashMap<OwnedRow, usize>,
    seen: HashSet<OwnedRow>,
}

impl Added {
    fn new(unique: bool) -> Self {
        Self { unique, taken: HashMap::new(), seen: HashSet::new() }
    }

    /// A row that goes and is not in the table must be one that the entry adds, before or after.
    fn take(&mut self, key: Row<'_>) {
        *self.taken.entry(key.owned()).or_default() += 1;
    }

    /// Which of these rows stay.
    fn kept(&mut self, keys: &Rows, weights: &Int64Array) -> Result<Vec<bool>> {
        let mut kept = vec![false; weights.len()];
        for (at, _) in weights.values().iter().enumerate().filter(|(_, weight)| **weight > 0) {
            let key = keys.row(at).owned();
            match self.taken.get_mut(&key) {
                Some(left) if *left > 0 => *left -= 1,
                _ if self.unique && !self.seen.insert(key) => {
                    return Err(Error::fix(SqlState::UNIQUE, "two rows of one entry have one key"));
                }
                _ => kept[at] = true,
            }
        }
        Ok(kept)
    }

    /// After the last rows: whether all that goes was there.
    fn finish(&self) -> Result<()> {
        match self.taken.values().any(|left| *left > 0) {
            true => Err(Error::fix(SqlState::DATA, "a row that is to be deleted is not in the table")),
            false => Ok(()),
        }
    }
}

fn schema_of(definition: &DatasetDefinition) -> SchemaRef {
    Arc::new(Schema::new(definition.columns.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>()))
}

fn key_of(definition: &DatasetDefinition) -> Arc<[usize]> {
    let place = |id: &ColumnId| definition.columns.iter().position(|column| column.id == *id);
    match definition.key.is_empty() {
        true => (0..definition.columns.len()).collect(),
        false => definition.key.iter().filter_map(place).collect(),
    }
}

/// Makes keys comparable as bytes.
///
/// # Errors
/// 0A000 for a type that cannot be compared.
pub(crate) fn converter(schema: &SchemaRef, key: &[usize]) -> Result<RowConverter> {
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

pub(crate) fn defect(error: &ArrowError) -> Error {
    Error::report("rows do not fit their table").with_detail(error.to_string())
}
