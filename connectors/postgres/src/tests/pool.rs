//! Snapshots and small pools: no query waits for itself, and each sees one moment.

use super::server::{Database, context, context_of, run, scalar};
use std::time::Duration;

const QUERIES: &[&str] = &[
    "SELECT count(*) FROM a JOIN b ON a.id = b.id",
    "SELECT count(*) FROM (SELECT id FROM a UNION ALL SELECT id FROM b UNION ALL SELECT id FROM a) u",
    "SELECT count(*) FROM a x JOIN a y ON x.id = y.id JOIN b z ON y.id = z.id",
    "SELECT count(*) FROM (SELECT id FROM a INTERSECT SELECT id FROM b) i",
    "SELECT count(*) FROM a WHERE id IN (SELECT id FROM b WHERE id > (SELECT min(id) FROM a))",
];
const ROWS: &[&str] = &["20000", "60000", "20000", "20000", "19999"];

// Protects the design of snapshot.rs: every plan ends with one or two connections, also eight at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joins_and_unions_run_with_one_connection_and_with_two() {
    let database = Database::create();
    database.psql("CREATE TABLE a AS SELECT i AS id, repeat('x', 300) AS t FROM generate_series(1, 20000) i; CREATE TABLE b AS SELECT * FROM a");
    for size in ["1", "2"] {
        let source = database.attach(&[("pool_size", size)]).await;
        let queries = (0..8).map(|n| {
            let source = &source;
            async move {
                let index = n % QUERIES.len();
                let rows = run(source, &context_of(2), &["a", "b"], QUERIES[index]).await.expect("the query runs");
                assert_eq!(scalar(&rows), ROWS[index], "{}", QUERIES[index]);
            }
        });
        let all = futures::future::join_all(queries);
        tokio::time::timeout(Duration::from_secs(120), all).await.expect("no query waits for another for ever");
    }
}

// The hardest case: two ordered inputs read in turns, each far longer than what is buffered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_read_in_turns_share_one_connection() {
    use futures::StreamExt;
    let database = Database::create();
    database.psql("CREATE TABLE a AS SELECT i AS id, repeat('x', 2000) AS t FROM generate_series(1, 60000) i");
    let source = database.attach(&[("pool_size", "1")]).await;
    let context = context();
    let session = super::server::session(&source, &context, &["a"]).await.expect("described");
    let mut streams = Vec::new();
    for _ in 0..3 {
        let frame = session.sql("SELECT id, t FROM a").await.expect("planned");
        streams.push(frame.execute_stream().await.expect("started"));
    }
    let mut rows = [0; 3];
    let reading = async {
        loop {
            let mut ended = 0;
            for (stream, rows) in streams.iter_mut().zip(&mut rows) {
                match stream.next().await {
                    Some(batch) => *rows += batch.expect("rows come").num_rows(),
                    None => ended += 1,
                }
            }
            if ended == 3 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reading).await.expect("the streams do not wait for each other");
    assert_eq!(rows, [60_000; 3]);
}

// Protects the one answer to one query: a writer between two scans is not seen by either.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_scans_of_a_query_see_one_snapshot() {
    let database = Database::create();
    database.psql("CREATE TABLE a (n int8); INSERT INTO a SELECT 1 FROM generate_series(1, 1000)");
    let source = database.attach(&[]).await;
    let context = context();
    let count = "SELECT count(*) FROM (SELECT n FROM a) x";
    assert_eq!(scalar(&run(&source, &context, &["a"], count).await.expect("counted")), "1000");
    database.psql("INSERT INTO a SELECT 1 FROM generate_series(1, 500)");
    let both = "SELECT (SELECT count(n) FROM a x) + (SELECT count(n) FROM a y)";
    assert_eq!(scalar(&run(&source, &context, &["a"], both).await.expect("counted")), "2000");
    let later = super::server::context();
    assert_eq!(scalar(&run(&source, &later, &["a"], count).await.expect("counted")), "1500");
}

// Protects ranges: each row is read once, however the table is divided, also with fewer connections than streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ranges_of_pages_give_each_row_once() {
    let database = Database::create();
    database.psql(
        "CREATE TABLE big AS SELECT i AS id, repeat('x', 500) AS t FROM generate_series(1, 60000) i; ANALYZE big",
    );
    for size in ["1", "2", "4"] {
        let source = database.attach(&[("pool_size", size)]).await;
        let sql = "SELECT count(*) || ' ' || sum(id) || ' ' || max(length(t)) FROM big";
        let rows = run(&source, &context_of(4), &["big"], sql).await.expect("read");
        assert_eq!(scalar(&rows), "60000 1800030000 500", "pool size {size}");
    }
    let source = database.attach(&[]).await;
    let dataset = source.dataset(&context_of(4), "public", "big").await.expect("described").expect("there");
    let session = datafusion::prelude::SessionContext::new();
    let plan = dataset.provider.scan(&session.state(), Some(&vec![0]), &[], None).await.expect("planned");
    assert!(plan.properties().output_partitioning().partition_count() > 1);
    let limited = dataset.provider.scan(&session.state(), Some(&vec![0]), &[], Some(1)).await.expect("planned");
    assert_eq!(limited.properties().output_partitioning().partition_count(), 1);
}
