//! Snapshots and small pools: no query waits for itself, and each sees one moment.

use super::server::{Database, building, context, context_of, run, scalar};
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use polder_catalog::{Error, SqlState};
use std::sync::Arc;
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

// Protects queries over two catalogs: each holds the one connection that the other needs next.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_that_take_two_catalogs_in_turns_do_not_wait_for_each_other() {
    use futures::StreamExt;
    let database = Database::create();
    database.psql("CREATE TABLE a AS SELECT i AS id FROM generate_series(1, 1000) i");
    let sources =
        [database.attach(&[("pool_size", "1")]).await, database.attach_as("other", &[("pool_size", "1")]).await];
    let count = |context: polder_catalog::ReadContext, source: usize| {
        let source = &sources[source];
        async move {
            let session = super::server::session(source, &context, &["a"]).await.expect("described");
            let mut rows =
                session.sql("SELECT id FROM a").await.expect("planned").execute_stream().await.expect("started");
            let mut count = 0;
            while let Some(batch) = rows.next().await {
                count += batch.expect("rows come").num_rows();
            }
            count
        }
    };
    let (one, two) = (context(), context());
    let first = futures::future::join(count(one.clone(), 0), count(two.clone(), 1)).await;
    let second = futures::future::join(count(one.clone(), 1), count(two.clone(), 0));
    let second = tokio::time::timeout(Duration::from_secs(30), second).await.expect("nobody waits for ever");
    assert_eq!((first, second), ((1000, 1000), (1000, 1000)));
}

/// Three scans, a batch of each in turn: the sum of all ids, or the errors, and the most that was on disk.
async fn in_turns(session: &SessionContext) -> (u64, Vec<Error>, u64) {
    let mut streams = Vec::new();
    for _ in 0..3 {
        let frame = session.sql("SELECT id, t FROM a").await.expect("planned");
        streams.push(Some(frame.execute_stream().await.expect("started")));
    }
    let (mut sum, mut errors, mut disk) = (0, Vec::new(), 0);
    let reading = async {
        while streams.iter().any(Option::is_some) {
            for slot in &mut streams {
                let Some(stream) = slot else { continue };
                match stream.next().await {
                    Some(Ok(batch)) => {
                        let ids = batch.column(0).as_primitive::<Int32Type>();
                        sum += ids.values().iter().map(|id| u64::from(id.unsigned_abs())).sum::<u64>();
                    }
                    Some(Err(error)) => {
                        errors.push(Error::from_datafusion(error));
                        *slot = None;
                    }
                    None => *slot = None,
                }
                disk = disk.max(session.runtime_env().disk_manager.used_disk_space());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reading).await.expect("the streams do not wait for each other");
    (sum, errors, disk)
}

async fn in_turns_on(memory: usize, disk: DiskManagerMode) -> (Arc<RuntimeEnv>, (u64, Vec<Error>, u64)) {
    let database = Database::create();
    database.psql("CREATE TABLE a AS SELECT i AS id, repeat('x', 1000) AS t FROM generate_series(1, 60000) i");
    let source = database.attach(&[("pool_size", "1")]).await;
    let context = building().memory(Arc::new(GreedyMemoryPool::new(memory))).build();
    let disk = DiskManagerBuilder::default().with_mode(disk);
    let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build_arc().expect("a runtime");
    let session = super::server::session_on(&source, &context, &["a"], Arc::clone(&runtime)).await.expect("described");
    let ended = in_turns(&session).await;
    assert_eq!(context.memory().reserved(), 0, "memory is given back");
    (runtime, ended)
}

/// Of the ids of three scans.
const SUM: u64 = 3 * 60_000 * 60_001 / 2;

// The hardest case: several inputs read in turns, each far longer than what is buffered, over one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_read_in_turns_share_one_connection() {
    let (_, (sum, errors, _)) = in_turns_on(1 << 30, DiskManagerMode::OsTmpDirectory).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(sum, SUM);
}

// Protects memory: what waits for its reader beyond the query's share goes to disk, and comes back whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_that_wait_go_to_disk_and_come_back() {
    let (runtime, (sum, errors, disk)) = in_turns_on(1 << 20, DiskManagerMode::OsTmpDirectory).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(sum, SUM);
    assert!(disk > 20_000_000, "only {disk} bytes were on disk");
    assert_eq!(runtime.disk_manager.used_disk_space(), 0, "the files are gone");
}

// Without memory and without disk a query with one connection cannot go on: it says so rather than wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_memory_and_disk_the_query_fails_clearly() {
    let (_, (_, errors, _)) = in_turns_on(1 << 20, DiskManagerMode::Disabled).await;
    let error = errors.first().expect("it cannot go on");
    assert_eq!(error.state(), SqlState::IO, "{error}");
    assert!(error.message().starts_with("source \"shop\": "), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("pool_size")), "{error}");
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
    let session = SessionContext::new();
    let plan = dataset.provider.scan(&session.state(), Some(&vec![0]), &[], None).await.expect("planned");
    assert!(plan.properties().output_partitioning().partition_count() > 1);
    let limited = dataset.provider.scan(&session.state(), Some(&vec![0]), &[], Some(1)).await.expect("planned");
    assert_eq!(limited.properties().output_partitioning().partition_count(), 1);
}
