//! Constants: from a `ScalarValue` to a literal that PostgreSQL reads back as the very same value.

use super::ast::{Expr, Literal, Text, Type};
use super::reason;
use super::typed::{Bounds, Collation, Kind, Typed, is_utc, pg_type};
use crate::types::nan;
use arrow::datatypes::{DataType, TimeUnit, i256};
use datafusion_common::ScalarValue;
use polder_catalog::Reason;

/// Translates a constant.
pub(crate) fn translate(value: &ScalarValue) -> Result<Typed, Reason> {
    if value.is_null() {
        return null(&value.data_type());
    }
    match value {
        ScalarValue::Boolean(Some(value)) => {
            Ok(Typed::new(Expr::Literal(Literal::Boolean(*value)), DataType::Boolean, Kind::Boolean))
        }
        ScalarValue::Int8(Some(_))
        | ScalarValue::Int16(Some(_))
        | ScalarValue::Int32(Some(_))
        | ScalarValue::Int64(Some(_))
        | ScalarValue::UInt8(Some(_))
        | ScalarValue::UInt16(Some(_))
        | ScalarValue::UInt32(Some(_))
        | ScalarValue::UInt64(Some(_)) => integer(value),
        ScalarValue::Float32(Some(value)) if !nan::is_readable_single(*value) => Err(other_nan()),
        ScalarValue::Float64(Some(value)) if !nan::is_readable_double(*value) => Err(other_nan()),
        ScalarValue::Float32(Some(value)) => Ok(float(float_text(*value), Type::Float4, DataType::Float32)),
        ScalarValue::Float64(Some(value)) => Ok(float(float_text(*value), Type::Float8, DataType::Float64)),
        ScalarValue::Decimal128(Some(unscaled), _, scale) => {
            Ok(decimal(i256::from_i128(*unscaled), *scale, value.data_type()))
        }
        ScalarValue::Decimal256(Some(unscaled), _, scale) => Ok(decimal(*unscaled, *scale, value.data_type())),
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            self::text(text, value.data_type())
        }
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => {
            Ok(Typed::new(Expr::typed(format!("\\x{}", hex(bytes)), Type::Bytea), value.data_type(), Kind::Bytes))
        }
        ScalarValue::FixedSizeBinary(16, Some(bytes)) => {
            Ok(Typed::new(Expr::typed(hex(bytes), Type::Uuid), value.data_type(), Kind::Uuid))
        }
        ScalarValue::Date32(Some(days)) => date(*days),
        ScalarValue::Time64Microsecond(Some(micros)) => time(*micros),
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => timestamp(*micros, zone.as_deref(), value.data_type()),
        other => Err(reason::type_(format!("a constant of type {} has no exact counterpart", other.data_type()))),
    }
}

/// A NULL of the type.
pub(crate) fn null(data_type: &DataType) -> Result<Typed, Reason> {
    let expr = Expr::Literal(Literal::Null);
    if data_type.is_null() {
        return Ok(Typed::new(expr, DataType::Null, Kind::Null));
    }
    let (Some(to), Some(kind)) = (pg_type(data_type), kind_of(data_type)) else {
        return Err(reason::type_(format!("type {data_type} has no exact counterpart")));
    };
    Ok(Typed::new(expr.cast(to), data_type.clone(), kind))
}

/// The family of a type, for values that are no column's.
pub(crate) fn kind_of(data_type: &DataType) -> Option<Kind> {
    Some(match pg_type(data_type)? {
        Type::Bool => Kind::Boolean,
        Type::Int2 | Type::Int4 | Type::Int8 => Kind::Integer(Bounds::of(data_type)?),
        Type::Float4 | Type::Float8 => Kind::Float,
        Type::Numeric => Kind::Decimal,
        Type::Text => Kind::Text(Collation::Constant),
        Type::Bytea => Kind::Bytes,
        Type::Uuid => Kind::Uuid,
        Type::Date => Kind::Date,
        Type::Time => Kind::Time,
        Type::Timestamp => Kind::Timestamp,
        Type::Timestamptz => Kind::Timestamptz,
        Type::TextArray | Type::Tid => return None,
    })
}

/// In arithmetic a constant needs the width of its type; in a comparison its digits are enough.
fn integer(value: &ScalarValue) -> Result<Typed, Reason> {
    let data_type = value.data_type();
    let too_wide = || reason::type_(format!("the constant {value} exceeds PostgreSQL's integers"));
    let number: i64 = value.to_string().parse().map_err(|_| too_wide())?;
    let width = match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::Int2,
        DataType::Int32 | DataType::UInt16 => Type::Int4,
        _ => Type::Int8,
    };
    let literal = Literal::Integer(number);
    let expr = Expr::Literal(literal.clone()).cast(width);
    let kind = Kind::Integer(Bounds::exactly(number));
    Ok(Typed { expr, data_type, kind, constant: Some(literal) })
}

/// The shortest digits that read back as the same float.
fn float_text<F: Into<f64> + std::fmt::Debug + Copy>(value: F) -> String {
    let wide: f64 = value.into();
    if wide.is_nan() {
        "NaN".to_string()
    } else if wide.is_infinite() {
        if wide > 0.0 { "Infinity".to_string() } else { "-Infinity".to_string() }
    } else {
        format!("{value:?}")
    }
}

fn float(text: String, to: Type, data_type: DataType) -> Typed {
    Typed::new(Expr::typed(text, to), data_type, Kind::Float)
}

fn other_nan() -> Reason {
    reason::semantics("a NaN with a sign or a payload, which no value that is read has, is every NaN to PostgreSQL")
}

fn decimal(unscaled: i256, scale: i8, data_type: DataType) -> Typed {
    Typed::new(Expr::Literal(Literal::Decimal { unscaled, scale }), data_type, Kind::Decimal)
}

/// Without a cast PostgreSQL takes the literal for whatever type it meets, so only comparisons leave it off.
fn text(text: &str, data_type: DataType) -> Result<Typed, Reason> {
    let text = Text::new(text).ok_or_else(|| reason::type_("the text holds a NUL byte, which PostgreSQL has not"))?;
    let literal = Literal::Text(text);
    let expr = Expr::Literal(literal.clone()).cast(Type::Text);
    Ok(Typed { expr, data_type, kind: Kind::Text(Collation::Constant), constant: Some(literal) })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// PostgreSQL's calendar, in days since 1970: 4714-11-24 BC to 5874897-12-31.
const DAYS_MIN: i64 = -2_440_588;
const DAYS_MAX: i64 = 2_145_042_905;
const DAY_MICROS: i64 = 86_400_000_000;

fn date(days: i32) -> Result<Typed, Reason> {
    let days = i64::from(days);
    if !(DAYS_MIN..=DAYS_MAX).contains(&days) {
        return Err(reason::type_("the date lies outside PostgreSQL's calendar"));
    }
    let (day, era) = day_text(days);
    Ok(Typed::new(Expr::typed(format!("{day}{era}"), Type::Date), DataType::Date32, Kind::Date))
}

fn time(micros: i64) -> Result<Typed, Reason> {
    if !(0..DAY_MICROS).contains(&micros) {
        return Err(reason::type_("the time lies outside a day"));
    }
    let data_type = DataType::Time64(TimeUnit::Microsecond);
    Ok(Typed::new(Expr::typed(clock_text(micros), Type::Time), data_type, Kind::Time))
}

fn timestamp(micros: i64, zone: Option<&str>, data_type: DataType) -> Result<Typed, Reason> {
    let (days, clock) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    if days < DAYS_MIN {
        return Err(reason::type_("the timestamp lies outside PostgreSQL's calendar"));
    }
    let (to, kind, offset) = match zone {
        None => (Type::Timestamp, Kind::Timestamp, ""),
        Some(zone) if is_utc(zone) => (Type::Timestamptz, Kind::Timestamptz, "+00"),
        Some(zone) => return Err(reason::type_(format!("timestamps in time zone {zone} have no counterpart"))),
    };
    let (day, era) = day_text(days);
    let text = format!("{day} {}{offset}{era}", clock_text(clock));
    Ok(Typed::new(Expr::typed(text, to), data_type, kind))
}

/// `YYYY-MM-DD` and ` BC` for the years before 1.
fn day_text(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

fn clock_text(micros: i64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{micros:06}")
}

/// Year, month and day of the Gregorian calendar, reckoned from 1 March so that a leap day ends its year. chrono's
/// calendar ends in the year 262142, PostgreSQL's does not.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_MARCH_0000: i64 = 719_468;
    const ERA: i64 = 146_097;
    let shifted = days + DAYS_TO_MARCH_0000;
    let (era, day_of_era) = (shifted.div_euclid(ERA), shifted.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
