//! Folders named key=value.

use super::*;

#[tokio::test]
async fn folders_become_typed_columns() {
    let lake = Lake::new().await;
    lake.write("t/year=2024/day=2024-01-02/zip=01234/a.csv", "a\n1\n");
    lake.write("t/year=2025/day=2025-01-02/zip=99999/a.csv", "a\n2\n");
    assert_eq!(
        lake.columns("t").await,
        ["a Int64", "year Int64 not null", "day Date32 not null", "zip Utf8 not null"],
        "01234 keeps its zero"
    );
    assert_eq!(lake.rows("t").await, ["1|2024|2024-01-02|01234", "2|2025|2025-01-02|99999"]);
    let lake = Lake::with(&[("partition_types", "text")]).await;
    lake.write("t/year=2024/a.csv", "a\n1\n");
    assert_eq!(lake.columns("t").await, ["a Int64", "year Utf8 not null"]);
}

#[tokio::test]
async fn a_folder_filter_reads_only_its_files_and_decides_alone() {
    let lake = Lake::new().await;
    for year in 2020..2025 {
        lake.write_rows(&format!("t/year={year}/a.parquet"), &format!("SELECT {year} * 10 AS n")).await;
    }
    let sql = "SELECT n FROM t WHERE year IN (2021, 2023) AND year > 2021";
    assert_eq!(lake.sql("t", sql).await.expect("rows"), ["20230"]);
    let reports = reports(&lake.source, &context(), "t", sql).await;
    assert!(reports[0].request.contains("1 of 5 files"), "{}", reports[0].request);
    assert!(reports[0].request.contains("year=2023/a.parquet"), "{}", reports[0].request);
    assert!(reports[0].kept_local.is_empty(), "the folders decide: {:?}", reports[0].kept_local);
    assert_eq!(lake.sql("t", "SELECT n FROM t WHERE year = 1999").await.expect("rows"), Vec::<String>::new());
}

#[tokio::test]
async fn missing_and_default_partitions_are_null() {
    let lake = Lake::new().await;
    lake.write("t/k=__HIVE_DEFAULT_PARTITION__/a.csv", "a\n1\n");
    lake.write("t/k=0/a.csv", "a\n2\n");
    lake.write("t/a.csv", "a\n3\n");
    assert_eq!(lake.rows("t").await, ["1|NULL", "2|0", "3|NULL"]);
    for (filter, expected) in [
        ("k = 0", vec!["2|0"]),
        ("k IS NULL", vec!["1|NULL", "3|NULL"]),
        ("k <> 5", vec!["2|0"]),
        ("NOT (k = 0)", vec![]),
    ] {
        for context in [context(), without_pushdown()] {
            let sql = format!("SELECT * FROM t WHERE {filter}");
            assert_eq!(query(&lake.source, &context, "public", "t", &sql).await.expect("rows"), expected, "{filter}");
        }
    }
}

#[tokio::test]
async fn encoded_values_are_decoded_and_a_column_of_the_files_wins() {
    let lake = Lake::new().await;
    lake.write("t/k=a%2Fb%20c/x.csv", "a\n1\n");
    assert_eq!(lake.rows("t").await, ["1|a/b c"]);
    lake.write("u/a=9/x.csv", "a\n1\n");
    assert_eq!(lake.columns("u").await, ["a Int64"]);
    assert_eq!(lake.rows("u").await, ["1"]);
}
