//! What PostgreSQL takes over from a query, and the text that it is sent.
//!
//! Expressions ([`filter`]) and plan fragments ([`fragment`]) are translated by a whitelist into a small tree ([`ast`])
//! and printed by our own writer ([`print`]). What is not on the list stays local, with a reason: *never wrong, only
//! slower*.

mod arithmetic;
pub(crate) mod ast;
mod cast;
mod compare;
pub(crate) mod expr;
pub(crate) mod functions;
mod literal;
mod print;
pub(crate) mod reason;
#[cfg(test)]
mod tests;
pub(crate) mod typed;

pub(crate) use print::{print, print_expr};

use crate::table::PgRelation;
use ast::{From, Item, Name, Query};
use datafusion_common::Column;
use datafusion_expr::Expr;
use expr::Scope;
use polder_catalog::Reason;
use typed::Typed;

/// A condition over the columns of one relation, exact for every row; or why it stays local.
pub(crate) fn filter(expr: &Expr, relation: &PgRelation) -> Result<ast::Expr, Reason> {
    expr::condition(expr, relation)
}

/// The columns at `projection` of the rows that pass all `filters`, at most `limit` of them.
///
/// # Errors
/// A name that PostgreSQL cannot hold.
pub(crate) fn select(
    relation: &PgRelation,
    projection: &[usize],
    filters: Vec<ast::Expr>,
    limit: Option<u64>,
) -> Result<Query, Reason> {
    let mut items = Vec::with_capacity(projection.len());
    for index in projection {
        let column = &relation.columns[*index];
        let raw = ast::Expr::column(typed::column_name(column)?);
        items.push(Item { expr: typed::selected(raw, column), alias: None });
    }
    let mut query = Query::new(items, table(relation, None)?);
    query.filter = ast::Expr::all(filters);
    query.limit = limit;
    Ok(query)
}

/// The relation by its full name.
pub(crate) fn table(relation: &PgRelation, alias: Option<Name>) -> Result<From, Reason> {
    let name = |text: &str| Name::new(text).ok_or_else(|| reason::type_("a relation's name holds a NUL byte"));
    Ok(From::Table { schema: name(&relation.schema)?, table: name(&relation.name)?, alias })
}

/// Columns by name: PostgreSQL allows no two of one name in a relation.
impl Scope for PgRelation {
    fn resolve(&self, column: &Column) -> Result<Typed, Reason> {
        let found = self.columns.iter().find(|candidate| candidate.name == column.name);
        let found = found.ok_or_else(|| reason::lacks(format!("there is no column \"{}\"", column.name)))?;
        typed::column(ast::Expr::column(typed::column_name(found)?), found, self.rules)
    }
}
