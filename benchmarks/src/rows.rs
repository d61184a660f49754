//! Rows of several contenders: a hash that does not depend on their order, and a comparison that knows what may differ.
//!
//! Contenders spell one value in several types (`Utf8` and `Utf8View`, a decimal and a double). So rows are first cast to
//! the schema of a reference. After that most results must be equal to the last bit. What may differ is an average or a
//! quotient, which one engine computes as a double and another as a decimal: those are compared as numbers.

use crate::Result;
use arrow::array::{Array, AsArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// How many rows, and a hash of them as a multiset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) rows: usize,
    hash: u64,
}

impl Fingerprint {
    /// One fingerprint of several results, in their order.
    pub(crate) fn of_all(fingerprints: &[Self]) -> Self {
        let start = Self { rows: 0, hash: 0 };
        fingerprints
            .iter()
            .fold(start, |all, next| Self { rows: all.rows + next.rows, hash: mix(all.hash) ^ next.hash })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} ({} rows)", self.hash, self.rows)
    }
}

/// Adds up one hash per row, so that neither order nor batches matter, and repeated rows count.
pub(crate) fn fingerprint(batches: &[RecordBatch]) -> Result<Fingerprint> {
    let mut whole = Fingerprint { rows: 0, hash: 0 };
    for batch in batches {
        let columns = batch.columns().iter().map(|column| hashes(column)).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let hash = columns.iter().fold(0, |hash, column| mix(hash ^ column[row]));
            whole.hash = whole.hash.wrapping_add(hash);
        }
        whole.rows += batch.num_rows();
    }
    Ok(whole)
}

/// The hash of each value of a column, taken of its text.
fn hashes(column: &dyn Array) -> Result<Vec<u64>> {
    let options = FormatOptions::default();
    let texts = ArrayFormatter::try_new(column, &options)?;
    let is_double = column.data_type().is_floating();
    let mut text = String::new();
    let mut hashes = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        text.clear();
        if column.is_valid(row) {
            text.push('=');
            texts.value(row).write(&mut text)?;
        }
        if is_double && column.is_valid(row) {
            text = significant(&text[1..]);
        }
        hashes.push(fnv(text.as_bytes()));
    }
    Ok(hashes)
}

/// Nine digits of a double: the last ones depend on the order of additions.
fn significant(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_string(), |number: f64| format!("{number:.8e}"))
}

/// FNV-1a, which is the same in every version of the standard library.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finalizer of SplitMix64: without it a sum of hashes would cancel differences between columns.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Fails unless both are the same multiset of rows, to the last bit after casting; `who` names the other one.
pub(crate) fn assert_identical(reference: &[RecordBatch], who: &str, other: &[RecordBatch]) -> Result<()> {
    let other = match reference.first() {
        Some(first) => conform(other, &first.schema()).map_err(|error| format!("{who}: {error}"))?,
        None => other.to_vec(),
    };
    let (ours, theirs) = (fingerprint(reference)?, fingerprint(&other)?);
    if ours == theirs { Ok(()) } else { Err(format!("{who} has other rows: {theirs} instead of {ours}").into()) }
}

/// Fails unless both are the same multiset of rows, where doubles may differ by rounding, and a decimal that the other
/// one has in another type by its last digit.
pub(crate) fn assert_equal(reference: &[RecordBatch], who: &str, other: &[RecordBatch]) -> Result<()> {
    let Err(difference) = assert_identical(reference, who, other) else { return Ok(()) };
    let (Some(first), true) = (reference.first(), count(reference) == count(other)) else { return Err(difference) };
    let schema = first.schema();
    let tolerances = tolerances(&schema, other);
    if tolerances.iter().all(Option::is_none) {
        return Err(difference);
    }
    let (reference, other) = (sorted(reference, &schema, &tolerances)?, sorted(other, &schema, &tolerances)?);
    match reference.iter().zip(&other).find(|(one, other)| !one.is_near(other, &tolerances)) {
        Some((one, other)) => Err(format!("{who} has another row: {other:?} instead of {one:?}").into()),
        None => Ok(()),
    }
}

/// How many rows there are.
pub(crate) fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// For each column how far two numbers may be apart beyond rounding of doubles; `None` where they must be equal.
///
/// A decimal that the other side has as a double may be rounded or cut in its last digit.
fn tolerances(schema: &SchemaRef, other: &[RecordBatch]) -> Vec<Option<f64>> {
    let theirs = other.first().map(RecordBatch::schema);
    let tolerance = |(index, field): (usize, &Arc<arrow::datatypes::Field>)| {
        let their_type = theirs.as_ref().and_then(|schema| Some(schema.fields().get(index)?.data_type().clone()))?;
        match field.data_type() {
            DataType::Float32 | DataType::Float64 => Some(0.0),
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if their_type != *field.data_type() => {
                Some(10_f64.powi(-i32::from(*scale)))
            }
            _ => None,
        }
    };
    schema.fields().iter().enumerate().map(tolerance).collect()
}

/// The same rows in another schema; columns go by position, because contenders name computed columns as they like.
fn conform(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    batches.iter().map(|batch| conform_batch(batch, schema)).collect()
}

fn conform_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        return Err(format!("{} columns instead of {}", batch.num_columns(), schema.fields().len()).into());
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
    // Whether a column can be NULL is a promise, not a value.
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
}

/// A row split into what must be equal and what may be near.
#[derive(Debug)]
struct Row {
    texts: Vec<Option<String>>,
    numbers: Vec<Option<f64>>,
}

impl Row {
    fn compare(&self, other: &Self) -> Ordering {
        let numbers = || self.numbers.partial_cmp(&other.numbers).unwrap_or(Ordering::Equal);
        self.texts.cmp(&other.texts).then_with(numbers)
    }

    fn is_near(&self, other: &Self, tolerances: &[Option<f64>]) -> bool {
        let mut pairs = self.numbers.iter().zip(&other.numbers).zip(tolerances.iter().flatten());
        self.texts == other.texts
            && pairs.all(|((one, other), tolerance)| match (one, other) {
                (Some(one), Some(other)) => (one - other).abs() <= tolerance + 1e-9 * one.abs().max(other.abs()),
                (one, other) => one.is_none() && other.is_none(),
            })
    }
}

fn sorted(batches: &[RecordBatch], schema: &SchemaRef, tolerances: &[Option<f64>]) -> Result<Vec<Row>> {
    let batches = conform(batches, schema)?;
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let whole = concat_batches(&first.schema(), &batches)?;
    let mut rows: Vec<Row> = (0..whole.num_rows()).map(|_| Row { texts: Vec::new(), numbers: Vec::new() }).collect();
    for (column, tolerance) in whole.columns().iter().zip(tolerances) {
        let target = if tolerance.is_some() { DataType::Float64 } else { DataType::Utf8 };
        let values = cast(column, &target)?;
        for (index, row) in rows.iter_mut().enumerate() {
            let valid = values.is_valid(index);
            match tolerance {
                Some(_) => row.numbers.push(valid.then(|| values.as_primitive::<Float64Type>().value(index))),
                None => row.texts.push(valid.then(|| values.as_string::<i32>().value(index).to_string())),
            }
        }
    }
    rows.sort_by(Row::compare);
    Ok(rows)
}

/// Reads the rows that another process has written.
pub(crate) fn read_ipc(path: &Path) -> Result<Vec<RecordBatch>> {
    Ok(arrow::ipc::reader::FileReader::try_new(File::open(path)?, None)?.collect::<Result<_, _>>()?)
}

/// Reads rows in CSV with a header, where an empty field is NULL.
pub(crate) fn read_csv(text: &[u8], schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let reader = arrow::csv::ReaderBuilder::new(Arc::clone(schema)).with_header(true).build(text)?;
    Ok(reader.collect::<Result<_, _>>()?)
}
