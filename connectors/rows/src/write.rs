//! The apply verb: entries of the log, whole and once.

use crate::store::{Changes, Store};
use crate::table::Table;
use async_trait::async_trait;
use futures::TryStreamExt;
use polder_catalog::{Applied, CatalogName, DatasetDefinition, Entry, Kind, PartStream, Position, Result, Writer};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct RowsWriter {
    store: Arc<Store>,
}

impl RowsWriter {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Writer for RowsWriter {
    /// Nothing is touched before the last part is here, and then all at once without an await.
    async fn apply(&self, entry: Entry) -> Result<Applied> {
        if self.last_applied().await?.is_some_and(|last| last.includes(&entry.position)) {
            return Ok(Applied::Done);
        }
        let changes = gather(entry.parts).await?;
        match self.store.apply(entry.position, entry.definitions, &changes) {
            Ok(()) => Ok(Applied::Done),
            Err(error) if error.kind() == Kind::Fix => Ok(Applied::Refused { reason: error.to_string() }),
            Err(error) => Err(error),
        }
    }

    async fn last_applied(&self) -> Result<Option<Position>> {
        Ok(self.store.shown().last_applied.clone())
    }

    fn check_definition(&self, definition: &DatasetDefinition) -> Result<()> {
        Table::create(&CatalogName::new(""), definition.clone(), 0).map(|_| ())
    }
}

async fn gather(mut parts: PartStream) -> Result<Changes> {
    let mut changes = Changes::new();
    while let Some(part) = parts.try_next().await? {
        changes.entry(part.dataset).or_default().push(part.batch);
    }
    Ok(changes)
}
