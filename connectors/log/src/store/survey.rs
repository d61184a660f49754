//! What the folder of a shard holds, as its names and headers tell: read when a shard is opened, and when somebody
//! looks into it. Nothing is changed.

use super::files::{Mode, read_small};
use super::mark::{MARK, Mark};
use super::sealed::Broken;
use super::segment::{SegmentHeader, SegmentStem};
use super::tree::Peaks;
use super::trimmed::{TRIMMED, Trimmed};
use super::view::Shared;
use super::{EntryNumber, Error, Offset, Result};
use std::io;

/// What is known of a shard before its last segment is read.
pub(crate) struct Survey {
    pub(crate) trimmed: Option<Trimmed>,
    /// Segments in order, each with its length. At least one.
    pub(crate) segments: Vec<(SegmentHeader, u64)>,
    /// Segments that were trimmed, but are still there.
    pub(crate) disowned: Vec<SegmentStem>,
    pub(crate) mark: Option<Mark>,
}

/// How often a folder in use is looked at before it is called damaged.
const GLANCES_MAX: usize = 5;

/// No small file of ours is longer.
const SMALL_BYTES_MAX: u64 = 64 << 10;

impl Survey {
    /// Reads names and headers, and checks that they fit together.
    pub(crate) fn take(shared: &Shared) -> Result<Self> {
        // First of all: in a log that is in use it must not tell of more than is found after it.
        let mark = read_mark(shared)?;
        let trimmed = read_trimmed(shared)?;
        let start = trimmed.as_ref().map_or(EntryNumber(0), Trimmed::entry);
        let names = shared.files.list(&shared.folder).map_err(shared.io("list", ""))?;
        let mut stems: Vec<_> = names.iter().filter_map(|name| SegmentStem::parse(name)).collect();
        stems.sort_unstable();
        let kept = stems.split_off(stems.partition_point(|stem| stem.base_entry < start));
        let segments = kept.into_iter().map(|stem| read_header(shared, stem)).collect::<Result<Vec<_>>>()?;
        let survey = Self { trimmed, segments, disowned: stems, mark };
        survey.check(shared)?;
        Ok(survey)
    }

    /// Like [`take`](Self::take), in a folder that somebody may be writing: what does not fit is looked at again, for a
    /// segment may have been begun between two glances.
    pub(crate) fn take_live(shared: &Shared) -> Result<Self> {
        (1..GLANCES_MAX)
            .find_map(|_| Self::take(shared).ok().filter(|survey| survey.mark.is_some()))
            .map_or_else(|| Self::take(shared), Ok)
    }

    /// The header and the length of the last segment.
    pub(crate) fn last(&self) -> &(SegmentHeader, u64) {
        self.segments.last().expect("a survey has at least one segment")
    }

    /// The peaks over all that was trimmed.
    pub(crate) fn trimmed_peaks(&self) -> Peaks {
        self.trimmed.as_ref().map(|trimmed| trimmed.peaks.clone()).unwrap_or_default()
    }

    fn check(&self, shared: &Shared) -> Result<()> {
        self.check_start(shared)?;
        for pair in self.segments.windows(2) {
            let [(before, bytes), (next, _)] = pair else { continue };
            let damaged = |why: String| {
                let damage = shared.damage(&before.stem().segment(), *bytes, next.base_entry, next.base_offset);
                Err(Error::damaged(damage, why))
            };
            if next.previous_entry != before.base_entry || next.base_offset < before.base_offset {
                return damaged("the segment after it is missing".to_string());
            }
            if next.previous_bytes != *bytes {
                return damaged(format!("the segment has {bytes} bytes, it was sealed with {}", next.previous_bytes));
            }
        }
        self.check_mark(shared)
    }

    fn check_start(&self, shared: &Shared) -> Result<()> {
        let (entry, offset) = self.trimmed.as_ref().map_or_else(Default::default, |t| (t.entry(), t.offset));
        let missing = |why| Err(Error::damaged(shared.damage("", 0, entry, offset), why));
        match self.segments.first() {
            None => missing("there is no segment"),
            Some((first, _)) if (first.base_entry, first.base_offset) != (entry, offset) => {
                missing("the first segment is missing")
            }
            Some((first, _)) if first.root != self.trimmed_peaks().root() => {
                missing("the record of what was trimmed does not fit the first segment")
            }
            Some(_) => Ok(()),
        }
    }

    /// The mark must not claim more than the folder can hold.
    fn check_mark(&self, shared: &Shared) -> Result<()> {
        let Some(mark) = &self.mark else { return Ok(()) };
        let (last, bytes) = self.last();
        let name = last.stem().segment();
        if mark.segment > last.base_entry {
            let damage = shared.damage(&name, *bytes, mark.segment, mark.end_offset);
            return Err(Error::damaged(damage, "the segment after it is missing, and was durable"));
        }
        if mark.segment == last.base_entry && mark.position > *bytes {
            let damage = shared.damage(&name, *bytes, last.base_entry, last.base_offset);
            let why = format!("the segment has {bytes} bytes, of which {} were durable", mark.position);
            return Err(Error::damaged(damage, why));
        }
        Ok(())
    }

    /// How many bytes of the last segment are known to be durable.
    pub(crate) fn durable_bytes(&self) -> u64 {
        let (last, _) = self.last();
        match &self.mark {
            Some(mark) if mark.segment == last.base_entry => mark.position,
            _ => last.bytes(),
        }
    }
}

/// The record of what was trimmed, if anything was.
pub(crate) fn read_trimmed(shared: &Shared) -> Result<Option<Trimmed>> {
    let Some(content) = read_if_there(shared, TRIMMED)? else { return Ok(None) };
    let damage = shared.damage(TRIMMED, 0, EntryNumber(0), Offset(0));
    let trimmed = Trimmed::decode(&content);
    trimmed.map(Some).map_err(|broken| broken.into_error(TRIMMED, |why| Error::damaged(damage, why)))
}

/// The mark is derived: a damaged one is as good as none.
fn read_mark(shared: &Shared) -> Result<Option<Mark>> {
    match read_if_there(shared, MARK)?.map(|content| Mark::decode(&content)) {
        Some(Ok(mark)) => Ok(Some(mark)),
        Some(Err(newer @ Broken::Newer(_))) => Err(newer.into_error(MARK, Error::fix)),
        Some(Err(Broken::Damaged(why))) => {
            tracing::warn!(shard = %shared.name, why, "the durable mark is damaged, it is made anew");
            Ok(None)
        }
        None => {
            tracing::warn!(shard = %shared.name, "the durable mark is missing, it is made anew");
            Ok(None)
        }
    }
}

fn read_if_there(shared: &Shared, name: &str) -> Result<Option<Vec<u8>>> {
    match read_small(shared.files.as_ref(), &shared.path(name), SMALL_BYTES_MAX) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(shared.io("read", name)(error)),
    }
}

/// Reads the header of a segment, and how long the file is.
pub(crate) fn read_header(shared: &Shared, stem: SegmentStem) -> Result<(SegmentHeader, u64)> {
    let name = stem.segment();
    let file = shared.files.open(&shared.path(&name), Mode::Read).map_err(shared.io("open", &name))?;
    let bytes = file.length().map_err(shared.io("read", &name))?;
    let damaged = |why| Error::damaged(shared.damage(&name, 0, stem.base_entry, stem.base_offset), why);
    let header = SegmentHeader::read(file.as_ref()).map_err(shared.io("read", &name))?;
    let header = header.map_err(|broken| broken.into_error(&name, damaged))?;
    if header.stem() != stem || *header.shard != *shared.name {
        return Err(damaged("the file is another segment than its name says"));
    }
    Ok((header, bytes))
}
