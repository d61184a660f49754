//! Tantivy without anything around it: the same texts, cut into the same words.

use super::mails::Mail;
use super::timed;
use crate::Result;
use std::time::Duration;
use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer};
use tantivy::{Index, IndexReader, doc};

/// An index in memory.
pub(crate) struct Raw {
    reader: IndexReader,
    parser: QueryParser,
}

/// The words of Polder's analyzer `standard`.
const WORDS: &str = "words";
/// Tantivy's own limit of a term.
const WORD_BYTES_MAX: usize = 65_530;

impl Raw {
    pub(crate) fn new(mails: &[Mail]) -> Result<Self> {
        let mut schema = Schema::builder();
        let id = schema.add_i64_field("id", FAST);
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(WORDS)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let body = schema.add_text_field("body", TextOptions::default().set_indexing_options(indexing));
        let index = Index::create_in_ram(schema.build());
        index.tokenizers().register(
            WORDS,
            TextAnalyzer::builder(SimpleTokenizer::default())
                .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
                .filter(LowerCaser)
                .build(),
        );
        fill(&index, id, body, mails)?;
        let mut parser = QueryParser::for_index(&index, vec![body]);
        parser.set_conjunction_by_default();
        Ok(Self { reader: index.reader()?, parser })
    }

    /// The ids and scores of the best.
    pub(crate) fn top(&self, question: &str, count: usize) -> Result<Vec<(i64, f32)>> {
        let searcher = self.reader.searcher();
        let query = self.parser.parse_query(question)?;
        let best = searcher.search(&query, &TopDocs::with_limit(count).order_by_score())?;
        let told = best.into_iter().map(|(score, at)| {
            let ids = searcher.segment_reader(at.segment_ord).fast_fields().i64("id")?;
            Ok((ids.first(at.doc_id).ok_or("a mail without an id")?, score))
        });
        told.collect()
    }

    pub(crate) fn time(&self, question: &str, count: usize) -> Result<Duration> {
        timed(|| self.top(question, count)).map(|(best, time)| {
            std::hint::black_box(best);
            time
        })
    }
}

fn fill(index: &Index, id: Field, body: Field, mails: &[Mail]) -> Result<()> {
    let mut writer = index.writer_with_num_threads(1, 100_000_000)?;
    for mail in mails {
        writer.add_document(doc!(id => mail.id, body => mail.body.as_str()))?;
    }
    writer.commit()?;
    Ok(writer.wait_merging_threads()?)
}
