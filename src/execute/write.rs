//! INSERT, UPDATE, DELETE and COPY: an entry of the log first; whatever is derived from it follows.
//!
//! A statement reads and computes its rows like any query, puts them into one entry, and answers once the store that holds
//! the table shows it. Writers of one catalog take turns, so that what a statement read still holds when its entry is made.

mod attempt;
mod change;
mod conflict;
mod copy;
mod defaults;
mod draft;
mod ingest;
mod keys;
mod merge;
mod returning;
mod rows;
mod rules;
mod topic;

pub(super) use attempt::Gate;
pub(super) use change::select as query_of;
pub(crate) use copy::OPTIONS as COPY_OPTIONS;
pub(super) use draft::Draft;
pub(crate) use ingest::ingest;
pub(super) use returning::{returned, under_own_name};
pub(crate) use topic::append;

use crate::access::{Object, Privilege, denied};
use crate::definitions::{StoredColumn, TableDefinition};
use crate::engine::Inner;
use crate::execute::patience::Patience;
use crate::execute::query;
use crate::execute::resolve::{Resolver, Target, reference};
use crate::execute::table::plain;
use crate::execute::write::attempt::{Attempt, Written};
use crate::execute::write::keys::Keys;
use crate::execute::write::rules::Rules;
use crate::plan::Planner;
use crate::requests::Request;
use crate::session::{GivenRows, Outcome, Rows, Session};
use crate::sql::{CopySource, MergeAction, MergeSpec, Name, OnConflict, Query, Which};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, SelectItem};
use polder_catalog::{Error, ReadContext, Result, SqlState, TableName};
use polder_log::TopicDefinition;
use polder_log::store::Offset;
use std::sync::Arc;

/// Something that statements write.
pub(super) enum Writable {
    Topic(TopicDefinition),
    Table(TableDefinition),
}

impl Writable {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::Topic(topic) => {
                Arc::new(Schema::new(topic.columns.iter().map(|column| Arc::clone(&column.field)).collect::<Vec<_>>()))
            }
            Self::Table(table) => table.arrow_schema(),
        }
    }

    /// The type of a column.
    pub(super) fn type_of(&self, column: &str) -> Option<DataType> {
        self.schema().field_with_name(column).ok().map(|field| field.data_type().clone())
    }

    /// The type of what an INSERT gives at a place, where it names these columns.
    pub(super) fn type_at(&self, columns: &[String], at: usize) -> Option<DataType> {
        match columns.is_empty() {
            true => self.schema().fields().get(at).map(|field| field.data_type().clone()),
            false => self.type_of(columns.get(at)?),
        }
    }
}

/// `INSERT INTO table [(columns)] query [ON CONFLICT ...] [RETURNING ...]`.
pub(super) async fn insert(
    session: &Session,
    name: &Name,
    columns: &[String],
    mut query: Query,
    conflict: Option<&OnConflict>,
    returning: &[SelectItem],
    request: Option<Request>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let table = match writable(session, name, &context, &[Privilege::Insert])? {
        Writable::Table(table) => table,
        Writable::Topic(topic) => {
            check_topic(session, &topic, request.as_ref())?;
            if conflict.is_some() || !returning.is_empty() {
                return Err(Error::fix(SqlState::NOT_SUPPORTED, "a topic has no ON CONFLICT and no RETURNING"));
            }
            let count = topic::insert(session, &context, &topic, columns, rows::Source::Query(&query)).await?;
            return Ok(Outcome::Done(format!("INSERT 0 {count}")));
        }
    };
    let updates = conflict.is_some_and(|conflict| conflict.update.is_some());
    if updates {
        check_rights(session, &table.full_name(), &[Privilege::Update])?;
    } else if conflict.is_some() || !returning.is_empty() {
        check_sight(session, &table.full_name())?;
    }
    if conflict.is_some() && !table.is_own() {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, "ON CONFLICT is for tables of Polder's own"));
    }
    defaults::replace(&mut query, &table, columns)?;
    let mut tries = Tries::of(session, &context, &table, request, returning);
    if let Some(written) = tries.before().await? {
        return Ok(outcome(written));
    }
    loop {
        let attempt = tries.next().await?;
        let done = change::insert(attempt, columns, rows::Source::Query(&query), conflict).await;
        if let Some((_, written)) = tries.settle(done).await? {
            return Ok(outcome(written));
        }
    }
}

/// INSERT of rows that are known already, each a value for each of the columns that are named; none if they need a plan: the
/// target is no table of Polder's own, or has columns that are more than their type.
pub(crate) async fn insert_rows(
    session: &Session,
    name: &Name,
    columns: &[String],
    rows: GivenRows<'_>,
    request: Option<Request>,
) -> Result<Option<Outcome>> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let Writable::Table(table) = writable(session, name, &context, &[Privilege::Insert])? else { return Ok(None) };
    let needs_plan = |column: &StoredColumn| !column.field.metadata().is_empty() || column.default.is_some();
    if !table.is_own() || table.columns.iter().any(needs_plan) {
        return Ok(None);
    }
    let mut tries = Tries::of(session, &context, &table, request, &[]);
    if let Some(written) = tries.before().await? {
        return Ok(Some(outcome(written)));
    }
    loop {
        let attempt = tries.next().await?;
        let done = change::insert_rows(attempt, columns, rows).await;
        if let Some(written) = tries.settle(done).await? {
            return Ok(Some(outcome(written)));
        }
    }
}

/// `UPDATE table [AS name] SET column = expression, ... [FROM others] [WHERE condition] [RETURNING ...]`.
pub(super) async fn update(
    session: &Session,
    name: &Name,
    mut assignments: Vec<(String, ast::Expr)>,
    which: Which,
    returning: &[SelectItem],
    request: Option<Request>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let table = match writable(session, name, &context, &[Privilege::Update])? {
        Writable::Table(table) => table,
        Writable::Topic(topic) => {
            return Err(Error::fix(
                SqlState::NOT_SUPPORTED,
                format!("the records of topic \"{}\" cannot be changed", topic.name),
            )
            .with_hint("append a newer one with INSERT: the newest of a key is what its $latest shows"));
        }
    };
    for (column, value) in &mut assignments {
        defaults::replace_one(value, &table, column)?;
    }
    let returning = under_own_name(&table, which.alias.as_deref(), returning);
    let mut tries = Tries::of(session, &context, &table, request, &returning);
    if let Some(written) = tries.before().await? {
        return Ok(outcome(written));
    }
    loop {
        let attempt = tries.next().await?;
        let done = change::update(attempt, assignments.clone(), which.clone()).await;
        if let Some(written) = tries.settle(done).await? {
            return Ok(outcome(written));
        }
    }
}

/// `DELETE FROM table [AS name] [USING others] [WHERE condition] [RETURNING ...]`.
pub(super) async fn delete(
    session: &Session,
    name: &Name,
    which: Which,
    returning: &[SelectItem],
    request: Option<Request>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    match writable(session, name, &context, &[Privilege::Delete])? {
        Writable::Table(table) => {
            let tag = |count| format!("DELETE {count}");
            delete_rows(session, &context, &table, which, returning, request, tag).await
        }
        Writable::Topic(topic) => {
            check_topic(session, &topic, request.as_ref())?;
            if !returning.is_empty() {
                return Err(Error::fix(SqlState::NOT_SUPPORTED, "a topic has no RETURNING"));
            }
            if which.alias.is_some() || !which.others.is_empty() {
                return Err(Error::fix(SqlState::NOT_SUPPORTED, "a topic is deleted from by its key alone"));
            }
            let count = topic::delete(session, &context, &topic, which.condition).await?;
            Ok(Outcome::Done(format!("DELETE {count}")))
        }
    }
}

/// `MERGE INTO table USING source ON condition WHEN ...`.
pub(super) async fn merge(
    session: &Session,
    name: &Name,
    spec: &MergeSpec,
    request: Option<Request>,
) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    let privileges: Vec<_> = spec.clauses.iter().map(|clause| privilege(&clause.action)).collect();
    let table = match writable(session, name, &context, &privileges)? {
        Writable::Table(table) if table.is_own() => table,
        Writable::Table(_) | Writable::Topic(_) => {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, "MERGE is for tables of Polder's own"));
        }
    };
    let mut tries = Tries::of(session, &context, &table, request, &[]);
    if let Some(written) = tries.before().await? {
        return Ok(outcome(written));
    }
    loop {
        let attempt = tries.next().await?;
        let done = merge::merge(attempt, spec).await;
        if let Some(written) = tries.settle(done).await? {
            return Ok(outcome(written));
        }
    }
}

/// `TRUNCATE table`.
pub(super) async fn truncate(session: &Session, name: &Name, request: Option<Request>) -> Result<Outcome> {
    let context = query::context(session);
    let _guard = context.cancellation().clone().drop_guard();
    match writable(session, name, &context, &[Privilege::Truncate])? {
        Writable::Table(table) => {
            delete_rows(session, &context, &table, Which::default(), &[], request, |_| "TRUNCATE TABLE".to_string())
                .await
        }
        Writable::Topic(_) => Err(Error::fix(SqlState::NOT_SUPPORTED, "a topic keeps its records")
            .with_hint("retention removes old ones; DROP TOPIC removes all")),
    }
}

async fn delete_rows(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    which: Which,
    returning: &[SelectItem],
    request: Option<Request>,
    tag: impl Fn(u64) -> String,
) -> Result<Outcome> {
    let returning = under_own_name(table, which.alias.as_deref(), returning);
    let mut tries = Tries::of(session, context, table, request, &returning);
    if let Some(written) = tries.before().await? {
        return Ok(outcome(written));
    }
    loop {
        let attempt = tries.next().await?;
        let done = change::delete(attempt, which.clone(), &tag).await;
        if let Some(written) = tries.settle(done).await? {
            return Ok(outcome(written));
        }
    }
}

fn outcome(written: Written) -> Outcome {
    match written.rows {
        Some(rows) => Outcome::Rows(Rows::ready(rows)),
        None => Outcome::Done(written.tag),
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
    session: &'a Session,
    context: &'a ReadContext,
    table: &'a TableDefinition,
    request: Option<Request>,
    returning: &'a [SelectItem],
    /// A transaction is done again as a whole, by who began it.
    once: bool,
    patience: Patience,
}

impl<'a> Tries<'a> {
    fn of(
        session: &'a Session,
        context: &'a ReadContext,
        table: &'a TableDefinition,
        request: Option<Request>,
        returning: &'a [SelectItem],
    ) -> Self {
        Self {
            session,
            context,
            table,
            request,
            returning,
            once: session.in_transaction(),
            patience: Patience::default(),
        }
    }

    /// The next try, with a snapshot of its own.
    async fn next(&self) -> Result<Attempt<'a>> {
        let (context, request) = (self.context.again(), self.request.clone());
        let alone = self.patience.is_at_end();
        Attempt::begin(self.session, context, self.table, request, self.returning, alone).await
    }

    /// What became of the statement, if it is one that the log knows.
    async fn before(&self) -> Result<Option<Written>> {
        match self.session.engine.0.commit.outcome(self.request.as_ref()).await? {
            Some(before) => {
                returning::before(self.session, self.context, self.table, self.returning, before).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// What the statement has come to; none if it is to be tried again.
    ///
    /// # Errors
    /// The try's own, unless another one may go better; the context's, if that ends first.
    async fn settle<T>(&mut self, done: Result<T>) -> Result<Option<T>> {
        match done {
            Err(error) if error.state() == SqlState::SERIALIZATION && !self.once => {
                self.patience.disturbed(self.context).await.map(|()| None)
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
    let rules = Rules::of(&session.engine.0, context, table)?;
    let fields: Vec<FieldRef> = table.arrow_schema().fields().iter().cloned().collect();
    let mut rows = rows::start(session, context, &fields, &[], &[], rows::Source::Query(query)).await?;
    let mut keys = Keys::of(table);
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        let batch = rules.complete(&session.engine.0, &batch)?;
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
pub(super) fn writable(
    session: &Session,
    name: &Name,
    context: &ReadContext,
    privileges: &[Privilege],
) -> Result<Writable> {
    let engine = &session.engine.0;
    let catalogs = engine.catalogs();
    let reference = reference(name);
    let read_only = |what: String, hint: &str| Err(Error::fix(SqlState::READ_ONLY, what).with_hint(hint));
    let target = Resolver::new(engine, &catalogs, context).target(&reference, false)?;
    if let Some(name) = target.full_name() {
        check_rights(session, &name, privileges)?;
    }
    match target {
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

/// Whether this session's user may write so.
///
/// # Errors
/// 42501 if not; 25006 for one who may only read.
fn check_rights(session: &Session, table: &TableName, privileges: &[Privilege]) -> Result<()> {
    let (roles, user, object) = (session.engine.0.access.roles(), session.user(), Object::table(table));
    if !privileges.is_empty() && roles.is_read_only(user) {
        return Err(Error::fix(SqlState::READ_ONLY, format!("\"{user}\" may only read")));
    }
    privileges.iter().try_for_each(|privilege| roles.check(user, *privilege, &object))?;
    match privileges.iter().any(|privilege| matches!(privilege, Privilege::Update | Privilege::Delete)) {
        true => check_sight(session, table),
        false => Ok(()),
    }
}

/// What is written by what it holds must be seen as it is: else rows would be changed that are not seen, or be told of by what
/// became of them.
fn check_sight(session: &Session, table: &TableName) -> Result<()> {
    let object = Object::table(table);
    match session.engine.0.access.roles().sight(session.user(), &object)?.is_whole() {
        true => Ok(()),
        false => Err(denied(format!("permission denied for {object}: not all of it may be read"))
            .with_hint("where a policy or single columns stand before a table, only plain INSERT writes it")),
    }
}

fn privilege(action: &MergeAction) -> Privilege {
    match action {
        MergeAction::Insert { .. } => Privilege::Insert,
        MergeAction::Update(_) => Privilege::Update,
        MergeAction::Delete => Privilege::Delete,
    }
}

/// Waits until a table's own store shows everything before `offset`.
async fn shown(engine: &Inner, table: &TableDefinition, offset: Offset, context: &ReadContext) -> Result<()> {
    engine.reached(&table.catalog, offset, context).await.map_err(|error| {
        let what = error.detail().map(|detail| format!("{detail}; ")).unwrap_or_default();
        error.with_detail(format!("{what}the entry is in the log, and the table will show it"))
    })
}
