//! `MERGE`: the rows of a source, each with the row of the table that it matches, and what its clause makes of them.
//!
//! One query computes it all: the row that is there, the number of the clause, and the row that is to be.

use crate::definitions::TableDefinition;
use crate::execute::write::attempt::{Attempt, Written};
use crate::execute::write::change::{add_update, assigned, of_schema};
use crate::execute::write::defaults;
use crate::execute::write::rows::{self, refuse_nulls};
use crate::execute::write::rules::Rules;
use crate::sql::{self, MergeAction, MergeClause, MergeSpec, Query, Statement, Which};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CaseWhen, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, SelectItem, SetExpr,
    TableFactor,
};
use polder_catalog::{Error, Result, SqlState};
use std::collections::HashSet;
use std::sync::Arc;

/// True in each row of the table, and so NULL where a row of the source matches none.
const MATCHED: &str = "merge target";

pub(super) async fn merge(attempt: Attempt<'_>, spec: &MergeSpec) -> Result<Written> {
    let table = attempt.table.clone();
    if table.key.is_empty() {
        return Err(Error::fix(
            SqlState::NOT_SUPPORTED,
            format!("table {} has no primary key to merge by", table.full_name()),
        )
        .with_hint("MERGE tells the rows of its table apart by their key"));
    }
    let rules = Rules::of(attempt.engine(), &attempt.context, &table)?;
    let (schema, width) = (table.arrow_schema(), table.columns.len());
    let query = query(&table, spec)?;
    let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
    // Errors name the columns of the new row.
    let old = schema.fields().iter().map(|field| nullable(field).with_name(format!("old {}", field.name())));
    let clause = [Field::new("clause", DataType::Int64, true)];
    let fields: Vec<FieldRef> = old.chain(clause).chain(schema.fields().iter().map(nullable)).map(Arc::new).collect();
    let source = rows::Source::Query(&query);
    let mut rows = rows::start(attempt.session, &attempt.context, &fields, &[], &[], source).await?;
    let mut draft = attempt.draft().await?;
    let (mut touched, mut count) = (Once::of(&table, "MERGE")?, 0);
    let required: Vec<usize> = (0..width).filter(|at| !schema.field(*at).is_nullable()).collect();
    while let Some(batch) = rows.next().await? {
        let chosen = batch.column(width).as_primitive::<Int64Type>();
        for (at, clause) in spec.clauses.iter().enumerate() {
            let is_meant = chosen.iter().map(|chosen| Some(chosen == Some(at as i64)));
            let rows = filter_record_batch(&batch, &is_meant.collect::<BooleanArray>()).map_err(defect)?;
            if rows.num_rows() == 0 {
                continue;
            }
            count += rows.num_rows();
            let new = || {
                let new = rows.project(&(width + 1..2 * width + 1).collect::<Vec<_>>()).map_err(defect)?;
                // The number of a row is given later.
                let given: Vec<usize> = required
                    .iter()
                    .copied()
                    .filter(|at| table.columns[*at].identity.is_none() || clause.matched)
                    .collect();
                refuse_nulls(&new, &given).map(|()| new)
            };
            let old = || of_schema(rows.columns()[..width].to_vec(), &schema);
            match &clause.action {
                MergeAction::Insert { .. } => draft.add(&table, &rules.complete(attempt.engine(), &new()?)?, None)?,
                MergeAction::Delete => {
                    let old = old()?;
                    touched.note(&old)?;
                    draft.add(&table, &old, Some(vec![-1; old.num_rows()]))?;
                }
                MergeAction::Update(_) => {
                    let (old, new) = (old()?, of_schema(new()?.columns().to_vec(), &schema)?);
                    touched.note(&old)?;
                    rules.check(&new)?;
                    add_update(&mut draft, &table, &old, &new)?;
                }
            }
        }
    }
    attempt.commit(draft, format!("MERGE {count}"), Vec::new()).await
}

/// The rows of a table that a statement has changed: each may be once.
pub(super) struct Once {
    statement: &'static str,
    key: Vec<usize>,
    converter: RowConverter,
    seen: HashSet<OwnedRow>,
}

impl Once {
    /// Of a statement that joins the table with others, if it does.
    ///
    /// # Errors
    /// 0A000 for a table without a primary key: its rows cannot be told apart.
    pub(super) fn of_join(table: &TableDefinition, which: &Which, statement: &'static str) -> Result<Option<Self>> {
        if which.others.is_empty() {
            return Ok(None);
        }
        if table.key.is_empty() {
            let message = format!("table {} has no primary key to tell its rows apart", table.full_name());
            return Err(Error::fix(SqlState::NOT_SUPPORTED, message));
        }
        Self::of(table, statement).map(Some)
    }

    fn of(table: &TableDefinition, statement: &'static str) -> Result<Self> {
        let place = |id: &u32| table.columns.iter().position(|column| column.id == *id);
        let key: Vec<usize> = table.key.iter().filter_map(place).collect();
        let fields = key.iter().map(|at| SortField::new(table.columns[*at].field.data_type().clone())).collect();
        Ok(Self { statement, key, converter: RowConverter::new(fields).map_err(defect)?, seen: HashSet::new() })
    }

    /// Those of these rows that come for the first time.
    pub(super) fn first(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let keys = rows.project(&self.key).map_err(defect)?;
        let keys = self.converter.convert_columns(keys.columns()).map_err(defect)?;
        let is_first: BooleanArray = keys.iter().map(|key| Some(self.seen.insert(key.owned()))).collect();
        filter_record_batch(rows, &is_first).map_err(defect)
    }

    pub(super) fn note(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = rows.project(&self.key).map_err(defect)?;
        let keys = self.converter.convert_columns(keys.columns()).map_err(defect)?;
        match keys.iter().all(|key| self.seen.insert(key.owned())) {
            true => Ok(()),
            false => Err(Error::fix(SqlState::CARDINALITY, format!("{} cannot change a row twice", self.statement))
                .with_hint("several rows of what it is joined with match one of the table")),
        }
    }
}

fn query(table: &TableDefinition, spec: &MergeSpec) -> Result<Query> {
    let alias = spec.alias.as_deref().unwrap_or(&table.name);
    let template = format!("SELECT 1 FROM s LEFT JOIN (SELECT *, TRUE AS \"{MATCHED}\" FROM t) AS a ON TRUE");
    let Statement::Query(mut query) = sql::parse(&template)? else {
        return Err(Error::report("a query was read as another statement"));
    };
    let select = select_of(&mut query)?;
    select.projection = projection(table, alias, spec)?;
    let [from] = &mut select.from[..] else { return Err(unlike()) };
    from.relation = spec.source.clone();
    let [join] = &mut from.joins[..] else { return Err(unlike()) };
    match &mut join.join_operator {
        JoinOperator::Left(JoinConstraint::On(on)) | JoinOperator::LeftOuter(JoinConstraint::On(on)) => {
            *on = spec.on.clone();
        }
        _ => return Err(unlike()),
    }
    let TableFactor::Derived { subquery, alias: Some(name), .. } = &mut join.relation else { return Err(unlike()) };
    name.name = Ident::with_quote('"', alias);
    let SetExpr::Select(inner) = subquery.body.as_mut() else { return Err(unlike()) };
    let [from] = &mut inner.from[..] else { return Err(unlike()) };
    let TableFactor::Table { name, .. } = &mut from.relation else { return Err(unlike()) };
    let parts = [table.catalog.as_str(), &table.schema, &table.name];
    *name = ObjectName::from(parts.map(|part| Ident::with_quote('"', part)).to_vec());
    Ok(query)
}

fn select_of(query: &mut Query) -> Result<&mut ast::Select> {
    if let DataFusionStatement::Statement(statement) = &mut query.0
        && let ast::Statement::Query(query) = statement.as_mut()
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        return Ok(select);
    }
    Err(unlike())
}

fn unlike() -> Error {
    Error::report("a query is not what it was written as")
}

/// The row that is there, the number of the clause, the row that is to be.
fn projection(table: &TableDefinition, alias: &str, spec: &MergeSpec) -> Result<Vec<SelectItem>> {
    let of_table =
        |name: &str| Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', name)]);
    let matched = of_table(MATCHED);
    let conditions: Vec<Expr> = spec.clauses.iter().map(|clause| condition(clause, &matched)).collect();
    let number = |at: usize| Expr::Value(ast::Value::Number(at.to_string(), false).into());
    let clause = case(conditions.iter().cloned().zip((0..conditions.len()).map(number)))?;
    let names: Vec<&str> = table.columns.iter().map(|column| column.field.name().as_str()).collect();
    let mut items: Vec<Expr> = names.iter().map(|name| of_table(name)).chain([clause]).collect();
    let new = spec.clauses.iter().map(|clause| new_values(table, clause, &of_table)).collect::<Result<Vec<_>>>()?;
    for at in 0..names.len() {
        items.push(case(conditions.iter().cloned().zip(new.iter().map(|values| values[at].clone())))?);
    }
    let item = |(at, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("c{at}")) };
    Ok(items.into_iter().enumerate().map(item).collect())
}

fn condition(clause: &MergeClause, matched: &Expr) -> Expr {
    let matched = Box::new(matched.clone());
    let matched = if clause.matched { Expr::IsNotNull(matched) } else { Expr::IsNull(matched) };
    match &clause.condition {
        None => matched,
        Some(condition) => Expr::BinaryOp {
            left: Box::new(matched),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(condition.clone()))),
        },
    }
}

/// What a clause puts into each column of the table.
fn new_values(table: &TableDefinition, clause: &MergeClause, of_table: &impl Fn(&str) -> Expr) -> Result<Vec<Expr>> {
    let null = || Expr::Value(ast::Value::Null.into());
    let names = table.columns.iter().map(|column| column.field.name());
    match &clause.action {
        MergeAction::Delete => Ok(names.map(|_| null()).collect()),
        MergeAction::Update(assignments) => {
            let mut assigned = assigned(table, assignments.clone())?;
            let value = |name: &String| match assigned.remove(name) {
                Some(mut value) => defaults::replace_one(&mut value, table, name).map(|()| value),
                None => Ok(of_table(name)),
            };
            names.map(value).collect()
        }
        MergeAction::Insert { columns, values } => {
            let all: Vec<String> = names.clone().take(values.len()).cloned().collect();
            let columns = if columns.is_empty() { &all } else { columns };
            if columns.len() != values.len() {
                let message = format!("{} columns are written, and {} values are given", columns.len(), values.len());
                return Err(Error::fix(SqlState::SYNTAX, message));
            }
            let given = columns.iter().cloned().zip(values.iter().cloned()).collect();
            let mut given = assigned(table, given)?;
            let value = |name: &String| {
                let mut value = given.remove(name).unwrap_or_else(|| Expr::Identifier(Ident::new("DEFAULT")));
                defaults::replace_one(&mut value, table, name).map(|()| value)
            };
            names.map(value).collect()
        }
    }
}

/// `CASE WHEN ... THEN ... END`.
fn case(branches: impl Iterator<Item = (Expr, Expr)>) -> Result<Expr> {
    let mut case = sql::expression("CASE WHEN TRUE THEN 1 END")?;
    let Expr::Case { conditions, .. } = &mut case else { return Err(unlike()) };
    *conditions = branches.map(|(condition, result)| CaseWhen { condition, result }).collect();
    Ok(case)
}

fn defect(error: arrow::error::ArrowError) -> Error {
    Error::report("rows of a MERGE do not fit together").with_source(error)
}
