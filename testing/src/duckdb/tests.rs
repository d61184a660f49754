use super::DuckDb;
use crate::Postgres;

/// Protects every comparison: values arrive with all their digits, NULL apart from the empty string.
#[test]
fn values_arrive_as_exact_text() {
    let mut duckdb = DuckDb::start();
    let rows = duckdb.query("SELECT 1.50::DECIMAL(10,2), 0.1::DOUBLE, NULL, '', true, DATE '1995-03-15', 'é\n|'");
    let expected = [Some("1.50"), Some("0.1"), None, Some(""), Some("true"), Some("1995-03-15"), Some("é\n|")];
    assert_eq!(rows, [expected.map(|text| text.map(String::from))]);
}

/// A failed statement is an answer, and the session goes on.
#[test]
fn an_error_leaves_the_session_usable() {
    let mut duckdb = DuckDb::start();
    assert!(duckdb.try_query("SELECT nothing").is_err_and(|message| message.contains("nothing")));
    assert_eq!(duckdb.query("CREATE TABLE t AS SELECT 1 AS a; SELECT a FROM t"), [[Some("1".to_string())]]);
}

/// The peer of a federated query: DuckDB reads a cluster itself.
#[test]
fn a_cluster_can_be_attached() {
    let postgres = Postgres::start();
    postgres.psql("CREATE TABLE t AS SELECT 7 AS a");
    let mut duckdb = DuckDb::start();
    duckdb.attach("shop", &postgres);
    assert_eq!(duckdb.query("SELECT a FROM shop.public.t"), [[Some("7".to_string())]]);
}
