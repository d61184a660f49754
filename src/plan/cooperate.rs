//! Lets a query that multiplies rows be cancelled.
//!
//! DataFusion makes scans give way to other tasks now and then. A join of a million by a million rows polls its scans
//! a few times and then computes for hours without ever giving way, so nobody hears that the user gave up. Behind each join
//! stands a node that counts its batches against the task's budget.

use crate::plan::explain::is_join;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use std::sync::Arc;

/// Puts a yielding node above every join.
pub(crate) fn cooperate(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        Ok(if is_join(&node) {
            Transformed::yes(Arc::new(CooperativeExec::new(node)) as _)
        } else {
            Transformed::no(node)
        })
    })?;
    Ok(wrapped.data)
}
