//! `polder log`: looks into the log of a data directory, also while it is in use. Nothing is changed and no lock is taken.

use crate::cli::{EngineArguments, Stop, UNREAD};
use crate::commit::log_error;
use crate::render::{Expanded, Format, Layout, sink};
use crate::repl::terminal_width;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::FieldRef;
use arrow::json::LineDelimitedWriter;
use chrono::{DateTime, SecondsFormat};
use polder_catalog::{Error, Kind, Result, SqlState};
use polder_log::store::{
    CommitTime, Encoding, Entry, EntryKind, EntryNumber, Expectation, Hash, Inspection, LogOptions, Part, Root,
    VerifyReport,
};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the shards: segments, bytes, entries, records, times.
    Ls {
        #[command(flatten)]
        engine: EngineArguments,
        /// How the list is written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Prints the entries of a shard, one JSON object on each line.
    Cat {
        #[command(flatten)]
        engine: EngineArguments,
        /// The shard.
        #[arg(default_value = "main")]
        shard: String,
        /// The first entry.
        #[arg(long, value_name = "ENTRY", default_value_t = 0)]
        from: u64,
        /// How many entries at most.
        #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
        limit: u64,
    },
    /// Prints the Merkle root of each shard as SHARD:ENTRIES:HASH, to be kept elsewhere.
    Root {
        #[command(flatten)]
        engine: EngineArguments,
    },
    /// Checks every byte, against roots that were kept elsewhere if some are given; ends with code 1 if something is
    /// damaged.
    Verify {
        #[command(flatten)]
        engine: EngineArguments,
        /// A root as `polder log root` printed it. May be given several times.
        #[arg(long = "root", value_name = "SHARD:ENTRIES:HASH")]
        roots: Vec<String>,
    },
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout());
    let done = match &arguments.command {
        Command::Ls { engine, format } => list(&open(engine)?, *format, &mut out),
        Command::Cat { engine, shard, from, limit } => cat(&open(engine)?, shard, *from, *limit, &mut out),
        Command::Root { engine } => roots(&open(engine)?, &mut out),
        Command::Verify { engine, roots } => verify(&open(engine)?, roots, &mut out),
    };
    let ended = done.and_then(|code| Ok(out.flush().map(|()| code)?));
    match ended {
        Ok(code) => Ok(code),
        // As a shell reports a process that SIGPIPE ended: `polder log cat | head`.
        Err(Stop::Unread) => Ok(ExitCode::from(UNREAD)),
        Err(Stop::Interrupted) => Ok(ExitCode::FAILURE),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn open(arguments: &EngineArguments) -> Result<Inspection> {
    let Some(data) = arguments.data.as_ref().filter(|path| !path.as_os_str().is_empty()) else {
        return Err(Error::fix(SqlState::PARAMETER, "no data directory was given")
            .with_hint("name it with --data DIR, or set POLDER_DATA"));
    };
    let folder = data.join("log");
    if !folder.is_dir() {
        return Err(Error::fix(SqlState::NO_FILE, format!("{} has no log", data.display()))
            .with_hint("a log is made by the first statement that defines or writes something"));
    }
    Ok(Inspection::new(folder, LogOptions::default()))
}

fn list(log: &Inspection, format: Format, out: &mut dyn Write) -> Result<ExitCode, Stop> {
    let mut shards = Vec::new();
    for name in log.shards().map_err(log_error)? {
        shards.push(log.shard(&name).map_err(log_error)?.summary());
    }
    let count = |of: fn(&polder_log::store::ShardSummary) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(shards.iter().map(|shard| i64::try_from(of(shard)).unwrap_or(i64::MAX))))
    };
    let time = |of: fn(&polder_log::store::ShardSummary) -> Option<CommitTime>| -> ArrayRef {
        let times = shards.iter().map(|shard| of(shard).map(|time| time.0));
        Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let names = shards.iter().map(|shard| Some(shard.name.as_str()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("shard", Arc::new(names.collect::<StringArray>())),
        ("segments", count(|shard| shard.segments as u64)),
        ("bytes", count(|shard| shard.bytes)),
        ("first_entry", count(|shard| shard.entries.start.0)),
        ("end_entry", count(|shard| shard.entries.end.0)),
        ("first_offset", count(|shard| shard.records.start.0)),
        ("end_offset", count(|shard| shard.records.end.0)),
        ("first_time", time(|shard| shard.first_time)),
        ("last_time", time(|shard| shard.last_time)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .map_err(|error| Error::report("a list of shards is no table").with_source(error))?;
    let layout = Layout { width: terminal_width(), expanded: Expanded::Auto };
    let mut sink = sink(format, &batch.schema(), &layout);
    sink.batch(&batch, out).and_then(|()| sink.finish(out))?;
    Ok(ExitCode::SUCCESS)
}

fn cat(log: &Inspection, shard: &str, from: u64, limit: u64, out: &mut dyn Write) -> Result<ExitCode, Stop> {
    known(log, shard)?;
    let range = EntryNumber(from)..EntryNumber(from.saturating_add(limit));
    for entry in log.shard(shard).and_then(|shard| shard.entries(range)).map_err(log_error)? {
        write_json(&entry.map_err(log_error)?, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An entry for people and for jq, part by part: an entry may exceed memory. A part that cannot be read says so in its place.
fn write_json(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let about = about(entry).to_string();
    // The object of what is about the entry, still open for its parts.
    write!(out, "{},\"parts\":[", about.trim_end_matches('}'))?;
    for (at, part) in entry.parts().enumerate() {
        let part = match part {
            Ok(part) => part_as_json(entry, &part),
            Err(error) => json!({ "error": error.message() }),
        };
        write!(out, "{}{part}", if at == 0 { "" } else { "," })?;
    }
    writeln!(out, "]}}")
}

/// What an entry says besides its parts.
fn about(entry: &Entry) -> Value {
    let header = entry.header();
    let mut object = Map::new();
    object.insert("entry".to_string(), json!(header.number.0));
    object.insert("kind".to_string(), json!(kind(header.kind)));
    object.insert("offset".to_string(), json!(header.first_offset.0));
    object.insert("records".to_string(), json!(header.record_count));
    object.insert("time".to_string(), json!(iso_8601(header.commit_time)));
    object.insert("bytes".to_string(), json!(entry.stored_bytes()));
    if let Some(id) = &header.attributes.request_id {
        object.insert("request_id".to_string(), json!(id));
    }
    if let Some(origin) = &header.attributes.origin {
        object.insert("origin".to_string(), json!(origin));
    }
    Value::Object(object)
}

fn iso_8601(time: CommitTime) -> String {
    match DateTime::from_timestamp_micros(time.0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => time.to_string(),
    }
}

fn kind(kind: EntryKind) -> String {
    match kind {
        EntryKind::DATA => "data".to_string(),
        EntryKind::SCHEMA => "schema".to_string(),
        EntryKind::DEFINITION => "definition".to_string(),
        EntryKind::EPOCH => "epoch".to_string(),
        EntryKind::REQUEST => "request".to_string(),
        EntryKind::OUTCOME => "outcome".to_string(),
        EntryKind::REJECTION => "rejection".to_string(),
        EntryKind(other) => other.to_string(),
    }
}

fn part_as_json(entry: &Entry, part: &Part) -> Value {
    let mut object = Map::new();
    object.insert("dataset".to_string(), json!(part.id.dataset));
    object.insert("schema".to_string(), json!(part.id.schema));
    if let Some(weights) = &part.weights {
        object.insert("weights".to_string(), json!(weights));
    }
    let (name, told) = match (entry.header().kind, part.encoding) {
        (EntryKind::SCHEMA, _) => ("columns", columns(entry, part)),
        (_, Encoding::BYTES) => ("rows", Ok(bytes_as_json(&part.payload))),
        _ => ("rows", rows(entry, part)),
    };
    match told {
        Ok(told) => object.insert(name.to_string(), told),
        Err(reason) => object.insert("error".to_string(), json!(reason)),
    };
    Value::Object(object)
}

/// JSON as it is, other text as text, other bytes in hexadecimal.
fn bytes_as_json(bytes: &[u8]) -> Value {
    let text = std::str::from_utf8(bytes);
    let value = serde_json::from_slice(bytes).ok().or_else(|| text.ok().map(|text| json!(text)));
    let value = value.unwrap_or_else(|| json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
    Value::Array(vec![value])
}

/// What an entry of the store's own says: the columns of later parts.
fn columns(entry: &Entry, part: &Part) -> Result<Value, String> {
    let schema = entry.schema(part.id).map_err(|error| error.message().to_string())?;
    let column = |field: &FieldRef| json!({ "name": field.name(), "type": field.data_type().to_string() });
    Ok(Value::Array(schema.fields().iter().map(column).collect()))
}

fn rows(entry: &Entry, part: &Part) -> Result<Value, String> {
    let schema = entry.schema(part.id).map_err(|error| error.message().to_string())?;
    let batch = part.to_batch(&schema, None).map_err(|error| error.message().to_string())?;
    let mut lines = LineDelimitedWriter::new(Vec::new());
    lines.write(&batch).and_then(|()| lines.finish()).map_err(|error| error.to_string())?;
    let lines = lines.into_inner();
    let rows = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let rows = rows.map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()));
    rows.collect::<Result<Vec<Value>, _>>().map(Value::Array)
}

fn roots(log: &Inspection, out: &mut dyn Write) -> Result<ExitCode, Stop> {
    for name in log.shards().map_err(log_error)? {
        let root = log.shard(&name).and_then(|shard| shard.root()).map_err(log_error)?;
        writeln!(out, "{}", root_text(&name, &root))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn root_text(shard: &str, root: &Root) -> String {
    format!("{shard}:{}:{}", root.entries, root.to_hex())
}

/// Reads `SHARD:ENTRIES:HASH`; a shard's name may have colons.
fn read_root(text: &str) -> Result<(String, Root)> {
    let read = || {
        let (rest, hash) = text.trim().rsplit_once(':')?;
        let (shard, entries) = rest.rsplit_once(':')?;
        let bytes = (0..hash.len() / 2).map(|at| u8::from_str_radix(hash.get(2 * at..2 * at + 2)?, 16).ok());
        let hash: Hash = bytes.collect::<Option<Vec<u8>>>().filter(|_| hash.len() == 64)?.try_into().ok()?;
        Some((shard.to_string(), Root { entries: entries.parse().ok()?, hash }))
    };
    read().ok_or_else(|| {
        Error::fix(SqlState::PARAMETER, format!("'{text}' is no root"))
            .with_hint("give it as polder log root printed it")
    })
}

fn verify(log: &Inspection, roots: &[String], out: &mut dyn Write) -> Result<ExitCode, Stop> {
    let roots = roots.iter().map(|text| read_root(text)).collect::<Result<Vec<_>>>()?;
    roots.iter().try_for_each(|(shard, _)| known(log, shard))?;
    let mut first = None;
    for name in log.shards().map_err(log_error)? {
        let mut expected = roots.iter().filter(|(shard, _)| *shard == name).map(|(_, root)| *root).peekable();
        if expected.peek().is_none() {
            first = first.or(report(&log.verify(&name, None), None, out)?);
        }
        for root in expected {
            first = first.or(report(&log.verify(&name, Some(root)), Some(&root), out)?);
        }
    }
    match first {
        None => Ok(ExitCode::SUCCESS),
        Some(problem) => Err(problem.into()),
    }
}

/// Tells what was found in a shard; the first problem, if there is one.
fn report(found: &VerifyReport, expected: Option<&Root>, out: &mut dyn Write) -> Result<Option<Error>, Stop> {
    let VerifyReport { shard, entries, bytes, .. } = found;
    let against = match (found.expectation, expected) {
        (Expectation::SelfConsistencyOnly, _) => {
            "self-consistency only: without a root kept elsewhere, a rewritten log cannot be told".to_string()
        }
        (Expectation::Met, Some(root)) => format!("it begins with the {} entries of the given root", root.entries),
        (Expectation::NotMet, Some(root)) => {
            format!("its first {} entries are not those of the given root, or it has fewer", root.entries)
        }
        _ => "the damage leaves no answer".to_string(),
    };
    let verdict = if found.is_good() { "ok" } else { "DAMAGED" };
    writeln!(out, "{shard}: {verdict}, {entries} entries, {bytes} bytes; {against}")?;
    for problem in &found.problems {
        writeln!(out, "  {}", problem.message())?;
    }
    if found.is_good() {
        return Ok(None);
    }
    let message = match found.first_damage() {
        Some(damage) => format!("the log is damaged at {damage}"),
        None => format!("shard \"{shard}\" is not what it should be"),
    };
    let problem = Error::new(Kind::Repair, SqlState::DAMAGED, message);
    let problem = match found.problems.first() {
        Some(first) => problem.with_detail(first.message().to_string()),
        None => problem.with_detail(against),
    };
    Ok(Some(problem.with_hint("restore the shard from a copy; what is derived from it can be made again")))
}

fn known(log: &Inspection, shard: &str) -> Result<()> {
    let shards = log.shards().map_err(log_error)?;
    if shards.iter().any(|known| known == shard) {
        return Ok(());
    }
    Err(Error::fix(SqlState::NO_OBJECT, format!("shard \"{shard}\" does not exist"))
        .with_hint(format!("the shards are: {}", shards.join(", "))))
}
