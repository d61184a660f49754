//! The type table: each type's values through the connector and through psql, which must agree.

use super::server::{Database, context, context_with_pushdown, run, scalar};
use arrow::array::{Array, AsArray};
use arrow::datatypes::*;
use polder_catalog::{SqlState, mark};

/// A type, values to try as SQL constants, how psql writes a value `v` in the test's canonical form, and the Arrow type.
type Case = (&'static str, &'static [&'static str], &'static str, &'static str);

const MICROS: &str = "(extract(epoch FROM v) * 1000000)::int8::text";
const INTERVAL: &str = "(extract(year FROM v) * 12 + extract(month FROM v))::int || ' ' || extract(day FROM v)::int || ' ' || \
    (extract(hour FROM v) * 3600000000 + extract(minute FROM v) * 60000000 + extract(microseconds FROM v))::int8 * 1000";

const CASES: &[Case] = &[
    ("bool", &["true", "false"], "CASE WHEN v THEN 't' ELSE 'f' END", "Boolean"),
    ("int2", &["0", "-32768", "32767"], "v::text", "Int16"),
    ("int4", &["0", "-2147483648", "2147483647"], "v::text", "Int32"),
    ("int8", &["0", "-9223372036854775808", "9223372036854775807"], "v::text", "Int64"),
    ("oid", &["0", "4294967295"], "v::text", "UInt32"),
    ("xid", &["'0'", "'4294967295'"], "v::text", "UInt32"),
    ("xid8", &["'0'", "'18446744073709551615'"], "v::text", "UInt64"),
    (
        "float4",
        &["0", "-0.0", "1.1", "'NaN'", "'Infinity'", "3.4028235e38", "1e-45"],
        "encode(float4send(v), 'hex')",
        "Float32",
    ),
    (
        "float8",
        &["0", "'-0'", "1.1", "'NaN'", "'-Infinity'", "1.7976931348623157e308", "5e-324"],
        "encode(float8send(v), 'hex')",
        "Float64",
    ),
    (
        "numeric(12,2)",
        &["0", "0.01", "-9999999999.99", "9999999999.99", "100", "10000", "12345678.90"],
        "v::text",
        "Decimal128(12, 2)",
    ),
    (
        "numeric(38,10)",
        &["0", "9999999999999999999999999999.9999999999", "-0.0000000001", "10000.00010000"],
        "v::text",
        "Decimal128(38, 10)",
    ),
    (
        "numeric(76,20)",
        &[
            "0",
            "99999999999999999999999999999999999999999999999999999999.99999999999999999999",
            "-1e55",
            "0.00000000000000000001",
        ],
        "v::text",
        "Decimal256(76, 20)",
    ),
    ("numeric(5,0)", &["0", "-99999", "99999", "10000"], "v::text", "Decimal128(5, 0)"),
    ("numeric(3,-2)", &["100", "-99900"], "v::text", "Decimal128(5, 0)"),
    ("numeric(2,4)", &["0.0099", "-0.0001"], "v::text", "Decimal128(4, 4)"),
    (
        "numeric",
        &["1", "-1.5", "0.00000000000000000001", "123456789012345678901234567890.125"],
        "round(v, 20)::text",
        "Decimal256(76, 20)",
    ),
    ("text", &["''", "'a'", "' a '", "'ü€𝄞'", "E'a\\\\b''c\"d'"], "v", "Utf8"),
    ("varchar(5)", &["''", "'abcde'", "'ab '"], "v", "Utf8"),
    ("char(5)", &["''", "'abc'"], "rpad(v::text, 5)", "Utf8"),
    ("name", &["'pg_class'"], "v::text", "Utf8"),
    ("\"char\"", &["'x'", "''"], "v::text", "Utf8"),
    ("bytea", &["'\\x'", "'\\x00ff27'"], "encode(v, 'hex')", "Binary"),
    (
        "date",
        &["'1970-01-01'", "'1969-12-31'", "'4713-01-01 BC'", "'5874897-12-31'"],
        "(v - '1970-01-01'::date)::text",
        "Date32",
    ),
    ("time", &["'00:00:00'", "'23:59:59.999999'"], MICROS, "Time64(µs)"),
    (
        "timestamp",
        &[
            "'1970-01-01'",
            "'1969-12-31 23:59:59.999999'",
            "'1500-02-03 04:05:06.789'",
            "'4713-01-01 00:00:00 BC'",
            "'2500-01-01 00:00:00.000001'",
        ],
        MICROS,
        "Timestamp(µs)",
    ),
    (
        "timestamptz",
        &["'1970-01-01 00:00:00+02'", "'2262-04-12 00:00:00Z'", "'1900-01-01 00:00:00+05:30'"],
        MICROS,
        "Timestamp(µs, \"UTC\")",
    ),
    (
        "interval",
        &["'1 year 2 mons 3 days 04:05:06.000007'", "'-1 mons +2 days -00:00:00.000001'", "'0'"],
        INTERVAL,
        "Interval(MonthDayNano)",
    ),
    (
        "uuid",
        &["'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
        "replace(v::text, '-', '')",
        "FixedSizeBinary(16)",
    ),
    ("timetz", &["'23:59:59.5+05:30'", "'24:00:00-08'"], "v::text", "Utf8"),
    ("json", &["'{\"a\":  1}'"], "v::text", "Utf8"),
    ("jsonb", &["'{\"b\":  1, \"a\": [null]}'"], "v::text", "Utf8"),
    ("xml", &["'<a>b</a>'"], "v::text", "Utf8"),
    // Its cast to text adds a /32 that psql does not print.
    ("inet", &["'10.0.0.1/8'", "'::1'", "'10.0.0.1'"], "textin(inet_out(v))", "Utf8"),
    ("address", &["'10.0.0.1'"], "textin(inet_out(v))", "Utf8"),
    ("cidr", &["'10.0.0.0/8'"], "v::text", "Utf8"),
    ("macaddr", &["'08:00:2b:01:02:03'"], "v::text", "Utf8"),
    ("macaddr8", &["'08:00:2b:01:02:03:04:05'"], "v::text", "Utf8"),
    ("bit(4)", &["B'1010'"], "v::text", "Utf8"),
    ("varbit", &["B''", "B'101'"], "v::text", "Utf8"),
    ("money", &["'12.34'", "'-1'"], "v::text", "Utf8"),
    ("tsvector", &["'a:1 b:2'"], "v::text", "Utf8"),
    ("tsquery", &["'a & b'"], "v::text", "Utf8"),
    ("point", &["'(1,2)'"], "v::text", "Utf8"),
    ("line", &["'{1,2,3}'"], "v::text", "Utf8"),
    ("lseg", &["'[(0,0),(1,1)]'"], "v::text", "Utf8"),
    ("box", &["'(1,1),(0,0)'"], "v::text", "Utf8"),
    ("path", &["'[(0,0),(1,1)]'"], "v::text", "Utf8"),
    ("polygon", &["'((0,0),(1,1),(1,0))'"], "v::text", "Utf8"),
    ("circle", &["'<(0,0),1>'"], "v::text", "Utf8"),
    ("pg_lsn", &["'16/B374D848'"], "v::text", "Utf8"),
    ("txid_snapshot", &["'10:20:10,14'"], "v::text", "Utf8"),
    ("pg_snapshot", &["'10:20:10,14'"], "v::text", "Utf8"),
    ("tid", &["'(1,2)'"], "v::text", "Utf8"),
    ("regclass", &["'pg_catalog.pg_class'"], "v::text", "Utf8"),
    ("regtype", &["'int4'"], "v::text", "Utf8"),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'"], "v::text", "Utf8"),
    ("tstzrange", &["'[2020-01-01 00:00Z,)'"], "v::text", "Utf8"),
    ("int8multirange", &["'{[1,2),[3,4)}'"], "v::text", "Utf8"),
    ("int2vector", &["'1 2'"], "v::text", "Utf8"),
    ("mood", &["'sad'", "'it''s'"], "v::text", "Utf8"),
    ("positive", &["1", "7"], "v::text", "Int32"),
    ("price", &["1.25"], "v::text", "Decimal128(6, 2)"),
    ("int4[]", &["'{}'", "'{1,NULL,3}'"], "LIST(e::text)", "List(Int32)"),
    (
        "uuid[]",
        &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"],
        "LIST(replace(e::text, '-', ''))",
        "List(FixedSizeBinary(16))",
    ),
    (
        "timestamp[]",
        &["'{1969-12-31 23:59:59,NULL}'"],
        "LIST((extract(epoch FROM e) * 1000000)::int8::text)",
        "List(Timestamp(µs))",
    ),
    ("float8[]", &["'{0,-0,1.1,NaN,NULL}'"], "LIST(encode(float8send(e), 'hex'))", "List(Float64)"),
    ("varchar(3)[]", &["'{abc,\"\",NULL}'"], "LIST(e)", "List(Utf8)"),
    ("numeric(6,2)[]", &["'{1.25,-0.01}'"], "LIST(e::text)", "List(Decimal128(6, 2))"),
    ("inet[]", &["'{10.0.0.1/8,::1,NULL}'"], "LIST(textin(inet_out(e)))", "List(Utf8)"),
    ("box[]", &["'{(1,1),(0,0);(3,3),(2,2)}'"], "LIST(e::text)", "List(Utf8)"),
    ("mood[]", &["'{sad,it''s}'"], "LIST(e::text)", "List(Utf8)"),
    (
        "pair",
        &["ROW(1, 'x')", "ROW(NULL, 'ü')"],
        "'{' || coalesce((v).a::text, 'NULL') || ',' || (v).b || '}'",
        "Struct",
    ),
    (
        "pair[]",
        &["ARRAY[ROW(1, 'x')::pair, NULL]"],
        "LIST('{' || coalesce((e).a::text, 'NULL') || ',' || (e).b || '}')",
        "List(Struct)",
    ),
    ("tagged", &["ROW('10.0.0.1', 1)"], "v::text", "Utf8"),
];

const DEFINITIONS: &str = "CREATE TYPE mood AS ENUM ('sad', 'it''s'); CREATE DOMAIN positive AS int4 CHECK (value > 0);
    CREATE DOMAIN address AS inet; CREATE DOMAIN price AS numeric(6,2); CREATE TYPE pair AS (a int4, b text); CREATE TYPE tagged AS (a inet, b int4);";

/// Writes one value in the test's canonical form, from its Arrow bits alone.
fn canonical(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_string();
    }
    match array.data_type() {
        DataType::Boolean => if array.as_boolean().value(row) { "t" } else { "f" }.to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float32 => hex(&array.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => hex(&array.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_string(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row)),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Interval(_) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            format!("{} {} {}", value.months, value.days, value.nanoseconds)
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            let items: Vec<String> = (0..items.len()).map(|item| canonical(items.as_ref(), item)).collect();
            format!("[{}]", items.join(","))
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            let parts: Vec<String> = columns.iter().map(|column| canonical(column.as_ref(), row)).collect();
            format!("{{{}}}", parts.join(","))
        }
        other => panic!("no canonical form of {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("List({})", type_name(item.data_type())),
        DataType::Struct(_) => "Struct".to_string(),
        other => other.to_string(),
    }
}

/// The canonical form as psql computes it; `LIST(x)` is `x` of each element.
fn in_sql(canonical: &str) -> String {
    match canonical.strip_prefix("LIST(").and_then(|rest| rest.strip_suffix(')')) {
        // Not unnest, which takes the elements apart if they are rows.
        Some(element) => format!(
            "(SELECT '[' || coalesce(string_agg(coalesce({element}, 'NULL'), ',' ORDER BY o), '') || ']' \
             FROM generate_subscripts(v, 1) AS o, LATERAL (SELECT v[o] AS e) AS u)"
        ),
        None => canonical.to_string(),
    }
}

// Protects the promise that a type that Arrow has is read exactly, and any other as PostgreSQL's own text.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_reads_as_psql_prints_it() {
    let database = Database::create();
    let mut setup = DEFINITIONS.to_string();
    for (index, (pg_type, values, ..)) in CASES.iter().enumerate() {
        setup
            .push_str(&format!("CREATE TABLE t{index} (n int4, v {pg_type}); INSERT INTO t{index} VALUES (-1, NULL);"));
        for (n, value) in values.iter().enumerate() {
            setup.push_str(&format!("INSERT INTO t{index} VALUES ({n}, {value});"));
        }
    }
    database.psql(&setup);
    let source = database.attach(&[]).await;
    let mut wrong = Vec::new();
    for (index, (pg_type, values, form, arrow_type)) in CASES.iter().enumerate() {
        let table = format!("t{index}");
        let context = context();
        let rows = match run(&source, &context, &[&table], &format!("SELECT n, v FROM {table} ORDER BY n")).await {
            Ok(rows) => rows,
            Err(error) => {
                wrong.push(format!("{pg_type}: {error} {:?}", error.detail()));
                continue;
            }
        };
        let mut ours = Vec::new();
        for batch in &rows {
            let found = type_name(batch.column(1).data_type());
            if found != *arrow_type {
                wrong.push(format!("{pg_type} is {found}, not {arrow_type}"));
            }
            ours.extend((0..batch.num_rows()).map(|row| canonical(batch.column(1).as_ref(), row)));
        }
        let sql = format!("SELECT CASE WHEN n < 0 THEN 'NULL' ELSE {} END FROM t{index} ORDER BY n", in_sql(form));
        let theirs = database.psql(&sql);
        let theirs: Vec<&str> = theirs.split('\n').collect();
        if ours != theirs || ours.len() != values.len() + 1 {
            wrong.push(format!("{pg_type}: {ours:?} is not {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// Protects the planner, which must see at the field that a text is not the value.
#[tokio::test(flavor = "multi_thread")]
async fn types_that_arrow_has_not_are_marked() {
    let database = Database::create();
    database.psql("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (a inet, b mood, c jsonb, d uuid, e text)");
    let source = database.attach(&[]).await;
    let dataset = source.dataset(&context(), "public", "t").await.expect("described").expect("there");
    let marks: Vec<_> = dataset.columns.iter().map(|column| mark::of(column.field.metadata())).collect();
    assert_eq!(
        marks,
        [
            Some(("inet", mark::Comparison::None)),
            Some(("mood", mark::Comparison::Equality)),
            Some(("jsonb", mark::Comparison::None)),
            None,
            None
        ]
    );
    assert!(mark::is_uuid(dataset.columns[3].field.metadata()));
    assert_eq!(dataset.columns[0].native_type, "inet");
}

// Protects comparisons made here: the server takes every NaN for one value, the greatest, Arrow goes by their bits.
#[tokio::test(flavor = "multi_thread")]
async fn every_nan_is_read_as_the_same() {
    let database = Database::create();
    database.psql(
        "CREATE TYPE floats AS (a float4, b float8);
         CREATE TABLE t (a float4, b float8, c float4[], d float8[], e floats);
         INSERT INTO t SELECT x::float4, x, ARRAY[x]::float4[], ARRAY[x], ROW(x, x)::floats
         FROM (VALUES (- 'NaN'::float8), ('NaN'), ('Infinity'), ('-Infinity'), (0)) AS v(x)",
    );
    let sent = "SELECT count(*) FROM t WHERE float8send(b) = '\\xfff8000000000000' AND float4send(a) = '\\xffc00000'";
    assert_eq!(database.psql(sent), "1", "the server holds a negative NaN");
    let source = database.attach(&[]).await;
    let rows = run(&source, &context(), &["t"], "SELECT a, b, c, d, e FROM t WHERE isnan(b)").await.expect("read");
    for row in 0..2 {
        let read: Vec<String> = rows[0].columns().iter().map(|column| canonical(column.as_ref(), row)).collect();
        let [single, double] = ["7fc00000", "7ff8000000000000"];
        assert_eq!(
            read,
            [single, double, &format!("[{single}]"), &format!("[{double}]"), &format!("{{{single},{double}}}")]
        );
    }
    for (condition, count) in [
        ("b > arrow_cast('inf', 'Float64')", "2"),
        ("b = arrow_cast('NaN', 'Float64')", "2"),
        ("a < arrow_cast('-inf', 'Float32')", "0"),
        // No value that is read has this sign, so it equals none.
        ("b = arrow_cast('-NaN', 'Float64')", "0"),
        ("b < arrow_cast('-NaN', 'Float64')", "0"),
    ] {
        for pushdown in [true, false] {
            let context = context_with_pushdown(pushdown);
            let sql = format!("SELECT count(*) FROM t WHERE {condition}");
            let rows = run(&source, &context, &["t"], &sql).await.expect("counted");
            assert_eq!(scalar(&rows), count, "{condition}, pushdown {pushdown}");
        }
    }
}

const UNREPRESENTABLE: &[(&str, &str, &str)] = &[
    ("date", "'infinity'", "infinity"),
    ("timestamp", "'-infinity'", "-infinity"),
    ("timestamptz", "'infinity'", "infinity"),
    ("time", "'24:00:00'", "24:00:00"),
    ("numeric(5,2)", "'NaN'", "NaN"),
    ("numeric", "'Infinity'", "Infinity"),
    ("numeric", "0.000000000000000000001", "0.000000000000000000001"),
    ("int4[]", "'{{1,2},{3,4}}'", "an array of 2 dimensions"),
    ("int4[]", "'[0:1]={1,2}'", "an array whose first index is 0"),
];

// Protects the three answers to a value outside the Arrow type: none of them is a wrong value.
#[tokio::test(flavor = "multi_thread")]
async fn unrepresentable_values_follow_the_option() {
    let database = Database::create();
    for (index, (pg_type, value, _)) in UNREPRESENTABLE.iter().enumerate() {
        database.psql(&format!("CREATE TABLE t{index} (v {pg_type} NOT NULL); INSERT INTO t{index} VALUES ({value})"));
    }
    let refusing = database.attach(&[]).await;
    let nulling = database.attach(&[("unrepresentable", "null")]).await;
    let texting = database.attach(&[("unrepresentable", "text")]).await;
    for (index, (pg_type, _, printed)) in UNREPRESENTABLE.iter().enumerate() {
        let table = format!("t{index}");
        let sql = format!("SELECT v FROM {table}");
        let error = run(&refusing, &context(), &[&table], &sql).await.expect_err("there is no such Arrow value");
        assert_eq!(error.state(), SqlState::OUT_OF_RANGE, "{pg_type}");
        assert!(error.message().contains("source \"shop\": column \"v\""), "{error}");
        assert!(error.message().contains(printed), "{pg_type}: {error}");
        let nulls = run(&nulling, &context(), &[&table], &sql).await.expect("it became NULL");
        assert!(nulls[0].column(0).is_null(0), "{pg_type}");
        let texts = run(&texting, &context(), &[&table], &sql).await.expect("it is a text");
        assert_eq!(
            texts[0].column(0).as_string::<i32>().value(0),
            database.psql(&format!("SELECT v::text FROM {table}")).trim_end()
        );
    }
}
