//! Writing a topic: records are appended to its shards, one entry for each shard that is reached.

use crate::execute::write::rows;
use crate::plan::{Planner, Tables};
use crate::session::Session;
use crate::sql::{self, Statement};
use arrow::array::{Array, ArrayRef};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast, cast_with_options, concat, filter};
use arrow::datatypes::DataType;
use arrow::datatypes::FieldRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::collect;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Ident, Parens, SetExpr};
use futures::StreamExt;
use polder_catalog::{Error, Position, ReadContext, Result, SqlState};
use polder_log::TopicDefinition;
use std::sync::Arc;

/// Appends rows; how many.
pub(super) async fn insert(
    session: &Session,
    context: &ReadContext,
    topic: &TopicDefinition,
    columns: &[String],
    source: rows::Source<'_>,
) -> Result<u64> {
    let fields: Vec<FieldRef> = topic.columns.iter().map(|column| Arc::clone(&column.field)).collect();
    let rows = rows::start(session, context, &fields, columns, &[], source).await?;
    let rows =
        futures::stream::try_unfold(rows, |mut rows| async move { Ok(rows.next().await?.map(|batch| (batch, rows))) });
    let engine = &session.engine.0;
    let appended = engine.topics().await?.append(&topic.name, engine.attributes(), rows.boxed()).await?;
    session.reached(&Position { shards: appended.ends, ..Position::default() });
    Ok(appended.rows)
}

/// Appends a batch as it is; how many rows.
pub(crate) async fn append(session: &Session, topic: &str, rows: RecordBatch) -> Result<u64> {
    let engine = &session.engine.0;
    let appended = engine.topics().await?.append_batch(topic, engine.attributes(), rows).await?;
    session.reached(&Position { shards: appended.ends, ..Position::default() });
    Ok(appended.rows)
}

/// Appends a tombstone for each key that the condition names; how many.
pub(super) async fn delete(
    session: &Session,
    context: &ReadContext,
    topic: &TopicDefinition,
    condition: Option<ast::Expr>,
) -> Result<u64> {
    let Some(key) = topic.columns.iter().find(|column| Some(column.id) == topic.key) else {
        return Err(Error::fix(SqlState::NOT_SUPPORTED, format!("topic \"{}\" has no key to delete by", topic.name))
            .with_hint("a topic keeps its records; retention removes old ones"));
    };
    let values = condition.and_then(|condition| keys(condition, key.field.name())).ok_or_else(|| {
        let name = sql::identifier(key.field.name());
        Error::fix(SqlState::NOT_SUPPORTED, "records of a topic are deleted by their key")
            .with_hint(format!("write WHERE {name} = value, or WHERE {name} IN (value, ...)"))
    })?;
    let given = constants(session, context, values).await?;
    let keys = exactly(&given, key.field.data_type())?;
    if keys.null_count() > 0 {
        return Err(Error::fix(SqlState::NOT_NULL, "NULL is no key, and equals none"));
    }
    let engine = &session.engine.0;
    let appended = engine.topics().await?.tombstone(&topic.name, engine.attributes(), keys).await?;
    session.reached(&Position { shards: appended.ends, ..Position::default() });
    Ok(appended.rows)
}

/// The values of `key = value` or `key IN (values)`; `None` for any other condition.
fn keys(condition: ast::Expr, key: &str) -> Option<Vec<ast::Expr>> {
    match condition {
        ast::Expr::Nested(inner) => keys(*inner, key),
        ast::Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_column(&left, key) => Some(vec![*right]),
        ast::Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_column(&right, key) => Some(vec![*left]),
        ast::Expr::InList { expr, list, negated: false } if is_column(&expr, key) => Some(list),
        _ => None,
    }
}

/// The key by its own name or as `_key`.
fn is_column(expr: &ast::Expr, key: &str) -> bool {
    let folded = |name: &Ident| if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
    match expr {
        ast::Expr::Identifier(name) => folded(name) == key || folded(name) == "_key",
        _ => false,
    }
}

/// The values, in the one type that SQL finds for them. They see no table, so they can only be constants.
async fn constants(session: &Session, context: &ReadContext, values: Vec<ast::Expr>) -> Result<ArrayRef> {
    let Statement::Query(mut query) = sql::parse("VALUES (1)")? else {
        return Err(Error::report("a query was read as another statement"));
    };
    if let DataFusionStatement::Statement(statement) = &mut query.0
        && let ast::Statement::Query(query) = statement.as_mut()
        && let SetExpr::Values(rows) = query.body.as_mut()
        && let Some(row) = rows.rows.pop()
    {
        rows.rows = values.into_iter().map(|value| Parens { content: vec![value], ..row.clone() }).collect();
    }
    let tables = Tables { tables: Vec::new(), calls: Default::default() };
    let planned = Planner::new(&session.engine.0, context).in_order().physical(&query, &tables).await?;
    let batches = collect(Arc::clone(&planned.physical), planned.task()).await.map_err(Error::from_datafusion)?;
    let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
    concat(&columns).map_err(|error| Error::report("constants of one type do not fit").with_source(error))
}

/// The values in the type of the key. A number that this type has no place for equals no key, so it is left out; a text is
/// read as the key would be.
fn exactly(given: &ArrayRef, key: &DataType) -> Result<ArrayRef> {
    let unfit = |error| Error::fix(SqlState::TYPE, format!("the key is of type {key}")).with_source(error);
    let as_is = given.data_type() == key || given.data_type().is_string() || given.data_type().is_null();
    let keys = cast_with_options(given, key, &CastOptions { safe: !as_is, ..CastOptions::default() }).map_err(unfit)?;
    if as_is {
        return Ok(keys);
    }
    let back = cast(&keys, given.data_type()).map_err(unfit)?;
    let same = not_distinct(&back, given).map_err(unfit)?;
    filter(&keys, &same).map_err(unfit)
}
