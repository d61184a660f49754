//! Promises of [`Federation`](crate::Federation), and the small planner that offers fragments to it.

use super::Verdict;
use super::rows::Rows;
use super::world::{Step, World, ensure, kept, not_applicable, not_shown, oracle, plan, run};
use crate::{Federation, Pushed, SourceTable};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use std::sync::Arc;

/// Offers each fragment, the largest first, to the source that owns all of its leaves: what the engine's planner does, for
/// tests of a connector.
///
/// # Errors
/// The source's, and DataFusion's.
pub fn push(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_down(|fragment| Ok(offer(fragment)?.0))?.data)
}

/// A fragment after the offer, and why it was declined.
fn offer(fragment: LogicalPlan) -> Result<(Transformed<LogicalPlan>, Option<String>)> {
    if matches!(fragment, LogicalPlan::TableScan(_)) {
        return Ok((Transformed::no(fragment), None));
    }
    let Some(federation) = owner(&fragment)? else {
        return Ok((Transformed::no(fragment), None));
    };
    match federation.push(&fragment)? {
        Pushed::Declined(reason) => Ok((Transformed::no(fragment), Some(reason.to_string()))),
        Pushed::Whole(provider) => {
            let names = fragment.schema().columns();
            let restore = |(at, name): (usize, Column)| {
                Expr::Column(Column::from_name(format!("c{at}"))).alias_qualified(name.relation, name.name)
            };
            let scan = LogicalPlanBuilder::scan("pushed", provider_as_source(provider), None)?;
            let mut plan = scan.project(names.into_iter().enumerate().map(restore))?;
            if let LogicalPlan::Sort(sort) = &fragment {
                plan = plan.sort_with_limit(sort.expr.clone(), sort.fetch)?;
            }
            Ok((Transformed::new(plan.build()?, true, TreeNodeRecursion::Jump), None))
        }
    }
}

/// The federation that all leaves of a fragment share.
fn owner(fragment: &LogicalPlan) -> Result<Option<Arc<dyn Federation>>> {
    let mut owner = None;
    let mut all = true;
    fragment.apply(|node| {
        if node.inputs().is_empty() {
            let table = match node {
                LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).ok(),
                _ => None,
            };
            let table = table.as_ref().and_then(|provider| provider.downcast_ref::<SourceTable>());
            match table.and_then(SourceTable::federation) {
                Some(federation) => owner = Some(Arc::clone(federation)),
                None => all = false,
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(owner.filter(|_| all))
}

/// Queries whose tops a source may take over.
const QUERIES: [&str; 8] = [
    "SELECT count(*) AS n, count(name) AS named, min(id) AS low, max(id) AS high FROM conf_people",
    "SELECT name, count(*) AS n, min(score) AS low FROM conf_people GROUP BY name",
    "SELECT name, count(*) AS n FROM conf_people WHERE score > 3 GROUP BY name HAVING count(*) > 2",
    "SELECT id, name FROM conf_people ORDER BY id DESC LIMIT 7",
    "SELECT id, score FROM conf_people WHERE name IS NOT NULL ORDER BY score NULLS FIRST, id LIMIT 9",
    "SELECT a.id, b.id, a.name FROM conf_people a JOIN conf_people b ON a.id = b.score WHERE b.id < 40",
    "SELECT a.id, b.name FROM conf_people a LEFT JOIN conf_people b ON a.score = b.id",
    "SELECT DISTINCT score FROM conf_people",
];

pub(super) async fn federation_1_takes_fragments_without_asking_the_source(world: &World<'_>) -> Verdict {
    if world.source().federation().is_none() {
        return not_applicable("the source takes no fragments");
    }
    world.create_people("conf_people", 60).await?;
    let context = world.context();
    let session = world.session(&context, &["conf_people"]).await?;
    let Some(before) = world.subject.sent_requests().await else {
        return not_shown("the subject does not count requests");
    };
    for query in QUERIES {
        let frame = session.sql(query).await.step(query)?;
        let (state, logical) = frame.into_parts();
        push(state.optimize(&logical).step(query)?).step(query)?;
    }
    let after = world.subject.sent_requests().await.unwrap_or(before);
    ensure!(after == before, "offering fragments sent {} requests", after - before);
    kept()
}

pub(super) async fn federation_2_same_rows_and_columns(world: &World<'_>) -> Verdict {
    if world.source().federation().is_none() {
        return not_applicable("the source takes no fragments");
    }
    world.create_people("conf_people", 60).await?;
    let stored = world.rows("conf_people").await?;
    for query in QUERIES {
        let context = world.context();
        let session = world.session(&context, &["conf_people"]).await?;
        let frame = session.sql(query).await.step(query)?;
        let schema: DFSchema = frame.schema().clone();
        let physical = plan(&session, frame.clone()).await.step(query)?;
        ensure!(
            physical.schema().fields().len() == schema.fields().len()
                && physical.schema().fields().iter().zip(schema.fields()).all(|(a, b)| a.data_type() == b.data_type()),
            "{query}: the columns are {:?}, expected {:?}",
            physical.schema(),
            schema.as_arrow()
        );
        let pushed = run(&session, frame).await.step(query)?;
        let oracle = oracle(&[("conf_people", &stored)])?;
        let local = run(&oracle, oracle.sql(query).await.step(query)?).await.step(query)?;
        if let Some(difference) = Rows::of(&pushed).difference(&Rows::of(&local)) {
            return Err(format!("{query}: pushed against local: {difference}"));
        }
    }
    kept()
}

pub(super) async fn federation_3_declines_with_a_reason(world: &World<'_>) -> Verdict {
    if world.source().federation().is_none() {
        return not_applicable("the source takes no fragments");
    }
    world.create_people("conf_people", 60).await?;
    let context = world.context();
    let session = world.session(&context, &["conf_people"]).await?;
    // Another result at each call: no source can take this over exactly.
    let query = "SELECT id FROM conf_people WHERE random() < 0.5 ORDER BY random() LIMIT 3";
    let (state, logical) = session.sql(query).await.step(query)?.into_parts();
    let (offered, reason) = offer(state.optimize(&logical).step(query)?).step(query)?;
    ensure!(!offered.transformed, "a volatile fragment was taken over: {query}");
    ensure!(reason.is_some_and(|reason| !reason.is_empty()), "a fragment was declined without a reason: {query}");
    kept()
}
