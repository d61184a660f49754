//! The keys of a join travel to the server: fewer rows come, and the answer is the one that comes without.

use super::server::{Database, building, context_of, session};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::array_value_to_string;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use polder_catalog::{ReadContext, ScanExec, Source};
use std::sync::Arc;

const ROWS: usize = 4_000;
const TABLE: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TABLE t AS SELECT
        i AS id,
        CASE WHEN i % 7 > 0 THEN i::bigint * 3 END AS big,
        (i % 500)::smallint AS small,
        'näme ' || (i % 3000) || CASE WHEN i % 11 = 0 THEN '''\\' ELSE '' END AS name,
        md5(i::text)::uuid AS u,
        timestamptz '1969-12-31 00:00:00Z' + i * interval '1 hour' AS at,
        (i / 100.0)::numeric(10, 2) AS price,
        CASE i % 5 WHEN 0 THEN '-0' WHEN 1 THEN 'NaN'::float8 ELSE i END AS f,
        date '1969-06-01' + i % 900 AS day,
        (ARRAY['sad', 'ok', 'happy']::mood[])[1 + i % 3] AS mood,
        inet '10.0.0.0' + i AS ip,
        i % 2 = 0 AS even
      FROM generate_series(1, 4000) AS i;
    ANALYZE t;";
const COLUMNS: &[&str] = &["id", "big", "small", "name", "u", "at", "price", "f", "day", "even"];

async fn source() -> (Database, Arc<dyn Source>) {
    let database = Database::create();
    database.psql(TABLE);
    let source = database.attach(&[("pool_size", "4")]).await;
    (database, source)
}

/// A session over `t`, and over `keys`: what `select` returns, in memory. DataFusion builds on the smaller side.
async fn with_keys(source: &Arc<dyn Source>, context: &ReadContext, select: &str) -> SessionContext {
    let session = session(source, context, &["t"]).await.unwrap();
    let options = [
        ("datafusion.optimizer.hash_join_inlist_pushdown_max_distinct_values", "10000"),
        ("datafusion.optimizer.hash_join_inlist_pushdown_max_size", "1048576"),
    ];
    for (name, value) in options {
        session.sql(&format!("SET {name} = {value}")).await.unwrap();
    }
    let keys = session.sql(select).await.unwrap().collect().await.unwrap();
    let name = Schema::new(vec![Field::new("k", keys[0].schema().field(0).data_type().clone(), true)]);
    let keys: Vec<_> = keys
        .iter()
        .map(|batch| RecordBatch::try_new(Arc::new(name.clone()), vec![Arc::clone(batch.column(0))]).unwrap())
        .collect();
    let table = datafusion::datasource::MemTable::try_new(Arc::new(name), vec![keys]).unwrap();
    session.register_table("keys", Arc::new(table)).unwrap();
    session
}

/// Sorted rows as text, and the scan of `t` after it ran.
async fn ran(session: &SessionContext, sql: &str) -> (Vec<String>, Arc<dyn ExecutionPlan>) {
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), session.task_ctx()).await.unwrap();
    let mut rows: Vec<String> = batches.iter().flat_map(lines).collect();
    rows.sort();
    (rows, plan)
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let text = |column: &ArrayRef, row| array_value_to_string(column, row).unwrap();
    let line = |row| batch.columns().iter().map(|column| text(column, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

/// The rows that came from the server, and what it was asked beyond the plan.
fn moved(plan: &Arc<dyn ExecutionPlan>) -> (usize, Vec<String>) {
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        return (scan.metrics().unwrap().output_rows().unwrap_or(0), scan.report().keys);
    }
    plan.children().into_iter().fold((0, Vec::new()), |(rows, mut keys), child| {
        let (more, others) = moved(child);
        keys.extend(others);
        (rows + more, keys)
    })
}

#[tokio::test]
async fn as_many_rows_leave_the_server_as_there_are_keys() {
    let (_database, source) = source().await;
    let session = with_keys(&source, &context_of(1), "SELECT id FROM t WHERE id % 80 = 0").await;
    let (rows, plan) = ran(&session, "SELECT t.id, name FROM keys JOIN t ON t.id = k").await;
    let (moved, asked) = moved(&plan);
    assert_eq!((rows.len(), moved), (50, 50));
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("id one of 50 ("), "{asked:?}");
}

/// Every type, few keys and many, one stream and several, joins that keep all rows of one side: as without pushdown.
#[tokio::test]
async fn what_travels_changes_no_answer() {
    let (_database, source) = source().await;
    let off = building().pushdown(false).build();
    let mut narrowed = 0;
    for column in COLUMNS {
        for keys in ["id = 17", "id % 999 = 0 OR id < 4", "id % 3 = 0", "id < 0", "true"] {
            let select = format!("SELECT {column} FROM t WHERE {keys} UNION ALL SELECT NULL");
            for (partitions, join) in [
                (1, format!("SELECT t.id FROM keys JOIN t ON t.{column} = k")),
                (4, format!("SELECT t.id FROM keys JOIN t ON t.{column} = k")),
                (2, format!("SELECT t.id FROM t WHERE {column} IN (SELECT k FROM keys)")),
                (2, format!("SELECT t.id FROM t WHERE {column} NOT IN (SELECT k FROM keys WHERE k IS NOT NULL)")),
                (1, format!("SELECT count(t.id), k FROM keys LEFT JOIN t ON t.{column} = k GROUP BY k")),
                (2, format!("SELECT count(*) FROM keys FULL JOIN t ON t.{column} = k AND t.id > 10")),
            ] {
                // Joins that multiply are counted, not listed.
                let join = if join.starts_with("SELECT t.id FROM keys") && keys != "id = 17" {
                    join.replace("SELECT t.id", "SELECT count(*), sum(t.id)")
                } else {
                    join
                };
                if *column == "even" && (keys == "true" || keys == "id % 3 = 0") {
                    continue;
                }
                let with = with_keys(&source, &context_of(partitions), &select).await;
                with.sql("SET datafusion.optimizer.hash_join_single_partition_threshold = 1").await.unwrap();
                with.sql("SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 1").await.unwrap();
                let without = with_keys(&source, &off, &select).await;
                let (rows, plan) = ran(&with, &join).await;
                assert_eq!(rows, ran(&without, &join).await.0, "{keys}, {partitions} streams: {join}");
                narrowed += usize::from(!moved(&plan).1.is_empty());
            }
        }
    }
    assert!(narrowed > 50, "only {narrowed} joins narrowed their scan");
}

#[tokio::test]
async fn keys_in_a_wider_type_travel_in_the_columns_own() {
    let (_database, source) = source().await;
    let session =
        with_keys(&source, &context_of(1), "SELECT big * 1000000 FROM t WHERE id <= 6 UNION ALL SELECT 9").await;
    let (rows, plan) = ran(&session, "SELECT t.id FROM keys JOIN t ON t.id = k").await;
    assert_eq!(rows, ["9"]);
    let (moved, asked) = moved(&plan);
    assert!(moved < ROWS / 2, "{moved} rows, {asked:?}");
    assert!(!asked.is_empty());
}

#[tokio::test]
async fn nothing_is_asked_for_when_nothing_is_wanted() {
    let (_database, source) = source().await;
    let session = with_keys(&source, &context_of(1), "SELECT id FROM t WHERE id < 0 UNION ALL SELECT NULL").await;
    let (rows, plan) = ran(&session, "SELECT t.id FROM keys JOIN t ON t.id = k").await;
    assert_eq!((rows.len(), moved(&plan).0), (0, 0));
}

/// What has no exact counterpart stays here, and the rows come as they did.
#[tokio::test]
async fn a_limit_keeps_its_rows_whatever_the_join_wants() {
    let (_database, source) = source().await;
    let session = with_keys(&source, &context_of(1), "SELECT id FROM t WHERE id > 3990").await;
    let sql = "SELECT count(*) FROM keys JOIN (SELECT id FROM t LIMIT 1000) AS some ON some.id = k";
    let (_, plan) = ran(&session, sql).await;
    let (moved, asked) = moved(&plan);
    assert!(moved >= 1000 && asked.is_empty(), "{moved} rows, {asked:?}");
}
