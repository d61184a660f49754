//! What is pushed gives the rows that it would give here, and reads little.

use super::desk::{Desk, context, contexts, rows, run};
use crate::store::{CommitTime, LogOptions, TrimPolicy};
use polder_catalog::Source;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that goes one second a commit, from 1970 on.
fn seconds() -> LogOptions {
    let time = AtomicI64::new(0);
    let clock = move || CommitTime(time.fetch_add(1_000_000, Ordering::Relaxed));
    LogOptions { clock: Arc::new(clock), ..LogOptions::default() }
}

async fn filled(shards: usize) -> Desk {
    let desk = Desk::with(seconds());
    desk.define(super::desk::clicks("clicks", shards));
    for round in 0..30 {
        let batch: Vec<_> = (0..1 + round % 5).map(|row| (row * 7 % 11 + round % 3, Some("/x"))).collect();
        desk.append(rows(&batch)).await;
    }
    desk
}

/// Filters over one column each, and their combinations.
fn filters() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (operator.clone(), -2i64..40).prop_map(|(operator, offset)| format!("_offset {operator} {offset}")),
        (0i64..40, 0i64..40).prop_map(|(low, high)| format!("_offset BETWEEN {low} AND {high}")),
        prop::collection::vec(-1i64..40, 1..6).prop_map(|offsets| format!("_offset IN ({})", list(&offsets))),
        (operator.clone(), 0i64..40).prop_map(|(operator, second)| format!("_timestamp {operator} {}", time(second))),
        (0i64..40, 0i64..40).prop_map(|(low, high)| format!("_timestamp NOT BETWEEN {} AND {}", time(low), time(high))),
        (operator, 0usize..4).prop_map(|(operator, shard)| format!("_shard {operator} 'clicks-{shard}'")),
        Just("_shard LIKE '%2' OR _shard = 'clicks-0'".to_string()),
        (0i64..14).prop_map(|key| format!("user_id = {key}")),
        prop::collection::vec(0i64..14, 1..6).prop_map(|keys| format!("_key IN ({})", list(&keys))),
        Just("url IS NULL".to_string()),
        Just("NOT _deleted".to_string()),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one}) AND ({two})")),
            (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one}) OR ({two})")),
            inner.prop_map(|one| format!("NOT ({one})")),
        ]
    })
}

fn list(values: &[i64]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn time(second: i64) -> String {
    format!("TIMESTAMP '1970-01-01T00:{:02}:{:02}Z'", second / 60, second % 60)
}

#[test]
fn pushed_filters_give_the_rows_that_they_give_here() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let desk = runtime.block_on(filled(4));
    let mut runner = TestRunner::new(Config::with_cases(120));
    let tops = prop::sample::select(vec!["", "ORDER BY _offset DESC LIMIT 3", "ORDER BY _timestamp, _offset LIMIT 4"]);
    let ran = runner.run(&(filters(), tops), |(filter, top)| {
        // The shard breaks the ties of what is compared, not of what is pushed.
        let query = format!("SELECT _shard, _offset, user_id FROM clicks WHERE {filter} {top}");
        let unique = if top.is_empty() { query } else { format!("SELECT _offset FROM ({query})") };
        let (pushed, here) = runtime.block_on(async {
            (desk.query(&context(), &unique).await, desk.query(&contexts(1, false), &unique).await)
        });
        prop_assert_eq!(pushed, here, "{}", unique);
        Ok(())
    });
    ran.unwrap();
}

async fn request(desk: &Desk, query: &str) -> String {
    let session = desk.session(&context(), &["clicks", "clicks$latest"]).await;
    let (state, plan) = session.sql(query).await.unwrap().into_parts();
    let plan = polder_catalog::conformance::push(state.optimize(&plan).unwrap()).unwrap();
    let mut plan = state.query_planner().create_physical_plan(&plan, &state).await.unwrap();
    while let Some(child) = plan.children().first().map(|child| Arc::clone(child)) {
        plan = child;
    }
    desk.source.describe_scan(&super::desk::catalog(), plan.as_ref()).unwrap().request
}

#[tokio::test]
async fn the_request_tells_what_is_read() {
    let desk = filled(4).await;
    let range =
        request(&desk, "SELECT url FROM clicks WHERE _offset >= 2 AND _offset < 5 AND _shard = 'clicks-1'").await;
    assert_eq!(range, "topic clicks: shards clicks-1 of 4; offsets [2, 5); columns url");
    let newest = request(&desk, "SELECT user_id, url FROM clicks ORDER BY _offset DESC LIMIT 10").await;
    assert_eq!(newest, "topic clicks: all of 4 shards; newest 10 of each; columns user_id, url, _offset");
    let latest = request(&desk, r#"SELECT url FROM "clicks$latest" WHERE user_id = 3"#).await;
    assert!(latest.starts_with("newest row of each key of topic clicks: shards clicks-"), "{latest}");
    assert!(latest.contains("; by the index of 1 keys"), "{latest}");
}

#[tokio::test]
async fn the_last_record_is_read_from_the_end() {
    let desk = Desk::clicks(2);
    for start in 0..200 {
        let batch: Vec<_> = (0..500).map(|row| (start * 500 + row, Some("/x"))).collect();
        desk.append(rows(&batch)).await;
    }
    let before = desk.source.decoded_records();
    let last = desk.query(&context(), "SELECT _offset FROM clicks ORDER BY _offset DESC LIMIT 1").await;
    assert_eq!(last.len(), 1);
    let decoded = desk.source.decoded_records() - before;
    assert!(decoded < 1_000, "{decoded} records were decoded");
    let before = desk.source.decoded_records();
    assert_eq!(desk.query(&context(), "SELECT url FROM clicks LIMIT 5").await.len(), 5);
    assert!(desk.source.decoded_records() - before < 1_000);
    let before = desk.source.decoded_records();
    assert_eq!(desk.query(&context(), "SELECT count(*) FROM clicks WHERE _offset < 40000").await, ["80000"]);
    assert_eq!(desk.source.decoded_records(), before, "what is only counted is not decoded");
}

#[tokio::test]
async fn the_keys_of_a_join_narrow_the_shards() {
    let desk = filled(4).await;
    let session = desk.session(&contexts(2, true), &["clicks"]).await;
    let join = "SELECT c.user_id FROM (VALUES (3)) AS k(id) JOIN clicks c ON c.user_id = k.id";
    let before = desk.source.decoded_records();
    let found = run(&session, join).await;
    let decoded = desk.source.decoded_records() - before;
    let all = desk.query(&contexts(1, false), "SELECT user_id FROM clicks WHERE user_id = 3").await;
    assert_eq!(found, all);
    assert!(decoded < 90, "{decoded} of 90 records were decoded");
}

/// A query that has begun keeps what it is going to read; the next one does without.
#[tokio::test]
async fn what_a_query_has_pinned_is_not_trimmed() {
    let desk = Desk::with(LogOptions { segment_bytes: 256, ..seconds() });
    let retention = crate::Retention { age: None, bytes: Some(512) };
    desk.define(crate::TopicDefinition { retention, ..super::desk::clicks("clicks", 1) });
    for key in 0..100 {
        desk.append(rows(&[(key, Some("/x"))])).await;
    }
    let (count, context) = ("SELECT count(*), max(url) FROM clicks", context());
    let session = desk.session(&context, &["clicks"]).await;
    assert_eq!(desk.source.trim("clicks", CommitTime(0)).await.unwrap(), 0);
    assert_eq!(run(&session, count).await, ["100 /x"]);
    drop((session, context));
    assert!(desk.source.trim("clicks", CommitTime(0)).await.unwrap() > 0);
    let left = 100 - desk.log.shard("clicks-0").unwrap().start().0;
    assert!(left < 50, "{left}");
    assert_eq!(desk.query(&super::desk::context(), count).await, [format!("{left} /x")]);
}

#[tokio::test]
async fn what_was_trimmed_is_gone_and_the_rest_is_read() {
    let desk = Desk::with(LogOptions { segment_bytes: 256, ..seconds() });
    desk.define(super::desk::clicks("clicks", 1));
    for key in 0..100 {
        desk.append(rows(&[(key, Some("/x"))])).await;
    }
    let shard = desk.log.shard("clicks-0").unwrap();
    let policy = TrimPolicy { before: Some(crate::store::Offset(50)), ..TrimPolicy::default() };
    assert!(shard.trim(policy).await.unwrap().segments > 0);
    let start = shard.start().0 as i64;
    assert!(start > 0);
    let expected = [format!("{start} {} 99", 100 - start)];
    let query = "SELECT min(_offset), count(*), max(user_id) FROM clicks";
    assert_eq!(desk.query(&context(), query).await, expected);
    let early = format!("SELECT count(*) FROM clicks WHERE _offset < {}", start + 1);
    assert_eq!(desk.query(&context(), &early).await, ["1"]);
    let session = desk.session(&context(), &["clicks$latest"]).await;
    assert_eq!(run(&session, r#"SELECT user_id FROM "clicks$latest" WHERE user_id = 3"#).await, [""; 0]);
    assert_eq!(run(&session, r#"SELECT user_id FROM "clicks$latest" WHERE user_id = 99"#).await, ["99"]);
}
