//! Arrow's values and types as SQL, written without the connector's own help.

use arrow::array::{Array, AsArray};
use arrow::datatypes::*;
use arrow::record_batch::RecordBatch;

/// A name in double quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The type of a column that holds such values.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".to_string(),
        DataType::Int16 => "int2".to_string(),
        DataType::Int32 => "int4".to_string(),
        DataType::Int64 => "int8".to_string(),
        DataType::UInt32 => "oid".to_string(),
        DataType::UInt64 => "xid8".to_string(),
        DataType::Float32 => "float4".to_string(),
        DataType::Float64 => "float8".to_string(),
        DataType::Utf8 => "text".to_string(),
        DataType::Binary => "bytea".to_string(),
        DataType::FixedSizeBinary(16) => "uuid".to_string(),
        DataType::Date32 => "date".to_string(),
        DataType::Time64(_) => "time".to_string(),
        DataType::Timestamp(_, None) => "timestamp".to_string(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_string(),
        DataType::Interval(_) => "interval".to_string(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("numeric({precision},{scale})")
        }
        DataType::List(item) => format!("{}[]", type_name(item.data_type())),
        other => panic!("no column holds {other}"),
    }
}

/// One row as `(a, b, c)`.
pub(super) fn row(rows: &RecordBatch, at: usize) -> String {
    let values: Vec<String> = rows.columns().iter().map(|column| value(column.as_ref(), at)).collect();
    format!("({})", values.join(", "))
}

/// One value as an expression of its type.
pub(super) fn value(array: &dyn Array, at: usize) -> String {
    if array.is_null(at) {
        return "NULL".to_string();
    }
    let pg_type = type_name(array.data_type());
    let plain = |text: String| format!("'{}'::{pg_type}", text.replace('\'', "''"));
    match array.data_type() {
        DataType::Boolean => plain(array.as_boolean().value(at).to_string()),
        DataType::Int16 => plain(array.as_primitive::<Int16Type>().value(at).to_string()),
        DataType::Int32 => plain(array.as_primitive::<Int32Type>().value(at).to_string()),
        // Without quotes: most rows are of these, and this way the server reads them fast.
        DataType::Int64 if array.as_primitive::<Int64Type>().value(at) >= 0 => {
            array.as_primitive::<Int64Type>().value(at).to_string()
        }
        DataType::Int64 => plain(array.as_primitive::<Int64Type>().value(at).to_string()),
        DataType::UInt32 => plain(array.as_primitive::<UInt32Type>().value(at).to_string()),
        DataType::UInt64 => plain(array.as_primitive::<UInt64Type>().value(at).to_string()),
        DataType::Float32 => plain(format!("{:?}", array.as_primitive::<Float32Type>().value(at))),
        DataType::Float64 => plain(format!("{:?}", array.as_primitive::<Float64Type>().value(at))),
        DataType::Utf8 => format!("'{}'", array.as_string::<i32>().value(at).replace('\'', "''")),
        DataType::Binary => plain(format!("\\x{}", hex(array.as_binary::<i32>().value(at)))),
        DataType::FixedSizeBinary(_) => plain(hex(array.as_fixed_size_binary().value(at))),
        DataType::Date32 => date(i64::from(array.as_primitive::<Date32Type>().value(at))),
        DataType::Time64(_) => time(array.as_primitive::<Time64MicrosecondType>().value(at)),
        DataType::Timestamp(_, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(at);
            let (days, rest) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
            let local = format!("({} + {})", date(days), time(rest));
            if zone.is_some() { format!("({local} AT TIME ZONE 'UTC')") } else { local }
        }
        DataType::Interval(_) => {
            let IntervalMonthDayNano { months, days, nanoseconds } =
                array.as_primitive::<IntervalMonthDayNanoType>().value(at);
            plain(format!("{months} months {days} days {} microseconds", nanoseconds / 1_000))
        }
        DataType::Decimal128(..) => plain(array.as_primitive::<Decimal128Type>().value_as_string(at)),
        DataType::Decimal256(..) => plain(array.as_primitive::<Decimal256Type>().value_as_string(at)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            let items: Vec<String> = (0..items.len()).map(|item| value(items.as_ref(), item)).collect();
            format!("ARRAY[{}]::{pg_type}", items.join(", "))
        }
        other => panic!("no column holds {other}"),
    }
}

const DAY_MICROS: i64 = 86_400_000_000;

/// The server's calendar counts, so that a mistake of ours cannot cancel itself out.
fn date(days: i64) -> String {
    format!("('1970-01-01'::date + ({days}))")
}

fn time(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    format!("'{:02}:{:02}:{:02}.{micros:06}'::time", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
