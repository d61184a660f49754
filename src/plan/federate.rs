//! Hands the largest fragments of a plan to the sources that can evaluate them whole.
//!
//! Runs after DataFusion's own rules, so filters, projections and limits have already moved as far down as they go. A
//! fragment is a subtree whose tables all belong to one catalog. From the top down, each is offered to its source's
//! [`Federation`]: what is taken becomes one scan, what is declined is remembered with its reason, and the search goes on
//! below.
//!
//! A taken Sort with a LIMIT stays in the plan above its scan: the source reduces the rows, the final order is made here.

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DataFusionResult, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Sort};
use polder_catalog::{CatalogName, Error, Federation, Pushed, Reason, Result, SourceTable};
use std::sync::Arc;

/// Why fragments stayed here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declined(Vec<(CatalogName, Operator, Reason)>);

/// The operators that EXPLAIN gives reasons for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Filter,
    Projection,
    Aggregate,
    Join,
    Sort,
    Limit,
    Window,
    Union,
}

impl Declined {
    /// Why a catalog would not take an operator, if it was asked.
    pub(crate) fn reason(&self, catalog: &CatalogName, operator: Operator) -> Option<&Reason> {
        self.0.iter().find(|(name, kind, _)| name == catalog && *kind == operator).map(|(_, _, reason)| reason)
    }
}

/// Replaces what sources take by scans.
pub(crate) fn push(plan: LogicalPlan) -> Result<(LogicalPlan, Declined)> {
    let mut declined = Declined::default();
    let pushed = push_down(plan, &mut declined).map_err(Error::from_datafusion)?;
    Ok((pushed.data, declined))
}

fn push_down(plan: LogicalPlan, declined: &mut Declined) -> DataFusionResult<Transformed<LogicalPlan>> {
    if let Some(operator) = operator(&plan)
        && reduces_or_combines(&plan)?
        && let Some((catalog, federation)) = single_federation(&plan)?
    {
        match federation.push(&plan)? {
            Pushed::Whole(provider) => return Ok(Transformed::yes(replace(plan, &catalog, provider)?)),
            Pushed::Declined(reason) => declined.0.push((catalog, operator, reason)),
        }
    }
    let plan = plan.map_subqueries(|subquery| push_down(subquery, declined))?;
    let below = plan.data.map_children(|child| push_down(child, declined))?;
    Ok(if plan.transformed { Transformed::yes(below.data) } else { below })
}

fn operator(plan: &LogicalPlan) -> Option<Operator> {
    match plan {
        LogicalPlan::Filter(_) => Some(Operator::Filter),
        LogicalPlan::Projection(_) => Some(Operator::Projection),
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => Some(Operator::Aggregate),
        LogicalPlan::Join(_) => Some(Operator::Join),
        LogicalPlan::Sort(_) => Some(Operator::Sort),
        LogicalPlan::Limit(_) => Some(Operator::Limit),
        LogicalPlan::Window(_) => Some(Operator::Window),
        LogicalPlan::Union(_) => Some(Operator::Union),
        _ => None,
    }
}

/// A fragment without one of these is what a table's own scan does already.
fn reduces_or_combines(plan: &LogicalPlan) -> DataFusionResult<bool> {
    plan.exists(|node| {
        Ok(match node {
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Join(_) => true,
            LogicalPlan::Sort(Sort { fetch, .. }) => fetch.is_some(),
            _ => false,
        })
    })
}

/// The source of all tables below, if there is just one and it takes fragments.
fn single_federation(plan: &LogicalPlan) -> DataFusionResult<Option<(CatalogName, Arc<dyn Federation>)>> {
    let mut found: Option<(CatalogName, Arc<dyn Federation>)> = None;
    let mut single = true;
    plan.apply_with_subqueries(|node| {
        let (owner, is_leaf) = match node {
            LogicalPlan::TableScan(scan) => (owner(&source_as_provider(&scan.source)?), true),
            other => (None, other.inputs().is_empty()),
        };
        match (owner, &found) {
            (None, _) if !is_leaf => {}
            (None, _) => single = false,
            (Some(owner), None) => found = Some(owner),
            (Some(owner), Some(first)) => single &= owner.0 == first.0,
        }
        Ok(if single { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(found.filter(|_| single))
}

fn owner(provider: &Arc<dyn TableProvider>) -> Option<(CatalogName, Arc<dyn Federation>)> {
    let table = provider.downcast_ref::<SourceTable>()?;
    Some((table.name().catalog.clone(), Arc::clone(table.federation()?)))
}

/// One scan in place of the fragment, with the fragment's own column names.
fn replace(
    plan: LogicalPlan,
    catalog: &CatalogName,
    provider: Arc<dyn TableProvider>,
) -> DataFusionResult<LogicalPlan> {
    let name = TableReference::bare(format!("{catalog} (pushed)"));
    let columns = provider.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let scan = LogicalPlanBuilder::scan(name.clone(), provider_as_source(provider), None)?;
    let renamed = plan.schema().iter().zip(columns).map(|((qualifier, field), column)| {
        let column = Expr::Column(datafusion::common::Column::new(Some(name.clone()), column));
        column.alias_qualified(qualifier.cloned(), field.name())
    });
    let scan = scan.project(renamed.collect::<Vec<_>>())?.build()?;
    match plan {
        LogicalPlan::Sort(sort) => Ok(LogicalPlan::Sort(Sort { input: Arc::new(scan), ..sort })),
        _ => Ok(scan),
    }
}
