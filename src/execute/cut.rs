//! One state for a query over several catalogs that follow the log: all of them as of one entry of `main`.
//!
//! Polder's own tables are read as they are shown. What follows the log is waited for until it has all entries up to there, for a
//! while; and if it has got a newer one in between, all are read anew. So a join sees no half of what one entry, or one client
//! after the other, has written to several. What stays behind for longer is left out of this, and the answer says so.

use crate::catalogs::POLDER;
use crate::engine::Inner;
use crate::execute::{after, resolve::Resolver};
use crate::plan::Tables;
use crate::session::Session;
use crate::sql::Query;
use polder_catalog::{CatalogName, Position, ReadContext, Result, ShardName};
use polder_log::store::{MAIN, Offset};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a query waits for what follows the log.
const WAIT: Duration = Duration::from_secs(1);

/// How often it reads everything anew because something newer has come.
const TRIES: usize = 5;

/// The catalogs that follow the log and that a query reads.
#[derive(Debug, Default)]
struct Touched(Mutex<BTreeSet<String>>);

/// Notes that a query reads a catalog that follows the log. Called before it is read.
pub(super) fn touch(context: &ReadContext, catalog: &str) {
    let touched = context.shared(&CatalogName::new(POLDER), Touched::default);
    touched.0.lock().unwrap_or_else(PoisonError::into_inner).insert(catalog.to_string());
}

fn touched(context: &ReadContext) -> BTreeSet<String> {
    let touched = context.shared(&CatalogName::new(POLDER), Touched::default);
    let touched = touched.0.lock().unwrap_or_else(PoisonError::into_inner);
    touched.clone()
}

/// Resolves everything that a query names, as of one entry of `main` as far as that can be had; and the context that it is read
/// under.
///
/// # Errors
/// The resolver's.
pub(super) async fn resolve(session: &Session, query: &Query, context: &ReadContext) -> Result<(Tables, ReadContext)> {
    let engine = &session.engine.0;
    let catalogs = engine.catalogs();
    let mut context = context.clone();
    for again in 0.. {
        after::wait(session, &context).await?;
        let end = engine.commit.opened().map(|log| log.main().end().offset);
        let tables = Resolver::new(engine, &catalogs, &context).query(query).await?;
        let followers = touched(&context);
        // A transaction reads its own tables as they were when it began.
        let Some(end) = end.filter(|_| !followers.is_empty() && !session.in_transaction()) else {
            return Ok((tables, context));
        };
        let own = own_position(engine, &context);
        if followers.len() < 2 && own.is_none() {
            return Ok((tables, context));
        }
        let cut = own.map_or(end, |own| own.max(end));
        let (behind, ahead) = apart(engine, &followers, cut);
        if behind.is_empty() && ahead.is_empty() {
            return Ok((tables, context));
        }
        let late = wait(engine, &behind, cut, &context).await;
        if again >= TRIES || !late.is_empty() {
            let apart = if late.is_empty() { [behind, ahead].concat() } else { late.clone() };
            let how = if late.is_empty() { "are not read as of" } else { "do not reflect yet" };
            let names = apart.join(", ");
            context.notice(format!("tables of {names} {how} the position '{MAIN}:{}', as the others are", cut.0));
            return Ok((tables, context));
        }
        context = context.again();
    }
    unreachable!("the loop has an end")
}

/// The offset that Polder's own tables are read at, if they are.
fn own_position(engine: &Inner, context: &ReadContext) -> Option<Offset> {
    let position = engine.commit.own().position_of(context)?;
    Some(position.shards.get(&ShardName(MAIN.into())).map_or(Offset(0), |offset| Offset(offset.0)))
}

/// What a query reflects at least that reads nothing but catalogs that follow the log.
pub(super) fn position(engine: &Inner, context: &ReadContext) -> Option<Position> {
    let followers = touched(context);
    let reached = followers.iter().filter_map(|catalog| engine.followers.bounds(catalog)).map(|(reached, _)| reached);
    Some(crate::commit::position([(MAIN.to_string(), reached.min()?)]))
}

/// Which catalogs are not there yet, and which may be beyond.
fn apart(engine: &Inner, followers: &BTreeSet<String>, cut: Offset) -> (Vec<String>, Vec<String>) {
    let (mut behind, mut ahead) = (Vec::new(), Vec::new());
    for catalog in followers {
        match engine.followers.bounds(catalog) {
            Some((reached, _)) if reached < cut => behind.push(catalog.clone()),
            Some((_, given)) if given > cut => ahead.push(catalog.clone()),
            Some(_) | None => {}
        }
    }
    (behind, ahead)
}

/// Waits until catalogs are there; those that are not in time.
async fn wait(engine: &Inner, behind: &[String], cut: Offset, context: &ReadContext) -> Vec<String> {
    let reached = behind.iter().map(|catalog| async move {
        let reached = tokio::time::timeout(WAIT, engine.reached(catalog, cut, context)).await;
        (!matches!(reached, Ok(Ok(())))).then(|| catalog.clone())
    });
    futures::future::join_all(reached).await.into_iter().flatten().collect()
}
