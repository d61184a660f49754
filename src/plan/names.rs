//! What a query names: the tables to describe and the texts to pass through, before it can be planned.

use crate::plan::hidden::column_names;
use crate::sql::Query;
use datafusion::common::TableReference;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, ObjectName, TableFactor, TableFunctionArgs, Value, Visit, Visitor,
};
use polder_catalog::{Error, Result, SqlState};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// The table function that passes a text to a source.
pub(crate) const QUERY: &str = "query";

/// The names in one query.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Tables, and whether the name was in single quotes (a file).
    pub(crate) tables: Vec<(TableReference, bool)>,
    /// Calls of `query('catalog', 'text')`.
    pub(crate) calls: Vec<PassThroughCall>,
    /// Whatever may be a column.
    pub(crate) columns: BTreeSet<String>,
}

/// One call of `query('catalog', 'text')`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PassThroughCall {
    pub(crate) catalog: String,
    pub(crate) text: String,
}

/// Finds all names.
pub(crate) fn names(query: &Query) -> Result<Names> {
    let (references, _ctes) = resolve_table_references(&query.0, true).map_err(Error::from_datafusion)?;
    let mut found = Found::default();
    if let DataFusionStatement::Statement(statement) = &query.0
        && let ControlFlow::Break(error) = statement.visit(&mut found)
    {
        return Err(error);
    }
    let is_table = |reference: &TableReference| {
        !found.functions.contains(reference.table()) || found.tables.contains(reference.table())
    };
    let tables = references.into_iter().filter(is_table).map(|reference| {
        let quoted = matches!(&reference, TableReference::Bare { table } if found.quoted.contains(table.as_ref()));
        (reference, quoted)
    });
    Ok(Names { tables: tables.collect(), calls: found.calls, columns: column_names(query) })
}

#[derive(Default)]
struct Found {
    quoted: BTreeSet<String>,
    functions: BTreeSet<String>,
    tables: BTreeSet<String>,
    calls: Vec<PassThroughCall>,
}

impl Visitor for Found {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, args, .. } = factor else { return ControlFlow::Continue(()) };
        let Some(last) = last_part(name) else { return ControlFlow::Continue(()) };
        let Some(args) = args else {
            if name.0.len() == 1 && is_quoted(name) {
                self.quoted.insert(last.clone());
            }
            self.tables.insert(last);
            return ControlFlow::Continue(());
        };
        if last == QUERY {
            match pass_through_call(args) {
                Ok(call) => self.calls.push(call),
                Err(error) => return ControlFlow::Break(error),
            }
        }
        self.functions.insert(last);
        ControlFlow::Continue(())
    }
}

fn last_part(name: &ObjectName) -> Option<String> {
    let identifier = name.0.last()?.as_ident()?;
    Some(match identifier.quote_style {
        Some(_) => identifier.value.clone(),
        None => identifier.value.to_lowercase(),
    })
}

fn is_quoted(name: &ObjectName) -> bool {
    name.0.last().and_then(|part| part.as_ident()).is_some_and(|identifier| identifier.quote_style == Some('\''))
}

fn pass_through_call(args: &TableFunctionArgs) -> Result<PassThroughCall> {
    let text = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::DollarQuotedString(quoted) => Some(quoted.value.clone()),
            _ => None,
        },
        _ => None,
    };
    match &args.args[..] {
        [catalog, query] => text(catalog).zip(text(query)).map(|(catalog, text)| PassThroughCall { catalog, text }),
        _ => None,
    }
    .ok_or_else(|| {
        Error::fix(SqlState::SYNTAX, "query() takes a catalog and a text, both as string literals")
            .with_hint("write query('shop', 'SELECT ...')")
    })
}
