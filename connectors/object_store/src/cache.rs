//! What a catalog remembers between statements: never which files there are, only what is inside an unchanged file.
//!
//! DataFusion's caches are keyed by path and checked by size and time. They are one set per catalog, so two catalogs
//! never share a path, and an entry is dropped when the listing shows another version ([`Caches::forget_changed`]):
//! S3 tells times in whole seconds, and two writes of one size fit into one.

use arrow::datatypes::SchemaRef;
use datafusion_execution::cache::TableScopedPath;
use datafusion_execution::cache::cache_manager::{
    CacheManager, CacheManagerConfig, FileMetadataCache, FileStatisticsCache,
};
use object_store::ObjectMeta;
use object_store::path::Path;
use polder_catalog::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Footers, statistics and schemas of unchanged files.
#[derive(Debug)]
pub(crate) struct Caches {
    manager: Arc<CacheManager>,
    schemas: Mutex<HashMap<Path, (ObjectMeta, FileSchema)>>,
}

/// What was learned of one file's columns.
#[derive(Clone, Debug)]
pub(crate) struct FileSchema {
    pub(crate) schema: SchemaRef,
    pub(crate) layout: Layout,
}

/// How a file of a format is written, where its name does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Layout {
    /// As the format says.
    Plain,
    /// One JSON array instead of one object per line.
    JsonArray,
    /// Arrow's streaming format instead of its file format.
    ArrowStream,
    /// Nothing inside: no rows, and no columns to learn.
    Empty,
}

/// Schemas kept at most; when full, all are forgotten and learned again.
const SCHEMAS_MAX: usize = 20_000;

impl Caches {
    pub(crate) fn new() -> Result<Self> {
        // A listing is never cached: a new file is seen by the next statement.
        let config = CacheManagerConfig::default().with_list_files_cache_limit(0);
        let manager = CacheManager::try_new(&config).map_err(Error::from_datafusion)?;
        Ok(Self { manager, schemas: Mutex::default() })
    }

    /// Parquet footers.
    pub(crate) fn footers(&self) -> Arc<FileMetadataCache> {
        self.manager.get_file_metadata_cache()
    }

    /// Statistics of files under a table's schema.
    pub(crate) fn statistics(&self) -> Option<Arc<FileStatisticsCache>> {
        self.manager.get_file_statistic_cache()
    }

    /// The schema of a file, if it has not changed since.
    pub(crate) fn schema(&self, file: &ObjectMeta) -> Option<FileSchema> {
        let schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        schemas.get(&file.location).filter(|(known, _)| is_same(known, file)).map(|(_, schema)| schema.clone())
    }

    /// Remembers the schema of a file.
    pub(crate) fn remember(&self, file: &ObjectMeta, schema: FileSchema) {
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert(file.location.clone(), (file.clone(), schema));
    }

    /// Drops what is known of a file that the listing shows in another version.
    pub(crate) fn forget_changed(&self, file: &ObjectMeta) {
        let footers = self.footers();
        if footers.get(&file.location).is_some_and(|entry| !is_same(&entry.meta, file)) {
            footers.remove(&file.location);
        }
        if let Some(statistics) = self.statistics() {
            let key = TableScopedPath { table: None, path: file.location.clone() };
            if statistics.get(&key).is_some_and(|entry| !is_same(&entry.meta, file)) {
                statistics.remove(&key);
            }
        }
    }
}

fn is_same(known: &ObjectMeta, file: &ObjectMeta) -> bool {
    known.size == file.size && known.last_modified == file.last_modified && known.e_tag == file.e_tag
}
