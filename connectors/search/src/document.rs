//! Rows on their way into the index.

use crate::encoding;
use crate::layout::Layout;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::borrow::Cow;
use tantivy::schema::Field;
use tantivy::{TantivyDocument, Term};

/// Rows of one table, with what the index needs of each.
///
/// The columns are those of the physical definition, in its order; a column that was dropped since is all NULL.
pub(crate) struct Documents<'a> {
    layout: &'a Layout,
    rows: &'a RecordBatch,
    /// Values of the columns that are words.
    words: Vec<Vec<Option<u64>>>,
}

impl<'a> Documents<'a> {
    /// `rows` have the columns of the layout, in order.
    pub(crate) fn new(layout: &'a Layout, rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        let words = rows.columns().iter().map(|array| match encoding::fits_word(array.data_type()) {
            true => encoding::words(array),
            false => Ok(Vec::new()),
        });
        Ok(Self { layout, rows, words: words.collect::<Result<_, _>>()? })
    }

    /// What names a row: its key, or the hash of all of it.
    pub(crate) fn name(&self, row: usize) -> Vec<u8> {
        match self.layout.key_columns.as_slice() {
            [] => self.whole(row).to_vec(),
            key => encoding::fingerprint(key.iter().map(|at| self.value(*at, row))).to_vec(),
        }
    }

    /// What tells this row from every other: the hash of all of it.
    pub(crate) fn whole(&self, row: usize) -> [u8; 32] {
        encoding::fingerprint((0..self.rows.num_columns()).map(|at| self.value(at, row)))
    }

    pub(crate) fn term(&self, name: &[u8]) -> Term {
        Term::from_field_bytes(self.layout.key, name)
    }

    /// A value as bytes that differ where values do.
    fn value(&self, column: usize, row: usize) -> Option<Cow<'_, [u8]>> {
        let array = self.rows.column(column);
        if array.is_null(row) {
            return None;
        }
        if let Some(words) = self.words[column].get(row) {
            return words.map(|word| Cow::Owned(word.to_be_bytes().to_vec()));
        }
        if encoding::is_bytes(array.data_type()) {
            return encoding::bytes(array, row);
        }
        let mut bytes = Vec::new();
        crate::row::write(array, row, &mut bytes).ok()?;
        Some(Cow::Owned(bytes))
    }

    /// The document of a row.
    pub(crate) fn document(&self, row: usize, name: &[u8]) -> Result<TantivyDocument, ArrowError> {
        let mut document = TantivyDocument::new();
        document.add_bytes(self.layout.key, name);
        let mut stored = Vec::new();
        for physical in &self.layout.physical.columns {
            let at = self.layout.definition.columns.iter().position(|column| column.id == physical.id);
            match at {
                Some(at) => self.add(at, row, &mut document, &mut stored)?,
                None if encoding::fits_word(physical.field.data_type()) => {}
                None => stored.push(0),
            }
        }
        document.add_bytes(self.layout.row, &stored);
        Ok(document)
    }

    fn add(
        &self,
        column: usize,
        row: usize,
        document: &mut TantivyDocument,
        stored: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        use crate::layout::Place;
        let (slot, array) = (&self.layout.slots[column], self.rows.column(column));
        if array.is_null(row) {
            document.add_u64(self.layout.null, slot.number);
        }
        match &slot.place {
            Place::Word { field, .. } => {
                if let Some(word) = self.words[column][row] {
                    document.add_u64(*field, word);
                }
            }
            Place::Row { terms, .. } => {
                crate::row::write(array, row, stored)?;
                if let Some((field, value)) = terms.zip(terms.and_then(|_| encoding::bytes(array, row))) {
                    document.add_bytes(field, &encoding::term(&value));
                    if value.len() > encoding::TERM_BYTES_MAX {
                        document.add_u64(self.layout.long, slot.number);
                    }
                }
            }
        }
        if let Some((field, _)) = &slot.words {
            add_texts(array, row, *field, document);
        }
        Ok(())
    }
}

/// The texts of a value: itself, or each of a list.
pub(crate) fn add_texts(array: &ArrayRef, row: usize, field: Field, document: &mut TantivyDocument) {
    if array.is_null(row) {
        return;
    }
    let texts = match array.data_type() {
        DataType::Utf8 => return document.add_text(field, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => return document.add_text(field, array.as_string::<i64>().value(row)),
        DataType::Utf8View => return document.add_text(field, array.as_string_view().value(row)),
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        other => unreachable!("{other} is not searched"),
    };
    (0..texts.len()).for_each(|at| add_texts(&texts, at, field, document));
}
