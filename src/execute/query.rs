//! SELECT and EXPLAIN: resolve, plan, run.

use crate::activity;
use crate::catalogs::POLDER;
use crate::execute::{cut, show};
use crate::plan::explain::Explanation;
use crate::plan::{Planned, Planner};
use crate::session::{Outcome, Progress, Rows, Session};
use crate::sql::{Explaining, Query};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use polder_catalog::{CatalogName, Error, Position, Principal, QueryId, ReadContext, Result, Source};
use std::sync::Arc;
use tokio::time::Instant;

/// Runs a query; rows are read as they are asked for.
pub(super) async fn run(session: &Session, query: &Query) -> Result<Outcome> {
    let context = context(session);
    // Until the rows are handed out, dropping this future is what cancels.
    let guard = context.cancellation().clone().drop_guard();
    let (planned, sources, context) = plan(session, query, &context).await?;
    let progress = Progress::of(&planned.physical, &sources);
    let position = position_of(session, &context);
    session.reached(&position);
    let stream = execute_stream(Arc::clone(&planned.physical), planned.task()).map_err(Error::from_datafusion)?;
    guard.disarm();
    Ok(Outcome::Rows(Rows::running(stream, context, progress).reflecting(position)))
}

/// Explains a query, after running it to its end if it is to be analyzed.
pub(super) async fn explain(session: &Session, query: &Query, how: Explaining) -> Result<Outcome> {
    let context = context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let (planned, sources, context) = plan(session, query, &context).await?;
    let mut explanation = Explanation {
        planned: &planned,
        sources: &sources,
        verbose: how.verbose,
        in_transaction: session.in_transaction(),
        ran: None,
    };
    if how.analyze {
        let stopwatch = session.engine.0.env.stopwatch();
        let rows = execute_stream(Arc::clone(&planned.physical), planned.task());
        let mut rows = rows.map_err(Error::from_datafusion)?;
        loop {
            tokio::select! {
                biased;
                error = context.stopped() => return Err(error),
                next = rows.next() => match next {
                    Some(batch) => drop(batch.map_err(Error::from_datafusion)?),
                    None => break,
                },
            }
        }
        explanation.ran = Some(stopwatch.elapsed());
    }
    let lines = if how.json { vec![explanation.json()?] } else { explanation.lines() };
    Ok(show::rows(&show::PLAN_COLUMNS, lines.into_iter().map(|line| [Some(line)])))
}

async fn plan(
    session: &Session,
    query: &Query,
    context: &ReadContext,
) -> Result<(Planned, Vec<(CatalogName, Arc<dyn Source>)>, ReadContext)> {
    let engine = &session.engine.0;
    let catalogs = engine.catalogs();
    let own = engine.own_source().await?.map(|source| (CatalogName::new(POLDER), source));
    let sources: Vec<_> = own.into_iter().chain(catalogs.sources()).collect();
    let planning = async {
        let (tables, context) = cut::resolve(session, query, context).await?;
        let settings = session.settings();
        let planned = Planner::new(engine, &context).with_settings(&settings).physical(query, &tables).await?;
        Ok((planned, context))
    };
    tokio::select! {
        planned = planning => planned.map(|(planned, context)| (planned, sources, context)),
        error = context.stopped() => Err(error),
    }
}

/// What the answer of a query reflects of the log, as far as it has read it.
fn position_of(session: &Session, context: &ReadContext) -> Position {
    let engine = &session.engine.0;
    let mut position = engine.opened_topics().map(|topics| topics.position(context)).unwrap_or_default();
    let own = engine.commit.own().position_of(context).or_else(|| cut::position(engine, context));
    position.shards.extend(own.unwrap_or_default().shards);
    position
}

/// The context of everything that one statement reads.
pub(super) fn context(session: &Session) -> ReadContext {
    let engine = &session.engine.0;
    let settings = session.settings();
    let statement = activity::current();
    let query = match &statement {
        Some(statement) => Arc::clone(&statement.id),
        None => engine.env.next_query().into(),
    };
    let cancellation = statement.map(|statement| statement.cancellation().child_token()).unwrap_or_default();
    let principal = Principal(Arc::clone(session.user()));
    let context = ReadContext::builder(QueryId(query), principal)
        .cancellation(cancellation)
        .deadline(settings.statement_timeout().map(|timeout| Instant::now() + timeout))
        .memory(session.memory())
        .partitions(engine.template.config().target_partitions())
        .pushdown(settings.pushdown())
        .observer(engine.catalogs())
        .build();
    if let Some(view) = session.view() {
        engine.commit.own().read(&context, &view);
    }
    context
}
