//! What PostgreSQL takes over from a query, and the text that it is sent.
//!
//! Expressions ([`filter`]) and plan fragments ([`fragment`]) are translated by a whitelist into a small tree ([`ast`])
//! and printed by our own writer ([`print`]). What is not on the list stays local, with a reason: *never wrong, only
//! slower*.

mod arithmetic;
pub(crate) mod ast;
mod cast;
mod compare;
mod expr;
mod fragment;
mod functions;
mod literal;
mod print;
mod reason;
#[cfg(test)]
mod tests;
pub(crate) mod typed;

pub(crate) use fragment::PgFederation;
pub(crate) use print::print;

use crate::table::{PgColumn, PgRelation};
use ast::{From, Item, Name, Operator, Query};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::Expr;
use expr::Scope;
use polder_catalog::Reason;
use typed::Typed;

/// A condition over the columns of one relation, exact for every row; or why it stays local.
pub(crate) fn filter(expr: &Expr, relation: &PgRelation) -> Result<ast::Expr, Reason> {
    let condition = expr::condition(expr, relation)?;
    if !relation.is_utf8 {
        sendable(&select(relation, &[], vec![condition.clone()], None), relation)?;
    }
    Ok(condition)
}

/// `column IN (values)`, exact for every row; or why it stays local. There is a value.
pub(crate) fn one_of(column: Typed, values: &[ScalarValue]) -> Result<ast::Expr, Reason> {
    let values = values.iter().map(literal::translate).collect::<Result<Vec<_>, _>>()?;
    compare::in_list(column, values, false)
}

/// `column >= low`.
pub(crate) fn at_least(column: Typed, low: &ScalarValue) -> Result<ast::Expr, Reason> {
    compare::translate(column, Operator::GtEq, literal::translate(low)?)
}

/// `column <= high`.
pub(crate) fn at_most(column: Typed, high: &ScalarValue) -> Result<ast::Expr, Reason> {
    compare::translate(column, Operator::LtEq, literal::translate(high)?)
}

/// The columns at `projection` as conditions see them, with their names.
pub(crate) fn columns(relation: &PgRelation, projection: &[usize]) -> Vec<(String, Option<Typed>)> {
    let columns = projection.iter().map(|index| {
        let name = &relation.columns[*index].name;
        (name.clone(), relation.resolve(&Column::new_unqualified(name)).ok())
    });
    columns.collect()
}

/// Whether the server can take the text of a query. Another encoding than UTF-8 lacks most characters, so that a constant
/// alone can make the query fail. Names are the server's own, but they are few enough not to be told apart.
fn sendable(query: &Query, relation: &PgRelation) -> Result<(), Reason> {
    if relation.is_utf8 || print(query).is_ascii() {
        return Ok(());
    }
    Err(reason::collation("the database's encoding is not UTF-8, and may lack a character of the query"))
}

/// The columns at `projection` of the rows that pass all `filters`, at most `limit` of them.
pub(crate) fn select(
    relation: &PgRelation,
    projection: &[usize],
    filters: Vec<ast::Expr>,
    limit: Option<usize>,
) -> Query {
    let items = projection.iter().map(|index| {
        let column = &relation.columns[*index];
        Item { expr: typed::selected(ast::Expr::column(Name::of_server(&column.name)), column), alias: None }
    });
    let mut query = Query::new(items.collect(), table(relation, None));
    query.filter = ast::Expr::all(filters);
    query.limit = limit.map(|limit| limit as u64);
    query
}

/// The relation by its full name.
fn table(relation: &PgRelation, alias: Option<Name>) -> From {
    From::Table { schema: Name::of_server(&relation.schema), table: Name::of_server(&relation.name), alias }
}

/// The column of a relation by its name: PostgreSQL allows no two of one name.
fn column_of<'a>(relation: &'a PgRelation, column: &Column) -> Result<&'a PgColumn, Reason> {
    let found = relation.columns.iter().find(|candidate| candidate.name == column.name);
    found.ok_or_else(|| reason::lacks(format!("there is no column \"{}\"", column.name)))
}

impl Scope for PgRelation {
    fn resolve(&self, column: &Column) -> Result<Typed, Reason> {
        let found = column_of(self, column)?;
        typed::column(ast::Expr::column(Name::of_server(&found.name)), found, self.rules)
    }
}
