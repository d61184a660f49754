//! Writing a topic: records are appended to its shards, one entry for each shard that is reached.

use crate::execute::write::rows;
use crate::session::Session;
use crate::sql::{self, Query, Statement};
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::FieldRef;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Ident, SelectItem, SetExpr};
use futures::StreamExt;
use polder_catalog::{Error, ReadContext, Result, SqlState};
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
    let rows = rows::start(session, context, &fields, columns, source).await?;
    let rows =
        futures::stream::try_unfold(rows, |mut rows| async move { Ok(rows.next().await?.map(|batch| (batch, rows))) });
    let engine = &session.engine.0;
    let appended = engine.topics().await?.append(&topic.name, engine.attributes(), rows.boxed()).await?;
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
    let mut columns: Vec<ArrayRef> = Vec::new();
    for value in values {
        let query = select_value(value)?;
        let fields = [Arc::clone(&key.field)];
        let mut rows = rows::start(session, context, &fields, &[], rows::Source::Query(&query)).await?;
        while let Some(batch) = rows.next().await? {
            columns.push(Arc::clone(batch.column(0)));
        }
    }
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let keys = concat(&columns).map_err(|error| Error::report("keys of one type do not fit").with_source(error))?;
    if keys.null_count() > 0 {
        return Err(Error::fix(SqlState::NOT_NULL, "NULL is no key, and equals none"));
    }
    let engine = &session.engine.0;
    let appended = engine.topics().await?.tombstone(&topic.name, engine.attributes(), keys).await?;
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

/// `SELECT value`, as a tree. The value sees no table, so it can only be a constant.
fn select_value(value: ast::Expr) -> Result<Query> {
    let Statement::Query(mut query) = sql::parse("SELECT 1")? else {
        return Err(Error::report("a query was read as another statement"));
    };
    if let DataFusionStatement::Statement(statement) = &mut query.0
        && let ast::Statement::Query(query) = statement.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        select.projection = vec![SelectItem::UnnamedExpr(value)];
    }
    Ok(query)
}
