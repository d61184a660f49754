//! Types both ways: the names that the option `tables` and `DESCRIBE` use, and the Arrow types that hold the values.
//!
//! Memory holds Arrow, so each of Arrow's types arrives as it is; the list below only gives the usual ones a SQL name.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, IntervalUnit, TimeUnit};
use std::sync::Arc;

/// SQL name and Arrow type; the first name of a type is the one that is printed.
fn named_types() -> [(&'static str, DataType); 21] {
    let utc: Arc<str> = Arc::from("UTC");
    [
        ("boolean", DataType::Boolean),
        ("bool", DataType::Boolean),
        ("tinyint", DataType::Int8),
        ("smallint", DataType::Int16),
        ("integer", DataType::Int32),
        ("int", DataType::Int32),
        ("bigint", DataType::Int64),
        ("real", DataType::Float32),
        ("double precision", DataType::Float64),
        ("double", DataType::Float64),
        ("text", DataType::Utf8),
        ("varchar", DataType::Utf8),
        ("bytea", DataType::Binary),
        ("date", DataType::Date32),
        ("time", DataType::Time64(TimeUnit::Microsecond)),
        ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("timestamptz", DataType::Timestamp(TimeUnit::Microsecond, Some(utc))),
        ("interval", DataType::Interval(IntervalUnit::MonthDayNano)),
        ("numeric", DataType::Decimal128(DECIMAL128_MAX_PRECISION, 10)),
        ("decimal", DataType::Decimal128(DECIMAL128_MAX_PRECISION, 10)),
        ("uuid", DataType::FixedSizeBinary(16)),
    ]
}

/// The Arrow type of a SQL type name, as lower-case words separated by one blank; `None` if there is none.
pub(crate) fn arrow_type(name: &str) -> Option<DataType> {
    if let Some(arguments) = name.strip_prefix("numeric").or_else(|| name.strip_prefix("decimal"))
        && let Some(arguments) = arguments.trim().strip_prefix('(')
    {
        return decimal(arguments.strip_suffix(')')?);
    }
    named_types().into_iter().find(|(known, _)| *known == name).map(|(_, data_type)| data_type)
}

fn decimal(arguments: &str) -> Option<DataType> {
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let (precision, scale) = (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<i8>().ok()?);
    if scale < 0 || scale.unsigned_abs() > precision {
        return None;
    }
    match precision {
        1..=DECIMAL128_MAX_PRECISION => Some(DataType::Decimal128(precision, scale)),
        ..=DECIMAL256_MAX_PRECISION if precision > 0 => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

/// The name of a type for `DESCRIBE`: its SQL name, or Arrow's where SQL has none.
pub(crate) fn native_name(data_type: &DataType) -> String {
    if let DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) = data_type {
        return format!("numeric({precision},{scale})");
    }
    let named = named_types().into_iter().find(|(_, known)| known == data_type);
    named.map_or_else(|| data_type.to_string(), |(name, _)| name.to_string())
}

/// The SQL names that may be written, for hints.
pub(crate) fn known_names() -> String {
    named_types().map(|(name, _)| name).join(", ")
}
