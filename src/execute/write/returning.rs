//! RETURNING: a query over the rows that a statement has inserted, changed or deleted.

use crate::commit::log_error;
use crate::definitions::TableDefinition;
use crate::execute::write::attempt::Written;
use crate::execute::write::change::{of_schema, select_from};
use crate::plan::{Planner, Tables};
use crate::requests::Before;
use crate::session::Session;
use crate::sql::Query;
use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, take_record_batch};
use datafusion::catalog::MemTable;
use datafusion::common::TableReference;
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, SelectItem, SelectItemQualifiedWildcardKind, visit_expressions_mut,
};
use polder_catalog::{Error, ReadContext, Result};
use polder_log::store::Offset;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The rows that RETURNING asks for; none if it does not stand there.
pub(super) async fn rows(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    items: &[SelectItem],
    touched: Vec<RecordBatch>,
) -> Result<Option<RecordBatch>> {
    if items.is_empty() {
        return Ok(None);
    }
    let (query, tables) = returned(table, items, touched)?;
    let planned = Planner::new(&session.engine.0, context).in_order().physical(&query, &tables).await?;
    let schema = planned.physical.schema();
    let rows = collect(Arc::clone(&planned.physical), planned.task()).await.map_err(Error::from_datafusion)?;
    concat_batches(&schema, &rows)
        .map(Some)
        .map_err(|error| Error::report("rows of one query do not fit together").with_source(error))
}

/// RETURNING as a query, and the rows that it is a query over.
pub(in crate::execute) fn returned(
    table: &TableDefinition,
    items: &[SelectItem],
    touched: Vec<RecordBatch>,
) -> Result<(Query, Tables)> {
    let name = ObjectName::from(vec![Ident::with_quote('"', table.name.as_str())]);
    let query = select_from(name, items.to_vec())?;
    let given = MemTable::try_new(table.arrow_schema(), vec![touched]).map_err(Error::from_datafusion)?;
    let tables = vec![(TableReference::bare(table.name.as_str()), Arc::new(given) as _)];
    Ok((query, Tables { tables, calls: Default::default() }))
}

/// The items of RETURNING with the table's own name, where the statement calls it otherwise.
pub(in crate::execute) fn under_own_name(
    table: &TableDefinition,
    alias: Option<&str>,
    items: &[SelectItem],
) -> Vec<SelectItem> {
    let mut items = items.to_vec();
    let Some(alias) = alias else { return items };
    let is_alias = |name: &Ident| match name.quote_style {
        Some(_) => name.value == alias,
        None => name.value.to_lowercase() == alias,
    };
    let own = || Ident::with_quote('"', table.name.as_str());
    for item in &mut items {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
            && let [part] = &name.0[..]
            && part.as_ident().is_some_and(is_alias)
        {
            *name = ObjectName::from(vec![own()]);
        }
        let _ = visit_expressions_mut(item, |expr| {
            if let Expr::CompoundIdentifier(parts) = expr
                && let [name, _] = &mut parts[..]
                && is_alias(name)
            {
                *name = own();
            }
            ControlFlow::<()>::Continue(())
        });
    }
    items
}

/// How a statement ended that came before under the same request: its tag, and what it returned then, made of its entry.
pub(super) async fn before(
    session: &Session,
    context: &ReadContext,
    table: &TableDefinition,
    items: &[SelectItem],
    before: Before,
) -> Result<Written> {
    let tag = before.outcome.clone().map_err(|rejection| rejection.error())?;
    if items.is_empty() {
        return Ok(Written { tag, rows: None });
    }
    let weight = if tag.starts_with("DELETE") { -1 } else { 1 };
    let touched = touched(session, table, &before, weight).await?;
    let rows = rows(session, context, table, items, touched).await?;
    Ok(Written { tag, rows })
}

/// The rows of a table with one weight in the entry that ends at an offset.
async fn touched(session: &Session, table: &TableDefinition, before: &Before, weight: i64) -> Result<Vec<RecordBatch>> {
    let (shard, end) = (session.engine.0.commit.ledger(before.home).await?.shard, before.end);
    let (id, schema) = (table.id, table.arrow_schema());
    let reading = move || {
        let mut touched = Vec::new();
        for entry in shard.read(Offset(end.0.saturating_sub(1))..end).map_err(log_error)? {
            let entry = entry.map_err(log_error)?;
            for part in entry.parts() {
                let part = part.map_err(log_error)?;
                if part.id.dataset != id {
                    continue;
                }
                let columns = entry.schema(part.id).map_err(log_error)?;
                let rows = part.to_batch(&columns, None).map_err(log_error)?;
                let weights = part.weights.clone().unwrap_or_else(|| vec![1; rows.num_rows()]);
                let places = (0..rows.num_rows()).filter(|at| weights[*at] == weight).map(|at| at as u64);
                let rows = take_record_batch(&rows, &places.collect::<arrow::array::UInt64Array>())
                    .map_err(|error| Error::report("rows of an entry cannot be taken").with_source(error))?;
                touched.push(of_schema(rows.columns().to_vec(), &schema)?);
            }
        }
        Ok(touched)
    };
    tokio::task::spawn_blocking(reading)
        .await
        .map_err(|error| Error::report("reading an entry ended in a panic").with_source(error))?
}
