//! What is skipped, what EXPLAIN says, and that it changes no row.

use super::*;
use datafusion::physical_plan::collect;
use polder_catalog::ReasonCode;

/// Ten files of ten row groups, ordered by `n`.
async fn ordered() -> Lake {
    let lake = Lake::new().await;
    for file in 0..3 {
        let rows = format!(
            "SELECT value AS n, value % 7 AS m, 'name ' || value AS s FROM range({}, {})",
            file * 10_000,
            (file + 1) * 10_000
        );
        lake.write_rows(&format!("t/part={file}/{file}.parquet"), &rows).await;
    }
    lake
}

async fn metric(lake: &Lake, context: &ReadContext, sql: &str, name: &str) -> usize {
    let found = lake.source.dataset(context, "public", "t").await.expect("describe").expect("a table");
    let session = session();
    session.register_table("t", found.provider).expect("register");
    let plan = session.sql(sql).await.expect("parse").create_physical_plan().await.expect("plan");
    collect(Arc::clone(&plan), session.task_ctx()).await.expect("run");
    let mut sum = 0;
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        if node.children().is_empty() {
            sum += node.metrics().and_then(|metrics| metrics.sum_by_name(name)).map_or(0, |value| value.as_usize());
        }
        open.extend(node.children().into_iter().cloned());
    }
    sum
}

#[tokio::test]
async fn statistics_skip_what_cannot_match() {
    let lake = ordered().await;
    let sql = "SELECT s FROM t WHERE n = 12345";
    let with = metric(&lake, &context(), sql, "bytes_received").await;
    let without = metric(&lake, &without_pushdown(), sql, "bytes_received").await;
    assert!(with > 0 && with * 3 < without, "{with} bytes with pushdown, {without} without");
    assert_eq!(lake.sql("t", sql).await.expect("rows"), ["name 12345"]);
}

#[tokio::test]
async fn footers_are_read_once() {
    let lake = ordered().await;
    lake.sql("t", "SELECT count(s) FROM t").await.expect("rows");
    let source = crate::source::ObjectStoreSource::new(
        &CatalogName::new("lake"),
        crate::options::Settings::new(&options(&lake)).expect("settings"),
    )
    .expect("attach");
    source.open(&context(), "public", "t").await.expect("open").expect("a table");
    let caches = source.caches();
    assert_eq!(caches.footers().len(), 3);
}

fn options(lake: &Lake) -> Options {
    let location = lake.folder.path().to_str().expect("a UTF-8 path").to_string();
    Options::validate(ObjectStoreConnector.options(), [("location".to_string(), location)]).expect("valid")
}

#[tokio::test]
async fn explain_says_what_is_read_and_what_is_checked_here() {
    let lake = ordered().await;
    let found = reports(&lake.source, &context(), "t", "SELECT s FROM t WHERE n > 25000 AND part >= 1").await;
    let [report] = found.as_slice() else { panic!("one scan: {found:?}") };
    let request = &report.request;
    assert!(request.starts_with(&format!("READ {}/", lake.path("t"))), "{request}");
    assert!(request.contains("Parquet: 2 of 3 files"), "{request}");
    assert!(request.contains("part=1/1.parquet, part=2/2.parquet"), "{request}");
    assert!(request.contains("FOLDERS WHERE part >= 1"), "{request}");
    assert!(request.contains("n@") && request.contains("> 25000"), "{request}");
    assert!(!request.contains("polder-"), "the inner URL is nobody's business: {request}");
    assert_eq!(report.kept_local.len(), 1);
    assert_eq!(report.kept_local[0].expression, "n > 25000");
    assert_eq!(report.kept_local[0].reason.code, ReasonCode::SourceLacks);
    let limited = reports(&lake.source, &context(), "t", "SELECT n FROM t LIMIT 5").await;
    assert!(limited[0].request.ends_with("LIMIT 5"), "{}", limited[0].request);
    let off = reports(&lake.source, &without_pushdown(), "t", "SELECT s FROM t WHERE n > 25000 AND part >= 1").await;
    assert!(off[0].request.contains("3 of 3 files") && !off[0].request.contains("SKIP"), "{}", off[0].request);
    assert_eq!(off[0].kept_local[0].reason.code, ReasonCode::Off);
}

#[tokio::test]
async fn a_leaf_of_another_catalog_is_not_described() {
    let lake = ordered().await;
    let found = lake.source.dataset(&context(), "public", "t").await.expect("describe").expect("a table");
    let plan = found.provider.scan(&session().state(), None, &[], None).await.expect("plan");
    assert!(lake.source.describe_scan(&CatalogName::new("lake"), plan.as_ref()).is_some());
    assert!(lake.source.describe_scan(&CatalogName::new("other"), plan.as_ref()).is_none());
}

/// Never wrong, only slower.
#[tokio::test]
async fn pushdown_changes_no_row() {
    let lake = ordered().await;
    for sql in [
        "SELECT count(*), min(n), max(n), sum(m) FROM t",
        "SELECT * FROM t WHERE n BETWEEN 9990 AND 10010",
        "SELECT * FROM t WHERE m = 3 AND part = 2 AND s LIKE '%99'",
        "SELECT part, count(*) FROM t WHERE part <> 1 OR n = 10001 GROUP BY part",
        "SELECT n FROM t WHERE n % 5000 = 0 ORDER BY n DESC LIMIT 3",
        "SELECT count(*) FROM (SELECT * FROM t LIMIT 11)",
        "SELECT a.n FROM t a JOIN t b ON a.n = b.n + 29990",
        "SELECT n FROM t WHERE n IN (SELECT max(n) FROM t) OR s IS NULL",
    ] {
        let with = query(&lake.source, &context(), "public", "t", sql).await.expect("rows");
        let without = query(&lake.source, &without_pushdown(), "public", "t", sql).await.expect("rows");
        assert_eq!(with, without, "{sql}");
        assert!(!with.is_empty(), "{sql}");
    }
}

/// Two catalogs on one folder keep their stores and caches apart.
#[tokio::test]
async fn two_catalogs_in_one_session_do_not_mix() {
    let (one, two) = (Lake::new().await, Lake::new().await);
    one.write_rows("t.parquet", "SELECT 1 AS a").await;
    two.write_rows("t.parquet", "SELECT 2 AS a").await;
    let session = session();
    for (name, lake) in [("x", &one), ("y", &two)] {
        let found = lake.source.dataset(&context(), "public", "t").await.expect("describe").expect("a table");
        session.register_table(name, found.provider).expect("register");
    }
    assert_eq!(run(&session, "SELECT x.a, y.a FROM x, y").await.expect("rows"), ["1|2"]);
}

/// The footer's statistics leave NaN out, and NaN is above every number.
#[tokio::test]
async fn a_row_of_nan_is_not_skipped_by_statistics() {
    let lake = Lake::new().await;
    let rows = "SELECT column1 AS n, column2 AS x FROM (VALUES (1, 1.5), (2, 'NaN'::DOUBLE), (3, 1.5)) ORDER BY n";
    lake.write_rows("t.parquet", rows).await;
    lake.write_rows("same.parquet", "SELECT * FROM (VALUES (1, 3.0), (2, 'NaN'::DOUBLE)) AS t(n, x)").await;
    for (table, sql, expected) in [
        ("t", "SELECT n FROM t WHERE x > 5", "2"),
        ("t", "SELECT n FROM t WHERE x >= 'NaN'::DOUBLE", "2"),
        ("t", "SELECT n FROM t WHERE x = 'NaN'::DOUBLE", "2"),
        ("t", "SELECT n FROM t WHERE x BETWEEN 4 AND 'NaN'::DOUBLE", "2"),
        ("same", "SELECT n FROM t WHERE x <> 3", "2"),
        ("t", "SELECT max(x) FROM t", "NaN"),
        ("t", "SELECT n FROM t ORDER BY x DESC LIMIT 1", "2"),
        ("t", "SELECT a.n FROM t AS a JOIN (SELECT x FROM t WHERE n = 2) AS b ON a.x = b.x", "2"),
    ] {
        assert_eq!(lake.sql(table, sql).await.expect(sql), [expected], "{sql}");
        let plain = query(&lake.source, &without_pushdown(), "public", table, sql).await.expect(sql);
        assert_eq!(plain, [expected], "without pushdown: {sql}");
    }
}
