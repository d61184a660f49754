//! EXPLAIN: what each source is asked, and for everything kept here, why; as lines or as JSON.
//!
//! The tree is the physical plan that runs, without the operators that only move batches between threads or rename columns
//! (VERBOSE shows those too). Under each scan stands the exact request; beside each operator over one source's rows, the reason why the
//! source does not do it.

mod node;

use crate::plan::Planned;
use crate::plan::federate::Operator;
use crate::session::rows_and_bytes;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec, SymmetricHashJoinExec,
};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use node::{Document, KeptHere, Milliseconds, Node};
use polder_catalog::{Capabilities, CatalogName, Error, Reason, ReasonCode, Result, Source, Support};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Everything that an explanation is made of.
pub(crate) struct Explanation<'a> {
    pub(crate) planned: &'a Planned,
    pub(crate) sources: &'a [(CatalogName, Arc<dyn Source>)],
    pub(crate) verbose: bool,
    pub(crate) in_transaction: bool,
    /// How long the query took, if it was run.
    pub(crate) ran: Option<Duration>,
}

/// Operators that move batches between threads and change no row.
const PLUMBING: &[&str] = &[
    "RepartitionExec",
    "CoalescePartitionsExec",
    "CoalesceBatchesExec",
    "CooperativeExec",
    "SortPreservingMergeExec",
    "OutputRequirementExec",
    "BufferExec",
];

impl Explanation<'_> {
    /// The explanation, line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.nodes(&self.planned.physical, false).iter().for_each(|node| node.write_lines(0, &mut lines));
        if let Some(elapsed) = self.ran {
            lines.push(format!("Total time: {}", node::milliseconds(elapsed)));
        }
        if self.verbose {
            lines.push("Logical plan:".to_string());
            lines.extend(self.planned.logical.display_indent().to_string().lines().map(|line| format!("  {line}")));
        }
        lines
    }

    /// The explanation as a JSON document in the shape of PostgreSQL's.
    ///
    /// # Errors
    /// None that is known: JSON has all texts and numbers of a plan.
    pub(crate) fn json(&self) -> Result<String> {
        let logical = self.verbose.then(|| self.planned.logical.display_indent().to_string());
        let document = Document::new(self.nodes(&self.planned.physical, false), self.ran, logical);
        serde_json::to_string_pretty(&[document])
            .map_err(|error| Error::report("the plan cannot be written as JSON").with_detail(error.to_string()))
    }

    /// An operator with those below it; for one that is not shown, those below it alone.
    fn nodes(&self, plan: &Arc<dyn ExecutionPlan>, joined: bool) -> Vec<Node> {
        if let Some((name, source)) = self.owner(plan) {
            return self.scan(plan, name, source, joined).into_iter().collect();
        }
        let joined = joined || plan.is::<HashJoinExec>();
        let below = plan.children().into_iter().flat_map(|child| self.nodes(child, joined)).collect();
        let is_plumbing = PLUMBING.contains(&plan.name()) || only_renames(plan);
        if is_plumbing && !self.verbose {
            return below;
        }
        let metrics = plan.metrics().filter(|_| self.ran.is_some());
        let rows = metrics.as_ref().and_then(|metrics| metrics.output_rows()).map(|rows| rows as u64);
        let compute = metrics.and_then(|metrics| metrics.elapsed_compute());
        vec![Node {
            kind: plan.name().trim_end_matches("Exec").to_string(),
            detail: Some(head(plan)),
            local: self.reason(plan).map(|reason| reason.to_string()),
            rows,
            compute: compute.map(|nanoseconds| Milliseconds(Duration::from_nanos(nanoseconds as u64))),
            below,
            ..Node::default()
        }]
    }

    fn scan(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        name: &CatalogName,
        source: &Arc<dyn Source>,
        joined: bool,
    ) -> Option<Node> {
        let report = source.describe_scan(name, plan.as_ref())?;
        // A Top-N fills in such a filter too, but not before this scan has been asked for its rows.
        let awaited = if joined && report.keys.is_empty() { report.runtime_columns } else { Vec::new() };
        let received = self.ran.map(|_| rows_and_bytes(plan.as_ref()));
        let kept = report.kept_local.into_iter().map(|kept| KeptHere {
            what: kept.what.to_string(),
            expression: kept.expression,
            reason: kept.reason.to_string(),
        });
        Some(Node {
            kind: "Scan".to_string(),
            catalog: Some(name.to_string()),
            request: Some(report.request),
            is_live: self.in_transaction && !report.is_noted,
            awaited,
            keys: report.keys,
            kept: kept.collect(),
            rows: received.map(|(rows, _)| rows),
            bytes: received.map(|(_, bytes)| bytes),
            time: self.ran.and_then(|_| span(plan)).map(Milliseconds),
            ..Node::default()
        })
    }

    fn owner(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<(&CatalogName, &Arc<dyn Source>)> {
        if !plan.children().is_empty() {
            return None;
        }
        let mut sources = self.sources.iter();
        sources
            .find(|(name, source)| source.describe_scan(name, plan.as_ref()).is_some())
            .map(|(name, source)| (name, source))
    }

    /// Why an operator over the rows of sources runs here.
    fn reason(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<Reason> {
        let operator = operator(plan)?;
        let below = self.catalogs_below(plan);
        let (first, others) = below.split_first()?;
        if !others.is_empty() {
            let names = below.iter().map(CatalogName::as_str).collect::<Vec<_>>().join(" and ");
            return Some(Reason::new(ReasonCode::SeveralSources, format!("its rows come from {names}")));
        }
        if !self.planned.pushdown {
            return Some(Reason::off());
        }
        if let Some(reason) = self.planned.declined.reason(first, operator) {
            return Some(reason.clone());
        }
        let source = self.sources.iter().find(|(name, _)| name == first).map(|(_, source)| source)?;
        Some(lacking(first, source.capabilities(), operator).unwrap_or_else(|| finishing(operator)))
    }

    fn catalogs_below(&self, plan: &Arc<dyn ExecutionPlan>) -> Vec<CatalogName> {
        let mut found = BTreeSet::new();
        self.collect_catalogs(plan, &mut found);
        found.into_iter().collect()
    }

    fn collect_catalogs(&self, plan: &Arc<dyn ExecutionPlan>, found: &mut BTreeSet<CatalogName>) {
        if let Some((name, _)) = self.owner(plan) {
            found.insert(name.clone());
        }
        plan.children().into_iter().for_each(|child| self.collect_catalogs(child, found));
    }
}

/// Whether a node joins two inputs.
pub(crate) fn is_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<HashJoinExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.is::<SymmetricHashJoinExec>()
}

fn operator(plan: &Arc<dyn ExecutionPlan>) -> Option<Operator> {
    if is_join(plan) {
        Some(Operator::Join)
    } else if plan.is::<FilterExec>() {
        Some(Operator::Filter)
    } else if plan.is::<AggregateExec>() {
        Some(Operator::Aggregate)
    } else if plan.is::<SortExec>() {
        Some(Operator::Sort)
    } else if plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>() {
        Some(Operator::Limit)
    } else if plan.is::<WindowAggExec>() || plan.is::<BoundedWindowAggExec>() {
        Some(Operator::Window)
    } else if plan.is::<UnionExec>() {
        Some(Operator::Union)
    } else if plan.is::<ProjectionExec>() {
        Some(Operator::Projection)
    } else {
        None
    }
}

/// What the source does not do at all.
fn lacking(catalog: &CatalogName, can: Capabilities, operator: Operator) -> Option<Reason> {
    let (support, what) = match operator {
        Operator::Filter => (can.filter, "filter"),
        Operator::Projection => (can.projection, "choose columns"),
        Operator::Aggregate => (can.aggregate, "aggregate"),
        Operator::Join => (can.join, "join"),
        Operator::Sort => (can.top_n, "sort"),
        Operator::Limit => (can.limit, "limit"),
        Operator::Window => (Support::No, "evaluate windows"),
        Operator::Union => (Support::No, "unite"),
    };
    (support == Support::No).then(|| Reason::new(ReasonCode::SourceLacks, format!("{catalog} does not {what}")))
}

/// Why the rest stays although the source could: it finishes what the source began, or stands on what stayed here.
fn finishing(operator: Operator) -> Reason {
    match operator {
        Operator::Filter => Reason::new(ReasonCode::Input, "the scan below says why its filters stay"),
        Operator::Limit => {
            Reason::new(ReasonCode::Finishes, "each stream of the source stops early; the count is settled here")
        }
        Operator::Sort => Reason::new(ReasonCode::Finishes, "the order of the rows that the source sends is made here"),
        Operator::Projection => Reason::new(ReasonCode::Cost, "computing columns here moves no more rows"),
        Operator::Aggregate | Operator::Join | Operator::Window | Operator::Union => {
            Reason::new(ReasonCode::Input, "it stands on what is computed here")
        }
    }
}

/// A projection that computes nothing.
fn only_renames(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let projection = plan.downcast_ref::<ProjectionExec>();
    projection.is_some_and(|projection| projection.expr().iter().all(|item| item.expr.is::<Column>()))
}

/// What an operator says of itself.
fn head(plan: &Arc<dyn ExecutionPlan>) -> String {
    struct Head<'a>(&'a dyn ExecutionPlan);
    impl std::fmt::Display for Head<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.fmt_as(DisplayFormatType::Default, f)
        }
    }
    Head(plan.as_ref()).to_string()
}

/// From the first to the last row of a scan, over all its partitions.
fn span(plan: &Arc<dyn ExecutionPlan>) -> Option<Duration> {
    use datafusion::physical_plan::metrics::MetricValue;
    let metrics = plan.metrics()?;
    let mut start = None;
    let mut end = None;
    for metric in metrics.iter() {
        match metric.value() {
            MetricValue::StartTimestamp(at) => start = start.into_iter().chain(at.value()).min(),
            MetricValue::EndTimestamp(at) => end = end.into_iter().chain(at.value()).max(),
            _ => {}
        }
    }
    (end? - start?).to_std().ok()
}
