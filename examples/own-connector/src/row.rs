//! One line of COPY's text format: fields between tabs, NULL as `\N`, a backslash before what would end a field.

use arrow::array::{ArrayBuilder, ArrayRef, Int64Builder, StringBuilder};
use arrow::datatypes::DataType;
use std::borrow::Cow;

/// The fields of a line, as they stand in the file.
pub(crate) fn split<'a>(line: &'a [u8], fields: &mut Vec<&'a [u8]>) {
    fields.clear();
    // A tab inside a value is written as \t.
    fields.extend(line.split(|byte| *byte == b'\t'));
}

/// A value, or NULL.
pub(crate) fn value(field: &[u8]) -> Result<Option<Cow<'_, str>>, String> {
    if field == b"\\N" {
        return Ok(None);
    }
    let text = std::str::from_utf8(field).map_err(|_| "a value is not UTF-8".to_string())?;
    Ok(Some(if text.contains('\\') { Cow::Owned(unescape(text)) } else { Cow::Borrowed(text) }))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        plain.push(match characters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(other) => other,
            None => '\\',
        });
    }
    plain
}

pub(crate) fn integer(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no integer"))
}

/// A column on its way.
#[derive(Debug)]
pub(crate) enum Column {
    Integers(Int64Builder),
    Texts(StringBuilder),
}

impl Column {
    pub(crate) fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Integers(Int64Builder::new()),
            _ => Self::Texts(StringBuilder::new()),
        }
    }

    pub(crate) fn append(&mut self, field: &[u8]) -> Result<(), String> {
        let value = value(field)?;
        match self {
            Self::Integers(column) => column.append_option(value.as_deref().map(integer).transpose()?),
            Self::Texts(column) => column.append_option(value),
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integers(column) => ArrayBuilder::finish(column),
            Self::Texts(column) => ArrayBuilder::finish(column),
        }
    }
}
