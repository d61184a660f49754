//! A shard as its users hold it: a thread that owns the [`Writer`], and handles that send to it and read beside it.
//!
//! The thread is named `log <shard>`, belongs to the [`Log`](super::Log) that opened it, and ends when that is closed.
//! Its queue holds so many bytes; who appends more waits for room.

use super::clock::Clock;
use super::entries::{Entries, From, Schemas, Until};
use super::entry::{NewEntry, SpoolPlace};
use super::header::EntryKind;
use super::pending::{Pending, block_on, closed};
use super::tree::{ConsistencyProof, InclusionProof, Root};
use super::view::{DurableEnd, Shared, View};
use super::writer::{Appended, Decide, Item, TrimPolicy, TrimReport, Writer};
use super::{CommitTime, EntryNumber, Error, Offset, Result, VerifyReport, audit, inspect};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// A handle on a shard. Cheap to clone; all handles and readers share one writer.
#[derive(Clone)]
pub struct Shard(Arc<Inner>);

struct Inner {
    shared: Shared,
    view: Arc<RwLock<View>>,
    schemas: Arc<Schemas>,
    end: watch::Receiver<DurableEnd>,
    commands: Mutex<Option<Sender<Command>>>,
    room: Arc<Semaphore>,
    queue_kib: u32,
    spools: Arc<AtomicU64>,
    holds: Arc<Holds>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a shard's thread works.
#[derive(Clone)]
pub(crate) struct ShardOptions {
    /// How many bytes of entries may wait.
    pub(crate) queue_bytes: usize,
    /// How many bytes of entries one commit takes at most, beside its first entry.
    pub(crate) group_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

enum Command {
    Append(Item, oneshot::Sender<Result<Appended>>, OwnedSemaphorePermit),
    Trim(TrimPolicy, Arc<Holds>, oneshot::Sender<Result<TrimReport>>),
}

/// Offsets that trimming must keep, by the name of who needs them.
#[derive(Default)]
struct Holds(Mutex<BTreeMap<String, Offset>>);

impl Shard {
    /// Starts the thread of a shard.
    pub(crate) fn run(shared: Shared, writer: Writer, options: ShardOptions) -> Result<Self> {
        let (commands, queue) = channel();
        let (told, end) = watch::channel(writer.end());
        let queue_kib = u32::try_from(options.queue_bytes >> 10).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        let view = writer.view();
        let thread = thread::Builder::new().name(format!("log {}", shared.name));
        let thread = thread.spawn(move || Service { writer, queue, told, options }.run());
        let thread = thread.map_err(|error| Error::io("start the thread of a shard", error))?;
        Ok(Self(Arc::new(Inner {
            shared,
            view,
            schemas: Arc::default(),
            end,
            commands: Mutex::new(Some(commands)),
            room: Arc::new(Semaphore::new(queue_kib as usize)),
            queue_kib,
            spools: Arc::default(),
            holds: Arc::default(),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// The name of the shard.
    pub fn name(&self) -> &str {
        &self.0.shared.name
    }

    /// An entry that goes to a spool beside the shard if it grows large, so that it may exceed memory.
    pub fn new_entry(&self, kind: EntryKind) -> NewEntry {
        NewEntry::spooled(kind, SpoolPlace::of(&self.0.shared, Arc::clone(&self.0.spools)))
    }

    /// Appends an entry. Blocks the thread while the queue is full, so async code calls
    /// [`append_async`](Self::append_async).
    pub fn append(&self, entry: NewEntry) -> Pending {
        block_on(self.append_async(entry))
    }

    /// Appends an entry, waiting for room in the queue. The order of appends is the order in which they find room; a
    /// future that is dropped while it waits has appended nothing.
    pub async fn append_async(&self, entry: NewEntry) -> Pending {
        self.send(Item::Entry(Box::new(entry))).await
    }

    /// Appends what `decide` makes of the end of the log: nothing is appended between the end that it is shown and its
    /// entry. It may refuse with [`Error::declined`]. It runs in the thread of the shard, so it must be quick. What it holds
    /// while it waits, `memory_bytes`, counts as for [`append`](Self::append).
    pub async fn append_decided(
        &self,
        memory_bytes: usize,
        decide: impl FnOnce(DurableEnd) -> Result<NewEntry> + Send + 'static,
    ) -> Pending {
        self.send(Item::Decide(Box::new(decide) as Decide, memory_bytes)).await
    }

    async fn send(&self, item: Item) -> Pending {
        let (answer, pending) = oneshot::channel();
        let kib = 1 + u32::try_from(item.memory_bytes() >> 10).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.0.room).acquire_many_owned(kib.min(self.0.queue_kib)).await;
        match room {
            Ok(room) => self.command(Command::Append(item, answer, room)),
            Err(_) => drop(answer.send(Err(closed()))),
        }
        Pending(pending)
    }

    /// Sends a command; if the shard is closed its answer is dropped, which the waiter understands.
    fn command(&self, command: Command) {
        if let Some(commands) = self.0.commands.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = commands.send(command);
        }
    }

    /// How far the shard is durable.
    pub fn end(&self) -> DurableEnd {
        self.view().end
    }

    /// How many bytes of entries are durable in its segments.
    pub fn stored_bytes(&self) -> u64 {
        let view = self.view();
        view.segments.iter().map(|segment| view.bytes_of(segment)).sum()
    }

    /// How often a commit was synced since the log was opened.
    pub fn sync_count(&self) -> u64 {
        self.0.shared.syncs.load(Ordering::Relaxed)
    }

    /// Tells each new durable end. Nobody polls: the writer wakes who waits.
    pub fn end_watch(&self) -> watch::Receiver<DurableEnd> {
        self.0.end.clone()
    }

    /// The first offset that is kept.
    pub fn start(&self) -> Offset {
        self.view().start().base_offset
    }

    /// The first entry that is kept.
    pub fn start_entry(&self) -> EntryNumber {
        self.view().start().base_entry
    }

    /// The entries with records in `range`, as far as they are durable now. An entry that begins before the range and
    /// ends in it is yielded whole.
    pub fn read(&self, range: Range<Offset>) -> Result<Entries> {
        let view = self.view();
        let until = Until::Offset(range.end.min(view.end.offset));
        Entries::new(view, Arc::clone(&self.0.schemas), From::Offset(range.start), until)
    }

    /// The entries from `offset` to the durable end.
    pub fn read_from(&self, offset: Offset) -> Result<Entries> {
        self.read(offset..Offset(u64::MAX))
    }

    /// The entries with these numbers, as far as they are durable now.
    pub fn read_entries(&self, range: Range<EntryNumber>) -> Result<Entries> {
        let view = self.view();
        let until = Until::Entry(range.end.min(view.end.entries));
        Entries::new(view, Arc::clone(&self.0.schemas), From::Entry(range.start), until)
    }

    /// The first offset that was committed at `time` or later; the end if none was.
    pub fn offset_at(&self, time: CommitTime) -> Result<Offset> {
        let view = self.view();
        let end = view.end.offset;
        let entries = Entries::new(view, Arc::clone(&self.0.schemas), From::Time(time), Until::Offset(end))?;
        for entry in entries {
            let header = entry?.header().clone();
            if header.commit_time >= time {
                return Ok(header.first_offset);
            }
        }
        Ok(end)
    }

    /// Keeps everything from `offset` on from being trimmed, until the hold is [released](Self::release) or moved by
    /// holding another offset under its name. Holds live in memory: their owners set them when they start.
    pub fn hold(&self, name: impl Into<String>, offset: Offset) -> Result<()> {
        // Trimming holds this lock until it has published where the shard starts, so a hold is kept or refused.
        let mut holds = self.0.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = self.start();
        if offset < start {
            return Err(Error::fix(format!("offset {offset} was trimmed; the shard starts at offset {start}")));
        }
        holds.insert(name.into(), offset);
        Ok(())
    }

    /// Lets go of a hold.
    pub fn release(&self, name: &str) {
        self.0.holds.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The holds, by name.
    pub fn holds(&self) -> BTreeMap<String, Offset> {
        self.0.holds.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the oldest sealed segments that the policy lets go and nobody holds.
    pub fn trim(&self, policy: TrimPolicy) -> Pending<TrimReport> {
        let (answer, pending) = oneshot::channel();
        self.command(Command::Trim(policy, Arc::clone(&self.0.holds), answer));
        Pending(pending)
    }

    /// The Merkle root over the first `entries` entries.
    pub fn root(&self, entries: EntryNumber) -> Result<Root> {
        self.check_size(entries)?;
        inspect::root(&self.0.shared, entries.0)
    }

    /// The Merkle root over all entries that are durable now.
    pub fn root_now(&self) -> Result<Root> {
        self.root(self.end().entries)
    }

    /// Shows that the log of `older` entries is the beginning of the log of `newer` entries.
    pub fn consistency_proof(&self, older: EntryNumber, newer: EntryNumber) -> Result<ConsistencyProof> {
        self.check_size(newer)?;
        inspect::consistency_proof(&self.0.shared, older.0, newer.0)
    }

    /// Shows that `entry` is in the log of `entries` entries.
    pub fn inclusion_proof(&self, entry: EntryNumber, entries: EntryNumber) -> Result<InclusionProof> {
        self.check_size(entries)?;
        inspect::inclusion_proof(&self.0.shared, entry, entries.0)
    }

    fn check_size(&self, entries: EntryNumber) -> Result<()> {
        let end = self.end().entries;
        if entries > end {
            return Err(Error::fix(format!("the shard has {end} entries, not {entries}")));
        }
        Ok(())
    }

    /// Reads every byte of the shard and compares all files with each other, and the log with a root that was noted
    /// before.
    pub fn verify(&self, expected: Option<Root>) -> VerifyReport {
        audit::verify(&self.0.shared, &self.view(), expected)
    }

    fn view(&self) -> View {
        self.0.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes no more commands, answers those that wait, and ends the thread.
    pub(crate) fn close(&self) {
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.0.room.close();
        if let Some(thread) = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
            && thread.join().is_err()
        {
            tracing::error!(shard = %self.name(), "the thread of the shard has panicked");
        }
    }
}

/// What the thread of a shard runs.
struct Service {
    writer: Writer,
    queue: Receiver<Command>,
    told: watch::Sender<DurableEnd>,
    options: ShardOptions,
}

impl Service {
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            self.serve(first);
        }
        self.writer.close();
    }

    fn serve(&mut self, command: Command) {
        match command {
            Command::Append(item, answer, room) => {
                // The answers are on their way before a full segment is sealed, which takes syncs of its own.
                let next = self.commit(item, answer, room);
                self.writer.settle();
                if let Some(next) = next {
                    self.serve(next);
                }
            }
            Command::Trim(policy, holds, answer) => {
                let holds = holds.0.lock().unwrap_or_else(PoisonError::into_inner);
                let hold = holds.values().min().copied().unwrap_or(Offset(u64::MAX));
                let report = self.writer.trim(&policy, hold);
                drop(holds);
                // Whoever dropped the other end does not want to know.
                let _ = answer.send(report);
            }
        }
    }

    /// Takes what waits, commits it as one group, and answers. Gives back a command that ended the group.
    fn commit(
        &mut self,
        item: Item,
        answer: oneshot::Sender<Result<Appended>>,
        room: OwnedSemaphorePermit,
    ) -> Option<Command> {
        let mut other = None;
        let mut bytes = item.memory_bytes();
        let (mut items, mut answers, mut rooms) = (vec![item], vec![answer], vec![room]);
        while bytes < self.options.group_bytes
            && let Ok(command) = self.queue.try_recv()
        {
            match command {
                Command::Append(item, answer, room) => {
                    bytes += item.memory_bytes();
                    items.push(item);
                    answers.push(answer);
                    rooms.push(room);
                }
                command => {
                    other = Some(command);
                    break;
                }
            }
        }
        let results = self.writer.append_group(items, self.options.clock.now());
        drop(rooms);
        self.told.send_if_modified(|end| std::mem::replace(end, self.writer.end()) != self.writer.end());
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever dropped the other end does not want to know.
            let _ = answer.send(result);
        }
        other
    }
}
