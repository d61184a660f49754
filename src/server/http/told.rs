//! Rows as lines that tell what rows alone do not: names and types before them, and behind them that they are the whole, or why
//! they are not.
//!
//! ```text
//! {"columns":[{"name":"id","type":"Int64"},{"name":"id","type":"Utf8"}]}
//! [1,"one"]
//! {"end":{"rows":1,"sources":[{"catalog":"shop","rows":1,"bytes":12}],"notices":[]}}
//! ```

use super::problem::Problem;
use crate::render::{self, Sink};
use crate::session::{Notices, Progress, Rows};
use arrow::array::RecordBatch;
use polder_catalog::{Error, mark};
use serde_json::json;
use std::io;

pub(super) const MEDIA_TYPE: &str = "application/vnd.polder.rows+ndjson";

/// Writes such lines.
pub(super) struct Told {
    sink: Box<dyn Sink>,
    /// The line of the columns, until it was sent.
    head: Option<String>,
    rows: usize,
    progress: Progress,
    notices: Notices,
}

impl Told {
    pub(super) fn new(rows: &Rows) -> Self {
        let schema = rows.schema();
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| {
                let kind = mark::of(field.metadata()).map(|(native, _)| native.to_string());
                let kind = kind.unwrap_or_else(|| field.data_type().to_string());
                json!({ "name": field.name(), "type": kind, "nullable": field.is_nullable() })
            })
            .collect();
        let head = Some(format!("{}\n", json!({ "columns": columns })));
        let (progress, notices) = (rows.progress(), rows.notices());
        Self { sink: render::arrays(&schema), head, rows: 0, progress, notices }
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> io::Result<Vec<u8>> {
        let mut bytes = self.head.take().unwrap_or_default().into_bytes();
        self.rows += batch.num_rows();
        self.sink.batch(batch, &mut bytes)?;
        Ok(bytes)
    }

    /// The last line of a whole result.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut text = self.head.take().unwrap_or_default();
        let sources = self
            .progress
            .sources()
            .into_iter()
            .map(|source| json!({ "catalog": source.name, "rows": source.rows, "bytes": source.bytes }));
        let sources: Vec<_> = sources.collect();
        let end = json!({ "rows": self.rows, "sources": sources, "notices": self.notices.told() });
        text.push_str(&format!("{}\n", json!({ "end": end })));
        text.into_bytes()
    }

    /// The last line of a result that is not whole.
    pub(super) fn failed(error: &Error) -> Vec<u8> {
        format!("{}\n", json!({ "error": Problem::document(error) })).into_bytes()
    }
}
