//! What runs, and what has run lately: each statement of a client, whose it is, and how it ended.
//!
//! A statement is entered when it comes and has ended when its last row was given, it has failed, or nobody asks for more of it.
//! KILL QUERY ends it from anywhere: its task hears it wherever it waits, and who serves its client hears it beside the task,
//! which may compute and hear nothing.

use crate::env::{Env, Stopwatch, now_micros};
use crate::histogram::Histogram;
use crate::session::{Progress, SourceProgress};
use crate::sql::Shown;
use arrow::array::RecordBatch;
use polder_catalog::{Error, Result, SqlState};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many statements that have ended are known.
const RECENT: usize = 1000;

/// How much of the text of a statement is kept.
pub(crate) const TEXT_BYTES: usize = 4096;

/// The way by which a client came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// None: the engine is in the client's own process.
    #[default]
    Local,
    Http,
    Flight,
    Pgwire,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::Local, Self::Http, Self::Flight, Self::Pgwire];
    /// Those that are served.
    pub(crate) const SERVED: [Self; 3] = [Self::Http, Self::Flight, Self::Pgwire];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Http => "http",
            Self::Flight => "flight",
            Self::Pgwire => "pgwire",
        }
    }
}

/// How a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Done,
    Failed,
    /// By its client, who may have gone, or by KILL QUERY.
    Cancelled,
}

impl State {
    /// In which a statement can end.
    pub(crate) const ENDS: [Self; 3] = [Self::Done, Self::Failed, Self::Cancelled];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// All statements of one engine, and the connections that they come by.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    statements: Mutex<Statements>,
    by_protocol: [Totals; Protocol::ALL.len()],
}

#[derive(Debug, Default)]
struct Statements {
    last: u64,
    running: BTreeMap<u64, Arc<Entry>>,
    recent: VecDeque<Arc<Entry>>,
}

/// What came by one protocol since the engine was opened.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    ends: [AtomicU64; State::ENDS.len()],
    pub(crate) durations: Histogram,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) connections: AtomicI64,
    pub(crate) connected: AtomicU64,
}

impl Totals {
    /// How many statements have ended in this state.
    pub(crate) fn ended(&self, state: State) -> u64 {
        let at = State::ENDS.iter().position(|end| *end == state);
        at.map_or(0, |at| self.ends[at].load(Ordering::Relaxed))
    }
}

/// Whose statement it is.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) user: Arc<str>,
    pub(crate) protocol: Protocol,
    /// What the client calls itself.
    pub(crate) application: String,
    /// How long it may run.
    pub(crate) timeout: Option<Duration>,
}

/// One statement.
#[derive(Debug)]
pub(crate) struct Entry {
    number: u64,
    pub(crate) id: Arc<str>,
    pub(crate) origin: Origin,
    shown: Arc<Shown>,
    pub(crate) started_micros: i64,
    watch: Stopwatch,
    killed: CancellationToken,
    deadline: Option<Instant>,
    rows: AtomicU64,
    bytes: AtomicU64,
    progress: Mutex<Option<Progress>>,
    end: OnceLock<End>,
}

#[derive(Debug)]
struct End {
    state: State,
    took: Duration,
    error: Option<(SqlState, String)>,
    sources: Vec<SourceProgress>,
}

impl Entry {
    pub(crate) fn text(&self) -> &str {
        &self.shown.text
    }

    pub(crate) fn state(&self) -> State {
        self.end.get().map_or(State::Running, |end| end.state)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.end.get().map_or_else(|| self.watch.elapsed(), |end| end.took)
    }

    /// Rows and bytes that were given to the client.
    pub(crate) fn given(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn error(&self) -> Option<&(SqlState, String)> {
        self.end.get().and_then(|end| end.error.as_ref())
    }

    /// What was read of each source.
    pub(crate) fn sources(&self) -> Vec<SourceProgress> {
        match self.end.get() {
            Some(end) => end.sources.clone(),
            None => lock(&self.progress).as_ref().map(Progress::sources).unwrap_or_default(),
        }
    }

    /// Cancelled when the statement is killed.
    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.killed
    }

    fn was_killed(&self) -> Error {
        Error::retry(SqlState::CANCELLED, format!("statement {} was ended by KILL QUERY", self.id))
    }
}

impl Activity {
    /// A statement begins.
    pub(crate) fn begin(self: &Arc<Self>, env: &Env, origin: Origin, shown: Arc<Shown>) -> Running {
        let mut statements = lock(&self.statements);
        statements.last += 1;
        let entry = Arc::new(Entry {
            number: statements.last,
            id: env.next_query().into(),
            deadline: origin.timeout.map(|timeout| Instant::now() + timeout),
            origin,
            shown,
            started_micros: now_micros(),
            watch: env.stopwatch(),
            killed: CancellationToken::new(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            progress: Mutex::new(None),
            end: OnceLock::new(),
        });
        statements.running.insert(entry.number, Arc::clone(&entry));
        Running { activity: Arc::clone(self), entry, bytes_max: None }
    }

    /// The same goes on in the background, as a statement of its own.
    pub(crate) fn begin_again(self: &Arc<Self>, env: &Env, entry: &Entry) -> Running {
        self.begin(env, entry.origin.clone(), Arc::clone(&entry.shown))
    }

    /// All that run, then those that have ended lately; the newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Entry>> {
        let statements = lock(&self.statements);
        statements.running.values().rev().chain(statements.recent.iter().rev()).cloned().collect()
    }

    /// How many run that came by a protocol.
    pub(crate) fn running(&self, protocol: Protocol) -> usize {
        lock(&self.statements).running.values().filter(|entry| entry.origin.protocol == protocol).count()
    }

    /// What came by a protocol.
    pub(crate) fn totals(&self, protocol: Protocol) -> &Totals {
        &self.by_protocol[protocol as usize]
    }

    /// Ends a statement, if it is this user's; anybody's, without one.
    ///
    /// # Errors
    /// 42704 if none of this id runs.
    pub(crate) fn kill(&self, id: &str, of: Option<&str>) -> Result<()> {
        let is_it = |entry: &&Arc<Entry>| &*entry.id == id && of.is_none_or(|user| &*entry.origin.user == user);
        let entry = lock(&self.statements).running.values().find(is_it).cloned();
        let entry = entry.ok_or_else(|| {
            Error::fix(SqlState::NO_OBJECT, format!("no statement \"{id}\" runs"))
                .with_hint("SELECT id, text FROM polder.system.queries WHERE state = 'running' lists those that do")
        })?;
        self.end(&entry, State::Cancelled, Some(&entry.was_killed()));
        entry.killed.cancel();
        Ok(())
    }

    /// Ends all statements of these users.
    pub(crate) fn kill_of(&self, users: &BTreeSet<&str>) {
        let running: Vec<_> = lock(&self.statements).running.values().cloned().collect();
        for entry in running.into_iter().filter(|entry| users.contains(&*entry.origin.user)) {
            self.end(&entry, State::Cancelled, Some(&entry.was_killed()));
            entry.killed.cancel();
        }
    }

    /// A connection begins; it ends when this is dropped.
    pub(crate) fn connect(self: &Arc<Self>, protocol: Protocol) -> Connected {
        let totals = self.totals(protocol);
        totals.connections.fetch_add(1, Ordering::Relaxed);
        totals.connected.fetch_add(1, Ordering::Relaxed);
        Connected { activity: Arc::clone(self), protocol }
    }

    /// Notes the end of a statement, unless it has ended before.
    fn end(&self, entry: &Arc<Entry>, state: State, error: Option<&Error>) {
        let took = entry.watch.elapsed();
        let error = error.map(|error| (error.state(), entry.shown.message(error.message())));
        let sources = lock(&entry.progress).take().map(|progress| progress.sources()).unwrap_or_default();
        if entry.end.set(End { state, took, error, sources }).is_err() {
            return;
        }
        let totals = self.totals(entry.origin.protocol);
        if let Some(at) = State::ENDS.iter().position(|end| *end == state) {
            totals.ends[at].fetch_add(1, Ordering::Relaxed);
        }
        totals.durations.record(took);
        let mut statements = lock(&self.statements);
        statements.running.remove(&entry.number);
        if statements.recent.len() == RECENT {
            statements.recent.pop_front();
        }
        statements.recent.push_back(Arc::clone(entry));
    }
}

/// A connection of a client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Connected {
    activity: Arc<Activity>,
    protocol: Protocol,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.activity.totals(self.protocol).connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A statement that runs. Dropped before its end was told, it was cancelled.
#[derive(Debug)]
pub(crate) struct Running {
    activity: Arc<Activity>,
    entry: Arc<Entry>,
    bytes_max: Option<u64>,
}

impl Running {
    /// The same with a limit of what its client is given.
    pub(crate) fn limited(mut self, bytes_max: Option<u64>) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Runs what the statement does: what is asked for on its way knows whose it is.
    ///
    /// # Errors
    /// 57014 when it is killed; those of the work.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.entry.killed.cancelled() => Err(self.entry.was_killed()),
            done = CURRENT.scope(Arc::clone(&self.entry), work) => done.map_err(|error| self.named(error)),
        }
    }

    /// Runs what nobody waits for. When it is killed it ends where it can say what became of it.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) async fn run_to_its_end<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = CURRENT.scope(Arc::clone(&self.entry), work).await.map_err(|error| self.named(error));
        match &done {
            Ok(_) => self.done(),
            Err(error) => self.failed(error),
        }
        done
    }

    /// The error that a client is told: of a killed statement, that it was killed.
    pub(crate) fn named(&self, error: Error) -> Error {
        match self.entry.killed.is_cancelled() && error.state() == SqlState::CANCELLED {
            true => self.entry.was_killed(),
            false => error,
        }
    }

    /// For who serves the client.
    pub(crate) fn killed(&self) -> Killed {
        Killed(Some(Arc::clone(&self.entry)))
    }

    pub(crate) fn watch(&self, progress: Progress) {
        *lock(&self.entry.progress) = Some(progress);
    }

    /// Counts rows that the client gets.
    ///
    /// # Errors
    /// 53400 if they are too many.
    pub(crate) fn gives(&self, batch: &RecordBatch) -> Result<()> {
        let (rows, bytes) = (batch.num_rows() as u64, bytes_of(batch));
        self.entry.rows.fetch_add(rows, Ordering::Relaxed);
        let totals = self.activity.totals(self.entry.origin.protocol);
        totals.rows.fetch_add(rows, Ordering::Relaxed);
        totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        let bytes = self.entry.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match self.bytes_max.filter(|bytes_max| bytes > *bytes_max) {
            None => Ok(()),
            Some(bytes_max) => {
                Err(Error::fix(SqlState::CONFIGURED, format!("the result is greater than {bytes_max} bytes")).with_hint(
                    "ask for less, by a condition, a LIMIT or an aggregate; the server's result_limit says how much may be had",
                ))
            }
        }
    }

    pub(crate) fn done(self) {
        self.activity.end(&self.entry, State::Done, None);
    }

    pub(crate) fn failed(self, error: &Error) {
        let state = if error.state() == SqlState::CANCELLED { State::Cancelled } else { State::Failed };
        self.activity.end(&self.entry, state, Some(error));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.activity.end(&self.entry, State::Cancelled, None);
    }
}

/// Bytes of the rows themselves, without what else is in the buffers that they lie in.
fn bytes_of(batch: &RecordBatch) -> u64 {
    let bytes = |column: &Arc<dyn arrow::array::Array>| column.to_data().get_slice_memory_size().unwrap_or(0) as u64;
    batch.columns().iter().map(bytes).sum()
}

/// After its time a statement ends by itself, unless it computes without giving way; so much later its client is told all the same.
const LATE: Duration = Duration::from_millis(500);

/// Tells when a statement is killed, or computes beyond its time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Killed(Option<Arc<Entry>>);

impl Killed {
    /// Completes when it is, with what its client is told. Cancel-safe.
    pub(crate) async fn heard(&self) -> Error {
        match &self.0 {
            Some(entry) => {
                let late = async {
                    match entry.deadline {
                        Some(deadline) => tokio::time::sleep_until(deadline + LATE).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = entry.killed.cancelled() => entry.was_killed(),
                    () = late => Error::out_of_time(),
                }
            }
            None => std::future::pending().await,
        }
    }
}

tokio::task_local! {
    /// The statement that a task works for: said once at the door, instead of at each of the steps behind it.
    static CURRENT: Arc<Entry>;
}

/// The statement that this task works for, if it does for one.
pub(crate) fn current() -> Option<Arc<Entry>> {
    CURRENT.try_with(Arc::clone).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(activity: &Arc<Activity>, env: &Env) -> Running {
        let origin = Origin { user: "ada".into(), protocol: Protocol::Http, application: String::new(), timeout: None };
        activity.begin(env, origin, Arc::new(Shown::of("SELECT 1", TEXT_BYTES)))
    }

    #[test]
    fn the_last_ones_are_known_and_no_more() {
        let (activity, env) = (Arc::new(Activity::default()), Env::system());
        let runs = begin(&activity, &env);
        (0..RECENT + 5).for_each(|_| begin(&activity, &env).done());
        let list = activity.list();
        assert_eq!(list.len(), RECENT + 1);
        assert_eq!((list[0].state(), list[1].state()), (State::Running, State::Done));
        assert!(list[1].number > list[2].number);
        drop(runs);
        assert_eq!(activity.list()[0].state(), State::Cancelled);
        let totals = activity.totals(Protocol::Http);
        assert_eq!((totals.ended(State::Done), totals.ended(State::Cancelled)), (RECENT as u64 + 5, 1));
    }

    #[tokio::test]
    async fn a_killed_statement_ends_with_its_name_wherever_it_waits() {
        let (activity, env) = (Arc::new(Activity::default()), Env::system());
        let running = begin(&activity, &env);
        let id = activity.list()[0].id.to_string();
        let (killer, killed) = (Arc::clone(&activity), id.clone());
        tokio::spawn(async move { killer.kill(&killed, None) });
        let error = running.run::<()>(std::future::pending()).await.unwrap_err();
        assert_eq!((error.state(), error.message().contains(&id)), (SqlState::CANCELLED, true));
        running.done();
        // What was told first holds.
        assert_eq!(activity.list()[0].state(), State::Cancelled);
        assert_eq!(activity.kill(&id, None).unwrap_err().state(), SqlState::NO_OBJECT);
    }
}
