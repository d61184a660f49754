//! The [`Federation`] of a database: offers fragments to the compiler, and scans what it makes of them.

use super::block::Block;
use super::{Compiler, Leaves};
use crate::narrow::Narrowing;
use crate::pool::Pool;
use crate::provider::PgTable;
use crate::pushdown::ast::{Name, Query};
use crate::pushdown::{print, reason, sendable};
use crate::scan::{ScanRequest, scan_query};
use crate::table::{PgOutput, PgRelation};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion_catalog::default_table_source::source_as_provider;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Result as DataFusionResult, project_schema};
use datafusion_expr::{Expr, LogicalPlan, TableScan, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{Federation, Pushed, ReadContext, Reason, Result, SourceTable};
use std::sync::Arc;

/// Takes over fragments whose tables are all of one database.
#[derive(Debug)]
pub(crate) struct PgFederation {
    pool: Arc<Pool>,
}

impl PgFederation {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    fn compile(&self, plan: &LogicalPlan, context: &ReadContext) -> Result<FragmentTable, Reason> {
        if !context.pushdown() {
            return Err(Reason::off());
        }
        if sorts_below(plan) {
            return Err(reason::semantics("the order of the rows is made here, above what the source returns"));
        }
        let block = Compiler::new(&ProviderLeaves).compile(plan, false)?;
        let fields: Vec<FieldRef> = plan.schema().fields().iter().cloned().collect();
        let (query, outputs) = block.finish(&fields)?;
        first_table(plan, |table| sendable(&query, table.relation())).unwrap_or(Ok(()))?;
        let is_utf8 = first_table(plan, |table| table.relation().is_utf8).unwrap_or(true);
        let fields_of = |output: &PgOutput| Arc::clone(&output.field);
        Ok(FragmentTable {
            pool: Arc::clone(&self.pool),
            context: context.clone(),
            schema: Arc::new(Schema::new(outputs.iter().map(fields_of).collect::<Vec<_>>())),
            query,
            outputs,
            narrowing: narrowing(block, &fields, is_utf8)?,
        })
    }
}

impl Federation for PgFederation {
    fn push(&self, fragment: &LogicalPlan) -> Result<Pushed> {
        let Some(context) = first_table(fragment, |table| table.context().clone()) else {
            return Ok(Pushed::Declined(reason::lacks("the fragment reads no table of the source")));
        };
        Ok(match self.compile(fragment, &context) {
            Ok(table) => Pushed::Whole(Arc::new(table)),
            Err(reason) => Pushed::Declined(reason),
        })
    }
}

/// The fragment as a query that still takes conditions: on what it returns, not on what it is made of.
fn narrowing(block: Block, fields: &[FieldRef], is_utf8: bool) -> Result<Narrowing, Reason> {
    let block = if block.is_closed() { block.nested(Name::table(0)) } else { block };
    let (whole, _) = block.finish(fields)?;
    let columns = fields.iter().zip(&block.values).map(|(field, value)| (field.name().clone(), value.typed().ok()));
    Ok(Narrowing { whole, shares: Vec::new(), columns: columns.collect(), is_utf8 })
}

/// Whether a Top-N below the top would give the fragment an order, which a scan does not keep. The planner then offers
/// the Sort by itself, and keeps it above.
fn sorts_below(plan: &LogicalPlan) -> bool {
    let mut current = plan;
    loop {
        current = match current {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Limit(limit) => &limit.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            _ => return false,
        };
        if matches!(current, LogicalPlan::Sort(_)) {
            return true;
        }
    }
}

/// Asks the first table of the plan what all of them know: the query's context, the database.
fn first_table<T>(plan: &LogicalPlan, ask: impl Fn(&PgTable) -> T) -> Option<T> {
    let mut answer = None;
    let visited = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            answer = with_table(scan, &ask);
        }
        Ok(if answer.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.ok().and(answer)
}

/// Calls `use_table` with the relation's provider behind a leaf; `None` if the leaf is another's.
fn with_table<T>(scan: &TableScan, use_table: impl FnOnce(&PgTable) -> T) -> Option<T> {
    let provider = source_as_provider(&scan.source).ok()?;
    let table = provider.downcast_ref::<SourceTable>()?;
    table.dataset().provider.downcast_ref::<PgTable>().map(use_table)
}

/// Leaves are the tables of the catalog.
struct ProviderLeaves;

impl Leaves for ProviderLeaves {
    fn relation(&self, scan: &TableScan) -> Result<Arc<PgRelation>, Reason> {
        with_table(scan, |table| Arc::clone(table.relation()))
            .ok_or_else(|| reason::lacks(format!("{} is no table of the source", scan.table_name)))
    }
}

/// The rows of a pushed fragment.
#[derive(Debug)]
struct FragmentTable {
    pool: Arc<Pool>,
    context: ReadContext,
    query: Query,
    outputs: Vec<PgOutput>,
    schema: SchemaRef,
    narrowing: Narrowing,
}

impl FragmentTable {
    /// The query for some of its columns.
    fn query(&self, wanted: &[usize], limit: Option<usize>) -> Query {
        let mut query = self.query.clone();
        query.select(wanted);
        if let Some(limit) = limit.map(|limit| limit as u64) {
            query.limit = Some(query.limit.map_or(limit, |own| own.min(limit)));
        }
        query
    }
}

#[async_trait]
impl TableProvider for FragmentTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        // Checks the indices.
        project_schema(&self.schema, projection)?;
        let all: Vec<usize> = (0..self.outputs.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let outputs = wanted.iter().map(|index| self.outputs[*index].clone()).collect();
        let select = print(&self.query(wanted, limit));
        // A limit cuts the rows first: which of them are wanted says nothing about the others.
        let narrowing = limit.is_none().then(|| Arc::new(self.narrowing.select_columns(wanted)));
        let request = ScanRequest { narrowing, ..ScanRequest::query(select, outputs) };
        Ok(scan_query(&self.pool, &self.context, request))
    }
}
