//! The log: a directory of shards that one process writes.

use super::clock::{Clock, SystemClock};
use super::files::{Files, Mode, OsFiles, read_small};
use super::inspect::Inspection;
use super::recovery::{create_shard, open_shard};
use super::sealed::{self, Broken, Magic};
use super::segment::{SHARD_NAME_BYTES_MAX, folder_of, shard_of};
use super::shard::{Shard, ShardOptions};
use super::view::Shared;
use super::writer::{NEW_ENDING, WriterOptions};
use super::{Error, Kind, Result};
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The shard that always exists and holds the definitions.
pub const MAIN: &str = "main";

/// The name of the lock file.
const LOCK: &str = "LOCK";

/// The ending of the folder of a shard that is being dropped.
const DROPPED_ENDING: &str = ".dropped";

/// How a log is opened.
#[derive(Clone)]
pub struct LogOptions {
    /// A segment of this length is sealed, and the next begun.
    pub segment_bytes: u64,
    /// How far the points of an index are apart.
    pub index_bytes: u64,
    /// How many bytes of entries may wait in the queue of each shard.
    pub queue_bytes: usize,
    /// How many bytes of entries one commit takes.
    pub group_bytes: usize,
    /// Where the files are.
    pub files: Arc<dyn Files>,
    /// Where commit times come from.
    pub clock: Arc<dyn Clock>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            index_bytes: 64 << 10,
            queue_bytes: 64 << 20,
            group_bytes: 8 << 20,
            files: Arc::new(OsFiles),
            clock: Arc::new(SystemClock),
        }
    }
}

/// An open log. Dropping it closes it: what waits is written and answered, then the threads end and the lock is
/// released.
pub struct Log {
    folder: PathBuf,
    options: LogOptions,
    shards: Mutex<BTreeMap<String, Shard>>,
    /// Released after the threads have ended, for fields are dropped after `drop` has run.
    _lock: Box<dyn Any + Send + Sync>,
}

impl Log {
    /// Opens the log in `folder`, or makes one there, with its shard `main`. Fails if another process has it open.
    pub fn open(folder: impl Into<PathBuf>, options: LogOptions) -> Result<Self> {
        let folder = folder.into();
        let files = options.files.as_ref();
        create_folder(files, &folder).map_err(|error| Error::io(format!("create {}", folder.display()), error))?;
        let lock = lock(files, &folder)?;
        check_format(files, &folder)?;
        let log = Self { folder, options, shards: Mutex::default(), _lock: lock };
        // A crash may have come between the making or dropping of a shard and the sync that makes its name durable.
        let synced = log.options.files.sync_dir(&log.folder);
        synced.map_err(|error| Error::io(format!("sync {}", log.folder.display()), error))?;
        let names = log.stored_shards()?;
        if !names.is_empty() && !names.iter().any(|name| name == MAIN) {
            return Err(log.without_main(&names));
        }
        log.open_shards(&names)?;
        if log.shard(MAIN).is_none() {
            log.create_shard(MAIN)?;
        }
        Ok(log)
    }

    /// Looks into the log in `folder` without opening it: no lock is taken and nothing is changed.
    pub fn inspect(folder: impl Into<PathBuf>, options: LogOptions) -> Inspection {
        Inspection::new(folder, options)
    }

    /// The shard that holds the definitions.
    pub fn main(&self) -> Shard {
        self.shard(MAIN).expect("opening the log made its main shard")
    }

    /// A shard by its name.
    pub fn shard(&self, name: &str) -> Option<Shard> {
        self.lock_shards().get(name).cloned()
    }

    /// All shards, by name.
    pub fn shards(&self) -> Vec<Shard> {
        self.lock_shards().values().cloned().collect()
    }

    /// Makes a shard. It is durable when this returns.
    pub fn create_shard(&self, name: &str) -> Result<Shard> {
        check_name(name)?;
        if self.shard(name).is_some() {
            return Err(Error::fix(format!("shard \"{name}\" exists already")));
        }
        let files = self.options.files.as_ref();
        let folder = self.folder.join(folder_of(name));
        let unfinished = folder.with_added_extension(&NEW_ENDING[1..]);
        let failed = |error| Error::io(format!("create shard \"{name}\""), error);
        remove_folder(files, &unfinished).map_err(failed)?;
        files.create_dir(&unfinished).map_err(failed)?;
        create_shard(&self.shared(name, unfinished.clone()))?;
        files.sync_dir(&unfinished).map_err(failed)?;
        files.rename(&unfinished, &folder).map_err(failed)?;
        files.sync_dir(&self.folder).map_err(failed)?;
        self.open_shard(name)
    }

    /// Drops a shard with all of its entries. Those who read it may fail from now on.
    pub fn drop_shard(&self, name: &str) -> Result<()> {
        if name == MAIN {
            return Err(Error::fix("the shard \"main\" cannot be dropped"));
        }
        let shard = self.lock_shards().remove(name);
        let shard = shard.ok_or_else(|| Error::fix(format!("shard \"{name}\" does not exist")))?;
        shard.close();
        let files = self.options.files.as_ref();
        let folder = self.folder.join(folder_of(name));
        let dropped = folder.with_added_extension(&DROPPED_ENDING[1..]);
        let failed = |error| Error::io(format!("drop shard \"{name}\""), error);
        files.rename(&folder, &dropped).map_err(failed)?;
        files.sync_dir(&self.folder).map_err(failed)?;
        remove_folder(files, &dropped).map_err(failed)
    }

    /// The files of the log, and a folder beside those of its shards. A name with a dot is no shard's.
    #[cfg(feature = "table")]
    pub(crate) fn beside(&self, name: &str) -> (Arc<dyn Files>, PathBuf) {
        debug_assert!(name.contains('.'), "a name without a dot may be a shard's");
        (Arc::clone(&self.options.files), self.folder.join(name))
    }

    /// Writes what waits, ends the threads, and releases the directory.
    pub fn close(self) {
        drop(self);
    }

    /// The shards in the directory, after what a crash left of creating or dropping one is gone.
    fn stored_shards(&self) -> Result<Vec<String>> {
        let files = self.options.files.as_ref();
        let failed = |error| Error::io(format!("list {}", self.folder.display()), error);
        let names = files.list(&self.folder).map_err(failed)?;
        for name in names.iter().filter(|name| name.ends_with(NEW_ENDING) || name.ends_with(DROPPED_ENDING)) {
            remove_folder(files, &self.folder.join(name)).map_err(failed)?;
        }
        Ok(names.iter().filter_map(|name| shard_of(name)).collect())
    }

    /// `main` is made before any other shard and never dropped: made anew it would hide that the definitions are lost.
    fn without_main(&self, others: &[String]) -> Error {
        let folder = self.folder.join(folder_of(MAIN));
        let message = format!("the shard \"{MAIN}\" is missing beside {} others: {}", others.len(), others.join(", "));
        Error::new(Kind::Repair, message).with_hint(format!(
            "nothing was changed; it holds the definitions: restore {} from a backup or a replica",
            folder.display()
        ))
    }

    /// Opens shards, several at a time: each reads and hashes its last segment.
    fn open_shards(&self, names: &[String]) -> Result<()> {
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(names.len());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.open_shard(name)?;
            }
            Ok(())
        };
        if workers < 2 {
            return work();
        }
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let mut opened =
                workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            opened.try_for_each(|opened| opened)
        })
    }

    fn open_shard(&self, name: &str) -> Result<Shard> {
        let LogOptions { segment_bytes, queue_bytes, group_bytes, ref clock, .. } = self.options;
        let shared = self.shared(name, self.folder.join(folder_of(name)));
        let writer = open_shard(shared.clone(), WriterOptions { segment_bytes, ..WriterOptions::default() })?;
        let shard = Shard::run(shared, writer, ShardOptions { queue_bytes, group_bytes, clock: Arc::clone(clock) })?;
        self.lock_shards().insert(name.to_string(), shard.clone());
        Ok(shard)
    }

    fn shared(&self, name: &str, folder: PathBuf) -> Shared {
        let LogOptions { files, index_bytes, .. } = &self.options;
        Shared {
            files: Arc::clone(files),
            name: name.into(),
            folder: folder.into(),
            index_bytes: *index_bytes,
            syncs: Arc::default(),
        }
    }

    fn lock_shards(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Shard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shards().iter().for_each(Shard::close);
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > SHARD_NAME_BYTES_MAX {
        return Err(Error::fix(format!("the name of a shard has 1 to {SHARD_NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Makes the folder and the folders above it that are missing, and their names durable. The one right above is synced
/// in any case: a crash may have come between its making and its sync.
fn create_folder(files: &dyn Files, folder: &Path) -> io::Result<()> {
    let missing =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && files.list(path).is_err()).count();
    files.create_dir(folder)?;
    for parent in folder.ancestors().skip(1).take(missing.max(1)) {
        files.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
    }
    Ok(())
}

fn lock(files: &dyn Files, folder: &Path) -> Result<Box<dyn Any + Send + Sync>> {
    files.lock(&folder.join(LOCK)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Error::new(Kind::Fix, format!("the log in {} is in use by another process", folder.display()))
                .with_hint("stop the other process, or give this one another data directory")
        }
        _ => Error::io(format!("lock {}", folder.display()), error),
    })
}

/// The lock file names the format of the directory, so that an older Polder does not even look at a newer one. It is
/// written by who finds it empty; one that a crash has torn says nothing, and is written again.
fn check_format(files: &dyn Files, folder: &Path) -> Result<()> {
    let path = folder.join(LOCK);
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    let content = read_small(files, &path, sealed::sealed_bytes(0) as u64).map_err(failed)?;
    match sealed::open(Magic::LOCK, &content) {
        Ok(_) => Ok(()),
        Err(newer @ Broken::Newer(_)) => Err(newer.into_error(LOCK, Error::fix)),
        Err(Broken::Damaged(_)) => {
            let file = files.open(&path, Mode::Write).map_err(failed)?;
            file.write_all_at(&sealed::seal(Magic::LOCK, &[]), 0).map_err(failed)
        }
    }
}

/// Removes a folder and the files in it; it is no error if it is not there.
fn remove_folder(files: &dyn Files, folder: &Path) -> io::Result<()> {
    let names = match files.list(folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        files.remove(&folder.join(name))?;
    }
    files.remove_dir(folder)
}
