//! History is kept for `history_max` transactions; who falls behind is told so.

use super::subject::{catalog, people};
use crate::{MemoryConnector, MemorySource, Transaction};
use futures::StreamExt;
use polder_catalog::{
    ChangeEvent, ChangeStream, Changes, ChangesRequest, Connector, DatasetRequest, Options, Principal, QueryId,
    ReadContext, Source, SourcePosition,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

fn context() -> ReadContext {
    ReadContext::builder(QueryId("q".into()), Principal("tester".into())).build()
}

/// A catalog with an empty table `people`, that keeps so many transactions.
async fn start(history_max: usize) -> Arc<MemorySource> {
    let connector = MemoryConnector::default();
    let given = [("history_max".to_string(), history_max.to_string())];
    let options = Options::validate(connector.options(), given).expect("the option fits");
    let _attached = connector.attach(&catalog(), options).await.expect("attach");
    let source = connector.source(&catalog()).expect("attached");
    source.commit(Transaction::new().create_table("people", people(0..1).schema(), &["id"])).expect("create");
    source
}

fn insert(source: &MemorySource, id: usize) -> SourcePosition {
    source.commit(Transaction::new().insert("people", people(id..id + 1))).expect("insert")
}

fn changes(source: &MemorySource) -> Arc<dyn Changes> {
    source.changes().expect("memory tells changes")
}

async fn open(source: &MemorySource, after: Option<SourcePosition>) -> ChangeStream {
    let people = source.dataset(&context(), "public", "people").await.expect("describe").expect("a table");
    let request = DatasetRequest { dataset: people.entry.id, columns: None, predicate: None };
    changes(source).open(&context(), ChangesRequest { after, datasets: vec![request] }).await.expect("open")
}

async fn next(stream: &mut ChangeStream) -> Option<ChangeEvent> {
    let next = timeout(Duration::from_secs(10), stream.next()).await.expect("an event in time");
    next.transpose().expect("no error")
}

/// The position of the next commit, or the loss.
async fn next_commit(stream: &mut ChangeStream) -> Result<SourcePosition, String> {
    loop {
        match next(stream).await.expect("the stream goes on") {
            ChangeEvent::Commit(position) => return Ok(position),
            ChangeEvent::Lost { reason } => return Err(reason),
            _ => {}
        }
    }
}

#[tokio::test]
async fn who_keeps_up_loses_nothing_however_short_the_history() {
    let source = start(1).await;
    let latest = changes(&source).latest(&context()).await.expect("latest");
    let mut stream = open(&source, Some(latest)).await;
    for id in 0..20 {
        let committed = insert(&source, id);
        assert_eq!(next_commit(&mut stream).await, Ok(committed));
    }
}

#[tokio::test]
async fn who_falls_behind_is_told_and_the_stream_ends() {
    let source = start(3).await;
    let positions: Vec<_> = (0..5).map(|id| insert(&source, id)).collect();
    // The last three are kept: after the second, all that follows is still there.
    let mut kept = open(&source, Some(positions[1].clone())).await;
    assert_eq!(next_commit(&mut kept).await, Ok(positions[2].clone()));
    let mut lost = open(&source, Some(positions[0].clone())).await;
    let reason = next_commit(&mut lost).await.expect_err("the second is trimmed");
    assert!(reason.contains("scratch"), "{reason}");
    assert!(next(&mut lost).await.is_none(), "the stream goes on after a loss");
}

#[tokio::test]
async fn who_falls_behind_while_following_is_told_too() {
    let source = start(2).await;
    let start = insert(&source, 0);
    let mut stream = open(&source, Some(start)).await;
    let first = insert(&source, 1);
    assert_eq!(next_commit(&mut stream).await, Ok(first));
    (2..6).for_each(|id| drop(insert(&source, id)));
    next_commit(&mut stream).await.expect_err("two of four are trimmed");
}

#[tokio::test]
async fn without_a_position_the_oldest_that_is_held_is_first() {
    let source = start(2).await;
    let positions: Vec<_> = (0..4).map(|id| insert(&source, id)).collect();
    let mut stream = open(&source, None).await;
    assert_eq!(next_commit(&mut stream).await, Ok(positions[2].clone()));
    assert_eq!(next_commit(&mut stream).await, Ok(positions[3].clone()));
}

#[tokio::test]
async fn no_history_at_all_still_tells_that_something_happened() {
    let source = start(0).await;
    let latest = changes(&source).latest(&context()).await.expect("latest");
    let mut stream = open(&source, Some(latest)).await;
    insert(&source, 0);
    next_commit(&mut stream).await.expect_err("nothing is held");
}

#[tokio::test]
async fn what_is_confirmed_is_forgotten() {
    let source = start(100).await;
    let positions: Vec<_> = (0..4).map(|id| insert(&source, id)).collect();
    changes(&source).confirm(&positions[2]).await.expect("confirm");
    let mut stream = open(&source, Some(positions[2].clone())).await;
    assert_eq!(next_commit(&mut stream).await, Ok(positions[3].clone()));
    next_commit(&mut open(&source, Some(positions[1].clone())).await).await.expect_err("confirmed, so forgotten");
}

#[tokio::test]
async fn a_position_of_elsewhere_is_lost() {
    let (source, other) = (start(10).await, start(10).await);
    let elsewhere = insert(&other, 0);
    for position in [elsewhere, SourcePosition::new([]), SourcePosition::new([7; 16]), SourcePosition::new([7; 17])] {
        let mut stream = open(&source, Some(position.clone())).await;
        next_commit(&mut stream).await.expect_err("it is no position of this catalog");
        assert!(next(&mut stream).await.is_none(), "{position}: the stream goes on after a loss");
    }
}
