//! Files whose columns changed over time.

use super::*;
use crate::merge::{Guess, widened};
use datafusion::arrow::datatypes::{DataType as T, TimeUnit};
use polder_catalog::SqlState;

#[tokio::test]
async fn parquet_files_unite_by_name_and_widen() {
    let lake = Lake::new().await;
    lake.write_rows("t/a.parquet", "SELECT CAST(1 AS INT) AS id, 'x' AS gone").await;
    lake.write_rows("t/b.parquet", "SELECT CAST(2.5 AS DOUBLE) AS added, CAST(5000000000 AS BIGINT) AS id").await;
    assert_eq!(lake.columns("t").await, ["id Int64 not null", "gone Utf8View", "added Float64"]);
    assert_eq!(lake.rows("t").await, ["1|x|NULL", "5000000000|NULL|2.5"]);
    assert_eq!(lake.sql("t", "SELECT added FROM t WHERE id > 10").await.expect("rows"), ["2.5"]);
    assert_eq!(lake.sql("t", "SELECT id FROM t WHERE added IS NULL").await.expect("rows"), ["1"]);
}

/// CSV is read by position: a file whose columns stand in another order must not change places.
#[tokio::test]
async fn csv_files_unite_by_name() {
    let lake = Lake::new().await;
    lake.write("t/a.csv", "id,name\n1,x\n");
    lake.write("t/b.csv", "name,id\ny,2\n");
    lake.write("t/c.csv", "extra,id\n9,3.5\n");
    lake.write("t/d.csv", "");
    assert_eq!(lake.columns("t").await, ["id Float64", "name Utf8", "extra Int64"]);
    assert_eq!(lake.rows("t").await, ["1.0|x|NULL", "2.0|y|NULL", "3.5|NULL|9"]);
    assert_eq!(lake.sql("t", "SELECT name FROM t WHERE id > 1.5").await.expect("rows"), ["NULL", "y"]);
    assert_eq!(lake.sql("t", "SELECT count(*), count(name), sum(extra) FROM t").await.expect("rows"), ["3|2|9"]);
}

/// Where the guesses differ, the text as written is what both are.
#[tokio::test]
async fn csv_types_fall_back_to_the_text_itself() {
    let lake = Lake::new().await;
    lake.write("t/a.csv", "zip\n00123\n");
    lake.write("t/b.csv", "zip\nK1A\n");
    assert_eq!(lake.rows("t").await, ["00123", "K1A"]);
}

#[tokio::test]
async fn ndjson_and_arrow_files_unite_by_name() {
    let lake = Lake::new().await;
    lake.write("j/a.ndjson", "{\"id\": 1, \"s\": {\"x\": 1}}\n");
    lake.write("j/b.ndjson", "{\"s\": {\"y\": \"z\"}, \"id\": 2.5}\n");
    assert_eq!(lake.sql("j", "SELECT id, s['x'], s['y'] FROM t").await.expect("rows"), ["1.0|1|NULL", "2.5|NULL|z"]);
    lake.write_rows("a/a.arrow", "SELECT CAST(1 AS INT) AS id, 'x' AS name").await;
    lake.write_rows("a/b.arrow", "SELECT 'y' AS name, CAST(2 AS BIGINT) AS id").await;
    assert_eq!(lake.rows("a").await, ["1|x", "2|y"]);
}

#[tokio::test]
async fn types_without_a_common_one_are_an_error_that_names_both_files() {
    let lake = Lake::new().await;
    lake.write_rows("t/a.parquet", "SELECT 1 AS id").await;
    lake.write_rows("t/b.parquet", "SELECT 'x' AS id").await;
    let error = lake.error("t").await;
    assert_eq!(error.state(), SqlState::TYPE);
    assert_helpful(&error, "t/a.parquet");
    assert_helpful(&error, "t/b.parquet");
    assert!(error.message().contains("\"id\""), "{error}");
}

#[tokio::test]
async fn files_of_two_formats_are_not_one_table() {
    let lake = Lake::new().await;
    lake.write("t/a.csv", "a\n1\n");
    lake.write("t/b.ndjson", "{\"a\": 2}\n");
    let error = lake.error("t").await;
    assert_helpful(&error, "t/a.csv");
    assert_helpful(&error, "t/b.ndjson");
    assert_eq!(lake.rows("t/*.csv").await, ["1"]);
}

#[test]
fn types_widen_only_where_nothing_is_lost() {
    let s = |unit| T::Timestamp(unit, None);
    for (a, b, expected) in [
        (T::Int8, T::Int64, Some(T::Int64)),
        (T::UInt32, T::Int32, Some(T::Int64)),
        (T::UInt64, T::Int64, Some(T::Decimal128(20, 0))),
        (T::Int32, T::Float64, Some(T::Float64)),
        (T::Int32, T::Float32, Some(T::Float64)),
        (T::Int64, T::Float64, None),
        (T::Float32, T::Float64, Some(T::Float64)),
        (T::Decimal128(10, 2), T::Decimal128(12, 5), Some(T::Decimal128(13, 5))),
        (T::Decimal128(38, 0), T::Decimal128(38, 30), Some(T::Decimal256(68, 30))),
        (T::Int64, T::Decimal128(10, 2), Some(T::Decimal128(22, 2))),
        (s(TimeUnit::Second), s(TimeUnit::Nanosecond), Some(s(TimeUnit::Nanosecond))),
        (s(TimeUnit::Second), T::Timestamp(TimeUnit::Second, Some("UTC".into())), None),
        (T::Date32, s(TimeUnit::Second), None),
        (T::Utf8, T::LargeUtf8, Some(T::Utf8View)),
        (T::Utf8, T::Int64, None),
        (T::Null, T::Boolean, Some(T::Boolean)),
        (T::Boolean, T::Int8, None),
    ] {
        assert_eq!(widened(&a, &b, Guess::No), expected, "{a} and {b}");
        assert_eq!(widened(&b, &a, Guess::No), expected, "{b} and {a}");
    }
    assert_eq!(widened(&T::Int64, &T::Utf8, Guess::Text), Some(T::Utf8));
}
