//! Verifying a shard: every byte of every file is read and compared with what the others say about it.
//!
//! A log that fits together may still have been rewritten by somebody who knows the format. Only a root that was noted
//! elsewhere tells; without one the report says that it checked self-consistency only.

use super::files::read_small;
use super::index::SegmentIndex;
use super::mark::{MARK, Mark};
use super::recovery::TREE;
use super::scan::Stop;
use super::survey::Survey;
use super::tree::{Peaks, Root, TreeReader};
use super::view::{Segment, Shared, View};
use super::walk::{Passed, Walk};
use super::{Damage, EntryNumber, Error, Offset, Result};

/// What a verification was measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// No root was given: the files agree with each other, which is all that is known.
    SelfConsistencyOnly,
    /// The log begins with the one whose root was given.
    Met,
    /// The log is another one, or a shorter one, than the one whose root was given.
    NotMet,
    /// The damage that was found leaves no answer.
    Unknown,
}

/// What a verification found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The shard.
    pub shard: String,
    /// How many entries were read.
    pub entries: u64,
    /// How many bytes of segments were read.
    pub bytes: u64,
    /// The root over all entries, computed from what was read; `None` if not all could be.
    pub root: Option<Root>,
    /// Whether the expected root was met.
    pub expectation: Expectation,
    /// What is damaged, the worst first: entries before what is derived from them.
    pub problems: Vec<Error>,
}

impl VerifyReport {
    /// Whether nothing is damaged and no expectation was missed.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty() && matches!(self.expectation, Expectation::Met | Expectation::SelfConsistencyOnly)
    }

    /// The first place that is damaged.
    pub fn first_damage(&self) -> Option<&Damage> {
        self.problems.iter().find_map(Error::damage)
    }

    /// A report of a shard whose files do not even fit together.
    pub(crate) fn unreadable(shard: &str, error: Error) -> Self {
        Self {
            shard: shard.to_string(),
            entries: 0,
            bytes: 0,
            root: None,
            expectation: Expectation::Unknown,
            problems: vec![error],
        }
    }
}

/// Verifies a shard as far as `view` reaches.
pub(crate) fn verify(shared: &Shared, view: &View, expected: Option<Root>) -> VerifyReport {
    match Audit::new(shared, view, expected) {
        Ok(audit) => audit.run(),
        Err(error) => VerifyReport::unreadable(&shared.name, error),
    }
}

struct Audit<'a> {
    shared: &'a Shared,
    view: &'a View,
    expected: Option<Root>,
    survey: Survey,
    peaks: Peaks,
    tree: Option<TreeReader>,
    tree_is_bad: bool,
    report: VerifyReport,
}

impl<'a> Audit<'a> {
    fn new(shared: &'a Shared, view: &'a View, expected: Option<Root>) -> Result<Self> {
        let survey = Survey::take_live(shared)?;
        let tree = TreeReader::open(shared.files.as_ref(), &shared.path(TREE), &shared.name);
        let expectation = if expected.is_some() { Expectation::NotMet } else { Expectation::SelfConsistencyOnly };
        let report = VerifyReport {
            shard: shared.name.to_string(),
            entries: 0,
            bytes: 0,
            root: None,
            expectation,
            problems: Vec::new(),
        };
        let peaks = survey.trimmed_peaks();
        Ok(Self { shared, view, expected, survey, peaks, tree: tree.ok().flatten(), tree_is_bad: false, report })
    }

    fn run(mut self) -> VerifyReport {
        if self.tree.is_none() {
            self.problem(TREE, 0, "the Merkle tree is missing or does not start as it should");
        }
        if self.survey.mark.is_none() {
            self.problem(MARK, 0, "the durable mark is missing or damaged");
        }
        if self.peaks.leaves() < self.view.start().base_entry.0 {
            // Trimmed since the view was taken, or by a record of an earlier state: the view's segments decide.
            self.problem("", 0, "the record of what was trimmed does not fit the first segment");
        }
        self.check_trimmed_nodes();
        // What was trimmed since the view was taken is gone.
        let start = EntryNumber(self.peaks.leaves());
        for segment in self.view.segments.iter().skip_while(|segment| segment.stem.base_entry < start) {
            if let Err(error) = self.segment(segment) {
                self.report.problems.insert(0, error);
                self.report.expectation = Expectation::Unknown;
                return self.report;
            }
        }
        self.report.root = Some(Root::of(&self.peaks));
        self.check_trimmed_expectation();
        self.report
    }

    /// The nodes of trimmed entries can only be compared with each other, and with the peaks that trimming has noted.
    fn check_trimmed_nodes(&mut self) {
        let mut peaks = Peaks::default();
        for entry in 0..self.peaks.leaves() {
            let stored = self.tree.as_ref().map(|tree| tree.nodes_of(entry).unwrap_or_default());
            let Some(leaf) = stored.as_deref().and_then(|nodes| nodes.first_chunk()) else { return };
            let mut nodes = Vec::with_capacity(64);
            peaks.push(*leaf, &mut nodes);
            self.check_nodes(entry, &nodes, Offset(0));
            if self.tree_is_bad {
                return;
            }
        }
        if peaks != self.peaks {
            self.tree_is_bad = true;
            self.problem(TREE, 0, "the nodes of trimmed entries do not lead to the root that trimming has noted");
        }
    }

    /// Reads a segment from end to end.
    fn segment(&mut self, segment: &Segment) -> Result<()> {
        let bytes = self.view.bytes_of(segment);
        let file = segment.file()?;
        self.check_header(segment)?;
        let mut walk = Walk::new(segment, file, bytes);
        self.check_here(&walk, segment)?;
        while let Some(Passed { leaf, .. }) = walk.next_entry(segment)? {
            let entry = self.peaks.leaves();
            let mut nodes = Vec::with_capacity(64);
            self.peaks.push(leaf, &mut nodes);
            self.report.entries += 1;
            self.check_nodes(entry, &nodes, walk.offset);
            self.check_here(&walk, segment)?;
        }
        self.report.bytes += bytes;
        if segment.sealed_bytes.is_some() {
            self.check_index(segment, &walk.index, bytes);
        }
        Ok(())
    }

    fn check_header(&self, segment: &Segment) -> Result<()> {
        let header = self.survey.segments.iter().find(|(header, _)| header.stem() == segment.stem);
        let wrong = |why| {
            Err(segment.stopped(Stop::Wrong { entry: 0, why }, segment.stem.base_entry, segment.stem.base_offset))
        };
        match header {
            Some((header, _)) if header.root != self.peaks.root() => {
                wrong("the entries before this segment do not have the Merkle root that its header notes")
            }
            Some(_) => Ok(()),
            None => wrong("the segment is not there any more"),
        }
    }

    /// Compares with what was noted of the log at this size.
    fn check_here(&mut self, walk: &Walk, segment: &Segment) -> Result<()> {
        let entries = self.peaks.leaves();
        if let Some(mark) = self.survey.mark.filter(|mark| mark.root.entries == entries) {
            self.check_mark(&mark, walk, segment)?;
        }
        if self.expected.is_some_and(|expected| expected == Root::of(&self.peaks)) {
            self.report.expectation = Expectation::Met;
        }
        Ok(())
    }

    fn check_mark(&self, mark: &Mark, walk: &Walk, segment: &Segment) -> Result<()> {
        let found = (walk.offset, self.peaks.root());
        if (mark.end_offset, mark.root.hash) == found {
            return Ok(());
        }
        let stop =
            Stop::Wrong { entry: walk.scan.position(), why: "the entries are not those that the durable mark notes" };
        Err(segment.stopped(stop, walk.entry, walk.offset))
    }

    fn check_nodes(&mut self, entry: u64, nodes: &[u8], offset: Offset) {
        let Some(tree) = self.tree.as_ref().filter(|_| !self.tree_is_bad) else { return };
        if tree.nodes_of(entry).is_ok_and(|stored| stored == nodes) {
            return;
        }
        self.tree_is_bad = true;
        let damage = self.shared.damage(TREE, TreeReader::leaf_position(entry), EntryNumber(entry), offset);
        self.report.problems.push(Error::damaged(damage, "the Merkle nodes are not those of the entry"));
    }

    fn check_index(&mut self, segment: &Segment, walked: &SegmentIndex, bytes: u64) {
        let name = segment.stem.index();
        let content = read_small(self.shared.files.as_ref(), &self.shared.path(&name), Segment::INDEX_BYTES_MAX);
        let good =
            content.is_ok_and(|content| SegmentIndex::decode(&content, bytes).is_ok_and(|index| index == *walked));
        if !good {
            let damage = self.shared.damage(&name, 0, segment.stem.base_entry, segment.stem.base_offset);
            self.report.problems.push(Error::damaged(damage, "the index is missing or not that of its segment"));
        }
    }

    /// A root from before what is kept is met if the stored nodes have it and lead to the root that was computed.
    fn check_trimmed_expectation(&mut self) {
        let (Some(expected), Some(tree)) = (self.expected, &self.tree) else { return };
        let now = Root::of(&self.peaks);
        if expected.entries < self.view.start().base_entry.0
            && let Ok(proof) = tree.consistency_proof(expected.entries, now.entries)
            && proof.verify(&expected, &now)
        {
            self.report.expectation = Expectation::Met;
        }
    }

    fn problem(&mut self, file: &str, position: u64, why: &str) {
        let start = self.view.start();
        let damage = self.shared.damage(file, position, start.base_entry, start.base_offset);
        self.report.problems.push(Error::damaged(damage, why));
    }
}
