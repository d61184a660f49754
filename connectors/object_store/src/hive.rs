//! Folders named `key=value` become columns.

use crate::listing::DataFile;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::ScalarValue;
use std::sync::Arc;

/// What Hive writes for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns that the folders of a table's files give, and each file's values of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partitions {
    pub(crate) fields: Vec<FieldRef>,
    /// One row per file, in the files' order.
    pub(crate) values: Vec<Vec<ScalarValue>>,
}

impl Partitions {
    /// Reads the folders. Keys in `taken` are columns of the files themselves, which tell more than a folder's name.
    pub(crate) fn new(files: &[DataFile], typed: bool, taken: impl Fn(&str) -> bool) -> Self {
        let parsed: Vec<Vec<(&str, Option<String>)>> = files.iter().map(|file| pairs(&file.relative)).collect();
        let mut keys: Vec<&str> = Vec::new();
        for (key, _) in parsed.iter().flatten() {
            if !keys.contains(key) && !taken(key) {
                keys.push(key);
            }
        }
        let mut fields = Vec::new();
        let mut values = vec![Vec::new(); files.len()];
        for key in keys {
            let texts: Vec<Option<&str>> = parsed.iter().map(|pairs| value(pairs, key)).collect();
            let data_type = if typed { common_type(&texts) } else { DataType::Utf8 };
            let nullable = texts.iter().any(Option::is_none);
            for (row, text) in values.iter_mut().zip(&texts) {
                row.push(scalar(*text, &data_type));
            }
            fields.push(Arc::new(Field::new(key, data_type, nullable)));
        }
        Self { fields, values }
    }
}

/// The pairs in the folders of a path; the file's own name is none.
fn pairs(relative: &str) -> Vec<(&str, Option<String>)> {
    let Some((folders, _)) = relative.rsplit_once('/') else { return Vec::new() };
    let pair = |folder| {
        let (key, value): (&str, &str) = str::split_once(folder, '=')?;
        (!key.is_empty()).then(|| (key, (value != NULL).then(|| percent_decoded(value))))
    };
    folders.split('/').filter_map(pair).collect()
}

fn value<'a>(pairs: &'a [(&str, Option<String>)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| *name == key)?.1.as_deref()
}

/// Integers or dates if every value is one *and is written as we would write it*: `01` stays text, so nothing is lost.
fn common_type(texts: &[Option<&str>]) -> DataType {
    let all =
        |test: fn(&str) -> bool| texts.iter().any(Option::is_some) && texts.iter().flatten().all(|text| test(text));
    if all(|text| text.parse::<i64>().is_ok_and(|n| n.to_string() == text)) {
        DataType::Int64
    } else if all(|text| date(text).is_some_and(|date| date.to_string() == text)) {
        DataType::Date32
    } else {
        DataType::Utf8
    }
}

fn date(text: &str) -> Option<ScalarValue> {
    ScalarValue::try_from_string(text.to_string(), &DataType::Date32).ok()
}

fn scalar(text: Option<&str>, data_type: &DataType) -> ScalarValue {
    match (text, data_type) {
        (None, DataType::Int64) => ScalarValue::Int64(None),
        (None, DataType::Date32) => ScalarValue::Date32(None),
        (None, _) => ScalarValue::Utf8(None),
        (Some(text), DataType::Int64) => ScalarValue::Int64(text.parse().ok()),
        (Some(text), DataType::Date32) => date(text).unwrap_or(ScalarValue::Date32(None)),
        (Some(text), _) => ScalarValue::Utf8(Some(text.to_string())),
    }
}

/// Hive writes characters that a path cannot hold as `%2F`. What is not such an escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_string())
}
