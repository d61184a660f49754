//! Writing a table that follows the log in another catalog: one entry of `main` with rows and weights.

use crate::commit::{Committed, outcome_entry};
use crate::definitions::TableDefinition;
use crate::engine::Inner;
use crate::execute::write::draft::Draft;
use crate::execute::write::keys::Keys;
use crate::execute::write::{not_in_transaction, rows, shown};
use crate::requests::Request;
use crate::session::Session;
use crate::sql::{self, Query, Statement};
use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, SelectItem, SetExpr, TableFactor};
use polder_catalog::{Error, ReadContext, Result, SqlState};
use polder_log::store::EntryKind;
use polder_rows::{Reads, View};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Inserts rows; how many, and the statement's tag.
pub(super) async fn insert(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    columns: &[String],
    source: rows::Source<'_>,
    request: Option<Request>,
) -> Result<(u64, String)> {
    let engine = &session.engine.0;
    let writing = Writing::begin(session, context, table).await?;
    let table = &current(engine, table)?;
    let schema = table.arrow_schema();
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut rows = rows::start(session, context, &fields, columns, source).await?;
    let mut draft = writing.draft(engine).await?;
    let mut keys = Keys::of(table);
    while let Some(batch) = rows.next().await? {
        let batch = of_schema(batch.columns().to_vec(), &schema)?;
        keys.add(session, context, &batch).await?;
        draft.add(table, &batch, None)?;
    }
    let count = draft.record_count();
    let tag = format!("INSERT 0 {count}");
    Ok((count, writing.commit(session, context, table, draft, request, tag).await?))
}

/// Inserts rows that are known already; the statement's tag.
pub(super) async fn insert_rows(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    columns: &[String],
    rows: &[Vec<ScalarValue>],
    request: Option<Request>,
) -> Result<String> {
    let engine = &session.engine.0;
    let writing = Writing::begin(session, context, table).await?;
    let table = &current(engine, table)?;
    let batch = rows::batch_of(&table.arrow_schema(), columns, rows)?;
    let mut draft = writing.draft(engine).await?;
    draft.add(table, &batch, None)?;
    writing.commit(session, context, table, draft, request, format!("INSERT 0 {}", rows.len())).await
}

/// Changes rows; the statement's tag.
pub(super) async fn update(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    assignments: Vec<(String, ast::Expr)>,
    condition: Option<ast::Expr>,
    request: Option<Request>,
) -> Result<String> {
    let engine = &session.engine.0;
    let writing = Writing::begin(session, context, table).await?;
    let table = &current(engine, table)?;
    let (schema, assigned) = (table.arrow_schema(), assigned(table, assignments)?);
    let changes_key = table.key_names().iter().any(|name| assigned.contains_key(name));
    // The old row, then the new one: both come of one read.
    let old = schema.fields().iter().map(|field| column(field.name()));
    let new =
        schema.fields().iter().map(|field| assigned.get(field.name()).cloned().unwrap_or_else(|| column(field.name())));
    let query = select(table, old.chain(new).collect(), condition)?;
    // Errors name the columns of the new row.
    let old =
        schema.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_name(format!("old {}", field.name()))));
    let fields: Vec<FieldRef> = old.chain(schema.fields().iter().cloned()).collect();
    let mut rows = rows::start(session, context, &fields, &[], rows::Source::Query(&query)).await?;
    let mut draft = writing.draft(engine).await?;
    let mut keys = Keys::of(table);
    let width = schema.fields().len();
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        let old = of_schema(batch.columns()[..width].to_vec(), &schema)?;
        let new = of_schema(batch.columns()[width..].to_vec(), &schema)?;
        if changes_key {
            keys.replace(&old, &new)?;
        }
        count += batch.num_rows() as u64;
        add_update(&mut draft, table, &old, &new)?;
    }
    keys.settle(session, context).await?;
    writing.commit(session, context, table, draft, request, format!("UPDATE {count}")).await
}

/// Deletes rows; the statement's tag.
pub(super) async fn delete(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    condition: Option<ast::Expr>,
    request: Option<Request>,
) -> Result<String> {
    let engine = &session.engine.0;
    let writing = Writing::begin(session, context, table).await?;
    let table = &current(engine, table)?;
    let schema = table.arrow_schema();
    let query = select(table, schema.fields().iter().map(|field| column(field.name())).collect(), condition)?;
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut rows = rows::start(session, context, &fields, &[], rows::Source::Query(&query)).await?;
    let mut draft = writing.draft(engine).await?;
    while let Some(batch) = rows.next().await? {
        let weights = vec![-1; batch.num_rows()];
        let batch = of_schema(batch.columns().to_vec(), &schema)?;
        draft.add(table, &batch, Some(weights))?;
    }
    let tag = format!("DELETE {}", draft.record_count());
    writing.commit(session, context, table, draft, request, tag).await
}

/// The table as it is now that nobody else defines or writes it: it may have been altered while this statement waited.
fn current(engine: &Inner, table: &TableDefinition) -> Result<TableDefinition> {
    let catalogs = engine.catalogs();
    let found = catalogs.tables.values().find(|known| known.id == table.id);
    found
        .cloned()
        .ok_or_else(|| Error::fix(SqlState::NO_TABLE, format!("table {} was dropped meanwhile", table.full_name())))
}

/// What keeps what a statement has read true until its entry is decided.
enum Writing {
    /// Of another catalog: its writers take turns.
    InTurn { _turn: Option<OwnedMutexGuard<()>> },
    /// Of Polder's own tables: what was read is compared with what was decided since.
    Own { reads: Reads },
    /// In a transaction, which is decided when it commits.
    InTransaction { view: Arc<View> },
}

impl Writing {
    async fn begin(session: &Session, context: &ReadContext, table: &TableDefinition) -> Result<Self> {
        let engine = &session.engine.0;
        match session.view() {
            Some(view) if table.is_own() => {
                engine.commit.own().read(context, &view);
                Ok(Self::InTransaction { view })
            }
            Some(_) => Err(not_in_transaction(&format!("table {}", table.full_name()))),
            None if table.is_own() => Ok(Self::Own { reads: engine.commit.tables().await?.read_newest(context) }),
            None => Ok(Self::InTurn { _turn: engine.turn(&table.catalog, context).await? }),
        }
    }

    async fn draft(&self, engine: &Inner) -> Result<Draft> {
        match self {
            Self::InTransaction { .. } => Ok(Draft::in_transaction()),
            Self::InTurn { .. } | Self::Own { .. } => Draft::new(engine, EntryKind::DATA).await,
        }
    }

    /// Makes the entry durable and waits until the table shows it. The statement's tag, or that of the same request before.
    async fn commit(
        self,
        session: &Session,
        context: &ReadContext,
        table: &TableDefinition,
        draft: Draft,
        request: Option<Request>,
        tag: String,
    ) -> Result<String> {
        let engine = &session.engine.0;
        let reads = match self {
            Self::InTransaction { view } => {
                let (own, changes) = draft.changes();
                engine.commit.own().change(&view, &own)?;
                session.add_changes(changes, &tag);
                return Ok(tag);
            }
            Self::Own { ref reads } => Some(reads.clone()),
            Self::InTurn { .. } => None,
        };
        if draft.record_count() == 0 && request.is_none() {
            return Ok(tag);
        }
        let (mut entry, changes) = draft.finish()?;
        if let Some(request) = &request {
            if entry.record_count() == 0 {
                entry = outcome_entry()?;
            }
            entry = entry.with_attributes(request.attributes(&tag));
        }
        let proposal = engine.commit.propose(Vec::new(), &changes, reads).await?;
        match engine.commit.commit(entry, proposal, request).await? {
            Committed::Now(end) => shown(engine, table, end, context).await.map(|()| tag),
            Committed::Before(outcome) => outcome.map_err(|rejection| rejection.error()),
        }
    }
}

/// Each old row, then the new one that replaces it.
fn add_update(draft: &mut Draft, table: &TableDefinition, old: &RecordBatch, new: &RecordBatch) -> Result<()> {
    let pairs: Vec<(usize, usize)> = (0..old.num_rows()).flat_map(|row| [(0, row), (1, row)]).collect();
    let weights: Vec<i64> = (0..old.num_rows()).flat_map(|_| [-1, 1]).collect();
    let rows = interleave_record_batch(&[old, new], &pairs).map_err(arrow_error)?;
    draft.add(table, &rows, Some(weights))
}

/// Columns under the table's own schema: its nullability and marks.
pub(super) fn of_schema(columns: Vec<arrow::array::ArrayRef>, schema: &SchemaRef) -> Result<RecordBatch> {
    RecordBatch::try_new(SchemaRef::clone(schema), columns).map_err(arrow_error)
}

fn arrow_error(error: arrow::error::ArrowError) -> Error {
    Error::report("rows do not fit the table they go to").with_source(error)
}

fn assigned(table: &TableDefinition, assignments: Vec<(String, ast::Expr)>) -> Result<HashMap<String, ast::Expr>> {
    let mut assigned = HashMap::new();
    for (name, value) in assignments {
        if !table.columns.iter().any(|column| *column.field.name() == name) {
            return Err(Error::fix(SqlState::NO_COLUMN, format!("column \"{name}\" does not exist")));
        }
        if assigned.insert(name.clone(), value).is_some() {
            return Err(Error::fix(SqlState::DUPLICATE_COLUMN, format!("column \"{name}\" is assigned twice")));
        }
    }
    Ok(assigned)
}

fn column(name: &str) -> ast::Expr {
    ast::Expr::Identifier(Ident::with_quote('"', name))
}

/// `SELECT items FROM table [WHERE condition]`, as a tree.
fn select(table: &TableDefinition, items: Vec<ast::Expr>, condition: Option<ast::Expr>) -> Result<Query> {
    let Statement::Query(mut query) = sql::parse("SELECT 1 FROM t")? else {
        return Err(Error::report("a query was read as another statement"));
    };
    if let DataFusionStatement::Statement(statement) = &mut query.0
        && let ast::Statement::Query(query) = statement.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        let unnamed = |(at, expr): (usize, ast::Expr)| SelectItem::ExprWithAlias {
            expr,
            alias: Ident::with_quote('"', format!("c{at}")),
        };
        select.projection = items.into_iter().enumerate().map(unnamed).collect();
        select.selection = condition;
        if let Some(TableFactor::Table { name, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
            let parts = [&table.catalog, &table.schema, &table.name].map(|part| Ident::with_quote('"', part.as_str()));
            *name = ObjectName::from(parts.to_vec());
        }
    }
    Ok(query)
}
