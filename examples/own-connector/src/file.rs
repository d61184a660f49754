//! The dump's file: opening it, and noticing that it is not the same any more.

use polder_catalog::{CatalogName, Error, Result, SqlState};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

const BUFFER_BYTES: usize = 256 * 1024;

/// A dump under the name of its catalog. Nothing is open between two reads.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) catalog: CatalogName,
    pub(crate) path: PathBuf,
    asked: AtomicU64,
    reading: Arc<()>,
}

/// What tells one state of the file from another, as far as the file system can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

/// An open file, at a place.
#[derive(Debug)]
pub(crate) struct OpenDump {
    pub(crate) file: BufReader<File>,
    _reading: Arc<()>,
}

impl Dump {
    pub(crate) fn new(catalog: CatalogName, path: PathBuf) -> Self {
        Self { catalog, path, asked: AtomicU64::default(), reading: Arc::default() }
    }

    /// Opens the file at this byte.
    pub(crate) fn open(&self, start: u64) -> Result<OpenDump> {
        let open = || {
            let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(&self.path)?);
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        };
        let file = open().map_err(|error| self.unreadable(&error))?;
        Ok(OpenDump { file, _reading: Arc::clone(&self.reading) })
    }

    pub(crate) fn stamp(&self) -> Result<Stamp> {
        let metadata = std::fs::metadata(&self.path).map_err(|error| self.unreadable(&error))?;
        Ok(Stamp {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }

    /// # Errors
    /// If the file is not the one that a query was planned on.
    pub(crate) fn expect(&self, stamp: &Stamp) -> Result<()> {
        if self.stamp()? == *stamp {
            return Ok(());
        }
        let changed = Error::retry(SqlState::STATE, "the dump was written anew while the query ran");
        Err(self.at(changed.with_hint("run the query again")))
    }

    /// Counts a question that takes a look at the file: what is in it, or the rows of a table.
    pub(crate) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How many questions there were.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many readers hold the file open.
    #[cfg(test)]
    pub(crate) fn reading(&self) -> usize {
        Arc::strong_count(&self.reading) - 1
    }

    pub(crate) fn unreadable(&self, error: &io::Error) -> Error {
        let state = if error.kind() == io::ErrorKind::NotFound { SqlState::NO_FILE } else { SqlState::IO };
        self.at(Error::fix(state, format!("could not read {}", self.path.display())).with_detail(error.to_string()))
    }

    pub(crate) fn at(&self, error: Error) -> Error {
        error.at(format_args!("source \"{}\"", self.catalog))
    }
}
