//! `ORDER BY _offset DESC LIMIT n`: the last rows of each shard, read from its end.
//!
//! Within a shard offsets differ and commit times never go back, so the first rows in the order of `_offset`, or of
//! `_timestamp` and then `_offset`, are among the first or last of each shard. The planner's Sort stays above and picks.

use crate::columns::{Hidden, Origin, TopicTable};
use crate::provider::TopicProvider;
use crate::pushdown::{Exactness, Selection};
use crate::records::Columns;
use crate::scan::{Newest, ScanRequest};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_catalog::default_table_source::source_as_provider;
use datafusion_common::{DFSchema, Result as DataFusionResult, project_schema};
use datafusion_expr::{Expr, LogicalPlan, Projection, Sort, SortExpr, TableScan, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{Federation, Pushed, Reason, ReasonCode, Result, SourceTable};
use std::sync::Arc;

/// Takes over Top-N fragments.
#[derive(Debug)]
pub(crate) struct TopicFederation;

impl Federation for TopicFederation {
    fn push(&self, fragment: &LogicalPlan) -> Result<Pushed> {
        let LogicalPlan::Sort(sort) = fragment else {
            return Ok(Pushed::Declined(lacks("a topic evaluates filters, limits and the newest rows alone")));
        };
        Ok(match top(sort) {
            Ok(table) => Pushed::Whole(Arc::new(table)),
            Err(reason) => Pushed::Declined(reason),
        })
    }
}

fn lacks(text: impl Into<String>) -> Reason {
    Reason::new(ReasonCode::SourceLacks, text)
}

fn top(sort: &Sort) -> Result<TopTable, Reason> {
    let rows = sort.fetch.ok_or_else(|| lacks("without a LIMIT all rows are read, and sorted here"))?;
    let leaf = Leaf::under(&sort.input)?;
    let table = leaf.provider()?;
    if table.is_latest() {
        return Err(lacks("which row is the newest of its key is found out first"));
    }
    let oldest = order(&sort.expr, &leaf)?;
    if leaf.scan.fetch.is_some() {
        return Err(lacks("a LIMIT stands below the ORDER BY"));
    }
    let mut selection = Selection::all(table.table());
    for filter in &leaf.scan.filters {
        if selection.narrow(table.table(), filter)? == Exactness::Inexact {
            return Err(lacks("the filter on the key is checked here, below the LIMIT"));
        }
    }
    let columns = leaf.columns(table.table())?;
    let columns = Columns::new(table.table(), &columns).renamed_as(sort.input.schema().as_arrow());
    let request = ScanRequest { newest: Some(Newest { rows, oldest }), ..table.request(columns.clone(), selection) };
    Ok(TopTable { provider: leaf.provider, columns, request })
}

/// A scan with projections of plain columns above it.
struct Leaf<'a> {
    scan: &'a TableScan,
    provider: Arc<dyn TableProvider>,
    projections: Vec<&'a Projection>,
}

impl<'a> Leaf<'a> {
    fn under(plan: &'a LogicalPlan) -> Result<Self, Reason> {
        let (mut plan, mut projections) = (plan, Vec::new());
        loop {
            plan = match plan {
                LogicalPlan::Projection(projection) => {
                    projections.push(projection);
                    &projection.input
                }
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::TableScan(scan) => {
                    let provider = source_as_provider(&scan.source).map_err(|error| lacks(error.to_string()))?;
                    return Ok(Self { scan, provider, projections });
                }
                other => return Err(lacks(format!("{} stands below the ORDER BY", word(other)))),
            };
        }
    }

    fn provider(&self) -> Result<&TopicProvider, Reason> {
        let table = self.provider.downcast_ref::<SourceTable>();
        let topic = table.and_then(|table| table.dataset().provider.downcast_ref::<TopicProvider>());
        topic.ok_or_else(|| lacks("the fragment reads no topic"))
    }

    /// The name that the topic has for an expression over the top of the leaf; `None` if it is no plain column.
    fn name(&self, expr: &Expr) -> Option<String> {
        let mut expr = expr.clone();
        for projection in &self.projections {
            expr = match plain(&expr)? {
                Expr::Column(column) => projection.expr.get(only_place(&projection.schema, &column.name)?)?.clone(),
                _ => return None,
            };
        }
        match plain(&expr)? {
            Expr::Column(column) => Some(column.name.clone()),
            _ => None,
        }
    }

    /// The places in the topic of the columns of the fragment, by name: what wraps the provider may show fewer.
    fn columns(&self, table: &TopicTable) -> Result<Vec<usize>, Reason> {
        let schema = match self.projections.first() {
            Some(projection) => &projection.schema,
            None => &self.scan.projected_schema,
        };
        let place = |column: datafusion_common::Column| {
            let name = self.name(&Expr::Column(column.clone()))?;
            table.schema.index_of(&name).ok()
        };
        let places = schema.columns().into_iter().map(|column| {
            let name = column.name.clone();
            place(column).ok_or_else(|| lacks(format!("\"{name}\" is computed below the ORDER BY")))
        });
        places.collect()
    }
}

/// The place of the one column of this name. An alias above qualifies it in another way.
fn only_place(schema: &DFSchema, name: &str) -> Option<usize> {
    let mut places = (0..schema.fields().len()).filter(|place| schema.field(*place).name() == name);
    let place = places.next()?;
    places.next().is_none().then_some(place)
}

/// An expression without its aliases.
fn plain(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        Expr::Column(_) => Some(expr),
        _ => None,
    }
}

fn word(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Filter(_) => "a filter that is checked here",
        LogicalPlan::Limit(_) => "a LIMIT",
        LogicalPlan::Aggregate(_) => "an aggregate",
        LogicalPlan::Join(_) => "a join",
        _ => "another operator",
    }
}

/// Whether the order starts at the oldest record; declined unless it is the order of the shards.
fn order(keys: &[SortExpr], leaf: &Leaf<'_>) -> Result<bool, Reason> {
    let table = leaf.provider()?.table();
    let origin = |key: &SortExpr| leaf.name(&key.expr).and_then(|name| table.named(&name));
    let is_time = |key: &SortExpr| origin(key) == Some(Origin::Hidden(Hidden::Timestamp));
    let is_offset = |key: &SortExpr| origin(key) == Some(Origin::Hidden(Hidden::Offset));
    match keys {
        [first, ..] if is_offset(first) => Ok(first.asc),
        [only] if is_time(only) => Ok(only.asc),
        [first, second, ..] if is_time(first) && is_offset(second) && first.asc == second.asc => Ok(first.asc),
        _ => Err(lacks("the order is not that of _offset")),
    }
}

/// The rows of a Top-N fragment, in no order.
#[derive(Debug)]
struct TopTable {
    provider: Arc<dyn TableProvider>,
    columns: Columns,
    request: ScanRequest,
}

#[async_trait]
impl TableProvider for TopTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        // The Sort above has its own: so many of these rows would not be the right ones.
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // Checks the indices.
        project_schema(&self.columns.schema, projection)?;
        let columns = match projection {
            Some(projection) => self.columns.project(&self.request.table, projection),
            None => self.columns.clone(),
        };
        let table = self.provider.downcast_ref::<SourceTable>();
        let table = table.and_then(|table| table.dataset().provider.downcast_ref::<TopicProvider>());
        let table = table.expect("the fragment was made of a topic");
        Ok(table.exec(ScanRequest { columns, ..self.request.clone() }))
    }
}
