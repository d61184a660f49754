//! Each format, each compression.

use super::*;

const THREE: &str = "SELECT * FROM (VALUES (1, 'one'), (2, 'zwei, \"drei\"'), (3, NULL)) AS v(id, name)";

#[tokio::test]
async fn every_format_gives_the_same_rows() {
    let lake = Lake::new().await;
    let names = [
        "p.parquet",
        "c.csv",
        "cg.csv.gz",
        "cb.csv.bz2",
        "cx.csv.xz",
        "cz.csv.zst",
        "n.ndjson",
        "l.jsonl",
        "j.json",
        "ng.ndjson.gz",
        "jz.json.zst",
        "a.arrow",
        "f.feather",
        "i.ipc",
    ];
    for name in names {
        lake.write_rows(name, THREE).await;
    }
    for name in names {
        let rows = lake.sql(name, "SELECT id, name FROM t").await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(rows, ["1|one", "2|zwei, \"drei\"", "3|NULL"], "{name}");
    }
}

#[tokio::test]
async fn files_of_one_table_may_be_compressed_differently() {
    let lake = Lake::new().await;
    lake.write_rows("t/a.csv", "SELECT 1 AS id").await;
    lake.write_rows("t/b.csv.gz", "SELECT 2 AS id").await;
    lake.write_rows("t/c.csv.zst", "SELECT 3 AS id").await;
    assert_eq!(lake.rows("t").await, ["1", "2", "3"]);
    assert_eq!(lake.sql("t", "SELECT count(*) FROM t WHERE id > 1").await.expect("count"), ["2"]);
}

/// Parallel compressors write many members; a reader that stops after the first loses rows without a word.
#[tokio::test]
async fn every_member_of_a_compressed_file_is_read() {
    let lake = Lake::with(&[("header", "false")]).await;
    for extension in ["gz", "bz2", "xz", "zst"] {
        let name = format!("m.csv.{extension}");
        let (first, second) = (rows_as_file(&name, "SELECT 1 AS a").await, rows_as_file(&name, "SELECT 2 AS a").await);
        lake.write(&name, [first, second].concat());
        let count = lake.sql(&name, "SELECT count(*) FROM t").await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(count, ["4"], "{name}: two headers and two rows");
    }
}

#[tokio::test]
async fn tabs_and_other_delimiters_are_read() {
    let lake = Lake::new().await;
    lake.write("t.tsv", "a\tb\n1\tx,y\n");
    assert_eq!(lake.rows("t").await, ["1|x,y"]);
    let lake = Lake::with(&[("delimiter", ";"), ("quote", "'"), ("comment", "#")]).await;
    lake.write("t.csv", "#hello\na;b\n1;'x;y'\n#bye\n");
    assert_eq!(lake.rows("t").await, ["1|x;y"]);
    let lake = Lake::with(&[("escape", "\\")]).await;
    lake.write("t.csv", "a,b\n1,\"x\\\"y\"\n");
    assert_eq!(lake.rows("t").await, ["1|x\"y"]);
}

#[tokio::test]
async fn csv_without_a_header_or_types_is_read() {
    let lake = Lake::with(&[("header", "false")]).await;
    lake.write("t.csv", "1,x\n2,y\n");
    assert_eq!(lake.columns("t").await, ["column_1 Int64", "column_2 Utf8"]);
    let lake = Lake::with(&[("types", "text")]).await;
    lake.write("t.csv", "zip\n00123\n");
    assert_eq!(lake.rows("t").await, ["00123"]);
}

#[tokio::test]
async fn csv_values_may_hold_line_ends_and_a_byte_order_mark_is_no_name() {
    let lake = Lake::new().await;
    lake.write("t.csv", "\u{feff}a,b\n1,\"x\ny\"\n2,z\n");
    assert_eq!(lake.columns("t").await, ["a Int64", "b Utf8"]);
    assert_eq!(lake.rows("t").await, ["1|x\ny", "2|z"]);
}

#[tokio::test]
async fn a_json_array_is_read_like_ndjson() {
    let lake = Lake::new().await;
    lake.write("t.json", "[\n  {\"a\": 1, \"b\": {\"c\": [1, 2]}},\n  {\"a\": 2}\n]\n");
    assert_eq!(lake.sql("t", "SELECT a, b['c'][2] FROM t").await.expect("rows"), ["1|2", "2|NULL"]);
}

#[tokio::test]
async fn an_arrow_stream_is_read_like_an_arrow_file() {
    use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch};
    use datafusion::arrow::ipc::writer::StreamWriter;
    let lake = Lake::new().await;
    let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
    let batch = RecordBatch::try_from_iter([("n", column)]).expect("a batch");
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).expect("a writer");
    writer.write(&batch).expect("write");
    writer.finish().expect("finish");
    lake.write("t.arrows", bytes);
    assert_eq!(lake.rows("t").await, ["7", "NULL"]);
}

#[tokio::test]
async fn option_format_reads_files_of_any_name() {
    let lake = Lake::with(&[("format", "csv")]).await;
    lake.write("t/part-0000", "a\n1\n");
    lake.write("t/part-0001.txt", "a\n2\n");
    lake.write("t/_SUCCESS", "");
    assert_eq!(lake.rows("t").await, ["1", "2"]);
}
