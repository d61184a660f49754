//! Rows on their way out of the index: documents of one segment become a batch.
//!
//! Columns of up to 64 bits come from their fast fields, keywords from the dictionary of theirs, the rest from the
//! stored rows. Only the columns that are asked for are touched: a query for numbers reads no stored row.

use crate::encoding;
use crate::error::reading;
use crate::layout::{Layout, Place, Slot};
use crate::row::{self, Values};
use crate::scan::Taker;
use crate::store::Table;
use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use polder_catalog::{Error, Result};
use std::sync::Arc;
use tantivy::columnar::{BytesColumn, Column};
use tantivy::schema::Value;
use tantivy::store::StoreReader;
use tantivy::{DocId, Score, SegmentReader, TantivyDocument, Term};

/// Rows that are read at once when all are.
const ROWS: usize = 1024;
/// Bytes of stored rows in one batch: an array of text takes 2 GiB at most.
const BATCH_BYTES: usize = 64 << 20;
/// Blocks of stored rows that a reader keeps unpacked, 16 KiB each.
const BLOCKS_CACHED: usize = 32;

/// Some columns of one segment.
pub(crate) struct Segment<'a> {
    layout: &'a Layout,
    schema: SchemaRef,
    columns: Vec<Source>,
    rows: Option<StoreReader>,
}

/// Where a column comes from.
enum Source {
    Word(Column<u64>),
    Keyword(BytesColumn),
    /// The place in the stored row.
    Row(usize),
    Score,
}

impl<'a> Segment<'a> {
    /// The columns at `output`, in the layout's schema.
    pub(crate) fn new(layout: &'a Layout, reader: &SegmentReader, output: &[usize]) -> Result<Self> {
        let columns = output.iter().map(|at| match layout.slots.get(*at) {
            Some(slot) => source(layout, slot, reader),
            None => Ok(Source::Score),
        });
        let columns = columns.collect::<tantivy::Result<Vec<_>>>().map_err(reading)?;
        let needs_rows = columns.iter().any(|column| matches!(column, Source::Row(_)));
        let rows = needs_rows.then(|| reader.get_store_reader(BLOCKS_CACHED)).transpose();
        let rows = rows.map_err(|error| reading(error.into()))?;
        let schema = Arc::new(layout.schema.project(output).map_err(unreadable)?);
        Ok(Self { layout, schema, columns, rows })
    }

    /// Hands over the rows of these documents, in their order; `scores` has one for each, or none at all. Whether somebody
    /// took them.
    pub(crate) fn give(
        &self,
        output: &[usize],
        documents: &[DocId],
        scores: &[Score],
        taker: &Taker<'_>,
    ) -> Result<bool> {
        self.batches(output, documents, scores, &mut |rows| taker.give(&rows))
    }

    /// The rows of these documents, in batches of bounded size, as long as they are taken.
    fn batches(
        &self,
        output: &[usize],
        documents: &[DocId],
        scores: &[Score],
        take: &mut dyn FnMut(RecordBatch) -> Result<bool>,
    ) -> Result<bool> {
        let mut from = 0;
        while from < documents.len() {
            let stored = self.stored(&documents[from..])?;
            let end = if self.rows.is_some() { from + stored.len() } else { documents.len() };
            let scores = scores.get(from..end).unwrap_or_default();
            if !take(self.batch(output, &documents[from..end], scores, &stored)?)? {
                return Ok(false);
            }
            from = end;
        }
        Ok(true)
    }

    fn batch(
        &self,
        output: &[usize],
        documents: &[DocId],
        scores: &[Score],
        stored: &[Vec<u8>],
    ) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, at) in self.columns.iter().zip(output) {
            let array = match column {
                Source::Score if scores.len() == documents.len() => {
                    Arc::new(Float32Array::from(scores.to_vec())) as ArrayRef
                }
                Source::Score => Arc::new(Float32Array::new_null(documents.len())),
                Source::Word(values) => {
                    let mut words = vec![None; documents.len()];
                    values.first_vals(documents, &mut words);
                    encoding::of_words(&words, self.layout.slots[*at].field.data_type()).map_err(unreadable)?
                }
                Source::Keyword(values) => self.keywords(values, documents, *at)?,
                Source::Row(place) => {
                    let values = stored.iter().map(|row| row_value(row, *place)).collect::<Result<Vec<_>>>()?;
                    row::read(&values, self.layout.slots[*at].field.data_type()).map_err(unreadable)?
                }
            };
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(documents.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(unreadable)
    }

    /// The stored rows of the first of these documents: as many as fit a batch, and one at least.
    fn stored(&self, documents: &[DocId]) -> Result<Vec<Vec<u8>>> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let (mut stored, mut bytes) = (Vec::with_capacity(documents.len()), 0);
        for document in documents {
            let document: TantivyDocument = rows.get(*document).map_err(reading)?;
            let row = document.get_first(self.layout.row).and_then(|value| value.as_bytes().map(<[u8]>::to_vec));
            let row = row.ok_or_else(|| Error::report("a document has no stored row"))?;
            bytes += row.len();
            stored.push(row);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        Ok(stored)
    }

    /// Each keyword of the batch is looked up once, in the order of the dictionary.
    fn keywords(&self, values: &BytesColumn, documents: &[DocId], at: usize) -> Result<ArrayRef> {
        let mut numbers = vec![None; documents.len()];
        values.ords().first_vals(documents, &mut numbers);
        let mut wanted: Vec<u64> = numbers.iter().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut found: Vec<Vec<u8>> = Vec::with_capacity(wanted.len());
        let all = values.dictionary().sorted_ords_to_term_cb(&wanted, |bytes| found.push(bytes.to_vec()));
        if !all.map_err(|error| reading(error.into()))? {
            return Err(Error::report("a keyword is not in its dictionary"));
        }
        let text = |number: u64| wanted.binary_search(&number).ok().map(|at| found[at].as_slice());
        let texts: Vec<Option<&[u8]>> = numbers.iter().map(|number| number.and_then(text)).collect();
        row::read(&texts, self.layout.slots[at].field.data_type()).map_err(unreadable)
    }
}

fn row_value(row: &[u8], place: usize) -> Result<Option<&[u8]>> {
    let value = Values::new(row).nth(place);
    value.transpose().map_err(unreadable).map(Option::flatten)
}

fn source(layout: &Layout, slot: &Slot, reader: &SegmentReader) -> tantivy::Result<Source> {
    match &slot.place {
        Place::Word { name, .. } => Ok(Source::Word(words(name, reader)?)),
        Place::Row { at, fast, .. } => match keywords(layout, slot, fast.as_deref(), reader)? {
            Some(values) => Ok(Source::Keyword(values)),
            None => Ok(Source::Row(*at)),
        },
    }
}

/// The words of a column in a segment; where all are NULL there is no column.
pub(crate) fn words(name: &str, reader: &SegmentReader) -> tantivy::Result<Column<u64>> {
    let column = reader.fast_fields().column_opt::<u64>(name)?;
    Ok(column.unwrap_or_else(|| Column::build_empty_column(reader.max_doc())))
}

/// The dictionary of a column in a segment, if it holds every value whole.
pub(crate) fn keywords(
    layout: &Layout,
    slot: &Slot,
    fast: Option<&str>,
    reader: &SegmentReader,
) -> tantivy::Result<Option<BytesColumn>> {
    let Some(name) = fast else { return Ok(None) };
    let long = Term::from_field_u64(layout.long, slot.number);
    if reader.inverted_index(layout.long)?.doc_freq(&long)? > 0 {
        return Ok(None);
    }
    Ok(Some(reader.fast_fields().bytes(name)?.unwrap_or_else(|| BytesColumn::empty(reader.max_doc()))))
}

/// Whether every value of a column is its own term, in all segments.
pub(crate) fn is_whole(table: &Table, slot: &Slot) -> bool {
    let long = Term::from_field_u64(table.layout.long, slot.number);
    table.searcher.doc_freq(&long).is_ok_and(|rows| rows == 0)
}

/// One column of one row.
pub(crate) fn column(table: &Table, reader: &SegmentReader, document: DocId, at: usize) -> Result<ArrayRef> {
    let segment = Segment::new(&table.layout, reader, &[at])?;
    let stored = segment.stored(&[document])?;
    Ok(Arc::clone(segment.batch(&[at], &[document], &[], &stored)?.column(0)))
}

/// Every row of a table, without the score, in batches.
pub(crate) fn every_row(table: &Table, take: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
    let output: Vec<usize> = (0..table.layout.slots.len()).collect();
    for reader in table.searcher.segment_readers() {
        let segment = Segment::new(&table.layout, reader, &output)?;
        let alive: Vec<DocId> = reader.doc_ids_alive().collect();
        for documents in alive.chunks(ROWS) {
            segment.batches(&output, documents, &[], &mut |rows| take(rows).map(|()| true))?;
        }
    }
    Ok(())
}

/// What is on disk does not fit the table.
pub(crate) fn unreadable(error: ArrowError) -> Error {
    Error::report("the index holds what its table cannot").with_detail(error.to_string()).with_source(error)
}
