//! Does the effects of requests, as they come: one task for each shard that has any.

use crate::engine::{Engine, Inner};
use crate::execute;
use polder_catalog::Result;
use polder_log::store::Offset;
use polder_rows::Home;
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
        if engine.0.closing.is_cancelled() {
            return;
        }
        match next(&engine, home).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "effects could not be done; they are tried again");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = engine.0.closing.cancelled() => return,
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
    let Some(due) = commit.effects().next(commit, home).await? else { return Ok(false) };
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
    engine.0.closing.cancel();
}
