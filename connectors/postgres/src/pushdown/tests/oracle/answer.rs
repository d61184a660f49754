//! Rows, and when two results are the same.

use super::{Limited, Query};
use arrow::record_batch::RecordBatch;
use datafusion_common::ScalarValue;
use std::collections::BTreeMap;

/// A row, each value printed with its type: -0.0 and 0.0 are two values, NaN is one.
pub(super) type Row = Vec<String>;

pub(super) fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let value = |column| ScalarValue::try_from_array(batch.column(column), row).expect("a value of the array");
            rows.push((0..batch.num_columns()).map(|column| format!("{:?}", value(column))).collect());
        }
    }
    rows
}

/// What differs, in words; `None` if nothing does.
pub(super) fn difference(query: &Query, local: &[Row], pushed: &[Row], unlimited: Option<&[Row]>) -> Option<String> {
    match (&query.limited, unlimited) {
        (Some(limited), Some(all)) => limited_difference(limited, local, pushed, all),
        _ if query.approximate => approximate_difference(local, pushed),
        _ => multiset_difference(local, pushed),
    }
}

fn counted(rows: &[Row]) -> BTreeMap<&Row, i64> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row).or_default() += 1;
    }
    counts
}

fn multiset_difference(local: &[Row], pushed: &[Row]) -> Option<String> {
    let mut counts = counted(local);
    for row in pushed {
        *counts.entry(row).or_default() -= 1;
    }
    let different: Vec<_> = counts.into_iter().filter(|(_, count)| *count != 0).take(4).collect();
    let (one, other) = (local.len(), pushed.len());
    (!different.is_empty()).then(|| format!("{one} rows local, {other} pushed; local minus pushed: {different:?}"))
}

/// Without an order any rows will do; with one, those before the last key are fixed, and the ties are a set.
fn limited_difference(limited: &Limited, local: &[Row], pushed: &[Row], all: &[Row]) -> Option<String> {
    let expected = all.len().min(limited.limit);
    if pushed.len() != expected || local.len() != expected {
        return Some(format!("{} rows local, {} pushed, {expected} expected", local.len(), pushed.len()));
    }
    let mut left = counted(all);
    for row in pushed {
        let count = left.entry(row).or_default();
        *count -= 1;
        if *count < 0 {
            return Some(format!("a row that the query has not: {row:?}"));
        }
    }
    // -0 and 0 are equal, so they tie.
    let key = |row: &Row| row[..limited.keys].iter().map(|value| value.replace("(-0)", "(0)")).collect::<Vec<_>>();
    let keys = |rows: &[Row]| rows.iter().map(key).collect::<Vec<_>>();
    if keys(local) != keys(pushed) {
        return Some(format!("keys local {:?}, pushed {:?}", keys(local), keys(pushed)));
    }
    let last = local.last().map(key);
    let before = |rows: &[Row]| rows.iter().filter(|row| Some(key(row)) != last).cloned().collect::<Vec<_>>();
    multiset_difference(&before(local), &before(pushed))
}

/// The first column is a float, the others are exact.
fn approximate_difference(local: &[Row], pushed: &[Row]) -> Option<String> {
    let keyed = |rows: &[Row]| {
        let mut rows: Vec<(Vec<String>, String)> = rows.iter().map(|row| (row[1..].to_vec(), row[0].clone())).collect();
        rows.sort();
        rows
    };
    let (local, pushed) = (keyed(local), keyed(pushed));
    let same = local.len() == pushed.len()
        && local
            .iter()
            .zip(&pushed)
            .all(|((one_key, one), (other_key, other))| one_key == other_key && close(one, other));
    (!same).then(|| format!("local {local:?}, pushed {pushed:?}"))
}

fn close(one: &str, other: &str) -> bool {
    let float = |text: &str| text.strip_prefix("Float64(")?.strip_suffix(')')?.parse::<f64>().ok();
    match (float(one), float(other)) {
        (Some(one), Some(other)) => one == other || (one - other).abs() <= 1e-9 * one.abs().max(other.abs()),
        _ => one == other,
    }
}
