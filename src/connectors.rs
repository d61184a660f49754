//! The one list of connectors that come with Polder, one line each.

use polder_catalog::{Registry, Result};
use std::sync::Arc;

/// Everything built in. An embedder adds its own on the engine's builder.
pub(crate) fn builtin() -> Result<Registry> {
    let mut registry = Registry::default();
    registry.register(Arc::new(polder_memory::MemoryConnector::default()))?;
    registry.register(Arc::new(polder_object_store::ObjectStoreConnector))?;
    registry.register(Arc::new(polder_postgres::PostgresConnector))?;
    registry.register(Arc::new(polder_search::SearchConnector))?;
    Ok(registry)
}
