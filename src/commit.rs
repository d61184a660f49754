//! The write path's single function: an entry in, a position out. Nothing else mints a position.

use polder_catalog::{Error, Kind, Offset, Position, Result, ShardName, SqlState};
use polder_log::store::{self, EntryKind, Log, LogOptions, NewEntry, Shard};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The log of one data directory. It is opened, or made, when the first entry is written or read: most commands of the
/// command line write none.
pub(crate) struct Commit {
    folder: PathBuf,
    log: tokio::sync::OnceCell<Arc<Log>>,
}

impl Commit {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, log: tokio::sync::OnceCell::new() }
    }

    /// The log, made if it is not there.
    pub(crate) async fn log(&self) -> Result<&Arc<Log>> {
        let open = || async {
            let folder = self.folder.clone();
            let opened = tokio::task::spawn_blocking(move || Log::open(folder, LogOptions::default()));
            let opened = opened.await.map_err(|error| Error::report("opening the log failed").with_source(error))?;
            opened.map(Arc::new).map_err(log_error)
        };
        self.log.get_or_try_init(open).await
    }

    /// The log, if it was opened.
    pub(crate) fn opened(&self) -> Option<&Arc<Log>> {
        self.log.get()
    }

    /// The log, unless this directory never had one.
    pub(crate) async fn stored(&self) -> Result<Option<&Arc<Log>>> {
        if self.log.initialized() || self.folder.exists() { self.log().await.map(Some) } else { Ok(None) }
    }

    /// The shard of definitions, unless this directory never had a log.
    pub(crate) async fn stored_main(&self) -> Result<Option<Shard>> {
        Ok(self.stored().await?.map(|log| log.main()))
    }

    /// An entry of `main` to be filled; a large one goes to a file beside the log.
    pub(crate) async fn new_entry(&self, kind: EntryKind) -> Result<NewEntry> {
        Ok(self.log().await?.main().new_entry(kind))
    }

    /// Appends an entry to `main`; tells where it ends there. It is durable when this returns.
    ///
    /// # Errors
    /// 58030 if the disk refuses. After a failed sync the outcome is unknown, and the error says so.
    pub(crate) async fn commit(&self, entry: NewEntry) -> Result<store::Offset> {
        let main = self.log().await?.main();
        let appended = main.append_async(entry).await.await.map_err(log_error)?;
        Ok(appended.end_offset())
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The position after these ends of shards.
pub(crate) fn position(ends: impl IntoIterator<Item = (String, store::Offset)>) -> Position {
    let shards = ends.into_iter().map(|(shard, end)| (ShardName(shard.into()), Offset(end.0)));
    Position { shards: shards.collect(), ..Position::default() }
}

/// An error of the log, for people.
pub(crate) fn log_error(error: store::Error) -> Error {
    let (kind, state) = match error.kind() {
        store::Kind::Retry => (Kind::Retry, SqlState::IO),
        store::Kind::Fix => (Kind::Fix, SqlState::STATE),
        store::Kind::Reopen => (Kind::Reopen, SqlState::IO),
        store::Kind::Repair => (Kind::Repair, SqlState::DAMAGED),
        store::Kind::Report => (Kind::Report, SqlState::INTERNAL),
    };
    let ours = Error::new(kind, state, error.message().to_string());
    let ours = match std::error::Error::source(&error) {
        Some(source) => ours.with_detail(source.to_string()),
        None => ours,
    };
    match error.hint() {
        Some(hint) => ours.with_hint(hint.to_string()),
        None => ours,
    }
}
