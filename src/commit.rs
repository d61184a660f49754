//! The write path's single function: an entry in, a position out. Nothing else mints a position.
//!
//! Entries that change Polder's own tables are decided when the log takes them, one after the other and in its order: what a
//! constraint refuses becomes an entry that says so, and what stands on rows that have changed becomes none.

use crate::catalogs::POLDER;
use crate::follow;
use polder_catalog::{CatalogName, Definition, Error, Kind, Offset, Position, Result, ShardName, SqlState};
use polder_log::store::{self, DurableEnd, EntryKind, Log, LogOptions, MAIN, NewEntry, Shard};
use polder_rows::{Changes, Proposal, Reads, RowsSource};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The log of one data directory. It is opened, or made, when the first entry is written or read: most commands of the
/// command line write none.
pub(crate) struct Commit {
    folder: PathBuf,
    log: tokio::sync::OnceCell<Arc<Log>>,
    tables: Arc<RowsSource>,
    replayed: tokio::sync::OnceCell<()>,
}

impl Commit {
    pub(crate) fn new(folder: PathBuf) -> Self {
        let tables = Arc::new(RowsSource::new(CatalogName::new(POLDER)));
        Self { folder, log: Default::default(), tables, replayed: Default::default() }
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

    /// Polder's own tables, whatever they show yet.
    pub(crate) fn own(&self) -> &Arc<RowsSource> {
        &self.tables
    }

    /// Polder's own tables, once they show what the log has.
    ///
    /// # Errors
    /// XX001 if the log or an entry in it cannot be read: then the tables are not usable, and all else is.
    pub(crate) async fn tables(&self) -> Result<&Arc<RowsSource>> {
        let replay = || async {
            let main = self.log().await?.main();
            follow::replay(&main, &self.tables).await?;
            self.tables.show_durable(move || main.end().entries.0);
            Ok::<_, Error>(())
        };
        self.replayed.get_or_try_init(replay).await?;
        Ok(&self.tables)
    }

    /// What an entry does to Polder's own tables, for [`commit`](Self::commit).
    ///
    /// # Errors
    /// Those of [`tables`](Self::tables), 42P01 for a table that is not there any more.
    pub(crate) async fn propose(
        &self,
        definitions: Vec<Definition>,
        changes: &Changes,
        reads: Option<Reads>,
    ) -> Result<Proposal> {
        if definitions.is_empty() && changes.is_empty() {
            return Ok(Proposal::default());
        }
        self.tables().await?.propose(definitions, changes, reads)
    }

    /// Appends an entry to `main`; tells where it ends there. It is durable when this returns.
    ///
    /// # Errors
    /// 58030 if the disk refuses. After a failed sync the outcome is unknown, and the error says so. 40001 if what the entry
    /// stands on has changed: then there is no entry. 23505 if a constraint refuses it: there is a durable entry that says so.
    pub(crate) async fn commit(&self, entry: NewEntry, proposal: Proposal) -> Result<store::Offset> {
        let main = self.log().await?.main();
        if proposal.is_empty() {
            return Ok(main.append_async(entry).await.await.map_err(log_error)?.end_offset());
        }
        let (tables, refused) = (Arc::clone(self.tables().await?), Refused::default());
        let (bytes, told) = (entry.memory_bytes(), refused.clone());
        let decide = move |end: DurableEnd| {
            let after = position([(MAIN.to_string(), end.offset + entry.record_count())]);
            match tables.decide(end.entries.0, after, &proposal) {
                Ok(()) => Ok(entry),
                Err(error) => told.because(error, &entry),
            }
        };
        let appended = main.append_decided(bytes, decide).await.await;
        match refused.take() {
            // Whoever is told that a key is taken can rely on it, so the entry that says so is durable, too.
            Some(error) if error.kind() == Kind::Fix => appended.map_err(log_error).and(Err(error)),
            Some(error) => Err(error),
            None => Ok(appended.map_err(log_error)?.end_offset()),
        }
    }
}

/// Why an entry was not taken as it is.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Option<Error>>>);

impl Refused {
    /// The entry that the log takes instead, if any.
    fn because(&self, error: Error, entry: &NewEntry) -> store::Result<NewEntry> {
        let rejection = match error.kind() {
            Kind::Fix => rejection(&error, entry),
            _ => Err(store::Error::declined(error.message())),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        rejection
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The dataset whose records are rejections; no table has it.
const REJECTIONS: u64 = 0;

/// What an entry of a rejection holds, as JSON.
#[derive(Serialize)]
struct Rejection<'a> {
    format: u32,
    sqlstate: &'a str,
    message: &'a str,
    detail: Option<&'a str>,
}

fn rejection(error: &Error, of: &NewEntry) -> store::Result<NewEntry> {
    let mut entry = NewEntry::new(EntryKind::REJECTION).with_attributes(of.attributes().clone());
    let (state, message, detail) = (error.state(), error.message(), error.detail());
    let rejection = Rejection { format: 1, sqlstate: state.as_str(), message, detail };
    entry.add_bytes(REJECTIONS, &serde_json::to_vec(&rejection).expect("texts serialize"))?;
    Ok(entry)
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
