//! Suggestions: a word of a query that no row has, and one like it that some have.
//!
//! Words that begin with the same letter are compared, so a word of a million takes milliseconds; a suggestion is shown as a
//! row has it, not as its stem.

use crate::error::reading;
use crate::language::Question;
use crate::layout::Slot;
use crate::pushdown::Condition;
use crate::read;
use crate::store::Table;
use arrow::array::{Array, AsArray};
use datafusion_common::utils::datafusion_strsim::levenshtein;
use polder_catalog::{ReadContext, Result};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, TERMINATED, Term};

/// Words of one segment that are compared at most.
const WORDS_MAX: usize = 100_000;

/// Tells about the words of the queries that no row has. What cannot be found out is not said: the query itself will fail.
pub(crate) fn notice(table: &Table, condition: &Condition, context: &ReadContext) {
    for question in condition.questions() {
        let words: BTreeSet<&str> = question.terms.iter().map(|(_, word)| word.as_str()).collect();
        for word in words {
            if let Ok(Some(like)) = suggestion(table, &question, word) {
                let name = &table.layout.definition.name;
                context.notice(format!("no row of \"{name}\" has the word \"{word}\"; did you mean \"{like}\"?"));
            }
        }
    }
}

fn suggestion(table: &Table, question: &Question, word: &str) -> Result<Option<String>> {
    let fields: BTreeSet<Field> =
        question.terms.iter().filter(|(_, term)| term == word).map(|(field, _)| *field).collect();
    for field in &fields {
        let term = Term::from_field_text(*field, word);
        if table.searcher.doc_freq(&term).map_err(reading)? > 0 {
            return Ok(None);
        }
    }
    let mut best: Option<(usize, Reverse<u64>, String, Field)> = None;
    for field in fields {
        for (like, distance) in alike(table, field, word)? {
            let term = Term::from_field_text(field, &like);
            let rows = table.searcher.doc_freq(&term).map_err(reading)?;
            let candidate = (distance, Reverse(rows), like, field);
            if rows > 0 && best.as_ref().is_none_or(|best| candidate < *best) {
                best = Some(candidate);
            }
        }
    }
    let Some((_, _, like, field)) = best else { return Ok(None) };
    Ok(Some(as_written(table, field, &like)?.unwrap_or(like)))
}

/// The words that are a letter or two apart, and how far.
fn alike(table: &Table, field: Field, word: &str) -> Result<Vec<(String, usize)>> {
    let apart = if word.chars().count() > 4 { 2 } else { 1 };
    let Some(first) = word.chars().next() else { return Ok(Vec::new()) };
    let beginning = first.to_string();
    let mut found = Vec::new();
    for reader in table.searcher.segment_readers() {
        let index = reader.inverted_index(field).map_err(reading)?;
        let words = index.terms().range().ge(&beginning).into_stream();
        let mut words = words.map_err(|error| reading(error.into()))?;
        for _ in 0..WORDS_MAX {
            if !words.advance() || !words.key().starts_with(beginning.as_bytes()) {
                break;
            }
            let Ok(like) = std::str::from_utf8(words.key()) else { continue };
            if like.len().abs_diff(word.len()) <= 2 * apart {
                let distance = levenshtein(word, like);
                if (1..=apart).contains(&distance) {
                    found.push((like.to_string(), distance));
                }
            }
        }
    }
    Ok(found)
}

/// The word as the first row that has it writes it.
fn as_written(table: &Table, field: Field, word: &str) -> Result<Option<String>> {
    let is_of = |slot: &Slot| slot.words.as_ref().is_some_and(|(of, _)| *of == field);
    let Some(at) = table.layout.slots.iter().position(is_of) else { return Ok(None) };
    let Some((_, analyzer)) = &table.layout.slots[at].words else { return Ok(None) };
    let term = Term::from_field_text(field, word);
    for reader in table.searcher.segment_readers() {
        let index = reader.inverted_index(field).map_err(reading)?;
        let postings = index.read_postings(&term, IndexRecordOption::Basic).map_err(|error| reading(error.into()))?;
        let Some(postings) = postings.filter(|postings| postings.doc() != TERMINATED) else { continue };
        let value = read::column(table, reader, postings.doc(), at)?;
        let Some(text) = value.as_string_opt::<i32>().filter(|text| text.is_valid(0)) else { return Ok(None) };
        let mut written = None;
        analyzer.stored().token_stream(text.value(0)).process(&mut |token| {
            if token.text == word && written.is_none() {
                written = text.value(0).get(token.offset_from..token.offset_to).map(str::to_string);
            }
        });
        return Ok(written);
    }
    Ok(None)
}
