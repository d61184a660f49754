//! Effects: what a request that one shard has decided does in others.
//!
//! ```text
//! tables-2   CALL pay(7, 9, 30): balance of 7 - 30 │ emits: UPDATE ... WHERE id = 9        one entry
//! tables-0   balance of 9 + 30, effect 1 of tables-2:57                                    another, later
//! ```
//!
//! The entry that decides a request has its effects beside its own rows, so they are as durable. A task of their own does them,
//! those of a shard one after the other in the order of its entries. Each becomes an entry where its rows are at home, which
//! says whose effect it is; the tables there know the newest that has come of each shard, so that after a crash it goes on
//! where it was and nothing is done twice. An effect that cannot be done, such as one that breaks a constraint, becomes an entry
//! that says so: a dead letter.

use crate::home::{NO_DATASET, home_of, name_of};
use crate::requests::Rejection;
use crate::sql::Argument;
use polder_catalog::{Position, ReadContext, Result};
use polder_log::store::{self, Attributes, Cause, CommitTime, Entry, EntryHeader, EntryKind, NewEntry, Offset};
use polder_rows::{EffectNumber, Home};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The format that this version writes. A newer one is refused.
const FORMAT: u32 = 1;

/// A statement that is done in another shard, with the values of the names in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Effect {
    pub(crate) statement: String,
    pub(crate) arguments: Vec<Argument>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    effects: Vec<Effect>,
}

/// Says what an entry emits, before its rows.
pub(crate) fn emit(entry: &mut NewEntry, effects: Vec<Effect>) -> store::Result<()> {
    let record = Record { format: FORMAT, effects };
    entry.add_bytes(NO_DATASET, &serde_json::to_vec(&record).expect("texts serialize"))
}

/// What an entry emits.
///
/// # Errors
/// In words, if it cannot be read.
pub(crate) fn effects_of(entry: &Entry) -> Result<Vec<Effect>, String> {
    let part = entry.parts().next().ok_or("a request without effects")?.map_err(|error| error.to_string())?;
    let record: Record = serde_json::from_slice(&part.payload).map_err(|error| error.to_string())?;
    match record.format > FORMAT {
        true => Err(format!("effects of format {}, this version reads up to {FORMAT}", record.format)),
        false => Ok(record.effects),
    }
}

/// Which effect an entry is, as its header has it: `effect 1 of tables-2:57`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) home: Home,
    pub(crate) number: EffectNumber,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "effect {} of {}:{}", self.number.place, name_of(self.home), self.number.end)
    }
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (place, entry) = text.strip_prefix("effect ").and_then(|text| text.split_once(" of ")).ok_or(())?;
        let (shard, end) = entry.rsplit_once(':').ok_or(())?;
        let number = EffectNumber { end: end.parse().map_err(|_| ())?, place: place.parse().map_err(|_| ())? };
        Ok(Self { home: home_of(shard).ok_or(())?, number })
    }
}

/// An effect that could not be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    pub(crate) origin: String,
    pub(crate) request_id: Option<String>,
    pub(crate) rejection: Rejection,
    /// In microseconds since 1970.
    pub(crate) time: i64,
    /// Where the entry ends that says so, in the shard of its home.
    pub(crate) end: u64,
    /// Where the entry ends that emits it again, in the same shard.
    #[serde(skip)]
    replayed: Option<u64>,
}

/// Entries whose effects are still to be done, and effects that could not be.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    inner: Mutex<Inner>,
    told: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the end of the entry that emits them: the first request that led there.
    pending: BTreeMap<(Home, u64), (Home, u64)>,
    /// By the home of the entry that says so.
    dead: BTreeMap<Home, Vec<DeadLetter>>,
}

impl Effects {
    /// An entry is in the log, or about to be, that emits effects. `because` of another, if it is an effect itself.
    pub(crate) fn emitted(&self, home: Home, end: u64, because: Option<Origin>) {
        let mut inner = self.lock();
        let because = because.map(|origin| (origin.home, origin.number.end));
        let root = because.map(|entry| inner.pending.get(&entry).copied().unwrap_or(entry)).unwrap_or((home, end));
        inner.pending.insert((home, end), root);
        drop(inner);
        self.told.send_replace(());
    }

    /// All effects of an entry are done.
    pub(crate) fn done(&self, home: Home, end: u64) {
        self.lock().pending.remove(&(home, end));
        self.told.send_replace(());
    }

    /// Notes what an entry of the log says.
    pub(crate) fn replay(&self, home: Home, header: &EntryHeader, rejection: Option<&Rejection>) {
        let origin = header.attributes.origin.as_deref().and_then(|origin| origin.parse::<Origin>().ok());
        if header.kind == EntryKind::REQUEST {
            self.emitted(home, header.end_offset().0, origin);
        }
        if let Some(origins) = replayed_in(&header.attributes) {
            let mut inner = self.lock();
            inner.dead.entry(home).or_default().retain(|letter| !origins.contains(&letter.origin.as_str()));
        }
        if let (Some(_), Some(rejection)) = (origin, rejection) {
            self.died(home, &header.attributes, header.commit_time, header.end_offset().0, rejection);
        }
    }

    /// Notes an effect that could not be done, in the order of the log.
    pub(crate) fn died(&self, home: Home, attributes: &Attributes, time: CommitTime, end: u64, rejection: &Rejection) {
        let letter = DeadLetter {
            origin: attributes.origin.clone().unwrap_or_default(),
            request_id: attributes.request_id.clone(),
            rejection: rejection.clone(),
            time: time.0,
            end,
            replayed: None,
        };
        let mut inner = self.lock();
        let letters = inner.dead.entry(home).or_default();
        if letters.iter().all(|known| known.origin != letter.origin) {
            letters.push(letter);
        }
    }

    /// Notes that an entry emits dead letters of its shard again, in the order of the log; not if another one has. Whoever else
    /// asks for them at the same time comes too late.
    pub(crate) fn claim(&self, home: Home, attributes: &Attributes, end: u64) -> bool {
        let Some(origins) = replayed_in(attributes) else { return true };
        let mut inner = self.lock();
        let letters = inner.dead.entry(home).or_default();
        let is_meant = |letter: &DeadLetter| letter.replayed.is_none() && origins.contains(&letter.origin.as_str());
        if letters.iter().filter(|letter| is_meant(letter)).count() != origins.len() {
            return false;
        }
        letters.iter_mut().filter(|letter| is_meant(letter)).for_each(|letter| letter.replayed = Some(end));
        true
    }

    /// Forgets what the log did not take: the shard ends there, before the next entry.
    pub(crate) fn take_back(&self, home: Home, end: u64) {
        let mut inner = self.lock();
        inner.pending.retain(|(known, at), _| *known != home || *at <= end);
        if let Some(letters) = inner.dead.get_mut(&home) {
            letters.retain(|letter| letter.end <= end);
            letters.iter_mut().for_each(|letter| letter.replayed = letter.replayed.filter(|at| *at <= end));
        }
    }

    /// The effects that could not be done, with the shard that says so.
    pub(crate) fn dead(&self) -> Vec<(Home, DeadLetter)> {
        let inner = self.lock();
        let all = inner.dead.iter().flat_map(|(home, letters)| letters.iter().map(|letter| (*home, letter.clone())));
        all.filter(|(_, letter)| letter.replayed.is_none()).collect()
    }

    /// How many entries have effects that are still to be done.
    pub(crate) fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    /// The homes with effects that are still to be done.
    pub(crate) fn homes(&self) -> Vec<Home> {
        let mut homes: Vec<_> = self.lock().pending.keys().map(|(home, _)| *home).collect();
        homes.dedup();
        homes
    }

    /// Makes who does them look again.
    pub(crate) fn tell(&self) {
        self.told.send_replace(());
    }

    /// Changes whenever there is something to do, or was done.
    pub(crate) fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// Waits until all that a request led to is done.
    ///
    /// # Errors
    /// The context's, if that ends first.
    pub(crate) async fn wait(&self, home: Home, end: u64, context: &ReadContext) -> Result<()> {
        let mut told = self.told();
        loop {
            told.borrow_and_update();
            if !self.lock().pending.values().any(|root| *root == (home, end)) {
                return Ok(());
            }
            tokio::select! {
                _ = told.changed() => {}
                error = context.stopped() => return Err(error.with_detail("the request is decided, its effects follow")),
            }
        }
    }

    /// What a checkpoint keeps of a home that reflects its shard up to an end.
    pub(crate) fn snapshot(&self, home: Home, end: u64) -> (Vec<u64>, Vec<DeadLetter>) {
        let inner = self.lock();
        let pending = inner.pending.keys().filter(|(known, at)| *known == home && *at <= end).map(|(_, at)| *at);
        let is_kept = |letter: &&DeadLetter| letter.end <= end && letter.replayed.is_none_or(|at| at > end);
        let dead = inner.dead.get(&home).into_iter().flatten().filter(is_kept).cloned();
        (pending.collect(), dead.collect())
    }

    /// What [`snapshot`](Self::snapshot) gave.
    pub(crate) fn restore(&self, home: Home, (pending, dead): (Vec<u64>, Vec<DeadLetter>)) {
        let mut inner = self.lock();
        inner.pending.extend(pending.into_iter().map(|end| ((home, end), (home, end))));
        inner.dead.insert(home, dead);
    }

    /// The oldest entry of a home whose effects are still to be done, by its end, if it is durable: the shard ends there.
    pub(crate) fn oldest(&self, home: Home, durable: u64) -> Option<u64> {
        let inner = self.lock();
        let oldest = inner.pending.keys().find(|(known, _)| *known == home).map(|(_, end)| *end);
        oldest.filter(|end| *end <= durable)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The origin of an entry that emits dead letters again.
pub(crate) fn replay_of(letters: &[DeadLetter]) -> String {
    let origins: Vec<_> = letters.iter().map(|letter| letter.origin.as_str()).collect();
    format!("{REPLAY}{}", origins.join("; "))
}

/// The dead letters that an entry emits again, if it does.
fn replayed_in(attributes: &Attributes) -> Option<Vec<&str>> {
    Some(attributes.origin.as_deref()?.strip_prefix(REPLAY)?.split("; ").collect())
}

const REPLAY: &str = "replay of ";

/// What a session had read and written, as the header of an entry has it.
pub(crate) fn cause(position: &Position) -> Cause {
    position.shards.iter().map(|(shard, offset)| (shard.0.to_string(), Offset(offset.0))).collect()
}
