//! Changes of several topics over several shards: complete, in order, resumed anywhere, without polling.

use super::desk::{Desk, attributes, clicks, context, rows};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use polder_catalog::{ChangeEvent, ChangesRequest, DatasetId, DatasetRequest, Source, SourcePosition};
use std::sync::Arc;
use std::time::Duration;

/// A transaction: its position, request id and keys, with the shard and whether it is a tombstone.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    position: SourcePosition,
    request: Option<String>,
    rows: Vec<(i64, String, bool)>,
}

/// `user_id`, then `_shard` and `_deleted`.
fn request(after: Option<SourcePosition>) -> ChangesRequest {
    let dataset = DatasetRequest { dataset: DatasetId("7".into()), columns: Some(vec![0, 2, 7]), predicate: None };
    ChangesRequest { after, datasets: vec![dataset] }
}

/// Tells so many transactions with rows.
async fn told(desk: &Desk, after: Option<SourcePosition>, count: usize) -> Vec<Told> {
    let changes = desk.source.changes().unwrap();
    let mut events = changes.open(&context(), request(after)).await.unwrap();
    let (mut told, mut open) = (Vec::new(), None);
    while told.len() < count {
        let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("it is told in time");
        match event.unwrap().unwrap() {
            ChangeEvent::Begin(header) => {
                open = Some(Told { position: header.position, request: header.request_id, rows: Vec::new() });
            }
            ChangeEvent::Part(part) => {
                assert!(part.weights().unwrap().values().iter().all(|weight| *weight == 1));
                let (keys, shards) = (part.batch.column(0).as_primitive::<Int64Type>(), part.batch.column(1));
                let deleted = part.batch.column(2).as_boolean();
                let row = |row| (keys.value(row), shards.as_string::<i32>().value(row).to_string(), deleted.value(row));
                open.as_mut().unwrap().rows.extend((0..keys.len()).map(row));
            }
            ChangeEvent::Commit(position) => {
                let transaction = open.take().unwrap();
                assert_eq!(transaction.position, position);
                told.extend(Some(transaction).filter(|told| !told.rows.is_empty()));
            }
            other => panic!("{other:?}"),
        }
    }
    told
}

#[tokio::test]
async fn every_entry_of_every_shard_is_told_once_from_any_position_on() {
    let desk = Desk::clicks(3);
    desk.define(crate::TopicDefinition { id: 8, ..clicks("others", 2) });
    for round in 0..6 {
        let batch: Vec<_> = (0..20).map(|key| (key + round, Some("/x"))).collect();
        desk.append(rows(&batch)).await;
        desk.source.append_batch("others", attributes("o"), rows(&[(1, None)])).await.unwrap();
    }
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![3]));
    desk.source.tombstone("clicks", attributes("t"), keys).await.unwrap();
    let all = told(&desk, None, 6 * 3 + 1).await;
    assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert_eq!(all.iter().map(|told| told.rows.len()).sum::<usize>(), 121);
    let tombstones: Vec<_> = all.iter().filter(|told| told.rows.iter().any(|row| row.2)).collect();
    assert_eq!(tombstones.len(), 1);
    assert_eq!(tombstones[0].request.as_deref(), Some("t"));
    for at in [0, 1, 7, 17] {
        let rest = told(&desk, Some(all[at].position.clone()), all.len() - at - 1).await;
        assert_eq!(rest, all[at + 1..], "after transaction {at}");
    }
}

/// A stream that waits is woken by what is appended, also to a topic that came later.
#[tokio::test]
async fn a_stream_that_waits_is_woken() {
    let desk = Desk::clicks(2);
    let changes = desk.source.changes().unwrap();
    let latest = changes.latest(&context()).await.unwrap();
    let (told, ()) = tokio::join!(told(&desk, Some(latest.clone()), 2), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        desk.define(crate::TopicDefinition { id: 8, ..clicks("others", 1) });
        desk.source.append_batch("others", attributes("o"), rows(&[(1, None)])).await.unwrap();
        desk.append(rows(&[(1, None)])).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        desk.append(rows(&[(2, None)])).await;
    });
    assert_eq!(told.iter().map(|told| told.rows[0].0).collect::<Vec<_>>(), [1, 2]);
    let later = changes.latest(&context()).await.unwrap();
    assert!(latest < told[0].position && told[1].position <= later);
}
