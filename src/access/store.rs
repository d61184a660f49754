//! The file that roles are kept in.

use super::roles::Roles;
use crate::access::log_in::{Failures, random};
use polder_catalog::{Error, Kind, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FILE: &str = "access.json";

/// The format that this version writes. A newer one is refused.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    access: Roles,
}

/// Who may do what.
#[derive(Debug)]
pub(crate) struct Access {
    path: PathBuf,
    roles: Mutex<Arc<Roles>>,
    /// Held from reading the roles to replacing them.
    changing: Mutex<()>,
    pub(super) failures: Failures,
    /// What users who do not exist are answered with.
    pub(super) secret: [u8; 32],
}

impl Access {
    /// Reads what is kept in a data directory; a new one has nobody.
    ///
    /// # Errors
    /// XX001 for a damaged file, 55000 for one of a newer version: nobody is let in on a guess.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let roles = Mutex::new(Arc::new(read(&path)?));
        let (changing, failures) = (Mutex::default(), Failures::default());
        Ok(Self { path, roles, changing, failures, secret: random()? })
    }

    /// Everything as of now.
    pub(crate) fn roles(&self) -> Arc<Roles> {
        Arc::clone(&lock(&self.roles))
    }

    /// Changes something: durably, then for everybody.
    ///
    /// # Errors
    /// Those of the change, which then is none; 58030 if it cannot be written.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Roles) -> Result<T>) -> Result<T> {
        let _changing = lock(&self.changing);
        let old = self.roles();
        let mut roles = Roles::clone(&old);
        let given = change(&mut roles)?;
        if roles != *old {
            write(&self.path, roles.clone())?;
            *lock(&self.roles) = Arc::new(roles);
        }
        Ok(given)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<Roles> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Roles::default()),
        Err(error) => return Err(io_error("read", path, &error)),
    };
    let damaged = |detail: String| {
        Error::new(Kind::Repair, SqlState::DAMAGED, format!("{} is damaged", path.display()))
            .with_detail(detail)
            .with_hint(
                "restore the file from a copy; without it nobody could log in, and then everybody could do everything",
            )
    };
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let head: Head = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if head.format > FORMAT {
        let message =
            format!("{} has format {}, this version of Polder reads up to {FORMAT}", path.display(), head.format);
        return Err(Error::fix(SqlState::STATE, message).with_hint("use a newer version of Polder"));
    }
    let stored: Stored = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    Ok(stored.access)
}

/// For nobody else's eyes.
fn write(path: &Path, access: Roles) -> Result<()> {
    let text = serde_json::to_string_pretty(&Stored { format: FORMAT, access }).expect("roles serialize");
    let new = path.with_extension("json.new");
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    written().map_err(|error| io_error("write", path, &error))
}

fn io_error(action: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Fix, SqlState::IO, format!("could not {action} {}", path.display())).with_detail(error.to_string())
}
