//! Where the columns of a table are in its index.
//!
//! | in the index | what it is for |
//! |---|---|
//! | `w0` (fast, indexed) | values of up to 64 bits, as words: read, compared, sorted |
//! | `b0` (indexed; fast for keywords) | text, bytes and large numbers as terms: compared |
//! | `t0` (words and places) | text cut into words: searched |
//! | `_row` (stored) | everything that is no word of 64 bits, exactly as written |
//! | `_null` (indexed) | the numbers of the columns that are NULL in this row |
//! | `_long` (indexed) | the numbers of the columns whose value is too long to be its own term |
//! | `_key` (indexed) | the key, or the hash of the row: what a deletion names |
//!
//! Fields are named after the place of a column when the index was made, so a renamed column stays where it is.

use crate::analyzer::Analyzer;
use crate::definition::{described, is_searched};
use crate::options::COLUMN_OPTIONS;
use crate::{SCORE, encoding};
use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Schema as ArrowSchema, SchemaRef};
use polder_catalog::{ColumnDefinition, ColumnId, DatasetDefinition, Error, Result, mark};
use std::sync::Arc;
use tantivy::schema::{
    BytesOptions, FAST, Field, INDEXED, IndexRecordOption, NumericOptions, STORED, Schema, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::TokenizerManager;

/// One column in the index.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Its number in the index.
    pub(crate) number: u64,
    /// As queries see it.
    pub(crate) field: FieldRef,
    pub(crate) place: Place,
    /// Where its words are, and how they are cut.
    pub(crate) words: Option<(Field, Arc<Analyzer>)>,
}

/// Where the values of a column are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a fast field, as words of 64 bits.
    Word { field: Field, name: String },
    /// In the stored row, at this place.
    Row {
        at: usize,
        /// The field of its terms, if values can be compared.
        terms: Option<Field>,
        /// The name of the fast field of its terms, if there is one.
        fast: Option<String>,
    },
}

/// A table and its index.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) definition: DatasetDefinition,
    /// The columns as they are now, in order.
    pub(crate) slots: Vec<Slot>,
    /// Every column as it was when the index was made: rows are written in this order.
    pub(crate) physical: DatasetDefinition,
    /// The columns, then the score.
    pub(crate) schema: SchemaRef,
    pub(crate) index: Schema,
    pub(crate) row: Field,
    pub(crate) null: Field,
    pub(crate) long: Field,
    pub(crate) key: Field,
    /// Places of the key's columns; empty if rows may repeat.
    pub(crate) key_columns: Vec<usize>,
}

impl Layout {
    /// The layout of an index made by `physical`, read as `definition` says now: each of its columns is in the index.
    pub(crate) fn new(physical: DatasetDefinition, definition: DatasetDefinition) -> Result<Self> {
        let mut index = Schema::builder();
        let mut stored = 0;
        let mut made = Vec::with_capacity(physical.columns.len());
        for (number, column) in physical.columns.iter().enumerate() {
            made.push(slot(number, column, &mut stored, &mut index)?);
        }
        let row = index.add_bytes_field("_row", STORED);
        let null = index.add_u64_field("_null", NumericOptions::default().set_indexed());
        let long = index.add_u64_field("_long", NumericOptions::default().set_indexed());
        let key = index.add_bytes_field("_key", BytesOptions::default().set_indexed());
        let mut slots = Vec::with_capacity(definition.columns.len());
        for column in &definition.columns {
            let at = physical.columns.iter().position(|made| made.id == column.id);
            let at = at.ok_or_else(|| Error::report(format!("column {} is not in the index", column.id)))?;
            slots.push(Slot { field: described(column), ..made[at].clone() });
        }
        let position = |id: &ColumnId| definition.columns.iter().position(|column| column.id == *id);
        let key_columns = definition.key.iter().filter_map(position).collect();
        let score = mark::hidden(ArrowField::new(SCORE, DataType::Float32, true));
        let fields: Vec<FieldRef> = slots.iter().map(|slot| Arc::clone(&slot.field)).chain([Arc::new(score)]).collect();
        let schema = Arc::new(ArrowSchema::new(fields));
        Ok(Self { definition, slots, physical, schema, index: index.build(), row, null, long, key, key_columns })
    }

    /// The place of the score in the schema: the last.
    pub(crate) fn score(&self) -> usize {
        self.slots.len()
    }

    /// The columns without the score.
    pub(crate) fn rows(&self) -> SchemaRef {
        Arc::new(ArrowSchema::new(self.schema.fields()[..self.slots.len()].to_vec()))
    }

    /// How every text is cut when it is stored.
    pub(crate) fn tokenizers(&self) -> TokenizerManager {
        let manager = TokenizerManager::default();
        for slot in &self.slots {
            if let Some((_, analyzer)) = &slot.words {
                manager.register(&format!("t{}", slot.number), analyzer.stored());
            }
        }
        manager
    }
}

fn slot(
    number: usize,
    column: &ColumnDefinition,
    stored: &mut usize,
    index: &mut tantivy::schema::SchemaBuilder,
) -> Result<Slot> {
    let data_type = column.field.data_type();
    let words = match is_searched(data_type) {
        false => None,
        true => {
            let positions =
                TextFieldIndexing::default().set_tokenizer(&format!("t{number}")).set_index_option(WITH_PLACES);
            let field =
                index.add_text_field(&format!("t{number}"), TextOptions::default().set_indexing_options(positions));
            Some((field, Arc::new(Analyzer::read(COLUMN_OPTIONS, &column.options)?)))
        }
    };
    let is_keyword = words.as_ref().is_some_and(|(_, analyzer)| analyzer.is_keyword());
    let place = if encoding::fits_word(data_type) {
        let name = format!("w{number}");
        Place::Word { field: index.add_u64_field(&name, FAST | INDEXED), name }
    } else {
        let at = *stored;
        *stored += 1;
        let name = format!("b{number}");
        let is_fast = is_keyword && data_type.is_string();
        let options = BytesOptions::default().set_indexed();
        let options = if is_fast { options.set_fast() } else { options };
        let terms = encoding::is_bytes(data_type).then(|| index.add_bytes_field(&name, options));
        Place::Row { at, terms, fast: is_fast.then_some(name) }
    };
    Ok(Slot { number: number as u64, field: described(column), place, words })
}

const WITH_PLACES: IndexRecordOption = IndexRecordOption::WithFreqsAndPositions;
