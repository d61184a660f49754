//! A script for the server, for programs that prepare a database of their own. Queries never come this way.

use crate::connection::Endpoint;
use crate::options::PgOptions;
use polder_catalog::{CatalogName, Options, Result};

/// Runs statements at the server that the options of a catalog name, in a session of its own. They write only with
/// `access = 'write'`.
///
/// # Errors
/// What the server answers, with the catalog's name. Statements before the one that failed may have taken effect, unless the
/// script begins a transaction.
pub async fn run_script(catalog: &CatalogName, options: &Options, script: &str) -> Result<()> {
    let endpoint = Endpoint::new(catalog.clone(), PgOptions::parse(options)?);
    let session = endpoint.connect().await?;
    session.client.batch_execute(script).await.map_err(|error| endpoint.failed(error))
}
