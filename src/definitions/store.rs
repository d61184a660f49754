//! The data directory: its lock, and definitions read from the checkpoint and the entries after it.

use crate::commit::{Commit, log_error};
use crate::definitions::change::define;
use crate::definitions::{Change, Definitions, changes_of};
use polder_catalog::{Error, Kind, Result, SqlState};
use polder_log::store::{EntryNumber, Shard};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The format that this version writes. A newer one is refused, every older one is read.
pub(super) const FORMAT: u32 = 2;

pub(super) const FILE: &str = "definitions.json";
const LOCK: &str = "lock";

/// The data directory, locked against other processes for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DefinitionStore {
    directory: PathBuf,
    _lock: File,
}

/// Format 2: everything as of an entry of `main`.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    format: u32,
    /// How many entries of `main` it reflects.
    entries: u64,
    last_dataset: u64,
    changes: Vec<Change>,
}

/// Format 1: statements, and nothing else.
#[derive(Deserialize)]
struct Statements {
    statements: Vec<String>,
}

impl DefinitionStore {
    /// Opens a data directory, creating it if need be.
    ///
    /// # Errors
    /// 55006 if another process has it open, 58030 if it cannot be written.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(|error| io_error("create data directory", directory, error))?;
        let path = directory.join(LOCK);
        let lock = File::create(&path).map_err(|error| io_error("create lock file", &path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_path_buf(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let message = format!("data directory {} is in use by another process", directory.display());
                Err(Error::new(Kind::Retry, SqlState::IN_USE, message)
                    .with_hint("end the other process, or choose another directory with --data"))
            }
            Err(TryLockError::Error(error)) => Err(io_error("lock", &path, error)),
        }
    }

    /// Reads what is defined; a new directory has nothing. What a directory of format 1 has becomes entries now.
    ///
    /// # Errors
    /// 55000 for a newer format, XX001 for a damaged file or entry. Both name it.
    pub(crate) async fn load(&self, commit: &Commit) -> Result<Definitions> {
        let (mut definitions, from) = match self.read()? {
            Some(Stored::Checkpoint(definitions, entries)) => (definitions, entries),
            Some(Stored::Format1(definitions)) => {
                let changes = Definitions::default().changes_to(&definitions);
                define(commit, &changes).await?;
                self.save(&definitions, commit).await?;
                return Ok(definitions);
            }
            None => (Definitions::default(), EntryNumber(0)),
        };
        if let Some(main) = commit.stored_main().await? {
            let replayed =
                tokio::task::spawn_blocking(move || replay(&main, from, &mut definitions).map(|()| definitions));
            definitions =
                replayed.await.map_err(|error| Error::report("reading definitions failed").with_source(error))??;
        }
        Ok(definitions)
    }

    /// Writes a checkpoint: what is defined, durably, as of the end of `main`.
    pub(crate) async fn save(&self, definitions: &Definitions, commit: &Commit) -> Result<()> {
        let entries = commit.stored_main().await?.map_or(0, |main| main.end().entries.0);
        let changes = Definitions::default().changes_to(definitions);
        let stored = Checkpoint { format: FORMAT, entries, last_dataset: definitions.last_dataset, changes };
        let text = serde_json::to_string_pretty(&stored).expect("definitions serialize");
        let path = self.directory.join(FILE);
        let new = self.directory.join("definitions.json.new");
        write_durably(&new, text.as_bytes()).map_err(|error| io_error("write", &new, error))?;
        fs::rename(&new, &path).map_err(|error| io_error("replace", &path, error))?;
        let directory = File::open(&self.directory).and_then(|directory| directory.sync_all());
        directory.map_err(|error| io_error("sync", &self.directory, error))
    }

    /// The folder of the log.
    pub(crate) fn log_folder(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn read(&self) -> Result<Option<Stored>> {
        let path = self.directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path, error)),
        };
        let damaged = |detail: String| {
            Error::new(Kind::Repair, SqlState::DAMAGED, format!("{} is damaged", path.display()))
                .with_detail(detail)
                .with_hint("restore the file from a copy; or move it away, and it is made again from the log")
        };
        match format_of(&text, &path)? {
            1 => statements(&text).map(|definitions| Some(Stored::Format1(definitions))).map_err(damaged),
            _ => checkpoint(&text).map(Some).map_err(damaged),
        }
    }
}

enum Stored {
    Format1(Definitions),
    Checkpoint(Definitions, EntryNumber),
}

fn statements(text: &str) -> Result<Definitions, String> {
    let stored: Statements = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut definitions = Definitions::default();
    stored.statements.into_iter().try_for_each(|statement| definitions.apply(Change::Define { statement }))?;
    Ok(definitions)
}

fn checkpoint(text: &str) -> Result<Stored, String> {
    let stored: Checkpoint = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut definitions = Definitions::default();
    stored.changes.into_iter().try_for_each(|change| definitions.apply(change))?;
    definitions.last_dataset = definitions.last_dataset.max(stored.last_dataset);
    Ok(Stored::Checkpoint(definitions, EntryNumber(stored.entries)))
}

/// Applies the entries after a checkpoint.
fn replay(main: &Shard, from: EntryNumber, definitions: &mut Definitions) -> Result<()> {
    let end = main.end().entries;
    if from > end {
        let message = format!("definitions reflect {} entries of the log, which has {}", from.0, end.0);
        return Err(Error::new(Kind::Repair, SqlState::DAMAGED, message)
            .with_hint("the log is older than the checkpoint beside it: restore both from the same copy"));
    }
    for entry in main.read_entries(from..end).map_err(log_error)? {
        let entry = entry.map_err(log_error)?;
        let unreadable = |detail: String| {
            let message = format!("entry {} of the log's shard main cannot be read", entry.header().number.0);
            Error::new(Kind::Repair, SqlState::DAMAGED, message).with_detail(detail)
        };
        let changes = changes_of(&entry).map_err(unreadable)?;
        changes.into_iter().try_for_each(|change| definitions.apply(change)).map_err(unreadable)?;
    }
    Ok(())
}

/// Looks at the format alone, since nothing else of a newer file need be readable.
fn format_of(text: &str, path: &Path) -> Result<u32> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    match serde_json::from_str(text) {
        Ok(Head { format }) if format > FORMAT => {
            let message =
                format!("{} has format {format}, this version of Polder reads up to {FORMAT}", path.display());
            Err(Error::fix(SqlState::STATE, message).with_hint("use a newer version of Polder for this data directory"))
        }
        Ok(Head { format }) => Ok(format),
        // Not readable at all: whoever reads it as the current format says why.
        Err(_) => Ok(FORMAT),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn io_error(action: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Fix, SqlState::IO, format!("could not {action} {}", path.display())).with_detail(error.to_string())
}
