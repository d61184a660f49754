//! `CHECK CATALOG`: can it be reached, as whom, and what may be read; for what fails, what mends it.

use crate::error::Place;
use crate::format::FileName;
use crate::listing::Lister;
use crate::location::Location;
use crate::options::Settings;
use crate::store;
use futures::TryStreamExt;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use polder_catalog::{Check, Error};

/// What the options alone tell.
pub(crate) fn settings(place: &Place, settings: &Settings) -> Vec<Check> {
    let mut checks = vec![Check::ok("location", place.location.to_string())];
    if matches!(place.location, Location::Local(_)) {
        return checks;
    }
    let s3 = &settings.s3;
    let region = s3.region.clone().unwrap_or_else(|| "from the environment, else us-east-1".to_string());
    checks.push(Check::ok("region", region));
    // A wrong one is told by the check that comes next.
    match store::endpoint(s3).unwrap_or_default() {
        Some(endpoint) if endpoint.starts_with("http://") => checks.push(Check::warning(
            "tls",
            format!("{endpoint} is not encrypted"),
            Some(format!("ALTER CATALOG {} SET (endpoint = 'https://...')", place.catalog)),
        )),
        Some(endpoint) => checks.push(Check::ok("tls", format!("{endpoint}, certificate verified"))),
        None => checks.push(Check::ok("tls", "AWS, certificate verified")),
    }
    checks.push(Check::ok("credentials", s3.credentials.describe()));
    checks
}

/// What the store answers.
pub(crate) async fn store(lister: &Lister) -> Vec<Check> {
    let first = match first_file(lister).await {
        Ok(first) => first,
        Err(error) => return vec![failed("reachable", &error)],
    };
    let mut checks = vec![Check::ok("reachable", "yes"), Check::ok("rights to list", "granted")];
    match first {
        None => checks.push(Check::warning(
            "rights to read",
            "not known: there is no file to try",
            Some(format!("put a file below {}", lister.place.location)),
        )),
        Some(file) => checks.push(read_right(lister, &file).await),
    }
    checks.push(match count(lister).await {
        Ok(count) => Check::ok("tables", count.to_string()),
        Err(error) => failed("tables", &error),
    });
    checks
}

/// A check that failed with an error, and the error's hint as what mends it.
pub(crate) fn failed(item: &str, error: &Error) -> Check {
    let detail = match error.detail() {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    };
    Check::failed(item, detail, error.hint().map(str::to_string))
}

async fn first_file(lister: &Lister) -> Result<Option<ObjectMeta>, Error> {
    lister.check_root().await?;
    let prefix = Some(&lister.root).filter(|path| !path.as_ref().is_empty());
    let mut files = lister.store.list(prefix);
    let mut some = None;
    while let Some(file) =
        files.try_next().await.map_err(|error| lister.place.store_error("list", &lister.root, &error))?
    {
        if FileName::parse(file.location.filename().unwrap_or_default()).format.is_some() {
            return Ok(Some(file));
        }
        some = Some(file);
    }
    Ok(some)
}

async fn read_right(lister: &Lister, file: &ObjectMeta) -> Check {
    let read = async {
        let range = (file.size > 0).then_some((0..1).into());
        lister.store.get_opts(&file.location, GetOptions { range, ..GetOptions::default() }).await?.bytes().await
    };
    match read.await {
        Ok(_) => Check::ok("rights to read", "granted"),
        Err(error) => failed("rights to read", &lister.place.store_error("read", &file.location, &error)),
    }
}

async fn count(lister: &Lister) -> Result<usize, Error> {
    let mut count = 0;
    for schema in lister.schemas().await? {
        count += lister.tables(&schema).await?.len();
    }
    Ok(count)
}
