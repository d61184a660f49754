//! EXPLAIN: what each source is asked, and for everything kept here, why.
//!
//! The tree is the physical plan that runs, without the operators that only move batches between threads or rename columns
//! (VERBOSE shows those too). Under each scan stands the exact request; beside each operator over one source's rows, the reason why the
//! source does not do it.

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
use polder_catalog::{Capabilities, CatalogName, Reason, ReasonCode, Source, Support};
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
        self.node(&self.planned.physical, 0, false, &mut lines);
        if let Some(elapsed) = self.ran {
            lines.push(format!("Total time: {}", milliseconds(elapsed)));
        }
        if self.verbose {
            lines.push("Logical plan:".to_string());
            lines.extend(self.planned.logical.display_indent().to_string().lines().map(|line| format!("  {line}")));
        }
        lines
    }

    fn node(&self, plan: &Arc<dyn ExecutionPlan>, depth: usize, joined: bool, lines: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        if let Some((name, source)) = self.owner(plan) {
            self.scan(plan, name, source, &indent, joined, lines);
            return;
        }
        let joined = joined || plan.is::<HashJoinExec>();
        let is_plumbing = PLUMBING.contains(&plan.name()) || only_renames(plan);
        if !is_plumbing || self.verbose {
            lines.push(format!("{indent}{}{}", self.head(plan), self.local_metrics(plan)));
            if let Some(reason) = self.reason(plan) {
                lines.push(format!("{indent}    local: {reason}"));
            }
        }
        let depth = if is_plumbing && !self.verbose { depth } else { depth + 1 };
        plan.children().into_iter().for_each(|child| self.node(child, depth, joined, lines));
    }

    fn head(&self, plan: &Arc<dyn ExecutionPlan>) -> String {
        struct Head<'a>(&'a dyn ExecutionPlan);
        impl std::fmt::Display for Head<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt_as(DisplayFormatType::Default, f)
            }
        }
        Head(plan.as_ref()).to_string()
    }

    fn scan(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        name: &CatalogName,
        source: &Arc<dyn Source>,
        indent: &str,
        joined: bool,
        lines: &mut Vec<String>,
    ) {
        let Some(report) = source.describe_scan(name, plan.as_ref()) else { return };
        lines.push(format!("{indent}Scan {name}{}", self.scan_metrics(plan)));
        lines.extend(report.request.lines().map(|line| format!("{indent}    sends: {line}")));
        if self.in_transaction && !report.is_noted {
            lines.push(format!("{indent}    read live: COMMIT does not check whether it still holds"));
        }
        // A Top-N fills in such a filter too, but not before this scan has been asked for its rows.
        if joined && report.keys.is_empty() && !report.runtime_columns.is_empty() {
            let columns = report.runtime_columns.join(", ");
            lines.push(format!("{indent}    keys: {columns}, asked for once the join above knows them"));
        }
        lines.extend(report.keys.iter().map(|keys| format!("{indent}    keys: {keys}")));
        for kept in report.kept_local {
            let expression = if kept.expression.is_empty() { String::new() } else { format!(" {}", kept.expression) };
            lines.push(format!("{indent}    local {}{expression}: {}", kept.what, kept.reason));
        }
    }

    fn scan_metrics(&self, plan: &Arc<dyn ExecutionPlan>) -> String {
        if self.ran.is_none() {
            return String::new();
        }
        let (rows, bytes) = rows_and_bytes(plan.as_ref());
        format!("  (rows={rows}, bytes={bytes}{})", span(plan).map(|time| format!(", time={time}")).unwrap_or_default())
    }

    fn local_metrics(&self, plan: &Arc<dyn ExecutionPlan>) -> String {
        let Some(metrics) = plan.metrics().filter(|_| self.ran.is_some()) else { return String::new() };
        let rows = metrics.output_rows().map(|rows| format!("rows={rows}"));
        let compute = metrics.elapsed_compute().map(|nanoseconds| Duration::from_nanos(nanoseconds as u64));
        let compute = compute.map(|time| format!("compute={}", milliseconds(time)));
        let parts: Vec<_> = rows.into_iter().chain(compute).collect();
        if parts.is_empty() { String::new() } else { format!("  ({})", parts.join(", ")) }
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

/// From the first to the last row of a scan, over all its partitions.
fn span(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
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
    let elapsed = (end? - start?).to_std().ok()?;
    Some(milliseconds(elapsed))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1_000.0)
}
