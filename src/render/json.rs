//! `json` and `ndjson`: objects in the order of the columns, NULL as `null`, numbers with every digit.
//!
//! An object has each name once: a second column `a` becomes `a_1`. Rows as arrays need no names.

use super::Sink;
use super::value::{Token, Values};
use arrow::datatypes::{Field, Fields, SchemaRef};
use arrow::record_batch::RecordBatch;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

/// Writes objects, either as one array or one per line.
pub(super) struct Json {
    schema: SchemaRef,
    /// Each name as it is written: quoted, escaped, with its colon.
    names: Vec<String>,
    as_array: bool,
    started: bool,
}

impl Json {
    /// `json`: `[`, one object per line, `]`.
    pub(super) fn array(schema: &SchemaRef) -> Self {
        Self::new(schema, true)
    }

    /// `ndjson`.
    pub(super) fn lines(schema: &SchemaRef) -> Self {
        Self::new(schema, false)
    }

    fn new(schema: &SchemaRef, as_array: bool) -> Self {
        let names = distinct_names(schema.fields()).iter().map(|name| quoted_name(name)).collect();
        Self { schema: Arc::clone(schema), names, as_array, started: false }
    }

    fn write_object(&self, columns: &[Values], row: usize, out: &mut String) {
        out.push('{');
        for (at, (name, values)) in self.names.iter().zip(columns).enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(name);
            write_value(values, row, out);
        }
        out.push('}');
    }
}

impl Sink for Json {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let columns = columns(self.schema.fields(), batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            if self.as_array {
                text.push_str(if self.started { ",\n" } else { "[" });
                self.started = true;
            }
            self.write_object(&columns, row, &mut text);
            if !self.as_array {
                text.push('\n');
            }
            super::csv::flush_when_large(&mut text, out)?;
        }
        out.write_all(text.as_bytes())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match (self.as_array, self.started) {
            (true, true) => out.write_all(b"]\n"),
            (true, false) => out.write_all(b"[]\n"),
            (false, _) => Ok(()),
        }
    }
}

/// Writes one array per line, without names.
pub(super) struct Arrays {
    schema: SchemaRef,
}

impl Arrays {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: Arc::clone(schema) }
    }
}

impl Sink for Arrays {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let columns = columns(self.schema.fields(), batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.push('[');
            for (at, values) in columns.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_value(values, row, &mut text);
            }
            text.push_str("]\n");
            super::csv::flush_when_large(&mut text, out)?;
        }
        out.write_all(text.as_bytes())
    }

    fn finish(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// The texts of all columns of a batch.
pub(super) fn columns(fields: &Fields, batch: &RecordBatch) -> io::Result<Vec<Values>> {
    let columns = fields.iter().zip(batch.columns());
    columns.map(|(field, column)| Values::new(field, column).map_err(io::Error::other)).collect()
}

/// One value, NULL included.
pub(super) fn write_value(values: &Values, row: usize, out: &mut String) {
    if values.is_null(row) {
        return out.push_str("null");
    }
    let start = out.len();
    match values.write(row, out) {
        // Embedded JSON may come with newlines between its tokens, and an object must stay on its line.
        Token::Literal if out[start..].contains(['\n', '\r']) => {
            let literal = out.split_off(start).replace(['\n', '\r'], " ");
            out.push_str(&literal);
        }
        Token::Literal => {}
        Token::Text => {
            let text = out.split_off(start);
            write_text(&text, out);
        }
    }
}

/// A JSON string.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // U+2028 and U+2029 end a line for some readers of ndjson.
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("a String takes all text");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The names of the columns, each made distinct from all others: `a`, `a_1`, `a_2`.
pub(super) fn distinct_names(fields: &Fields) -> Vec<String> {
    let taken: HashSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let mut used = HashSet::new();
    fields.iter().map(|field| distinct_name(field, &taken, &mut used)).collect()
}

fn distinct_name(field: &Field, taken: &HashSet<&str>, used: &mut HashSet<String>) -> String {
    let name = field.name();
    if used.insert(name.clone()) {
        return name.clone();
    }
    (1..)
        .map(|number| format!("{name}_{number}"))
        .find(|numbered| !taken.contains(numbered.as_str()) && used.insert(numbered.clone()))
        .expect("numbers do not end")
}

fn quoted_name(name: &str) -> String {
    let mut text = String::new();
    write_text(name, &mut text);
    text.push(':');
    text
}
