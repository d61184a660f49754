//! `match` over rows at hand: they are put into an index in memory, which answers as the one on disk would.

use super::matching::{TextColumn, column_fields};
use crate::document::add_texts;
use crate::error::reading;
use crate::language;
use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use polder_catalog::Result;
use tantivy::directory::RamDirectory;
use tantivy::query::{EnableScoring, Query};
use tantivy::schema::{IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{Index, ReloadPolicy, Searcher, TERMINATED, TantivyDocument};

/// Memory of the index while it is built: it is given out in pieces, so a small batch takes little.
const MEMORY_BYTES: usize = 50_000_000;

/// Whether each row answers the query; NULL where all columns are.
pub(super) fn evaluate(columns: &[TextColumn], arrays: &[ArrayRef], text: &str) -> Result<BooleanArray> {
    let question = language::parse(text, &column_fields(columns))?;
    let rows = arrays.first().map_or(0, |array| array.len());
    let has_value = arrays.iter().fold(BooleanBuffer::new_unset(rows), |any, array| match array.nulls() {
        None => BooleanBuffer::new_set(rows),
        Some(nulls) => &any | nulls.inner(),
    });
    let matching = if rows == 0 {
        BooleanBuffer::new_unset(0)
    } else {
        let searcher = index(columns, arrays, rows).map_err(reading)?;
        question.check(&searcher)?;
        matching(&searcher, question.query.as_ref(), rows).map_err(reading)?
    };
    Ok(BooleanArray::new(matching, Some(NullBuffer::new(has_value))))
}

/// An index of one segment, whose documents are the rows in their order.
fn index(columns: &[TextColumn], arrays: &[ArrayRef], rows: usize) -> tantivy::Result<Searcher> {
    let mut schema = Schema::builder();
    let tokenizers = TokenizerManager::default();
    let mut fields = Vec::with_capacity(columns.len());
    for (number, column) in columns.iter().enumerate() {
        let name = format!("t{number}");
        tokenizers.register(&name, column.analyzer.stored());
        let indexing = TextFieldIndexing::default().set_tokenizer(&name);
        let indexing = indexing.set_index_option(IndexRecordOption::WithFreqsAndPositions);
        fields.push(schema.add_text_field(&name, TextOptions::default().set_indexing_options(indexing)));
    }
    let builder = Index::builder().schema(schema.build()).tokenizers(tokenizers);
    let mut writer = builder.single_segment_index_writer(RamDirectory::create(), MEMORY_BYTES)?;
    for row in 0..rows {
        let mut document = TantivyDocument::new();
        for (field, array) in fields.iter().zip(arrays) {
            add_texts(array, row, *field, &mut document);
        }
        writer.add_document(document)?;
    }
    let reader = writer.finalize()?.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    Ok(reader.searcher())
}

fn matching(searcher: &Searcher, query: &dyn Query, rows: usize) -> tantivy::Result<BooleanBuffer> {
    let mut found = BooleanBufferBuilder::new(rows);
    found.append_n(rows, false);
    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
    for segment in searcher.segment_readers() {
        let mut scorer = weight.scorer(segment, 1.0)?;
        let mut document = scorer.doc();
        while document != TERMINATED {
            found.set_bit(crate::encoding::index(document), true);
            document = scorer.advance();
        }
    }
    Ok(found.finish())
}
