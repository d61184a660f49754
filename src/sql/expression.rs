//! Expressions that definitions keep as text.

use crate::sql::{Query, Statement, parse};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Expr, SelectItem, SetExpr, visit_expressions, visit_expressions_mut};
use polder_catalog::{Error, Result};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// An expression as a definition keeps it.
///
/// # Errors
/// 42601 if it is none.
pub(crate) fn expression(text: &str) -> Result<Expr> {
    let Statement::Query(query) = parse(&format!("SELECT {text}"))? else {
        return Err(Error::report("an expression was read as another statement"));
    };
    if let DataFusionStatement::Statement(statement) = query.0
        && let ast::Statement::Query(query) = *statement
        && let SetExpr::Select(mut select) = *query.body
        && let Some(SelectItem::UnnamedExpr(expr)) = select.projection.pop()
    {
        return Ok(expr);
    }
    Err(Error::report("an expression was read as something else"))
}

/// A query of one SELECT, which is `SELECT 1 FROM t` before it is changed.
///
/// # Errors
/// XX000 if that cannot be made.
pub(crate) fn select_with(change: impl FnOnce(&mut ast::Select)) -> Result<Query> {
    let Statement::Query(mut query) = parse("SELECT 1 FROM t")? else {
        return Err(Error::report("a query was read as another statement"));
    };
    if let DataFusionStatement::Statement(statement) = &mut query.0
        && let ast::Statement::Query(query) = statement.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        change(select);
    }
    Ok(query)
}

/// `SELECT expression, ...`.
///
/// # Errors
/// XX000 if that cannot be made.
pub(crate) fn select(exprs: Vec<Expr>) -> Result<Query> {
    let item = |(at, expr)| SelectItem::ExprWithAlias { expr, alias: ast::Ident::new(format!("c{at}")) };
    select_with(|select| {
        select.from.clear();
        select.projection = exprs.into_iter().enumerate().map(item).collect();
    })
}

/// `SELECT 1 WHERE condition`: a row if it is true.
///
/// # Errors
/// XX000 if that cannot be made.
pub(crate) fn select_where(condition: Expr) -> Result<Query> {
    select_with(|select| {
        select.from.clear();
        select.selection = Some(condition);
    })
}

/// A query with the name of a user wherever it asks for `current_user`.
///
/// # Errors
/// 42601 if it is none.
pub(crate) fn with_current_user(text: &str, user: &str) -> Result<String> {
    let Statement::Query(mut query) = parse(text)? else {
        return Err(Error::report("a query was read as another statement"));
    };
    let DataFusionStatement::Statement(statement) = &mut query.0 else {
        return Err(Error::report("a query was read as another statement"));
    };
    let _ = visit_expressions_mut(statement, |expr| {
        if let Expr::Function(function) = expr
            && matches!(function.args, ast::FunctionArguments::None)
            && ["current_user", "session_user", "user"]
                .iter()
                .any(|name| function.name.to_string().eq_ignore_ascii_case(name))
        {
            *expr = Expr::Value(ast::Value::SingleQuotedString(user.to_string()).with_empty_span());
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(statement.to_string())
}

/// Whether there is a query in an expression.
pub(crate) fn has_query(text: &str) -> bool {
    let is_query = |expr: &Expr| matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. });
    let found = expression(text).map(|expression| {
        visit_expressions(&expression, |expr| match is_query(expr) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    });
    matches!(found, Ok(ControlFlow::Break(())))
}

/// Whatever an expression names that may be a column; nothing if it cannot be read.
pub(crate) fn names_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let folded = |name: &ast::Ident| match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    if let Ok(expression) = expression(text) {
        let _ = visit_expressions(&expression, |expr| {
            match expr {
                Expr::Identifier(name) => names.extend([folded(name)]),
                Expr::CompoundIdentifier(parts) => names.extend(parts.iter().map(folded)),
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
    }
    names
}
