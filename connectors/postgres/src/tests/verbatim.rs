//! `query('shop', '...')`.

use super::server::{Database, context, scalar};
use datafusion::prelude::SessionContext;
use polder_catalog::{Error, Result, SqlState};

async fn query(database: &Database, text: &str) -> Result<Vec<arrow::record_batch::RecordBatch>> {
    let source = database.attach(&[("pool_size", "1")]).await;
    let table = source.pass_through().expect("it has a language").query(&context(), text).await?;
    let frame = SessionContext::new().read_table(table).map_err(Error::from_datafusion)?;
    frame.collect().await.map_err(Error::from_datafusion)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_run_as_it_is() {
    let database = Database::create();
    database.psql("CREATE TABLE t (a int4, b inet); INSERT INTO t VALUES (7, '10.0.0.1')");
    for (text, first) in [
        ("SELECT a FROM t", "7"),
        ("SELECT b, b FROM t; ", "10.0.0.1"),
        ("TABLE t", "7"),
        ("VALUES (1), (2)", "1"),
        ("WITH x AS (SELECT 3 AS n) SELECT * FROM x -- the end", "3"),
        ("SELECT ')' || E'\\'' /* ) */ -- )", ")'"),
        ("SELECT current_setting('transaction_read_only')", "on"),
    ] {
        let rows = query(&database, text).await.unwrap_or_else(|error| panic!("{text}: {error} {:?}", error.detail()));
        assert_eq!(scalar(&rows), first, "{text}");
    }
}

// Protects the source: whatever the text is, it reads, and it cannot reach around the COPY.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_cannot_write_or_break_out() {
    let database = Database::create();
    database.psql("CREATE TABLE t (a int4)");
    for (text, state) in [
        ("SELECT 1) TO STDOUT; DROP TABLE t; --", SqlState::SYNTAX),
        ("SELECT 1; DROP TABLE t", SqlState::SYNTAX),
        ("SELECT 1 /*", SqlState::SYNTAX),
        ("DROP TABLE t", SqlState::SYNTAX),
        ("SELECT $1::int4", SqlState::SYNTAX),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x", SqlState::READ_ONLY),
        ("SELECT nowhere", SqlState::NO_COLUMN),
    ] {
        let error = query(&database, text).await.expect_err(text);
        assert_eq!(error.state(), state, "{text}: {error}");
        assert!(error.message().starts_with("source \"shop\": "), "{error}");
    }
    assert_eq!(database.psql("SELECT count(*) FROM t").trim(), "0");
}
