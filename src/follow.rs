//! Followers: each writes the tables of one catalog by following the log's shard `main`, entry after entry.
//!
//! ```text
//! statement ─→ commit ─→ main ─┬─ entry 7 ─ entry 8 ─ entry 9 ─→
//!                              └ follower of docs: last applied 7, applies 8, 9, told as they are done
//! ```
//!
//! The store remembers the position of its last entry together with the rows, so a follower that starts anew goes on there,
//! and one whose store was lost starts at the beginning: there is one way to recover. A store that refuses stalls its own
//! follower and nothing else.

mod read;

use crate::catalogs::{Catalogs, POLDER};
use crate::commit::{Commit, Ledger};
use crate::effects::{Effects, Origin};
use crate::requests::Requests;
use futures::future::BoxFuture;
use polder_catalog::{
    Applied, CatalogName, Entry, Error, Kind, ReadContext, Result, ShardName, Source, SqlState, Writer,
};
use polder_log::store::{CommitTime, MAIN, Offset, Shard};
use polder_rows::{Home, RowsSource};
use read::Reading;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// The followers of one engine, by catalog.
#[derive(Debug, Default)]
pub(crate) struct Followers(Mutex<BTreeMap<String, Follower>>);

/// One catalog's follower. Dropping it stops it between two entries, or leaves the entry to the store's promise.
#[derive(Debug)]
struct Follower {
    source: Arc<dyn Source>,
    /// Where the log ended when it was started: until it is there, its catalog shows an older state.
    since: Offset,
    progress: watch::Receiver<Progress>,
    /// The last entry that was looked at: how many there are up to it, and when it was written.
    behind: watch::Receiver<Option<(u64, CommitTime)>>,
    /// The end of the newest entry that the store has, or is about to have.
    given: watch::Receiver<Offset>,
    _task: AbortOnDropHandle<()>,
}

/// How far a follower is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has not asked its store yet.
    Starting,
    /// Everything before this offset of `main` is applied.
    At(Offset),
    /// It stopped at an entry that the store refuses or cannot take.
    Stalled { at: Offset, reason: Arc<str> },
}

/// Pauses between tries at an entry that the store cannot take now.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);

impl Followers {
    /// Starts what is missing and stops what is no longer wanted. Called whenever definitions change.
    pub(crate) async fn adjust(&self, catalogs: &Catalogs, commit: &Commit) -> Result<()> {
        let mut tables: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        // Polder's own tables are decided when their entries are written: nobody follows them.
        for table in catalogs.tables.values().filter(|table| !table.is_own()) {
            tables.entry(&table.catalog).or_default().insert(table.id);
        }
        // One whose last table was dropped has yet to hear of it; one whose source is another now has not.
        self.lock().retain(|catalog, follower| follower.is_of(catalogs, catalog));
        for (catalog, tables) in tables {
            let Ok(source) = catalogs.get(catalog).and_then(|attached| attached.source(catalog)) else { continue };
            let follows = self.lock().contains_key(catalog);
            let Some(writer) = source.writer().filter(|_| !follows) else { continue };
            let main = commit.log().await?.main();
            let follower = Follower::start(CatalogName::new(catalog), Arc::clone(source), writer, main, tables);
            self.lock().insert(catalog.to_string(), follower);
        }
        Ok(())
    }

    /// Waits until a catalog reflects everything before `offset`.
    ///
    /// # Errors
    /// 55000 with the store's words if its follower is stalled; the context's, if that ends first.
    pub(crate) async fn reached(&self, catalog: &str, offset: Offset, context: &ReadContext) -> Result<()> {
        loop {
            let progress = self.lock().get(catalog).map(|follower| follower.progress.clone());
            let mut progress = progress
                .ok_or_else(|| Error::fix(SqlState::STATE, format!("catalog \"{catalog}\" does not follow the log")))?;
            let done = |progress: &Progress| match progress {
                Progress::Starting => false,
                Progress::At(at) => *at >= offset,
                Progress::Stalled { .. } => true,
            };
            let reached = tokio::select! {
                reached = progress.wait_for(done) => reached.map(|progress| progress.clone()),
                error = context.stopped() => return Err(error),
            };
            match reached {
                Ok(Progress::Stalled { at, reason }) if at < offset => return Err(stalled(catalog, at, &reason)),
                Ok(_) => return Ok(()),
                // Another one has taken its place: that is the one to wait for.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    /// Waits until a catalog shows what it showed before the engine was started, or the store was lost.
    ///
    /// # Errors
    /// 55000 if it does not follow the log any more, since what it shows is old and nobody could tell; the context's.
    pub(crate) async fn caught_up(&self, catalog: &str, context: &ReadContext) -> Result<()> {
        let Some(since) = self.lock().get(catalog).map(|follower| follower.since) else { return Ok(()) };
        self.reached(catalog, since, context).await?;
        match self.lock().get(catalog).map(|follower| follower.progress.borrow().clone()) {
            Some(Progress::Stalled { at, reason }) => Err(stalled(catalog, at, &reason)),
            _ => Ok(()),
        }
    }

    /// How far each follower is, by catalog.
    pub(crate) fn progress(&self) -> Vec<(String, Progress)> {
        self.lock().iter().map(|(catalog, follower)| (catalog.clone(), follower.progress.borrow().clone())).collect()
    }

    /// How far a catalog reflects the log for certain, and the end of the newest entry that it may reflect.
    pub(crate) fn bounds(&self, catalog: &str) -> Option<(Offset, Offset)> {
        let followers = self.lock();
        let follower = followers.get(catalog)?;
        let reached = match &*follower.progress.borrow() {
            Progress::Starting => Offset(0),
            Progress::At(at) | Progress::Stalled { at, .. } => *at,
        };
        Some((reached, *follower.given.borrow()))
    }

    /// The last entry that each follower has looked at, by catalog: how many there are up to it, and when it was written. None
    /// before the first.
    pub(crate) fn looked_at(&self, catalog: &str) -> Option<(u64, CommitTime)> {
        self.lock().get(catalog).and_then(|follower| *follower.behind.borrow())
    }

    /// Stops all of them.
    pub(crate) fn stop_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Follower>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stalled(catalog: &str, at: Offset, reason: &str) -> Error {
    Error::new(
        Kind::Repair,
        SqlState::STATE,
        format!("catalog \"{catalog}\" does not follow the log beyond offset {}", at.0),
    )
    .with_detail(reason.to_string())
    .with_hint(
        "nothing is lost, the log has it. A fault of the store: mend it, then ALTER CATALOG or restart, and it catches up. An \
         entry that the store refuses is a defect: report it; DROP CATALOG ... CASCADE gives the catalog up",
    )
}

impl Follower {
    fn is_of(&self, catalogs: &Catalogs, catalog: &str) -> bool {
        let source = catalogs.get(catalog).and_then(|attached| attached.source(catalog));
        source.is_ok_and(|source| Arc::ptr_eq(source, &self.source))
    }

    fn start(
        catalog: CatalogName,
        source: Arc<dyn Source>,
        writer: Arc<dyn Writer>,
        main: Shard,
        tables: BTreeSet<u64>,
    ) -> Self {
        let (told, progress) = watch::channel(Progress::Starting);
        let (looked, behind) = watch::channel(None);
        let (giving, given) = watch::channel(Offset(0));
        let since = main.end().offset;
        let follow = Follow { catalog, writer, main, tables, told, looked, giving };
        Self { source, since, progress, behind, given, _task: AbortOnDropHandle::new(tokio::spawn(follow.run())) }
    }
}

/// What a follower's task owns.
struct Follow {
    catalog: CatalogName,
    writer: Arc<dyn Writer>,
    main: Shard,
    tables: BTreeSet<u64>,
    told: watch::Sender<Progress>,
    looked: watch::Sender<Option<(u64, CommitTime)>>,
    giving: watch::Sender<Offset>,
}

impl Follow {
    async fn run(mut self) {
        let mut at = match self.last_applied().await {
            Ok(at) => at,
            Err(error) => return self.stall(Offset(0), &error),
        };
        self.giving.send_replace(at);
        let mut ends = self.main.end_watch();
        loop {
            let end = ends.borrow_and_update().offset;
            if at < end {
                match self.apply_until(at, end).await {
                    Ok(()) => at = end,
                    Err((at, error)) => return self.stall(at, &error),
                }
            }
            self.told.send_replace(Progress::At(at));
            if ends.changed().await.is_err() {
                return;
            }
        }
    }

    /// Where the store stands; the start of the log if it holds nothing.
    async fn last_applied(&self) -> Result<Offset> {
        let position = self.writer.last_applied().await?;
        let main = ShardName(MAIN.into());
        let at = position.and_then(|position| position.shards.get(&main).map(|offset| offset.0)).unwrap_or(0);
        let (start, end) = (self.main.start(), self.main.end().offset);
        if Offset(at) > end {
            let message = format!("the store reflects offset {at} of a log that ends at {}", end.0);
            return Err(Error::new(Kind::Repair, SqlState::DAMAGED, message)
                .with_hint("the store belongs to another log, or the log was restored from an older copy"));
        }
        if Offset(at) < start {
            let message = format!("the store reflects offset {at}, the log starts at {}", start.0);
            return Err(Error::new(Kind::Repair, SqlState::DAMAGED, message));
        }
        Ok(Offset(at))
    }

    /// Applies the entries between two offsets; where it stopped, if it did.
    async fn apply_until(&mut self, from: Offset, end: Offset) -> Result<(), (Offset, Error)> {
        let mut at = from;
        let mut pause = PAUSE_MIN;
        while at < end {
            match self.apply_some(&mut at, end).await {
                Ok(None) => pause = PAUSE_MIN,
                Ok(Some((after, reason))) => {
                    tracing::warn!(catalog = %self.catalog, offset = at.0, %reason, "the store cannot take an entry now");
                    tokio::time::sleep(after.max(pause)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => return Err((at, error)),
            }
        }
        Ok(())
    }

    /// Applies entries until one has to be tried again, which is then told; or until the end.
    async fn apply_some(&mut self, at: &mut Offset, end: Offset) -> Result<Option<(Duration, String)>> {
        let mut reading = Reading::start(self.main.clone(), *at..end, self.catalog.clone(), self.tables.clone());
        while let Some(read) = reading.next().await {
            let read = read?;
            self.tables.extend(read.tables());
            if let Some(entry) = read.entry {
                self.giving.send_replace(read.end);
                match self.apply(entry).await? {
                    Applied::Done => {}
                    Applied::Refused { reason } => {
                        return Err(Error::fix(SqlState::STATE, format!("the store refuses an entry: {reason}")));
                    }
                    Applied::Retry { after, reason } => return Ok(Some((after, reason))),
                }
            }
            *at = read.end;
            self.looked.send_replace(Some((read.number.0 + 1, read.time)));
            self.told.send_replace(Progress::At(*at));
        }
        if *at < end {
            return Err(Error::report("reading the log ended before its end"));
        }
        Ok(None)
    }

    fn apply(&self, entry: Entry) -> BoxFuture<'_, Result<Applied>> {
        self.writer.apply(entry)
    }

    fn stall(&self, at: Offset, error: &Error) {
        let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        tracing::error!(catalog = %self.catalog, offset = at.0, %error, "a catalog stopped following the log");
        self.told.send_replace(Progress::Stalled { at, reason: format!("{}{detail}", error.message()).into() });
    }
}

/// Fills Polder's own tables, and what is known of requests, with what a shard has from an offset on; nobody writes them meanwhile.
///
/// # Errors
/// If an entry cannot be read, or does not fit the tables.
pub(crate) async fn replay(ledger: &Ledger, from: Offset, tables: &RowsSource, effects: &Effects) -> Result<()> {
    let Ledger { home, shard, requests } = ledger;
    replay_range(*home, shard, from..shard.end().offset, tables, Some((requests, effects))).await
}

/// The same with what a shard had when it ended at an offset.
pub(crate) async fn replay_until(home: Home, shard: &Shard, end: Offset, tables: &RowsSource) -> Result<()> {
    replay_range(home, shard, shard.start()..end, tables, None).await
}

async fn replay_range(
    home: Home,
    shard: &Shard,
    range: Range<Offset>,
    tables: &RowsSource,
    told: Option<(&Requests, &Effects)>,
) -> Result<()> {
    let writer = tables.writer_of(home)?;
    let known = tables.ids(home).into_iter().filter_map(|id| id.0.parse().ok()).collect();
    let (mut at, end) = (range.start, range.end);
    let mut reading = Reading::start(shard.clone(), range, CatalogName::new(POLDER), known);
    while let Some(read) = reading.next().await {
        let read = read?;
        if let Some(entry) = read.entry
            && let Applied::Refused { reason } | Applied::Retry { reason, .. } = writer.apply(entry).await?
        {
            let message = format!("the tables do not follow shard {} beyond offset {}", shard.name(), at.0);
            return Err(Error::new(Kind::Repair, SqlState::DAMAGED, message).with_detail(reason));
        }
        if let Some((header, rejection)) = read.request {
            if let Some(origin) = header.attributes.origin.as_deref().and_then(|origin| origin.parse::<Origin>().ok()) {
                tables.note_applied(home, origin.home, origin.number)?;
            }
            if let Some((requests, effects)) = told {
                effects.replay(home, &header, rejection.as_ref());
                requests.replay(&header, rejection);
            }
        }
        if let Some(cut) = read.cut {
            tables.note_cut(cut);
        }
        at = read.end;
    }
    if at < end { Err(Error::report("reading the log ended before its end")) } else { Ok(()) }
}
