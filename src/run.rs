//! Does the effects of requests, as they come: one task for each shard that has any.

use crate::commit::{Commit, Ledger, log_error};
use crate::effects::{DeadLetter, Effect, Origin, effects_of};
use crate::engine::{Engine, Inner};
use crate::execute;
use polder_catalog::{Error, Kind, Result, SqlState};
use polder_log::store::{Attributes, EntryKind, Offset};
use polder_rows::{EffectNumber, Home};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Between tries at effects that the log did not take.
const PAUSE: Duration = Duration::from_secs(1);

/// How long closing an engine waits for effects that are still to be done. The others are done when it is opened again.
const FINISH_MAX: Duration = Duration::from_secs(5);

/// Starts, until the engine is closed or dropped.
pub(crate) fn start(engine: &Engine) {
    let (mut told, closing) = (engine.0.commit.effects().told(), engine.0.closing.clone());
    let (detached, engine) = (engine.0.detached.clone(), Arc::downgrade(&engine.0));
    let running = Arc::new(Mutex::new(BTreeSet::new()));
    detached.spawn(async move {
        loop {
            let Some(upgraded) = engine.upgrade() else { return };
            for home in upgraded.commit.effects().homes() {
                if lock(&running).insert(home) {
                    let (engine, running) = (Weak::clone(&engine), Arc::clone(&running));
                    upgraded.detached.spawn(async move {
                        drain(&engine, home).await;
                        lock(&running).remove(&home);
                        // What came in between is not left alone.
                        if let Some(engine) = engine.upgrade() {
                            engine.commit.effects().tell();
                        }
                    });
                }
            }
            drop(upgraded);
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = closing.cancelled() => return,
            }
        }
    });
}

fn lock(running: &Mutex<BTreeSet<Home>>) -> std::sync::MutexGuard<'_, BTreeSet<Home>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does all effects of a home that are durable.
async fn drain(engine: &Weak<Inner>, home: Home) {
    loop {
        let Some(engine) = engine.upgrade().map(Engine) else { return };
        let closing = engine.0.closing.clone();
        if closing.is_cancelled() {
            return;
        }
        match next(&engine, home).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "effects could not be done; they are tried again");
                drop(engine);
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = closing.cancelled() => return,
                }
            }
        }
    }
}

/// Does the effects of one entry; whether there was any.
async fn next(engine: &Engine, home: Home) -> Result<bool> {
    let commit = &engine.0.commit;
    // What the tables do not show yet is not known either.
    commit.tables().await?;
    let Some(due) = due(commit, home).await? else { return Ok(false) };
    // An epoch that has an effect has what it is the effect of, however long it takes to look at all shards.
    commit.shown(home, Offset(due.end)).await?;
    execute::apply(engine, &due).await?;
    commit.show_all().await?;
    commit.effects().done(home, due.end);
    Ok(true)
}

/// Waits a while for what is still to be done, then stops.
pub(crate) async fn finish(engine: &Engine) {
    let effects = engine.0.commit.effects();
    let mut told = effects.told();
    let done = async { while effects.pending() > 0 && told.changed().await.is_ok() {} };
    if engine.0.commit.is_replayed() && tokio::time::timeout(FINISH_MAX, done).await.is_err() {
        tracing::warn!("effects are left to be done when the data directory is opened again");
    }
}

/// The effects of one entry that are still to be done.
pub(crate) struct Due {
    pub(crate) home: Home,
    pub(crate) end: u64,
    /// Of the entry.
    pub(crate) attributes: Attributes,
    pub(crate) effects: Vec<(EffectNumber, Effect)>,
}

async fn due(commit: &Commit, home: Home) -> Result<Option<Due>> {
    let durable = commit.ledger(home).await?.shard.end().offset.0;
    let Some(end) = commit.effects().oldest(home, durable) else { return Ok(None) };
    let Some((effects, attributes)) = read(commit, home, end).await? else {
        return Ok(Some(Due { home, end, attributes: Attributes::default(), effects: Vec::new() }));
    };
    let newest = commit.own().applied(home);
    let numbered = (1..).zip(effects).map(|(place, effect)| (EffectNumber { end, place }, effect));
    let effects = numbered.filter(|(number, _)| *number > newest).collect();
    Ok(Some(Due { home, end, attributes, effects }))
}

/// The effect that a dead letter is, if its entry is kept.
///
/// # Errors
/// The log's.
pub(crate) async fn effect_of(commit: &Commit, letter: &DeadLetter) -> Result<Option<Effect>> {
    let Ok(Origin { home, number }) = letter.origin.parse::<Origin>() else { return Ok(None) };
    let read = read(commit, home, number.end).await?;
    let place = usize::try_from(number.place).unwrap_or(usize::MAX);
    Ok(read.and_then(|(effects, _)| effects.into_iter().nth(place.checked_sub(1)?)))
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
