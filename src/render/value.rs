//! One value as text: numbers with every digit, time in ISO 8601, binary as `\x` hex, UUIDs with hyphens, and what is
//! nested as JSON.
//!
//! A float that is no number reads `NaN`, `Infinity` or `-Infinity`; JSON has no such literals and gets them as
//! strings, as PostgreSQL's `to_json` writes them.

use super::json::{write_text, write_value};
use super::temporal;
use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, OffsetSizeTrait, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use chrono::{DateTime, Offset, TimeZone};
use polder_catalog::mark;
use std::fmt::{Debug, Display, Write};

/// The texts of one column of one batch. Types are told apart once per batch, not once per value.
pub(super) struct Values {
    nulls: Option<NullBuffer>,
    write: Writer,
}

type Writer = Box<dyn Fn(usize, &mut String) -> Token>;

/// What JSON makes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// It is JSON as it stands: a number, `true`, an array.
    Literal,
    /// It is the content of a string.
    Text,
}

impl Values {
    /// # Errors
    /// What Arrow says of an array that contradicts its own type.
    pub(super) fn new(field: &Field, array: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(Self { nulls: array.logical_nulls(), write: writer(field, array)? })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the text of a value that is not NULL.
    pub(super) fn write(&self, row: usize, out: &mut String) -> Token {
        (self.write)(row, out)
    }
}

/// Whether people expect the column at the right of its cell.
pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Dictionary(_, values) if values.is_numeric())
}

fn writer(field: &Field, array: &ArrayRef) -> Result<Writer, ArrowError> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, _| Token::Text),
        DataType::Boolean => {
            let array = array.as_boolean().clone();
            Box::new(move |row, out| literal(out, array.value(row)))
        }
        DataType::Int8 => displayed::<Int8Type>(array),
        DataType::Int16 => displayed::<Int16Type>(array),
        DataType::Int32 => displayed::<Int32Type>(array),
        DataType::Int64 => displayed::<Int64Type>(array),
        DataType::UInt8 => displayed::<UInt8Type>(array),
        DataType::UInt16 => displayed::<UInt16Type>(array),
        DataType::UInt32 => displayed::<UInt32Type>(array),
        DataType::UInt64 => displayed::<UInt64Type>(array),
        DataType::Float16 => {
            let array = array.as_primitive::<Float16Type>().clone();
            Box::new(move |row, out| float(out, array.value(row).to_f32(), f32::is_finite, f32::is_nan))
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>().clone();
            Box::new(move |row, out| float(out, array.value(row), f32::is_finite, f32::is_nan))
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| float(out, array.value(row), f64::is_finite, f64::is_nan))
        }
        DataType::Decimal32(..) => decimal::<Decimal32Type>(array),
        DataType::Decimal64(..) => decimal::<Decimal64Type>(array),
        DataType::Decimal128(..) => decimal::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimal::<Decimal256Type>(array),
        DataType::Utf8 => string(field, array.as_string::<i32>().clone(), |array, row| array.value(row)),
        DataType::LargeUtf8 => string(field, array.as_string::<i64>().clone(), |array, row| array.value(row)),
        DataType::Utf8View => string(field, array.as_string_view().clone(), |array, row| array.value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>().clone(), |array, row| array.value(row)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().clone(), |array, row| array.value(row)),
        DataType::BinaryView => bytes(array.as_binary_view().clone(), |array, row| array.value(row)),
        DataType::FixedSizeBinary(16) if mark::is_uuid(field.metadata()) => {
            let array = array.as_fixed_size_binary().clone();
            Box::new(move |row, out| uuid(out, array.value(row)))
        }
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().clone(), |array, row| array.value(row)),
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Interval(_) => time(array)?,
        DataType::List(item) => list::<i32>(item, array)?,
        DataType::LargeList(item) => list::<i64>(item, array)?,
        DataType::ListView(item) => list_view::<i32>(item, array)?,
        DataType::LargeListView(item) => list_view::<i64>(item, array)?,
        DataType::FixedSizeList(item, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            let items = Values::new(item, array.as_fixed_size_list().values())?;
            Box::new(move |row, out| sequence(out, &items, row * size, size))
        }
        DataType::Struct(fields) => object(fields, array)?,
        DataType::Map(entries, _) => map(entries, array)?,
        DataType::Union(fields, _) => union(fields, array),
        DataType::Dictionary(_, values) => writer(field, &arrow::compute::cast(array, values)?)?,
        DataType::RunEndEncoded(_, values) => writer(values, &arrow::compute::cast(array, values.data_type())?)?,
    })
}

fn literal(out: &mut String, value: impl Display) -> Token {
    write!(out, "{value}").expect("a String takes all text");
    Token::Literal
}

fn displayed<T: ArrowPrimitiveType<Native: Display>>(array: &ArrayRef) -> Writer {
    let array = array.as_primitive::<T>().clone();
    Box::new(move |row, out| literal(out, array.value(row)))
}

fn decimal<T: DecimalType>(array: &ArrayRef) -> Writer {
    let array = array.as_primitive::<T>().clone();
    Box::new(move |row, out| literal(out, array.value_as_string(row)))
}

/// The shortest digits that give the same float back; a whole number keeps its `.0`, to be seen as a float.
fn float<F: Debug + PartialOrd + Default + Copy>(
    out: &mut String,
    value: F,
    is_finite: fn(F) -> bool,
    is_nan: fn(F) -> bool,
) -> Token {
    if is_finite(value) {
        write!(out, "{value:?}").expect("a String takes all text");
        return Token::Literal;
    }
    out.push_str(match (is_nan(value), value > F::default()) {
        (true, _) => "NaN",
        (_, true) => "Infinity",
        (_, false) => "-Infinity",
    });
    Token::Text
}

/// Text; JSON that says it is JSON is embedded as such, if it is true.
fn string<A: 'static>(field: &Field, array: A, value: fn(&A, usize) -> &str) -> Writer {
    let is_json = field.metadata().get(mark::EXTENSION).is_some_and(|name| name == mark::JSON);
    Box::new(move |row, out| {
        let text = value(&array, row);
        out.push_str(text);
        let embeds = is_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if embeds { Token::Literal } else { Token::Text }
    })
}

fn bytes<A: 'static>(array: A, value: fn(&A, usize) -> &[u8]) -> Writer {
    Box::new(move |row, out| {
        out.push_str("\\x");
        for byte in value(&array, row) {
            write!(out, "{byte:02x}").expect("a String takes all text");
        }
        Token::Text
    })
}

fn uuid(out: &mut String, value: &[u8]) -> Token {
    for (at, byte) in value.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        write!(out, "{byte:02x}").expect("a String takes all text");
    }
    Token::Text
}

fn time(array: &ArrayRef) -> Result<Writer, ArrowError> {
    Ok(match array.data_type() {
        DataType::Date32 => primitive::<Date32Type>(array, |days, out| temporal::write_date(i64::from(days), out)),
        DataType::Date64 => primitive::<Date64Type>(array, date_of_milliseconds),
        DataType::Time32(TimeUnit::Second) => {
            primitive::<Time32SecondType>(array, |time, out| time_of_day(i64::from(time), 1, out))
        }
        DataType::Time32(_) => {
            primitive::<Time32MillisecondType>(array, |time, out| time_of_day(i64::from(time), 1_000, out))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            primitive::<Time64NanosecondType>(array, |time, out| time_of_day(time, 1_000_000_000, out))
        }
        DataType::Time64(_) => primitive::<Time64MicrosecondType>(array, |time, out| time_of_day(time, 1_000_000, out)),
        DataType::Timestamp(TimeUnit::Second, zone) => timestamp::<TimestampSecondType>(array, zone.as_deref(), 1)?,
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            timestamp::<TimestampMillisecondType>(array, zone.as_deref(), 1_000)?
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            timestamp::<TimestampMicrosecondType>(array, zone.as_deref(), 1_000_000)?
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            timestamp::<TimestampNanosecondType>(array, zone.as_deref(), 1_000_000_000)?
        }
        DataType::Duration(TimeUnit::Second) => duration::<DurationSecondType>(array, 1_000_000_000),
        DataType::Duration(TimeUnit::Millisecond) => duration::<DurationMillisecondType>(array, 1_000_000),
        DataType::Duration(TimeUnit::Microsecond) => duration::<DurationMicrosecondType>(array, 1_000),
        DataType::Duration(TimeUnit::Nanosecond) => duration::<DurationNanosecondType>(array, 1),
        DataType::Interval(IntervalUnit::YearMonth) => primitive::<IntervalYearMonthType>(array, |months, out| {
            temporal::write_span(i64::from(months), 0, 0, out);
        }),
        DataType::Interval(IntervalUnit::DayTime) => primitive::<IntervalDayTimeType>(array, |span, out| {
            temporal::write_span(0, i64::from(span.days), i128::from(span.milliseconds) * 1_000_000, out);
        }),
        DataType::Interval(IntervalUnit::MonthDayNano) => primitive::<IntervalMonthDayNanoType>(array, |span, out| {
            temporal::write_span(i64::from(span.months), i64::from(span.days), i128::from(span.nanoseconds), out);
        }),
        other => return Err(ArrowError::InvalidArgumentError(format!("{other} is not a type of time"))),
    })
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef, write: fn(T::Native, &mut String)) -> Writer {
    let array: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Box::new(move |row, out| {
        write(array.value(row), out);
        Token::Text
    })
}

/// A date, unless the milliseconds reach into the day.
fn date_of_milliseconds(milliseconds: i64, out: &mut String) {
    const PER_DAY: i64 = 86_400_000;
    if milliseconds.rem_euclid(PER_DAY) == 0 {
        temporal::write_date(milliseconds.div_euclid(PER_DAY), out);
    } else {
        let (seconds, nanos) = seconds_and_nanos(milliseconds, 1_000);
        temporal::write_timestamp(seconds, nanos, out);
    }
}

fn time_of_day(time: i64, per_second: i64, out: &mut String) {
    let (seconds, nanos) = seconds_and_nanos(time, per_second);
    temporal::write_time(seconds, nanos, out);
}

fn seconds_and_nanos(time: i64, per_second: i64) -> (i64, u32) {
    let nanos = time.rem_euclid(per_second) * (1_000_000_000 / per_second);
    (time.div_euclid(per_second), u32::try_from(nanos).expect("less than a second"))
}

fn timestamp<T: ArrowPrimitiveType<Native = i64>>(
    array: &ArrayRef,
    zone: Option<&str>,
    per_second: i64,
) -> Result<Writer, ArrowError> {
    let array = array.as_primitive::<T>().clone();
    let zone: Option<Tz> = zone.map(str::parse).transpose()?;
    Ok(Box::new(move |row, out| {
        let (seconds, nanos) = seconds_and_nanos(array.value(row), per_second);
        match zone {
            None => temporal::write_timestamp(seconds, nanos, out),
            Some(zone) => {
                let offset = offset(zone, seconds);
                temporal::write_timestamp(seconds.saturating_add(i64::from(offset)), nanos, out);
                temporal::write_offset(offset, out);
            }
        }
        Token::Text
    }))
}

/// The zone's offset at an instant; zero, which is as true, where the calendar of zones ends.
fn offset(zone: Tz, seconds: i64) -> i32 {
    let instant = DateTime::from_timestamp(seconds, 0);
    instant.map_or(0, |instant| zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
}

fn duration<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, nanos_per_unit: i128) -> Writer {
    let array = array.as_primitive::<T>().clone();
    Box::new(move |row, out| {
        temporal::write_span(0, 0, i128::from(array.value(row)) * nanos_per_unit, out);
        Token::Text
    })
}

fn list<O: OffsetSizeTrait>(item: &Field, array: &ArrayRef) -> Result<Writer, ArrowError> {
    let array = array.as_list::<O>().clone();
    let items = Values::new(item, array.values())?;
    Ok(Box::new(move |row, out| {
        let start = array.value_offsets()[row].as_usize();
        sequence(out, &items, start, array.value_offsets()[row + 1].as_usize() - start)
    }))
}

fn list_view<O: OffsetSizeTrait>(item: &Field, array: &ArrayRef) -> Result<Writer, ArrowError> {
    let array = array.as_list_view::<O>().clone();
    let items = Values::new(item, array.values())?;
    Ok(Box::new(move |row, out| {
        sequence(out, &items, array.value_offsets()[row].as_usize(), array.value_sizes()[row].as_usize())
    }))
}

fn sequence(out: &mut String, items: &Values, start: usize, length: usize) -> Token {
    out.push('[');
    for at in start..start + length {
        if at > start {
            out.push(',');
        }
        write_value(items, at, out);
    }
    out.push(']');
    Token::Literal
}

fn object(fields: &Fields, array: &ArrayRef) -> Result<Writer, ArrowError> {
    let columns = array.as_struct().columns();
    let names = super::json::distinct_names(fields);
    let members: Vec<(String, Values)> = names
        .into_iter()
        .zip(fields.iter().zip(columns))
        .map(|(name, (field, column))| Ok((name, Values::new(field, column)?)))
        .collect::<Result<_, ArrowError>>()?;
    Ok(Box::new(move |row, out| {
        out.push('{');
        for (at, (name, values)) in members.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            write_text(name, out);
            out.push(':');
            write_value(values, row, out);
        }
        out.push('}');
        Token::Literal
    }))
}

/// An object whose names are the texts of the keys.
fn map(entries: &Field, array: &ArrayRef) -> Result<Writer, ArrowError> {
    let array = array.as_map().clone();
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::InvalidArgumentError("the entries of a map are pairs".to_string()));
    };
    let keys = Values::new(&fields[0], array.keys())?;
    let values = Values::new(&fields[1], array.values())?;
    Ok(Box::new(move |row, out| {
        let offsets = array.value_offsets();
        let (start, end) = (offsets[row].as_usize(), offsets[row + 1].as_usize());
        out.push('{');
        for at in start..end {
            if at > start {
                out.push(',');
            }
            let mut key = String::new();
            keys.write(at, &mut key);
            write_text(&key, out);
            out.push(':');
            write_value(&values, at, out);
        }
        out.push('}');
        Token::Literal
    }))
}

/// The value that is there. Unions are rare, so each value is looked up on its own.
fn union(fields: &UnionFields, array: &ArrayRef) -> Writer {
    let array = array.as_union().clone();
    let fields = fields.clone();
    Box::new(move |row, out| {
        let type_id = array.type_id(row);
        let field = fields.iter().find(|(id, _)| *id == type_id).map(|(_, field)| field);
        let values = field.and_then(|field| Values::new(field, &array.value(row)).ok());
        match values {
            Some(values) if !values.is_null(0) => values.write(0, out),
            _ => {
                out.push_str("null");
                Token::Literal
            }
        }
    })
}
