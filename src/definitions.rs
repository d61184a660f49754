//! What the user has defined, catalogs and named queries, kept as statements in the data directory.
//!
//! ```text
//! DATA/definitions.json   {"format": 1, "statements": ["CREATE CATALOG ...", "CREATE VIEW ..."]}
//! DATA/lock               held while an engine has the directory open
//! ```
//!
//! **Invariant**: this module alone knows that definitions are a file. Callers load all of them and save all of them, so
//! that a later store (entries of the log) changes nothing above.

use crate::sql;
use crate::sql::ViewDefinition;
use polder_catalog::{Error, Kind, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The format that this version writes. A newer one is refused, every older one is read.
const FORMAT: u32 = 1;

const FILE: &str = "definitions.json";
const LOCK: &str = "lock";

/// Everything that is defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Definitions {
    pub(crate) catalogs: BTreeMap<String, CatalogDefinition>,
    /// Named queries of `polder.public`.
    pub(crate) views: BTreeMap<String, ViewDefinition>,
}

/// `CREATE CATALOG`, without the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogDefinition {
    pub(crate) connector: String,
    /// As given. Secrets are references here, so this may be stored.
    pub(crate) options: Vec<(String, String)>,
}

/// The data directory, locked against other processes for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DefinitionStore {
    directory: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
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

    /// Reads what is defined; a new directory has nothing.
    ///
    /// # Errors
    /// 55000 for a newer format, XX001 for a damaged file. Both name the file.
    pub(crate) fn load(&self) -> Result<Definitions> {
        let path = self.directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Definitions::default()),
            Err(error) => return Err(io_error("read", &path, error)),
        };
        let damaged = |detail: String| {
            Error::new(Kind::Repair, SqlState::DAMAGED, format!("{} is damaged", path.display()))
                .with_detail(detail)
                .with_hint("restore the file from a copy, or move it away and define the catalogs anew")
        };
        refuse_newer(&text, &path)?;
        let stored: Stored = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let mut definitions = Definitions::default();
        for statement in &stored.statements {
            let read = sql::parse(statement).map_err(|error| damaged(format!("{error} in: {statement}")))?;
            definitions.add(read).ok_or_else(|| damaged(format!("not a definition: {statement}")))?;
        }
        Ok(definitions)
    }

    /// Replaces what is defined, durably: after a crash either all of the old or all of the new is there.
    pub(crate) fn save(&self, definitions: &Definitions) -> Result<()> {
        let stored = Stored { format: FORMAT, statements: definitions.statements() };
        let text = serde_json::to_string_pretty(&stored).expect("strings serialize");
        let path = self.directory.join(FILE);
        let new = self.directory.join("definitions.json.new");
        write_durably(&new, text.as_bytes()).map_err(|error| io_error("write", &new, error))?;
        fs::rename(&new, &path).map_err(|error| io_error("replace", &path, error))?;
        let directory = File::open(&self.directory).and_then(|directory| directory.sync_all());
        directory.map_err(|error| io_error("sync", &self.directory, error))
    }
}

impl Definitions {
    /// One statement per definition; each reads back as it was.
    fn statements(&self) -> Vec<String> {
        let catalogs = self.catalogs.iter().map(|(name, catalog)| catalog.statement(name));
        let views = self.views.iter().map(|(name, view)| view_statement(name, view));
        catalogs.chain(views).collect()
    }

    fn add(&mut self, statement: sql::Statement) -> Option<()> {
        match statement {
            sql::Statement::CreateCatalog { name, connector, options, .. } => {
                self.catalogs.insert(name, CatalogDefinition { connector, options });
                Some(())
            }
            sql::Statement::CreateView { name, definition, .. } => {
                self.views.insert(name.0.into_iter().next_back()?, definition);
                Some(())
            }
            _ => None,
        }
    }
}

impl CatalogDefinition {
    /// The statement that makes this catalog.
    pub(crate) fn statement(&self, name: &str) -> String {
        let head = format!("CREATE CATALOG {} USING {}", sql::identifier(name), sql::identifier(&self.connector));
        if self.options.is_empty() {
            return head;
        }
        let option = |(name, value): &(String, String)| format!("{} = {}", sql::identifier(name), sql::literal(value));
        format!("{head} WITH ({})", self.options.iter().map(option).collect::<Vec<_>>().join(", "))
    }
}

fn view_statement(name: &str, view: &ViewDefinition) -> String {
    let columns = match &view.columns[..] {
        [] => String::new(),
        names => format!(" ({})", names.iter().map(|name| sql::identifier(name)).collect::<Vec<_>>().join(", ")),
    };
    format!("CREATE VIEW {}{columns} AS {}", sql::identifier(name), view.text)
}

/// Looks at the format alone, since nothing else of a newer file need be readable.
fn refuse_newer(text: &str, path: &Path) -> Result<()> {
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
        _ => Ok(()),
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

#[cfg(test)]
mod tests;
