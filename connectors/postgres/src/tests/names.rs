//! Names and listings: whatever a table is called, and however many there are.

use super::server::{Database, context, run, scalar};
use datafusion::prelude::SessionContext;
use polder_catalog::{DatasetKind, Source};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAMES: &[&str] = &["a\"\"b", "a\\\"; drop table x; --", "it's", "$$", "a;b", "", "Ünï", "select", "a.b", "-- x"];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_read_as_they_are() {
    let database = Database::create();
    database.psql("CREATE TABLE x (n int4); INSERT INTO x VALUES (1)");
    let source = database.attach(&[]).await;
    for name in NAMES.iter().filter(|name| !name.is_empty()) {
        let name = quoted(name);
        database.psql(&format!("CREATE TABLE {name} ({name} text); INSERT INTO {name} VALUES ('\\'' OR true --')"));
    }
    for name in NAMES.iter().filter(|name| !name.is_empty()) {
        let sql = format!("SELECT max({0}) FROM {0} WHERE {0} = '\\'' OR true --'", quoted(name));
        let rows = run(&source, &context(), &[name], &sql).await.expect("the name is nothing special");
        assert_eq!(scalar(&rows), "\\' OR true --", "{name}");
    }
    assert_eq!(database.psql("SELECT count(*) FROM x").trim(), "1");
    assert!(source.dataset(&context(), "public", "nul\0").await.expect("answered").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_relation_is_listed() {
    let database = Database::create();
    database.psql(
        "CREATE TABLE t (a int4); CREATE VIEW v AS SELECT 1 AS a; CREATE MATERIALIZED VIEW m AS SELECT 1 AS a;
         CREATE TABLE p (a int4) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         INSERT INTO p VALUES (1); INSERT INTO t VALUES (1);
         CREATE TABLE empty (); INSERT INTO empty DEFAULT VALUES; CREATE SCHEMA other",
    );
    let source = database.attach(&[]).await;
    let listed = source.datasets(&context(), "public").await.expect("listed");
    let listed: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    let expected = [
        ("empty", DatasetKind::Table),
        ("m", DatasetKind::MaterializedView),
        ("p", DatasetKind::PartitionedTable),
        ("p1", DatasetKind::Table),
        ("t", DatasetKind::Table),
        ("v", DatasetKind::View),
    ];
    assert_eq!(listed, expected);
    for name in ["t", "v", "m", "p"] {
        let rows = run(&source, &context(), &[name], &format!("SELECT a FROM {name}")).await.expect("read");
        assert_eq!(scalar(&rows), "1");
    }
    let rows = run(&source, &context(), &["empty"], "SELECT count(*) FROM empty").await.expect("read");
    assert_eq!(scalar(&rows), "1");
    assert_eq!(rows_without_columns(&source, "empty", None).await, 1);
    assert_eq!(rows_without_columns(&source, "t", Some(&vec![])).await, 1);
    assert_eq!(source.schemas(&context()).await.expect("listed"), ["other", "public"]);
    // The next statement sees what was dropped, altered and created.
    database.psql("DROP TABLE empty; ALTER TABLE t ADD b text; CREATE TABLE later (z int4)");
    assert!(source.dataset(&context(), "public", "empty").await.expect("answered").is_none());
    let t = source.dataset(&context(), "public", "t").await.expect("answered").expect("there");
    assert_eq!(t.columns.len(), 2);
    assert!(source.dataset(&context(), "public", "later").await.expect("answered").is_some());
}

/// Rows of a COPY that sends no column.
async fn rows_without_columns(source: &Arc<dyn Source>, table: &str, projection: Option<&Vec<usize>>) -> usize {
    let dataset = source.dataset(&context(), "public", table).await.expect("described").expect("there");
    let session = SessionContext::new();
    let plan = dataset.provider.scan(&session.state(), projection, &[], None).await.expect("planned");
    let batches = datafusion::physical_plan::collect(plan, session.task_ctx()).await.expect("read");
    assert!(batches.iter().all(|batch| batch.num_columns() == 0));
    batches.iter().map(|batch| batch.num_rows()).sum()
}

// Protects listings from the server's 200 tables of its own, which are still there for who asks.
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_schemas_are_found_and_not_listed() {
    let database = Database::create();
    let source = database.attach(&[]).await;
    assert_eq!(source.schemas(&context()).await.expect("listed"), ["public"]);
    for (schema, table) in [("pg_catalog", "pg_class"), ("information_schema", "tables")] {
        let listed = source.datasets(&context(), schema).await.expect("listed");
        assert!(listed.iter().any(|entry| entry.name == table), "{schema}: {listed:?}");
        let dataset = source.dataset(&context(), schema, table).await.expect("described").expect("there");
        let frame = SessionContext::new().read_table(dataset.provider).expect("a table");
        assert!(frame.count().await.expect("read") > 100, "{schema}.{table}");
    }
}

// Protects attaching large databases: listing does not load columns.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_tables_are_listed_within_a_second() {
    let database = Database::create();
    for part in 0..4 {
        database.psql(&format!(
            "DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('CREATE TABLE t%s_%s (a int4, b text)', {part}, i); END LOOP; END $$"
        ));
    }
    #[expect(clippy::disallowed_methods, reason = "a real server takes real time")]
    let start = Instant::now();
    let source = database.attach(&[]).await;
    assert_eq!(source.datasets(&context(), "public").await.expect("listed").len(), 2_000);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
