//! `csv`: RFC 4180 with a header. Lines end with a plain newline, as every Unix tool expects.
//!
//! NULL is an empty field, the empty string is `""`, so that both can be told apart.

use super::Sink;
use super::json::columns;
use super::value::Values;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::{self, Write};
use std::sync::Arc;

/// Texts are handed on in pieces of about this size.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes records.
pub(super) struct Csv {
    schema: SchemaRef,
    started: bool,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: Arc::clone(schema), started: false }
    }

    fn write_header(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::replace(&mut self.started, true) || self.schema.fields().is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.schema.fields().iter().map(|field| quoted(field.name().clone())).collect();
        writeln!(out, "{}", names.join(","))
    }
}

impl Sink for Csv {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        self.write_header(out)?;
        let columns = columns(self.schema.fields(), batch)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            write_record(&columns, row, &mut text);
            flush_when_large(&mut text, out)?;
        }
        out.write_all(text.as_bytes())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.write_header(out)
    }
}

fn write_record(columns: &[Values], row: usize, out: &mut String) {
    for (at, values) in columns.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if !values.is_null(row) {
            let start = out.len();
            values.write(row, out);
            if must_be_quoted(&out[start..]) {
                let field = quoted(out.split_off(start));
                out.push_str(&field);
            }
        }
    }
    out.push('\n');
}

fn must_be_quoted(field: &str) -> bool {
    field.is_empty() || field.contains([',', '"', '\n', '\r'])
}

fn quoted(field: String) -> String {
    if must_be_quoted(&field) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

/// Keeps a batch of long values from becoming one long text.
pub(super) fn flush_when_large(text: &mut String, out: &mut dyn Write) -> io::Result<()> {
    if text.len() >= PIECE_BYTES {
        out.write_all(text.as_bytes())?;
        text.clear();
    }
    Ok(())
}
