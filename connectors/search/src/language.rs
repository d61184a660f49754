//! The language of `match()`: Tantivy's, over the columns that are named.
//!
//! ```text
//! rust database          either word                 +rust -java             with, without
//! rust AND (fast OR safe) NOT java                   "zero copy"~2           a phrase, two words apart at most
//! "zero co"*             the beginning of a phrase   rus*                    the beginning of a word
//! recieve~1              one letter apart            rust^2                  counts twice
//! title:rust             in one of the columns       body:[a TO c}           a range of words
//! body: IN [rust go]     one of these words          *                       every row
//! ```
//!
//! The text is read by Tantivy's own parser and put together here, for two reasons: columns are found by their names,
//! and nothing depends on what else is in the index. (Tantivy's parser follows the last word of a begun phrase to 50
//! endings and leaves out the rest in silence; here there may be thousands, and more are an error.) So a text has one
//! meaning, in an index of a million rows and over the rows at hand.

#[cfg(test)]
mod tests;

use crate::analyzer::{Analyzer, terms};
use crate::error::reading;
use polder_catalog::{Error, Result, SqlState};
use std::fmt::Write;
use std::ops::Bound;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, InvertedIndexRangeQuery, Occur,
    PhrasePrefixQuery, PhraseQuery, Query, TermQuery, TermSetQuery,
};
use tantivy::query_grammar::{
    Delimiter, Occur as Mark, UserInputAst, UserInputBound, UserInputLeaf, UserInputLiteral, parse_query_lenient,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Searcher, SegmentReader, Term};

/// Bytes of a query's text. Tantivy reads a text by trial and error, so that a hostile one costs much.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// How deep parentheses may go.
const DEPTH_MAX: usize = 16;
/// Letters that a fuzzy word may be apart, the most that Tantivy's automata know.
const DISTANCE_MAX: u32 = 2;
/// Endings of the last word of a begun phrase. Tantivy sets memory aside for each, 1.8 KiB.
const ENDINGS_MAX: u32 = 4_096;

/// A column that a query searches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Searched<'a> {
    pub(crate) name: &'a str,
    pub(crate) field: Field,
    pub(crate) analyzer: &'a Analyzer,
}

/// A query, read.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) query: Box<dyn Query>,
    /// As it was understood, for people.
    pub(crate) text: String,
    /// Whether a row without any word may match.
    pub(crate) matches_empty: bool,
    /// The words that are asked for, as the index has them.
    pub(crate) terms: Vec<(Field, String)>,
    /// Last words of phrases that are only begun.
    begun: Vec<(Field, String)>,
}

impl Clone for Question {
    fn clone(&self) -> Self {
        let Self { query, text, matches_empty, terms, begun } = self;
        let (query, text, matches_empty) = (query.box_clone(), text.clone(), *matches_empty);
        Self { query, text, matches_empty, terms: terms.clone(), begun: begun.clone() }
    }
}

impl Question {
    /// Whether an index can answer: it follows the last word of a begun phrase to so many endings.
    ///
    /// # Errors
    /// 22003, rather than leaving rows out.
    pub(crate) fn check(&self, searcher: &Searcher) -> Result<()> {
        for (field, word) in &self.begun {
            for reader in searcher.segment_readers() {
                let endings = endings(reader, *field, word).map_err(reading)?;
                if endings > ENDINGS_MAX {
                    let message = format!("more than {ENDINGS_MAX} words begin with \"{word}\"");
                    return Err(
                        Error::fix(SqlState::OUT_OF_RANGE, message).with_hint("write more letters of the last word")
                    );
                }
            }
        }
        Ok(())
    }
}

/// How many words of a segment begin so, or one more than can be followed.
fn endings(reader: &SegmentReader, field: Field, word: &str) -> tantivy::Result<u32> {
    let index = reader.inverted_index(field)?;
    let mut words = index.terms().range().ge(word).into_stream()?;
    let mut endings = 0;
    while endings <= ENDINGS_MAX && words.advance() && words.key().starts_with(word.as_bytes()) {
        endings += 1;
    }
    Ok(endings)
}

/// Reads the text of a query over these columns.
///
/// # Errors
/// 42601 with the place in the text, 42703 for a column that is not searched.
pub(crate) fn parse(text: &str, columns: &[Searched<'_>]) -> Result<Question> {
    check_size(text)?;
    let (ast, errors) = parse_query_lenient(text);
    if let Some(error) = errors.into_iter().next() {
        return Err(wrong(text, error.pos, &error.message));
    }
    let mut reader = Reader { text, columns, terms: Vec::new(), begun: Vec::new(), matches_empty: false };
    let (query, printed) = match reader.ast(&ast)? {
        Some(part) => (part.query, part.text),
        None => (Box::new(EmptyQuery) as Box<dyn Query>, "nothing".to_string()),
    };
    Ok(Question { query, text: printed, matches_empty: reader.matches_empty, terms: reader.terms, begun: reader.begun })
}

fn check_size(text: &str) -> Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a text for match() has at most {TEXT_BYTES_MAX} bytes, and this one {}", text.len());
        return Err(Error::fix(SqlState::SYNTAX, message));
    }
    let mut depth = 0usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(wrong(text, at, &format!("parentheses go at most {DEPTH_MAX} deep")));
        }
    }
    Ok(())
}

/// An error that points into the text: `at` is a place in bytes.
fn wrong(text: &str, at: usize, message: &str) -> Error {
    let before = text.get(..at).unwrap_or(text);
    let rest = text.get(at..).unwrap_or_default();
    let shown: String = before.chars().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect();
    let rest: String = rest.chars().take(30).collect();
    Error::fix(SqlState::SYNTAX, format!("match() cannot read the text: {message}"))
        .with_detail(format!("at character {}: {shown} >>> {rest}", before.chars().count() + 1))
        .with_hint("put quotes around what is not to be read as an operator: match(body, '\"c++ (2024)\"')")
}

/// One part of a query, and how it reads.
struct Part {
    query: Box<dyn Query>,
    text: String,
}

impl Part {
    fn new(query: impl Query, text: impl Into<String>) -> Self {
        Self { query: Box::new(query), text: text.into() }
    }
}

struct Reader<'a> {
    text: &'a str,
    columns: &'a [Searched<'a>],
    terms: Vec<(Field, String)>,
    begun: Vec<(Field, String)>,
    matches_empty: bool,
}

impl<'a> Reader<'a> {
    /// `None` if nothing is left to ask for: stop words only.
    fn ast(&mut self, ast: &UserInputAst) -> Result<Option<Part>> {
        match ast {
            UserInputAst::Clause(parts) => self.clause(parts),
            UserInputAst::Boost(inner, boost) => {
                let boost = boost.into_inner();
                if !boost.is_finite() || boost < 0.0 {
                    return Err(wrong(self.text, 0, &format!("^{boost} is not a weight")));
                }
                #[expect(clippy::cast_possible_truncation, reason = "scores are single floats")]
                let weight = boost as f32;
                let part = self.ast(inner)?;
                Ok(part
                    .map(|Part { query, text }| Part::new(BoostQuery::new(query, weight), format!("{text}^{boost}"))))
            }
            UserInputAst::Leaf(leaf) => self.leaf(leaf),
        }
    }

    fn clause(&mut self, parts: &[(Option<Mark>, UserInputAst)]) -> Result<Option<Part>> {
        let mut clauses: Vec<(Occur, Part)> = Vec::with_capacity(parts.len());
        for (mark, part) in parts {
            let (mark, part) = denied(mark, part);
            let occur = match mark {
                Some(Mark::Must) => Occur::Must,
                Some(Mark::MustNot) => Occur::MustNot,
                Some(Mark::Should) | None => Occur::Should,
            };
            if let Some(part) = self.ast(part)? {
                clauses.push((occur, part));
            }
        }
        if clauses.is_empty() {
            return Ok(None);
        }
        if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
            self.matches_empty = true;
            let every = ConstScoreQuery::new(Box::new(AllQuery), 0.0);
            clauses.insert(0, (Occur::Must, Part::new(every, "*")));
        }
        Ok(Some(joined(clauses)))
    }

    fn leaf(&mut self, leaf: &UserInputLeaf) -> Result<Option<Part>> {
        match leaf {
            UserInputLeaf::Literal(literal) => self.literal(literal),
            UserInputLeaf::All => {
                self.matches_empty = true;
                Ok(Some(Part::new(AllQuery, "*")))
            }
            UserInputLeaf::Range { field, lower, upper } => {
                self.each(field.as_deref(), |reader, column| reader.range(column, lower, upper))
            }
            UserInputLeaf::Set { field, elements } => {
                self.each(field.as_deref(), |reader, column| Ok(Some(reader.set(column, elements))))
            }
            UserInputLeaf::Exists { field } => {
                Err(wrong(self.text, self.find(field), "ask for any value in SQL: column IS NOT NULL"))
            }
            UserInputLeaf::Regex { pattern, .. } => {
                Err(wrong(self.text, self.find(pattern), "regular expressions are not part of this language"))
            }
        }
    }

    /// What is asked of each of the columns meant.
    fn each(
        &mut self,
        name: Option<&str>,
        mut ask: impl FnMut(&mut Self, Searched<'a>) -> Result<Option<Part>>,
    ) -> Result<Option<Part>> {
        let columns = self.columns_named(name)?;
        let mut parts = Vec::with_capacity(columns.len());
        for column in columns {
            parts.extend(ask(self, column)?.map(|part| (Occur::Should, part)));
        }
        Ok(if parts.is_empty() { None } else { Some(joined(parts)) })
    }

    fn columns_named(&self, name: Option<&str>) -> Result<Vec<Searched<'a>>> {
        let Some(name) = name else { return Ok(self.columns.to_vec()) };
        let exact = self.columns.iter().find(|column| column.name == name);
        let found = exact.or_else(|| self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)));
        found.map(|column| vec![*column]).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
            let place = wrong(self.text, self.find(name), "");
            Error::fix(SqlState::NO_COLUMN, format!("match() does not search a column \"{name}\""))
                .with_detail(place.detail().unwrap_or_default())
                .with_hint(format!("it searches {}; put quotes around a word with a colon", names.join(", ")))
        })
    }

    /// About where in the text this is.
    fn find(&self, piece: &str) -> usize {
        self.text.find(piece).unwrap_or(0)
    }

    fn literal(&mut self, literal: &UserInputLiteral) -> Result<Option<Part>> {
        let name = literal.field_name.as_deref();
        if literal.delimiter != Delimiter::None {
            return self
                .each(name, |reader, column| Ok(reader.phrase(column, &literal.phrase, literal.slop, literal.prefix)));
        }
        if let Some(beginning) = literal.phrase.strip_suffix('*').or(literal.prefix.then_some(literal.phrase.as_str()))
        {
            return self.each(name, |reader, column| Ok(reader.beginning(column, beginning)));
        }
        match fuzzy(literal) {
            Some((word, distance)) => self.each(name, |reader, column| reader.fuzzy(column, word, distance)),
            None => self.each(name, |reader, column| Ok(reader.phrase(column, &literal.phrase, 0, false))),
        }
    }

    /// One word, or several side by side.
    fn phrase(&mut self, column: Searched<'_>, phrase: &str, slop: u32, is_beginning: bool) -> Option<Part> {
        if is_beginning {
            return self.phrase_beginning(column, phrase);
        }
        let (mut cut, words) = whole_words(column, phrase);
        self.terms.extend(words.iter().map(|word| (column.field, word.clone())));
        let text = format!("{}:{}", column.name, quoted(&words.join(" ")));
        match cut.len() {
            0 => None,
            1 => Some(Part::new(TermQuery::new(cut.pop()?.1, IndexRecordOption::WithFreqs), text)),
            _ => {
                let text = if slop > 0 { format!("{text}~{slop}") } else { text };
                Some(Part::new(PhraseQuery::new_with_offset_and_slop(cut, slop), text))
            }
        }
    }

    /// Words side by side, the last of them begun. What is begun is not stemmed, and no stop word yet.
    fn phrase_beginning(&mut self, column: Searched<'_>, phrase: &str) -> Option<Part> {
        let mut last = None;
        column.analyzer.unstemmed().token_stream(phrase).process(&mut |token| last = Some(token.clone()));
        let begun = last?;
        let (mut cut, words) = whole_words(column, &phrase[..begun.offset_from]);
        if cut.is_empty() {
            return self.beginning(column, &begun.text);
        }
        cut.push((begun.position, Term::from_field_text(column.field, &begun.text)));
        let text = format!("{}:{}*", column.name, quoted(&format!("{} {}", words.join(" "), begun.text)));
        self.terms.extend(words.into_iter().map(|word| (column.field, word)));
        let mut query = PhrasePrefixQuery::new_with_offset(cut);
        query.set_max_expansions(ENDINGS_MAX);
        self.begun.push((column.field, begun.text));
        Some(Part::new(query, text))
    }

    /// All words that begin so.
    fn beginning(&mut self, column: Searched<'_>, beginning: &str) -> Option<Part> {
        let mut words = terms(&mut column.analyzer.unstemmed(), beginning);
        if words.len() > 1 {
            return self.phrase(column, beginning, 0, true);
        }
        let word = words.pop()?;
        let term = Term::from_field_text(column.field, &word);
        Some(Part::new(FuzzyTermQuery::new_prefix(term, 0, true), format!("{}:{word}*", column.name)))
    }

    /// All words that are so many letters apart.
    fn fuzzy(&mut self, column: Searched<'_>, word: &str, distance: u32) -> Result<Option<Part>> {
        if distance > DISTANCE_MAX {
            let message = format!("a word is at most {DISTANCE_MAX} letters apart");
            return Err(wrong(self.text, self.find(&format!("~{distance}")), &message));
        }
        let mut words = terms(&mut column.analyzer.asked(), word);
        if words.len() > 1 {
            return Err(wrong(self.text, self.find(word), "what is some letters apart is a single word"));
        }
        let Some(word) = words.pop() else { return Ok(None) };
        let term = Term::from_field_text(column.field, &word);
        let query = FuzzyTermQuery::new(term, u8::try_from(distance).unwrap_or(2), true);
        Ok(Some(Part::new(query, format!("{}:{word}~{distance}", column.name))))
    }

    fn range(&mut self, column: Searched<'_>, low: &UserInputBound, high: &UserInputBound) -> Result<Option<Part>> {
        let (lower, upper) = (self.bound(column, low)?, self.bound(column, high)?);
        if lower == Bound::Unbounded && upper == Bound::Unbounded {
            return Err(wrong(self.text, 0, "a range needs one end at least"));
        }
        let end = |bound: &UserInputBound| match bound.term_str() {
            "*" => "*".to_string(),
            word => quoted(word),
        };
        let open = if matches!(low, UserInputBound::Inclusive(_)) { '[' } else { '{' };
        let close = if matches!(high, UserInputBound::Inclusive(_)) { ']' } else { '}' };
        let text = format!("{}:{open}{} TO {}{close}", column.name, end(low), end(high));
        Ok(Some(Part::new(InvertedIndexRangeQuery::new(lower, upper), text)))
    }

    fn bound(&self, column: Searched<'_>, bound: &UserInputBound) -> Result<Bound<Term>> {
        let word = match bound {
            UserInputBound::Unbounded => return Ok(Bound::Unbounded),
            UserInputBound::Inclusive(word) | UserInputBound::Exclusive(word) if word == "*" => {
                return Ok(Bound::Unbounded);
            }
            UserInputBound::Inclusive(word) | UserInputBound::Exclusive(word) => word,
        };
        let cut = terms(&mut column.analyzer.unstemmed(), word);
        let [term] = cut.as_slice() else {
            return Err(wrong(self.text, self.find(word), "the end of a range is a single word"));
        };
        let term = Term::from_field_text(column.field, term);
        Ok(if matches!(bound, UserInputBound::Inclusive(_)) { Bound::Included(term) } else { Bound::Excluded(term) })
    }

    fn set(&mut self, column: Searched<'_>, elements: &[String]) -> Part {
        let mut analyzer = column.analyzer.asked();
        let words: Vec<String> = elements.iter().flat_map(|element| terms(&mut analyzer, element)).collect();
        self.terms.extend(words.iter().map(|word| (column.field, word.clone())));
        let text = format!("{}: IN [{}]", column.name, words.join(" "));
        Part::new(TermSetQuery::new(words.iter().map(|word| Term::from_field_text(column.field, word))), text)
    }
}

/// The words of a text as terms, each at its place.
fn whole_words(column: Searched<'_>, text: &str) -> (Vec<(usize, Term)>, Vec<String>) {
    let (mut cut, mut words) = (Vec::new(), Vec::new());
    column.analyzer.asked().token_stream(text).process(&mut |token| {
        cut.push((token.position, Term::from_field_text(column.field, &token.text)));
        words.push(token.text.clone());
    });
    (cut, words)
}

/// `a AND NOT b` is read as `+a +(-b)`, and means `+a -b`.
fn denied<'a>(mark: &'a Option<Mark>, part: &'a UserInputAst) -> (&'a Option<Mark>, &'a UserInputAst) {
    match (mark, part) {
        (Some(Mark::Must), UserInputAst::Clause(inner)) => match inner.as_slice() {
            [(denial @ Some(Mark::MustNot), inner)] => (denial, inner),
            _ => (mark, part),
        },
        _ => (mark, part),
    }
}

/// `word~` and `word~2`.
fn fuzzy(literal: &UserInputLiteral) -> Option<(&str, u32)> {
    if literal.slop > 0 {
        return Some((&literal.phrase, literal.slop));
    }
    let (word, distance) = literal.phrase.rsplit_once('~')?;
    if distance.is_empty() { Some((word, 1)) } else { Some((word, distance.parse().ok()?)) }
}

/// Clauses as one query; a single one stands for itself.
fn joined(mut clauses: Vec<(Occur, Part)>) -> Part {
    if let [(Occur::Should | Occur::Must, _)] = clauses.as_slice() {
        return clauses.remove(0).1;
    }
    let mut text = String::from("(");
    let mut queries = Vec::with_capacity(clauses.len());
    for (at, (occur, part)) in clauses.into_iter().enumerate() {
        let sign = match occur {
            Occur::Must => "+",
            Occur::MustNot => "-",
            Occur::Should => "",
        };
        let blank = if at > 0 { " " } else { "" };
        write!(text, "{blank}{sign}{}", part.text).expect("a String takes any text");
        queries.push((occur, part.query));
    }
    text.push(')');
    Part::new(BooleanQuery::new(queries), text)
}

/// A text in quotes, unless it is a plain word.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(char::is_alphanumeric);
    if is_plain { text.to_string() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}
