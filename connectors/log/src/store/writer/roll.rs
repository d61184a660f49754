//! Sealing a segment and beginning the next.

use super::super::files::{File, Files, Mode};
use super::super::index::SegmentIndex;
use super::super::segment::SegmentHeader;
use super::super::tree::Root;
use super::super::view::{Segment, Shared};
use super::super::{Error, Result};
use super::Writer;
use std::path::Path;
use std::sync::Arc;

/// The ending of a file that is not complete yet; opening the shard removes it.
pub(crate) const NEW_ENDING: &str = ".new";

impl Writer {
    /// Seals the last segment and begins the next. If that fails before anything was made durable, the shard goes on
    /// with the last segment and tries again at the next commit.
    pub(super) fn roll(&mut self) -> Result<()> {
        debug_assert!(self.filled <= self.tail.position, "no zeros are written beyond where a segment is full");
        // After the roll the mark names the new segment, so all claims about the old one must have become true.
        self.sync_derived()?;
        let header = SegmentHeader {
            shard: self.shared.name.to_string(),
            base_entry: self.tail.end().entries,
            base_offset: self.tail.offset,
            base_time: self.tail.time,
            previous_entry: self.header.base_entry,
            previous_bytes: self.tail.position,
            root: Root::of(&self.tail.peaks).hash,
        };
        self.write_index();
        let file = match create_segment(&self.shared, &header) {
            Ok(file) => file,
            Err(CreateError::Undone(error)) => return Err(error),
            Err(CreateError::Unknown(error)) => return Err(self.poison(&error)),
        };
        self.begin(header, file);
        Ok(())
    }

    /// Writes the index of the last segment beside it. Without it a reader makes it anew, so a failure is none of ours.
    fn write_index(&self) {
        let name = self.header.stem().index();
        let content = self.index.encode(self.tail.position);
        if let Err(error) = write_durably(self.shared.files.as_ref(), &self.shared.path(&name), &content) {
            tracing::warn!(shard = %self.shared.name, file = %name, %error, "the index could not be written");
        }
    }

    fn begin(&mut self, header: SegmentHeader, file: Arc<dyn File>) {
        let sealed_bytes = self.tail.position;
        let segment = Arc::new(Segment::active(self.shared.clone(), &header, Arc::clone(&file)));
        segment.set_index(Arc::new(SegmentIndex::default()));
        self.tail.position = header.bytes();
        self.filled = self.tail.position;
        self.header = header;
        self.file = file;
        self.index = SegmentIndex::default();
        self.schemas.clear();
        self.write_derived(&[]);
        self.publish_view(|view| {
            let mut segments = view.segments.as_ref().clone();
            if let Some(last) = segments.last_mut() {
                *last = Arc::new(last.seal(sealed_bytes));
            }
            segments.push(segment);
            view.segments = Arc::new(segments);
        });
    }
}

/// Why a segment was not created.
pub(crate) enum CreateError {
    /// There is no such segment, and none will be found.
    Undone(Error),
    /// It may or may not be found by those who open the log next.
    Unknown(Error),
}

impl From<CreateError> for Error {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Undone(error) | CreateError::Unknown(error) => error,
        }
    }
}

/// Creates a segment that has its name only once its header is durable.
pub(crate) fn create_segment(shared: &Shared, header: &SegmentHeader) -> Result<Arc<dyn File>, CreateError> {
    let files = shared.files.as_ref();
    let name = header.stem().segment();
    let unfinished = shared.path(&format!("{name}{NEW_ENDING}"));
    let written = write_new(files, &unfinished, &header.encode());
    let file = written.map_err(|error| {
        let _ = files.remove(&unfinished);
        CreateError::Undone(shared.io("write", &name)(error))
    })?;
    let named = files.rename(&unfinished, &shared.path(&name)).and_then(|()| files.sync_dir(&shared.folder));
    named.map_err(|error| CreateError::Unknown(shared.io("create", &name)(error)))?;
    Ok(file)
}

fn write_new(files: &dyn Files, path: &Path, content: &[u8]) -> std::io::Result<Arc<dyn File>> {
    let file = files.open(path, Mode::Create)?;
    file.write_all_at(content, 0)?;
    file.sync_data()?;
    Ok(file)
}

/// Replaces a small file as a whole. It is durable once the folder is synced.
pub(crate) fn write_durably(files: &dyn Files, path: &Path, content: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_added_extension(&NEW_ENDING[1..]);
    write_new(files, &unfinished, content)?;
    files.rename(&unfinished, path)
}
