//! Turns a fragment of a plan, whose leaves are all tables of one server, into one query.
//!
//! A fragment grows from its leaves as a [`Block`]: a SELECT that can still take more. What SQL evaluates in another
//! order than the plan says (a filter above a LIMIT, an aggregate above an aggregate) closes the block into a derived
//! table first.
//!
//! Kept out: joins that treat NULLs as equal, NULL-aware anti joins, mark joins and outer joins; sorts without a LIMIT,
//! which reduce nothing; joins without an aggregate or LIMIT above, unless one side's key is unique, since they could
//! send more rows than they read.

mod aggregate;
mod block;
mod federation;

#[cfg(test)]
pub(crate) use aggregate::NAMES as AGGREGATES;
pub(crate) use federation::PgFederation;

use super::ast::{Expr as Sql, From, Name, Operator, OrderBy};
use super::expr::{Scope, condition, translate};
use super::typed::{Collation, Kind, Typed};
use super::{compare, reason};
use crate::table::PgRelation;
use block::{Block, Columns, Value};
use datafusion_common::{Column, JoinType, NullEquality};
use datafusion_expr::logical_plan::{FetchType, SkipType};
use datafusion_expr::{Filter, Join, Limit, LogicalPlan, Projection, Sort, TableScan};
use polder_catalog::Reason;
use std::sync::Arc;

/// Finds the relation behind a leaf.
pub(crate) trait Leaves {
    /// The described relation, or why it cannot take part.
    fn relation(&self, scan: &TableScan) -> Result<Arc<PgRelation>, Reason>;
}

/// Compiles one fragment.
pub(crate) struct Compiler<'a> {
    leaves: &'a dyn Leaves,
    /// Tables and derived tables so far: each gets a name of its own.
    tables: usize,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(leaves: &'a dyn Leaves) -> Self {
        Self { leaves, tables: 0 }
    }

    /// The whole fragment, or why its top stays local. `reduced` says that something above takes fewer rows.
    pub(crate) fn compile(&mut self, plan: &LogicalPlan, reduced: bool) -> Result<Block, Reason> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.compile(&alias.input, reduced),
            LogicalPlan::Projection(projection) => self.projection(projection, reduced),
            LogicalPlan::Filter(filter) => self.filter(filter, reduced),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Sort(sort) => self.top_n(sort),
            LogicalPlan::Aggregate(aggregate) => {
                let input = self.compile(&aggregate.input, true)?;
                let input = if input.is_closed() { self.nest(input) } else { input };
                aggregate::translate(aggregate, input)
            }
            LogicalPlan::Join(join) => self.join(join, reduced),
            other => Err(reason::lacks(format!("{} is not handed over", name_of(other)))),
        }
    }

    fn next_table(&mut self) -> Name {
        self.tables += 1;
        Name::table(self.tables - 1)
    }

    fn nest(&mut self, block: Block) -> Block {
        let alias = self.next_table();
        block.nested(alias)
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Block, Reason> {
        let relation = self.leaves.relation(scan)?;
        let alias = self.next_table();
        let all = 0..relation.columns.len();
        let values: Vec<Value> = all.map(|index| Value::column(&alias, &relation, index)).collect();
        let mut block = Block::new(super::table(&relation, Some(alias.clone())), Vec::new());
        let scope = Table { relation: &relation, alias: &alias };
        for filter in &scan.filters {
            block.filters.push(condition(filter, &scope)?);
        }
        block.values = match &scan.projection {
            Some(indices) => indices.iter().map(|index| values[*index].clone()).collect(),
            None => values,
        };
        block.limit = scan.fetch.map(|fetch| fetch as u64);
        Ok(block)
    }

    fn projection(&mut self, projection: &Projection, reduced: bool) -> Result<Block, Reason> {
        let mut block = self.compile(&projection.input, reduced)?;
        let columns = Columns { schema: projection.input.schema(), values: &block.values };
        let values = projection.expr.iter().map(|expr| columns.value(expr)).collect::<Result<Vec<_>, _>>()?;
        block.values = values;
        Ok(block)
    }

    fn filter(&mut self, filter: &Filter, reduced: bool) -> Result<Block, Reason> {
        let block = self.compile(&filter.input, reduced)?;
        let mut block = if block.is_closed() { self.nest(block) } else { block };
        let columns = Columns { schema: filter.input.schema(), values: &block.values };
        let condition = condition(&filter.predicate, &columns)?;
        block.filters.push(condition);
        Ok(block)
    }

    fn limit(&mut self, limit: &Limit) -> Result<Block, Reason> {
        let known = |_| reason::lacks("LIMIT is no constant");
        if !matches!(limit.get_skip_type().map_err(known)?, SkipType::Literal(0)) {
            return Err(reason::semantics("OFFSET counts rows in an order that only holds here"));
        }
        let FetchType::Literal(Some(fetch)) = limit.get_fetch_type().map_err(known)? else {
            return Err(reason::lacks("LIMIT is no constant"));
        };
        let mut block = self.compile(&limit.input, true)?;
        block.limit = Some(block.limit.map_or(fetch as u64, |inner| inner.min(fetch as u64)));
        Ok(block)
    }

    /// The first rows of an order. The planner sorts them again, so only which rows they are must be right.
    fn top_n(&mut self, sort: &Sort) -> Result<Block, Reason> {
        let fetch = sort.fetch.ok_or_else(|| reason::cost("an order without a LIMIT reduces no rows"))?;
        let block = self.compile(&sort.input, true)?;
        let mut block = if block.limit.is_some() { self.nest(block) } else { block };
        let columns = Columns { schema: sort.input.schema(), values: &block.values };
        let mut keys = Vec::with_capacity(sort.expr.len());
        for key in &sort.expr {
            let expr = ordered(translate(&key.expr, &columns)?)?;
            keys.push(OrderBy { expr, descending: !key.asc, nulls_first: key.nulls_first });
        }
        block.order_by = keys;
        block.limit = Some(fetch as u64);
        Ok(block)
    }

    fn join(&mut self, join: &Join, reduced: bool) -> Result<Block, Reason> {
        if join.join_type != JoinType::Inner {
            return Err(reason::semantics(format!("a {} join is not handed over", join.join_type)));
        }
        if join.null_equality != NullEquality::NullEqualsNothing || join.null_aware {
            return Err(reason::semantics("a join that treats NULLs as values"));
        }
        let left = self.side(&join.left, reduced)?;
        let right = self.side(&join.right, reduced)?;
        if !reduced && !unique_key(join, &left, &right) {
            return Err(reason::cost("the join may send more rows than it reads, and nothing above reduces them"));
        }
        let on = condition_of(join, &left, &right)?;
        let mut values = left.values;
        values.extend(right.values);
        let from = From::Join { left: Box::new(left.from), right: Box::new(right.from), on };
        Ok(Block { filters: left.filters.into_iter().chain(right.filters).collect(), ..Block::new(from, values) })
    }

    fn side(&mut self, plan: &LogicalPlan, reduced: bool) -> Result<Block, Reason> {
        let block = self.compile(plan, reduced)?;
        Ok(if block.is_closed() { self.nest(block) } else { block })
    }
}

/// ON: the equal keys, and what else the join asks. A comma join has none, and so many rows that it stays local.
fn condition_of(join: &Join, left: &Block, right: &Block) -> Result<Sql, Reason> {
    let mut conditions = Vec::with_capacity(join.on.len() + 1);
    let left_columns = Columns { schema: join.left.schema(), values: &left.values };
    let right_columns = Columns { schema: join.right.schema(), values: &right.values };
    for (one, other) in &join.on {
        let (one, other) = (translate(one, &left_columns)?, translate(other, &right_columns)?);
        conditions.push(compare::translate(one, Operator::Eq, other)?);
    }
    if conditions.is_empty() {
        return Err(reason::cost("a join without an equality"));
    }
    if let Some(filter) = &join.filter {
        let both: Vec<Value> = left.values.iter().chain(&right.values).cloned().collect();
        let schema = join.left.schema().join(join.right.schema());
        let schema = schema.map_err(|_| reason::lacks("the sides of the join share a column's name"))?;
        conditions.push(condition(filter, &Columns { schema: &schema, values: &both })?);
    }
    Ok(Sql::all(conditions).expect("a join has a key"))
}

/// Whether statistics call a key of either side unique: then each row of the other side meets one row at most.
fn unique_key(join: &Join, left: &Block, right: &Block) -> bool {
    let unique = |columns: Columns<'_>, expr| columns.value(expr).is_ok_and(|value| value.is_unique());
    join.on.iter().any(|(one, other)| {
        unique(Columns { schema: join.left.schema(), values: &left.values }, one)
            || unique(Columns { schema: join.right.schema(), values: &right.values }, other)
    })
}

/// A key that PostgreSQL orders as we do.
fn ordered(key: Typed) -> Result<Sql, Reason> {
    match key.kind {
        Kind::Opaque | Kind::Null => Err(reason::type_("its type has no order that both sides know")),
        Kind::Label => Err(reason::type_("an enum is ordered by its declaration, its labels as text are not")),
        Kind::Text(Collation::C) => Ok(key.expr),
        Kind::Text(_) => Ok(key.expr.collate_c()),
        _ => Ok(key.expr),
    }
}

fn name_of(plan: &LogicalPlan) -> String {
    let text = plan.display().to_string();
    text.split([':', ' ']).next().unwrap_or_default().to_string()
}

/// A table under its alias.
struct Table<'a> {
    relation: &'a PgRelation,
    alias: &'a Name,
}

impl Scope for Table<'_> {
    fn resolve(&self, column: &Column) -> Result<Typed, Reason> {
        let found = super::column_of(self.relation, column)?;
        let raw = Sql::Column { table: Some(self.alias.clone()), column: Name::of_server(&found.name) };
        super::typed::column(raw, found, self.relation.rules)
    }
}
