//! Looks into a log without opening it: no lock, nothing is changed, and the log may be in use.
//!
//! The end is as far as the files prove that the log was durable: the mark, or the start of the last commit, which was
//! begun when all before it was durable. Behind that, a log that is in use is being written, and a crash may have left a
//! commit that nobody was told of; opening the log decides about that one. Before the end, what is bad is damage.

use super::audit::{VerifyReport, verify};
use super::entries::{Entries, From, Until};
use super::recovery::TREE;
use super::scan::Stop;
use super::segment::{folder_of, shard_of};
use super::survey::Survey;
use super::tree::{ConsistencyProof, InclusionProof, Root, TreeReader};
use super::view::{DurableEnd, Segment, Shared, View};
use super::walk::Walk;
use super::{CommitTime, EntryNumber, Error, LogOptions, Offset, Result};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A log that somebody looks into.
pub struct Inspection {
    folder: PathBuf,
    options: LogOptions,
}

/// A shard at the time it was looked into.
pub struct ShardInspection {
    shared: Shared,
    view: View,
    first_time: Option<CommitTime>,
}

/// What `log ls` shows of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSummary {
    /// Its name.
    pub name: String,
    /// How many segments it has.
    pub segments: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// The entries that are kept.
    pub entries: Range<EntryNumber>,
    /// The records that are kept.
    pub records: Range<Offset>,
    /// The time of the first entry that is kept, if there is one.
    pub first_time: Option<CommitTime>,
    /// The time of the last entry, if there is one.
    pub last_time: Option<CommitTime>,
}

impl Inspection {
    /// Looks at the log in `folder`. Only `files` of the options matters.
    pub fn new(folder: impl Into<PathBuf>, options: LogOptions) -> Self {
        Self { folder: folder.into(), options }
    }

    /// The names of the shards.
    pub fn shards(&self) -> Result<Vec<String>> {
        let names = self.options.files.list(&self.folder);
        let names = names.map_err(|error| Error::io(format!("list {}", self.folder.display()), error))?;
        let mut shards: Vec<_> = names.iter().filter_map(|name| shard_of(name)).collect();
        shards.sort_unstable();
        Ok(shards)
    }

    /// Looks at a shard.
    pub fn shard(&self, name: &str) -> Result<ShardInspection> {
        ShardInspection::take(self.shared(name))
    }

    /// Verifies a shard, however damaged it is.
    pub fn verify(&self, name: &str, expected: Option<Root>) -> VerifyReport {
        match self.shard(name) {
            Ok(shard) => shard.verify(expected),
            Err(error) => VerifyReport::unreadable(name, error),
        }
    }

    fn shared(&self, name: &str) -> Shared {
        let LogOptions { files, index_bytes, .. } = &self.options;
        let folder = self.folder.join(folder_of(name)).into();
        Shared { files: Arc::clone(files), name: name.into(), folder, index_bytes: *index_bytes, syncs: Arc::default() }
    }
}

impl ShardInspection {
    fn take(shared: Shared) -> Result<Self> {
        let survey = Survey::take_live(&shared)?;
        let (header, bytes) = survey.last();
        let sealed = survey.segments[..survey.segments.len() - 1].iter();
        let sealed = sealed.map(|(header, bytes)| Segment::sealed(shared.clone(), header, *bytes));
        let file = Segment::sealed(shared.clone(), header, *bytes).file()?;
        let last = Segment::active(shared.clone(), header, file);
        let walk = walk_to_end(&last, &survey, *bytes)?;
        last.set_index(Arc::new(walk.index.clone()));
        let segments: Vec<_> = sealed.chain([last]).map(Arc::new).collect();
        let end = DurableEnd { offset: walk.offset, entries: walk.entry, time: walk.time };
        let view = View { segments: Arc::new(segments), position: walk.scan.position(), end };
        let mut shard = Self { shared, view, first_time: None };
        let start = shard.view.start().base_entry;
        // A shard whose first entry is damaged can still be summed up; reading it tells.
        let first = shard.entries(start..start + 1).ok().and_then(|mut entries| entries.next()?.ok());
        shard.first_time = first.map(|entry| entry.header().commit_time);
        Ok(shard)
    }

    /// What it holds.
    pub fn summary(&self) -> ShardSummary {
        let (start, end) = (self.view.start(), self.view.end);
        ShardSummary {
            name: self.shared.name.to_string(),
            segments: self.view.segments.len(),
            bytes: self.view.segments.iter().map(|segment| self.view.bytes_of(segment)).sum(),
            entries: start.base_entry..end.entries,
            records: start.base_offset..end.offset,
            first_time: self.first_time,
            last_time: (end.entries > EntryNumber(0)).then_some(end.time),
        }
    }

    /// The entries with these numbers.
    pub fn entries(&self, range: Range<EntryNumber>) -> Result<Entries> {
        let until = Until::Entry(range.end.min(self.view.end.entries));
        Entries::new(self.view.clone(), Arc::default(), From::Entry(range.start), until)
    }

    /// The root over all entries.
    pub fn root(&self) -> Result<Root> {
        root(&self.shared, self.view.end.entries.0)
    }

    /// Checks every byte.
    pub fn verify(&self, expected: Option<Root>) -> VerifyReport {
        verify(&self.shared, &self.view, expected)
    }
}

/// Walks to the proven end. If more is found behind it, the walk is made once more, and ends there.
fn walk_to_end(last: &Segment, survey: &Survey, bytes: u64) -> Result<Walk> {
    let mut proven = survey.durable_bytes();
    let walk = walk_to(last, bytes, &mut proven)?;
    if walk.scan.position() == proven { Ok(walk) } else { walk_to(last, proven, &mut proven.clone()) }
}

/// Walks over what is whole, and moves `proven` to the start of each commit that is passed.
fn walk_to(last: &Segment, bytes: u64, proven: &mut u64) -> Result<Walk> {
    let mut walk = Walk::new(last, last.file()?, bytes);
    loop {
        match walk.advance() {
            Ok(Some(passed)) if passed.raw.starts_commit() => *proven = (*proven).max(passed.raw.position),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(walk),
            Err(Stop::Bad { entry, .. }) if entry >= *proven => return Ok(walk),
            Err(stop) => return Err(last.stopped(stop, walk.entry, walk.offset)),
        }
    }
}

fn tree(shared: &Shared) -> Result<TreeReader> {
    let tree = TreeReader::open(shared.files.as_ref(), &shared.path(TREE), &shared.name);
    tree.map_err(shared.io("open", TREE))?.ok_or_else(|| {
        Error::damaged(shared.damage(TREE, 0, EntryNumber(0), Offset(0)), "the Merkle tree does not start as it should")
    })
}

pub(crate) fn root(shared: &Shared, entries: u64) -> Result<Root> {
    tree(shared)?.root(entries)
}

pub(crate) fn consistency_proof(shared: &Shared, older: u64, newer: u64) -> Result<ConsistencyProof> {
    tree(shared)?.consistency_proof(older, newer)
}

pub(crate) fn inclusion_proof(shared: &Shared, entry: EntryNumber, entries: u64) -> Result<InclusionProof> {
    tree(shared)?.inclusion_proof(entry, entries)
}
