//! `snippet(column)` without a query: it is the one that `match()` asks of the column in the same SELECT.

use crate::sql::Query;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Select, SelectItem, SetExpr, Visit,
    VisitMut, Visitor, VisitorMut,
};
use polder_catalog::{Error, Result, SqlState};
use std::ops::ControlFlow;

const SNIPPET: &str = "snippet";
const MATCH: &str = "match";

/// Gives every snippet its query.
///
/// # Errors
/// 42601 if the SELECT asks no query of the column, or several.
pub(super) fn complete(query: &mut Query) -> Result<()> {
    let DataFusionStatement::Statement(statement) = &mut query.0 else { return Ok(()) };
    match VisitMut::visit(statement, &mut Selects) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Selects;

impl VisitorMut for Selects {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        body(&mut query.body)
    }
}

/// The selects of a query's own body; subqueries are visited by themselves.
fn body(body: &mut SetExpr) -> ControlFlow<Error> {
    match body {
        SetExpr::Select(select) => self::select(select),
        SetExpr::SetOperation { left, right, .. } => {
            self::body(left)?;
            self::body(right)
        }
        _ => ControlFlow::Continue(()),
    }
}

fn select(select: &mut Select) -> ControlFlow<Error> {
    let mut asked = Matches::default();
    let _ = select.selection.visit(&mut asked);
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let written = expr.to_string();
        let mut snippets = Snippets { asked: &asked.0, changed: false };
        VisitMut::visit(expr, &mut snippets)?;
        // A column is called as it was written.
        if snippets.changed
            && let SelectItem::UnnamedExpr(expr) = item
        {
            let alias = Ident::with_quote('"', written);
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    ControlFlow::Continue(())
}

/// The columns and the query of each `match()`.
#[derive(Default)]
struct Matches(Vec<(Vec<Expr>, Expr)>);

impl Visitor for Matches {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(mut arguments) = called(expr, MATCH)
            && let Some(query) = arguments.pop()
        {
            self.0.push((arguments, query));
        }
        ControlFlow::Continue(())
    }
}

struct Snippets<'a> {
    asked: &'a [(Vec<Expr>, Expr)],
    changed: bool,
}

impl VisitorMut for Snippets<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let arguments = called(expr, SNIPPET).unwrap_or_default();
        let [column] = arguments.as_slice() else { return ControlFlow::Continue(()) };
        let mut queries: Vec<&Expr> = Vec::new();
        for (columns, query) in self.asked {
            if columns.iter().any(|asked| is_same(asked, column)) && !queries.contains(&query) {
                queries.push(query);
            }
        }
        let [query] = queries.as_slice() else {
            let message = match queries.is_empty() {
                true => format!("this SELECT asks no match() of {column}"),
                false => format!("this SELECT asks {} queries of {column}", queries.len()),
            };
            return ControlFlow::Break(
                Error::fix(SqlState::SYNTAX, message)
                    .with_hint(format!("name the query: {SNIPPET}({column}, 'rust AND \"zero copy\"')")),
            );
        };
        if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr {
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr((*query).clone())));
            self.changed = true;
        }
        ControlFlow::Continue(())
    }
}

/// The arguments of a call of this function.
fn called(expr: &Expr, name: &str) -> Option<Vec<Expr>> {
    let Expr::Function(Function { name: called, args: FunctionArguments::List(list), .. }) = expr else { return None };
    let [part] = called.0.as_slice() else { return None };
    if !part.as_ident()?.value.eq_ignore_ascii_case(name) {
        return None;
    }
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

/// Whether two expressions are one column: by its last name, and by the table's where both name it.
fn is_same(one: &Expr, other: &Expr) -> bool {
    let (Some(one), Some(other)) = (parts(one), parts(other)) else { return one == other };
    one.iter().rev().zip(other.iter().rev()).all(|(one, other)| one == other)
}

fn parts(expr: &Expr) -> Option<Vec<String>> {
    let folded = |name: &Ident| if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
    match expr {
        Expr::Identifier(name) => Some(vec![folded(name)]),
        Expr::CompoundIdentifier(names) => Some(names.iter().map(folded).collect()),
        _ => None,
    }
}
