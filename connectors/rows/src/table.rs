//! One version of one table, and how an entry makes the next of it.

use crate::chunk::Chunk;
use crate::history::History;
use crate::home::Spread;
use crate::ordered::{Ordered, indexes_of};
use crate::part::Part;
use crate::path::{Keys, Kind, Path, paths_of};
use crate::plan::{Planned, plan};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{max, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use polder_catalog::{CatalogName, DatasetDefinition, Error, Result};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The rows that a transaction adds to its own version of a table have numbers that nobody else gives.
const OWN_NUMBERS: u64 = 1 << 63;

/// A table as readers see it: nothing of it ever changes.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    catalog: CatalogName,
    pub(crate) definition: Arc<DatasetDefinition>,
    pub(crate) schema: SchemaRef,
    /// The first finds every row, the others those that a constraint compares.
    pub(crate) paths: Vec<Path>,
    pub(crate) indexes: Vec<Ordered>,
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// The number of the next row.
    next: u64,
    /// Greater than that of every version before, of any table.
    pub(crate) version: u64,
    /// The version that a transaction's own one is made of.
    base: Option<u64>,
    /// Of the versions that everybody sees.
    pub(crate) history: Arc<Mutex<History>>,
    identity: Option<Identity>,
    /// None if its rows lie in one shard.
    pub(crate) spread: Option<Spread>,
}

/// The column that gets a number of its own, and the next of them: greater than all that ever were in the table.
#[derive(Clone, Debug)]
struct Identity {
    column: usize,
    next: Arc<AtomicI64>,
}

impl Table {
    /// # Errors
    /// 0A000 if its rows cannot be told apart.
    pub(crate) fn create(catalog: &CatalogName, definition: DatasetDefinition, version: u64) -> Result<Self> {
        let schema = schema_of(&definition);
        Ok(Self {
            catalog: catalog.clone(),
            paths: paths_of(&definition, &schema, version)?,
            indexes: indexes_of(&definition, &schema, version)?,
            identity: identity_of(&definition).map(|column| Identity { column, next: Arc::new(AtomicI64::new(1)) }),
            spread: Spread::of(&definition)?,
            definition: Arc::new(definition),
            schema,
            chunks: Vec::new(),
            next: 0,
            version,
            base: None,
            history: Arc::new(Mutex::new(History::since(version))),
        })
    }

    /// Its name for people.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}.{}", self.catalog, self.definition.schema, self.definition.name)
    }

    pub(crate) fn row_count(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.live()).sum()
    }

    pub(crate) fn has_key(&self) -> bool {
        !self.definition.key.is_empty()
    }

    /// Places of the columns of the primary key.
    pub(crate) fn key(&self) -> &[usize] {
        if self.has_key() { &self.paths[0].columns } else { &[] }
    }

    /// Places of the columns of each unique constraint.
    pub(crate) fn unique(&self) -> impl Iterator<Item = &[usize]> {
        self.paths.iter().filter(|path| path.kind == Kind::Unique).map(|path| &*path.columns)
    }

    /// What finds rows by a path, for people.
    pub(crate) fn name_of(&self, path: usize) -> String {
        match self.paths[path].kind {
            Kind::Key => "the primary key".to_string(),
            Kind::Whole => "the whole row".to_string(),
            Kind::Reference => "what it refers to".to_string(),
            Kind::Unique => {
                let columns = self.paths[path].columns.iter().map(|at| self.schema.field(*at).name().as_str());
                format!("UNIQUE ({})", columns.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The version that everybody can read and that this one is, or is made of.
    pub(crate) fn read_version(&self) -> u64 {
        self.base.unwrap_or(self.version)
    }

    /// Chunk and place of a row that is there.
    pub(crate) fn locate(&self, number: u64) -> Option<(usize, usize)> {
        let at = self.chunks.partition_point(|chunk| chunk.first() <= number).checked_sub(1)?;
        Some((at, self.chunks[at].place(number)?))
    }

    /// The row with this key in a path, if this version has one; `None` if only reading all rows can tell, because the index
    /// has forgotten rows that were there.
    pub(crate) fn look_up(&self, path: &Path, key: &[ArrayRef]) -> Result<Option<Vec<RecordBatch>>> {
        let keys = path.keys_of(key)?;
        let index = path.read();
        for number in index.candidates(keys.hashes[0]) {
            if let Some((chunk, place)) = self.locate(number) {
                let rows = self.chunks[chunk].rows();
                if path.key_at(rows, place)?.row(0) == keys.rows.row(0) {
                    return Ok(Some(vec![rows.slice(place, 1)]));
                }
            }
        }
        Ok(index.is_complete(self.read_version()).then(Vec::new))
    }

    /// The rows with these keys in a path, each as a batch of one row, by all rows if it has to be.
    pub(crate) fn find(&self, path: &Path, keys: &Keys) -> Result<Vec<Option<RecordBatch>>> {
        let mut found = Vec::with_capacity(keys.hashes.len());
        let index = path.read();
        for (at, hash) in keys.hashes.iter().enumerate() {
            let mut row = None;
            for number in index.candidates(*hash).filter(|_| keys.has(at)) {
                if let Some((chunk, place)) = self.locate(number) {
                    let rows = self.chunks[chunk].rows();
                    if path.key_at(rows, place)?.row(0) == keys.rows.row(at) {
                        row = Some(rows.slice(place, 1));
                        break;
                    }
                }
            }
            found.push(row);
        }
        if !index.is_complete(self.read_version()) {
            drop(index);
            self.find_among_all(path, keys, &mut found)?;
        }
        Ok(found)
    }

    fn find_among_all(&self, path: &Path, keys: &Keys, found: &mut [Option<RecordBatch>]) -> Result<()> {
        let wanted = (0..found.len()).filter(|at| found[*at].is_none() && keys.has(*at));
        let wanted: HashMap<_, _> = wanted.map(|at| (keys.rows.row(at).owned(), at)).collect();
        for chunk in &self.chunks {
            let known = path.keys(chunk.rows())?;
            for (_, place) in chunk.numbers().filter(|(_, place)| known.has(*place)) {
                if let Some(at) = wanted.get(&known.rows.row(place).owned()) {
                    found[*at] = Some(chunk.rows().slice(place, 1));
                }
            }
        }
        Ok(())
    }

    /// Checks changes against this version.
    ///
    /// # Errors
    /// 23505 for a key that is there already, 22000 for a row that is to go and is not there.
    pub(crate) fn check(&self, parts: &[Part]) -> Result<Planned> {
        plan(self, parts)
    }

    /// A version that a transaction changes without anybody else seeing it.
    pub(crate) fn private(&self, version: u64) -> Self {
        let paths = self.paths.iter().map(|path| path.private(version)).collect();
        let indexes = self.indexes.iter().map(Ordered::private).collect();
        Self { paths, indexes, next: OWN_NUMBERS, base: Some(self.version), ..self.clone() }
    }

    pub(crate) fn is_private(&self) -> bool {
        self.base.is_some()
    }

    /// The rows of the next version, of changes that were checked. Nobody finds them by a key before
    /// [`publish`](Self::publish).
    pub(crate) fn changed(&self, planned: &Planned, version: u64) -> Result<Self> {
        let mut next = self.clone();
        next.version = version;
        next.delete(&planned.gone).map_err(|error| defect(&error))?;
        planned.added.iter().try_for_each(|rows| next.append(rows.clone())).map_err(|error| defect(&error))?;
        Ok(next)
    }

    /// The number that the next row gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// The next number of the identity column.
    pub(crate) fn next_identity(&self) -> i64 {
        self.identity.as_ref().map_or(1, |identity| identity.next.load(Ordering::Relaxed))
    }

    /// A table that is empty yet, with rows as they were stored.
    pub(crate) fn filled(self, chunks: Vec<Arc<Chunk>>, next: u64, next_identity: i64) -> Result<Self> {
        if let Some(identity) = &self.identity {
            identity.next.store(next_identity, Ordering::Relaxed);
        }
        let table = Self { chunks, next, ..self };
        table.paths.iter().try_for_each(|path| table.fill(path))?;
        table.indexes.iter().try_for_each(|index| table.fill_index(index))?;
        Ok(table)
    }

    /// Numbers for so many rows, which nobody else gets.
    pub(crate) fn numbers(&self, count: i64) -> Option<std::ops::Range<i64>> {
        let first = self.identity.as_ref()?.next.fetch_add(count, Ordering::Relaxed);
        Some(first..first.saturating_add(count))
    }

    fn note_numbers(&self, rows: &RecordBatch) {
        let Some(Identity { column, next }) = &self.identity else { return };
        let numbers = arrow::compute::cast(rows.column(*column), &DataType::Int64);
        let greatest = numbers.ok().and_then(|numbers| max(numbers.as_primitive::<Int64Type>()));
        if let Some(greatest) = greatest {
            next.fetch_max(greatest.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Tells the indexes and the history how this version came of `before`.
    pub(crate) fn publish(&self, before: &Self, planned: &Planned, parts: &[Part]) {
        for (at, path) in self.paths.iter().enumerate() {
            let gone = planned.gone_hashes[at].iter().copied();
            let numbers = before.next..;
            let added = numbers.zip(&planned.added_hashes[at]).filter_map(|(number, hash)| Some(((*hash)?, number)));
            path.change(self.version, gone, added);
        }
        for (at, index) in self.indexes.iter().enumerate() {
            let gone = planned.gone_entries[at].iter().cloned();
            let added = (before.next..).zip(&planned.added_keys[at]).map(|(number, key)| (key.clone(), number));
            index.change(self.version, gone, added);
        }
        planned.added.iter().for_each(|rows| self.note_numbers(rows));
        if self.base.is_none() {
            let rows = parts.iter().map(|part| part.rows.clone()).collect();
            self.history.lock().unwrap_or_else(PoisonError::into_inner).add(self.version, rows);
        }
    }

    fn delete(&mut self, gone: &HashSet<u64>) -> Result<(), ArrowError> {
        let mut places: HashMap<usize, Vec<usize>> = HashMap::new();
        for number in gone {
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
        if !emptied.is_empty() {
            let mut at = 0..;
            self.chunks.retain(|_| at.next().is_none_or(|at| !emptied.contains(&at)));
        }
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
    pub(crate) fn altered(&self, definition: DatasetDefinition, version: u64) -> Result<Self> {
        let schema = schema_of(&definition);
        let mut paths = paths_of(&definition, &schema, version)?;
        let column = |id| self.definition.columns.iter().position(|column| column.id == id);
        let from: Vec<Option<usize>> = definition.columns.iter().map(|wanted| column(wanted.id.clone())).collect();
        let moved = |rows: &RecordBatch| {
            let column = |(from, field): (&Option<usize>, &Arc<Field>)| match from {
                Some(at) => Arc::clone(rows.column(*at)),
                None => new_null_array(field.data_type(), rows.num_rows()),
            };
            from.iter().zip(schema.fields()).map(column).collect()
        };
        let chunks = self.chunks.iter().map(|chunk| chunk.with_columns(&schema, moved).map(Arc::new));
        let chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(|error| defect(&error))?;
        let mut indexes = indexes_of(&definition, &schema, version)?;
        let fresh: Vec<bool> = indexes.iter_mut().map(|index| !index.take_over(&self.indexes)).collect();
        let mut unlike = Vec::new();
        for path in &mut paths {
            match self.paths.iter().find(|known| known.is_like(path)) {
                Some(known) => path.index = Arc::clone(&known.index),
                None => unlike.push(path.clone()),
            }
        }
        let identity = identity_of(&definition).map(|column| Identity {
            column,
            next: self.identity.as_ref().map(|known| Arc::clone(&known.next)).unwrap_or_default(),
        });
        let spread = Spread::of(&definition)?;
        let definition = Arc::new(definition);
        // What was read under other columns cannot be compared with what comes.
        let history = Arc::new(Mutex::new(History::since(version)));
        let changed = Self { definition, schema, paths, indexes, chunks, version, ..self.clone() };
        let table = Self { history, identity, spread, ..changed };
        unlike.iter().try_for_each(|path| table.fill(path))?;
        let fresh = table.indexes.iter().zip(fresh).filter(|(_, fresh)| *fresh);
        fresh.map(|(index, _)| index).try_for_each(|index| table.fill_index(index))?;
        Ok(table)
    }

    /// The same rows as a new version with indexes of its own: versions after this one came to nothing, and whoever has read
    /// one of them must find that nothing leads from there to here.
    pub(crate) fn restored(&self, version: u64) -> Result<Self> {
        let paths = paths_of(&self.definition, &self.schema, version)?;
        let history = Arc::new(Mutex::new(History::since(version)));
        let indexes = indexes_of(&self.definition, &self.schema, version)?;
        let table = Self { paths, indexes, history, version, ..self.clone() };
        table.paths.iter().try_for_each(|path| table.fill(path))?;
        table.indexes.iter().try_for_each(|index| table.fill_index(index))?;
        Ok(table)
    }

    fn fill(&self, path: &Path) -> Result<()> {
        for chunk in &self.chunks {
            let keys = path.keys(chunk.rows())?;
            let here = chunk.numbers().filter(|(_, place)| keys.has(*place));
            path.change(self.version, std::iter::empty(), here.map(|(number, place)| (keys.hashes[place], number)));
        }
        Ok(())
    }
}

impl Table {
    fn fill_index(&self, index: &Ordered) -> Result<()> {
        for chunk in &self.chunks {
            let keys = index.keys(chunk.rows())?;
            let here = chunk.numbers().map(|(number, place)| (keys.row(place).as_ref().into(), number));
            index.change(self.version, std::iter::empty(), here);
        }
        Ok(())
    }

    /// The rows with these numbers, as far as they are there: in the order of the numbers, those of a chunk together.
    pub(crate) fn rows_of(&self, numbers: &[u64]) -> Result<Vec<RecordBatch>> {
        let mut numbers = numbers.to_vec();
        numbers.sort_unstable();
        let places = numbers.iter().filter_map(|number| self.locate(*number));
        let mut by_chunk: Vec<(usize, Vec<u64>)> = Vec::new();
        for (chunk, place) in places {
            match by_chunk.last_mut() {
                Some((last, places)) if *last == chunk => places.push(place as u64),
                _ => by_chunk.push((chunk, vec![place as u64])),
            }
        }
        let taken = by_chunk.into_iter().map(|(chunk, places)| {
            take_record_batch(self.chunks[chunk].rows(), &UInt64Array::from(places)).map_err(|error| defect(&error))
        });
        taken.collect()
    }
}

fn identity_of(definition: &DatasetDefinition) -> Option<usize> {
    let identity = definition.identity.as_ref()?;
    definition.columns.iter().position(|column| column.id == *identity)
}

fn schema_of(definition: &DatasetDefinition) -> SchemaRef {
    Arc::new(Schema::new(definition.columns.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>()))
}

pub(crate) fn defect(error: &ArrowError) -> Error {
    Error::report("rows do not fit their table").with_detail(error.to_string())
}
