//! A server that goes away in the middle: one clear error, and nothing waits for ever.

use super::server::{Database, context, run, scalar, session};
use futures::StreamExt;
use polder_catalog::{Error, Kind, SqlState};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

// Protects the one snapshot of a query: when it is lost, no scan goes on under another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_snapshot_fails_what_comes_after() {
    let database = Database::create();
    database.psql("CREATE TABLE a AS SELECT 1 AS n");
    let source = database.attach(&[]).await;
    let context = context();
    run(&source, &context, &["a"], "SELECT n FROM a").await.expect("the snapshot is taken");
    assert_eq!(database.terminate(), "1", "the first connection stays with the query");
    // Until the driver has heard of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = tokio::time::timeout(SOON, run(&source, &context, &["a"], "SELECT n FROM a"));
    let error = again.await.expect("nothing hangs").expect_err("the snapshot is lost");
    assert_eq!((error.kind(), error.state()), (Kind::Retry, SqlState::CONNECTION_LOST), "{error}");
    assert!(error.message().starts_with("source \"shop\": "), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("again")), "{error}");
    let next = run(&source, &super::server::context(), &["a"], "SELECT n FROM a").await.expect("the next query runs");
    assert_eq!(scalar(&next), "1");
}

// Protects the scans that wait in line for a connection which never comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_connection_fails_the_scans_that_wait_for_it() {
    let database = Database::create();
    database.psql("CREATE VIEW slow AS SELECT i, pg_sleep(0.02)::text AS s FROM generate_series(1, 100000) i");
    let source = database.attach(&[("pool_size", "1")]).await;
    let context = context();
    let session = session(&source, &context, &["slow"]).await.expect("described");
    let mut scans = Vec::new();
    for _ in 0..3 {
        let frame = session.sql("SELECT * FROM slow").await.expect("planned");
        let mut rows = frame.execute_stream().await.expect("started");
        scans.push(tokio::spawn(async move {
            loop {
                match rows.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Some(Error::from_datafusion(error)),
                    None => return None,
                }
            }
        }));
    }
    while database.running() != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(database.terminate(), "1");
    for ended in tokio::time::timeout(SOON, futures::future::join_all(scans)).await.expect("nothing hangs") {
        let error = ended.expect("no panic").expect("a scan that broke off is not whole");
        assert_eq!(error.kind(), Kind::Retry, "{error}");
        assert!(error.message().starts_with("source \"shop\": "), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

// A server that restarts takes the idle sessions of the pool with it, which is nobody's error.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn idle_sessions_that_died_are_replaced() {
    let mut server = polder_testing::Postgres::start();
    let source = super::server::attach(&[("url", &server.url())]).await.expect("attached");
    server.psql("CREATE TABLE a AS SELECT 1 AS n");
    for _ in 0..2 {
        run(&source, &context(), &["a"], "SELECT n FROM a").await.expect("it runs");
        // The session goes back to the pool once its rollback is through.
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.stop();
        let error = run(&source, &context(), &["a"], "SELECT n FROM a").await.expect_err("nobody answers");
        assert_eq!(error.kind(), Kind::Retry, "{error}");
        server.restart();
    }
    let rows = run(&source, &context(), &["a"], "SELECT n FROM a").await.expect("it runs again");
    assert_eq!(scalar(&rows), "1");
}
