//! Databases in another encoding than UTF-8: read right, compared here, and told.

use super::server::{Database, context, context_with_pushdown, run, scalar};
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::prelude::{SessionContext, col, lit};
use polder_catalog::{CatalogName, CheckState, Pushed, SourceTable, SqlState, TableName};
use std::sync::Arc;

const DEFINITIONS: &str = "CREATE TYPE mood AS ENUM ('gut', 'schön');
    CREATE TABLE t (id int4, v text, c char(3), m mood);
    INSERT INTO t VALUES (1, 'a', 'a', 'gut'), (2, 'é', 'é', 'schön'), (3, 'z', 'z', 'gut'), (4, NULL, NULL, NULL)";

// Protects the rows: the server has other bytes, another order, and no way to read most characters.
#[tokio::test(flavor = "multi_thread")]
async fn latin_1_gives_the_same_rows_with_pushdown_on_and_off() {
    let database = Database::create_in("LATIN1");
    database.psql(DEFINITIONS);
    let source = database.attach(&[]).await;
    for (condition, count) in [
        ("v = 'é'", "1"),
        ("v = '日'", "0"),
        ("v <> '日'", "3"),
        ("v > 'y'", "2"),
        ("octet_length(v) = 2", "1"),
        ("c = 'é  '", "1"),
        ("m = 'schön'", "1"),
        ("m <> '日'", "3"),
        ("v IS NULL", "1"),
        ("CAST(id AS VARCHAR) <> '日'", "4"),
        ("id > 1 AND v LIKE '%'", "2"),
    ] {
        for pushdown in [true, false] {
            let context = context_with_pushdown(pushdown);
            let sql = format!("SELECT count(*) FROM t WHERE {condition}");
            let rows =
                run(&source, &context, &["t"], &sql).await.unwrap_or_else(|error| panic!("{condition}: {error}"));
            assert_eq!(scalar(&rows), count, "{condition}, pushdown {pushdown}");
        }
    }
    let rows = run(&source, &context(), &["t"], "SELECT string_agg(v, '' ORDER BY id) FROM t").await.expect("read");
    assert_eq!(scalar(&rows), "aéz");
}

// Numbers mean the same in every encoding, so a database that is not UTF-8 is not slow as such.
#[tokio::test(flavor = "multi_thread")]
async fn only_texts_stay_local() {
    let database = Database::create_in("LATIN1");
    database.psql(DEFINITIONS);
    let source = database.attach(&[]).await;
    let dataset = source.dataset(&context(), "public", "t").await.expect("described").expect("there");
    let (number, text, null) = (col("id").eq(lit(2)), col("v").eq(lit("a")), col("v").is_null());
    let answers = dataset.provider.supports_filters_pushdown(&[&number, &text, &null]).expect("answered");
    use TableProviderFilterPushDown::{Exact, Unsupported};
    assert_eq!(answers, [Exact, Unsupported, Exact]);

    let session = SessionContext::new();
    let federation = source.federation().expect("it takes fragments");
    let name = TableName { catalog: CatalogName::new("shop"), schema: "public".into(), table: "t".into() };
    let table = SourceTable::new(name, dataset, Some(Arc::clone(&federation)));
    session.register_table("t", Arc::new(table)).expect("registered");
    for (sql, is_pushed) in [
        ("SELECT max(id) FROM t WHERE id < 3", true),
        ("SELECT max(v) FROM t", false),
        ("SELECT count(*) FROM t GROUP BY m", false),
        ("SELECT count(*) FROM t WHERE concat(CAST(id AS VARCHAR), 'ü') = '1ü'", false),
    ] {
        let plan = session.sql(sql).await.expect("planned").into_optimized_plan().expect("optimized");
        let pushed = federation.push(&plan).expect("answered");
        assert_eq!(matches!(pushed, Pushed::Whole(_)), is_pushed, "{sql}: {pushed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_the_encoding() {
    for (encoding, words) in [("LATIN1", "LATIN1; texts are converted"), ("SQL_ASCII", "not UTF-8 fails the query")] {
        let source = Database::create_in(encoding).attach(&[]).await;
        let checks = source.check(&context()).await;
        let check = checks.iter().find(|check| check.item == "encoding").expect("looked at");
        assert_eq!(check.state, CheckState::Warning);
        assert!(check.detail.contains(words), "{}", check.detail);
        assert!(check.fix.is_some());
    }
    let checks = Database::create().attach(&[]).await.check(&context()).await;
    assert!(checks.iter().any(|check| check.item == "encoding" && check.state == CheckState::Ok));
}

// SQL_ASCII holds whatever bytes it was given, which may be no text at all.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_are_told() {
    let database = Database::create_in("SQL_ASCII");
    database.psql("CREATE TABLE t (id int4, v text); INSERT INTO t VALUES (1, 'é'), (2, E'a\\xff')");
    let source = database.attach(&[]).await;
    let good = run(&source, &context(), &["t"], "SELECT v FROM t WHERE id = 1").await.expect("it is UTF-8");
    assert_eq!(scalar(&good), "é");
    let error = run(&source, &context(), &["t"], "SELECT v FROM t").await.expect_err("it is not");
    assert_eq!(error.state(), SqlState::CHARACTER);
    assert!(error.message().starts_with("source \"shop\": ") && error.message().contains("0xff"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("bytea")), "{error}");
}
