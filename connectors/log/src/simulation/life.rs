//! One life of a shard: what is done to it, and what must be so.

use super::Outcome;
use super::chance::Chance;
use super::disk::SimFiles;
use crate::store::entry::SpoolPlace;
use crate::store::recovery::open_shard;
use crate::store::view::Shared;
use crate::store::writer::{Item, Writer, WriterOptions};
use crate::store::{
    Appended, CommitTime, Entry, EntryKind, Error, Kind, Log, LogOptions, NewEntry, Offset, Result as LogResult, Root,
    SchemaId, TrimPolicy, audit, inspect, reader_of,
};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// What the model knows of an entry that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    id: u64,
    at: Appended,
}

/// One life.
pub(super) struct Life {
    chance: Chance,
    files: SimFiles,
    shared: Shared,
    writer: Option<Writer>,
    /// What the log holds, from its start on.
    known: Vec<Known>,
    /// The group whose outcome is not known, in order.
    unknown: Vec<u64>,
    roots: Vec<Root>,
    next_id: u64,
    time: i64,
    outcome: Outcome,
}

const FOLDER: &str = "/log";

type Checked<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($holds:expr, $($why:tt)*) => {
        if !$holds {
            return Err(format!($($why)*));
        }
    };
}

impl Life {
    pub(super) fn new(mut chance: Chance) -> Self {
        let files = SimFiles::new(chance.split());
        let folder = std::path::Path::new(FOLDER).join("main");
        let shared = Shared {
            files: Arc::new(files.clone()),
            name: "main".into(),
            folder: folder.into(),
            index_bytes: 200,
            syncs: Arc::default(),
        };
        let time = chance.below(1_000_000) as i64;
        Self {
            chance,
            files,
            shared,
            writer: None,
            known: Vec::new(),
            unknown: Vec::new(),
            roots: Vec::new(),
            next_id: 1,
            time,
            outcome: Outcome::default(),
        }
    }

    pub(super) fn live(mut self) -> Checked<Outcome> {
        self.be_born()?;
        for _ in 0..10 + self.chance.below(40) {
            self.maybe_trouble();
            self.step()?;
        }
        self.files.calm();
        self.writer = None;
        self.files.crash();
        self.reopen_calmly()?;
        self.outcome.crashes = self.files.crashes();
        Ok(self.outcome)
    }

    /// The log is made, however often that is interrupted.
    fn be_born(&mut self) -> Checked {
        let options = |files: &SimFiles| LogOptions {
            files: Arc::new(files.booted()),
            clock: Arc::new(|| CommitTime(0)),
            ..LogOptions::default()
        };
        while self.chance.once_in(2) {
            self.files.crash_after(self.chance.below(40));
            if let Err(error) = Log::open(FOLDER, options(&self.files)) {
                ensure!(error.kind() != Kind::Repair, "making the log was interrupted, then: {error}");
            }
            self.files.crash();
        }
        self.files.calm();
        Log::open(FOLDER, options(&self.files)).map_err(|error| format!("the log cannot be made: {error}"))?;
        self.reopen_calmly()
    }

    fn maybe_trouble(&mut self) {
        match self.chance.below(12) {
            0 => self.files.crash_after(self.chance.below(60)),
            1 => self.files.set_faults(3 + self.chance.below(60)),
            2 => self.files.set_free(Some(self.chance.below(3_000))),
            3..6 => self.files.calm(),
            _ => {}
        }
    }

    fn step(&mut self) -> Checked {
        match self.chance.below(20) {
            0..11 => self.append(),
            11..14 => self.read(),
            14 => self.trim(),
            15 => self.note_root(),
            16 => self.flip(),
            17 => self.verify(),
            _ => self.restart(),
        }
    }

    fn append(&mut self) -> Checked {
        let ids: Vec<u64> = (0..1 + self.chance.below(6)).map(|offset| self.next_id + offset).collect();
        self.next_id += ids.len() as u64;
        self.time += self.chance.below(10) as i64 - 3;
        let mut items = Vec::new();
        for id in &ids {
            match new_entry(*id, &self.shared) {
                Ok(entry) => items.push((*id, Item::Entry(Box::new(entry)))),
                Err(_) => self.outcome.failed += 1,
            }
        }
        let Some(writer) = &mut self.writer else { return self.restart() };
        let crashes = self.files.crashes();
        let was_poisoned = writer.poison.is_some();
        let ids: Vec<u64> = items.iter().map(|(id, _)| *id).collect();
        let answers = writer.append_group(items.into_iter().map(|(_, item)| item).collect(), CommitTime(self.time));
        let is_lost = writer.poison.is_some() || self.files.crashes() > crashes;
        // If the group is durable, those of it that failed did so alone and for certain.
        let is_lost = is_lost && answers.iter().all(Result::is_err);
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Ok(at) => {
                    ensure!(self.unknown.is_empty(), "entry {id} was acknowledged after one of unknown outcome");
                    self.acknowledge(id, at)?;
                }
                Err(error) if is_lost && !was_poisoned && error.kind() == Kind::Reopen => self.unknown.push(id),
                Err(_) => self.outcome.failed += 1,
            }
        }
        if is_lost && !was_poisoned {
            self.outcome.poisoned += u64::from(self.files.crashes() == crashes);
            self.outcome.unknown += self.unknown.len() as u64;
        }
        if self.chance.once_in(2)
            && let Some(writer) = &mut self.writer
        {
            writer.settle();
        }
        Ok(())
    }

    fn acknowledge(&mut self, id: u64, at: Appended) -> Checked {
        self.outcome.acknowledged += 1;
        if let Some(last) = self.known.last() {
            ensure!(at.entry > last.at.entry, "entry numbers do not grow: {at:?} after {last:?}");
            ensure!(at.first_offset == last.at.end_offset(), "offsets are not dense: {at:?} after {last:?}");
            ensure!(at.commit_time >= last.at.commit_time, "time goes back: {at:?} after {last:?}");
        }
        self.known.push(Known { id, at });
        Ok(())
    }

    /// Reads everything; what is wrong with the system is no error of the log.
    fn read(&mut self) -> Checked {
        let Some(writer) = &self.writer else { return self.restart() };
        match read_all(writer) {
            Ok(read) => ensure!(read == self.known, "the reader sees {}", differs(&read, &self.known)),
            Err(Wrong::System(error)) => ensure!(error.kind() != Kind::Repair, "reading without damage: {error}"),
            Err(Wrong::Log(why)) => return Err(why),
        }
        Ok(())
    }

    fn trim(&mut self) -> Checked {
        let Some(writer) = &mut self.writer else { return self.restart() };
        let end = writer.end().offset.0;
        let before = Offset(self.chance.below(end + 1));
        let hold = Offset(self.chance.below(end + 1));
        let policy = TrimPolicy { before: Some(before), ..TrimPolicy::default() };
        match writer.trim(&policy, hold) {
            Ok(report) => {
                ensure!(
                    report.start <= hold && report.start <= before || report.segments == 0,
                    "trimmed too much: {report:?}"
                );
                self.outcome.trimmed += report.segments as u64;
                self.known.retain(|known| known.at.first_offset >= report.start);
            }
            // The record may be durable all the same: then the next opening completes it.
            Err(_) => self.writer = None,
        }
        Ok(())
    }

    fn note_root(&mut self) -> Checked {
        let Some(writer) = &self.writer else { return self.restart() };
        let entries = writer.end().entries;
        if let Ok(root) = inspect::root(&self.shared, entries.0) {
            ensure!(root == Root::of(&writer.tail.peaks), "the stored tree has another root than the writer");
            self.roots.push(root);
        }
        Ok(())
    }

    fn verify(&mut self) -> Checked {
        self.files.calm();
        self.reopen_calmly()?;
        let Some(writer) = &self.writer else { return Ok(()) };
        let view = writer.view().read().map_err(|_| "a lock is poisoned")?.clone();
        let report = audit::verify(&self.shared, &view, self.roots.last().copied());
        let only_derived = report
            .problems
            .iter()
            .all(|error| error.damage().is_some_and(|damage| damage.file == "tree" || damage.file.ends_with(".idx")));
        ensure!(only_derived && report.root.is_some(), "verification finds {report:?}");
        Ok(())
    }

    /// A bit flips while nobody looks: either it is named, or everything is there.
    fn flip(&mut self) -> Checked {
        self.files.calm();
        self.reopen_calmly()?;
        if let Some(writer) = &mut self.writer {
            writer.close();
        }
        self.writer = None;
        let restore = self.files.snapshot();
        let Some(place) = self.files.flip(&mut self.chance) else { return Ok(()) };
        match self.open() {
            Err(error) => {
                ensure!(error.kind() == Kind::Repair, "a flipped bit in {place} is called {error}");
                self.outcome.flips_named += 1;
            }
            Ok(writer) => match read_all(&writer) {
                Ok(read) => {
                    ensure!(
                        read == self.known,
                        "a flipped bit in {place} is not noticed: {}",
                        differs(&read, &self.known)
                    );
                    self.outcome.flips_harmless += 1;
                }
                Err(Wrong::System(error)) => {
                    ensure!(error.kind() == Kind::Repair, "a flipped bit in {place} is called {error}");
                    self.outcome.flips_named += 1;
                }
                Err(Wrong::Log(why)) => return Err(format!("a flipped bit in {place}: {why}")),
            },
        }
        restore(&self.files);
        self.reopen_calmly()
    }

    /// Ends the writer, well or badly, and opens the shard, perhaps in vain.
    fn restart(&mut self) -> Checked {
        if let Some(mut writer) = self.writer.take()
            && self.chance.once_in(2)
        {
            writer.close();
        }
        if self.chance.once_in(2) {
            self.files.crash();
        }
        match self.open() {
            Ok(writer) => self.recovered(writer),
            Err(error) => {
                ensure!(error.kind() != Kind::Repair, "opening without damage: {error}");
                Ok(())
            }
        }
    }

    fn reopen_calmly(&mut self) -> Checked {
        self.files.calm();
        self.writer = None;
        let writer = self.open().map_err(|error| format!("opening without faults: {error}"))?;
        self.recovered(writer)
    }

    /// A new process opens the shard.
    fn open(&mut self) -> LogResult<Writer> {
        self.shared.files = Arc::new(self.files.booted());
        open_shard(self.shared.clone(), WriterOptions { segment_bytes: 1_500, buffer_bytes: 1_000, fill_from: 200 })
    }

    /// Checks what recovery has found, which is what the log holds from now on.
    fn recovered(&mut self, writer: Writer) -> Checked {
        let read = match read_all(&writer) {
            Ok(read) => read,
            Err(Wrong::System(error)) => {
                ensure!(error.kind() != Kind::Repair, "reading without damage after recovery: {error}");
                // Not checked, so not known: the shard is opened again.
                return Ok(());
            }
            Err(Wrong::Log(why)) => return Err(why),
        };
        let start = writer.view().read().map_err(|_| "a lock is poisoned")?.start().base_offset;
        self.known.retain(|known| known.at.first_offset >= start);
        let count = self.known.len();
        ensure!(read.len() >= count && read[..count] == self.known, "recovery lost: {}", differs(&read, &self.known));
        let found: Vec<_> = read[count..].iter().map(|known| known.id).collect();
        ensure!(
            self.unknown.starts_with(&found),
            "recovery found {found:?}, of unknown outcome were {:?}",
            self.unknown
        );
        self.outcome.found += found.len() as u64;
        self.unknown.clear();
        self.known = read;
        self.check_roots(&writer)?;
        self.writer = Some(writer);
        Ok(())
    }

    fn check_roots(&self, writer: &Writer) -> Checked {
        let now = Root::of(&writer.tail.peaks);
        for noted in &self.roots {
            ensure!(
                noted.entries <= now.entries,
                "a root of {} entries was noted, now there are {}",
                noted.entries,
                now.entries
            );
            // A failing disk gives no proof just now; but nothing here loses the nodes for good.
            let proof = match inspect::consistency_proof(&self.shared, noted.entries, now.entries) {
                Err(error) if error.kind() == Kind::Retry => continue,
                proof => {
                    proof.map_err(|error| format!("the root of {} entries has no proof: {error}", noted.entries))?
                }
            };
            ensure!(proof.verify(noted, &now), "the root of {} entries is not the beginning of {now:?}", noted.entries);
        }
        Ok(())
    }
}

/// Why reading did not end well.
enum Wrong {
    System(Error),
    Log(String),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::System(error)
    }
}

fn read_all(writer: &Writer) -> Result<Vec<Known>, Wrong> {
    let mut read = Vec::new();
    let view = writer.view().read().map_err(|_| Wrong::Log("a lock is poisoned".to_string()))?.clone();
    let end = view.end;
    let mut last = None;
    for entry in reader_of(view)? {
        let entry = entry?;
        last = Some((entry.header().number + 1, entry.header().end_offset()));
        if entry.header().kind != EntryKind::SCHEMA {
            read.push(Known { id: identify(&entry)?, at: appended(&entry) });
        }
    }
    match last {
        Some(last) if last != (end.entries, end.offset) => {
            Err(Wrong::Log(format!("the reader ends at {last:?}, not at {end:?}")))
        }
        _ => Ok(read),
    }
}

fn appended(entry: &Entry) -> Appended {
    let header = entry.header();
    Appended {
        entry: header.number,
        first_offset: header.first_offset,
        record_count: header.record_count,
        commit_time: header.commit_time,
    }
}

/// How large an entry is, by its id: mostly small, sometimes of several segments, seldom of several frames.
fn payload(id: u64) -> Vec<u8> {
    let mut chance = Chance::new(id);
    let bytes = match chance.below(400) {
        0 => 1_050_000 + chance.below(20_000),
        1..40 => chance.below(4_000),
        _ => chance.below(60),
    };
    let mut payload = id.to_le_bytes().to_vec();
    payload.extend((0..bytes).map(|index| (index as u8).wrapping_mul(31) ^ id as u8));
    payload
}

/// Entries of so many bytes go through a spool, so that some do.
const SPOOL_BYTES: usize = 2_000;

const ROWS: SchemaId = SchemaId { dataset: 3, schema: 1 };

/// One entry in three holds rows, so that schemas are written.
fn has_rows(id: u64) -> bool {
    id.is_multiple_of(3)
}

fn rows(id: u64) -> LogResult<RecordBatch> {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let ids = Int64Array::from_iter_values((0..1 + id % 4).map(|row| (id * 10 + row) as i64));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]).map_err(|error| Error::declined(error.to_string()))
}

fn new_entry(id: u64, shared: &Shared) -> LogResult<NewEntry> {
    let entry = NewEntry::spooled(EntryKind::DATA, SpoolPlace::of(shared, Arc::new(id.into())));
    let mut entry = entry.spooled_at(SPOOL_BYTES);
    if has_rows(id) {
        entry.add_batch(ROWS, &rows(id)?)?;
    } else {
        entry.add_bytes(1, &payload(id))?;
    }
    Ok(entry)
}

/// The id of an entry, after all of its content was compared with what an entry of this id holds.
fn identify(entry: &Entry) -> Result<u64, Wrong> {
    let part = entry.parts().next().ok_or_else(|| Wrong::Log("an entry has no parts".to_string()))??;
    let (id, whole) = if part.id == ROWS {
        let batch = part.to_batch(&entry.schema(ROWS)?, None)?;
        let id = batch.column(0).as_primitive::<Int64Type>().value(0) as u64 / 10;
        (id, batch == rows(id)?)
    } else {
        let id = part.payload.first_chunk().map(|id| u64::from_le_bytes(*id)).unwrap_or_default();
        (id, part.payload == payload(id))
    };
    if whole && has_rows(id) == (part.id == ROWS) { Ok(id) } else { Err(Wrong::Log(format!("entry {id} is torn"))) }
}

fn differs(read: &[Known], known: &[Known]) -> String {
    let place = read.iter().zip(known).position(|(read, known)| read != known).unwrap_or(read.len().min(known.len()));
    let around = |entries: &[Known]| entries.get(place).copied();
    let (read_count, known_count) = (read.len(), known.len());
    format!(
        "{read_count} entries, known are {known_count}; at {place}: {:?}, known is {:?}",
        around(read),
        around(known)
    )
}
