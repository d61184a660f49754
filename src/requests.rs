//! Request ids: what became of the statements that clients gave a name.
//!
//! The name, the digest of the statement and its outcome stand in the header of the entry itself, so they are as durable as
//! its effect, and there is nothing beside the log to keep in step with it. Here is what the log says, in memory, by user
//! and id: it is asked when an entry is decided, so that the same request has no second effect, whoever sends it again
//! and whenever.

use polder_catalog::{Error, Kind, Result, SqlState};
use polder_log::store::{Attributes, CommitTime, EntryHeader, EntryKind, Offset};
use polder_rows::Home;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long an id is kept if the configuration says nothing.
pub(crate) const KEPT: &str = "7 days";

/// How many failures of statements that nobody waited for are kept for who asks later.
const FAILURES_MAX: usize = 1_000;

/// A statement or transaction that its client gave a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    key: Key,
    digest: [u8; 32],
}

/// Ids of one user are no concern of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    user: String,
    id: String,
}

impl Request {
    /// Of a statement as it was written, or of all statements of a transaction.
    pub(crate) fn new<'a>(user: &str, id: &str, statements: impl IntoIterator<Item = &'a str>) -> Self {
        let mut digest = Sha256::new();
        for statement in statements {
            digest.update((statement.len() as u64).to_le_bytes());
            digest.update(statement);
        }
        Self { key: Key { user: user.to_string(), id: id.to_string() }, digest: digest.finalize().into() }
    }

    /// What an entry says about the request that it is of, and about its outcome.
    pub(crate) fn attributes(&self, outcome: &str) -> Attributes {
        Attributes {
            request_id: Some(self.key.id.clone()),
            user: Some(self.key.user.clone()),
            digest: Some(self.digest),
            outcome: Some(outcome.to_string()),
            ..Attributes::default()
        }
    }

    fn reused(&self) -> Error {
        let message = format!("request id '{}' was used for another statement", self.key.id);
        Error::fix(SqlState::REQUEST_REUSED, message)
            .with_hint("an id names one statement with its parameters; use another")
    }
}

/// What became of a request: the tag that its statement answers with, or why it was refused.
pub(crate) type Outcome = Result<String, Rejection>;

/// Why a constraint refused a statement, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejection {
    format: u32,
    sqlstate: String,
    message: String,
    detail: Option<String>,
}

impl Rejection {
    pub(crate) fn of(error: &Error) -> Self {
        Self {
            format: 1,
            sqlstate: error.state().as_str().to_string(),
            message: error.message().to_string(),
            detail: error.detail().map(str::to_string),
        }
    }

    pub(crate) fn error(&self) -> Error {
        let state = SqlState::parse(&self.sqlstate).unwrap_or(SqlState::INTERNAL);
        let error = Error::new(Kind::Fix, state, self.message.clone());
        match &self.detail {
            Some(detail) => error.with_detail(detail.clone()),
            None => error,
        }
    }
}

/// How a request ended that came before, and where its entry is.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    pub(crate) outcome: Outcome,
    pub(crate) home: Home,
    /// The end of its entry, in the shard of its home.
    pub(crate) end: Offset,
    /// An offset of `main` that has it.
    pub(crate) shown: Offset,
}

/// A request in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    digest: [u8; 32],
    outcome: Outcome,
    /// How many entries the log had before.
    after: u64,
    #[serde(with = "offset")]
    end: Offset,
    #[serde(with = "time")]
    time: CommitTime,
}

/// All requests that are remembered.
#[derive(Debug)]
pub(crate) struct Requests {
    inner: Mutex<Inner>,
    kept: Duration,
    /// Changes whenever there is something new for who waits.
    told: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Key, Known>,
    /// In the order of the log.
    order: VecDeque<Key>,
    /// Whose client does not wait.
    running: BTreeMap<Key, usize>,
    /// What they failed with before they came to the log.
    failed: VecDeque<(Key, Rejection)>,
}

/// What the log says of one request, for the system table.
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) outcome: Outcome,
    pub(crate) end: Offset,
    pub(crate) time: CommitTime,
}

impl Requests {
    pub(crate) fn new(kept: Duration) -> Self {
        Self { inner: Mutex::default(), kept, told: watch::Sender::new(()) }
    }

    /// Forgets what the log did not take: it has so many entries, before the next one.
    pub(crate) fn take_back(&self, entries: u64) {
        self.lock().take_back(entries);
    }

    /// Whether a request is in the log already, or about to be: the outcome of then. Called in the order of the log, after
    /// [`take_back`](Self::take_back).
    ///
    /// # Errors
    /// PD001 if the id was another statement's.
    pub(crate) fn decide(&self, request: &Request) -> Result<Option<(Outcome, Offset)>> {
        self.lock().find(request)
    }

    /// Notes what was decided about a request, after [`decide`](Self::decide).
    pub(crate) fn note(&self, entries: u64, end: Offset, time: CommitTime, request: &Request, outcome: Outcome) {
        let known = Known { digest: request.digest, outcome, after: entries, end, time };
        self.lock().add(request.key.clone(), known, self.kept);
    }

    /// Notes what an entry of the log says.
    pub(crate) fn replay(&self, header: &EntryHeader, rejection: Option<Rejection>) {
        let attributes = &header.attributes;
        let (Some(id), Some(digest)) = (&attributes.request_id, attributes.digest) else { return };
        let key = Key { user: attributes.user.clone().unwrap_or_default(), id: id.clone() };
        let outcome = match rejection {
            Some(rejection) => Err(rejection),
            None => Ok(attributes.outcome.clone().unwrap_or_default()),
        };
        let (after, end, time) = (header.number.0, header.end_offset(), header.commit_time);
        self.lock().add(key, Known { digest, outcome, after, end, time }, self.kept);
    }

    /// What became of a request, if that is durable: the log has so many entries for good.
    ///
    /// # Errors
    /// PD001 if the id was another statement's.
    pub(crate) fn outcome(&self, durable: u64, request: &Request) -> Result<Option<(Outcome, Offset)>> {
        let inner = self.lock();
        match inner.known.get(&request.key) {
            Some(known) if known.after < durable => inner.find(request),
            _ => Ok(None),
        }
    }

    /// What was answered to a request, whatever its statements were, if it was not refused and is durable.
    pub(crate) fn answered(&self, durable: u64, user: &str, id: &str) -> Option<String> {
        let key = Key { user: user.to_string(), id: id.to_string() };
        match self.lock().find_key(&key, durable) {
            Found::Outcome(outcome) => outcome.ok(),
            Found::Failed(_) | Found::Running | Found::Unknown => None,
        }
    }

    /// Notes that a statement runs whose client does not wait. To be ended by [`finished`](Self::finished).
    pub(crate) fn started(&self, request: &Request) {
        *self.lock().running.entry(request.key.clone()).or_default() += 1;
    }

    /// Notes that it has ended, and how if it failed: what failed before it came to the log is told nowhere else.
    pub(crate) fn finished(&self, request: &Request, failed: Option<Error>) {
        let mut inner = self.lock();
        if let Some(count) = inner.running.get_mut(&request.key) {
            *count -= 1;
            if *count == 0 {
                inner.running.remove(&request.key);
            }
        }
        if let Some(error) = failed {
            inner.failed.push_back((request.key.clone(), Rejection::of(&error)));
            if inner.failed.len() > FAILURES_MAX {
                inner.failed.pop_front();
            }
        }
        drop(inner);
        self.told.send_replace(());
    }

    /// What is known of a request, by its id; the log has so many entries for good.
    pub(crate) fn look(&self, durable: u64, user: &str, id: &str) -> Found {
        self.lock().find_key(&Key { user: user.to_string(), id: id.to_string() }, durable)
    }

    /// Changes whenever a statement ends whose client does not wait.
    pub(crate) fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// Those of another shard, kept as long.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.kept)
    }

    /// Every request that the log has for good, the oldest first.
    pub(crate) fn all(&self, durable: u64) -> Vec<Told> {
        let inner = self.lock();
        let known = inner.order.iter().filter_map(|key| inner.known.get(key).map(|known| (key, known)));
        let told = |(key, known): (&Key, &Known)| Told {
            id: key.id.clone(),
            user: key.user.clone(),
            outcome: known.outcome.clone(),
            end: known.end,
            time: known.time,
        };
        known.filter(|(_, known)| known.after < durable).map(told).collect()
    }

    /// Everything that is durable, for a checkpoint: the log has so many entries for good.
    pub(crate) fn snapshot(&self, durable: u64) -> Vec<u8> {
        let inner = self.lock();
        let known = inner.order.iter().filter_map(|key| inner.known.get_key_value(key));
        let known: Vec<_> = known.filter(|(_, known)| known.after < durable).collect();
        serde_json::to_vec(&known).expect("requests serialize")
    }

    /// What [`snapshot`](Self::snapshot) gave.
    ///
    /// # Errors
    /// In words, if it cannot be read.
    pub(crate) fn restore(&self, snapshot: &[u8]) -> Result<(), String> {
        let known: Vec<(Key, Known)> = serde_json::from_slice(snapshot).map_err(|error| error.to_string())?;
        let mut inner = self.lock();
        known.into_iter().for_each(|(key, known)| inner.add(key, known, self.kept));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of an id.
pub(crate) enum Found {
    Outcome(Outcome),
    Failed(Rejection),
    Running,
    Unknown,
}

impl Inner {
    fn find(&self, request: &Request) -> Result<Option<(Outcome, Offset)>> {
        match self.known.get(&request.key) {
            Some(known) if known.digest != request.digest => Err(request.reused()),
            known => Ok(known.map(|known| (known.outcome.clone(), known.end))),
        }
    }

    fn find_key(&self, key: &Key, durable: u64) -> Found {
        let failed = || self.failed.iter().rev().find(|(failed, _)| failed == key);
        match self.known.get(key) {
            Some(known) if known.after < durable => Found::Outcome(known.outcome.clone()),
            Some(_) => Found::Running,
            None if self.running.contains_key(key) => Found::Running,
            None => failed().map_or(Found::Unknown, |(_, rejection)| Found::Failed(rejection.clone())),
        }
    }

    fn add(&mut self, key: Key, known: Known, kept: Duration) {
        // A checkpoint may have what the log says once more.
        if self.known.get(&key).is_some_and(|before| before.after == known.after) {
            return;
        }
        let kept = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
        let oldest = known.time.0.saturating_sub(kept);
        while let Some(first) = self.order.front()
            && self.known.get(first).is_none_or(|first| first.time.0 < oldest)
            && let Some(first) = self.order.pop_front()
        {
            self.known.remove(&first);
        }
        self.order.push_back(key.clone());
        self.known.insert(key, known);
    }

    /// Forgets what the log did not take: all that was noted at this number of entries or later.
    fn take_back(&mut self, entries: u64) {
        while let Some(last) = self.order.back()
            && self.known.get(last).is_none_or(|last| last.after >= entries)
            && let Some(last) = self.order.pop_back()
        {
            self.known.remove(&last);
        }
    }
}

/// Numbers of the log as numbers.
mod offset {
    use polder_log::store::Offset;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(offset: &Offset, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(offset.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Offset, D::Error> {
        u64::deserialize(deserializer).map(Offset)
    }
}

/// Times of the log as numbers.
mod time {
    use polder_log::store::CommitTime;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &CommitTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CommitTime, D::Error> {
        i64::deserialize(deserializer).map(CommitTime)
    }
}

/// The reason in an entry that says that a constraint refused a statement.
///
/// # Errors
/// In words, if it cannot be read.
pub(crate) fn rejection_of(entry: &polder_log::store::Entry) -> Result<Option<Rejection>, String> {
    if entry.header().kind != EntryKind::REJECTION {
        return Ok(None);
    }
    let part = entry.parts().next().ok_or("a rejection without a reason")?.map_err(|error| error.to_string())?;
    serde_json::from_slice(&part.payload).map(Some).map_err(|error| error.to_string())
}
