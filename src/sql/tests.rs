//! What is read, and what is refused with which words.

use super::{Name, Statement, parse};

fn refused(sql: &str) -> String {
    let error = parse(sql).expect_err(sql);
    format!("{} {} | {}", error.state(), error, error.hint().unwrap_or_default())
}

#[test]
fn a_catalog_takes_strings_numbers_and_words_as_options() {
    let sql =
        "CREATE CATALOG IF NOT EXISTS Shop USING postgres WITH (url = 'it''s', pool_size = 4, sslmode = require);";
    let Statement::CreateCatalog { name, connector, options, .. } = parse(sql).unwrap() else {
        panic!("not a catalog")
    };
    assert_eq!((name.as_str(), connector.as_str()), ("shop", "postgres"));
    let expected = [("url", "it's"), ("pool_size", "4"), ("sslmode", "require")];
    assert_eq!(options, expected.map(|(name, value)| (name.to_string(), value.to_string())));
}

#[test]
fn a_view_keeps_the_words_of_its_author() {
    let sql = "CREATE VIEW v (a, \"B\") AS\n  SELECT '\\'' || 'ü', -- why\n  1 FROM t ;";
    let Statement::CreateView { name, definition, .. } = parse(&sql.replace("'\\''", "'\\'")).unwrap() else {
        panic!("not a view")
    };
    assert_eq!(name, Name(vec!["v".to_string()]));
    assert_eq!(definition.columns, ["a", "B"]);
    assert_eq!(definition.text, "SELECT '\\' || 'ü', -- why\n  1 FROM t");
}

#[test]
fn a_second_statement_is_refused() {
    assert!(refused("SELECT 1; SELECT 2").contains("expected the end of the statement"));
}

#[test]
fn a_syntax_error_names_the_place() {
    let error = parse("SELECT 1\nFROM t WHERE )").unwrap_err();
    assert!(error.detail().unwrap().contains("line 2"), "{error:?}");
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let sql = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(refused(&sql).contains("nested too deeply"));
}

#[test]
fn writes_are_refused_with_a_way_out() {
    for sql in [
        "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 1",
        "INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING",
        "TRUNCATE t, u",
        "UPDATE t JOIN u ON t.a = u.a SET a = 1",
        "DELETE FROM t, u",
        "MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "CREATE OR REPLACE TABLE t (a INT)",
        "EXPLAIN INSERT INTO t VALUES (1)",
    ] {
        assert!(refused(sql).starts_with("0A000"), "{sql}: {}", refused(sql));
    }
    assert!(refused("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc'").contains("object_store"));
    assert!(refused("COPY t TO '/tmp/x'").starts_with("0A000"));
}

#[test]
fn settings_have_dotted_names() {
    let Statement::Set { name, value } = parse("SET datafusion.execution.batch_size TO 10").unwrap() else { panic!() };
    assert_eq!((name.as_str(), value.as_str()), ("datafusion.execution.batch_size", "10"));
}

/// As JDBC sets it.
#[test]
fn an_isolation_level_is_set_as_the_standard_has_it() {
    let cases = [
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", "default_transaction_isolation"),
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "transaction_isolation"),
    ];
    for (sql, wanted) in cases {
        let Statement::Set { name, value } = parse(sql).unwrap() else { panic!("{sql}") };
        assert_eq!((name.as_str(), value.as_str()), (wanted, "read committed"));
    }
    assert!(
        parse("SET TRANSACTION ISOLATION LEVEL").is_err() && parse("SET TRANSACTION ISOLATION LEVEL chaos").is_err()
    );
}
