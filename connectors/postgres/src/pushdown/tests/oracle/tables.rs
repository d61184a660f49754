//! The tables: a column of every type that takes part, with the values that break careless translations.

use super::random::Random;

/// A column: its name (which names the type in the tally), its type at the source, values as SQL expressions of the
/// source, and constants as DataFusion's SQL.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) pg_type: &'static str,
    pub(super) values: &'static [&'static str],
    pub(super) constants: &'static [&'static str],
}

const TEXTS: &[&str] = &[
    "''",
    "' '",
    "'a'",
    "'A'",
    "'a '",
    "'ab'",
    "'abc'",
    "'b'",
    "'B'",
    "'é'",
    "'e'",
    "'ß'",
    "'straße'",
    "'日本語'",
    "'🌏 x'",
    r"'\'",
    r"'\'' OR true --'",
    "'a''b'",
    "'a''''b'",
    "'$$'",
    "';'",
    "'%'",
    "'_'",
    r"'a\b'",
    "E'a\\nb'",
    "'İ'",
    "'z'",
    "'-1'",
    "'aXbXc'",
    "'  a  '",
];
const TEXT_CONSTANTS: &[&str] = &[
    "''",
    "' '",
    "'a'",
    "'A'",
    "'a '",
    "'ab'",
    "'b'",
    "'é'",
    "'ß'",
    "'日本語'",
    r"'\'",
    r"'\'' OR true --'",
    "'a''b'",
    "'a''''b'",
    "'$$'",
    "';'",
    "'%'",
    r"'a\b'",
    "'z'",
    "'🌏 x'",
];
const CHARS: &[&str] = &["''", "'a'", "'A'", "'ab'", "'b '", "'é'", "'日本'", r"'\'", "'a''b'", "'abcdef'"];
const CHAR_CONSTANTS: &[&str] = &["'a'", "'a     '", "'abcdef'", "'b     '", "''", "'      '"];
const FLOATS: &[&str] = &[
    "0",
    "'-0'",
    "1",
    "-1",
    "1.5",
    "-1.5",
    "0.1",
    "2.5",
    "'NaN'",
    "- 'NaN'::float8",
    "'Infinity'",
    "'-Infinity'",
    "1e30",
    "-1e-30",
    "16777217",
];
const FLOAT_CONSTANTS: &[&str] = &[
    "0.0",
    "arrow_cast('-0.0', 'Float64')",
    "1.5",
    "-1.5",
    "0.1",
    "arrow_cast('NaN', 'Float64')",
    "arrow_cast('inf', 'Float64')",
    "arrow_cast('-inf', 'Float64')",
    "1e30",
    "arrow_cast(0.1, 'Float32')",
    "1",
];
const DATES: &[&str] = &[
    "'1970-01-01'",
    "'1969-12-31'",
    "'2020-02-29'",
    "'2024-12-30'",
    "'2023-01-01'",
    "'0001-01-01'",
    "'0044-03-15 BC'",
    "'1999-12-31'",
    "'2020-03-01'",
    "'4714-11-24 BC'",
    "'262142-12-31'",
    "'5874897-12-31'",
    "'262143-01-01'",
];
const TIMESTAMPS: &[&str] = &[
    "'1970-01-01 00:00:00'",
    "'1969-12-31 23:59:59.999999'",
    "'2020-02-29 12:34:56.789'",
    "'2024-12-30 23:00:00'",
    "'2263-01-01 00:00:00'",
    "'0001-01-01 00:00:00'",
    "'0044-03-15 10:00:00 BC'",
    "'1999-12-31 23:59:59.5'",
    "'2020-03-01 00:00:00'",
    "'1600-06-15 01:02:03.000004'",
];
const TIMESTAMP_CONSTANTS: &[&str] = &[
    "TIMESTAMP '1970-01-01 00:00:00'",
    "TIMESTAMP '2020-02-29 12:34:56.789'",
    "arrow_cast('1969-12-31T23:59:59.999999', 'Timestamp(Microsecond, None)')",
    "arrow_cast('1600-06-15T01:02:03.000004', 'Timestamp(Microsecond, None)')",
    "arrow_cast(-9223372036854, 'Timestamp(Microsecond, None)')",
];
const TIMESTAMPTZ_CONSTANTS: &[&str] = &[
    "arrow_cast('1970-01-01T00:00:00Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
    "arrow_cast('2020-02-29T12:34:56.789Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
    "arrow_cast('1969-12-31T23:59:59.999999Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
    "arrow_cast('2024-12-31T01:00:00+02:00', 'Timestamp(Microsecond, Some(\"UTC\"))')",
];

pub(super) const COLUMNS: &[Column] = &[
    Column { name: "b", pg_type: "bool", values: &["true", "false"], constants: &["true", "false"] },
    Column {
        name: "i2",
        pg_type: "int2",
        values: &["0", "1", "-1", "7", "32767", "-32768", "100"],
        constants: &["0", "1", "-1", "7", "32767", "-32768", "arrow_cast(7, 'Int16')", "100000"],
    },
    Column {
        name: "i4",
        pg_type: "int4",
        values: &["0", "1", "-1", "7", "2147483647", "-2147483648", "100"],
        constants: &["0", "1", "-1", "7", "2147483647", "-2147483648", "arrow_cast(7, 'Int32')", "9999999999"],
    },
    Column {
        name: "i8",
        pg_type: "int8",
        values: &["0", "1", "-1", "7", "9223372036854775807", "-9223372036854775808", "3000000000", "100"],
        constants: &["0", "1", "-1", "7", "9223372036854775807", "-9223372036854775807", "3000000000"],
    },
    Column { name: "f4", pg_type: "float4", values: FLOATS, constants: FLOAT_CONSTANTS },
    Column { name: "f8", pg_type: "float8", values: FLOATS, constants: FLOAT_CONSTANTS },
    Column {
        name: "n12",
        pg_type: "numeric(12,3)",
        values: &["0", "1", "-1", "1.5", "-0.001", "999999999.999", "-999999999.999", "7", "2.345"],
        constants: &["0", "1.5", "-0.001", "7", "999999999.999", "arrow_cast(2.345, 'Decimal128(12, 3)')", "1.50"],
    },
    Column {
        name: "n",
        pg_type: "numeric",
        values: &["0", "1", "1.0", "1.50", "-0.00001", "123456789012345678901234567890.1234567890", "7"],
        constants: &["arrow_cast(1.5, 'Decimal256(76, 10)')", "arrow_cast(0, 'Decimal256(76, 10)')"],
    },
    Column { name: "t", pg_type: "text", values: TEXTS, constants: TEXT_CONSTANTS },
    Column { name: "v", pg_type: "varchar(20)", values: TEXTS, constants: TEXT_CONSTANTS },
    Column { name: "tc", pg_type: "text COLLATE \"C\"", values: TEXTS, constants: TEXT_CONSTANTS },
    Column { name: "tn", pg_type: "text COLLATE blind", values: TEXTS, constants: TEXT_CONSTANTS },
    Column { name: "c", pg_type: "char(6)", values: CHARS, constants: CHAR_CONSTANTS },
    Column { name: "nm", pg_type: "name", values: CHARS, constants: TEXT_CONSTANTS },
    Column {
        name: "by",
        pg_type: "bytea",
        values: &["'\\x'", "'\\x00'", "'\\x61'", "'\\xff'", "'\\x0061'", "'\\x5c27'"],
        constants: &["X''", "X'00'", "X'61'", "X'FF'", "X'5C27'"],
    },
    Column {
        name: "u",
        pg_type: "uuid",
        values: &[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'123e4567-e89b-12d3-a456-426614174000'",
        ],
        constants: &[
            "arrow_cast(X'123E4567E89B12D3A456426614174000', 'FixedSizeBinary(16)')",
            "arrow_cast(X'00000000000000000000000000000000', 'FixedSizeBinary(16)')",
        ],
    },
    Column {
        name: "d",
        pg_type: "date",
        values: DATES,
        constants: &[
            "DATE '1970-01-01'",
            "DATE '2020-02-29'",
            "DATE '1969-12-31'",
            "'2023-01-01'",
            "arrow_cast(-720000, 'Date32')",
        ],
    },
    Column {
        name: "tm",
        pg_type: "time",
        values: &["'00:00:00'", "'23:59:59.999999'", "'12:34:56'", "'01:02:03.000004'"],
        constants: &[
            "arrow_cast('12:34:56', 'Time64(Microsecond)')",
            "arrow_cast('23:59:59.999999', 'Time64(Microsecond)')",
        ],
    },
    Column { name: "ts", pg_type: "timestamp", values: TIMESTAMPS, constants: TIMESTAMP_CONSTANTS },
    Column { name: "tz", pg_type: "timestamptz", values: TIMESTAMPS, constants: TIMESTAMPTZ_CONSTANTS },
    Column {
        name: "m",
        pg_type: "\"mo\"\"od\"",
        values: &["'sad'", "'ok'", "'it''s'"],
        constants: &["'sad'", "'ok'", "'it''s'", "'no label'"],
    },
    Column { name: "dom", pg_type: "small", values: &["0", "1", "7", "99"], constants: &["0", "1", "7", "100"] },
    Column { name: "o", pg_type: "oid", values: &["0", "1", "4294967295", "7"], constants: &["0", "7", "4294967295"] },
];

/// Types that are read, and only tested for NULL.
pub(super) const OPAQUE: &[(&str, &str, &[&str])] = &[
    ("iv", "interval", &["'1 month'", "'-3 days 04:05:06'"]),
    ("js", "jsonb", &["'{\"a\": 1}'", "'null'"]),
    ("ip", "inet", &["'10.0.0.1/8'", "'::1'"]),
    ("ar", "int4[]", &["'{}'", "'{1,NULL}'"]),
];

pub(super) fn column(name: &str) -> &'static Column {
    COLUMNS.iter().find(|column| column.name == name).expect("a column of the tables")
}

/// Makes the tables `a` and `b`. Values appear in turn before they appear by chance.
pub(super) fn setup(random: &mut Random) -> String {
    let mut sql = String::from(
        "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);\n\
         CREATE TYPE \"mo\"\"od\" AS ENUM ('sad', 'ok', 'it''s');\n\
         CREATE DOMAIN small AS int4 CHECK (value < 100);\n",
    );
    for (table, rows) in [("a", 140), ("b", 60)] {
        let mut columns = vec!["id int8 PRIMARY KEY".to_string(), "g int4".to_string()];
        columns.extend(COLUMNS.iter().map(|column| format!("\"{}\" {}", column.name, column.pg_type)));
        columns.extend(OPAQUE.iter().map(|(name, pg_type, _)| format!("{name} {pg_type}")));
        sql.push_str(&format!("CREATE TABLE {table} ({});\n", columns.join(", ")));
        for row in 0..rows {
            sql.push_str(&format!("INSERT INTO {table} VALUES ({});\n", values(row, random).join(", ")));
        }
        sql.push_str(&format!("ANALYZE {table};\n"));
    }
    sql
}

fn values(row: usize, random: &mut Random) -> Vec<String> {
    let mut values = vec![row.to_string(), random.below(5).to_string()];
    let columns = COLUMNS.iter().map(|column| (column.pg_type, column.values));
    for (pg_type, candidates) in columns.chain(OPAQUE.iter().map(|(_, pg_type, values)| (*pg_type, *values))) {
        let value = match candidates.get(row) {
            Some(value) => value,
            None if random.one_in(7) => "NULL",
            None => random.pick(candidates),
        };
        let pg_type = pg_type.split(" COLLATE").next().expect("a type");
        values.push(format!("({value})::{pg_type}"));
    }
    values
}
