//! Rows as text: one file per format, one text per value.
//!
//! A value reads the same in every format (`value.rs` says how); formats differ in what they put around it.

mod value;
mod temporal;
mod csv;
mod json;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use table::{Expanded, Layout};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::{self, Write};

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// RFC 4180 with a header and plain newlines; NULL is empty, the empty string is "".
    Csv,
    /// One array of objects per statement.
    Json,
    /// One object per line.
    Ndjson,
}

/// Takes the batches of one result, in order.
///
/// Nothing is written before the first call of either method, so a query that fails at once leaves no trace of a
/// result. All but the table write each batch as it comes; the table holds back the first rows to measure them.
pub(crate) trait Sink: Send {
    /// The next rows.
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()>;

    /// The result is complete.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// A sink for rows as arrays, one per line, without the names of the columns.
pub(crate) fn arrays(schema: &SchemaRef) -> Box<dyn Sink> {
    Box::new(json::Arrays::new(schema))
}

/// A sink for rows of this schema.
pub(crate) fn sink(format: Format, schema: &SchemaRef, layout: &Layout) -> Box<dyn Sink> {
    match format {
        Format::Table => Box::new(table::Table::new(schema, layout)),
        Format::Csv => Box::new(csv::Csv::new(schema)),
        Format::Json => Box::new(json::Json::array(schema)),
        Format::Ndjson => Box::new(json::Json::lines(schema)),
    }
}
