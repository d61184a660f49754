//! Opens a shard: decides what is in it, and makes that durable.
//!
//! Sealed segments are not read: their headers, lengths and the chain of their roots are checked. The last segment is
//! read from its start. It ends where the first frame is bad, and there the question is whether that is a **torn
//! tail**, the trace of a commit that nobody was told of, or **damage**. It is damage if
//!
//! 1. the mark says that the place was durable, or
//! 2. a whole frame that starts a commit stands somewhere behind it: that commit began when the place was durable, or
//! 3. the frame is whole, but does not follow what is before it.
//!
//! Damage is an error, and nothing is changed. A torn tail is cut, with a warning. What stands between the mark and
//! the end is then *written again* and synced: an earlier process may have ended because a sync failed, and the kernel
//! then keeps pages that look well and that no later sync writes.

use super::encoding::ipc;
use super::files::{File, Mode};
use super::header::EntryKind;
use super::mark::{MARK, Mark};
use super::part::SchemaId;
use super::scan::{Stop, find_group};
use super::segment::SegmentHeader;
use super::survey::Survey;
use super::tree::{Peaks, Root, TreeFile, TreeReader};
use super::view::{DurableEnd, Segment, Shared, View};
use super::walk::{Passed, Walk, first_part};
use super::writer::{NEW_ENDING, SPOOL_ENDING, Tail, Writer, WriterOptions, create_segment};
use super::{CommitTime, EntryNumber, Error, Offset, Result};
use arrow_schema::SchemaRef;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, RwLock};

/// The name of the file that keeps the Merkle tree.
pub(crate) const TREE: &str = "tree";

/// Makes a shard without entries in a folder that is there. The caller makes the folder durable.
pub(crate) fn create_shard(shared: &Shared) -> Result<()> {
    let header = SegmentHeader {
        shard: shared.name.to_string(),
        base_entry: EntryNumber(0),
        base_offset: Offset(0),
        base_time: CommitTime(i64::MIN),
        previous_entry: EntryNumber(0),
        previous_bytes: 0,
        root: Peaks::default().root(),
    };
    create_segment(shared, &header)?;
    TreeFile::create(shared.files.as_ref(), &shared.path(TREE), &shared.name).map_err(shared.io("create", TREE))?;
    let root = Root::of(&Peaks::default());
    let (position, last_time) = (header.bytes(), header.base_time);
    let mark = Mark { segment: header.base_entry, position, end_offset: header.base_offset, last_time, root };
    let file = open_mark(shared)?;
    file.write_all_at(&mark.encode(), 0).and_then(|()| file.sync_data()).map_err(shared.io("write", MARK))
}

/// Opens a shard to be written.
pub(crate) fn open_shard(shared: Shared, options: WriterOptions) -> Result<Writer> {
    let survey = Survey::take(&shared)?;
    remove_leftovers(&shared, &survey)?;
    let (header, bytes) = survey.last().clone();
    let name = header.stem().segment();
    let file = shared.files.open(&shared.path(&name), Mode::Write).map_err(shared.io("open", &name))?;
    let segment = Segment::active(shared.clone(), &header, Arc::clone(&file));
    let (peaks, tree) = restore_tree(&shared, &survey)?;
    let mut replay = Replay { survey: &survey, segment: &segment, peaks, tree, schemas: BTreeMap::new() };
    let walk = replay.run(&file, bytes)?;
    let Replay { peaks, mut tree, schemas, .. } = replay;
    tree.flush().and_then(|()| tree.cut()).map_err(shared.io("write", TREE))?;
    make_durable(&shared, &name, file.as_ref(), &survey, walk.scan.position(), bytes)?;
    let tail = Tail { position: walk.scan.position(), offset: walk.offset, time: walk.time, peaks };
    segment.set_index(Arc::new(walk.index.clone()));
    let view = view(&shared, &survey, segment, &tail);
    let mark = open_mark(&shared)?;
    // An earlier process may have ended between naming a segment and making that name durable; the mark must not claim
    // the segment before.
    shared.files.sync_dir(&shared.folder).map_err(shared.io("sync", ""))?;
    let filled = tail.position;
    let mut writer = Writer {
        shared,
        options,
        header,
        file,
        tail,
        filled,
        last_commit_bytes: u64::MAX,
        index: walk.index,
        schemas,
        tree,
        mark,
        view: Arc::new(RwLock::new(view)),
        poison: None,
        buffer: Vec::new(),
    };
    writer.write_derived(&[]);
    writer.mark.sync_data().map_err(writer.shared.io("sync", MARK))?;
    Ok(writer)
}

/// Removes what a crash has left: files that were never finished, and segments whose trimming was.
fn remove_leftovers(shared: &Shared, survey: &Survey) -> Result<()> {
    let names = shared.files.list(&shared.folder).map_err(shared.io("list", ""))?;
    let unfinished = |name: &&String| name.ends_with(NEW_ENDING) || name.ends_with(SPOOL_ENDING);
    for name in names.iter().filter(unfinished) {
        shared.files.remove(&shared.path(name)).map_err(shared.io("remove", name))?;
    }
    if !survey.disowned.is_empty() {
        // The process that trimmed may have ended before the name of its record was durable.
        shared.files.sync_dir(&shared.folder).map_err(shared.io("sync", ""))?;
    }
    for stem in &survey.disowned {
        for name in [stem.index(), stem.segment()].iter().filter(|name| names.contains(name)) {
            shared.files.remove(&shared.path(name)).map_err(shared.io("remove", name))?;
        }
    }
    Ok(())
}

/// The Merkle tree up to the last segment: as stored if it fits the header of that segment, else made anew.
fn restore_tree(shared: &Shared, survey: &Survey) -> Result<(Peaks, TreeFile)> {
    let (last, _) = survey.last();
    let base = last.base_entry.0;
    let path = shared.path(TREE);
    let reader = TreeReader::open(shared.files.as_ref(), &path, &shared.name).map_err(shared.io("open", TREE))?;
    if let Some(reader) = &reader
        && let Some(peaks) = reader.peaks_if_kept(base)?.filter(|peaks| peaks.root() == last.root)
    {
        let tree = TreeFile::open(shared.files.as_ref(), &path, base).map_err(shared.io("open", TREE))?;
        return Ok((peaks, tree));
    }
    if base > 0 {
        tracing::warn!(shard = %shared.name, "the Merkle tree is missing or damaged, it is made anew from the segments");
    }
    // Written over rather than emptied: the nodes of trimmed entries cannot be made anew.
    let tree = match reader {
        Some(_) => TreeFile::open(shared.files.as_ref(), &path, 0).map_err(shared.io("open", TREE)),
        None => TreeFile::create(shared.files.as_ref(), &path, &shared.name).map_err(shared.io("create", TREE)),
    };
    rebuild_tree(shared, survey, tree?)
}

fn rebuild_tree(shared: &Shared, survey: &Survey, mut tree: TreeFile) -> Result<(Peaks, TreeFile)> {
    let mut peaks = survey.trimmed_peaks();
    tree.start_at(&peaks).map_err(shared.io("write", TREE))?;
    let sealed = &survey.segments[..survey.segments.len() - 1];
    for (header, bytes) in sealed {
        let segment = Segment::sealed(shared.clone(), header, *bytes);
        let mut walk = Walk::new(&segment, segment.file()?, *bytes);
        while let Some(Passed { leaf, .. }) = walk.next_entry(&segment)? {
            push_leaf(&mut peaks, &mut tree, leaf).map_err(shared.io("write", TREE))?;
        }
    }
    let (last, _) = survey.last();
    if peaks.root() != last.root {
        let damage = shared.damage(&last.stem().segment(), 0, last.base_entry, last.base_offset);
        return Err(Error::damaged(damage, "the entries before it do not have the Merkle root that its header notes"));
    }
    Ok((peaks, tree))
}

/// Nodes are written when there are so many.
const NODES_PENDING_BYTES_MAX: usize = 256 << 10;

fn push_leaf(peaks: &mut Peaks, tree: &mut TreeFile, leaf: super::Hash) -> io::Result<()> {
    tree.push(peaks, leaf);
    if tree.pending_bytes() >= NODES_PENDING_BYTES_MAX { tree.flush() } else { Ok(()) }
}

/// Reads the last segment.
struct Replay<'a> {
    survey: &'a Survey,
    segment: &'a Segment,
    peaks: Peaks,
    tree: TreeFile,
    schemas: BTreeMap<SchemaId, SchemaRef>,
}

impl Replay<'_> {
    /// Walks to the end, wherever that is; the walk tells what holds there.
    fn run(&mut self, file: &Arc<dyn File>, bytes: u64) -> Result<Walk> {
        let mut walk = Walk::new(self.segment, Arc::clone(file), bytes);
        self.check_mark(&walk)?;
        loop {
            match walk.advance() {
                Ok(None) => break,
                Ok(Some(passed)) => self.pass(&passed, &walk)?,
                Err(stop) => {
                    self.judge(stop, file, bytes, &walk)?;
                    break;
                }
            }
            self.check_mark(&walk)?;
        }
        Ok(walk)
    }

    fn pass(&mut self, passed: &Passed, walk: &Walk) -> Result<()> {
        let shared = &self.segment.shard;
        push_leaf(&mut self.peaks, &mut self.tree, passed.leaf).map_err(shared.io("write", TREE))?;
        if passed.header.kind == EntryKind::SCHEMA {
            let part = first_part(&passed.raw).map_err(|malformed| self.damaged(walk, malformed.0))?;
            let schema = ipc::decode_schema(&part.payload);
            let schema = schema.map_err(|_| self.damaged(walk, "a schema entry does not hold a schema"))?;
            self.schemas.insert(part.id, schema);
        }
        Ok(())
    }

    /// At the place of the mark, all that the mark says must be so; no entry may reach over that place.
    fn check_mark(&self, walk: &Walk) -> Result<()> {
        let Some(mark) = self.survey.mark.filter(|mark| mark.segment == self.segment.stem.base_entry) else {
            return Ok(());
        };
        let here = (self.peaks.leaves(), walk.offset, walk.scan.position());
        let there = (mark.root.entries, mark.end_offset, mark.position);
        let agrees = here == there && self.peaks.root() == mark.root.hash;
        let apart = here.0 < there.0 && here.2 < there.2 || here.0 > there.0 && here.2 > there.2;
        if agrees || apart {
            Ok(())
        } else {
            Err(self.damaged(walk, "the entries are not those that the durable mark notes"))
        }
    }

    /// Says whether what stopped the walk is a torn tail, which is the end, or an error.
    fn judge(&self, stop: Stop, file: &Arc<dyn File>, bytes: u64, walk: &Walk) -> Result<()> {
        let (entry, frame, why) = match stop {
            Stop::Bad { entry, frame, why } => (entry, frame, why),
            other => return Err(self.segment.stopped(other, walk.entry, walk.offset)),
        };
        let durable = entry < self.survey.durable_bytes();
        let unread = |error| self.segment.shard.io("read", &self.segment.stem.segment())(error);
        if !durable && is_zero(file.as_ref(), entry, bytes).map_err(unread)? {
            // The writer was here, and had filled ahead.
            return Ok(());
        }
        let base_entry = self.segment.stem.base_entry.0;
        let proof = || find_group(file, base_entry, entry + 1, bytes);
        if durable || proof().map_err(unread)?.is_some() {
            return Err(self.segment.stopped(Stop::Bad { entry, frame, why }, walk.entry, walk.offset));
        }
        tracing::warn!(
            shard = %self.segment.shard.name,
            segment = %self.segment.stem.segment(),
            position = entry,
            cut_bytes = bytes - entry,
            entry = walk.entry.0,
            offset = walk.offset.0,
            why,
            "the tail is torn and is cut; nobody was told that it was written"
        );
        Ok(())
    }

    fn damaged(&self, walk: &Walk, why: &str) -> Error {
        let name = self.segment.stem.segment();
        let position = walk.scan.position();
        Error::damaged(self.segment.shard.damage(&name, position, walk.entry, walk.offset), why)
    }
}

/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Cuts a torn tail, and writes again what is not known to be durable.
fn make_durable(shared: &Shared, name: &str, file: &dyn File, survey: &Survey, end: u64, bytes: u64) -> Result<()> {
    let durable = survey.durable_bytes();
    if survey.mark.is_some() && durable == end && end == bytes {
        return Ok(());
    }
    let written = rewrite(file, durable, end).and_then(|()| file.truncate(end)).and_then(|()| file.sync_data());
    written.map_err(shared.io("write", name))
}

/// Whether nothing but zeros is there.
fn is_zero(file: &dyn File, start: u64, end: u64) -> io::Result<bool> {
    let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(end - start).unwrap_or(COPY_BYTES))];
    let mut position = start;
    while position < end {
        let count = usize::try_from(end - position).unwrap_or(usize::MAX).min(buffer.len());
        let filled = super::files::read_full_at(file, &mut buffer[..count], position)?;
        if buffer[..filled].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if filled < count {
            break;
        }
        position += filled as u64;
    }
    Ok(true)
}

fn rewrite(file: &dyn File, start: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut position = start;
    while position < end {
        let count = usize::try_from(end - position).unwrap_or(usize::MAX).min(COPY_BYTES);
        let filled = super::files::read_full_at(file, &mut buffer[..count], position)?;
        if filled < count {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_all_at(&buffer[..count], position)?;
        position += count as u64;
    }
    Ok(())
}

fn open_mark(shared: &Shared) -> Result<Arc<dyn File>> {
    let path = shared.path(MARK);
    match shared.files.open(&path, Mode::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            shared.files.open(&path, Mode::Create).map_err(shared.io("create", MARK))
        }
        other => other.map_err(shared.io("open", MARK)),
    }
}

fn view(shared: &Shared, survey: &Survey, last: Segment, tail: &Tail) -> View {
    let sealed = &survey.segments[..survey.segments.len() - 1];
    let sealed = sealed.iter().map(|(header, bytes)| Segment::sealed(shared.clone(), header, *bytes));
    let segments: Vec<_> = sealed.chain([last]).map(Arc::new).collect();
    let end: DurableEnd = tail.end();
    View { segments: Arc::new(segments), position: tail.position, end }
}
