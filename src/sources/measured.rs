//! A source with its health: each call that asks the system is counted, timed and, while the source rests, refused.

use crate::sources::Health;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::ExecutionPlan;
use polder_catalog::{
    Capabilities, CatalogName, Changes, Check, CheckState, Dataset, DatasetEntry, Error, Federation, PassThrough,
    ReadContext, Result, ScanReport, Source, SqlState, Writer,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument;

/// Around a source. Scans are measured where they run, by the observer of their context.
#[derive(Debug)]
pub(crate) struct Measured {
    name: CatalogName,
    inner: Arc<dyn Source>,
    health: Arc<Health>,
}

impl Measured {
    pub(crate) fn new(name: CatalogName, inner: Arc<dyn Source>, health: Arc<Health>) -> Self {
        Self { name, inner, health }
    }
}

/// Asks a source for something.
async fn ask<T>(
    health: &Health,
    name: &CatalogName,
    context: &ReadContext,
    what: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let _admitted = health.admit()?;
    let given_up = health.opened();
    health.asked();
    let started = Instant::now();
    let span = tracing::debug_span!("request", source = %name, query = %context.query(), what);
    let answer = tokio::select! {
        biased;
        answer = work.instrument(span) => answer,
        error = given_up => return Err(error),
    };
    note(health, started.elapsed(), answer.as_ref().err());
    answer
}

/// That its user gave up, or had no more time, is no fault of the source.
fn note(health: &Health, took: Duration, error: Option<&Error>) {
    match error {
        None => health.answered(took),
        Some(error) if error.state() == SqlState::CANCELLED => {}
        Some(error) => health.failed(error),
    }
}

#[async_trait]
impl Source for Measured {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        ask(&self.health, &self.name, context, "schemas", self.inner.schemas(context)).await
    }

    fn default_schema(&self) -> &str {
        self.inner.default_schema()
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        ask(&self.health, &self.name, context, "datasets", self.inner.datasets(context, schema)).await
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        ask(&self.health, &self.name, context, "dataset", self.inner.dataset(context, schema, table)).await
    }

    /// Whoever asks how a source is wants to know now, also while it rests.
    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        let checks = self.inner.check(context).await;
        if !checks.is_empty() && checks.iter().all(|check| check.state != CheckState::Failed) {
            self.health.reached();
        }
        checks
    }

    fn describe_scan(&self, catalog: &CatalogName, leaf: &dyn ExecutionPlan) -> Option<ScanReport> {
        self.inner.describe_scan(catalog, leaf)
    }

    fn federation(&self) -> Option<Arc<dyn Federation>> {
        self.inner.federation()
    }

    fn pass_through(&self) -> Option<Arc<dyn PassThrough>> {
        let inner = self.inner.pass_through()?;
        let (name, health) = (self.name.clone(), Arc::clone(&self.health));
        Some(Arc::new(MeasuredPassThrough { name, inner, health }))
    }

    fn changes(&self) -> Option<Arc<dyn Changes>> {
        self.inner.changes()
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        self.inner.writer()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[derive(Debug)]
struct MeasuredPassThrough {
    name: CatalogName,
    inner: Arc<dyn PassThrough>,
    health: Arc<Health>,
}

#[async_trait]
impl PassThrough for MeasuredPassThrough {
    async fn query(&self, context: &ReadContext, text: &str) -> Result<Arc<dyn TableProvider>> {
        ask(&self.health, &self.name, context, "query", self.inner.query(context, text)).await
    }
}
