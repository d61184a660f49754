//! The store, at its outermost edge: a log in a temporary directory.

mod appending;
mod encodings;
mod golden;
mod guarantees;
mod killed;
mod proofs;
mod retention;
mod tampering;

use super::*;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Options with a clock that goes one second a commit.
fn options() -> LogOptions {
    let seconds = AtomicI64::new(0);
    let clock = move || CommitTime(seconds.fetch_add(1_000_000, Ordering::Relaxed));
    LogOptions { clock: Arc::new(clock), ..LogOptions::default() }
}

/// Segments and indexes small enough that a few entries fill them.
fn small_options() -> LogOptions {
    LogOptions { segment_bytes: 1 << 10, index_bytes: 256, ..options() }
}

fn open(folder: &Path) -> Log {
    Log::open(folder, options()).unwrap()
}

const PEOPLE: SchemaId = SchemaId { dataset: 7, schema: 1 };

fn people(names: &[&str]) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]);
    let ids = Int64Array::from_iter_values(0..names.len() as i64);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(StringArray::from(names.to_vec()))]).unwrap()
}

fn text_entry(text: &str) -> NewEntry {
    let mut entry = NewEntry::new(EntryKind::DEFINITION);
    entry.add_bytes(1, text.as_bytes()).unwrap();
    entry
}

fn people_entry(names: &[&str]) -> NewEntry {
    let mut entry = NewEntry::new(EntryKind::DATA);
    entry.add_batch(PEOPLE, &people(names)).unwrap();
    entry
}

/// The payloads of all entries of bytes.
fn texts(entries: impl IntoIterator<Item = Result<Entry>>) -> Vec<String> {
    let entries = entries.into_iter().map(Result::unwrap).filter(|entry| entry.header().kind != EntryKind::SCHEMA);
    entries.flat_map(|entry| entry.parts().map(Result::unwrap).map(text).collect::<Vec<_>>()).collect()
}

fn text(part: Part) -> String {
    String::from_utf8(part.payload.to_vec()).unwrap()
}

/// Appends so many rows, each an entry of its own.
fn fill(log: &Log, rows: usize) {
    for number in 0..rows {
        log.main().append(people_entry(&[&format!("{number:0>40}")])).wait().unwrap();
    }
}
