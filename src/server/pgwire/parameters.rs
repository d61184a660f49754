//! The values of parameters, from PostgreSQL's text and binary formats.

use super::message::violation;
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Buf;
use datafusion::scalar::ScalarValue;
use pgwire::api::Type;
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;

/// What Arrow calls a type that a client has chosen; None where it leaves the choice to the statement.
pub(super) fn chosen(oid: u32) -> Option<DataType> {
    let utc = || Some(Arc::from("UTC"));
    Some(match Type::from_oid(oid)? {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, utc()),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DataType::Utf8,
        _ => return None,
    })
}

/// A value of a parameter.
///
/// # Errors
/// 22P02 for text that is no value of the type, 08P01 for bytes that are none, 0A000 for a type that is not known here.
pub(super) fn value(kind: &Type, is_binary: bool, bytes: Option<&[u8]>) -> Result<ScalarValue> {
    match bytes {
        None => Ok(ScalarValue::Null),
        Some(bytes) if is_binary => binary(kind, bytes),
        Some(bytes) => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Error::fix(SqlState::CHARACTER, "the text of a parameter is not UTF-8"))?;
            if text.contains('\0') {
                return Err(Error::fix(SqlState::CHARACTER, "the text of a parameter holds a zero byte"));
            }
            of_text(kind, text)
        }
    }
}

fn of_text(kind: &Type, text: &str) -> Result<ScalarValue> {
    match *kind {
        Type::BYTEA => {
            let bytes = text.strip_prefix("\\x").and_then(unhex);
            bytes.map(|bytes| ScalarValue::Binary(Some(bytes))).ok_or_else(|| invalid(kind, text))
        }
        Type::NUMERIC => decimal(text.trim()).ok_or_else(|| invalid(kind, text)),
        Type::FLOAT4 | Type::FLOAT8 => {
            let value: f64 = text.trim().parse().map_err(|_| invalid(kind, text))?;
            Ok(if *kind == Type::FLOAT4 { (value as f32).into() } else { value.into() })
        }
        Type::DATE | Type::TIMESTAMP => of_chosen(kind, without_zone(text.trim()), text),
        _ => of_chosen(kind, text.trim(), text),
    }
}

/// Of one of the types that a client may choose; what stands for it, and what the client sent.
fn of_chosen(kind: &Type, meant: &str, text: &str) -> Result<ScalarValue> {
    match chosen(kind.oid()).filter(|data_type| *data_type != DataType::Utf8) {
        // Arrow gives NULL for what it cannot read.
        Some(data_type) => match ScalarValue::from(meant).cast_to(&data_type) {
            Ok(value) if !value.is_null() => Ok(value),
            Ok(_) | Err(_) => Err(invalid(kind, text)),
        },
        None => Ok(ScalarValue::from(text)),
    }
}

/// A day or a moment that is of no zone, without the one that a driver has put behind it: PostgreSQL passes over it as well.
fn without_zone(text: &str) -> &str {
    let day = text.len().min("2000-01-01".len());
    let is_zone = |(at, letter): (usize, char)| at >= day && matches!(letter, '+' | '-' | 'Z');
    let end = text.char_indices().find(|place| is_zone(*place)).map_or(text.len(), |(at, _)| at);
    text[..end].trim_end()
}

fn invalid(kind: &Type, text: &str) -> Error {
    Error::fix(SqlState::TEXT, format!("invalid input syntax for type {}: \"{text}\"", kind.name()))
}

/// Days and microseconds from the epoch of Unix to that of PostgreSQL, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

fn binary(kind: &Type, bytes: &[u8]) -> Result<ScalarValue> {
    let short = || violation(format!("{} bytes are no value of type {}", bytes.len(), kind.name()));
    let range = || Error::fix(SqlState::OUT_OF_RANGE, format!("a value of type {} is out of range", kind.name()));
    let micros = || {
        let value = i64::from_be_bytes(bytes.try_into().map_err(|_| short())?);
        value.checked_add(EPOCH_MICROS).ok_or_else(range)
    };
    let text = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec());
        text.map(ScalarValue::from).map_err(|_| Error::fix(SqlState::CHARACTER, "the text of a parameter is not UTF-8"))
    };
    Ok(match *kind {
        Type::BOOL => match bytes {
            [value] => (*value != 0).into(),
            _ => return Err(short()),
        },
        Type::INT2 => i16::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
        Type::INT4 => i32::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
        Type::INT8 => i64::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
        Type::OID => i64::from(u32::from_be_bytes(bytes.try_into().map_err(|_| short())?)).into(),
        Type::FLOAT4 => f32::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
        Type::FLOAT8 => f64::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
        Type::DATE => {
            let days = i32::from_be_bytes(bytes.try_into().map_err(|_| short())?);
            ScalarValue::Date32(Some(days.checked_add(EPOCH_DAYS).ok_or_else(range)?))
        }
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(Some(micros()?), None),
        Type::TIMESTAMPTZ => ScalarValue::TimestampMicrosecond(Some(micros()?), Some(Arc::from("UTC"))),
        Type::TIME => {
            let micros = i64::from_be_bytes(bytes.try_into().map_err(|_| short())?);
            let is_of_day = (0..86_400_000_000).contains(&micros);
            ScalarValue::Time64Microsecond(Some(is_of_day.then_some(micros).ok_or_else(range)?))
        }
        Type::NUMERIC => numeric(bytes)?,
        Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::UUID => ScalarValue::from(uuid::Uuid::from_slice(bytes).map_err(|_| short())?.to_string()),
        Type::JSONB => match bytes.split_first() {
            Some((1, json)) => text(json)?,
            _ => return Err(short()),
        },
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => text(bytes)?,
        _ => {
            return Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                format!("no parameter can be of type {} here", kind.name()),
            )
            .with_hint("send it as text and cast it in the statement"));
        }
    })
}

/// The binary format of `numeric`: digits to the base of 10,000 (PostgreSQL, `numeric_recv`).
fn numeric(mut bytes: &[u8]) -> Result<ScalarValue> {
    let wrong = || violation("the bytes of a numeric parameter are none");
    if bytes.len() < 8 {
        return Err(wrong());
    }
    let (count, weight, sign, scale) = (bytes.get_u16(), bytes.get_i16(), bytes.get_u16(), bytes.get_u16());
    if bytes.len() != usize::from(count) * 2 {
        return Err(wrong());
    }
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        _ => return Err(Error::fix(SqlState::NOT_SUPPORTED, "NaN and infinity are no decimal numbers here")),
    };
    let groups: Vec<u16> = (0..count).map(|_| bytes.get_u16()).collect();
    let too_large = || Error::fix(SqlState::OUT_OF_RANGE, "a numeric parameter has more than 38 digits");
    if !(-20..=10).contains(&weight) || groups.iter().any(|group| *group > 9999) || scale > 76 {
        return Err(too_large());
    }
    let group = |place: i16| usize::try_from(weight - place).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", group(place))).collect();
    let places = i16::try_from(scale.div_ceil(4)).map_err(|_| too_large())?;
    let fraction: String = (1..=places).map(|place| format!("{:04}", group(-place))).collect();
    let fraction = &fraction[..usize::from(scale)];
    decimal(&format!("{sign}{whole}.{fraction}")).ok_or_else(too_large)
}

/// A decimal number of as many places as were written.
fn decimal(text: &str) -> Option<ScalarValue> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i128 = all.parse().ok()?;
    let is_small = value < 10i128.pow(38) && fraction.len() <= 38;
    is_small.then(|| ScalarValue::Decimal128(Some(sign * value), 38, fraction.len() as i8))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_read_as_its_type() {
        let read = |kind: Type, text: &str| value(&kind, false, Some(text.as_bytes())).map(|value| value.to_string());
        let cases = [
            (Type::INT4, "-12", "-12"),
            (Type::BOOL, "t", "true"),
            (Type::NUMERIC, "-0.050", "-0.050"),
            (Type::FLOAT8, "Infinity", "inf"),
            (Type::TEXT, " x ", " x "),
            // As pgjdbc sends them.
            (Type::DATE, "2024-02-29 +00", "2024-02-29"),
            (Type::TIMESTAMP, "2024-02-29 01:02:03.5+02", "1709168523500000"),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(read(kind, text).unwrap(), expected);
        }
        assert_eq!(value(&Type::BYTEA, false, Some(b"\\x00Ff")).unwrap(), ScalarValue::Binary(Some(vec![0, 255])));
        for (kind, text) in
            [(Type::INT4, "1.5"), (Type::INT2, "70000"), (Type::DATE, "tomorrow"), (Type::NUMERIC, "1e")]
        {
            assert_eq!(read(kind, text).unwrap_err().state(), SqlState::TEXT, "{text}");
        }
    }

    #[test]
    fn binary_numbers_are_exact() {
        let bytes: Vec<u8> = [3u16, 1, 0x4000, 3, 1, 2345, 6780].iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(value(&Type::NUMERIC, true, Some(&bytes)).unwrap().to_string(), "-12345.678");
        let small: Vec<u8> = [1u16, 0xffff, 0, 4, 1].iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(value(&Type::NUMERIC, true, Some(&small)).unwrap().to_string(), "0.0001");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(oid in prop::sample::select(vec![16u32, 17, 20, 21, 23, 25, 700, 701, 1082, 1083, 1114, 1184, 1700, 2950, 3802, 600]),
                          bytes in proptest::collection::vec(any::<u8>(), 0..40), is_binary in any::<bool>()) {
            let kind = Type::from_oid(oid).unwrap();
            let _ = value(&kind, is_binary, Some(&bytes));
        }
    }
}
