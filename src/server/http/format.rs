//! The formats of an answer, and which of them a client accepts.

use super::told::{self, Told};
use crate::render::{Expanded, Format, Layout, Sink, sink};
use crate::server::views::compacted;
use crate::session::Rows;
use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use axum::http::{HeaderMap, header};
use polder_catalog::{Error, Result, SqlState};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Text(Format),
    /// The streaming format of Arrow IPC.
    Arrow,
    /// Lines that also tell types, progress and what went wrong.
    Told,
}

/// Best first: what a client gets that accepts several alike.
const ENCODINGS: [(&str, Encoding); 6] = [
    ("application/json", Encoding::Text(Format::Json)),
    ("application/x-ndjson", Encoding::Text(Format::Ndjson)),
    ("application/ndjson", Encoding::Text(Format::Ndjson)),
    ("text/csv", Encoding::Text(Format::Csv)),
    ("application/vnd.apache.arrow.stream", Encoding::Arrow),
    (told::MEDIA_TYPE, Encoding::Told),
];

impl Encoding {
    /// The one that the client likes best (RFC 9110, 12.5.1); JSON if it does not say.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let ranges: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if ranges.is_empty() {
            return Some(Self::Text(Format::Json));
        }
        let ranges: Vec<_> = ranges.iter().flat_map(|ranges| ranges.split(',')).map(range).collect();
        let weighed = ENCODINGS.iter().map(|(name, encoding)| (weight(&ranges, name), *encoding));
        // The first of several that weigh the same.
        let best = weighed.rev().max_by(|(one, _), (other, _)| one.total_cmp(other));
        best.filter(|(weight, _)| *weight > 0.0).map(|(_, encoding)| encoding)
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text(Format::Csv) => "text/csv; charset=utf-8; header=present",
            Self::Text(Format::Ndjson) => "application/x-ndjson",
            Self::Text(Format::Json | Format::Table) => "application/json",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Told => told::MEDIA_TYPE,
        }
    }

    /// # Errors
    /// If Arrow IPC has no such schema.
    pub(super) fn encoder(self, rows: &Rows) -> Result<Encoder> {
        let schema = &rows.schema();
        Ok(match self {
            Self::Text(format) => {
                let layout = Layout { width: None, expanded: Expanded::Auto };
                Encoder::Text(sink(format, schema, &layout))
            }
            Self::Arrow => Encoder::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema).map_err(unwritable)?)),
            Self::Told => Encoder::Told(Told::new(rows)),
        })
    }
}

/// A media range and its quality.
fn range(text: &str) -> (String, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|quality| quality.parse().ok());
    (name, quality.unwrap_or(1.0))
}

/// What the most specific range says about a type.
fn weight(ranges: &[(String, f32)], name: &str) -> f32 {
    let kind = name.split('/').next().unwrap_or_default();
    let of = |wanted: &str| ranges.iter().find(|(range, _)| range == wanted).map(|(_, quality)| *quality);
    of(name).or_else(|| of(&format!("{kind}/*"))).or_else(|| of("*/*")).unwrap_or(0.0)
}

/// Batches to bytes.
pub(super) enum Encoder {
    Text(Box<dyn Sink>),
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Told(Told),
}

impl Encoder {
    /// The next rows as bytes.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        match self {
            Self::Text(sink) => {
                let mut bytes = Vec::new();
                sink.batch(batch, &mut bytes).map_err(unwritable)?;
                Ok(bytes)
            }
            Self::Arrow(writer) => {
                writer.write(&compacted(batch).map_err(unwritable)?).map_err(unwritable)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Self::Told(told) => told.batch(batch).map_err(unwritable),
        }
    }

    /// An error as a part of the answer, where the format has a place for it.
    pub(super) fn failed(&self, error: &Error) -> Option<Vec<u8>> {
        match self {
            Self::Text(_) | Self::Arrow(_) => None,
            Self::Told(_) => Some(Told::failed(error)),
        }
    }

    /// What stands behind the last row.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Text(mut sink) => {
                let mut bytes = Vec::new();
                sink.finish(&mut bytes).map_err(unwritable)?;
                Ok(bytes)
            }
            Self::Arrow(mut writer) => {
                writer.finish().map_err(unwritable)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Self::Told(told) => Ok(told.finish()),
        }
    }
}

fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::fix(SqlState::DATA, "the rows cannot be written in this format").with_detail(error.to_string())
}
