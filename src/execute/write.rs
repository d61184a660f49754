//! INSERT, UPDATE, DELETE and COPY: an entry of the log first; whatever is derived from it follows.
//!
//! A statement reads and computes its rows like any query, puts them into one entry, and answers once the store that holds
//! the table shows it. Writers of one catalog take turns, so that what a statement read still holds when its entry is made.

mod change;
mod copy;
mod draft;
mod keys;
mod rows;
mod topic;

pub(crate) use copy::OPTIONS as COPY_OPTIONS;
pub(super) use draft::Draft;
pub(crate) use topic::append;

use crate::definitions::TableDefinition;
use crate::engine::Inner;
use crate::execute::query;
use crate::execute::resolve::{Resolver, Target, reference};
use crate::execute::table::plain;
use crate::execute::write::keys::Keys;
use crate::plan::Planner;
use crate::requests::Request;
use crate::session::{Outcome, Session};
use crate::sql::{CopySource, Name, Query};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use polder_catalog::{Error, ReadContext, Result, SqlState};
use polder_log::TopicDefinition;
use polder_log::store::Offset;
use std::sync::Arc;
use std::time::Duration;

/// Something that statements write.
pub(super) enum Writable {
    Topic(TopicDefinition),
    Table(TableDefinition),
}

/// `INSERT INTO table [(columns)] query`.
pub(super) async fn insert(
    session: &Session,
    name: &Name,
    columns: &[String],
    query: &Query,
    request: Option<Request>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let table = match writable(session, name, &context)? {
        Writable::Table(table) => table,
        Writable::Topic(topic) => {
            check_topic(session, &topic, request.as_ref())?;
            let count = topic::insert(session, &context, &topic, columns, rows::Source::Query(query)).await?;
            return Ok(Outcome::Done(format!("INSERT 0 {count}")));
        }
    };
    let mut tries = Tries::of(session, &context, request);
    if let Some(tag) = tries.before().await? {
        return Ok(Outcome::Done(tag));
    }
    loop {
        let (context, request) = tries.next();
        let rows = rows::Source::Query(query);
        let done = change::insert(session, &context, &table, columns, rows, request).await;
        if let Some((_, tag)) = tries.settle(done).await? {
            return Ok(Outcome::Done(tag));
        }
    }
}

/// INSERT of rows that are known already, each a value for each of the columns that are named; none if they need a plan: the
/// target is no table of Polder's own, or has columns that are more than their type.
pub(crate) async fn insert_rows(
    session: &Session,
    name: &Name,
    columns: &[String],
    rows: &[Vec<ScalarValue>],
    request: Option<Request>,
) -> Result<Option<Outcome>> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let Writable::Table(table) = writable(session, name, &context)? else { return Ok(None) };
    if !table.is_own() || table.columns.iter().any(|column| !column.field.metadata().is_empty()) {
        return Ok(None);
    }
    let mut tries = Tries::of(session, &context, request);
    if let Some(tag) = tries.before().await? {
        return Ok(Some(Outcome::Done(tag)));
    }
    loop {
        let (context, request) = tries.next();
        let done = change::insert_rows(session, &context, &table, columns, rows, request).await;
        if let Some(tag) = tries.settle(done).await? {
            return Ok(Some(Outcome::Done(tag)));
        }
    }
}

/// `UPDATE table SET column = expression, ... [WHERE condition]`.
pub(super) async fn update(
    session: &Session,
    name: &Name,
    assignments: Vec<(String, ast::Expr)>,
    condition: Option<ast::Expr>,
    request: Option<Request>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let table = match writable(session, name, &context)? {
        Writable::Table(table) => table,
        Writable::Topic(topic) => {
            return Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                format!("the records of topic \"{}\" cannot be changed", topic.name),
            )
            .with_hint("append a newer one with INSERT: the newest of a key is what its $latest shows"));
        }
    };
    let mut tries = Tries::of(session, &context, request);
    if let Some(tag) = tries.before().await? {
        return Ok(Outcome::Done(tag));
    }
    loop {
        let (context, request) = tries.next();
        let (assignments, condition) = (assignments.clone(), condition.clone());
        let done = change::update(session, &context, &table, assignments, condition, request).await;
        if let Some(tag) = tries.settle(done).await? {
            return Ok(Outcome::Done(tag));
        }
    }
}

/// `DELETE FROM table [WHERE condition]`.
pub(super) async fn delete(
    session: &Session,
    name: &Name,
    condition: Option<ast::Expr>,
    request: Option<Request>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let table = match writable(session, name, &context)? {
        Writable::Table(table) => table,
        Writable::Topic(topic) => {
            check_topic(session, &topic, request.as_ref())?;
            let count = topic::delete(session, &context, &topic, condition).await?;
            return Ok(Outcome::Done(format!("DELETE {count}")));
        }
    };
    let mut tries = Tries::of(session, &context, request);
    if let Some(tag) = tries.before().await? {
        return Ok(Outcome::Done(tag));
    }
    loop {
        let (context, request) = tries.next();
        let done = change::delete(session, &context, &table, condition.clone(), request).await;
        if let Some(tag) = tries.settle(done).await? {
            return Ok(Outcome::Done(tag));
        }
    }
}

/// What is written elsewhere cannot be taken back with the transaction.
fn not_in_transaction(what: &str) -> Error {
    Error::fix(SqlState::NOT_SUPPORTED, format!("{what} cannot be written in a transaction"))
        .with_hint("transactions are on tables of Polder's own; write it before BEGIN or after COMMIT")
}

/// The entries of topics lie in many shards, and nothing there knows the ids of requests yet.
fn check_topic(session: &Session, topic: &TopicDefinition, request: Option<&Request>) -> Result<()> {
    match request {
        None if session.in_transaction() => Err(not_in_transaction(&format!("topic \"{}\"", topic.name))),
        None => Ok(()),
        Some(_) => Err(Error::fix(SqlState::NOT_SUPPORTED, "a topic is not written under a request id")
            .with_hint("RESET request_id; to append once, look for the record in the topic's $latest first")),
    }
}

/// The tries of one statement: it is done again as long as what it reads changes before the log decides about it.
struct Tries<'a> {
    engine: &'a Inner,
    context: &'a ReadContext,
    request: Option<Request>,
    /// A transaction is done again as a whole, by who began it.
    once: bool,
    pause: Duration,
}

/// Pauses between tries, so that whoever keeps changing the rows may come to an end.
const PAUSE_MIN: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(20);

impl<'a> Tries<'a> {
    fn of(session: &'a Session, context: &'a ReadContext, request: Option<Request>) -> Self {
        let once = session.in_transaction();
        Self { engine: &session.engine.0, context, request, once, pause: PAUSE_MIN }
    }

    /// What the next try reads under, and the request that it is of.
    fn next(&self) -> (ReadContext, Option<Request>) {
        (self.context.again(), self.request.clone())
    }

    /// What became of the statement, if it is one that the log knows.
    async fn before(&self) -> Result<Option<String>> {
        let outcome = self.engine.commit.outcome(self.request.as_ref()).await?;
        outcome.transpose().map_err(|rejection| rejection.error())
    }

    /// What the statement has come to; none if it is to be tried again.
    ///
    /// # Errors
    /// The try's own, unless another one may go better; the context's, if that ends first.
    async fn settle<T>(&mut self, done: Result<T>) -> Result<Option<T>> {
        match done {
            Err(error) if error.state() == SqlState::SERIALIZATION && !self.once => {
                tokio::select! {
                    () = tokio::time::sleep(self.pause) => {}
                    error = self.context.stopped() => return Err(error),
                }
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                Ok(None)
            }
            done => done.map(Some),
        }
    }
}

/// `COPY table [(columns)] FROM ...`.
pub(super) async fn copy(
    session: &Session,
    name: &Name,
    columns: &[String],
    from: &CopySource,
    options: &[(String, String)],
) -> Result<Outcome> {
    copy::run(session, name, columns, from, options).await
}

/// The columns that a query would give a table.
pub(super) async fn schema_of(session: &Session, context: &ReadContext, query: &Query) -> Result<SchemaRef> {
    let engine = &session.engine.0;
    let catalogs = engine.catalogs();
    let tables = Resolver::new(engine, &catalogs, context).query(query).await?;
    let settings = session.settings();
    let planned = Planner::new(engine, context).with_settings(&settings).physical(query, &tables).await?;
    let schema = planned.physical.schema();
    let fields = schema.fields().iter().map(|field| plain(field).with_nullable(true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Adds a query's rows to the entry that creates their table; how many.
pub(super) async fn fill(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    query: &Query,
    draft: &mut Draft,
) -> Result<u64> {
    let schema = table.arrow_schema();
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut rows = rows::start(session, context, &fields, &[], rows::Source::Query(query)).await?;
    let mut keys = Keys::of(table);
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        let batch = change::of_schema(batch.columns().to_vec(), &schema)?;
        keys.add_first(&batch)?;
        count += batch.num_rows() as u64;
        draft.add(table, &batch, None)?;
    }
    Ok(count)
}

/// What a name means to a statement that writes.
///
/// # Errors
/// 25006 for what is not written by the log, with where to write instead.
pub(super) fn writable(session: &Session, name: &Name, context: &ReadContext) -> Result<Writable> {
    let engine = &session.engine.0;
    let catalogs = engine.catalogs();
    let reference = reference(name);
    let read_only = |what: String, hint: &str| Err(Error::fix(SqlState::READ_ONLY, what).with_hint(hint));
    match Resolver::new(engine, &catalogs, context).target(&reference, false)? {
        Target::Topic { name, latest: false } => Ok(Writable::Topic(catalogs.topics[&name].clone())),
        Target::Topic { name, latest: true } => {
            read_only(format!("{name}$latest is derived from topic \"{name}\""), "write to the topic")
        }
        Target::Dataset(name) => match catalogs.tables.get(&name) {
            Some(table) => Ok(Writable::Table(table.clone())),
            None => {
                catalogs.get(name.catalog.as_str())?;
                read_only(
                    format!("table {name} cannot be written here"),
                    "its system of record is the source itself: write there",
                )
            }
        },
        Target::View(view) => read_only(format!("view \"{view}\" cannot be written"), "write to what it reads"),
        Target::System(table) => read_only(format!("system table \"{table}\" cannot be written"), "it only tells"),
        Target::LocalFiles(pattern) => read_only(format!("'{pattern}' cannot be written"), "write the file elsewhere"),
    }
}

/// Waits until a table's own store shows everything before `offset`.
async fn shown(engine: &Inner, table: &TableDefinition, offset: Offset, context: &ReadContext) -> Result<()> {
    engine.reached(&table.catalog, offset, context).await.map_err(|error| {
        let what = error.detail().map(|detail| format!("{detail}; ")).unwrap_or_default();
        error.with_detail(format!("{what}the entry is in the log, and the table will show it"))
    })
}
