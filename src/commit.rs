//! The write path's single function: an entry in, a position out. Nothing else mints a position.
//!
//! Entries that change Polder's own tables are decided when the log takes them, one after the other and in its order: what a
//! constraint refuses becomes an entry that says so, and what stands on rows that have changed becomes none.

use crate::definitions::{Change, POLDER, TableDefinition, dataset_id, definitions_in, entry_of};
use crate::effects::Effects;
use crate::epoch;
use crate::home::{NO_DATASET, table_shard};
use crate::requests::{self, Before, Found, Rejection, Request, Requests};
use futures::future::BoxFuture;
use polder_catalog::{
    CatalogName, Definition, Error, Kind, Offset, Position, ReadContext, Result, ShardName, SqlState,
};
use polder_log::store::{self, Attributes, DurableEnd, EntryKind, Log, LogOptions, MAIN, NewEntry, Shard};
use polder_rows::{Changes, Home, Proposal, Reads, RowsSource};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The log of one data directory. It is opened, or made, when the first entry is written or read: most commands of the
/// command line write none.
pub(crate) struct Commit {
    folder: PathBuf,
    options: LogOptions,
    log: tokio::sync::OnceCell<Arc<Log>>,
    tables: Arc<RowsSource>,
    requests: Arc<Requests>,
    /// Those over which tables are spread.
    shards: RwLock<Vec<Ledger>>,
    effects: Arc<Effects>,
    /// The tables that are spread, as they are defined.
    spread: Mutex<Vec<TableDefinition>>,
    replayed: tokio::sync::OnceCell<()>,
    fill: Fill,
    /// Held while an epoch is made: whoever waits may find itself in it.
    minting: tokio::sync::Mutex<()>,
}

/// One order of entries that decide about tables, and the requests in it.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) home: Home,
    pub(crate) shard: Shard,
    pub(crate) requests: Arc<Requests>,
}

impl Ledger {
    /// Forgets what was decided and the log did not take: it has so many entries now, and this is called before the next one. Who
    /// would look at the number of entries alone would take what failed for the one that came in its place.
    fn take_back(&self, tables: &RowsSource, effects: &Effects, end: DurableEnd) -> store::Result<()> {
        self.requests.take_back(end.entries.0);
        effects.take_back(self.home, end.offset.0);
        tables.take_back(self.home, end.entries.0).map_err(|error| store::Error::declined(error.to_string()))
    }
}

/// Fills the tables and the requests with what a shard has, when they are first needed.
pub(crate) type Fill = Box<dyn Fn(Ledger) -> BoxFuture<'static, Result<()>> + Send + Sync>;

impl Commit {
    /// Of a folder, with what is made of the log.
    pub(crate) fn new(
        folder: PathBuf,
        options: LogOptions,
        tables: Arc<RowsSource>,
        requests: Arc<Requests>,
        effects: Arc<Effects>,
        fill: Fill,
    ) -> Self {
        Self {
            folder,
            options,
            log: Default::default(),
            tables,
            requests,
            shards: RwLock::default(),
            effects,
            spread: Mutex::default(),
            replayed: Default::default(),
            fill,
            minting: Default::default(),
        }
    }

    /// The log, made if it is not there.
    pub(crate) async fn log(&self) -> Result<&Arc<Log>> {
        let open = || async {
            let (folder, options) = (self.folder.clone(), self.options.clone());
            let opened = tokio::task::spawn_blocking(move || Log::open(folder, options));
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
        self.replayed.get_or_try_init(|| Box::pin(self.replay())).await?;
        Ok(&self.tables)
    }

    async fn replay(&self) -> Result<()> {
        let main = self.ledger_of_main().await?;
        let shard = main.shard.clone();
        (self.fill)(main).await?;
        self.tables.show_durable(Home::Main, move || shard.end().entries.0)?;
        let log = self.log().await?;
        let there = (0..).take_while(|at| log.shard(&table_shard(*at)).is_some()).count();
        self.open_shards(u32::try_from(there).unwrap_or(u32::MAX)).await?;
        self.open_shards(self.shards_wanted()).await?;
        let shards = self.shards();
        if shards.is_empty() {
            return Ok(());
        }
        for ledger in &shards {
            (self.fill)(ledger.clone()).await?;
        }
        let ends: Vec<u64> = shards.iter().map(|ledger| ledger.shard.end().offset.0).collect();
        match *self.tables.cut() == ends {
            true => self.tables.adopt(ends)?,
            // A crash came between an entry and its epoch.
            false => self.mint().await?,
        }
        self.define_in_shards().await
    }

    /// Whether the tables show what the log had when it was opened.
    pub(crate) fn is_replayed(&self) -> bool {
        self.replayed.initialized()
    }

    async fn ledger_of_main(&self) -> Result<Ledger> {
        let shard = self.log().await?.main();
        Ok(Ledger { home: Home::Main, shard, requests: Arc::clone(&self.requests) })
    }

    fn shards(&self) -> Vec<Ledger> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every order of entries that decide about tables, once all are known that the log has: that of `main` first.
    pub(crate) async fn ledgers(&self) -> Result<Vec<Ledger>> {
        self.tables().await?;
        Ok(std::iter::once(self.ledger_of_main().await?).chain(self.shards()).collect())
    }

    /// That of a home.
    pub(crate) async fn ledger(&self, home: Home) -> Result<Ledger> {
        let Home::Shard(at) = home else { return self.ledger_of_main().await };
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(at as usize).cloned().ok_or_else(|| Error::report(format!("there is no shard {at} of tables")))
    }

    /// Tells which tables are defined. Those that are spread get the shards that they need when the tables are filled.
    pub(crate) fn set_tables<'a>(&self, tables: impl Iterator<Item = &'a TableDefinition>) {
        let spread = tables.filter(|table| table.sharding.is_some()).cloned().collect();
        *self.spread.lock().unwrap_or_else(PoisonError::into_inner) = spread;
    }

    fn spread(&self) -> Vec<TableDefinition> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shards_wanted(&self) -> u32 {
        self.spread()
            .iter()
            .filter_map(|table| table.sharding.as_ref())
            .map(|sharding| sharding.count)
            .max()
            .unwrap_or(0)
    }

    /// Makes sure that there are so many shards for tables.
    pub(crate) async fn open_shards(&self, count: u32) -> Result<()> {
        let log = Arc::clone(self.log().await?);
        for at in u32::try_from(self.shards().len()).unwrap_or(u32::MAX)..count {
            let (log, name) = (Arc::clone(&log), table_shard(at));
            let shard = tokio::task::spawn_blocking(move || match log.shard(&name) {
                Some(shard) => Ok(shard),
                None => log.create_shard(&name),
            });
            let shard =
                shard.await.map_err(|error| Error::report("making a shard ended in a panic").with_source(error))?;
            let shard = shard.map_err(log_error)?;
            self.tables.extend(at + 1);
            let durable = shard.clone();
            self.tables.show_durable(Home::Shard(at), move || durable.end().entries.0)?;
            let requests = Arc::new(self.requests.another());
            let ledger = Ledger { home: Home::Shard(at), shard, requests };
            self.shards.write().unwrap_or_else(PoisonError::into_inner).push(ledger);
        }
        Ok(())
    }

    /// Defines in each shard what `main` says that is there. A crash in between is mended by the next call.
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit).
    pub(crate) async fn define_in_shards(&self) -> Result<()> {
        let (spread, mut is_changed) = (self.spread(), false);
        self.open_shards(self.shards_wanted()).await?;
        for (at, ledger) in (0..).zip(self.shards()) {
            let is_here =
                |table: &&TableDefinition| table.sharding.as_ref().is_some_and(|sharding| at < sharding.count);
            let wanted: Vec<&TableDefinition> = spread.iter().filter(is_here).collect();
            let ids: Vec<_> = wanted.iter().map(|table| dataset_id(table.id)).collect();
            let gone = self.tables.ids(ledger.home).into_iter().filter(|id| !ids.contains(id));
            let gone = gone.filter_map(|id| Some(Change::forget(id.0.parse().ok()?)));
            let known = |table: &TableDefinition| self.tables.definition(ledger.home, &dataset_id(table.id));
            let changed = wanted.iter().filter_map(|table| match known(table) {
                None => Some(Change::CreateTable { table: (*table).clone() }),
                Some(known) if *known == table.for_source() => None,
                Some(_) => Some(Change::AlterTable { table: (*table).clone() }),
            });
            let changes: Vec<Change> = gone.chain(changed).collect();
            if changes.is_empty() {
                continue;
            }
            let mut entry = ledger.shard.new_entry(EntryKind::DEFINITION);
            entry_of(&mut entry, &changes).map_err(log_error)?;
            let definitions = definitions_in(&changes, &CatalogName::new(POLDER));
            let proposal = self.tables.propose(ledger.home, definitions, &Changes::default(), None)?;
            let write = Write { entry, proposal, request: None, declined: None };
            if let Decision::Refused(error) = self.append(&ledger, write).await? {
                return Err(error);
            }
            is_changed = true;
        }
        if is_changed { self.mint().await } else { Ok(()) }
    }

    /// What an entry does to Polder's own tables, for [`commit`](Self::commit): where its rows are at home.
    ///
    /// # Errors
    /// Those of [`tables`](Self::tables), 42P01 for a table that is not there any more, 0A000 if the changes, or what they stand on,
    /// are at home in several places.
    pub(crate) async fn propose(
        &self,
        definitions: Vec<Definition>,
        changes: &Changes,
        reads: Option<Reads>,
    ) -> Result<Proposal> {
        if definitions.is_empty() && changes.is_empty() && reads.is_none() {
            return Ok(Proposal::default());
        }
        let tables = self.tables().await?;
        let changed = if definitions.is_empty() { tables.home_of(changes)? } else { Some(Home::Main) };
        let read = reads.as_ref().map(Reads::homes).unwrap_or_default();
        if changed.is_some_and(|changed| read.iter().any(|read| *read != changed)) {
            return Err(polder_rows::spans());
        }
        let home = changed.or_else(|| read.into_iter().next()).unwrap_or_default();
        tables.propose(home, definitions, changes, reads)
    }

    /// Appends an entry where its rows are at home; it is durable, and shown, when this returns. With a request, whose name and
    /// outcome its attributes have, it is appended once, however often the request comes.
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
        if proposal.is_empty() && request.is_none() {
            let (ledger, tables, bytes) =
                (self.ledger_of_main().await?, Arc::clone(&self.tables), entry.memory_bytes());
            let (main, effects) = (ledger.shard.clone(), Arc::clone(&self.effects));
            // Also an entry that decides nothing comes behind what the log did not take.
            let decide = move |end: DurableEnd| ledger.take_back(&tables, &effects, end).map(|()| entry);
            let appended = main.append_decided(bytes, decide).await.await;
            return Ok(Committed::Now(appended.map_err(log_error)?.end_offset()));
        }
        let write = Write { entry, proposal, request, declined: None };
        match self.decide(write).await? {
            Decision::Taken(committed, _) => Ok(committed),
            Decision::Refused(error) => Err(error),
        }
    }

    /// The same, telling what the log has refused from what did not come to the log. An effect is not waited for to be shown.
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit), without what a constraint refuses.
    pub(crate) async fn decide(&self, write: Write) -> Result<Decision> {
        self.tables().await?;
        let ledger = self.ledger(write.proposal.home()).await?;
        let is_effect = write.proposal.is_effect();
        match self.append(&ledger, write).await? {
            Decision::Taken(Committed::Now(end), _) if !is_effect => {
                Ok(Decision::Taken(Committed::Now(self.shown(ledger.home, end).await?), end))
            }
            decision => Ok(decision),
        }
    }

    /// Appends an entry, without waiting until it is shown; where it ends in its own shard.
    async fn append(&self, ledger: &Ledger, write: Write) -> Result<Decision> {
        let Write { entry, proposal, request, declined } = write;
        let (verdict, bytes, emits) = (Verdict::default(), entry.memory_bytes(), entry.kind() == EntryKind::REQUEST);
        let deciding = Deciding {
            ledger: ledger.clone(),
            tables: Arc::clone(&self.tables),
            effects: Arc::clone(&self.effects),
            proposal,
            request: request.clone(),
            declined,
            verdict: verdict.clone(),
        };
        let appended = ledger.shard.append_decided(bytes, move |end| deciding.decide(end, entry)).await.await;
        match verdict.take() {
            // Whoever is told that a key is taken can rely on it, so the entry that says so is durable, too.
            Some(Refused::ByConstraint(error)) => appended.map_err(log_error).map(|_| Decision::Refused(error)),
            Some(Refused::NoEntry(error)) => Err(error),
            // It was in the same group, which may have failed since.
            Some(Refused::Known) => match self.outcome(request.as_ref()).await? {
                Some(outcome) => {
                    let end = outcome.end;
                    Ok(Decision::Taken(Committed::Before(outcome), end))
                }
                None => Err(Error::retry(SqlState::SERIALIZATION, "the same request has just failed")),
            },
            None => {
                let end = appended.map_err(log_error)?.end_offset();
                if emits {
                    // It is durable now, so they can be done.
                    self.effects.tell();
                }
                Ok(Decision::Taken(Committed::Now(end), end))
            }
        }
    }

    /// What is emitted to other shards.
    pub(crate) fn effects(&self) -> &Arc<Effects> {
        &self.effects
    }

    /// Waits until everything before an offset of a home is shown: an offset of `main` that has it.
    ///
    /// # Errors
    /// The log's, if it takes no epoch: the entry is durable, and shown when the log is opened again.
    pub(crate) async fn shown(&self, home: Home, end: store::Offset) -> Result<store::Offset> {
        let Home::Shard(at) = home else { return Ok(end) };
        let is_shown = || self.tables.cut().get(at as usize).is_some_and(|cut| *cut >= end.0);
        if !is_shown() {
            let _minting = self.minting.lock().await;
            if !is_shown() {
                self.mint().await.map_err(|error| {
                    error.with_detail("the entry is durable, and shown when the data directory is opened again")
                })?;
            }
        }
        let position = self.tables.position();
        Ok(position.shards.get(&ShardName(MAIN.into())).map_or(store::Offset(0), |offset| store::Offset(offset.0)))
    }

    /// Makes an epoch of everything that is durable, if there is more than at the one before.
    pub(crate) async fn show_all(&self) -> Result<()> {
        let ends: Vec<u64> = self.shards().iter().map(|ledger| ledger.shard.end().offset.0).collect();
        if *self.tables.cut() == ends {
            return Ok(());
        }
        let _minting = self.minting.lock().await;
        self.mint().await
    }

    async fn mint(&self) -> Result<()> {
        let (ledger, shards, tables) = (self.ledger_of_main().await?, self.shards(), Arc::clone(&self.tables));
        let (main, effects) = (ledger.shard.clone(), Arc::clone(&self.effects));
        let decide = move |end: DurableEnd| {
            ledger.take_back(&tables, &effects, end)?;
            let epoch = tables.epoch(|at| {
                let end = shards.get(at as usize).map(|ledger| ledger.shard.end());
                end.map_or((0, 0), |end| (end.entries.0, end.offset.0))
            });
            let entry = epoch::entry_of(&epoch.cut)?;
            let position = position([(MAIN.to_string(), end.offset + entry.record_count())]);
            match tables.decide(end.entries.0, position, &Proposal::of_epoch(epoch)) {
                Ok(()) => Ok(entry),
                Err(error) => Err(store::Error::declined(error.to_string())),
            }
        };
        main.append_decided(EPOCH_BYTES, decide).await.await.map(drop).map_err(log_error)
    }

    /// What became of a request, if the log knows it.
    ///
    /// # Errors
    /// PD001 if its id was another statement's.
    pub(crate) async fn outcome(&self, request: Option<&Request>) -> Result<Option<Before>> {
        let Some(request) = request else { return Ok(None) };
        for ledger in self.ledgers().await? {
            let known = ledger.requests.outcome(ledger.shard.end().entries.0, request)?;
            if let Some((outcome, end)) = known {
                let shown = self.shown(ledger.home, end).await?;
                return Ok(Some(Before { outcome, home: ledger.home, end, shown }));
            }
        }
        Ok(None)
    }

    /// What was answered to a request, whatever its statements were, if it was not refused and is durable.
    pub(crate) async fn answered(&self, user: &str, id: &str) -> Result<Option<String>> {
        let mut ledgers = self.ledgers().await?.into_iter();
        Ok(ledgers.find_map(|ledger| ledger.requests.answered(ledger.shard.end().entries.0, user, id)))
    }

    /// Waits for the outcome of a request, by its id.
    ///
    /// # Errors
    /// Why it was refused; 42704 if nobody knows the id; the context's, if that ends first.
    pub(crate) async fn wait_for(&self, user: &str, id: &str, context: &ReadContext) -> Result<String> {
        let mut told = self.requests.told();
        let mut ends = self.log().await?.main().end_watch();
        loop {
            ends.borrow_and_update();
            let look = |ledger: Ledger| ledger.requests.look(ledger.shard.end().entries.0, user, id);
            let found: Vec<Found> = self.ledgers().await?.into_iter().map(look).collect();
            let is_running = found.iter().any(|found| matches!(found, Found::Running));
            for found in found {
                match found {
                    Found::Outcome(outcome) => return outcome.map_err(|rejection| rejection.error()),
                    Found::Failed(rejection) if !is_running => return Err(rejection.error()),
                    Found::Failed(_) | Found::Running | Found::Unknown => {}
                }
            }
            if !is_running {
                return Err(Error::fix(SqlState::NO_OBJECT, format!("no request has the id '{id}'"))
                    .with_hint("polder.system.requests lists those that the log has"));
            }
            tokio::select! {
                _ = told.changed() => {}
                ended = ends.changed() => ended.map_err(|_| Error::fix(SqlState::STATE, "the log is closed"))?,
                error = context.stopped() => return Err(error),
            }
        }
    }

    /// The requests of statements whose client does not wait.
    pub(crate) async fn requests(&self) -> Result<&Arc<Requests>> {
        self.tables().await?;
        Ok(&self.requests)
    }
}

/// What an epoch takes of the queue of `main` while it waits.
const EPOCH_BYTES: usize = 4096;

/// What the log has decided.
pub(crate) enum Decision {
    /// With where the entry ends in its own shard.
    Taken(Committed, store::Offset),
    /// It has an entry that says why.
    Refused(Error),
}

/// What has become of an entry.
pub(crate) enum Committed {
    /// It is in the log and ends here.
    Now(store::Offset),
    /// Its request was in the log already.
    Before(Before),
}

/// An entry that is to be decided.
pub(crate) struct Write {
    pub(crate) entry: NewEntry,
    pub(crate) proposal: Proposal,
    pub(crate) request: Option<Request>,
    /// Why it comes to nothing, if what it has read still holds: the log says so then.
    pub(crate) declined: Option<Error>,
}

/// What is decided in the thread of the log.
struct Deciding {
    ledger: Ledger,
    tables: Arc<RowsSource>,
    effects: Arc<Effects>,
    proposal: Proposal,
    request: Option<Request>,
    declined: Option<Error>,
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
    fn decide(mut self, end: DurableEnd, entry: NewEntry) -> store::Result<NewEntry> {
        self.ledger.take_back(&self.tables, &self.effects, end)?;
        let known = self.request.as_ref().map(|request| self.ledger.requests.decide(request));
        match known {
            Some(Err(error)) => return self.none(Refused::NoEntry(error)),
            Some(Ok(Some(_))) => return self.none(Refused::Known),
            Some(Ok(None)) | None => {}
        }
        let end_offset = end.offset + entry.record_count();
        if !self.effects.claim(self.ledger.home, entry.attributes(), end_offset.0) {
            let late = Error::retry(SqlState::SERIALIZATION, "another one replays these dead letters");
            return self.none(Refused::NoEntry(late));
        }
        let decided = match self.proposal.is_empty() {
            true => Ok(()),
            false => self.tables.decide(end.entries.0, self.position(end_offset), &self.proposal),
        };
        match (decided, self.declined.take()) {
            (Ok(()), None) => {
                let attributes = entry.attributes();
                if entry.kind() == EntryKind::REQUEST {
                    let origin = attributes.origin.as_deref().and_then(|origin| origin.parse().ok());
                    self.effects.emitted(self.ledger.home, end_offset.0, origin);
                }
                self.note(end, end_offset, Ok(attributes.outcome.clone().unwrap_or_default()));
                Ok(entry)
            }
            (Ok(()), Some(error)) => self.reject(end, &entry, error),
            (Err(error), _) if error.kind() == Kind::Fix => {
                if self.proposal.is_effect() {
                    let nothing = self.proposal.without_effect();
                    if let Err(error) = self.tables.decide(end.entries.0, self.position(end.offset), &nothing) {
                        return self.none(Refused::NoEntry(error));
                    }
                }
                self.reject(end, &entry, error)
            }
            (Err(error), _) => self.none(Refused::NoEntry(error)),
        }
    }

    fn none(&self, refused: Refused) -> store::Result<NewEntry> {
        self.verdict.set(refused);
        Err(store::Error::declined("the entry was not taken"))
    }

    /// The entry that says why.
    fn reject(&self, end: DurableEnd, of: &NewEntry, error: Error) -> store::Result<NewEntry> {
        let rejection = Rejection::of(&error);
        let entry = rejection_entry(&rejection, of)?;
        let end_offset = end.offset + entry.record_count();
        if self.proposal.is_effect() {
            self.effects.died(self.ledger.home, entry.attributes(), end.time, end_offset.0, &rejection);
        }
        self.note(end, end_offset, Err(rejection));
        self.verdict.set(Refused::ByConstraint(error));
        Ok(entry)
    }

    fn position(&self, end: store::Offset) -> Position {
        position([(self.ledger.shard.name().to_string(), end)])
    }

    fn note(&self, end: DurableEnd, end_offset: store::Offset, outcome: requests::Outcome) {
        if let Some(request) = &self.request {
            self.ledger.requests.note(end.entries.0, end_offset, end.time, request, outcome);
        }
    }
}

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
