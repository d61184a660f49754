//! BEGIN, COMMIT and ROLLBACK.

use crate::commit::{Committed, outcome_entry, position};
use crate::effects::cause;
use crate::execute::write::Draft;
use crate::execute::{after, query};
use crate::session::{COMMIT, Outcome, Session, Transaction};
use polder_catalog::{Error, Result, SqlState};
use polder_log::store::{EntryKind, MAIN};
use std::sync::Arc;

/// Begins a transaction; its request id serves it as a whole.
pub(super) async fn begin(session: &Session, read_only: bool) -> Result<Outcome> {
    let engine = &session.engine.0;
    if session.in_transaction() {
        return Err(Error::fix(SqlState::IN_TRANSACTION, "a transaction has begun already")
            .with_hint("COMMIT or ROLLBACK it first"));
    }
    after::wait(session, &query::context(session)).await?;
    let view = Arc::new(engine.commit.tables().await?.begin());
    let id = session.take_request_id()?;
    let before = match &id {
        Some(id) => engine.commit.answered(session.user(), id).await?,
        None => None,
    };
    session.set_transaction(Some(Transaction::new(view, read_only, id, before.as_deref())));
    Ok(Outcome::Done("BEGIN".to_string()))
}

/// Makes everything that the transaction has changed one entry of the log.
pub(super) async fn commit(session: &Session) -> Result<Outcome> {
    let transaction = ended(session)?;
    if transaction.has_failed() {
        return Ok(Outcome::Done("ROLLBACK".to_string()));
    }
    let engine = &session.engine.0;
    let reads = transaction.view.reads().clone();
    let (changes, request, outcome) = transaction.finish(session.user());
    let mut draft = Draft::new(engine, EntryKind::DATA).await?;
    for change in changes {
        draft.add(&change.table, &change.rows, change.weights)?;
    }
    if draft.record_count() == 0 && request.is_none() {
        return Ok(Outcome::Done(COMMIT.to_string()));
    }
    let (mut entry, changes) = draft.finish()?;
    if entry.record_count() == 0 {
        entry = outcome_entry()?;
    }
    let mut attributes = request.as_ref().map(|request| request.attributes(&outcome)).unwrap_or_default();
    attributes.cause = cause(&session.position());
    entry = entry.with_attributes(attributes);
    let proposal = engine.commit.propose(Vec::new(), &changes, Some(reads)).await?;
    let context = query::context(session);
    // Whoever has the tables for itself is not disturbed.
    let _gate = tokio::select! {
        gate = engine.gate.read() => gate,
        error = context.stopped() => return Err(error),
    };
    tokio::select! {
        committed = engine.commit.commit(entry, proposal, request) => match committed? {
            Committed::Now(end) => {
                session.reached(&position([(MAIN.to_string(), end)]));
                Ok(Outcome::Done(COMMIT.to_string()))
            }
            Committed::Before(before) => {
                session.reached(&position([(MAIN.to_string(), before.shown)]));
                before.outcome.map_err(|rejection| rejection.error())?;
                Ok(Outcome::Done(COMMIT.to_string()))
            }
        },
        error = context.stopped() => Err(error.with_detail("whether it was committed is not known")),
    }
}

/// Gives up everything that the transaction has changed.
pub(super) fn rollback(session: &Session) -> Result<Outcome> {
    ended(session).map(|_| Outcome::Done("ROLLBACK".to_string()))
}

fn ended(session: &Session) -> Result<Transaction> {
    session.set_transaction(None).ok_or_else(|| {
        Error::fix(SqlState::NO_TRANSACTION, "no transaction has begun").with_hint("begin one with BEGIN")
    })
}
