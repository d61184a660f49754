//! Rows that lie together: columns, the numbers of the rows, and which of them are deleted. Immutable.

use crate::checkpoint::StoredFile;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, MutableBuffer};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::bit_util::set_bit;
use std::sync::{Arc, OnceLock};

/// A chunk is not merged beyond this: its bitmap is copied when one row of it is deleted.
pub(crate) const ROWS_MAX: usize = 1 << 16;

/// Nor beyond this: an array of texts in Arrow ends at two gigabytes.
const BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    rows: RecordBatch,
    numbers: Numbers,
    /// Which rows are gone; none if none are.
    deleted: Option<BooleanBuffer>,
    deleted_count: usize,
    /// The file that has the rows and their numbers, once one was written. Chunks that differ in what is deleted share it.
    pub(crate) stored: Arc<OnceLock<StoredFile>>,
}

/// The numbers of the rows, in ascending order.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    /// This one and those that follow it.
    From(u64),
    Listed(Vec<u64>),
}

impl Chunk {
    /// Rows with the numbers from `first` on.
    pub(crate) fn new(rows: RecordBatch, first: u64) -> Self {
        Self { rows, numbers: Numbers::From(first), deleted: None, deleted_count: 0, stored: Arc::default() }
    }

    /// A chunk as it was stored.
    pub(crate) fn restored(
        rows: RecordBatch,
        numbers: Numbers,
        deleted: Option<BooleanBuffer>,
        file: StoredFile,
    ) -> Self {
        let deleted_count = deleted.as_ref().map_or(0, BooleanBuffer::count_set_bits);
        Self { rows, numbers, deleted, deleted_count, stored: Arc::new(OnceLock::from(file)) }
    }

    pub(crate) fn listed(&self) -> &Numbers {
        &self.numbers
    }

    /// Which rows are gone, as bytes; none if none are.
    pub(crate) fn deleted_bytes(&self) -> Option<&[u8]> {
        self.deleted.as_ref().map(|deleted| &deleted.values()[..self.len().div_ceil(8)])
    }

    pub(crate) fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// How many rows there are, deleted ones included.
    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub(crate) fn live(&self) -> usize {
        self.len() - self.deleted_count
    }

    /// The number of the first row.
    pub(crate) fn first(&self) -> u64 {
        match &self.numbers {
            Numbers::From(first) => *first,
            Numbers::Listed(numbers) => numbers.first().copied().unwrap_or(u64::MAX),
        }
    }

    /// The place of a row that is here and not deleted.
    pub(crate) fn place(&self, number: u64) -> Option<usize> {
        let place = match &self.numbers {
            Numbers::From(first) => usize::try_from(number.checked_sub(*first)?).ok().filter(|at| *at < self.len())?,
            Numbers::Listed(numbers) => numbers.binary_search(&number).ok()?,
        };
        let is_gone = self.deleted.as_ref().is_some_and(|deleted| deleted.value(place));
        (!is_gone).then_some(place)
    }

    /// Some columns of the `count` rows from `start` on, without the deleted ones.
    pub(crate) fn slice(&self, start: usize, count: usize, columns: &[usize]) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows.project(columns)?.slice(start, count);
        match &self.deleted {
            None => Ok(rows),
            Some(deleted) => filter_record_batch(&rows, &kept(&deleted.slice(start, count))),
        }
    }

    /// Without the rows at these places, which are here and not deleted. None if no row is left.
    pub(crate) fn without(&self, places: &[usize]) -> Result<Option<Self>, ArrowError> {
        let bytes = self.len().div_ceil(8);
        let mut bits = MutableBuffer::from_len_zeroed(bytes);
        if let Some(deleted) = &self.deleted {
            // It was made below, so its first bit is the first of its first byte.
            debug_assert_eq!(deleted.offset(), 0);
            bits.as_slice_mut().copy_from_slice(&deleted.values()[..bytes]);
        }
        places.iter().for_each(|at| set_bit(bits.as_slice_mut(), *at));
        let deleted = BooleanBuffer::new(bits.into(), 0, self.len());
        let deleted_count = self.deleted_count + places.len();
        if deleted_count == self.len() {
            return Ok(None);
        }
        let chunk = Self { deleted: Some(deleted), deleted_count, ..self.clone() };
        if deleted_count * 2 > self.len() { chunk.rewritten().map(Some) } else { Ok(Some(chunk)) }
    }

    /// The same rows without room for the deleted ones.
    fn rewritten(&self) -> Result<Self, ArrowError> {
        let Some(deleted) = &self.deleted else { return Ok(self.clone()) };
        let rows = filter_record_batch(&self.rows, &kept(deleted))?;
        let numbers = (0..self.len()).filter(|at| !deleted.value(*at)).map(|at| self.number(at)).collect();
        let numbers = Numbers::Listed(numbers);
        Ok(Self { rows, numbers, deleted: None, deleted_count: 0, stored: Arc::default() })
    }

    /// The rows that are not deleted: number and place.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let is_here = |at: &usize| self.deleted.as_ref().is_none_or(|deleted| !deleted.value(*at));
        (0..self.len()).filter(is_here).map(|at| (self.number(at), at))
    }

    fn number(&self, place: usize) -> u64 {
        match &self.numbers {
            Numbers::From(first) => first + place as u64,
            Numbers::Listed(numbers) => numbers[place],
        }
    }

    /// Whether these two are better one: neither is much longer than the other, and both together are not too long.
    pub(crate) fn should_join(&self, next: &Self) -> bool {
        let bytes = || self.rows.get_array_memory_size() + next.rows.get_array_memory_size();
        self.len() + next.len() <= ROWS_MAX && self.len() <= 2 * next.len() && bytes() <= BYTES_MAX
    }

    /// This chunk and the one that follows it as one.
    pub(crate) fn join(&self, next: &Self) -> Result<Self, ArrowError> {
        let (left, right) = (self.rewritten()?, next.rewritten()?);
        let rows = concat_batches(left.rows.schema_ref(), [&left.rows, &right.rows])?;
        let numbers = match (&left.numbers, &right.numbers) {
            (Numbers::From(first), Numbers::From(second)) if first + left.len() as u64 == *second => {
                Numbers::From(*first)
            }
            _ => {
                let left = (0..left.len()).map(|at| left.number(at));
                Numbers::Listed(left.chain((0..right.len()).map(|at| right.number(at))).collect())
            }
        };
        Ok(Self { rows, numbers, deleted: None, deleted_count: 0, stored: Arc::default() })
    }

    /// The same rows in other columns.
    pub(crate) fn with_columns(
        &self,
        schema: &SchemaRef,
        columns: impl FnOnce(&RecordBatch) -> Vec<ArrayRef>,
    ) -> Result<Self, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        let rows = RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns(&self.rows), &options)?;
        Ok(Self { rows, stored: Arc::default(), ..self.clone() })
    }
}

fn kept(deleted: &BooleanBuffer) -> BooleanArray {
    BooleanArray::new(!deleted, None)
}
