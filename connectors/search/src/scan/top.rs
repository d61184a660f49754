//! The first rows of an order: `ORDER BY _score DESC LIMIT 10`, `ORDER BY price, id LIMIT 10`.
//!
//! By score alone, Tantivy skips what cannot be among the first. By columns, every matching row's keys are read from
//! fast fields, and only the winners become rows.

use super::{Request, Taker};
use crate::error::reading;
use crate::read::{Segment, keywords, words};
use polder_catalog::{Error, Result};
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use tantivy::collector::TopDocs;
use tantivy::columnar::{BytesColumn, Column};
use tantivy::query::{EnableScoring, Query};
use tantivy::{DocAddress, DocId, Score, SegmentReader, TERMINATED};

/// An order, and how many rows are wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct Top {
    pub(crate) keys: Vec<Key>,
    pub(crate) limit: usize,
}

/// One key of an order.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) by: By,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum By {
    Score,
    /// A place in the layout, of a column with a fast field.
    Column(usize, String),
}

impl fmt::Display for Top {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "top {} by ", self.limit)?;
        for (at, key) in self.keys.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let name = match &key.by {
                By::Score => crate::SCORE,
                By::Column(_, name) => name,
            };
            let direction = if key.descending { "descending" } else { "ascending" };
            let nulls = if key.nulls_first { " nulls first" } else { "" };
            write!(f, "{comma}{name} {direction}{nulls}")?;
        }
        Ok(())
    }
}

/// What a row is ordered by: the lesser comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Word(u8, u64),
    Text(u8, Vec<u8>),
    TextBackwards(u8, std::cmp::Reverse<Vec<u8>>),
}

/// A row that may be among the first; the greatest leaves first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    ranks: Vec<Rank>,
    segment: u32,
    document: DocId,
    /// The bits of its score.
    score: u32,
}

/// A row, and its score if it has one.
type Winner = (Option<Score>, DocAddress);

impl Top {
    pub(super) fn is_by_score(&self) -> bool {
        self.keys.iter().any(|key| matches!(key.by, By::Score))
    }

    /// The winners, in no order: the planner sorts them again.
    pub(super) fn run(&self, request: &Request, taker: &Taker<'_>) -> Result<()> {
        let (query, has_score) = request.query();
        let winners = match self.keys.as_slice() {
            _ if self.limit == 0 => Vec::new(),
            [Key { by: By::Score, descending: true, .. }] if has_score => self.by_score(request, query.as_ref())?,
            _ => self.by_keys(request, query.as_ref(), has_score, taker)?,
        };
        let mut segments: BTreeMap<u32, (Vec<DocId>, Vec<Score>)> = BTreeMap::new();
        for (score, address) in winners {
            let (documents, scores) = segments.entry(address.segment_ord).or_default();
            documents.push(address.doc_id);
            scores.extend(score);
        }
        for (segment, (documents, scores)) in segments {
            let reader = request.table.searcher.segment_reader(segment);
            let segment = Segment::new(&request.table.layout, reader, &request.output)?;
            if !segment.give(&request.output, &documents, &scores, taker)? {
                break;
            }
        }
        Ok(())
    }

    fn by_score(&self, request: &Request, query: &dyn Query) -> Result<Vec<Winner>> {
        let top = TopDocs::with_limit(self.limit).order_by_score();
        let found = request.table.searcher.search(query, &top).map_err(reading)?;
        Ok(found.into_iter().map(|(score, address)| (Some(score), address)).collect())
    }

    /// Whoever is gone gets no rows.
    fn by_keys(&self, request: &Request, query: &dyn Query, has_score: bool, taker: &Taker<'_>) -> Result<Vec<Winner>> {
        let searcher = &request.table.searcher;
        let scoring = match has_score {
            true => EnableScoring::enabled_from_searcher(searcher),
            false => EnableScoring::disabled_from_searcher(searcher),
        };
        let weight = query.weight(scoring).map_err(reading)?;
        let mut first: BinaryHeap<Candidate> = BinaryHeap::new();
        for (segment, reader) in (0u32..).zip(searcher.segment_readers()) {
            let columns = self.keys.iter().map(|key| Ranked::new(key, request, reader)).collect::<Result<Vec<_>>>()?;
            let mut scorer = weight.scorer(reader, 1.0).map_err(reading)?;
            let mut document = scorer.doc();
            while document != TERMINATED {
                if !reader.is_deleted(document) {
                    let score = if has_score { Some(scorer.score()) } else { None };
                    let ranks =
                        columns.iter().map(|column| column.rank(document, score)).collect::<Result<Vec<_>>>()?;
                    if first.len() < self.limit || first.peek().is_some_and(|last| ranks < last.ranks) {
                        let score = score.unwrap_or_default().to_bits();
                        first.push(Candidate { ranks, segment, document, score });
                        if first.len() > self.limit {
                            first.pop();
                        }
                    }
                }
                document = scorer.advance();
                if document & 0xfff == 0 && taker.is_gone() {
                    return Ok(Vec::new());
                }
            }
        }
        let winner = |candidate: Candidate| {
            let score = has_score.then(|| f32::from_bits(candidate.score));
            (score, DocAddress::new(candidate.segment, candidate.document))
        };
        Ok(first.into_iter().map(winner).collect())
    }
}

/// One key of one segment.
struct Ranked {
    values: Values,
    descending: bool,
    /// Where NULL stands beside values, which are at 1.
    null: u8,
}

enum Values {
    Score,
    Words(Column<u64>),
    Texts(BytesColumn),
}

impl Ranked {
    fn new(key: &Key, request: &Request, reader: &SegmentReader) -> Result<Self> {
        use crate::layout::Place;
        let layout = &request.table.layout;
        let values = match &key.by {
            By::Score => Values::Score,
            By::Column(at, _) => match &layout.slots[*at].place {
                Place::Word { name, .. } => Values::Words(words(name, reader).map_err(reading)?),
                Place::Row { fast, .. } => {
                    let texts = keywords(layout, &layout.slots[*at], fast.as_deref(), reader).map_err(reading)?;
                    Values::Texts(texts.ok_or_else(|| Error::report("a column to sort by has no fast field"))?)
                }
            },
        };
        Ok(Self { values, descending: key.descending, null: if key.nulls_first { 0 } else { 2 } })
    }

    fn rank(&self, document: DocId, score: Option<Score>) -> Result<Rank> {
        let word = |word: Option<u64>| match word {
            None => Rank::Word(self.null, 0),
            Some(word) => Rank::Word(1, if self.descending { !word } else { word }),
        };
        Ok(match &self.values {
            // Scores are never negative, so their bits are in their order.
            Values::Score => word(score.map(|score| u64::from(score.to_bits()))),
            Values::Words(column) => word(column.first(document)),
            Values::Texts(column) => match column.ords().first(document) {
                None if self.descending => Rank::TextBackwards(self.null, std::cmp::Reverse(Vec::new())),
                None => Rank::Text(self.null, Vec::new()),
                Some(number) => {
                    let mut text = Vec::new();
                    column.ord_to_bytes(number, &mut text).map_err(|error| reading(error.into()))?;
                    if self.descending { Rank::TextBackwards(1, std::cmp::Reverse(text)) } else { Rank::Text(1, text) }
                }
            },
        })
    }
}
