//! A dataset as DataFusion sees it: its provider, with the source it belongs to.

use crate::{Dataset, Federation, TableName};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_common::{Constraints, Result, Statistics};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{ScanArgs, ScanResult, Session, TableProvider};
use std::sync::Arc;

/// Wraps the provider of a dataset for the length of one query, so that the planner knows whose it is.
///
/// Everything is delegated; this type adds the name and the source's [`Federation`].
#[derive(Clone, Debug)]
pub struct SourceTable {
    name: TableName,
    dataset: Dataset,
    federation: Option<Arc<dyn Federation>>,
}

impl SourceTable {
    /// A dataset under its full name; `federation` is `None` for a source that takes no fragments, or with pushdown off.
    pub fn new(name: TableName, dataset: Dataset, federation: Option<Arc<dyn Federation>>) -> Self {
        Self { name, dataset, federation }
    }

    /// The full name.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// The described dataset.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// What takes over fragments over this table.
    pub fn federation(&self) -> Option<&Arc<dyn Federation>> {
        self.federation.as_ref()
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.dataset.provider.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.dataset.provider.constraints()
    }

    fn table_type(&self) -> TableType {
        self.dataset.provider.table_type()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.dataset.provider.get_column_default(column)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.dataset.provider.scan(session, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(&self, session: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        self.dataset.provider.scan_with_args(session, args).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.dataset.provider.supports_filters_pushdown(filters)
    }

    fn statistics(&self) -> Option<Statistics> {
        self.dataset.provider.statistics()
    }
}
