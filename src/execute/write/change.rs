//! Writing a table that the log writes: one entry of `main` with rows and weights.

use crate::definitions::TableDefinition;
use crate::execute::write::attempt::{Attempt, Written};
use crate::execute::write::conflict::Conflicts;
use crate::execute::write::draft::Draft;
use crate::execute::write::keys::Keys;
use crate::execute::write::merge::Once;
use crate::execute::write::rows;
use crate::execute::write::rules::Rules;
use crate::session::GivenRows;
use crate::sql::{self, OnConflict, Query, Which};
use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, SelectItem, TableFactor};
use polder_catalog::{Error, Result, SqlState};
use std::collections::HashMap;
use std::sync::Arc;

/// Inserts rows; how many, and how the statement ended.
pub(super) async fn insert(
    attempt: Attempt<'_>,
    columns: &[String],
    source: rows::Source<'_>,
    conflict: Option<&OnConflict>,
) -> Result<(u64, Written)> {
    let table = attempt.table.clone();
    let rules = Rules::of(attempt.engine(), &attempt.context, &table)?;
    let fields: Vec<FieldRef> = rules.incoming().fields().iter().cloned().collect();
    let defaults: Vec<_> = table.columns.iter().map(|column| column.default.as_deref()).collect();
    let mut rows = rows::start(attempt.session, &attempt.context, &fields, columns, &defaults, source).await?;
    let mut draft = attempt.draft().await?;
    let mut keys = Keys::of(&table);
    let mut conflicts = conflict.map(|conflict| Conflicts::new(&attempt, conflict)).transpose()?;
    let (mut touched, mut count) = (Vec::new(), 0);
    while let Some(batch) = rows.next().await? {
        let batch = rules.complete(attempt.engine(), &batch)?;
        keys.add(attempt.session, &attempt.context, &batch).await?;
        let there = match &mut conflicts {
            Some(conflicts) => conflicts.settle(&table, &rules, &batch, &mut draft)?,
            None => {
                draft.add(&table, &batch, None)?;
                vec![batch]
            }
        };
        count += there.iter().map(|rows| rows.num_rows() as u64).sum::<u64>();
        if !attempt.returning.is_empty() {
            touched.extend(there);
        }
    }
    let written = attempt.commit(draft, format!("INSERT 0 {count}"), touched).await?;
    Ok((count, written))
}

/// Inserts rows that are known already.
pub(super) async fn insert_rows(attempt: Attempt<'_>, columns: &[String], rows: GivenRows<'_>) -> Result<Written> {
    let rules = Rules::of(attempt.engine(), &attempt.context, &attempt.table)?;
    let batch = rows::batch_of(&rules.incoming(), columns, rows)?;
    let batch = rules.complete(attempt.engine(), &batch)?;
    let mut draft = attempt.draft().await?;
    draft.add(&attempt.table, &batch, None)?;
    attempt.commit(draft, format!("INSERT 0 {}", rows.places.len()), Vec::new()).await
}

/// Changes rows.
pub(super) async fn update(
    attempt: Attempt<'_>,
    assignments: Vec<(String, ast::Expr)>,
    which: Which,
) -> Result<Written> {
    let table = attempt.table.clone();
    let rules = Rules::of(attempt.engine(), &attempt.context, &table)?;
    let (schema, assigned) = (table.arrow_schema(), assigned(&table, assignments)?);
    rules.refuse_assigned(assigned.keys())?;
    let changes_key = table.key_names().iter().any(|name| assigned.contains_key(name));
    // The old row, then the new one: both come of one read.
    let mut once = Once::of_join(&table, &which, "UPDATE")?;
    let column = |name: &String| column_of(&table, &which, name);
    let old = schema.fields().iter().map(|field| column(field.name()));
    let new =
        schema.fields().iter().map(|field| assigned.get(field.name()).cloned().unwrap_or_else(|| column(field.name())));
    let query = select(&table, old.chain(new).collect(), which.clone())?;
    // Errors name the columns of the new row.
    let old =
        schema.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_name(format!("old {}", field.name()))));
    let fields: Vec<FieldRef> = old.chain(schema.fields().iter().cloned()).collect();
    let source = rows::Source::Query(&query);
    let mut rows = rows::start(attempt.session, &attempt.context, &fields, &[], &[], source).await?;
    let mut draft = attempt.draft().await?;
    let mut keys = Keys::of(&table);
    let width = schema.fields().len();
    let (mut touched, mut count) = (Vec::new(), 0);
    while let Some(batch) = rows.next().await? {
        let old = of_schema(batch.columns()[..width].to_vec(), &schema)?;
        let new = of_schema(batch.columns()[width..].to_vec(), &schema)?;
        once.iter_mut().try_for_each(|once| once.note(&old))?;
        rules.check(&new)?;
        if changes_key {
            keys.replace(&old, &new)?;
        }
        count += batch.num_rows() as u64;
        add_update(&mut draft, &table, &old, &new)?;
        if !attempt.returning.is_empty() {
            touched.push(new);
        }
    }
    keys.settle(attempt.session, &attempt.context).await?;
    attempt.commit(draft, format!("UPDATE {count}"), touched).await
}

/// Deletes rows; `tag` is what is answered to so many.
pub(super) async fn delete(attempt: Attempt<'_>, which: Which, tag: impl Fn(u64) -> String) -> Result<Written> {
    let table = attempt.table.clone();
    let schema = table.arrow_schema();
    let mut once = Once::of_join(&table, &which, "DELETE")?;
    let columns = schema.fields().iter().map(|field| column_of(&table, &which, field.name())).collect();
    let query = select(&table, columns, which.clone())?;
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let source = rows::Source::Query(&query);
    let mut rows = rows::start(attempt.session, &attempt.context, &fields, &[], &[], source).await?;
    let mut draft = attempt.draft().await?;
    let mut touched = Vec::new();
    while let Some(batch) = rows.next().await? {
        let mut batch = of_schema(batch.columns().to_vec(), &schema)?;
        if let Some(once) = &mut once {
            // A row that meets several of the others goes once.
            batch = once.first(&batch)?;
        }
        let weights = vec![-1; batch.num_rows()];
        draft.add(&table, &batch, Some(weights))?;
        if !attempt.returning.is_empty() {
            touched.push(batch);
        }
    }
    let tag = tag(draft.record_count());
    attempt.commit(draft, tag, touched).await
}

/// Each old row, then the new one that replaces it.
pub(super) fn add_update(
    draft: &mut Draft,
    table: &TableDefinition,
    old: &RecordBatch,
    new: &RecordBatch,
) -> Result<()> {
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

pub(super) fn assigned(
    table: &TableDefinition,
    assignments: Vec<(String, ast::Expr)>,
) -> Result<HashMap<String, ast::Expr>> {
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

/// A column of the table that is written, which others may have, too.
fn column_of(table: &TableDefinition, which: &Which, name: &str) -> ast::Expr {
    let called = which.alias.as_ref().unwrap_or(&table.name);
    ast::Expr::CompoundIdentifier(vec![Ident::with_quote('"', called.as_str()), Ident::with_quote('"', name)])
}

pub(in crate::execute) fn select(table: &TableDefinition, items: Vec<ast::Expr>, which: Which) -> Result<Query> {
    let parts = [table.catalog.as_str(), &table.schema, &table.name];
    let name = ObjectName::from(parts.map(|part| Ident::with_quote('"', part)).to_vec());
    let unnamed = |(at, expr): (usize, ast::Expr)| SelectItem::ExprWithAlias {
        expr,
        alias: Ident::with_quote('"', format!("c{at}")),
    };
    let items = items.into_iter().enumerate().map(unnamed).collect();
    let alias = which.alias.map(|name| {
        let name = Ident::with_quote('"', name);
        ast::TableAlias { explicit: true, name, columns: Vec::new(), at: None }
    });
    sql::select_with(|select| {
        set_table(select, name, alias);
        select.projection = items;
        select.selection = which.condition;
        select.from.extend(which.others);
    })
}

/// `SELECT items FROM table`, as a tree.
pub(super) fn select_from(table: ObjectName, items: Vec<SelectItem>) -> Result<Query> {
    sql::select_with(|select| {
        set_table(select, table, None);
        select.projection = items;
    })
}

fn set_table(select: &mut ast::Select, table: ObjectName, called: Option<ast::TableAlias>) {
    if let [from] = &mut select.from[..]
        && let TableFactor::Table { name, alias, .. } = &mut from.relation
    {
        (*name, *alias) = (table, called);
    }
}
