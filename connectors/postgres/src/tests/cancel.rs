//! A query that nobody wants any more leaves nothing behind at the server.

use super::server::{Database, building, context, run, scalar, session};
use futures::StreamExt;
use std::time::Duration;
use tokio::time::Instant;

async fn nothing_runs(database: &Database) -> bool {
    for _ in 0..50 {
        if database.running().trim() == "0" {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dropped_query_is_cancelled_at_the_server() {
    let database = Database::create();
    database.psql("CREATE VIEW slow AS SELECT i, pg_sleep(0.02)::text AS s FROM generate_series(1, 100000) i");
    let source = database.attach(&[("pool_size", "1")]).await;
    let context = context();
    let frame = session(&source, &context, &["slow"])
        .await
        .expect("described")
        .sql("SELECT * FROM slow")
        .await
        .expect("planned");
    let mut stream = frame.execute_stream().await.expect("started");
    let waited = tokio::time::timeout(Duration::from_millis(700), stream.next()).await;
    assert!(waited.is_err(), "the view is slow");
    assert_eq!(database.running().trim(), "1");
    drop(stream);
    assert!(nothing_runs(&database).await, "the backend still runs");
    // The connection, and the query's snapshot, are still of use.
    let one = run(&source, &context, &["slow"], "SELECT i FROM slow LIMIT 1").await.expect("the connection lives");
    assert_eq!(scalar(&one), "1");
}

/// A process that ends right after closing must not leave its statements to a server that does not know it is gone.
#[test]
fn closing_waits_until_what_was_given_up_is_over() {
    let database = Database::create();
    database.psql("CREATE VIEW slow AS SELECT 1 AS i, pg_sleep(600)::text AS s");
    // On one thread nothing happens but while somebody waits, and nothing at all once the runtime is gone.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let source = database.attach(&[]).await;
        let context = context();
        let running = run(&source, &context, &["slow"], "SELECT s FROM slow");
        let given_up = tokio::time::timeout(Duration::from_millis(500), running).await;
        assert!(given_up.is_err(), "the view is slow");
        source.close().await;
    });
    drop(runtime);
    assert_eq!(database.running().trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_context_stops_the_backend() {
    let database = Database::create();
    database.psql("CREATE VIEW slow AS SELECT i, pg_sleep(0.02)::text AS s FROM generate_series(1, 100000) i");
    let source = database.attach(&[]).await;
    let context = context();
    let cancel = context.cancellation().clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel();
    });
    let error = run(&source, &context, &["slow"], "SELECT max(s) FROM slow").await.expect_err("it was cancelled");
    assert_eq!(error.state(), polder_catalog::SqlState::CANCELLED);
    assert!(nothing_runs(&database).await, "the backend still runs");
}

// Protects the server from a query whose client has died: it knows the deadline by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_server_knows_the_deadline() {
    let database = Database::create();
    database.psql(
        "CREATE VIEW timeout AS SELECT setting::int4 AS millis FROM pg_settings WHERE name = 'statement_timeout';
         CREATE VIEW slow AS SELECT i, pg_sleep(0.02)::text AS s FROM generate_series(1, 100000) i",
    );
    let source = database.attach(&[]).await;
    let of = async |deadline| {
        let context = building().deadline(deadline).build();
        let rows = run(&source, &context, &["timeout"], "SELECT millis FROM timeout").await.expect("read");
        scalar(&rows).parse::<u64>().expect("a number")
    };
    assert_eq!(of(None).await, 0);
    let millis = of(Some(Instant::now() + Duration::from_secs(100))).await;
    assert!((1..=100_000).contains(&millis), "{millis}");
    let context = building().deadline(Some(Instant::now() + Duration::from_secs(1))).build();
    let stopped =
        tokio::time::timeout(Duration::from_secs(20), run(&source, &context, &["slow"], "SELECT s FROM slow"));
    let error = stopped.await.expect("it stops").expect_err("the deadline has passed");
    assert_eq!(error.state(), polder_catalog::SqlState::CANCELLED, "{error}");
    assert!(nothing_runs(&database).await, "the backend still runs");
}
