//! A dataset as DataFusion sees it: its provider, with the source it belongs to.

use crate::{Dataset, Federation, TableName, mark};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion_common::{Constraints, Result, Statistics};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{ScanArgs, ScanResult, Session, TableProvider};
use std::sync::Arc;

/// Wraps the provider of a dataset for the length of one query, so that the planner knows whose it is.
///
/// Everything is delegated; this type adds the name and the source's [`Federation`], and leaves out the
/// [hidden](crate::mark::hidden) columns that the query does not name.
#[derive(Clone, Debug)]
pub struct SourceTable {
    name: TableName,
    dataset: Dataset,
    federation: Option<Arc<dyn Federation>>,
    takes_keys: bool,
    /// The columns that the query sees, by their places in the provider's schema.
    exposed: Vec<usize>,
    schema: SchemaRef,
}

impl SourceTable {
    /// A dataset under its full name; `federation` is `None` for a source that takes no fragments, or with pushdown off.
    pub fn new(name: TableName, dataset: Dataset, federation: Option<Arc<dyn Federation>>) -> Self {
        let schema = dataset.provider.schema();
        Self { name, dataset, federation, takes_keys: false, exposed: (0..schema.fields().len()).collect(), schema }
    }

    /// The same without the hidden columns, but for those that are `named`.
    #[must_use]
    pub fn hiding(self, named: impl Fn(&str) -> bool) -> Self {
        let all = self.dataset.provider.schema();
        let is_seen = |field: &Field| !mark::is_hidden(field.metadata()) || named(field.name());
        let exposed: Vec<_> = (0..all.fields().len()).filter(|at| is_seen(all.field(*at))).collect();
        let fields: Vec<_> = exposed.iter().map(|at| Arc::clone(&all.fields()[*at])).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, all.metadata().clone()));
        Self { exposed, schema, ..self }
    }

    /// The same, of a source that may be asked for the [keys](crate::Capabilities::keys) of a join.
    #[must_use]
    pub fn taking_keys(self, takes_keys: bool) -> Self {
        Self { takes_keys, ..self }
    }

    /// Whether its scan makes use of the keys of a join.
    pub fn takes_keys(&self) -> bool {
        self.takes_keys
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

    /// The hidden columns that the query sees.
    pub fn hidden_columns(&self) -> impl Iterator<Item = &str> {
        let hidden = self.schema.fields().iter().filter(|field| mark::is_hidden(field.metadata()));
        hidden.map(|field| field.name().as_str())
    }

    /// A projection of the columns seen as one of the provider's.
    fn project(&self, projection: Option<&[usize]>) -> Option<Vec<usize>> {
        let shows_all = self.exposed.len() == self.dataset.provider.schema().fields().len();
        match projection {
            Some(projection) => Some(projection.iter().map(|at| self.exposed[*at]).collect()),
            None if shows_all => None,
            None => Some(self.exposed.clone()),
        }
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
        let projection = self.project(projection.map(Vec::as_slice));
        self.dataset.provider.scan(session, projection.as_ref(), filters, limit).await
    }

    async fn scan_with_args<'a>(&self, session: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        let projection = self.project(args.projection());
        self.dataset.provider.scan_with_args(session, args.with_projection(projection.as_deref())).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.dataset.provider.supports_filters_pushdown(filters)
    }

    fn statistics(&self) -> Option<Statistics> {
        let statistics = self.dataset.provider.statistics()?;
        Some(statistics.project(self.project(None).as_ref()))
    }
}
