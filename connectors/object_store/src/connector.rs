//! The connector `object_store`: attaches folders and buckets.

use crate::options::{OPTIONS, Settings};
use crate::source::ObjectStoreSource;
use async_trait::async_trait;
use polder_catalog::{CatalogName, Connector, Error, OptionSpec, Options, Reach, Result, Source, SqlState};
use std::sync::Arc;

/// Folders of this machine and buckets of any S3 server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectStoreConnector;

#[async_trait]
impl Connector for ObjectStoreConnector {
    fn name(&self) -> &'static str {
        "object_store"
    }

    fn doc(&self) -> &'static str {
        "Parquet, CSV, NDJSON and Arrow IPC files in a local folder or a bucket of any server that speaks S3."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn reaches(&self, options: &Options) -> Result<Vec<Reach>> {
        let Settings { location, s3, .. } = Settings::new(options)?;
        let server = s3.endpoint.as_deref().map(|endpoint| {
            Reach::server(endpoint).ok_or_else(|| {
                Error::fix(SqlState::PARAMETER, "option \"endpoint\" names no server")
                    .with_hint("write endpoint = 'https://host:port'")
            })
        });
        std::iter::once(Ok(location.reach())).chain(server).collect()
    }

    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(ObjectStoreSource::new(name, Settings::new(&options)?)?))
    }
}
