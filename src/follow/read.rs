//! Reads entries for a follower on a thread that may block, and turns them into what a store is told.

use crate::commit::{log_error, position};
use crate::definitions::{changes_of, dataset_id, definitions_in};
use crate::epoch;
use crate::requests::{Rejection, rejection_of};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt;
use polder_catalog::{
    CatalogName, ChangePart, Definition, Entry, Error, Kind, PART_ROWS_MAX, PartStream, Result, SqlState, WEIGHT_COLUMN,
};
use polder_log::store::{self, CommitTime, EntryHeader, EntryKind, EntryNumber, Offset, Part, Shard};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Entries read ahead of the store, and parts of one of them: an entry may exceed memory.
const ENTRIES_AHEAD: usize = 16;
const PARTS_AHEAD: usize = 2;

/// Entries on their way to a follower.
pub(super) struct Reading(mpsc::Receiver<Result<Read>>);

/// What became of one entry of the log.
pub(super) struct Read {
    /// What the store is told; nothing, if the entry is about others.
    pub(super) entry: Option<Entry>,
    pub(super) end: Offset,
    pub(super) number: EntryNumber,
    pub(super) time: CommitTime,
    /// The request or effect that the entry is of, or that it emits effects; and why it was refused.
    pub(super) request: Option<(EntryHeader, Option<Rejection>)>,
    /// How far each shard counts, if the entry is an epoch.
    pub(super) cut: Option<Vec<u64>>,
}

impl Read {
    /// The tables that the entry creates.
    pub(super) fn tables(&self) -> impl Iterator<Item = u64> {
        let definitions = self.entry.iter().flat_map(|entry| &entry.definitions);
        definitions.filter_map(|definition| definition.dataset().0.parse().ok())
    }
}

impl Reading {
    pub(super) fn start(main: Shard, range: Range<Offset>, catalog: CatalogName, tables: BTreeSet<u64>) -> Self {
        let (sender, receiver) = mpsc::channel(ENTRIES_AHEAD);
        let reader = Reader { shard: main.name().to_string(), catalog, tables, sender };
        tokio::task::spawn_blocking(move || reader.run(&main, range));
        Self(receiver)
    }

    pub(super) async fn next(&mut self) -> Option<Result<Read>> {
        self.0.recv().await
    }
}

struct Reader {
    shard: String,
    catalog: CatalogName,
    tables: BTreeSet<u64>,
    sender: mpsc::Sender<Result<Read>>,
}

/// The follower listens no more.
struct Gone;

impl Reader {
    fn run(mut self, main: &Shard, range: Range<Offset>) {
        let entries = match main.read(range) {
            Ok(entries) => entries,
            Err(error) => return drop(self.sender.blocking_send(Err(log_error(error)))),
        };
        for entry in entries {
            let read = entry.map_err(log_error).and_then(|entry| self.entry(&entry));
            match read {
                Ok(Ok(())) => {}
                Ok(Err(Gone)) => return,
                Err(error) => return drop(self.sender.blocking_send(Err(error))),
            }
        }
    }

    fn entry(&mut self, entry: &store::Entry) -> Result<Result<(), Gone>> {
        let end = entry.header().end_offset();
        let definitions = self.definitions(entry)?;
        let mut told = None;
        if !definitions.is_empty() {
            told = match self.tell(entry, definitions)? {
                Ok(parts) => Some(parts),
                Err(Gone) => return Ok(Err(Gone)),
            };
        }
        // The store's own entries say what columns are, and have no rows.
        let parts = (entry.header().kind != EntryKind::SCHEMA).then(|| entry.parts());
        for part in parts.into_iter().flatten() {
            let changes = match part.map_err(log_error) {
                Ok(part) if !self.tables.contains(&part.id.dataset) => continue,
                Ok(part) => changes(entry, &part),
                Err(error) => Err(error),
            };
            let parts = match told.take() {
                Some(parts) => parts,
                None => match self.tell(entry, Vec::new())? {
                    Ok(parts) => parts,
                    Err(Gone) => return Ok(Err(Gone)),
                },
            };
            let failed = changes.is_err();
            let changes = match changes {
                Ok(changes) => changes.into_iter().map(Told::Part).collect(),
                // The store must not take what came before for the whole.
                Err(error) => vec![Told::Failed(error)],
            };
            for change in changes {
                if parts.blocking_send(change).is_err() {
                    // The store has the entry already, or gave up on it: the follower knows which.
                    return Ok(Ok(()));
                }
            }
            if failed {
                return Ok(Ok(()));
            }
            told = Some(parts);
        }
        if let Some(parts) = told {
            let _ = parts.blocking_send(Told::End);
            return Ok(Ok(()));
        }
        let cut = epoch::cut_of(entry).map_err(|detail| self.unreadable(entry, detail))?;
        let (number, time) = (entry.header().number, entry.header().commit_time);
        let read = Read { entry: None, end, number, time, request: self.request_of(entry)?, cut };
        Ok(self.sender.blocking_send(Ok(read)).map_err(|_| Gone))
    }

    /// Hands an entry to the follower; its parts go through what is returned.
    fn tell(&self, entry: &store::Entry, definitions: Vec<Definition>) -> Result<Result<mpsc::Sender<Told>, Gone>> {
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let header = entry.header();
        let told = Entry {
            position: position([(self.shard.clone(), header.end_offset())]),
            time: time(header.commit_time),
            request_id: header.attributes.request_id.clone(),
            definitions,
            parts: stream_of(parts),
        };
        let (end, number, time) = (header.end_offset(), header.number, header.commit_time);
        let read = Read { entry: Some(told), end, number, time, request: self.request_of(entry)?, cut: None };
        Ok(self.sender.blocking_send(Ok(read)).map(|()| sender).map_err(|_| Gone))
    }

    /// What the entry defines in this catalog.
    fn definitions(&mut self, entry: &store::Entry) -> Result<Vec<Definition>> {
        let changes = changes_of(entry).map_err(|detail| self.unreadable(entry, detail))?;
        let definitions = definitions_in(&changes, &self.catalog);
        let created = definitions.iter().filter(|definition| matches!(definition, Definition::Create(_)));
        self.tables.extend(created.filter_map(|definition| definition.dataset().0.parse::<u64>().ok()));
        Ok(definitions)
    }

    fn request_of(&self, entry: &store::Entry) -> Result<Option<(EntryHeader, Option<Rejection>)>> {
        let header = entry.header();
        let is_told = header.attributes.digest.is_some() || header.attributes.origin.is_some();
        if !is_told && header.kind != EntryKind::REQUEST {
            return Ok(None);
        }
        let rejection = rejection_of(entry).map_err(|detail| self.unreadable(entry, detail))?;
        Ok(Some((header.clone(), rejection)))
    }

    fn unreadable(&self, entry: &store::Entry, detail: String) -> Error {
        let message = format!("entry {} of the log's shard {} cannot be read", entry.header().number.0, self.shard);
        Error::new(Kind::Repair, SqlState::DAMAGED, message).with_detail(detail)
    }
}

/// What the parts of one entry are, on their way. An end that is not told is no end.
enum Told {
    Part(ChangePart),
    Failed(Error),
    End,
}

/// The parts as the store reads them.
fn stream_of(parts: mpsc::Receiver<Told>) -> PartStream {
    let next = |parts: Option<mpsc::Receiver<Told>>| async move {
        let mut parts = parts?;
        match parts.recv().await {
            Some(Told::Part(part)) => Some((Ok(part), Some(parts))),
            Some(Told::Failed(error)) => Some((Err(error), None)),
            Some(Told::End) => None,
            None => Some((Err(Error::report("reading an entry broke off")), None)),
        }
    };
    futures::stream::unfold(Some(parts), next).boxed()
}

/// A part as the contract has it: rows, then their weights, in bounded pieces.
fn changes(entry: &store::Entry, part: &Part) -> Result<Vec<ChangePart>> {
    let schema = entry.schema(part.id).map_err(log_error)?;
    let rows = part.to_batch(&schema, None).map_err(log_error)?;
    let weights = part.weights.clone().unwrap_or_else(|| vec![1; rows.num_rows()]);
    let weights: ArrayRef = Arc::new(Int64Array::from(weights));
    let weight = Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([weight]).collect();
    let columns = rows.columns().iter().cloned().chain([weights]).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::report("weights do not fit their rows").with_source(error))?;
    let starts = (0..batch.num_rows()).step_by(PART_ROWS_MAX);
    let pieces = starts.map(|start| batch.slice(start, PART_ROWS_MAX.min(batch.num_rows() - start)));
    Ok(pieces.map(|batch| ChangePart { dataset: dataset_id(part.id.dataset), batch }).collect())
}

fn time(commit: CommitTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(commit.0).unwrap_or(0))
}
