//! What columns a file has. Parquet and Arrow say it; CSV and NDJSON are read at their beginning.

use crate::cache::{Caches, FileSchema, Layout};
use crate::decompress::DAMAGED;
use crate::diagnose::panicked;
use crate::error::root_cause;
use crate::format::{Compression, Format};
use crate::head::{Head, read_head};
use crate::listing::{DataFile, Lister};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use datafusion_common::DataFusionError;
use datafusion_datasource_json::utils::JsonArrayToNdjsonReader;
use datafusion_datasource_parquet::metadata::DFParquetMetadata;
use datafusion_datasource_parquet::transform_schema_to_view;
use futures::{FutureExt, TryStreamExt};
use object_store::ObjectStoreExt;
use polder_catalog::{Error, Result, SqlState};
use std::io::{BufReader, Cursor};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// A UTF-8 byte order mark, which spreadsheets put before CSV.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The schema of one file, from memory if the file has not changed.
pub(crate) async fn file_schema(lister: &Lister, caches: &Caches, file: &DataFile) -> Result<FileSchema> {
    caches.forget_changed(&file.meta);
    if let Some(known) = caches.schema(&file.meta) {
        return Ok(known);
    }
    let learned = learn(lister, caches, file).await?;
    check_names(lister, file, &learned.schema)?;
    caches.remember(&file.meta, learned.clone());
    Ok(learned)
}

async fn learn(lister: &Lister, caches: &Caches, file: &DataFile) -> Result<FileSchema> {
    if file.meta.size == 0 {
        return empty(lister, file);
    }
    match file.format {
        Format::Parquet => parquet(lister, caches, file).await,
        Format::Arrow => arrow_ipc(lister, file).await,
        Format::Csv | Format::Tsv => csv(lister, file).await,
        Format::Ndjson => ndjson(lister, file).await,
    }
}

/// An empty text file has no rows. An empty Parquet or Arrow file is what a writer left that died.
fn empty(lister: &Lister, file: &DataFile) -> Result<FileSchema> {
    if file.format.is_text() && file.compression == Compression::None {
        return Ok(FileSchema { schema: Arc::new(Schema::empty()), layout: Layout::Empty });
    }
    Err(lister
        .place
        .bad_file(&file.meta.location, format!("is empty, which is no {} file", file.format))
        .with_hint("remove it, or write it again: its writer may have failed"))
}

async fn parquet(lister: &Lister, caches: &Caches, file: &DataFile) -> Result<FileSchema> {
    let footer =
        DFParquetMetadata::new(lister.store.as_ref(), &file.meta).with_file_metadata_cache(Some(caches.footers()));
    // The footer's own lengths are hostile input, which the decoder adds up unchecked.
    let schema = AssertUnwindSafe(footer.fetch_schema())
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
        .map_err(|error| unreadable(lister, file, error))?;
    let schema = transform_schema_to_view(&without_metadata(&schema));
    Ok(FileSchema { schema: Arc::new(schema), layout: Layout::Plain })
}

async fn arrow_ipc(lister: &Lister, file: &DataFile) -> Result<FileSchema> {
    let store_error = |error| lister.place.store_error("read", &file.meta.location, &error);
    let found = lister.store.get(&file.meta.location).await.map_err(store_error)?;
    let mut stream = found.into_stream();
    let mut start = Vec::new();
    let mut decoder = StreamDecoder::new();
    let mut layout = None;
    while let Some(chunk) = stream.try_next().await.map_err(store_error)? {
        start.extend_from_slice(&chunk);
        if layout.is_none() && (start.len() < ARROW_MAGIC.len() || arrow_start(&start) >= start.len()) {
            continue;
        }
        // The file format is the streaming format after eight bytes, with an index at its end.
        let mut buffer = if layout.is_none() {
            let is_file = start.starts_with(b"ARROW1");
            layout = Some(if is_file { Layout::Plain } else { Layout::ArrowStream });
            Buffer::from(if is_file { start[arrow_start(&start)..].to_vec() } else { start.clone() })
        } else {
            Buffer::from(chunk.to_vec())
        };
        let decoded = decoder.decode(&mut buffer);
        if let Some(schema) = decoder.schema() {
            let schema = Arc::new(without_metadata(&schema));
            return Ok(FileSchema { schema, layout: layout.unwrap_or(Layout::Plain) });
        }
        decoded.map_err(|error| unreadable(lister, file, error.into()))?;
    }
    Err(lister
        .place
        .bad_file(&file.meta.location, "is not an Arrow IPC file: it ends before its schema")
        .with_hint("write it again: its writer may have failed"))
}

/// Where the schema begins: writers pad the magic with zeros to their alignment.
fn arrow_start(start: &[u8]) -> usize {
    let is_padding = |group: &[u8]| group.iter().all(|byte| *byte == 0);
    let groups = start[ARROW_MAGIC.len()..].chunks(ARROW_MAGIC.len()).take_while(|group| is_padding(group)).count();
    ARROW_MAGIC.len() * (groups + 1)
}

const ARROW_MAGIC: &[u8; 8] = b"ARROW1\0\0";

async fn csv(lister: &Lister, file: &DataFile) -> Result<FileSchema> {
    let csv = &lister.read.csv;
    let rows = lister.read.infer_rows;
    let head = head_of(lister, file, rows + 1).await?;
    if head.bytes.is_empty() {
        return Ok(FileSchema { schema: Arc::new(Schema::empty()), layout: Layout::Empty });
    }
    let text = head.whole_rows(Some(csv.quote), csv.escape);
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let mut format = arrow::csv::reader::Format::default()
        .with_header(csv.header)
        .with_delimiter(delimiter(file.format, csv.delimiter))
        .with_quote(csv.quote);
    if let Some(escape) = csv.escape {
        format = format.with_escape(escape);
    }
    if let Some(comment) = csv.comment {
        format = format.with_comment(comment);
    }
    let (schema, _) =
        format.infer_schema(Cursor::new(text), Some(rows)).map_err(|error| unreadable(lister, file, error.into()))?;
    let schema = if csv.typed { schema } else { all_text(&schema) };
    Ok(FileSchema { schema: Arc::new(schema), layout: Layout::Plain })
}

/// `.tsv` has tabs unless the catalog says otherwise.
pub(crate) fn delimiter(format: Format, option: u8) -> u8 {
    if format == Format::Tsv && option == b',' { b'\t' } else { option }
}

async fn ndjson(lister: &Lister, file: &DataFile) -> Result<FileSchema> {
    let rows = lister.read.infer_rows;
    let mut head = head_of(lister, file, rows).await?;
    let first = head.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let layout = match first {
        None => return Ok(FileSchema { schema: Arc::new(Schema::empty()), layout: Layout::Empty }),
        Some(b'[') => Layout::JsonArray,
        Some(_) => Layout::Plain,
    };
    let inferred = if layout == Layout::JsonArray {
        // Elements of an array need not be one per line: all of it is looked at, up to the bound of a head.
        head = head_of(lister, file, usize::MAX).await?;
        let objects = BufReader::new(JsonArrayToNdjsonReader::new(Cursor::new(&head.bytes)));
        arrow::json::reader::infer_json_schema(objects, Some(rows))
    } else {
        arrow::json::reader::infer_json_schema(Cursor::new(head.whole_rows(None, None)), Some(rows))
    };
    let (schema, _) = match inferred {
        Ok(inferred) => inferred,
        Err(error) => {
            let error = unreadable(lister, file, error.into());
            let line = (layout == Layout::Plain).then(|| bad_json_line(&head)).flatten();
            return Err(match line {
                Some(line) => error.at_line(lister, file, line),
                None => error,
            });
        }
    };
    Ok(FileSchema { schema: Arc::new(schema), layout })
}

/// The first line of the head that is not a JSON object.
fn bad_json_line(head: &Head) -> Option<usize> {
    let is_bad = |line: &[u8]| {
        !line.trim_ascii().is_empty() && arrow::json::reader::infer_json_schema(Cursor::new(line), Some(1)).is_err()
    };
    head.whole_rows(None, None).split(|byte| *byte == b'\n').position(is_bad).map(|at| at + 1)
}

trait AtLine {
    fn at_line(self, lister: &Lister, file: &DataFile, line: usize) -> Error;
}

impl AtLine for Error {
    fn at_line(self, lister: &Lister, file: &DataFile, line: usize) -> Error {
        if self.state() == SqlState::CHARACTER {
            return self;
        }
        let detail = self.detail().unwrap_or_default().to_string();
        lister
            .place
            .bad_file(&file.meta.location, format!("line {line}: is not a JSON object"))
            .with_detail(detail)
            .with_hint("mend or remove the line; each line of an NDJSON file is one object")
    }
}

async fn head_of(lister: &Lister, file: &DataFile, lines: usize) -> Result<Head> {
    read_head(&lister.store, &file.meta, file.compression, lines).await.map_err(|error| match error {
        object_store::Error::Generic { store: DAMAGED, source } => lister
            .place
            .bad_file(&file.meta.location, "is damaged or cut off: it cannot be decompressed")
            .with_detail(root_cause(source.as_ref()))
            .with_hint("write it again, or take it out of the table"),
        error => lister.place.store_error("read", &file.meta.location, &error),
    })
}

/// An error while the columns of a file were looked at.
fn unreadable(lister: &Lister, file: &DataFile, error: DataFusionError) -> Error {
    if let Some(store) = crate::error::find_store_error(&error) {
        return lister.place.store_error("read", &file.meta.location, store);
    }
    let detail = root_cause(&error);
    let what = match file.format {
        _ if detail.to_ascii_lowercase().contains("utf-8") => "holds text that is not UTF-8".to_string(),
        Format::Csv | Format::Tsv => format!("has rows that do not fit together as {}", file.format),
        Format::Ndjson => "is not NDJSON".to_string(),
        Format::Parquet | Format::Arrow => format!("is not a readable {} file", file.format),
    };
    let hint = match file.format {
        Format::Csv | Format::Tsv => {
            "mend the row, or check options \"delimiter\", \"quote\" and \"header\" of the catalog"
        }
        Format::Ndjson => "each line must be one JSON object",
        Format::Parquet | Format::Arrow => "write it again, or take it out of the table",
    };
    let state = if what.contains("UTF-8") { SqlState::CHARACTER } else { SqlState::FORMAT };
    Error::fix(state, format!("{} {what}", lister.place.file(&file.meta.location)))
        .with_detail(detail)
        .with_hint(hint)
        .with_source(error)
}

fn check_names(lister: &Lister, file: &DataFile, schema: &SchemaRef) -> Result<()> {
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(lister
            .place
            .bad_file(&file.meta.location, format!("has two columns named \"{}\"", pair[0]))
            .with_hint("rename one of them in the file")),
    }
}

/// Metadata of writers differs from file to file and is no part of a table's schema.
fn without_metadata(schema: &Schema) -> Schema {
    let plain = |field: &FieldRef| field.as_ref().clone().with_metadata(Default::default());
    Schema::new(schema.fields().iter().map(plain).collect::<Fields>())
}

fn all_text(schema: &Schema) -> Schema {
    let text = |field: &FieldRef| Field::new(field.name(), DataType::Utf8, true);
    Schema::new(schema.fields().iter().map(text).collect::<Fields>())
}
