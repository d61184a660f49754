//! Ordered indexes: `CREATE INDEX`. From the values of some columns, in their order, to the numbers of rows.
//!
//! As with the [hash index](crate::index), one serves every version that is still read: it has rows that an older version does not
//! have, and for a while rows that a newer one has no more.

use crate::table::defect;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_common::ScalarValue;
use polder_catalog::{ColumnId, DatasetDefinition, Error, IndexDefinition, Result, SqlState};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

/// As many rows that are gone as a hash index still finds.
const GONE_MAX: usize = 4096;

/// An index of a table.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) name: Arc<str>,
    /// Places of the columns.
    pub(crate) columns: Arc<[usize]>,
    ids: Arc<[ColumnId]>,
    converter: Arc<RowConverter>,
    tree: Arc<RwLock<Tree>>,
    /// Of the rows that a transaction has added and nobody else sees; then the other one is only read.
    own: Option<Arc<RwLock<Tree>>>,
}

type Entry = (Box<[u8]>, u64);

#[derive(Debug, Default)]
struct Tree {
    entries: BTreeSet<Entry>,
    gone: VecDeque<(u64, Entry)>,
    complete_since: u64,
}

/// What filters ask of the first columns of an index: values that they equal, and bounds of the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) equal: Vec<ScalarValue>,
    pub(crate) from: Option<(ScalarValue, bool)>,
    pub(crate) to: Option<(ScalarValue, bool)>,
}

impl Wanted {
    /// Whether it asks for less than everything.
    pub(crate) fn is_any(&self) -> bool {
        !self.equal.is_empty() || self.from.is_some() || self.to.is_some()
    }
}

/// The indexes of a table.
pub(crate) fn indexes_of(definition: &DatasetDefinition, schema: &SchemaRef, version: u64) -> Result<Vec<Ordered>> {
    definition.indexes.iter().map(|index| Ordered::new(index, definition, schema, version)).collect()
}

impl Ordered {
    fn new(index: &IndexDefinition, definition: &DatasetDefinition, schema: &SchemaRef, version: u64) -> Result<Self> {
        let place = |id: &ColumnId| definition.columns.iter().position(|column| column.id == *id);
        let columns: Option<Arc<[usize]>> = index.columns.iter().map(place).collect();
        let columns = columns.ok_or_else(|| Error::report("an index has a column that its table has not"))?;
        let converter = Arc::new(converter(schema, &columns)?);
        let tree = Arc::new(RwLock::new(Tree { complete_since: version, ..Tree::default() }));
        let (name, ids) = (index.name.as_str().into(), index.columns.as_slice().into());
        Ok(Self { name, columns, ids, converter, tree, own: None })
    }

    /// Takes over what another one has, if it is about the same columns.
    pub(crate) fn take_over(&mut self, known: &[Self]) -> bool {
        match known.iter().find(|known| known.ids == self.ids) {
            Some(known) => {
                self.tree = Arc::clone(&known.tree);
                true
            }
            None => false,
        }
    }

    /// For a transaction: what it adds is found by it alone.
    pub(crate) fn private(&self) -> Self {
        Self { own: Some(Arc::default()), ..self.clone() }
    }

    pub(crate) fn keys(&self, rows: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        self.converter.convert_columns(&columns).map_err(|error| defect(&error))
    }

    /// Adds rows and notes which are gone, as of a version.
    pub(crate) fn change(
        &self,
        version: u64,
        gone: impl Iterator<Item = (Box<[u8]>, u64)>,
        added: impl Iterator<Item = (Box<[u8]>, u64)>,
    ) {
        let mut tree = self.own.as_ref().unwrap_or(&self.tree).write().unwrap_or_else(PoisonError::into_inner);
        if self.own.is_none() {
            gone.for_each(|entry| tree.remove(version, entry));
        }
        tree.entries.extend(added);
    }

    /// The numbers of the rows that may be wanted, if every row of a version is found and there are not more than `max`.
    pub(crate) fn find(&self, wanted: &Wanted, version: u64, max: usize) -> Result<Option<Vec<u64>>> {
        let range = self.range(wanted)?;
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        if version < tree.complete_since {
            return Ok(None);
        }
        let own = self.own.as_ref().map(|own| own.read().unwrap_or_else(PoisonError::into_inner));
        let trees = std::iter::once(&*tree).chain(own.as_deref());
        let found: Vec<u64> = trees.flat_map(|tree| tree.range(&range)).take(max.saturating_add(1)).collect();
        Ok((found.len() <= max).then_some(found))
    }

    /// Keys from here, included, to there, excluded.
    fn range(&self, wanted: &Wanted) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let prefix = self.prefix(&wanted.equal)?;
        let with = |value: &ScalarValue| self.prefix(&[&wanted.equal[..], std::slice::from_ref(value)].concat());
        let start = match &wanted.from {
            // NULL, which is first and begins with a zero, is in no range that has an end.
            None if wanted.to.is_some() => [&prefix[..], &[1]].concat(),
            None => prefix.clone(),
            Some((value, true)) => with(value)?,
            Some((value, false)) => match after(with(value)?) {
                Some(start) => start,
                // Nothing is greater.
                None => return Ok((prefix.clone(), Some(prefix))),
            },
        };
        let end = match &wanted.to {
            None => after(prefix),
            Some((value, false)) => Some(with(value)?),
            Some((value, true)) => after(with(value)?),
        };
        Ok((start, end))
    }

    /// What the keys begin with whose first columns have these values.
    fn prefix(&self, values: &[ScalarValue]) -> Result<Vec<u8>> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let fields = values.iter().map(|value| SortField::new(value.data_type())).collect();
        let converter = RowConverter::new(fields).map_err(|error| defect(&error))?;
        let columns = values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>();
        let rows = converter.convert_columns(&columns.map_err(Error::from_datafusion)?);
        Ok(rows.map_err(|error| defect(&error))?.row(0).as_ref().to_vec())
    }
}

impl Tree {
    fn range<'a>(&'a self, (start, end): &(Vec<u8>, Option<Vec<u8>>)) -> impl Iterator<Item = u64> + 'a {
        let start = Bound::Included((start.as_slice().into(), 0));
        let end = match end {
            None => Bound::Unbounded,
            Some(end) => Bound::Excluded((end.as_slice().into(), 0)),
        };
        let is_empty = matches!((&start, &end), (Bound::Included(start), Bound::Excluded(end)) if start >= end);
        let range = (!is_empty).then(|| self.entries.range::<Entry, _>((start, end)));
        range.into_iter().flatten().map(|(_, number)| *number)
    }

    fn remove(&mut self, version: u64, entry: Entry) {
        self.gone.push_back((version, entry));
        while self.gone.len() > GONE_MAX
            && let Some((since, entry)) = self.gone.pop_front()
        {
            self.entries.remove(&entry);
            self.complete_since = self.complete_since.max(since);
        }
    }
}

/// The first key behind all that begin with this; none if there is no such key.
fn after(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return Some(prefix);
        }
    }
    None
}

/// # Errors
/// 0A000 for a type whose order is not that of its bytes here.
fn converter(schema: &SchemaRef, columns: &[usize]) -> Result<RowConverter> {
    for at in columns {
        let field = schema.field(*at);
        // -0 and 0 are equal, and two keys. What has a mark has an order of its own.
        if field.data_type().is_floating() || field.data_type().is_nested() || !field.metadata().is_empty() {
            let message = format!("column \"{}\" of {} cannot be indexed", field.name(), field.data_type());
            return Err(Error::fix(SqlState::NOT_SUPPORTED, message));
        }
    }
    let fields = columns.iter().map(|at| SortField::new(schema.field(*at).data_type().clone())).collect();
    RowConverter::new(fields).map_err(|error| defect(&error))
}
