//! The write path's single function: an entry in, a position out. Nothing else mints a position.
//!
//! Entries that change Polder's own tables are decided when the log takes them, one after the other and in its order: what a
//! constraint refuses becomes an entry that says so, and what stands on rows that have changed becomes none.

use crate::requests::{self, Before, Rejection, Request, Requests};
use futures::future::BoxFuture;
use polder_catalog::{Definition, Error, Kind, Offset, Position, Result, ShardName, SqlState};
use polder_log::store::{self, Attributes, DurableEnd, EntryKind, Log, LogOptions, MAIN, NewEntry, Shard};
use polder_rows::{Changes, Proposal, Reads, RowsSource};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The log of one data directory. It is opened, or made, when the first entry is written or read: most commands of the
/// command line write none.
pub(crate) struct Commit {
    folder: PathBuf,
    log: tokio::sync::OnceCell<Arc<Log>>,
    tables: Arc<RowsSource>,
    requests: Arc<Requests>,
    replayed: tokio::sync::OnceCell<()>,
    fill: Fill,
}

/// Fills the tables and the requests with what `main` has, when they are first needed.
pub(crate) type Fill = Box<dyn Fn(Shard) -> BoxFuture<'static, Result<()>> + Send + Sync>;

impl Commit {
    /// Of a folder, with what is made of the log.
    pub(crate) fn new(folder: PathBuf, tables: Arc<RowsSource>, requests: Arc<Requests>, fill: Fill) -> Self {
        Self { folder, log: Default::default(), tables, requests, replayed: Default::default(), fill }
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
            (self.fill)(main.clone()).await?;
            self.tables.show_durable(move || main.end().entries.0);
            Ok::<_, Error>(())
        };
        self.replayed.get_or_try_init(replay).await?;
        Ok(&self.tables)
    }

    /// Whether the tables show what the log had when it was opened.
    pub(crate) fn is_replayed(&self) -> bool {
        self.replayed.initialized()
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
        if definitions.is_empty() && changes.is_empty() && reads.is_none() {
            return Ok(Proposal::default());
        }
        self.tables().await?.propose(definitions, changes, reads)
    }

    /// Appends an entry to `main`; it is durable when this returns. With a request, whose name and outcome its attributes have, it
    /// is appended once, however often the request comes.
    ///
    /// # Errors
    /// 58030 if the disk refuses. After a failed sync the outcome is unknown, and the error says so. 40001 if what the entry
    /// stands on has changed: then there is no entry. 23505 if a constraint refuses it: there is a durable entry that says so.
    /// PD001 if the id of the request was another one's.
    pub(crate) async fn commit(
        &self,
        entry: NewEntry,
        proposal: Proposal,
        request: Option<Request>,
    ) -> Result<Committed> {
        let main = self.log().await?.main();
        if proposal.is_empty() && request.is_none() {
            return Ok(Committed::Now(main.append_async(entry).await.await.map_err(log_error)?.end_offset()));
        }
        let (verdict, bytes) = (Verdict::default(), entry.memory_bytes());
        let (tables, requests) = (Arc::clone(self.tables().await?), Arc::clone(&self.requests));
        let deciding = Deciding { tables, requests, proposal, request: request.clone(), verdict: verdict.clone() };
        let appended = main.append_decided(bytes, move |end| deciding.decide(end, entry)).await.await;
        match verdict.take() {
            // Whoever is told that a key is taken can rely on it, so the entry that says so is durable, too.
            Some(Refused::ByConstraint(error)) => appended.map_err(log_error).and(Err(error)),
            Some(Refused::NoEntry(error)) => Err(error),
            // It was in the same group, which may have failed since.
            Some(Refused::Known) => match self.outcome(request.as_ref()).await? {
                Some(outcome) => Ok(Committed::Before(outcome)),
                None => Err(Error::retry(SqlState::SERIALIZATION, "the same request has just failed")),
            },
            None => Ok(Committed::Now(appended.map_err(log_error)?.end_offset())),
        }
    }

    /// What became of a request, if the log knows it.
    ///
    /// # Errors
    /// PD001 if its id was another statement's.
    pub(crate) async fn outcome(&self, request: Option<&Request>) -> Result<Option<Before>> {
        let Some(request) = request else { return Ok(None) };
        self.tables().await?;
        self.requests.outcome(self.log().await?.main().end().entries.0, request)
    }

    /// The requests, once all are known that the log has.
    pub(crate) async fn requests(&self) -> Result<&Arc<Requests>> {
        self.tables().await?;
        Ok(&self.requests)
    }
}

/// What has become of an entry.
pub(crate) enum Committed {
    /// It is in the log and ends here.
    Now(store::Offset),
    /// Its request was in the log already.
    Before(Before),
}

/// What is decided in the thread of the log.
struct Deciding {
    tables: Arc<RowsSource>,
    requests: Arc<Requests>,
    proposal: Proposal,
    request: Option<Request>,
    verdict: Verdict,
}

/// Why an entry was not taken as it is.
enum Refused {
    ByConstraint(Error),
    NoEntry(Error),
    /// The log has the request.
    Known,
}

#[derive(Clone, Default)]
struct Verdict(Arc<Mutex<Option<Refused>>>);

impl Verdict {
    fn set(&self, refused: Refused) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
    }

    fn take(&self) -> Option<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Deciding {
    /// The entry that the log takes: this one, one that says why not, or none.
    fn decide(self, end: DurableEnd, entry: NewEntry) -> store::Result<NewEntry> {
        let none = |refused| {
            self.verdict.set(refused);
            Err(store::Error::declined("the entry was not taken"))
        };
        match self.request.as_ref().map(|request| self.requests.decide(end.entries.0, request)) {
            Some(Err(error)) => return none(Refused::NoEntry(error)),
            Some(Ok(Some(_))) => return none(Refused::Known),
            Some(Ok(None)) | None => {}
        }
        let end_offset = end.offset + entry.record_count();
        let decided = match self.proposal.is_empty() {
            true => Ok(()),
            false => self.tables.decide(end.entries.0, position([(MAIN.to_string(), end_offset)]), &self.proposal),
        };
        match decided {
            Ok(()) => {
                let outcome = entry.attributes().outcome.clone().unwrap_or_default();
                self.note(end, end_offset, Ok(outcome));
                Ok(entry)
            }
            Err(error) if error.kind() == Kind::Fix => {
                let rejection = Rejection::of(&error);
                let entry = rejection_entry(&rejection, &entry)?;
                self.note(end, end.offset + entry.record_count(), Err(rejection));
                self.verdict.set(Refused::ByConstraint(error));
                Ok(entry)
            }
            Err(error) => none(Refused::NoEntry(error)),
        }
    }

    fn note(&self, end: DurableEnd, end_offset: store::Offset, outcome: requests::Outcome) {
        if let Some(request) = &self.request {
            self.requests.note(end.entries.0, end_offset, end.time, request, outcome);
        }
    }
}

/// The dataset whose records are rejections and outcomes; no table has it.
const NO_DATASET: u64 = 0;

fn rejection_entry(rejection: &Rejection, of: &NewEntry) -> store::Result<NewEntry> {
    let attributes = Attributes { outcome: None, ..of.attributes().clone() };
    let mut entry = NewEntry::new(EntryKind::REJECTION).with_attributes(attributes);
    entry.add_bytes(NO_DATASET, &serde_json::to_vec(rejection).expect("texts serialize"))?;
    Ok(entry)
}

/// An entry of a request that changes nothing: what it was answered is true for ever, too.
pub(crate) fn outcome_entry() -> Result<NewEntry> {
    let mut entry = NewEntry::new(EntryKind::OUTCOME);
    entry.add_bytes(NO_DATASET, b"").map_err(log_error)?;
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
