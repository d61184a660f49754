//! INSERT, UPDATE, DELETE and COPY: an entry of the log first; whatever is derived from it follows.
//!
//! A statement reads and computes its rows like any query, puts them into one entry, and answers once the store that holds
//! the table shows it. Writers of one catalog take turns, so that what a statement read still holds when its entry is made.

mod change;
mod copy;
mod keys;
mod rows;
mod topic;

pub(crate) use copy::OPTIONS as COPY_OPTIONS;
pub(crate) use topic::append;

use crate::commit::log_error;
use crate::definitions::TableDefinition;
use crate::engine::Inner;
use crate::execute::query;
use crate::execute::resolve::{Resolver, Target, reference};
use crate::execute::table::plain;
use crate::execute::write::keys::Keys;
use crate::plan::Planner;
use crate::session::{Outcome, Session};
use crate::sql::{CopySource, Name, Query};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast;
use polder_catalog::{Error, ReadContext, Result, SqlState};
use polder_log::TopicDefinition;
use polder_log::store::{NewEntry, Offset};
use std::sync::Arc;

/// Something that statements write.
pub(super) enum Writable {
    Topic(TopicDefinition),
    Table(TableDefinition),
}

/// `INSERT INTO table [(columns)] query`.
pub(super) async fn insert(session: &Session, name: &Name, columns: &[String], query: &Query) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let rows = rows::Source::Query(query);
    let count = match writable(session, name, &context)? {
        Writable::Topic(topic) => topic::insert(session, &context, &topic, columns, rows).await?,
        Writable::Table(table) => change::insert(session, &context, &table, columns, rows).await?,
    };
    Ok(Outcome::Done(format!("INSERT 0 {count}")))
}

/// `UPDATE table SET column = expression, ... [WHERE condition]`.
pub(super) async fn update(
    session: &Session,
    name: &Name,
    assignments: Vec<(String, ast::Expr)>,
    condition: Option<ast::Expr>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    match writable(session, name, &context)? {
        Writable::Topic(topic) => Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("the records of topic \"{}\" cannot be changed", topic.name),
        )
        .with_hint("append a newer one with INSERT: the newest of a key is what its $latest shows")),
        Writable::Table(table) => {
            let count = change::update(session, &context, &table, assignments, condition).await?;
            Ok(Outcome::Done(format!("UPDATE {count}")))
        }
    }
}

/// `DELETE FROM table [WHERE condition]`.
pub(super) async fn delete(session: &Session, name: &Name, condition: Option<ast::Expr>) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let count = match writable(session, name, &context)? {
        Writable::Topic(topic) => topic::delete(session, &context, &topic, condition).await?,
        Writable::Table(table) => change::delete(session, &context, &table, condition).await?,
    };
    Ok(Outcome::Done(format!("DELETE {count}")))
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
    entry: &mut NewEntry,
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
        entry.add_batch(table.schema_id(), &batch).map_err(log_error)?;
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
    engine.followers.reached(&table.catalog, offset, context).await.map_err(|error| {
        let what = error.detail().map(|detail| format!("{detail}; ")).unwrap_or_default();
        error.with_detail(format!("{what}the entry is in the log, and the table will show it"))
    })
}
