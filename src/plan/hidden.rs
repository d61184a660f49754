//! Hidden columns: there for who names them, and not in `SELECT *`.
//!
//! A table shows those of its hidden columns whose names occur anywhere in the query. So that a star beside such a name
//! still leaves them out, each star over such a table gets an `EXCLUDE` before DataFusion expands it.

use crate::sql::Query;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
    WildcardAdditionalOptions,
};
use polder_catalog::{Error, Result, SourceTable, SqlState};
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The names that a query uses for columns, wherever they stand.
pub(crate) fn column_names(query: &Query) -> BTreeSet<String> {
    let mut names = ColumnNames::default();
    if let DataFusionStatement::Statement(statement) = &query.0 {
        let _ = statement.visit(&mut names);
    }
    names.0
}

#[derive(Default)]
struct ColumnNames(BTreeSet<String>);

impl Visitor for ColumnNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.0.extend([folded(name)]),
            Expr::CompoundIdentifier(parts) => self.0.extend(parts.last().map(folded)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Excludes hidden columns from the stars of a query.
///
/// # Errors
/// 0A000 for a natural join of a table whose hidden columns the query names: it would join on them.
pub(crate) fn exclude(query: &mut Query, tables: &[(TableReference, Arc<dyn TableProvider>)]) -> Result<()> {
    let hidden: HashMap<&TableReference, Vec<String>> = tables
        .iter()
        .filter_map(|(reference, provider)| {
            let columns = provider.downcast_ref::<SourceTable>()?.hidden_columns().map(str::to_string);
            Some((reference, columns.collect::<Vec<_>>())).filter(|(_, columns)| !columns.is_empty())
        })
        .collect();
    if hidden.is_empty() {
        return Ok(());
    }
    let DataFusionStatement::Statement(statement) = &mut query.0 else { return Ok(()) };
    match VisitMut::visit(statement, &mut Stars { hidden }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Stars<'a> {
    hidden: HashMap<&'a TableReference, Vec<String>>,
}

impl VisitorMut for Stars<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut datafusion::sql::sqlparser::ast::Query) -> ControlFlow<Error> {
        match self.body(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Stars<'_> {
    /// The selects of a query's own body; subqueries are visited by themselves.
    fn body(&self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            _ => Ok(()),
        }
    }

    fn select(&self, select: &mut Select) -> Result<()> {
        // What each table is called here, and what it hides.
        let called: Vec<(String, &[String])> = relations(select).filter_map(|factor| self.table(factor)).collect();
        let Some((table, columns)) = called.first() else { return Ok(()) };
        if joins(select).any(|join| matches!(constraint(join), Some(JoinConstraint::Natural))) {
            return Err(Error::fix(SqlState::NOT_SUPPORTED, "a natural join would join on hidden columns")
                .with_detail(format!("the query names {} of \"{table}\"", columns.join(", ")))
                .with_hint("write JOIN ... USING (...) or JOIN ... ON ..."));
        }
        if let Some(names) = apart(select) {
            select.projection =
                std::mem::take(&mut select.projection).into_iter().flat_map(|item| one_by_one(item, &names)).collect();
        }
        for item in &mut select.projection {
            match item {
                SelectItem::Wildcard(options) => {
                    called.iter().for_each(|(_, columns)| leave_out(options, columns));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let name = name.0.last().and_then(|part| part.as_ident()).map(folded);
                    let table = called.iter().find(|(called, _)| Some(called) == name.as_ref());
                    table.iter().for_each(|(_, columns)| leave_out(options, columns));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn table(&self, factor: &TableFactor) -> Option<(String, &[String])> {
        let TableFactor::Table { name, args: None, .. } = factor else { return None };
        let columns = self.hidden.get(&reference(name)?)?;
        Some((folded(&called_name(factor)?), columns))
    }
}

fn relations(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(with_joins)
}

fn with_joins(from: &TableWithJoins) -> impl Iterator<Item = &TableFactor> {
    std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
}

fn joins(select: &Select) -> impl Iterator<Item = &JoinOperator> {
    select.from.iter().flat_map(|from| &from.joins).map(|join| &join.join_operator)
}

/// What the rows of a join have in common; none for a join that does not show the columns of both sides.
fn constraint(join: &JoinOperator) -> Option<&JoinConstraint> {
    match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint) => Some(constraint),
        _ => None,
    }
}

/// The names of all tables here, if a star over all of them shows the same as one over each: the columns that one table
/// hides may be another one's own.
fn apart(select: &Select) -> Option<Vec<Ident>> {
    let shows_both = |join| matches!(constraint(join), Some(JoinConstraint::On(_) | JoinConstraint::None));
    match relations(select).count() > 1 && joins(select).all(shows_both) {
        true => relations(select).map(called_name).collect(),
        false => None,
    }
}

/// What a relation is called in the query, if it has a name.
fn called_name(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// A star over everything as one star for each relation.
fn one_by_one(item: SelectItem, names: &[Ident]) -> Vec<SelectItem> {
    match item {
        SelectItem::Wildcard(options) if options.opt_exclude.is_none() => {
            let star = |name: &Ident| {
                let name = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(name.clone()));
                SelectItem::QualifiedWildcard(name, options.clone())
            };
            names.iter().map(star).collect()
        }
        other => vec![other],
    }
}

fn reference(name: &ObjectName) -> Option<TableReference> {
    let parts = name.0.iter().map(|part| part.as_ident().map(folded)).collect::<Option<Vec<_>>>()?;
    Some(match &parts[..] {
        [table] => TableReference::bare(table.as_str()),
        [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
        [catalog, schema, table] => TableReference::full(catalog.as_str(), schema.as_str(), table.as_str()),
        _ => return None,
    })
}

/// Adds columns to what a star excludes already.
fn leave_out(options: &mut WildcardAdditionalOptions, columns: &[String]) {
    let mut names = match options.opt_exclude.take() {
        None => Vec::new(),
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
    };
    for column in columns {
        let name = ObjectName::from(Ident::with_quote('"', column.as_str()));
        let is_new = names
            .iter()
            .all(|known| known.0.last().and_then(|part| part.as_ident()).map(folded).as_ref() != Some(column));
        if is_new {
            names.push(name);
        }
    }
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(names));
}

fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}
