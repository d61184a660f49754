//! One zero in lists of floats.
//!
//! `0` and `-0` are one value in SQL, and DataFusion's comparisons, joins and groups agree. Only the members of an `IN` list
//! are looked up by their bits, unless the list is short enough to be spelled out as comparisons: the same text would answer
//! in two ways. So what may be a zero is added to zero before it is looked up, which leaves every number as it is and
//! turns `-0` into `0`.
//!
//! Runs twice: last of the analyzer's rules, for lists that the optimizer folds, and after the optimizer, for lists that it
//! makes of comparisons.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, binary_expr};
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule. Runs after type coercion.
#[derive(Debug)]
pub(crate) struct Zeros;

impl AnalyzerRule for Zeros {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        one_zero(plan)
    }

    fn name(&self) -> &'static str {
        "zeros"
    }
}

/// The plan with every list of floats looked up by value.
pub(crate) fn one_zero(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(node)?.data)
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| in_list(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}

fn in_list(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::InList(InList { expr: operand, list, negated }) = expr else { return Ok(Transformed::no(expr)) };
    let zero = match operand.get_type(schema) {
        Ok(float) if float.is_floating() && list.iter().any(may_be_zero) && !is_sum_with_zero(&operand) => {
            ScalarValue::new_zero(&float)?
        }
        _ => return Ok(Transformed::no(Expr::InList(InList { expr: operand, list, negated }))),
    };
    let one_zero = |expr: Expr| match &expr {
        Expr::Literal(value, _) if is_zero(value) => Expr::Literal(zero.clone(), None),
        Expr::Literal(..) => expr,
        _ => binary_expr(expr, Operator::Plus, Expr::Literal(zero.clone(), None)),
    };
    let list = list.into_iter().map(one_zero).collect();
    Ok(Transformed::yes(Expr::InList(InList { expr: Box::new(one_zero(*operand)), list, negated })))
}

fn may_be_zero(item: &Expr) -> bool {
    match item {
        Expr::Literal(value, _) => is_zero(value),
        _ => true,
    }
}

/// What this rule made of an operand before.
fn is_sum_with_zero(operand: &Expr) -> bool {
    match operand {
        Expr::BinaryExpr(BinaryExpr { op: Operator::Plus, right, .. }) => {
            matches!(right.as_ref(), Expr::Literal(value, _) if is_zero(value))
        }
        _ => false,
    }
}

fn is_zero(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float16(Some(value)) => value.to_f32() == 0.0,
        ScalarValue::Float32(Some(value)) => *value == 0.0,
        ScalarValue::Float64(Some(value)) => *value == 0.0,
        _ => false,
    }
}
