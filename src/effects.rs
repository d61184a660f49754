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

use crate::commit::{Commit, Ledger, NO_DATASET, log_error, table_shard};
use crate::requests::Rejection;
use crate::sql::Argument;
use polder_catalog::{Error, Kind, Position, ReadContext, Result, SqlState};
use polder_log::store::{self, Attributes, Cause, CommitTime, Entry, EntryHeader, EntryKind, MAIN, NewEntry, Offset};
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

fn effects_of(entry: &Entry) -> Result<Vec<Effect>, String> {
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

/// The shard of a home.
pub(crate) fn name_of(home: Home) -> String {
    match home {
        Home::Main => MAIN.to_string(),
        Home::Shard(at) => table_shard(at),
    }
}

fn home_of(shard: &str) -> Option<Home> {
    if shard == MAIN {
        return Some(Home::Main);
    }
    let at = shard.rsplit_once('-')?.1.parse().ok()?;
    (table_shard(at) == shard).then_some(Home::Shard(at))
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
        self.replayed(&header.attributes);
        if let (Some(_), Some(rejection)) = (origin, rejection) {
            self.died(home, &header.attributes, header.commit_time, header.end_offset().0, rejection);
        }
    }

    /// Notes an effect that could not be done.
    pub(crate) fn died(&self, home: Home, attributes: &Attributes, time: CommitTime, end: u64, rejection: &Rejection) {
        let letter = DeadLetter {
            origin: attributes.origin.clone().unwrap_or_default(),
            request_id: attributes.request_id.clone(),
            rejection: rejection.clone(),
            time: time.0,
            end,
        };
        let mut inner = self.lock();
        let letters = inner.dead.entry(home).or_default();
        if letters.iter().all(|known| known.origin != letter.origin) {
            letters.push(letter);
        }
    }

    /// Forgets the dead letters that an entry emits again.
    pub(crate) fn replayed(&self, attributes: &Attributes) {
        let Some(origins) = attributes.origin.as_deref().and_then(|origin| origin.strip_prefix(REPLAY)) else { return };
        let origins: Vec<_> = origins.split("; ").collect();
        let mut inner = self.lock();
        for letters in inner.dead.values_mut() {
            letters.retain(|letter| !origins.contains(&letter.origin.as_str()));
        }
    }

    /// The effect that a dead letter is, if its entry is kept.
    pub(crate) async fn of(&self, commit: &Commit, letter: &DeadLetter) -> Result<Option<Effect>> {
        let Ok(Origin { home, number }) = letter.origin.parse::<Origin>() else { return Ok(None) };
        let read = read(commit, home, number.end).await?;
        let place = usize::try_from(number.place).unwrap_or(usize::MAX);
        Ok(read.and_then(|(effects, _)| effects.into_iter().nth(place.checked_sub(1)?)))
    }

    /// The effects that could not be done, with the shard that says so.
    pub(crate) fn dead(&self) -> Vec<(Home, DeadLetter)> {
        let inner = self.lock();
        inner.dead.iter().flat_map(|(home, letters)| letters.iter().map(|letter| (*home, letter.clone()))).collect()
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

    /// What a checkpoint keeps of a home.
    pub(crate) fn snapshot(&self, home: Home) -> (Vec<u64>, Vec<DeadLetter>) {
        let inner = self.lock();
        let pending = inner.pending.keys().filter(|(known, _)| *known == home).map(|(_, end)| *end).collect();
        (pending, inner.dead.get(&home).cloned().unwrap_or_default())
    }

    /// What [`snapshot`](Self::snapshot) gave.
    pub(crate) fn restore(&self, home: Home, (pending, dead): (Vec<u64>, Vec<DeadLetter>)) {
        let mut inner = self.lock();
        inner.pending.extend(pending.into_iter().map(|end| ((home, end), (home, end))));
        inner.dead.insert(home, dead);
    }

    /// The oldest entry of a home whose effects are still to be done, with those that are; none if it is not durable yet.
    pub(crate) async fn next(&self, commit: &Commit, home: Home) -> Result<Option<Due>> {
        let Ledger { shard, .. } = commit.ledger(home).await?;
        let durable = shard.end().offset.0;
        let oldest = self.lock().pending.keys().find(|(known, _)| *known == home).map(|(_, end)| *end);
        let Some(end) = oldest.filter(|end| *end <= durable) else { return Ok(None) };
        let read = read(commit, home, end).await?;
        let Some((effects, attributes)) = read else {
            return Ok(Some(Due { home, end, attributes: Attributes::default(), effects: Vec::new() }));
        };
        let newest = commit.own().applied(home);
        let numbered = (1..).zip(effects).map(|(place, effect)| (EffectNumber { end, place }, effect));
        let effects = numbered.filter(|(number, _)| *number > newest).collect();
        Ok(Some(Due { home, end, attributes, effects }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The effects of an entry, and what its header says; none if the log has not taken what was announced.
async fn read(commit: &Commit, home: Home, end: u64) -> Result<Option<(Vec<Effect>, Attributes)>> {
    let Ledger { shard, .. } = commit.ledger(home).await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut entries = shard.read(Offset(end.saturating_sub(1))..Offset(end)).map_err(log_error)?;
        let Some(entry) = entries.next().transpose().map_err(log_error)? else { return Ok(None) };
        if entry.header().kind != EntryKind::REQUEST || entry.header().end_offset().0 != end {
            return Ok(None);
        }
        let effects = effects_of(&entry).map_err(|detail| {
            let message = format!("entry {} of shard {} cannot be read", entry.header().number.0, shard.name());
            Error::new(Kind::Repair, SqlState::DAMAGED, message).with_detail(detail)
        })?;
        Ok(Some((effects, entry.header().attributes.clone())))
    });
    read.await.map_err(|error| Error::report("reading effects ended in a panic").with_source(error))?
}

/// The origin of an entry that emits dead letters again.
pub(crate) fn replay_of(letters: &[DeadLetter]) -> String {
    let origins: Vec<_> = letters.iter().map(|letter| letter.origin.as_str()).collect();
    format!("{REPLAY}{}", origins.join("; "))
}

const REPLAY: &str = "replay of ";

/// The effects of one entry that are still to be done.
pub(crate) struct Due {
    pub(crate) home: Home,
    pub(crate) end: u64,
    /// Of the entry.
    pub(crate) attributes: Attributes,
    pub(crate) effects: Vec<(EffectNumber, Effect)>,
}

/// What a session had read and written, as the header of an entry has it.
pub(crate) fn cause(position: &Position) -> Cause {
    position.shards.iter().map(|(shard, offset)| (shard.0.to_string(), Offset(offset.0))).collect()
}
