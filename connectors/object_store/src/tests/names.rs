//! Which files are which table.

use super::*;
use polder_catalog::SqlState;

#[tokio::test]
async fn files_and_folders_are_tables_and_folders_of_folders_are_schemas() {
    let lake = Lake::new().await;
    lake.write("orders.csv.gz", []);
    lake.write("items.parquet", []);
    lake.write("events/2024/a.csv", "a\n1\n");
    lake.write("events/b.csv", "a\n2\n");
    lake.write("days/day=1/a.csv", "a\n3\n");
    lake.write("sales/eu/a.csv", "a\n4\n");
    lake.write("sales/us/a.csv", "a\n5\n");
    lake.write("readme.md", "not a table");
    lake.write(".hidden/a.csv", "a\n1\n");
    lake.write("_tmp/a.csv", "a\n1\n");
    assert_eq!(lake.source.schemas(&context()).await.expect("schemas"), ["public", "sales"]);
    assert_eq!(lake.tables("public").await, ["days", "events", "items", "orders"]);
    assert_eq!(lake.tables("sales").await, ["eu", "us"]);
    assert_eq!(lake.tables("nowhere").await, Vec::<String>::new());
    assert_eq!(lake.rows("events").await, ["1", "2"], "all beneath, also folders without =");
    let eu = query(&lake.source, &context(), "sales", "eu", "SELECT * FROM t").await.expect("rows");
    assert_eq!(eu, ["4"]);
    for (schema, table) in [("public", "sales"), ("public", "nothing"), ("events", "2024"), ("nowhere", "x")] {
        let found = lake.source.dataset(&context(), schema, table).await.expect("no error");
        assert!(found.is_none(), "{schema}.{table}");
    }
}

#[tokio::test]
async fn one_name_for_two_things_is_refused_and_full_names_work() {
    let lake = Lake::new().await;
    lake.write("t.csv", "a\n1\n");
    lake.write("t.ndjson", "{\"a\": 2}\n");
    lake.write("t/x.csv", "a\n3\n");
    assert_eq!(lake.tables("public").await, ["t.csv", "t.ndjson", "t/"]);
    let error = lake.source.dataset(&context(), "public", "t").await.expect_err("ambiguous");
    assert_eq!(error.state(), SqlState::AMBIGUOUS);
    assert!(error.message().contains("t.csv, t.ndjson, t/"), "{error}");
    assert_eq!(lake.rows("t.csv").await, ["1"]);
    assert_eq!(lake.rows("t.ndjson").await, ["2"]);
    assert_eq!(lake.rows("t/").await, ["3"]);
}

#[tokio::test]
async fn a_table_has_the_id_that_it_is_listed_with() {
    let lake = Lake::new().await;
    for file in ["t.csv", "u.csv", "u.tsv", "folder/a.csv", "v.csv", "v/a.csv", "sales/eu/a.csv", "sales/us/b.csv"] {
        lake.write(file, "a\n1\n");
    }
    let mut ids = Vec::new();
    for schema in ["public", "sales"] {
        for listed in lake.source.datasets(&context(), schema).await.expect("list") {
            let found = lake.source.dataset(&context(), schema, &listed.name).await.expect("describe");
            assert_eq!(found.expect("a table").entry, listed);
            ids.push(listed.id.to_string());
        }
    }
    assert_eq!(ids, ["folder/", "t.csv", "u.csv", "u.tsv", "v.csv", "v/", "sales/eu/", "sales/us/"]);
    for (schema, name, id) in
        [("public", "t.csv", "t.csv"), ("public", "*.csv", "*.csv"), ("sales", "eu/*", "sales/eu/*")]
    {
        let found = lake.source.dataset(&context(), schema, name).await.expect("describe").expect("a table");
        assert_eq!((found.entry.id.to_string().as_str(), found.entry.name.as_str()), (id, name));
    }
}

#[tokio::test]
async fn a_pattern_is_a_table() {
    let lake = Lake::new().await;
    for (name, value) in [("2024-01.csv", 1), ("2024-02.csv", 2), ("2025-01.csv", 3), ("deep/2024-03.csv", 4)] {
        lake.write(name, format!("a\n{value}\n"));
    }
    assert_eq!(lake.rows("2024-*.csv").await, ["1", "2"]);
    assert_eq!(lake.rows("202[45]-01.csv").await, ["1", "3"]);
    assert_eq!(lake.rows("{2025,2024}-?1.csv").await, ["1", "3"]);
    assert_eq!(lake.rows("**/*.csv").await, ["1", "2", "3", "4"]);
    assert_eq!(lake.rows("deep/*.csv").await, ["4"]);
    let error = lake.source.dataset(&context(), "public", "1999*").await.expect_err("nothing");
    assert_eq!(error.state(), SqlState::NO_TABLE);
    assert_helpful(&error, "1999*");
}

#[test]
fn patterns_match_as_a_shell_does() {
    for (pattern, path, expected) in [
        ("*.csv", "a.csv", true),
        ("*.csv", "d/a.csv", false),
        ("**/*.csv", "a.csv", true),
        ("**/*.csv", "d/e/a.csv", true),
        ("d/**", "d/e/a.csv", true),
        ("d/**/x*", "d/e/f/xy", true),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("[!a]b", "cb", true),
        ("[!a]b", "ab", false),
        ("[a-c]x", "bx", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("ü*", "über", true),
    ] {
        assert_eq!(crate::glob::matches(pattern, path), expected, "{pattern} on {path}");
    }
    let long = "a".repeat(5000);
    assert!(!crate::glob::matches(&"*a".repeat(50).replace("aa", "a*b"), &format!("{long}c")));
}

/// A name is data: whatever it holds, it is found, read and named again.
#[tokio::test]
async fn strange_names_are_only_names() {
    let lake = Lake::new().await;
    let names = [
        "a\"\"b",
        "a\\\"; drop table x; --",
        "two words",
        "größe",
        "50%",
        "50%20",
        "it's",
        "a+b&c=d",
        "ends.with.dots",
        "[x]",
        "{y}",
        "#1a",
        "~tilde",
        "日本",
    ];
    for (at, name) in names.iter().enumerate() {
        lake.write(&format!("{name}.csv"), format!("a\n{at}\n"));
    }
    let mut expected: Vec<_> = names.iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(lake.tables("public").await, expected);
    for (at, name) in names.iter().enumerate() {
        assert_eq!(lake.rows(name).await, [at.to_string()], "{name}");
        let reports = reports(&lake.source, &context(), name, "SELECT * FROM t").await;
        assert!(reports[0].request.contains(&lake.path(&format!("{name}.csv"))), "{}", reports[0].request);
    }
    for name in ["", "/", "..", "../x", "a/../b", "nul\0", "."] {
        let found = lake.source.dataset(&context(), "public", name).await.expect("no error");
        assert!(found.is_none(), "{name:?}");
    }
}

#[tokio::test]
async fn each_statement_sees_new_changed_and_removed_files() {
    let lake = Lake::new().await;
    lake.write_rows("t/a.parquet", "SELECT 1 AS n").await;
    assert_eq!(lake.rows("t").await, ["1"]);
    lake.write_rows("t/b.parquet", "SELECT 2 AS n").await;
    assert_eq!(lake.rows("t").await, ["1", "2"]);
    lake.write_rows("t/a.parquet", "SELECT 7 AS n").await;
    assert_eq!(lake.rows("t").await, ["2", "7"]);
    std::fs::remove_file(lake.path("t/b.parquet")).expect("remove");
    assert_eq!(lake.rows("t").await, ["7"]);
}

/// Their plain files hold rows that the table does not.
#[tokio::test]
async fn delta_iceberg_and_hudi_tables_are_refused() {
    let lake = Lake::new().await;
    lake.write("delta/_delta_log/0.json", "{}");
    lake.write("delta/a.csv", "a\n1\n");
    lake.write("ice/metadata/v1.metadata.json", "{}");
    lake.write("ice/data/a.csv", "a\n1\n");
    lake.write("hudi/.hoodie/x", "");
    lake.write("hudi/a.csv", "a\n1\n");
    for table in ["delta", "ice", "hudi"] {
        let error = lake.error(table).await;
        assert_eq!(error.state(), SqlState::NOT_SUPPORTED, "{error:?}");
        assert_helpful(&error, table);
    }
    assert_eq!(lake.rows("delta/*.csv").await, ["1"], "a pattern says that the files themselves are meant");
}

#[tokio::test]
async fn attaching_touches_nothing_and_bad_options_are_named() {
    attach(&[("location", "/no/such/folder")]).await.expect("attach does no I/O");
    attach(&[("location", "s3://bucket"), ("endpoint", "http://127.0.0.1:1")]).await.expect("attach does no I/O");
    for (options, word) in [
        (vec![("location", "gs://bucket")], "location"),
        (vec![("location", "s3://")], "location"),
        (vec![("location", "")], "location"),
        (vec![("location", "s3://b"), ("endpoint", "http://example.com")], "endpoint"),
        (vec![("location", "s3://b"), ("endpoint", "https://user:pw@example.com")], "endpoint"),
        (vec![("location", "s3://b"), ("access_key_id", "x")], "secret_access_key"),
        (vec![("location", "s3://b"), ("secret_access_key", "plain")], "secret_access_key"),
        (vec![("location", "s3://b"), ("credentials", "options")], "access_key_id"),
        (vec![("location", "/"), ("delimiter", "ab")], "delimiter"),
        (vec![("location", "/"), ("locaton", "x")], "locaton"),
    ] {
        let error = attach(&options).await.expect_err("refused");
        assert_eq!(error.state(), SqlState::PARAMETER);
        assert!(error.message().contains(word) && error.hint().is_some(), "{options:?}: {error:?}");
        assert!(!format!("{error:?}").contains("user:pw"), "a secret is not repeated");
    }
}
