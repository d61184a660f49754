//! COPY: rows from a file of this machine, or from what a client sends after the statement.
//!
//! NDJSON and CSV are decoded under the types of the table's own columns, not under guessed ones. What Arrow's readers do not
//! read directly (UUIDs, bytes) is read as text and cast as INSERT would.

use crate::access::Privilege;
use crate::execute::query;
use crate::execute::write::attempt::Attempt;
use crate::execute::write::{Writable, change, rows, topic, writable};
use crate::plan::Tables;
use crate::session::{CopyIn, Outcome, Piece, Session};
use crate::sql::{self, CopySource, Name, Statement};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::TableReference;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use polder_catalog::{Error, OptionKind, OptionSpec, Options, ReadContext, Result, SqlState};
use regex::Regex;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Every option of `COPY ... FROM`.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "format",
        OptionKind::Choice(&["auto", "ndjson", "json", "csv", "parquet"]),
        "how the rows are written; auto tells it by the name of the file, and takes NDJSON from standard input",
    )
    .default("auto"),
    OptionSpec::new(
        "header",
        OptionKind::Boolean,
        "whether the first line of CSV names the columns; it must name those that are written, in order",
    )
    .default("true"),
    OptionSpec::new("delimiter", OptionKind::Text, "the character between CSV fields").default(","),
    OptionSpec::new("null", OptionKind::Text, "the CSV field that is NULL; if not given, an empty one, quoted or not"),
];

/// What the rows that are read are called in the query that writes them.
const COPIED: &str = "copied rows";
/// Pieces of the input on their way to the decoder, and the size of one.
const PIECES_AHEAD: usize = 4;
const PIECE_BYTES: usize = 256 * 1024;
/// A first line that is longer names no columns.
const HEADER_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Ndjson,
    Csv { header: bool, delimiter: u8, null: Option<String> },
    Parquet,
}

/// Runs COPY. From a file it is done when this returns; from a client it waits for what the client sends.
pub(super) async fn run(
    session: &Session,
    name: &Name,
    columns: &[String],
    from: &CopySource,
    options: &[(String, String)],
) -> Result<Outcome> {
    let context = query::context(session);
    let target = writable(session, name, &context, &[Privilege::Insert])?;
    let format = format(from, options)?;
    let fields = fields_of(&target, columns)?;
    match from {
        CopySource::File(path) => {
            let _guard = context.cancellation().clone().drop_guard();
            local_only(session, path)?;
            let count = if format == Format::Parquet {
                write_parquet(session, &context, &target, columns, path).await?
            } else {
                let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
                let reading = read_file(path.clone(), sender);
                let writing = write(session, &context, &target, &fields, format, pieces);
                tokio::join!(reading, writing).1?
            };
            Ok(Outcome::Done(format!("COPY {count}")))
        }
        CopySource::Input if format == Format::Parquet => {
            Err(Error::fix(SqlState::NOT_SUPPORTED, "Parquet cannot be read from a stream")
                .with_hint("copy it from a file"))
        }
        CopySource::Input => {
            let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
            let session = session.again();
            let task = tokio::spawn(async move { write(&session, &context, &target, &fields, format, pieces).await });
            Ok(Outcome::CopyIn(CopyIn::new(sender, task)))
        }
    }
}

/// Decodes pieces of input and writes the rows; how many.
async fn write(
    session: &Session,
    context: &ReadContext,
    target: &Writable,
    fields: &[FieldRef],
    format: Format,
    pieces: mpsc::Receiver<Piece>,
) -> Result<u64> {
    let wire: SchemaRef = Arc::new(Schema::new(fields.iter().map(|field| as_read(field)).collect::<Vec<_>>()));
    let rows = Copied { schema: wire, format, pieces: Mutex::new(Some(pieces)) };
    let table =
        StreamingTable::try_new(Arc::clone(&rows.schema), vec![Arc::new(rows)]).map_err(Error::from_datafusion)?;
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    insert(session, context, target, &names, Arc::new(table)).await
}

async fn write_parquet(
    session: &Session,
    context: &ReadContext,
    target: &Writable,
    columns: &[String],
    path: &str,
) -> Result<u64> {
    let table = polder_object_store::local_file(context, path).await?;
    let names = match columns {
        [] => table.schema().fields().iter().map(|field| field.name().clone()).collect(),
        named => named.to_vec(),
    };
    insert(session, context, target, &names, table).await
}

/// INSERT of the named columns of a table that only this statement has.
pub(super) async fn insert(
    session: &Session,
    context: &ReadContext,
    target: &Writable,
    names: &[String],
    table: Arc<dyn TableProvider>,
) -> Result<u64> {
    let selected: Vec<_> = names.iter().map(|name| sql::identifier(name)).collect();
    let text = format!("SELECT {} FROM {}", selected.join(", "), sql::identifier(COPIED));
    let Statement::Query(query) = sql::parse(&text)? else {
        return Err(Error::report("a query was read as another statement"));
    };
    let tables = Tables { tables: vec![(TableReference::bare(COPIED), table)], calls: Default::default() };
    let source = rows::Source::Given { query, tables: Box::new(tables) };
    match target {
        Writable::Topic(topic) => topic::insert(session, context, topic, names, source).await,
        Writable::Table(table) => {
            let attempt = Attempt::begin(session, context.clone(), table, None, &[], false).await?;
            change::insert(attempt, names, source, None).await.map(|(count, _)| count)
        }
    }
}

fn fields_of(target: &Writable, columns: &[String]) -> Result<Vec<FieldRef>> {
    let all: Vec<FieldRef> = match target {
        Writable::Topic(topic) => topic.columns.iter().map(|column| Arc::clone(&column.field)).collect(),
        Writable::Table(table) => table.arrow_schema().fields().iter().cloned().collect(),
    };
    if columns.is_empty() {
        return Ok(all);
    }
    let named = columns.iter().map(|name| all.iter().find(|field| field.name() == name).cloned().ok_or(name));
    named
        .collect::<Result<_, _>>()
        .map_err(|name| Error::fix(SqlState::NO_COLUMN, format!("column \"{name}\" does not exist")))
}

/// The type that a decoder gives: the column's own, or text where its reader has none.
fn as_read(field: &Field) -> Field {
    let direct = match field.data_type() {
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Date32 | DataType::Timestamp(..) => true,
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Time64(_) | DataType::List(_) => true,
        other => other.is_integer() || other.is_floating(),
    };
    Field::new(field.name(), if direct { field.data_type().clone() } else { DataType::Utf8 }, true)
}

fn format(from: &CopySource, options: &[(String, String)]) -> Result<Format> {
    let options = Options::validate(OPTIONS, options.iter().cloned())?;
    let extension = match from {
        CopySource::File(path) => Path::new(path).extension().and_then(|extension| extension.to_str()),
        CopySource::Input => Some("ndjson"),
    };
    let named = match options.text("format") {
        None | Some("auto") => extension.map(str::to_lowercase),
        Some(format) => Some(format.to_string()),
    };
    match named.as_deref() {
        Some("ndjson" | "jsonl" | "json") => Ok(Format::Ndjson),
        Some("csv") => {
            let delimiter = options.text("delimiter").unwrap_or(",");
            let [delimiter] = delimiter.as_bytes() else {
                return Err(Error::fix(SqlState::PARAMETER, "option \"delimiter\" takes one ASCII character"));
            };
            let null = options.text("null").map(str::to_string);
            Ok(Format::Csv { header: options.boolean("header"), delimiter: *delimiter, null })
        }
        Some("parquet") => Ok(Format::Parquet),
        _ => Err(Error::fix(SqlState::PARAMETER, "the format of the file cannot be told by its name")
            .with_hint("say it: WITH (format csv), or ndjson, or parquet")),
    }
}

fn local_only(session: &Session, path: &str) -> Result<()> {
    if session.engine.0.local_files {
        return Ok(());
    }
    Err(Error::fix(SqlState::PRIVILEGE, format!("'{path}' may not be read: files of this machine are closed here"))
        .with_hint("send the rows: COPY ... FROM STDIN"))
}

/// Sends a file piece by piece. Nobody listens any more once a row did not fit.
async fn read_file(path: String, sender: mpsc::Sender<Piece>) {
    let last = match send_file(&path, &sender).await {
        Ok(()) => Piece::End,
        Err(error) => Piece::Failed(
            Error::fix(SqlState::NO_FILE, format!("could not read {path}")).with_detail(error.to_string()),
        ),
    };
    let _ = sender.send(last).await;
}

async fn send_file(path: &str, sender: &mpsc::Sender<Piece>) -> std::io::Result<()> {
    let mut file = tokio::fs::File::open(path).await?;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let bytes = file.read(&mut piece).await?;
        piece.truncate(bytes);
        if bytes == 0 || sender.send(Piece::Bytes(piece.into())).await.is_err() {
            return Ok(());
        }
    }
}

/// The rows of one COPY, decoded as they are read.
#[derive(Debug)]
struct Copied {
    schema: SchemaRef,
    format: Format,
    pieces: Mutex<Option<mpsc::Receiver<Piece>>>,
}

#[async_trait]
impl PartitionStream for Copied {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner).take();
        let decoder = Decoder::new(&self.schema, &self.format, task.session_config().batch_size());
        let rows = futures::stream::try_unfold((pieces, decoder), |(pieces, decoder)| async move {
            let (Some(mut pieces), mut decoder) = (pieces, decoder?) else { return Ok(None) };
            let batch = decoder.next(&mut pieces).await?;
            Ok(batch.map(|batch| (batch, (Some(pieces), Ok(decoder)))))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// Bytes to batches.
struct Decoder {
    reader: Reader,
    /// The columns that the first line must name, and what is between them, until it was read.
    header: Option<(SchemaRef, u8)>,
    /// What the reader has not taken of the last piece.
    rest: Bytes,
    ended: bool,
}

enum Reader {
    Ndjson(Box<arrow::json::reader::Decoder>),
    Csv(Box<arrow::csv::reader::Decoder>),
}

impl Decoder {
    fn new(schema: &SchemaRef, format: &Format, rows: usize) -> datafusion::common::Result<Self> {
        let header = match format {
            Format::Csv { header: true, delimiter, .. } => Some((Arc::clone(schema), *delimiter)),
            Format::Csv { .. } | Format::Ndjson | Format::Parquet => None,
        };
        let reader = match format {
            Format::Csv { header, delimiter, null } => {
                let builder = arrow::csv::ReaderBuilder::new(Arc::clone(schema));
                let mut builder = builder.with_header(*header).with_delimiter(*delimiter).with_batch_size(rows);
                if let Some(null) = null {
                    builder = builder.with_null_regex(exactly(null)?);
                }
                Reader::Csv(Box::new(builder.build_decoder()))
            }
            Format::Ndjson | Format::Parquet => {
                let builder = arrow::json::ReaderBuilder::new(Arc::clone(schema));
                Reader::Ndjson(Box::new(builder.with_strict_mode(true).with_batch_size(rows).build_decoder()?))
            }
        };
        Ok(Self { reader, header, rest: Bytes::new(), ended: false })
    }

    async fn next(&mut self, pieces: &mut mpsc::Receiver<Piece>) -> datafusion::common::Result<Option<RecordBatch>> {
        if let Some((schema, delimiter)) = self.header.take() {
            self.first_line(pieces).await?;
            check_header(&self.rest, &schema, delimiter)?;
        }
        loop {
            if self.rest.is_empty() && !self.ended {
                self.rest = self.piece(pieces).await?;
            }
            let taken = self.decode()?;
            self.rest = self.rest.slice(taken..);
            if self.rest.is_empty() && !self.ended {
                continue;
            }
            // The reader also stops early where it has no rows yet, such as after a header.
            match self.flush()? {
                Some(batch) => return Ok(Some(batch)),
                None if self.rest.is_empty() => return Ok(None),
                None if taken == 0 => return Err(Error::report("a row of the input is not read").into()),
                None => {}
            }
        }
    }

    /// The next piece; none at the end.
    async fn piece(&mut self, pieces: &mut mpsc::Receiver<Piece>) -> Result<Bytes> {
        match pieces.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(bytes),
            Some(Piece::Failed(error)) => Err(error),
            Some(Piece::End) => {
                self.ended = true;
                Ok(Bytes::new())
            }
            None => Err(Error::fix(SqlState::CANCELLED, "the input broke off").with_hint("nothing was written")),
        }
    }

    /// Reads on until the first line is here.
    async fn first_line(&mut self, pieces: &mut mpsc::Receiver<Piece>) -> Result<()> {
        let mut line = Vec::new();
        while !self.ended && !line.contains(&b'\n') && line.len() <= HEADER_BYTES_MAX {
            line.extend_from_slice(&self.piece(pieces).await?);
        }
        self.rest = line.into();
        Ok(())
    }

    fn decode(&mut self) -> Result<usize> {
        match &mut self.reader {
            Reader::Ndjson(decoder) => decoder.decode(&self.rest),
            Reader::Csv(decoder) => decoder.decode(&self.rest),
        }
        .map_err(|error| wrong_row(&error))
    }

    fn flush(&mut self) -> datafusion::common::Result<Option<RecordBatch>> {
        let batch = match &mut self.reader {
            Reader::Ndjson(decoder) => decoder.flush(),
            Reader::Csv(decoder) => decoder.flush(),
        };
        Ok(batch.map_err(|error| wrong_row(&error))?)
    }
}

/// What matches a text and nothing else.
fn exactly(text: &str) -> Result<Regex> {
    Regex::new(&format!("^{}$", regex::escape(text)))
        .map_err(|error| Error::fix(SqlState::PARAMETER, "option \"null\" is too long").with_source(error))
}

/// A header in another order would put every value into another column.
fn check_header(input: &[u8], schema: &SchemaRef, delimiter: u8) -> Result<()> {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    let line = line.trim_start_matches('\u{feff}');
    let named: Vec<&str> = line.split(char::from(delimiter)).map(|name| name.trim().trim_matches('"')).collect();
    let wanted: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if named.iter().map(|name| name.to_lowercase()).eq(wanted.iter().map(|name| name.to_lowercase())) {
        return Ok(());
    }
    let message =
        format!("the first line of the input names ({}), written are ({})", named.join(", "), wanted.join(", "));
    Err(Error::fix(SqlState::FORMAT, message).with_hint(
        "name the columns in the order of the input: COPY table (column, ...); or say WITH (format csv, header false)",
    ))
}

fn wrong_row(error: &ArrowError) -> Error {
    Error::fix(SqlState::FORMAT, "a row of the input does not fit the table")
        .with_detail(error.to_string())
        .with_hint("nothing was written")
}
