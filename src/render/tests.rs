use super::{Expanded, Format, Layout, sink};
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;
use polder_catalog::mark;
use std::collections::HashMap;
use std::sync::Arc;

/// One batch of these columns.
fn batch(columns: Vec<(Field, ArrayRef)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn column(name: &str, array: impl Array + 'static) -> (Field, ArrayRef) {
    (Field::new(name, array.data_type().clone(), true), Arc::new(array))
}

fn render(format: Format, batches: &[RecordBatch]) -> String {
    render_in(format, &Layout::default(), batches)
}

fn render_in(format: Format, layout: &Layout, batches: &[RecordBatch]) -> String {
    let mut sink = sink(format, &batches[0].schema(), layout);
    let mut out = Vec::new();
    for batch in batches {
        sink.batch(batch, &mut out).unwrap();
    }
    sink.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The text of the first value of an array, without quotes.
fn text(array: impl Array + 'static) -> String {
    let csv = render(Format::Csv, &[batch(vec![column("a", array)])]);
    csv.lines().nth(1).unwrap().to_string()
}

fn json(array: impl Array + 'static) -> String {
    let json = render(Format::Ndjson, &[batch(vec![column("a", array)])]);
    json.lines().next().unwrap().to_string()
}

#[test]
fn csv_tells_null_from_the_empty_string_and_quotes_what_needs_it() {
    let names =
        StringArray::from(vec![None, Some(""), Some("a,b"), Some("say \"hi\""), Some("two\nlines"), Some(" x ")]);
    let ids = Int32Array::from(vec![1, 2, 3, 4, 5, 6]);
    let csv = render(Format::Csv, &[batch(vec![column("id", ids), column("the,name", names)])]);
    assert_eq!(csv, "id,\"the,name\"\n1,\n2,\"\"\n3,\"a,b\"\n4,\"say \"\"hi\"\"\"\n5,\"two\nlines\"\n6, x \n");
}

#[test]
fn an_empty_result_still_has_its_frame() {
    let empty = batch(vec![column("a", Int32Array::from(Vec::<i32>::new()))]);
    let empty = std::slice::from_ref(&empty);
    assert_eq!(render(Format::Csv, empty), "a\n");
    assert_eq!(render(Format::Json, empty), "[]\n");
    assert_eq!(render(Format::Ndjson, empty), "");
    assert_eq!(render(Format::Table, empty), " a\n---\n(0 rows)\n");
}

#[test]
fn json_is_one_array_over_all_batches() {
    let one = |n: i64| batch(vec![column("n", Int64Array::from(vec![n]))]);
    assert_eq!(render(Format::Json, &[one(1), one(2)]), "[{\"n\":1},\n{\"n\":2}]\n");
    assert_eq!(render(Format::Ndjson, &[one(1), one(2)]), "{\"n\":1}\n{\"n\":2}\n");
}

#[test]
fn json_gives_every_column_a_name_of_its_own() {
    let names = ["a", "a", "a_1", "a"];
    let columns = names.map(|name| column(name, Int32Array::from(vec![0])));
    let json = render(Format::Ndjson, &[batch(columns.to_vec())]);
    assert_eq!(json, "{\"a\":0,\"a_2\":0,\"a_1\":0,\"a_3\":0}\n");
}

#[test]
fn numbers_keep_every_digit() {
    assert_eq!(json(Int64Array::from(vec![i64::MIN])), "{\"a\":-9223372036854775808}");
    assert_eq!(json(UInt64Array::from(vec![u64::MAX])), "{\"a\":18446744073709551615}");
    let wide = Decimal128Array::from(vec![-12_345_678_901_234_567_890_123_456_789_i128]);
    assert_eq!(json(wide.with_precision_and_scale(38, 9).unwrap()), "{\"a\":-12345678901234567890.123456789}");
    let cents = Decimal128Array::from(vec![-5_i128]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(text(cents), "-0.05");
    assert_eq!(text(Float64Array::from(vec![0.1 + 0.2])), "0.30000000000000004");
    assert_eq!(text(Float64Array::from(vec![-0.0])), "-0.0");
    assert_eq!(text(Float64Array::from(vec![5e-324])), "5e-324");
    assert_eq!(text(Float32Array::from(vec![0.1])), "0.1");
}

#[test]
fn floats_that_are_no_numbers_are_strings_in_json() {
    let floats = Float64Array::from(vec![Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None]);
    let floats = batch(vec![column("a", floats)]);
    let floats = std::slice::from_ref(&floats);
    let json = "{\"a\":\"NaN\"}\n{\"a\":\"Infinity\"}\n{\"a\":\"-Infinity\"}\n{\"a\":null}\n";
    assert_eq!(render(Format::Ndjson, floats), json);
    assert_eq!(render(Format::Csv, floats), "a\nNaN\nInfinity\n-Infinity\n\n");
}

#[test]
fn time_is_written_in_iso_8601() {
    assert_eq!(text(Date32Array::from(vec![19_782])), "2024-02-29");
    assert_eq!(text(Date32Array::from(vec![-719_163])), "0000-12-31");
    assert_eq!(text(Date32Array::from(vec![-719_529])), "-0001-12-31");
    assert_eq!(text(Date32Array::from(vec![106_751_991])), "+294247-01-10");
    assert_eq!(text(TimestampMicrosecondArray::from(vec![-1])), "1969-12-31T23:59:59.999999");
    assert_eq!(text(TimestampMicrosecondArray::from(vec![1_709_210_096_500_000])), "2024-02-29T12:34:56.5");
    assert_eq!(text(TimestampSecondArray::from(vec![0])), "1970-01-01T00:00:00");
    assert_eq!(text(TimestampNanosecondArray::from(vec![1])), "1970-01-01T00:00:00.000000001");
    assert_eq!(text(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")), "1970-01-01T00:00:00Z");
    let summer = TimestampMillisecondArray::from(vec![1_720_000_000_000]).with_timezone("Europe/Amsterdam");
    assert_eq!(text(summer), "2024-07-03T11:46:40+02:00");
    assert_eq!(text(TimestampMicrosecondArray::from(vec![i64::MAX])), "+294247-01-10T04:00:54.775807");
    assert_eq!(text(Time64MicrosecondArray::from(vec![86_399_000_001])), "23:59:59.000001");
    assert_eq!(json(Time32SecondArray::from(vec![0])), "{\"a\":\"00:00:00\"}");
    assert_eq!(text(Date64Array::from(vec![86_400_000])), "1970-01-02");
}

#[test]
fn spans_keep_the_sign_of_each_part() {
    let span = |months, days, nanos| {
        text(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNanoType::make_value(months, days, nanos)]))
    };
    assert_eq!(span(14, -3, 14_706_500_000_000), "P1Y2M-3DT4H5M6.5S");
    assert_eq!(span(0, 0, 0), "PT0S");
    assert_eq!(span(-13, 0, -500_000_000), "P-1Y-1MT-0.5S");
    assert_eq!(span(0, 0, -3_661_000_000_000), "PT-1H-1M-1S");
    assert_eq!(text(DurationMillisecondArray::from(vec![90_061_001])), "PT25H1M1.001S");
    assert_eq!(text(DurationSecondArray::from(vec![i64::MIN])), "PT-2562047788015215H-30M-8S");
}

#[test]
fn binary_is_hex_and_a_uuid_has_hyphens() {
    assert_eq!(text(BinaryArray::from(vec![b"\x00\xff".as_slice()])), "\\x00ff");
    assert_eq!(json(BinaryArray::from(vec![b"\x00\xff".as_slice()])), "{\"a\":\"\\\\x00ff\"}");
    let bytes = FixedSizeBinaryArray::try_from_iter([(0..16).collect::<Vec<u8>>()].into_iter()).unwrap();
    let metadata = HashMap::from([(mark::EXTENSION.to_string(), mark::UUID.to_string())]);
    let field = Field::new("a", bytes.data_type().clone(), true).with_metadata(metadata);
    let csv = render(Format::Csv, &[batch(vec![(field, Arc::new(bytes))])]);
    assert_eq!(csv, "a\n00010203-0405-0607-0809-0a0b0c0d0e0f\n");
}

#[test]
fn what_is_nested_is_json_everywhere() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let strings: ArrayRef = Arc::new(StringArray::from(vec!["say \"hi\"", "b", "c"]));
    let structs = StructArray::new(
        Fields::from(vec![Field::new("s", DataType::Utf8, true)]),
        vec![strings],
        Some(vec![true, false, true].into()),
    );
    let rows = batch(vec![column("list", lists), column("object", structs)]);
    let rows = std::slice::from_ref(&rows);
    let json = "{\"list\":[1,null],\"object\":{\"s\":\"say \\\"hi\\\"\"}}\n{\"list\":null,\"object\":null}\n\
                {\"list\":[],\"object\":{\"s\":\"c\"}}\n";
    assert_eq!(render(Format::Ndjson, rows), json);
    let csv = render(Format::Csv, rows);
    assert_eq!(csv.lines().nth(1), Some("\"[1,null]\",\"{\"\"s\"\":\"\"say \\\"\"hi\\\"\"\"\"}\""));
}

#[test]
fn maps_dictionaries_and_views_read_as_what_they_hold() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).unwrap();
    assert_eq!(json(map.finish()), "{\"a\":{\"k\":7}}");
    let dictionary: DictionaryArray<Int8Type> = [Some("x"), None].into_iter().collect();
    assert_eq!(json(dictionary), "{\"a\":\"x\"}");
    assert_eq!(
        json(StringViewArray::from(vec!["a view longer than twelve bytes"])),
        "{\"a\":\"a view longer than twelve bytes\"}"
    );
    assert_eq!(json(NullArray::new(1)), "{\"a\":null}");
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2]), &StringArray::from(vec!["r"])).unwrap();
    assert_eq!(json(runs), "{\"a\":\"r\"}");
    let item = Arc::new(Field::new("item", DataType::Boolean, true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([1]), Arc::new(BooleanArray::from(vec![true])), None);
    assert_eq!(text(list), "[true]");
}

#[test]
fn marked_json_is_embedded_on_one_line_if_it_is_json() {
    let metadata = HashMap::from([(mark::EXTENSION.to_string(), mark::JSON.to_string())]);
    let field = Field::new("a", DataType::Utf8, true).with_metadata(metadata);
    let values = StringArray::from(vec!["{\"n\":\n 12345678901234567890.10}", "not json", "\"text\""]);
    let json = render(Format::Ndjson, &[batch(vec![(field, Arc::new(values))])]);
    assert_eq!(json, "{\"a\":{\"n\":  12345678901234567890.10}}\n{\"a\":\"not json\"}\n{\"a\":\"text\"}\n");
}

#[test]
fn control_characters_are_escaped_in_json_and_spelled_out_in_tables() {
    let nasty = batch(vec![column("a", StringArray::from(vec!["\u{1b}[31m\t\0\u{202e}"]))]);
    let nasty = std::slice::from_ref(&nasty);
    assert_eq!(render(Format::Ndjson, nasty), "{\"a\":\"\\u001b[31m\\t\\u0000\u{202e}\"}\n");
    let table = render(Format::Table, nasty);
    assert_eq!(table.lines().nth(2), Some(" \\u{1b}[31m\\t\\u{0}\\u{202e}"));
}

#[test]
fn a_table_aligns_numbers_at_the_right_and_counts_wide_characters() {
    let rows = batch(vec![
        column("name", StringArray::from(vec![Some("漢字"), Some("é"), None])),
        column("n", Int32Array::from(vec![Some(1), None, Some(1000)])),
        column("last", StringArray::from(vec!["a", "b", "two\nlines"])),
    ]);
    let expected = " name |    n | last\n\
                    ------+------+-------\n\
                    \x20漢字 |    1 | a\n\
                    \x20é    |      | b\n\
                    \x20     | 1000 | two  +\n\
                    \x20     |      | lines\n\
                    (3 rows)\n";
    assert_eq!(render(Format::Table, &[rows]), expected);
}

#[test]
fn on_a_terminal_text_is_cut_but_never_a_number() {
    let rows = batch(vec![
        column("text", StringArray::from(vec!["a text that is much longer than the terminal is wide"])),
        column("number", Int64Array::from(vec![i64::MAX])),
    ]);
    let layout = Layout { width: Some(40), expanded: Expanded::Auto };
    let table = render_in(Format::Table, &layout, std::slice::from_ref(&rows));
    assert_eq!(table.lines().nth(2), Some(" a text that is … | 9223372036854775807"));
    assert!(table.lines().all(|line| line.chars().count() <= 40), "{table}");
    let whole = render(Format::Table, &[rows]);
    assert!(whole.contains("longer than the terminal is wide"), "nothing is cut where there is no terminal: {whole}");
}

#[test]
fn a_table_too_wide_for_its_terminal_is_expanded() {
    let columns = (0..4).map(|n| column(&format!("column{n}"), Int64Array::from(vec![i64::MIN, n])));
    let rows = batch(columns.collect());
    let layout = Layout { width: Some(60), expanded: Expanded::Auto };
    let expected = "-[ RECORD 1 ]-----------------\n\
                    column0 | -9223372036854775808\n";
    let table = render_in(Format::Table, &layout, std::slice::from_ref(&rows));
    assert!(table.starts_with(expected), "{table}");
    assert!(table.ends_with("column3 | 3\n(2 rows)\n"), "{table}");
    let layout = Layout { expanded: Expanded::Off, ..layout };
    let aligned = render_in(Format::Table, &layout, &[rows]);
    assert!(aligned.starts_with("              column0 |"), "{aligned}");
}

#[test]
fn a_single_column_is_never_cut() {
    let plan = "a line of a plan that is longer than the terminal\n  and another one that is even longer than that";
    let rows = batch(vec![column("plan", StringArray::from(vec![plan]))]);
    let layout = Layout { width: Some(20), expanded: Expanded::Off };
    let table = render_in(Format::Table, &layout, &[rows]);
    assert!(table.contains(" a line of a plan that is longer than the terminal\n   and another"), "{table}");
}

#[test]
fn rows_after_the_measured_ones_are_written_as_they_come() {
    let thousand = |text: &str| {
        batch(vec![column("a", StringArray::from(vec![text; 1_000])), column("b", Int32Array::from(vec![1; 1_000]))])
    };
    let mut sink = sink(Format::Table, &thousand("x").schema(), &Layout::default());
    let mut out = Vec::new();
    sink.batch(&thousand("short"), &mut out).unwrap();
    let measured = out.len();
    assert!(measured > 0, "the bound is reached");
    sink.batch(&thousand("longer than measured"), &mut out).unwrap();
    let table = String::from_utf8(out).unwrap();
    assert_eq!(table.lines().nth(1_002), Some(" longer than measured | 1"));
}
