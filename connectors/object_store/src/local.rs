//! `SELECT * FROM 'folder/*.parquet'`: files of this machine without a catalog.

use crate::cache::Caches;
use crate::error::Place;
use crate::glob;
use crate::listing::{Lister, ROOT_SCHEMA};
use crate::location::Location;
use crate::options::ReadSettings;
use crate::table::FilesTable;
use datafusion_execution::object_store::ObjectStoreUrl;
use datafusion_session::TableProvider;
use object_store::local::LocalFileSystem;
use polder_catalog::{CatalogName, Error, ReadContext, Result, SqlState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The catalog that errors and EXPLAIN name for such files.
const LOCAL_CATALOG: &str = "local";

/// A file, a folder or a pattern (`data/2024-*.parquet`), relative to the working directory unless absolute.
///
/// Which names mean what, and which formats there are, is as in a catalog without options. Whether a server may be
/// asked for its own files is for the caller to decide.
///
/// # Errors
/// [`SqlState::NO_FILE`] if nothing is there; any error that reading the files' columns gives.
pub async fn local_file(context: &ReadContext, pattern: &str) -> Result<Arc<dyn TableProvider>> {
    let (folder, name) = split(pattern)?;
    let location = Location::Local(folder);
    let place = Place { catalog: CatalogName::new(LOCAL_CATALOG), location: location.clone() };
    let store = Arc::new(LocalFileSystem::new());
    let lister = Lister { place, store, root: location.root()?, read: ReadSettings::default(), levels: Arc::default() };
    let url = ObjectStoreUrl::parse("polder-local://objects").map_err(Error::from_datafusion)?;
    let work = async {
        let files = lister.table(ROOT_SCHEMA, &name).await?.ok_or_else(|| missing(pattern))?;
        FilesTable::open(lister.clone(), Arc::new(Caches::new()?), context.clone(), url, files).await
    };
    context.check()?;
    let table = tokio::select! {
        biased;
        error = context.stopped() => return Err(error),
        table = work => table?,
    };
    Ok(Arc::new(table))
}

/// The folder above the pattern, and what to look for in it.
fn split(pattern: &str) -> Result<(PathBuf, String)> {
    let text = pattern.strip_prefix("file://").unwrap_or(pattern);
    if text.is_empty() || text.contains('\0') {
        return Err(missing(pattern));
    }
    let is_literal = !glob::is_pattern(text) || Path::new(text).exists();
    let fixed = if is_literal {
        text.trim_end_matches('/').rfind('/').map_or("", |end| &text[..end])
    } else {
        glob::fixed_folder(text)
    };
    let name = text[fixed.len()..].trim_start_matches('/').to_string();
    let folder = match (fixed, text.starts_with('/')) {
        ("", true) => "/",
        ("", false) => ".",
        (fixed, _) => fixed,
    };
    let folder = std::path::absolute(folder).map_err(|error| missing(pattern).with_detail(error.to_string()))?;
    Ok((folder, name))
}

fn missing(pattern: &str) -> Error {
    Error::fix(SqlState::NO_FILE, format!("no file matches '{pattern}'")).with_hint(
        "give the path of a .parquet, .csv, .tsv, .ndjson, .json or .arrow file, of a folder, or a pattern with *",
    )
}
