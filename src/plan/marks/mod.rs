//! Keeps marked columns from being used as the plain text or bytes they travel as.
//!
//! A type that Arrow has not arrives as text with a [mark](polder_catalog::mark). Its text is not its value: `10.0.0.1` and
//! `10.0.0.1/32` are one `inet`, `{"a":1}` and `{ "a": 1 }` one `jsonb`. So such a column may be selected, tested for NULL
//! and counted; anything else is refused with the way out, an explicit cast to text. An enum's labels may be compared for
//! equality too, not ordered.
//!
//! A UUID travels as sixteen bytes, whose equality and order are its own; only texts beside it must become UUIDs first.

mod functions;
#[cfg(test)]
mod tests;
mod uuids;

pub(crate) use uuids::uuid_field;

use arrow::datatypes::FieldRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::expr::{AggregateFunction, Case, Cast, InList, InSubquery, TryCast, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Distinct, Expr, ExprSchemable, Join, Like, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use polder_catalog::mark::{self, Comparison};
use polder_catalog::{Error, SqlState};

/// The analyzer rule. Runs before type coercion.
#[derive(Debug)]
pub(crate) struct Marks;

impl AnalyzerRule for Marks {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DataFusionResult<LogicalPlan> {
        match has_marks(&plan)? {
            true => Ok(plan.transform_up_with_subqueries(node)?.data),
            false => Ok(plan),
        }
    }

    fn name(&self) -> &'static str {
        "marks"
    }
}

/// Whether a mark can occur anywhere: in a table, a literal, or by a cast to UUID. Most queries have none, and asking every
/// expression for its type takes longer than this.
fn has_marks(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let is_marked = |field: &FieldRef| mark::of(field.metadata()).is_some() || uuids::is_uuid(field);
            found |= scan.source.schema().fields().iter().any(is_marked);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found |= match expr {
                    Expr::Literal(_, metadata) => metadata.is_some(),
                    Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
                        *field.data_type() == uuids::BYTES || !field.metadata().is_empty()
                    }
                    _ => false,
                };
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

fn node(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    // Columns keep the names that the query gave them, whatever stands in a cast's place.
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(|expr| expression(expr, &schema))?.update_data(|expr| name.restore(expr)))
    })?;
    // After the rewrite, so that a cast has taken the mark off.
    check_node(&rewritten.data, &schema)?;
    rewritten.map_data(|plan| if matches!(plan, LogicalPlan::Join(_)) { Ok(plan) } else { plan.recompute_schema() })
}

/// What a node does with whole columns: orders, groups, joins them.
fn check_node(plan: &LogicalPlan, schema: &DFSchema) -> DataFusionResult<()> {
    match plan {
        LogicalPlan::Sort(sort) => sort.expr.iter().try_for_each(|key| refuse_any(&key.expr, schema, "ordered")),
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.iter().try_for_each(|key| refuse_unequal(key, schema, "grouped"))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let columns = input.schema().columns();
            columns.into_iter().try_for_each(|column| refuse_unequal(&Expr::Column(column), schema, "made distinct"))
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            distinct.on_expr.iter().try_for_each(|key| refuse_unequal(key, schema, "made distinct"))
        }
        LogicalPlan::Join(Join { on, .. }) => {
            on.iter().try_for_each(|(left, right)| check_equality(left, right, schema))
        }
        _ => Ok(()),
    }
}

/// One expression, whose parts are right already.
fn expression(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => binary(*left, op, *right, schema),
        Expr::InList(InList { expr, list, negated }) => {
            let mut changed = false;
            let mut converted = Vec::with_capacity(list.len());
            for item in list {
                check_equality(&expr, &item, schema)?;
                let item = uuids::beside(&expr, item, schema)?;
                changed |= item.transformed;
                converted.push(item.data);
            }
            let list = Expr::InList(InList { expr, list: converted, negated });
            Ok(if changed { Transformed::yes(list) } else { Transformed::no(list) })
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            [&expr, &low, &high].into_iter().try_for_each(|part| refuse_any(part, schema, "ordered"))?;
            let (low, high) = (uuids::beside(&expr, *low, schema)?, uuids::beside(&expr, *high, schema)?);
            let changed = low.transformed || high.transformed;
            let between = Expr::Between(Between::new(expr, negated, Box::new(low.data), Box::new(high.data)));
            Ok(if changed { Transformed::yes(between) } else { Transformed::no(between) })
        }
        Expr::Cast(Cast { expr, field }) => match functions::cast(&expr, field.data_type(), schema)? {
            Some(call) => Ok(Transformed::yes(call)),
            None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
        },
        Expr::TryCast(TryCast { expr, field }) => match functions::cast(&expr, field.data_type(), schema)? {
            Some(call) => Ok(Transformed::yes(call)),
            None => Ok(Transformed::no(Expr::TryCast(TryCast { expr, field }))),
        },
        other => {
            check_use(&other, schema)?;
            Ok(Transformed::no(other))
        }
    }
}

fn binary(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match op {
        Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
            check_equality(&left, &right, schema)?;
        }
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
            [&left, &right].into_iter().try_for_each(|side| refuse_any(side, schema, "ordered"))?;
        }
        Operator::And | Operator::Or => {}
        _ => [&left, &right].into_iter().try_for_each(|side| refuse_any(side, schema, "computed with"))?,
    }
    let right = uuids::beside(&left, right, schema)?;
    let left = uuids::beside(&right.data, left, schema)?;
    let changed = left.transformed || right.transformed;
    let binary = Expr::BinaryExpr(BinaryExpr::new(Box::new(left.data), op, Box::new(right.data)));
    Ok(if changed { Transformed::yes(binary) } else { Transformed::no(binary) })
}

/// Everything that takes values apart from comparisons and casts.
fn check_use(expr: &Expr, schema: &DFSchema) -> DataFusionResult<()> {
    match expr {
        Expr::Like(Like { expr, pattern, .. }) | Expr::SimilarTo(Like { expr, pattern, .. }) => {
            [expr, pattern].into_iter().try_for_each(|part| refuse_any(part, schema, "matched"))
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
            let column = subquery.subquery.schema().columns().into_iter().next().map(Expr::Column);
            refuse_unequal(expr, schema, "compared")?;
            column.map_or(Ok(()), |column| refuse_unequal(&column, subquery.subquery.schema(), "compared"))
        }
        Expr::ScalarFunction(call) if functions::is_ours(&call.func) => Ok(()),
        Expr::ScalarFunction(call) => {
            call.args.iter().try_for_each(|argument| refuse_any(argument, schema, "given to a function"))
        }
        Expr::AggregateFunction(call) => aggregate(call, schema),
        Expr::WindowFunction(call) => window(call, schema),
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let branches = when_then_expr.iter().flat_map(|(when, then)| [when, then]);
            let mut parts = expr.iter().chain(branches).chain(else_expr);
            parts.try_for_each(|part| refuse_any(part, schema, "used in CASE"))
        }
        _ => Ok(()),
    }
}

/// `count(column)` needs no value; `count(DISTINCT column)` needs equality; the rest needs more.
fn aggregate(call: &AggregateFunction, schema: &DFSchema) -> DataFusionResult<()> {
    let is_count = call.func.name() == "count";
    call.params.args.iter().try_for_each(|argument| match (is_count, call.params.distinct) {
        (true, false) => Ok(()),
        (true, true) => refuse_unequal(argument, schema, "made distinct"),
        (false, _) => refuse_any(argument, schema, "aggregated"),
    })?;
    call.params.order_by.iter().try_for_each(|key| refuse_any(&key.expr, schema, "ordered"))
}

fn window(call: &WindowFunction, schema: &DFSchema) -> DataFusionResult<()> {
    let params = &call.params;
    params.args.iter().try_for_each(|argument| refuse_any(argument, schema, "used in a window"))?;
    params.partition_by.iter().try_for_each(|key| refuse_unequal(key, schema, "partitioned by"))?;
    params.order_by.iter().try_for_each(|key| refuse_any(&key.expr, schema, "ordered"))
}

/// An enum may equal a text or an enum of the same name; nothing else that is marked equals anything.
fn check_equality(left: &Expr, right: &Expr, schema: &DFSchema) -> DataFusionResult<()> {
    match (marked(left, schema), marked(right, schema)) {
        (None, None) => Ok(()),
        (Some((one, Comparison::Equality)), Some((other, Comparison::Equality))) if one == other => Ok(()),
        (Some((_, Comparison::Equality)), None) | (None, Some((_, Comparison::Equality))) => Ok(()),
        (Some((native, _)), _) => Err(refusal(left, &native, "compared")),
        (None, Some((native, _))) => Err(refusal(right, &native, "compared")),
    }
}

fn refuse_unequal(expr: &Expr, schema: &DFSchema, used: &str) -> DataFusionResult<()> {
    match marked(expr, schema) {
        Some((native, Comparison::None)) => Err(refusal(expr, &native, used)),
        Some((_, Comparison::Equality)) | None => Ok(()),
    }
}

fn refuse_any(expr: &Expr, schema: &DFSchema, used: &str) -> DataFusionResult<()> {
    marked(expr, schema).map_or(Ok(()), |(native, _)| Err(refusal(expr, &native, used)))
}

/// The mark of an expression. A literal has none, and neither has what cannot be typed yet.
fn marked(expr: &Expr, schema: &DFSchema) -> Option<(String, Comparison)> {
    if matches!(expr, Expr::Literal(..)) {
        return None;
    }
    let (_, field) = expr.to_field(schema).ok()?;
    mark::of(field.metadata()).map(|(native, comparison)| (native.to_string(), comparison))
}

fn refusal(expr: &Expr, native: &str, used: &str) -> datafusion::error::DataFusionError {
    let name = expr.schema_name();
    Error::fix(
        SqlState::TYPE,
        format!("{name} is of type {native}, which travels as text and cannot be {used} as text"),
    )
    .with_hint(format!(
        "cast it if its text is meant: CAST({name} AS TEXT); or let the source do it: query('catalog', 'SELECT ...')"
    ))
    .into()
}
