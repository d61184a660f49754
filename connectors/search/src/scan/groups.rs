//! Groups and their aggregates, made from fast fields: no row is read.
//!
//! Sums of integers are made in 128 bits and wrap as DataFusion's do.

use super::{Request, Taker};
use crate::encoding::{self, to_signed};
use crate::error::reading;
use crate::layout::{Place, Slot};
use crate::read::{keywords, unreadable, words};
use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use polder_catalog::{Error, Result};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tantivy::columnar::{BytesColumn, Column};
use tantivy::query::EnableScoring;
use tantivy::{DocId, SegmentReader, TERMINATED};

/// Groups in one batch.
const GROUPS_IN_BATCH: usize = 8192;
/// What a group takes beside its members and totals, and a member beside itself, about.
const GROUP_BYTES: usize = 96;
const MEMBER_BYTES: usize = 32;

/// Groups by some columns, and what is asked of each.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    pub(crate) by: Vec<Group>,
    pub(crate) aggregates: Vec<Aggregate>,
    /// The columns of the groups, then the aggregates.
    pub(crate) fields: Vec<FieldRef>,
}

/// A column that rows are grouped by: a place in the layout.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) at: usize,
    pub(crate) name: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) function: Function,
    /// A place in the layout; `None` counts rows.
    pub(crate) of: Option<usize>,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    Min,
    Max,
    Sum,
    Avg,
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aggregates: Vec<_> = self.aggregates.iter().map(|aggregate| aggregate.text.as_str()).collect();
        let names: Vec<_> = self.by.iter().map(|group| group.name.as_str()).collect();
        match (aggregates.is_empty(), names.is_empty()) {
            (true, _) => write!(f, "distinct {}", names.join(", ")),
            (false, true) => f.write_str(&aggregates.join(", ")),
            (false, false) => write!(f, "{} by {}", aggregates.join(", "), names.join(", ")),
        }
    }
}

/// A value that rows are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Member {
    Null,
    Word(u64),
    Text(Vec<u8>),
}

/// What is known of one column in one group.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: i64,
    sum: i128,
    low: Option<u64>,
    high: Option<u64>,
}

impl Total {
    fn add(&mut self, word: u64, number: i128) {
        self.count += 1;
        self.sum += number;
        self.low = Some(self.low.map_or(word, |low| low.min(word)));
        self.high = Some(self.high.map_or(word, |high| high.max(word)));
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        let both = |one: Option<u64>, other: Option<u64>, pick: fn(u64, u64) -> u64| match (one, other) {
            (Some(one), Some(other)) => Some(pick(one, other)),
            (one, other) => one.or(other),
        };
        self.low = both(self.low, other.low, u64::min);
        self.high = both(self.high, other.high, u64::max);
    }
}

impl Groups {
    /// The columns at `output`.
    pub(super) fn schema(&self, output: &[usize]) -> SchemaRef {
        Arc::new(Schema::new(output.iter().map(|at| Arc::clone(&self.fields[*at])).collect::<Vec<_>>()))
    }

    /// Without a column to group by there is one group, even of no rows.
    pub(super) fn run(&self, request: &Request, memory: &Arc<dyn MemoryPool>, taker: &Taker<'_>) -> Result<()> {
        let (query, _) = request.query();
        let searcher = &request.table.searcher;
        let weight = query.weight(EnableScoring::disabled_from_searcher(searcher)).map_err(reading)?;
        let name = &request.table.layout.definition.name;
        let mut held = MemoryConsumer::new(format!("groups of {name}")).register(memory);
        let mut all: HashMap<Vec<Member>, Vec<Total>> = HashMap::new();
        if self.by.is_empty() {
            all.insert(Vec::new(), vec![Total::default(); self.aggregates.len()]);
        }
        let only_counts = self.by.is_empty() && self.aggregates.iter().all(|aggregate| aggregate.of.is_none());
        for reader in searcher.segment_readers() {
            if only_counts {
                let rows = weight.count(reader).map_err(reading)?;
                all.values_mut().flatten().for_each(|total| total.count += i64::from(rows));
                continue;
            }
            let mut scorer = weight.scorer(reader, 1.0).map_err(reading)?;
            let mut segment = SegmentGroups::new(self, request, reader)?;
            let mut document = scorer.doc();
            while document != TERMINATED {
                if !reader.is_deleted(document) {
                    segment.add(document);
                }
                document = scorer.advance();
                if document & 0xfff == 0 {
                    if taker.is_gone() {
                        return Ok(());
                    }
                    self.hold(&mut held, all.len() + segment.groups.len())?;
                }
            }
            self.hold(&mut held, all.len() + segment.groups.len())?;
            segment.merge_into(&mut all)?;
        }
        let all: Vec<_> = all.into_iter().collect();
        for some in all.chunks(GROUPS_IN_BATCH) {
            if !taker.give(&self.batch(request, some)?)? {
                break;
            }
        }
        Ok(())
    }

    /// Accounts for so many groups.
    fn hold(&self, held: &mut MemoryReservation, groups: usize) -> Result<()> {
        let members = self.by.len() * (size_of::<Member>() + MEMBER_BYTES);
        let group = GROUP_BYTES + members + self.aggregates.len() * size_of::<Total>();
        held.try_resize(groups * group).map_err(Error::from_datafusion)
    }

    fn batch(&self, request: &Request, all: &[(Vec<Member>, Vec<Total>)]) -> Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(request.output.len());
        for at in &request.output {
            let array = match self.by.get(*at) {
                Some(group) => {
                    let data_type = request.table.layout.slots[group.at].field.data_type();
                    members(all.iter().map(|(members, _)| &members[*at]), data_type)?
                }
                None => {
                    let at = *at - self.by.len();
                    let totals: Vec<Total> = all.iter().map(|(_, totals)| totals[at]).collect();
                    self.aggregates[at].values(&totals, self.fields[self.by.len() + at].data_type())?
                }
            };
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(all.len()));
        RecordBatch::try_new_with_options(Arc::clone(&request.schema), arrays, &options).map_err(unreadable)
    }
}

fn members<'a>(members: impl Iterator<Item = &'a Member> + Clone, data_type: &DataType) -> Result<ArrayRef> {
    if encoding::fits_word(data_type) {
        let words: Vec<Option<u64>> = members
            .map(|member| match member {
                Member::Word(word) => Some(*word),
                _ => None,
            })
            .collect();
        return encoding::of_words(&words, data_type).map_err(unreadable);
    }
    let texts: Vec<Option<&[u8]>> = members
        .map(|member| match member {
            Member::Text(text) => Some(text.as_slice()),
            _ => None,
        })
        .collect();
    crate::row::read(&texts, data_type).map_err(unreadable)
}

impl Aggregate {
    fn values(&self, totals: &[Total], data_type: &DataType) -> Result<ArrayRef> {
        let sums = || totals.iter().map(|total| (total.count > 0).then_some(total.sum));
        Ok(match self.function {
            Function::Count => Arc::new(Int64Array::from_iter_values(totals.iter().map(|total| total.count))),
            Function::Min => ends(totals, |total| total.low, data_type)?,
            Function::Max => ends(totals, |total| total.high, data_type)?,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a sum wraps, as DataFusion's does"
            )]
            Function::Sum => match data_type {
                DataType::UInt64 => Arc::new(UInt64Array::from_iter(sums().map(|sum| sum.map(|sum| sum as u64)))),
                DataType::Decimal128(digits, scale) => {
                    let sums = Decimal128Array::from_iter(sums());
                    Arc::new(sums.with_precision_and_scale(*digits, *scale).map_err(unreadable)?)
                }
                _ => Arc::new(Int64Array::from_iter(sums().map(|sum| sum.map(|sum| sum as i64)))),
            },
            #[expect(clippy::cast_precision_loss, reason = "an average is a float")]
            Function::Avg => {
                let averages =
                    totals.iter().map(|total| (total.count > 0).then(|| total.sum as f64 / total.count as f64));
                Arc::new(Float64Array::from_iter(averages))
            }
        })
    }
}

fn ends(totals: &[Total], end: impl Fn(&Total) -> Option<u64>, data_type: &DataType) -> Result<ArrayRef> {
    let words: Vec<Option<u64>> = totals.iter().map(end).collect();
    encoding::of_words(&words, data_type).map_err(unreadable)
}

/// The groups of one segment: texts are the numbers of its dictionary.
struct SegmentGroups {
    by: Vec<Column<u64>>,
    dictionaries: Vec<Option<BytesColumn>>,
    of: Vec<Option<(Column<u64>, bool)>>,
    groups: HashMap<Vec<Option<u64>>, Vec<Total>>,
}

impl SegmentGroups {
    fn new(groups: &Groups, request: &Request, reader: &SegmentReader) -> Result<Self> {
        let slots = &request.table.layout.slots;
        let mut made = Self { by: Vec::new(), dictionaries: Vec::new(), of: Vec::new(), groups: HashMap::new() };
        for group in &groups.by {
            let (column, dictionary) = numbers(&slots[group.at], request, reader)?;
            made.by.push(column);
            made.dictionaries.push(dictionary);
        }
        for aggregate in &groups.aggregates {
            let column = aggregate.of.map(|at| {
                let is_unsigned = !is_signed(slots[at].field.data_type());
                numbers(&slots[at], request, reader).map(|(column, _)| (column, is_unsigned))
            });
            made.of.push(column.transpose()?);
        }
        Ok(made)
    }

    fn add(&mut self, document: DocId) {
        let members: Vec<Option<u64>> = self.by.iter().map(|column| column.first(document)).collect();
        let totals = self.groups.entry(members).or_insert_with(|| vec![Total::default(); self.of.len()]);
        for (total, of) in totals.iter_mut().zip(&self.of) {
            match of {
                None => total.count += 1,
                Some((column, is_unsigned)) => {
                    if let Some(word) = column.first(document) {
                        let number = if *is_unsigned { i128::from(word) } else { i128::from(to_signed(word)) };
                        total.add(word, number);
                    }
                }
            }
        }
    }

    fn merge_into(self, all: &mut HashMap<Vec<Member>, Vec<Total>>) -> Result<()> {
        for (numbers, totals) in self.groups {
            let mut members = Vec::with_capacity(numbers.len());
            for (number, dictionary) in numbers.into_iter().zip(&self.dictionaries) {
                members.push(match (number, dictionary) {
                    (None, _) => Member::Null,
                    (Some(word), None) => Member::Word(word),
                    (Some(number), Some(dictionary)) => {
                        let mut text = Vec::new();
                        dictionary.ord_to_bytes(number, &mut text).map_err(|error| reading(error.into()))?;
                        Member::Text(text)
                    }
                });
            }
            match all.get_mut(&members) {
                Some(known) => known.iter_mut().zip(totals).for_each(|(known, total)| known.merge(total)),
                None => {
                    all.insert(members, totals);
                }
            }
        }
        Ok(())
    }
}

/// Whether the words of this type are signed numbers.
fn is_signed(data_type: &DataType) -> bool {
    !(data_type.is_unsigned_integer() || *data_type == DataType::Boolean || data_type.is_floating())
}

type Numbers = (Column<u64>, Option<BytesColumn>);

fn numbers(slot: &Slot, request: &Request, reader: &SegmentReader) -> Result<Numbers> {
    match &slot.place {
        Place::Word { name, .. } => Ok((words(name, reader).map_err(reading)?, None)),
        Place::Row { fast, .. } => {
            let dictionary = keywords(&request.table.layout, slot, fast.as_deref(), reader).map_err(reading)?;
            let dictionary = dictionary.ok_or_else(|| Error::report("a column to group by has no fast field"))?;
            Ok((dictionary.ords().clone(), Some(dictionary)))
        }
    }
}
