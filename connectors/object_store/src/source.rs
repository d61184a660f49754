//! One attached folder or bucket.

use crate::cache::Caches;
use crate::check;
use crate::error::Place;
use crate::listing::{Levels, Lister};
use crate::options::Settings;
use crate::report;
use crate::store;
use crate::table::FilesTable;
use async_trait::async_trait;
use datafusion_execution::object_store::ObjectStoreUrl;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::TableProvider;
use object_store::ObjectStore;
use polder_catalog::{
    Capabilities, CatalogName, Check, Column, ColumnId, Dataset, DatasetEntry, DatasetId, DatasetKind, Error,
    ReadContext, Result, ScanReport, Source, Support,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Makes the URL of each attached catalog its own, so that two catalogs on one bucket never share credentials.
static ATTACHED: AtomicU64 = AtomicU64::new(1);

/// A folder or bucket under a name.
#[derive(Debug)]
pub(crate) struct ObjectStoreSource {
    place: Place,
    settings: Settings,
    root: object_store::path::Path,
    url: ObjectStoreUrl,
    store: OnceLock<Arc<dyn ObjectStore>>,
    caches: Arc<Caches>,
}

impl ObjectStoreSource {
    /// Attaches without I/O.
    pub(crate) fn new(name: &CatalogName, settings: Settings) -> Result<Self> {
        let place = Place { catalog: name.clone(), location: settings.location.clone() };
        let root = settings.location.root()?;
        let number = ATTACHED.fetch_add(1, Ordering::Relaxed);
        let url = ObjectStoreUrl::parse(format!("polder-{number}://objects")).map_err(Error::from_datafusion)?;
        Ok(Self { place, settings, root, url, store: OnceLock::new(), caches: Arc::new(Caches::new()?) })
    }

    /// The files, through a store that is made at the first use.
    pub(crate) fn lister(&self) -> Result<Lister> {
        let store = match self.store.get() {
            Some(store) => Arc::clone(store),
            None => {
                let opened = store::open(&self.place, &self.settings.s3)?;
                Arc::clone(self.store.get_or_init(|| opened))
            }
        };
        let (place, root, read) = (self.place.clone(), self.root.clone(), self.settings.read.clone());
        Ok(Lister { place, store, root, read, levels: Arc::default() })
    }

    #[cfg(test)]
    pub(crate) fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The provider of a table or pattern; `None` if there is none.
    pub(crate) async fn open(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<FilesTable>> {
        let levels = context.shared(&self.place.catalog, Levels::default);
        let lister = Lister { levels, ..self.lister()? };
        stoppable(context, async {
            let Some(files) = lister.table(schema, table).await? else { return Ok(None) };
            let (caches, url) = (Arc::clone(&self.caches), self.url.clone());
            FilesTable::open(lister, caches, context.clone(), url, files).await.map(Some)
        })
        .await
    }
}

/// Waits for work until the query is stopped.
async fn stoppable<T>(context: &ReadContext, work: impl Future<Output = Result<T>>) -> Result<T> {
    context.check()?;
    tokio::select! {
        biased;
        error = context.stopped() => Err(error),
        done = work => done,
    }
}

#[async_trait]
impl Source for ObjectStoreSource {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            projection: Support::Exact,
            filter: Support::Inexact,
            limit: Support::Inexact,
            ..Capabilities::NONE
        }
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        let lister = self.lister()?;
        stoppable(context, lister.schemas()).await
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        let lister = self.lister()?;
        let tables = stoppable(context, lister.tables(schema)).await?;
        Ok(tables.into_iter().map(|(name, id)| entry(name, id)).collect())
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        let Some(provider) = self.open(context, schema, table).await? else { return Ok(None) };
        let columns = columns(&provider);
        Ok(Some(Dataset {
            entry: entry(table.to_string(), provider.id().to_string()),
            columns,
            provider: Arc::new(provider),
        }))
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        let mut checks = check::settings(&self.place, &self.settings);
        match self.lister() {
            Ok(lister) => match stoppable(context, async { Ok(check::store(&lister).await) }).await {
                Ok(found) => checks.extend(found),
                Err(error) => checks.push(check::failed("reachable", &error)),
            },
            Err(error) => checks.push(check::failed("reachable", &error)),
        }
        checks
    }

    fn describe_scan(&self, catalog: &CatalogName, leaf: &dyn ExecutionPlan) -> Option<ScanReport> {
        report::describe(catalog, leaf)
    }
}

fn entry(name: String, id: String) -> DatasetEntry {
    DatasetEntry { id: DatasetId(id.into()), name, kind: DatasetKind::Files }
}

fn columns(table: &FilesTable) -> Vec<Column> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let is_partition = table.is_partition(field.name());
        Column {
            id: ColumnId(field.name().as_str().into()),
            field: Arc::clone(field),
            native_type: field.data_type().to_string(),
            note: Some(if is_partition {
                "from the names of the folders".to_string()
            } else {
                format!("from {} files", table.format())
            })
            .filter(|_| is_partition),
        }
    };
    table.schema().fields().iter().map(column).collect()
}
