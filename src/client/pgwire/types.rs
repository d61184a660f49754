//! Rows of texts, read back as what they were.

use super::unreadable;
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BinaryBuilder, ListArray, RecordBatch, RecordBatchOptions, StringArray,
    StringBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit};
use fallible_iterator::FallibleIterator;
use polder_catalog::{Result, mark};
use postgres_protocol::message::backend::{DataRowBody, RowDescriptionBody};
use postgres_types::{Kind, Type};
use std::io;
use std::sync::Arc;

/// The columns of a result.
pub(super) struct Columns {
    schema: SchemaRef,
}

impl Columns {
    pub(super) fn new(columns: &RowDescriptionBody) -> io::Result<Self> {
        let fields = columns.fields().map(|column| {
            let kind = Type::from_oid(column.type_oid()).unwrap_or(Type::TEXT);
            Ok(field(column.name(), &kind, column.type_modifier()))
        });
        let fields: Vec<Field> = fields.collect()?;
        Ok(Self { schema: Arc::new(Schema::new(fields)) })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// # Errors
    /// 08P01 for a value that is none of its type.
    pub(super) fn batch(&self, rows: &[DataRowBody]) -> Result<RecordBatch> {
        let mut texts: Vec<_> = self.schema.fields().iter().map(|_| StringBuilder::new()).collect();
        for row in rows {
            let mut values = row.ranges();
            for column in &mut texts {
                let range = values.next().map_err(unreadable)?.flatten();
                let value = range.map(|range| std::str::from_utf8(&row.buffer()[range])).transpose();
                column.append_option(value.map_err(unreadable)?);
            }
        }
        let read = |(texts, field): (&mut StringBuilder, &FieldRef)| values(texts.finish(), field.data_type());
        let columns = texts.iter_mut().zip(self.schema.fields()).map(read).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(unreadable)
    }
}

fn field(name: &str, kind: &Type, modifier: i32) -> Field {
    let field = Field::new(name, data_type(kind, modifier), true);
    match *kind {
        Type::JSON | Type::JSONB => field.with_metadata([(mark::EXTENSION.to_string(), mark::JSON.to_string())].into()),
        _ => field,
    }
}

fn data_type(kind: &Type, modifier: i32) -> DataType {
    if let Kind::Array(item) = kind.kind() {
        return DataType::new_list(data_type(item, modifier), true);
    }
    match *kind {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::OID => DataType::UInt32,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => decimal(modifier),
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => DataType::Utf8,
    }
}

/// Digits and scale are in the modifier; a number without is its text.
fn decimal(modifier: i32) -> DataType {
    let modifier = modifier - 4;
    match (u8::try_from(modifier >> 16), i8::try_from(modifier & 0x7ff)) {
        (Ok(digits @ 1..=38), Ok(scale)) => DataType::Decimal128(digits, scale),
        _ => DataType::Utf8,
    }
}

fn values(texts: StringArray, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Utf8 => Ok(Arc::new(texts)),
        DataType::Binary => bytes(&texts),
        DataType::List(item) => lists(&texts, item),
        DataType::Interval(_) => spans(&texts, data_type),
        _ => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&texts, data_type, &options).map_err(unreadable)
        }
    }
}

/// `1 year -2 mons +3 days -04:05:06.7`, in the words that Arrow has for it.
fn spans(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef> {
    let words = |text: &str| text.split(' ').map(span_word).collect::<Vec<_>>().join(" ");
    let texts: StringArray = texts.iter().map(|text| text.map(words)).collect();
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&texts, data_type, &options).map_err(unreadable)
}

fn span_word(word: &str) -> String {
    let (sign, plain) = match word.strip_prefix('-') {
        Some(plain) => ("-", plain),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    match (plain, plain.split(':').collect::<Vec<_>>().as_slice()) {
        ("mon" | "mons", _) => "months".to_string(),
        (_, [hours, minutes, seconds]) => {
            format!("{sign}{hours} hours {sign}{minutes} minutes {sign}{seconds} seconds")
        }
        _ => format!("{sign}{plain}"),
    }
}

/// `\x00ff`.
fn bytes(texts: &StringArray) -> Result<ArrayRef> {
    let digits = |text: &str| {
        let pairs = text.strip_prefix("\\x")?.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect::<Option<Vec<u8>>>()
    };
    let mut values = BinaryBuilder::new();
    for text in texts {
        match text {
            Some(text) => values.append_value(digits(text).ok_or_else(|| unreadable("this is no bytea"))?),
            None => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// `{1,NULL,"a \"b\""}`, of one dimension.
fn lists(texts: &StringArray, item: &FieldRef) -> Result<ArrayRef> {
    let mut items = StringBuilder::new();
    let mut lengths = Vec::with_capacity(texts.len());
    for text in texts {
        let before = items.len();
        if let Some(text) = text {
            let wrong = || unreadable("this is no array");
            split(text, &mut items).ok_or_else(wrong)?;
        }
        lengths.push(items.len() - before);
    }
    let items = values(items.finish(), item.data_type())?;
    let nulls: Option<NullBuffer> = texts.nulls().cloned();
    let list = ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, nulls);
    Ok(Arc::new(list.map_err(unreadable)?))
}

/// Takes an array's text apart (PostgreSQL's documentation, 8.15.6).
fn split(text: &str, items: &mut StringBuilder) -> Option<()> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    if inner.is_empty() {
        return Some(());
    }
    let mut letters = inner.chars().peekable();
    loop {
        let mut item = String::new();
        let mut was_quoted = false;
        loop {
            match letters.peek().copied() {
                None | Some(',') => break,
                Some('"') => {
                    was_quoted = true;
                    letters.next();
                    loop {
                        match letters.next()? {
                            '"' => break,
                            '\\' => item.push(letters.next()?),
                            letter => item.push(letter),
                        }
                    }
                }
                Some('{') => return None,
                Some('\\') => {
                    letters.next();
                    item.push(letters.next()?);
                }
                Some(letter) => {
                    letters.next();
                    item.push(letter);
                }
            }
        }
        match !was_quoted && item.eq_ignore_ascii_case("null") {
            true => items.append_null(),
            false => items.append_value(&item),
        }
        if letters.next().is_none() {
            return Some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    #[test]
    fn arrays_are_taken_apart_as_postgres_writes_them() {
        let parts = |text: &str| {
            let mut items = StringBuilder::new();
            split(text, &mut items)?;
            Some(items.finish().iter().map(|item| item.map(str::to_string)).collect::<Vec<_>>())
        };
        let some = |text: &str| Some(text.to_string());
        assert_eq!(parts("{}"), Some(vec![]));
        assert_eq!(parts(r#"{1,NULL,"NULL","a,\"b\\"}"#), Some(vec![some("1"), None, some("NULL"), some("a,\"b\\")]));
        assert_eq!(parts(r#"{""}"#), Some(vec![some("")]));
        for broken in ["", "{", "{\"a}", "{{1},{2}}"] {
            assert_eq!(parts(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_number_has_the_digits_that_the_server_told() {
        assert_eq!(data_type(&Type::NUMERIC, (10 << 16 | 2) + 4), DataType::Decimal128(10, 2));
        assert_eq!(data_type(&Type::NUMERIC, -1), DataType::Utf8);
        let read = values(StringArray::from(vec![Some("-1.50"), None]), &DataType::Decimal128(10, 2)).unwrap();
        assert_eq!(read.as_primitive::<arrow::datatypes::Decimal128Type>().value(0), -150);
    }

    #[test]
    fn texts_become_values() {
        let read = |text: &str, kind: &Type| {
            let array = values(StringArray::from(vec![text]), &data_type(kind, -1)).unwrap();
            arrow::util::display::array_value_to_string(&array, 0).unwrap()
        };
        assert_eq!(read("t", &Type::BOOL), "true");
        assert_eq!(read("NaN", &Type::FLOAT8), "NaN");
        assert_eq!(read("-Infinity", &Type::FLOAT8), "-inf");
        assert_eq!(read("1e-7", &Type::FLOAT8), "1e-7");
        assert_eq!(read("\\x00ff", &Type::BYTEA), "00ff");
        assert_eq!(read("2024-02-29 12:34:56.789", &Type::TIMESTAMP), "2024-02-29T12:34:56.789");
        assert_eq!(read("2024-02-29 12:34:56+00", &Type::TIMESTAMPTZ), "2024-02-29T12:34:56Z");
        assert_eq!(read("12:34:56", &Type::TIME), "12:34:56");
        assert_eq!(read("{1,2}", &Type::INT4_ARRAY), "[1, 2]");
        assert_eq!(read("1 year 1 mon -2 days +00:00:03", &Type::INTERVAL), "13 mons -2 days 3.000000000 secs");
        assert_eq!(read("-00:01:02.5", &Type::INTERVAL), "-1 mins -2.500000000 secs");
    }
}
