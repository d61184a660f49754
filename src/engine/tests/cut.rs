//! A query over Polder's own tables and a catalog that follows the log sees both as of one entry.

use super::{Outcome, run};
use crate::engine::Engine;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use polder_catalog::{
    Applied, Capabilities, CatalogName, Check, Connector, Dataset, DatasetDefinition, DatasetEntry, Entry, OptionSpec,
    Options, Position, ReadContext, Result, Source, Writer,
};
use polder_search::SearchConnector;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const READ_TAKES: Duration = Duration::from_millis(120);

/// Search that is slow to read, and whose writer stands still while it is told to.
#[derive(Debug)]
struct Slow {
    inner: SearchConnector,
    stands_still: Arc<AtomicBool>,
}

#[async_trait]
impl Connector for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn doc(&self) -> &'static str {
        "Search that is slow."
    }

    fn options(&self) -> &'static [OptionSpec] {
        self.inner.options()
    }

    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>> {
        let inner = self.inner.attach(name, options).await?;
        Ok(Arc::new(SlowSource { inner, stands_still: Arc::clone(&self.stands_still) }))
    }
}

#[derive(Debug)]
struct SlowSource {
    inner: Arc<dyn Source>,
    stands_still: Arc<AtomicBool>,
}

#[async_trait]
impl Source for SlowSource {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        self.inner.schemas(context).await
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        self.inner.datasets(context, schema).await
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        // Longer than a write takes, so that something newer comes between this and what was read before.
        tokio::time::sleep(READ_TAKES).await;
        self.inner.dataset(context, schema, table).await
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        self.inner.check(context).await
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        let (inner, stands_still) = (self.inner.writer()?, Arc::clone(&self.stands_still));
        Some(Arc::new(SlowWriter { inner, stands_still }))
    }
}

#[derive(Debug)]
struct SlowWriter {
    inner: Arc<dyn Writer>,
    stands_still: Arc<AtomicBool>,
}

#[async_trait]
impl Writer for SlowWriter {
    async fn apply(&self, entry: Entry) -> Result<Applied> {
        while self.stands_still.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.inner.apply(entry).await
    }

    async fn last_applied(&self) -> Result<Option<Position>> {
        self.inner.last_applied().await
    }

    fn check_definition(&self, definition: &DatasetDefinition) -> Result<()> {
        self.inner.check_definition(definition)
    }
}

async fn engine() -> (Engine, Arc<AtomicBool>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let stands_still = Arc::new(AtomicBool::new(false));
    let slow = Slow { inner: SearchConnector, stands_still: Arc::clone(&stands_still) };
    let builder = Engine::builder().data_dir(Some(directory.path().to_path_buf()));
    let engine = builder.connector(Arc::new(slow)).open().await.unwrap();
    let path = directory.path().join("search");
    run(&engine, &format!("CREATE CATALOG m USING slow WITH (path = '{}')", path.display())).await.unwrap();
    for sql in [
        // Without a key that would be looked up, which takes time.
        "CREATE TABLE m.there (id BIGINT)",
        "CREATE TABLE before (id BIGINT PRIMARY KEY)",
        "CREATE TABLE after (id BIGINT PRIMARY KEY)",
    ] {
        run(&engine, sql).await.unwrap();
    }
    (engine, stands_still, directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_with_what_follows_the_log_sees_one_state() {
    const ROWS: i64 = 18;
    let (engine, _, _directory) = engine().await;
    let writing = {
        let engine = engine.clone();
        tokio::spawn(async move {
            for id in 0..ROWS {
                // Writes come close together, then there is time to read.
                if id % 3 == 0 {
                    tokio::time::sleep(READ_TAKES * 4).await;
                }
                for table in ["before", "m.there", "after"] {
                    run(&engine, &format!("INSERT INTO {table} VALUES ({id})")).await.unwrap();
                }
            }
        })
    };
    // Whoever has one has those that were written before it.
    let wrong = "SELECT (SELECT count(*) FROM m.there t LEFT JOIN before b ON b.id = t.id WHERE b.id IS NULL)
         + (SELECT count(*) FROM after a LEFT JOIN m.there t ON t.id = a.id WHERE t.id IS NULL)";
    let (mut looked, mut apart) = (0, 0);
    while !writing.is_finished() {
        let Outcome::Rows(rows) = engine.session().run(wrong).await.unwrap() else { panic!("a query gives rows") };
        let notices = rows.notices();
        let batches = rows.collect().await.unwrap();
        // So many writes came in between that it gave up, and said so.
        match notices.told().is_empty() {
            true => assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 0),
            false => apart += 1,
        }
        looked += 1;
    }
    writing.await.unwrap();
    println!("looked {looked} times, {apart} of them in vain");
    assert!(looked > apart, "{looked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_behind_is_left_out_and_the_answer_says_so() {
    let (engine, stands_still, _directory) = engine().await;
    stands_still.store(true, Ordering::Relaxed);
    let writing = {
        let engine = engine.clone();
        tokio::spawn(async move { run(&engine, "INSERT INTO m.there VALUES (1)").await })
    };
    let log = engine.0.commit.log().await.unwrap().main();
    let end = log.end().offset;
    log.end_watch().wait_for(|now| now.offset > end).await.map(drop).ok();
    run(&engine, "INSERT INTO before VALUES (1)").await.unwrap();
    let query = "SELECT (SELECT count(*) FROM m.there) || ' ' || (SELECT count(*) FROM before) AS counts";
    let told = |outcome| async move {
        let Outcome::Rows(rows) = outcome else { panic!("a query gives rows") };
        let notices = rows.notices();
        rows.collect().await.unwrap();
        notices.told()
    };
    let notices = told(engine.session().run(query).await.unwrap()).await;
    assert_eq!(notices.len(), 1);
    assert!(notices[0].starts_with("tables of m do not reflect yet the position 'main:"), "{notices:?}");
    // Nobody else waits for it.
    run(&engine, "INSERT INTO before VALUES (2)").await.unwrap();
    assert_eq!(run(&engine, "SELECT count(*) FROM before").await.unwrap(), ["2"]);
    stands_still.store(false, Ordering::Relaxed);
    writing.await.unwrap().unwrap();
    assert_eq!(told(engine.session().run(query).await.unwrap()).await, [""; 0]);
    assert_eq!(run(&engine, query).await.unwrap(), ["1 2"]);
}
