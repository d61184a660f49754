//! Bloom filters and page indexes of Parquet: what they let the reader leave out, and that no row is lost by it.

use super::*;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use datafusion::physical_plan::collect;
use datafusion::physical_plan::metrics::MetricValue;

fn parquet(columns: &[(&str, ArrayRef)], properties: WriterPropertiesBuilder) -> Vec<u8> {
    let rows = RecordBatch::try_from_iter(columns.iter().cloned()).expect("rows");
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.build())).expect("a writer");
    writer.write(&rows).expect("write");
    writer.into_inner().expect("a footer")
}

/// Three row groups of even keys, each from the lowest to the highest: statistics alone can skip none.
fn with_bloom_filters() -> Vec<u8> {
    let numbers = || (0..3).flat_map(|group| (0..1000).map(move |at| 2 * (3 * at + group)));
    let text: StringArray = numbers().map(|n| Some(format!("key {n:05}"))).collect();
    let properties = WriterProperties::builder().set_bloom_filter_enabled(true).set_bloom_filter_fpp(0.001);
    let numbers: ArrayRef = Arc::new(numbers().collect::<Int64Array>());
    parquet(&[("n", numbers), ("s", Arc::new(text))], properties.set_max_row_group_row_count(Some(1000)))
}

/// One row group, in order, of a hundred pages.
fn with_page_index() -> Vec<u8> {
    let text: StringArray = (0..20_000).map(|n| Some(format!("{n} is here"))).collect();
    let properties = WriterProperties::builder()
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false)
        .set_write_batch_size(200)
        .set_data_page_row_count_limit(200);
    parquet(&[("n", Arc::new((0..20_000).collect::<Int64Array>())), ("s", Arc::new(text))], properties)
}

/// What a query of `t` left out and what it took.
struct Read {
    rows: usize,
    bytes: usize,
    groups_skipped: usize,
    pages_skipped: usize,
}

async fn read(lake: &Lake, context: &ReadContext, sql: &str) -> Read {
    let found = lake.source.dataset(context, "public", "t").await.expect("describe").expect("a table");
    let session = session();
    session.register_table("t", found.provider).expect("register");
    let plan = session.sql(sql).await.expect("parse").create_physical_plan().await.expect("plan");
    let batches = collect(Arc::clone(&plan), session.task_ctx()).await.expect("run");
    let mut leaf = plan;
    while let Some(child) = leaf.children().first().copied() {
        leaf = Arc::clone(child);
    }
    let metrics = leaf.metrics().expect("metrics").aggregate_by_name();
    let skipped = |metric: &str| {
        let found = metrics.iter().find_map(|found| match found.value() {
            MetricValue::PruningMetrics { name, pruning_metrics } if name == metric => Some(pruning_metrics.pruned()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{metric} is not among {metrics}"))
    };
    Read {
        rows: batches.iter().map(RecordBatch::num_rows).sum(),
        bytes: metrics.sum_by_name("bytes_received").map_or(0, |value| value.as_usize()),
        groups_skipped: skipped("row_groups_pruned_bloom_filter"),
        pages_skipped: skipped("page_index_pages_pruned"),
    }
}

#[tokio::test]
async fn a_bloom_filter_skips_row_groups_that_lack_the_key() {
    let lake = Lake::new().await;
    lake.write("t.parquet", with_bloom_filters());
    for (filter, rows, skipped) in [
        ("n = 1001", 0, 3),
        ("n = 1000", 1, 2),
        ("s = 'key 01001'", 0, 3),
        ("s = 'key 01000'", 1, 2),
        ("n IN (1001, 1000, 1003)", 1, 2),
        ("n <> 1001", 3000, 0),
        ("n = 1001 OR s = 'key 01000'", 1, 0),
    ] {
        let sql = format!("SELECT s FROM t WHERE {filter}");
        let found = read(&lake, &context(), &sql).await;
        assert_eq!((found.rows, found.groups_skipped), (rows, skipped), "{sql}");
    }
}

#[tokio::test]
async fn a_page_index_skips_pages_that_cannot_match() {
    let lake = Lake::new().await;
    lake.write("t.parquet", with_page_index());
    let sql = "SELECT s FROM t WHERE n = 12345";
    let found = read(&lake, &context(), sql).await;
    assert_eq!((found.rows, found.pages_skipped), (1, 99));
    let whole = read(&lake, &context(), "SELECT s FROM t WHERE n >= 0").await;
    assert!(found.bytes * 3 < whole.bytes, "{} bytes with, {} without", found.bytes, whole.bytes);
}

/// Pushdown is switched off to see whether an answer depends on it, so nothing at all may be left out.
#[tokio::test]
async fn without_pushdown_neither_bloom_filters_nor_page_indexes_are_consulted() {
    let lake = Lake::new().await;
    for (bytes, sql, rows) in [
        (with_bloom_filters(), "SELECT s FROM t WHERE n = 1001", 0),
        (with_bloom_filters(), "SELECT s FROM t WHERE n = 1000", 1),
        (with_page_index(), "SELECT s FROM t WHERE n = 12345", 1),
    ] {
        lake.write("t.parquet", bytes);
        let whole = read(&lake, &without_pushdown(), "SELECT n, s FROM t").await.bytes;
        let found = read(&lake, &without_pushdown(), sql).await;
        assert_eq!((found.rows, found.groups_skipped, found.pages_skipped), (rows, 0, 0), "{sql}");
        assert_eq!(found.bytes, whole, "{sql}");
    }
}

/// A filter is made of a value's bytes as they are stored. Whoever asks with the bytes of another type loses the row.
#[tokio::test]
async fn a_bloom_filter_loses_no_row_whatever_the_type() {
    let lake = Lake::new().await;
    let seconds = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Second, zone.map(Into::into));
    let types = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::Date32,
        seconds(None),
        seconds(Some("UTC")),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(5, 2),
        DataType::Decimal128(12, 2),
        DataType::Decimal128(38, 10),
        DataType::Decimal256(50, 4),
    ];
    let numbers: Vec<i64> = vec![0, 42, 127];
    for data_type in types {
        let plain: ArrayRef = match &data_type {
            DataType::Binary => Arc::new(numbers.iter().map(|n| Some(n.to_string())).collect::<StringArray>()),
            DataType::Date32 => cast(&Int64Array::from(numbers.clone()), &DataType::Int32).expect("cast"),
            _ => Arc::new(Int64Array::from(numbers.clone())),
        };
        let values = cast(&plain, &data_type).expect("cast");
        let properties = WriterProperties::builder().set_bloom_filter_enabled(true);
        lake.write(
            "t.parquet",
            parquet(&[("x", values), ("n", Arc::new(Int64Array::from(numbers.clone())))], properties),
        );
        let session = session();
        let found = lake.source.dataset(&context(), "public", "t").await.expect("describe").expect("a table");
        session.register_table("t", found.provider).expect("register");
        // Each row is found by its own value, given as a literal of the column's type.
        for n in &numbers {
            let literal = match &data_type {
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => format!("'{n}'"),
                DataType::Binary => format!("arrow_cast('{n}', 'Binary')"),
                DataType::Date32 => format!("arrow_cast(arrow_cast({n}, 'Int32'), 'Date32')"),
                other => format!("arrow_cast({n}, '{other}')"),
            };
            let sql = format!("SELECT n FROM t WHERE x = {literal}");
            let rows = run(&session, &sql).await.unwrap_or_else(|error| panic!("{data_type} {sql}: {error:?}"));
            assert_eq!(rows, [n.to_string()], "{data_type}: {sql}");
        }
    }
}

/// The table's type is the wider one, each file's filter is of its own.
#[tokio::test]
async fn a_bloom_filter_loses_no_row_where_files_differ_in_type() {
    let lake = Lake::new().await;
    for (narrow, wide) in [
        (DataType::Int32, DataType::Int64),
        (DataType::UInt8, DataType::Int64),
        (DataType::Decimal128(12, 2), DataType::Decimal128(30, 2)),
        (DataType::Decimal128(5, 2), DataType::Decimal128(9, 4)),
        (DataType::Int32, DataType::Float64),
    ] {
        for (name, data_type, numbers) in [("narrow", &narrow, [1_i64, 5, 9]), ("wide", &wide, [2, 6, 10])] {
            let values = cast(&Int64Array::from(numbers.to_vec()), data_type).expect("cast");
            let properties = WriterProperties::builder().set_bloom_filter_enabled(true);
            lake.write(&format!("t/{name}.parquet"), parquet(&[("x", values)], properties));
        }
        for n in [1, 2, 5, 6, 9, 10] {
            let sql = format!("SELECT count(*) FROM t WHERE x = {n}");
            assert_eq!(lake.sql("t", &sql).await.expect("rows"), ["1"], "{narrow} and {wide}: {sql}");
        }
        assert_eq!(lake.sql("t", "SELECT count(*) FROM t WHERE x = 7").await.expect("rows"), ["0"], "{narrow}, {wide}");
    }
}
