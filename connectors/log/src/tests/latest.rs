//! `clicks$latest` is what remains of `clicks` when each key keeps its newest record, whatever way it is read.

use super::desk::{Desk, attributes, clicks, context, contexts, definition, rows, run};
use crate::store::{EntryKind, LogOptions, NewEntry, Offset, TrimPolicy};
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::GreedyMemoryPool;
use polder_catalog::{Error, Principal, QueryId, ReadContext, Source, SqlState};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A record: a key, and its value or a tombstone.
type Record = (i64, Option<u32>);

async fn append(desk: &Desk, records: &[Record]) {
    for (key, value) in records {
        match value {
            Some(value) => {
                desk.append(rows(&[(*key, Some(&value.to_string()))])).await;
            }
            None => {
                let keys: ArrayRef = Arc::new(Int64Array::from(vec![*key]));
                desk.source.tombstone("clicks", attributes("t"), keys).await.unwrap();
            }
        }
    }
}

fn newest(records: &[Record]) -> BTreeMap<i64, u32> {
    let mut newest = BTreeMap::new();
    for (key, value) in records {
        match value {
            Some(value) => newest.insert(*key, *value),
            None => newest.remove(key),
        };
    }
    newest
}

fn lines(newest: impl IntoIterator<Item = (i64, u32)>) -> Vec<String> {
    let mut lines: Vec<_> = newest.into_iter().map(|(key, value)| format!("{key} {value}")).collect();
    lines.sort();
    lines
}

const ALL: &str = r#"SELECT user_id, url FROM "clicks$latest""#;

async fn check(desk: &Desk, records: &[Record]) {
    let newest = newest(records);
    let context = context();
    let session = desk.session(&context, &["clicks$latest", "clicks"]).await;
    // What comes after the cut is not seen.
    append(desk, &[(1, Some(999)), (2, None)]).await;
    assert_eq!(run(&session, ALL).await, lines(newest.clone()));
    for key in 0..6 {
        let found = run(&session, &format!("{ALL} WHERE user_id = {key}")).await;
        assert_eq!(found, lines(newest.get(&key).map(|value| (key, *value))), "key {key}");
    }
    let some = newest.iter().filter(|(key, _)| [1, 2, 3, 5].contains(*key)).map(|(key, value)| (*key, *value));
    assert_eq!(run(&session, &format!("{ALL} WHERE _key IN (1, 2, 3, 5, 77)")).await, lines(some));
    let joined = "SELECT l.user_id, l.url FROM (VALUES (1), (4)) AS k(id) JOIN \"clicks$latest\" l ON l.user_id = k.id";
    let some = newest.iter().filter(|(key, _)| [1, 4].contains(*key)).map(|(key, value)| (*key, *value));
    assert_eq!(run(&session, joined).await, lines(some));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_newest_rows_are_those_of_a_map(
        first in prop::collection::vec((0i64..6, prop::option::weighted(0.8, 0u32..100)), 0..40),
        second in prop::collection::vec((0i64..6, prop::option::weighted(0.8, 0u32..100)), 0..40),
        shards in 1usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = Desk::clicks(shards);
            append(&desk, &first).await;
            check(&desk, &first).await;
            let mut all = [&first[..], &[(1, Some(999)), (2, None)]].concat();
            append(&desk, &second).await;
            all.extend(&second);
            check(&desk, &all).await;
        });
    }
}

/// More than one block of the index, so that complete ones are files; read again by a source that has to load them.
#[tokio::test]
async fn keys_are_found_in_the_files_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::in_folder(folder.path(), LogOptions::default());
    desk.define(clicks("clicks", 1));
    let count = 2 * crate::key_index::BLOCK as i64 + 1_000;
    for start in (0..count).step_by(1_000) {
        let batch: Vec<_> = (start..count.min(start + 1_000)).map(|key| (key % 100_000, Some("/x"))).collect();
        desk.append(rows(&batch)).await;
    }
    desk.append(rows(&[(5, Some("/newest"))])).await;
    let query = |key: i64| format!("SELECT url, _offset FROM \"clicks$latest\" WHERE user_id = {key}");
    let expected = |key: i64| if key == 5 { format!("/newest {count}") } else { format!("/x {}", last_of(key, count)) };
    let look_up = async |desk: &Desk| {
        let session = desk.session(&context(), &["clicks$latest"]).await;
        for key in [0, 5, 99_999, 50_000] {
            assert_eq!(run(&session, &query(key)).await, [expected(key)]);
        }
        assert_eq!(run(&session, &query(100_000)).await, [""; 0]);
    };
    look_up(&desk).await;
    let keys = folder.path().join("keys.idx/clicks-0");
    let names = || std::fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(names().len(), 2);
    drop(desk);
    // One file is damaged, which is noticed and mended.
    let damaged = &names()[0];
    let mut bytes = std::fs::read(damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(damaged, bytes).unwrap();
    let desk = Desk::in_folder(folder.path(), LogOptions::default());
    desk.define(clicks("clicks", 1));
    look_up(&desk).await;
    let before = desk.source.decoded_records();
    look_up(&desk).await;
    assert!(desk.source.decoded_records() - before <= 5_000, "a lookup reads the part of the record and no other");
    desk.source.undefine("clicks").unwrap();
    assert!(!keys.exists());
}

#[tokio::test]
async fn the_index_of_trimmed_records_goes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::in_folder(folder.path(), LogOptions { segment_bytes: 256 << 10, ..LogOptions::default() });
    desk.define(clicks("clicks", 1));
    let count = 2 * crate::key_index::BLOCK as i64 + 1_000;
    for start in (0..count).step_by(1_000) {
        let batch: Vec<_> = (start..count.min(start + 1_000)).map(|key| (key, None)).collect();
        desk.append(rows(&batch)).await;
    }
    let query = format!("SELECT _offset FROM \"clicks$latest\" WHERE user_id = {}", count - 1);
    let files = || std::fs::read_dir(folder.path().join("keys.idx/clicks-0")).unwrap().count();
    let look_up = async || run(&desk.session(&context(), &["clicks$latest"]).await, &query).await;
    assert_eq!((look_up().await, files()), (vec![(count - 1).to_string()], 2));
    let policy = TrimPolicy { before: Some(Offset(crate::key_index::BLOCK + 10_000)), ..TrimPolicy::default() };
    desk.log.shard("clicks-0").unwrap().trim(policy).await.unwrap();
    assert!(desk.log.shard("clicks-0").unwrap().start() > Offset(crate::key_index::BLOCK));
    assert_eq!((look_up().await, files()), (vec![(count - 1).to_string()], 1));
}

fn last_of(key: i64, count: i64) -> i64 {
    key + (count - 1 - key) / 100_000 * 100_000
}

#[tokio::test]
async fn keys_beyond_the_memory_of_the_query_are_an_error() {
    let desk = Desk::clicks(1);
    let batch: Vec<_> = (0..20_000).map(|key| (key, None)).collect();
    desk.append(rows(&batch)).await;
    let context = ReadContext::builder(QueryId("q".into()), Principal("tester".into()));
    let context = context.memory(Arc::new(GreedyMemoryPool::new(100_000))).build();
    let session = desk.session(&context, &["clicks$latest"]).await;
    let error = session.sql(ALL).await.unwrap().collect().await.unwrap_err();
    assert_eq!(Error::from_datafusion(error).state(), SqlState::MEMORY);
}

#[tokio::test]
async fn a_topic_without_a_key_has_no_newest_rows() {
    let desk = Desk::new();
    desk.define(crate::TopicDefinition { key: None, ..clicks("clicks", 1) });
    let error = desk.source.dataset(&context(), "public", "clicks$latest").await.unwrap_err();
    assert_eq!(error.state(), SqlState::NOT_SUPPORTED);
    assert!(desk.source.dataset(&context(), "public", "nothing$latest").await.unwrap().is_none());
}

/// A record that cannot be decoded is seen in the topic, and is nobody's newest.
#[tokio::test]
async fn a_record_that_cannot_be_decoded_is_visible() {
    let desk = Desk::clicks(1);
    desk.append(rows(&[(1, Some("/a"))])).await;
    let mut entry = NewEntry::new(EntryKind::DATA);
    entry.add_bytes(7, b"not a row").unwrap();
    desk.log.shard("clicks-0").unwrap().append_async(entry).await.await.unwrap();
    desk.append(rows(&[(2, Some("/b"))])).await;
    for context in [context(), contexts(1, false)] {
        let query = "SELECT _offset, user_id, url, _key, _deleted, _error IS NULL FROM clicks";
        let expected = ["0 1 /a 1 false true", "1 NULL NULL NULL false false", "2 2 /b 2 false true"];
        assert_eq!(desk.query(&context, query).await, expected);
        assert_eq!(desk.query(&context, "SELECT user_id FROM clicks").await, ["1", "2", "NULL"]);
        assert_eq!(desk.query(&context, "SELECT count(*) FROM clicks").await, ["3"]);
    }
    let session = desk.session(&context(), &["clicks$latest"]).await;
    assert_eq!(run(&session, ALL).await, ["1 /a", "2 /b"]);
}

/// 0 and -0 are one key, so asking for both finds its row once.
#[tokio::test]
async fn a_key_that_is_asked_for_in_two_spellings_is_found_once() {
    let desk = Desk::new();
    let fields = [Field::new("height", DataType::Float64, false), Field::new("note", DataType::Utf8, true)];
    desk.define(definition(7, "heights", &fields, 1, Some(1)));
    let heights: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.5]));
    let notes: ArrayRef = Arc::new(StringArray::from(vec!["zero", "minus zero", "more"]));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![heights, notes]).unwrap();
    desk.source.append_batch("heights", attributes("t"), rows).await.unwrap();
    let session = desk.session(&context(), &["heights$latest"]).await;
    // Nothing makes one zero of these two here, as the engine would.
    let query =
        "SELECT note FROM \"heights$latest\" WHERE height IN (CAST('0' AS DOUBLE), CAST('-0' AS DOUBLE), 1.5e0)";
    assert_eq!(run(&session, query).await.iter().filter(|note| *note == "minus zero").count(), 1);
}
