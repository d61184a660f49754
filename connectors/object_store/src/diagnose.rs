//! From an error of a reader to one that names the file, the line and what to do.
//!
//! Readers know no file names and count lines from wherever they began. So the place of an error is looked for when
//! there is one: a text file is read again up to the line that fails. That costs time only where there is no result.

use crate::cache::Layout;
use crate::decompress::DAMAGED;
use crate::error::{Place, find_store_error, root_cause};
use crate::format::{Compression, Format};
use crate::head::content;
use crate::infer::delimiter;
use crate::options::CsvSettings;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use datafusion_common::DataFusionError;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore};
use polder_catalog::{Error, KeptLocal, ReadContext, SqlState};
use std::any::Any;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// All that is known of one scan.
#[derive(Debug)]
pub(crate) struct ScanInfo {
    pub(crate) place: Place,
    pub(crate) context: ReadContext,
    /// Reads the files as they were listed; decompresses streams.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Reads the files as they are stored, to look again after an error.
    pub(crate) raw: Arc<dyn ObjectStore>,
    pub(crate) target: String,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    pub(crate) layout: Layout,
    pub(crate) file_schema: SchemaRef,
    pub(crate) csv: CsvSettings,
    /// Files of the table before any was left out.
    pub(crate) files_total: usize,
    pub(crate) kept_local: Vec<KeptLocal>,
    /// Filters on `key=value` folders, that left files out.
    pub(crate) pruned_by: Vec<String>,
}

impl ScanInfo {
    pub(crate) fn is_compressed(&self) -> bool {
        self.compression != Compression::None
    }
}

/// A panic of a decoder as an error.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> DataFusionError {
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    DataFusionError::Execution(format!("the decoder gave up: {}", text.unwrap_or_default()))
}

/// The error with its file, without looking further.
pub(crate) fn named(info: &ScanInfo, file: &ObjectMeta, error: DataFusionError) -> DataFusionError {
    known(info, file, error).unwrap_or_else(|error| unfit(info, file, None, error)).into()
}

/// The error with its file and, for text, its line.
pub(crate) async fn explained(info: &ScanInfo, file: &ObjectMeta, error: DataFusionError) -> DataFusionError {
    let error = match known(info, file, error) {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    let place = tokio::select! {
        stopped = info.context.stopped() => return stopped.into(),
        place = bad_line(info, file) => place,
    };
    unfit(info, file, place, error).into()
}

/// Errors that need no further look: ours, the store's, the engine's own bounds.
fn known(info: &ScanInfo, file: &ObjectMeta, error: DataFusionError) -> Result<Error, DataFusionError> {
    if let Some(store) = find_store_error(&error) {
        if let object_store::Error::Generic { store: DAMAGED, source } = store {
            return Ok(cut_off(info, file, root_cause(source.as_ref())));
        }
        return Ok(info.place.store_error("read", &file.location, store));
    }
    match error.find_root() {
        DataFusionError::External(inner) if inner.is::<Error>() => Ok(Error::from_datafusion(error)),
        DataFusionError::ResourcesExhausted(_) => Ok(Error::from_datafusion(error)),
        _ if info.is_compressed() && is_io(&error) => Ok(cut_off(info, file, root_cause(&error))),
        _ => Err(error),
    }
}

/// A local compressed file is decoded by DataFusion, whose error is a plain I/O error.
fn is_io(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<std::io::Error>() {
            return true;
        }
        cause = current.source();
    }
    let text = error.to_string();
    ["corrupt", "unexpected end of file", "incomplete frame", "decompress", "invalid gzip"]
        .iter()
        .any(|word| text.contains(word))
}

fn cut_off(info: &ScanInfo, file: &ObjectMeta, detail: String) -> Error {
    info.place
        .bad_file(&file.location, "is damaged or cut off: it cannot be decompressed to its end")
        .with_detail(detail)
        .with_hint("write it again, or take it out of the table")
}

/// What is inside does not fit.
fn unfit(info: &ScanInfo, file: &ObjectMeta, place: Option<BadLine>, error: DataFusionError) -> Error {
    let detail = place.as_ref().map_or_else(|| root_cause(&error), |bad| bad.detail.clone());
    let lower = detail.to_ascii_lowercase();
    let line = place.map(|bad| format!("line {}: ", bad.line)).unwrap_or_default();
    let (state, what, hint) = if lower.contains("utf-8") || lower.contains("utf8") {
        (SqlState::CHARACTER, "holds text that is not UTF-8".to_string(), "convert the file to UTF-8")
    } else {
        match info.format {
            Format::Csv | Format::Tsv => (
                SqlState::FORMAT,
                "the row does not fit the table's columns".to_string(),
                "mend the row; or read more rows to learn the types (option \"infer_rows\"), or all columns as text (types = 'text')",
            ),
            Format::Ndjson => (
                SqlState::FORMAT,
                "the value does not fit the table's columns".to_string(),
                "mend the line; or read more rows to learn the types (option \"infer_rows\")",
            ),
            Format::Parquet | Format::Arrow => (
                SqlState::FORMAT,
                format!("could not be read as {}", info.format),
                "the file is damaged or was changed: write it again, or take it out of the table",
            ),
        }
    };
    let separator = if line.is_empty() { " " } else { ": " };
    Error::fix(state, format!("{}{separator}{line}{what}", info.place.file(&file.location)))
        .with_detail(detail)
        .with_hint(hint)
        .with_source(error)
}

struct BadLine {
    line: usize,
    detail: String,
}

/// Reads a text file again up to the line that fails.
async fn bad_line(info: &ScanInfo, file: &ObjectMeta) -> Option<BadLine> {
    match (info.format, info.layout) {
        (Format::Csv | Format::Tsv, _) => bad_csv_line(info, file).await,
        (Format::Ndjson, Layout::Plain) => bad_json_line(info, file).await,
        _ => None,
    }
}

async fn bad_csv_line(info: &ScanInfo, file: &ObjectMeta) -> Option<BadLine> {
    let csv = &info.csv;
    let mut builder = arrow::csv::ReaderBuilder::new(Arc::clone(&info.file_schema))
        .with_header(csv.header)
        .with_delimiter(delimiter(info.format, csv.delimiter))
        .with_quote(csv.quote)
        .with_batch_size(CSV_ROWS);
    if let Some(escape) = csv.escape {
        builder = builder.with_escape(escape);
    }
    if let Some(comment) = csv.comment {
        builder = builder.with_comment(comment);
    }
    let mut decoder = builder.build_decoder();
    let mut stream = content(&info.raw, file, info.compression).await.ok()?;
    loop {
        let chunk = stream.try_next().await.ok()?;
        if chunk.as_ref().is_some_and(Bytes::is_empty) {
            continue;
        }
        if let Err(error) = decode_csv(&mut decoder, chunk.as_deref().unwrap_or_default()) {
            return csv_line(&error, csv.header);
        }
        chunk?;
    }
}

/// Decodes a piece of a file. An empty one is its end, for the decoder too.
fn decode_csv(decoder: &mut arrow::csv::reader::Decoder, piece: &[u8]) -> Result<(), ArrowError> {
    let mut rest = piece;
    loop {
        let read = decoder.decode(rest)?;
        rest = &rest[read..];
        let is_full = decoder.capacity() == 0;
        if is_full || piece.is_empty() {
            decoder.flush()?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        // One that neither reads nor has been full would be asked for ever.
        if read == 0 && !is_full {
            return Err(ArrowError::CsvError("the decoder does not go on".to_string()));
        }
    }
}

/// Rows decoded at once while looking for the bad one.
const CSV_ROWS: usize = 1024;

/// Arrow says the line inside its message.
fn csv_line(error: &ArrowError, header: bool) -> Option<BadLine> {
    let detail = error.to_string();
    let digits: String = detail.rsplit_once("line ")?.1.chars().take_while(char::is_ascii_digit).collect();
    let counted: usize = digits.parse().ok()?;
    // Of values that do not parse it counts rows, which a header is none of.
    let line = counted + usize::from(header && detail.contains("Error while parsing"));
    Some(BadLine { line, detail: detail.replace(&format!("line {counted}"), &format!("line {line}")) })
}

async fn bad_json_line(info: &ScanInfo, file: &ObjectMeta) -> Option<BadLine> {
    let mut stream = content(&info.raw, file, info.compression).await.ok()?;
    let mut pending: Vec<u8> = Vec::new();
    let mut line = 0;
    loop {
        let chunk = stream.try_next().await.ok()?;
        pending.extend_from_slice(chunk.as_deref().unwrap_or(b"\n"));
        let end = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = pending.split_off(end);
        for text in pending.split_inclusive(|byte| *byte == b'\n') {
            line += 1;
            if let Err(error) = decode_json(&info.file_schema, text) {
                return Some(BadLine { line, detail: error.to_string() });
            }
        }
        pending = rest;
        chunk?;
    }
}

fn decode_json(schema: &SchemaRef, line: &[u8]) -> Result<(), ArrowError> {
    let mut decoder = arrow::json::ReaderBuilder::new(Arc::clone(schema)).build_decoder()?;
    decoder.decode(line)?;
    decoder.flush().map(|_| ())
}
