//! Conditions over an index: what they ask, and how they read.
//!
//! ```text
//! +kind:"a" +price:{1 TO *} +(body:rust)          as EXPLAIN prints it
//! ```

use super::value::{Stored, Value};
use crate::language::Question;
use crate::layout::{Layout, Place, Slot};
use polder_catalog::Result;
use std::ops::Bound;
use std::sync::Arc;
use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, EmptyQuery, InvertedIndexRangeQuery, Occur, Query, RangeQuery, TermQuery,
    TermSetQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Searcher, Term};

/// A set of rows.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    All,
    Nothing,
    /// The column is NULL.
    Null(Of),
    /// One of these values.
    OneOf(Of, Vec<Value>),
    Range(Of, Bound<Value>, Bound<Value>),
    Match(Arc<Question>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

/// A column of the index.
#[derive(Clone, Debug)]
pub(crate) struct Of {
    name: String,
    number: u64,
    field: Option<Field>,
    is_word: bool,
}

impl From<&Slot> for Of {
    fn from(slot: &Slot) -> Self {
        let (field, is_word) = match &slot.place {
            Place::Word { field, .. } => (Some(*field), true),
            Place::Row { terms, .. } => (*terms, false),
        };
        Self { name: slot.field.name().clone(), number: slot.number, field, is_word }
    }
}

impl Of {
    fn term(&self, value: &Value) -> Term {
        let field = self.field.expect("only a column with terms is compared");
        match &value.stored {
            Stored::Word(word) => Term::from_field_u64(field, *word),
            Stored::Bytes(bytes) => Term::from_field_bytes(field, bytes),
        }
    }
}

impl Condition {
    pub(super) fn equal(slot: &Slot, value: Value) -> Self {
        Self::OneOf(slot.into(), vec![value])
    }

    pub(crate) fn one_of(slot: &Slot, values: Vec<Value>) -> Self {
        if values.is_empty() { Self::Nothing } else { Self::OneOf(slot.into(), values) }
    }

    /// A range without any value has none: Tantivy is not asked for it.
    pub(crate) fn range(slot: &Slot, low: Bound<Value>, high: Bound<Value>) -> Self {
        Self::Range(slot.into(), low, high)
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::All => Self::Nothing,
            Self::Nothing => Self::All,
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(crate) fn and(parts: Vec<Self>) -> Self {
        let mut all = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::All => {}
                Self::Nothing => return Self::Nothing,
                Self::And(inner) => all.extend(inner),
                other => all.push(other),
            }
        }
        match all.len() {
            0 => Self::All,
            1 => all.remove(0),
            _ => Self::And(all),
        }
    }

    pub(super) fn or(parts: Vec<Self>) -> Self {
        let mut any = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Nothing => {}
                Self::All => return Self::All,
                Self::Or(inner) => any.extend(inner),
                other => any.push(other),
            }
        }
        match any.len() {
            0 => Self::Nothing,
            1 => any.remove(0),
            _ => Self::Or(any),
        }
    }

    /// The parts that all must hold.
    pub(crate) fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(parts) => parts,
            other => std::slice::from_ref(other),
        }
    }

    /// The queries of every `match()` in it.
    pub(crate) fn questions(&self) -> Vec<Arc<Question>> {
        match self {
            Self::Match(question) => vec![Arc::clone(question)],
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::questions).collect(),
            Self::Not(inner) => inner.questions(),
            Self::All | Self::Nothing | Self::Null(_) | Self::OneOf(..) | Self::Range(..) => Vec::new(),
        }
    }

    /// Whether it looks for a hash anywhere: what is found may then be more than what is asked for.
    pub(crate) fn is_hashed(&self) -> bool {
        match self {
            Self::OneOf(_, values) => values.iter().any(|value| value.is_hashed),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::is_hashed),
            Self::Not(inner) => inner.is_hashed(),
            Self::All | Self::Nothing | Self::Null(_) | Self::Range(..) | Self::Match(_) => false,
        }
    }

    /// Whether an answer with some rows too many has all that are asked for: nothing that looks for a hash is denied.
    pub(crate) fn can_be_checked(&self) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().all(Self::can_be_checked),
            Self::Not(inner) => !inner.is_hashed(),
            _ => true,
        }
    }

    /// Whether the index can answer.
    pub(crate) fn check(&self, searcher: &Searcher) -> Result<()> {
        match self {
            Self::Match(question) => question.check(searcher),
            Self::And(parts) | Self::Or(parts) => parts.iter().try_for_each(|part| part.check(searcher)),
            Self::Not(inner) => inner.check(searcher),
            Self::All | Self::Nothing | Self::Null(_) | Self::OneOf(..) | Self::Range(..) => Ok(()),
        }
    }

    /// As a query that says which rows, without a score.
    pub(crate) fn query(&self, layout: &Layout) -> Box<dyn Query> {
        match self {
            Self::All => Box::new(AllQuery),
            Self::Nothing => Box::new(EmptyQuery),
            Self::Null(of) => {
                Box::new(TermQuery::new(Term::from_field_u64(layout.null, of.number), IndexRecordOption::Basic))
            }
            Self::OneOf(of, values) => match values.as_slice() {
                [value] => Box::new(TermQuery::new(of.term(value), IndexRecordOption::Basic)),
                values => Box::new(TermSetQuery::new(values.iter().map(|value| of.term(value)))),
            },
            Self::Range(of, low, high) => {
                let term = |bound: &Bound<Value>| match bound {
                    Bound::Unbounded => Bound::Unbounded,
                    Bound::Included(value) => Bound::Included(of.term(value)),
                    Bound::Excluded(value) => Bound::Excluded(of.term(value)),
                };
                match of.is_word {
                    true => Box::new(RangeQuery::new(term(low), term(high))),
                    false => Box::new(InvertedIndexRangeQuery::new(term(low), term(high))),
                }
            }
            Self::Match(question) => question.query.box_clone(),
            Self::Or(parts) => {
                Box::new(BooleanQuery::new(parts.iter().map(|part| (Occur::Should, part.query(layout))).collect()))
            }
            Self::And(parts) => conjunction(parts, layout),
            Self::Not(_) => conjunction(std::slice::from_ref(self), layout),
        }
    }

    /// As a query whose score is that of the matches that all rows must answer; `None` if there is none.
    pub(crate) fn scored(&self, layout: &Layout) -> Option<Box<dyn Query>> {
        let (matches, rest): (Vec<_>, Vec<_>) =
            self.conjuncts().iter().partition(|part| matches!(part, Self::Match(_)));
        if matches.is_empty() {
            return None;
        }
        let mut clauses: Vec<(Occur, Box<dyn Query>)> =
            matches.into_iter().map(|part| (Occur::Must, part.query(layout))).collect();
        if !rest.is_empty() {
            let rest: Vec<Self> = rest.into_iter().cloned().collect();
            let rest = Self::and(rest).query(layout);
            clauses.push((Occur::Must, Box::new(ConstScoreQuery::new(rest, 0.0))));
        }
        Some(if clauses.len() == 1 { clauses.remove(0).1 } else { Box::new(BooleanQuery::new(clauses)) })
    }
}

fn conjunction(parts: &[Condition], layout: &Layout) -> Box<dyn Query> {
    let clause = |part: &Condition| match part {
        Condition::Not(inner) => (Occur::MustNot, inner.query(layout)),
        part => (Occur::Must, part.query(layout)),
    };
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = parts.iter().map(clause).collect();
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Box::new(BooleanQuery::new(clauses))
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joined = |f: &mut std::fmt::Formatter<'_>, parts: &[Self], sign: &str| {
            parts.iter().enumerate().try_for_each(|(at, part)| {
                let blank = if at > 0 { " " } else { "" };
                match part {
                    Self::Not(_) => write!(f, "{blank}{part}"),
                    part @ (Self::And(_) | Self::Or(_)) => write!(f, "{blank}{sign}({part})"),
                    part => write!(f, "{blank}{sign}{part}"),
                }
            })
        };
        match self {
            Self::All => f.write_str("*"),
            Self::Nothing => f.write_str("nothing"),
            Self::Null(of) => write!(f, "{}:null", of.name),
            Self::OneOf(of, values) => match values.as_slice() {
                [value] => write!(f, "{}:{}", of.name, value.text),
                values => {
                    let shown: Vec<_> = values.iter().take(20).map(|value| value.text.as_str()).collect();
                    let more = if values.len() > shown.len() {
                        format!(" ... {} in all", values.len())
                    } else {
                        String::new()
                    };
                    write!(f, "{}: IN [{}{more}]", of.name, shown.join(" "))
                }
            },
            Self::Range(of, low, high) => {
                write!(f, "{}:", of.name)?;
                match low {
                    Bound::Unbounded => f.write_str("{*")?,
                    Bound::Included(value) => write!(f, "[{}", value.text)?,
                    Bound::Excluded(value) => write!(f, "{{{}", value.text)?,
                }
                match high {
                    Bound::Unbounded => f.write_str(" TO *}"),
                    Bound::Included(value) => write!(f, " TO {}]", value.text),
                    Bound::Excluded(value) => write!(f, " TO {}}}", value.text),
                }
            }
            Self::Match(question) => write!(f, "({})", question.text),
            Self::And(parts) => joined(f, parts, "+"),
            Self::Or(parts) => joined(f, parts, ""),
            Self::Not(inner) => write!(f, "-({inner})"),
        }
    }
}
