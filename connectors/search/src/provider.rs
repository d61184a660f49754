//! A table as DataFusion sees it: what it declares pushed, and the scan that it plans.

use crate::pushdown::{self, Condition};
use crate::scan::{SearchScan, Shape};
use crate::store::Table;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion_common::{Constraint, Constraints, Result, Statistics, project_schema};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use polder_catalog::{CatalogName, KeptLocal, ReadContext, Reason, ScanExec};
use std::sync::{Arc, Mutex, PoisonError};

/// One table at one entry, for the length of one query.
#[derive(Debug)]
pub(crate) struct SearchTable {
    catalog: CatalogName,
    context: ReadContext,
    table: Arc<Table>,
    constraints: Constraints,
    /// Filters that the optimizer offered and that stay local. It offers them before it plans the scan.
    kept_local: Mutex<Vec<KeptLocal>>,
}

impl SearchTable {
    pub(crate) fn new(catalog: CatalogName, context: ReadContext, table: Arc<Table>) -> Self {
        let key = table.layout.key_columns.clone();
        let constraint = (!key.is_empty()).then_some(Constraint::PrimaryKey(key));
        let constraints = Constraints::new_unverified(constraint.into_iter().collect());
        Self { catalog, context, table, constraints, kept_local: Mutex::default() }
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(crate) fn catalog(&self) -> &CatalogName {
        &self.catalog
    }

    pub(crate) fn context(&self) -> &ReadContext {
        &self.context
    }

    fn keep_local(&self, filter: &Expr, reason: Reason) {
        let kept = KeptLocal { what: "filter", expression: filter.to_string(), reason };
        let mut all = self.kept_local.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&kept) {
            all.push(kept);
        }
    }
}

#[async_trait]
impl TableProvider for SearchTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.layout.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// A value that the index knows by its hash is checked above. With pushdown off a `match` is `Inexact`: the rows are checked above, and the scan still learns what the score
    /// is of.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answers = filters.iter().map(|filter| match pushdown::filter(filter, &self.table.layout) {
            Ok(condition) if !self.context.pushdown() => {
                self.keep_local(filter, Reason::off());
                match condition.conjuncts().iter().any(|part| matches!(part, Condition::Match(_))) {
                    true => TableProviderFilterPushDown::Inexact,
                    false => TableProviderFilterPushDown::Unsupported,
                }
            }
            Ok(condition) if condition.is_hashed() => {
                self.keep_local(filter, pushdown::semantics("the index has only the hash of a value so long"));
                TableProviderFilterPushDown::Inexact
            }
            Ok(_) => TableProviderFilterPushDown::Exact,
            Err(reason) => {
                self.keep_local(filter, if self.context.pushdown() { reason } else { Reason::off() });
                TableProviderFilterPushDown::Unsupported
            }
        });
        Ok(answers.collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(crate::scan::statistics(&self.table, &self.schema(), &Condition::All, None))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Checks the indices.
        project_schema(&self.schema(), projection)?;
        let all: Vec<usize> = (0..self.table.layout.schema.fields().len()).collect();
        let output = projection.cloned().unwrap_or(all);
        let mut conditions = Vec::with_capacity(filters.len());
        for filter in filters {
            conditions.push(pushdown::filter(filter, &self.table.layout).map_err(|reason| {
                polder_catalog::Error::report(format!("a filter was pushed that cannot be: {reason}"))
            })?);
        }
        let condition = Condition::and(conditions);
        crate::suggest::notice(&self.table, &condition, &self.context);
        let pushdown = self.context.pushdown();
        let scan = SearchScan::new(
            self.catalog.clone(),
            Arc::clone(&self.table),
            output,
            if pushdown { condition.clone() } else { Condition::All },
            condition,
            Shape::Rows { limit: limit.filter(|_| pushdown) },
            self.kept_local.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            self.context.partitions(),
        );
        Ok(Arc::new(ScanExec::new(self.catalog.clone(), Arc::new(scan), self.context.clone())))
    }
}
