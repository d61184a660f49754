//! Arrow's types as PostgreSQL's, and rows in its text and binary formats.

use super::message::Formats;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, DecimalType, Field, Float32Type, Float64Type, Schema, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_pg::datatypes::field_into_pg_type;
use arrow_pg::encoder::encode_value;
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Datelike, Timelike};
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use polder_catalog::{Error, Result, SqlState, mark};
use postgres_types::{IsNull, ToSql};
use std::sync::Arc;

/// The type of a column in PostgreSQL. What has none there is text.
pub(super) fn type_of(field: &Field) -> Type {
    if mark::is_uuid(field.metadata()) {
        return Type::UUID;
    }
    match field.metadata().get(mark::EXTENSION).map(String::as_str) {
        Some(mark::JSON) => Type::JSON,
        _ if is_text_only(field.data_type()) => Type::TEXT,
        _ => field_into_pg_type(&Arc::new(field.clone())).unwrap_or(Type::TEXT),
    }
}

/// Types that the encoder does not know, or not exactly.
fn is_text_only(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Null
            | DataType::Decimal256(..)
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Map(..)
            | DataType::Union(..)
            | DataType::RunEndEncoded(..)
            | DataType::Struct(_)
    )
}

/// The columns of rows, each in its format.
pub(super) fn fields(schema: &Schema, formats: &Formats) -> Vec<FieldInfo> {
    let field = |(at, field): (usize, &Arc<Field>)| {
        let format = if formats.is_binary(at) { FieldFormat::Binary } else { FieldFormat::Text };
        FieldInfo::new(field.name().clone(), None, None, type_of(field), format)
    };
    schema.fields().iter().enumerate().map(field).collect()
}

/// The columns as they are told: numbers with their digits, as PostgreSQL has them in the modifier of a type.
pub(super) fn description(schema: &Schema, fields: &[FieldInfo]) -> RowDescription {
    let told = |(info, field): (&FieldInfo, &Arc<Field>)| {
        let mut told = FieldDescription::from(info);
        told.type_modifier = modifier(field.data_type());
        told
    };
    RowDescription::new(fields.iter().zip(schema.fields()).map(told).collect())
}

/// Of `numeric`, and of arrays of it; -1 for a type that has none.
fn modifier(data_type: &DataType) -> i32 {
    const HEADER: i32 = 4;
    match data_type {
        DataType::Decimal128(digits, scale @ 0..) => (i32::from(*digits) << 16 | i32::from(*scale)) + HEADER,
        DataType::UInt64 => (20 << 16) + HEADER,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            modifier(item.data_type())
        }
        DataType::Dictionary(_, values) => modifier(values),
        _ => -1,
    }
}

/// Writes batches as rows of the protocol.
pub(super) struct RowWriter {
    fields: Arc<Vec<FieldInfo>>,
    encoder: DataRowEncoder,
}

impl RowWriter {
    pub(super) fn new(fields: Vec<FieldInfo>) -> Self {
        let fields = Arc::new(fields);
        Self { encoder: DataRowEncoder::new(Arc::clone(&fields)), fields }
    }

    /// # Errors
    /// 22000 for a value that has no such format.
    pub(super) fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<DataRow>> {
        let columns = batch.columns().iter().map(plain).collect::<Result<Vec<_>>>()?;
        let schema = batch.schema();
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            for (at, column) in columns.iter().enumerate() {
                self.value(column, row, schema.field(at), at)?;
            }
            rows.push(self.encoder.take_row());
        }
        Ok(rows)
    }

    fn value(&mut self, column: &ArrayRef, row: usize, field: &Field, at: usize) -> Result<()> {
        let info = &self.fields[at];
        let is_binary = info.format() == FieldFormat::Binary;
        let is_null = column.is_null(row);
        let moment = if is_binary || is_null { None } else { moment(column, row) };
        let written = match column.data_type() {
            _ if is_null => Written(None),
            _ if moment.is_some() => Written(moment.map(String::into_bytes)),
            DataType::Decimal128(_, scale) => {
                let value = column.as_primitive::<Decimal128Type>().value(row);
                let text = Decimal128Type::format_decimal(value, 38, *scale);
                Written(Some(if is_binary { numeric(&text)? } else { text.into_bytes() }))
            }
            DataType::Float32 if !is_binary => {
                let value = column.as_primitive::<Float32Type>().value(row);
                Written(Some(float(f64::from(value), &format!("{value:e}"), 6).into_bytes()))
            }
            DataType::Float64 if !is_binary => {
                let value = column.as_primitive::<Float64Type>().value(row);
                Written(Some(float(value, &format!("{value:e}"), 15).into_bytes()))
            }
            DataType::FixedSizeBinary(16) if *info.datatype() == Type::UUID => {
                let bytes = column.as_fixed_size_binary().value(row);
                let uuid = uuid::Uuid::from_slice(bytes).map_err(|error| unwritable(info, error))?;
                Written(Some(if is_binary { bytes.to_vec() } else { uuid.to_string().into_bytes() }))
            }
            DataType::Utf8 if is_binary && *info.datatype() == Type::UUID => {
                let text = column.as_string::<i32>().value(row);
                let uuid = uuid::Uuid::try_parse(text).map_err(|error| unwritable(info, error))?;
                Written(Some(uuid.as_bytes().to_vec()))
            }
            data_type => {
                let field = Field::new(field.name(), data_type.clone(), true);
                let encoded = encode_value(&mut self.encoder, column, row, &field, info);
                return encoded.map_err(|error| unwritable(info, error));
            }
        };
        let options = Arc::clone(info.format_options());
        let (kind, format) = (info.datatype().clone(), info.format());
        let encoded = self.encoder.encode_field_with_type_and_format(&written, &kind, format, &options);
        encoded.map_err(|error| unwritable(&self.fields[at], error))
    }
}

fn unwritable(field: &FieldInfo, error: impl std::fmt::Display) -> Error {
    let message = format!("a value of column \"{}\" cannot be written as {}", field.name(), field.datatype().name());
    Error::fix(SqlState::DATA, message).with_detail(error.to_string())
}

/// The column as one of a type that the encoder knows.
fn plain(column: &ArrayRef) -> Result<ArrayRef> {
    let wanted = match column.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => return as_text(column),
        data_type if is_text_only(data_type) => DataType::Utf8,
        _ => return Ok(Arc::clone(column)),
    };
    arrow::compute::cast(column, &wanted)
        .map_err(|error| Error::fix(SqlState::DATA, "a column cannot be written").with_detail(error.to_string()))
}

/// What has no type in PostgreSQL is written as Arrow shows it.
fn as_text(column: &ArrayRef) -> Result<ArrayRef> {
    let failed = |error: arrow::error::ArrowError| {
        Error::fix(SqlState::DATA, "a column cannot be written").with_detail(error.to_string())
    };
    let options = arrow::util::display::FormatOptions::default();
    let shown = arrow::util::display::ArrayFormatter::try_new(column, &options).map_err(failed)?;
    let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| shown.value(row).to_string()));
    Ok(Arc::new(texts.collect::<arrow::array::StringArray>()))
}

/// A value that is in its format already; None for NULL.
#[derive(Debug)]
struct Written(Option<Vec<u8>>);

type Failed = Box<dyn std::error::Error + Sync + Send>;

impl Written {
    fn put(&self, out: &mut BytesMut) -> IsNull {
        match &self.0 {
            None => IsNull::Yes,
            Some(bytes) => {
                out.put_slice(bytes);
                IsNull::No
            }
        }
    }
}

impl ToSql for Written {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        Ok(self.put(out))
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failed> {
        Ok(self.put(out))
    }
}

impl ToSqlText for Written {
    fn to_sql_text(&self, _: &Type, out: &mut BytesMut, _: &FormatOptions) -> Result<IsNull, Failed> {
        Ok(self.put(out))
    }
}

/// A moment as PostgreSQL writes it (`timestamp_out`): to the microsecond, without zeros at its end. None for one before our era, and
/// for one of another zone than UTC.
fn moment(column: &ArrayRef, row: usize) -> Option<String> {
    let DataType::Timestamp(unit, zone) = column.data_type() else { return None };
    let zone = match zone.as_deref() {
        None => "",
        Some("UTC" | "+00:00" | "Z") => "+00",
        Some(_) => return None,
    };
    let micros = match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000)?,
        TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000)?,
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000),
    };
    let moment = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let (day, time) = (moment.date(), moment.time());
    if day.year() < 1 {
        return None;
    }
    let (year, month, day) = (day.year(), day.month(), day.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text.push_str(zone);
    Some(text)
}

/// A float as PostgreSQL writes it (`float8out`): the shortest digits that give it back, which `scientific` has, with an exponent
/// below 0.0001 and from so many digits on.
fn float(value: f64, scientific: &str, digits_max: i32) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..digits_max).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let digits = mantissa.replace('.', "");
    let point = exponent + 1;
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{sign}{digits}{}", "0".repeat(point - digits.len())),
        Ok(point) if point > 0 => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        _ => format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
    }
}

/// A decimal number in the binary format of `numeric`: digits to the base of 10,000 (PostgreSQL, `numeric_send`).
fn numeric(text: &str) -> Result<Vec<u8>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (0x4000u16, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let padded = format!("{whole}{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let groups = padded.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap_or_default().parse::<u16>());
    let groups = groups.collect::<Result<Vec<_>, _>>();
    let groups = groups.map_err(|error| Error::report(format!("{text} is no decimal number")).with_source(error))?;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let trailing = groups.iter().rev().take_while(|group| **group == 0).count();
    let kept = groups.get(leading..groups.len().saturating_sub(trailing).max(leading)).unwrap_or_default();
    let weight = if kept.is_empty() { 0 } else { (whole.len() / 4) as i16 - 1 - leading as i16 };
    let mut bytes = Vec::with_capacity(8 + 2 * kept.len());
    bytes.put_u16(kept.len() as u16);
    bytes.put_i16(weight);
    bytes.put_u16(if kept.is_empty() { 0 } else { sign });
    bytes.put_u16(fraction.len() as u16);
    kept.iter().for_each(|group| bytes.put_u16(*group));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_postgres_prints_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (120.0, "120"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123456789012345.6, "123456789012345.6"),
            (1e15, "1e+15"),
            (1.25e100, "1.25e+100"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value, &format!("{value:e}"), 15), text);
        }
        assert_eq!(float(1e6, &format!("{:e}", 1e6_f32), 6), "1e+06");
        assert_eq!(float(0.1, &format!("{:e}", 0.1_f32), 6), "0.1");
    }

    #[test]
    fn moments_are_written_as_postgres_prints_them() {
        use arrow::array::{TimestampMicrosecondArray, TimestampNanosecondArray};
        let micros = |value| moment(&(Arc::new(TimestampMicrosecondArray::from(vec![value])) as ArrayRef), 0);
        assert_eq!(micros(10_000_030).as_deref(), Some("1970-01-01 00:00:10.00003"));
        assert_eq!(micros(-1).as_deref(), Some("1969-12-31 23:59:59.999999"));
        assert_eq!(micros(86_400_000_000).as_deref(), Some("1970-01-02 00:00:00"));
        assert_eq!(micros(-62_200_000_000_000_000), None);
        let nanos = TimestampNanosecondArray::from(vec![-1]).with_timezone("UTC");
        assert_eq!(moment(&(Arc::new(nanos) as ArrayRef), 0).as_deref(), Some("1969-12-31 23:59:59.999999+00"));
    }

    #[test]
    fn numbers_are_written_as_postgres_sends_them() {
        // Digits, weight, sign, scale, then the digits to the base of 10,000.
        let cases: [(&str, &[u16]); 6] = [
            ("0", &[0, 0, 0, 0]),
            ("0.00", &[0, 0, 0, 2]),
            ("1", &[1, 0, 0, 0, 1]),
            ("-12345.678", &[3, 1, 0x4000, 3, 1, 2345, 6780]),
            ("0.0001", &[1, 0xffff, 0, 4, 1]),
            ("10000", &[1, 1, 0, 0, 1]),
        ];
        for (text, words) in cases {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(numeric(text).unwrap(), bytes, "{text}");
        }
    }
}
