//! Where catalogs that are defined by statements may lead: on a server, to what was allowed and nowhere else.
//!
//! It is an allow-list of structure, not of spelling: connectors say what their options mean, folders are compared after symbolic
//! links, buckets by name and prefix, servers by scheme, host and port. What the configuration file declares, and what was defined
//! before, is not asked about.

use polder_catalog::{Error, Reach, Result, SqlState};
use std::path::{Component, Path, PathBuf};

/// What may be reached.
#[derive(Clone, Debug, Default)]
pub(crate) enum Locations {
    #[default]
    Everything,
    Only(Vec<Reach>),
}

impl Locations {
    /// Folders as paths, buckets as `s3://bucket/prefix`, servers as `https://host:port`.
    ///
    /// # Errors
    /// 22023 for an entry that is none of these.
    pub(crate) fn only(entries: &[String]) -> Result<Self> {
        entries.iter().map(|entry| read(entry)).collect::<Result<_>>().map(Self::Only)
    }

    /// # Errors
    /// 42501 for what is not allowed.
    pub(crate) fn check(&self, reach: &Reach) -> Result<()> {
        let Self::Only(allowed) = self else { return Ok(()) };
        match allowed.iter().any(|allowed| contains(allowed, reach)) {
            true => Ok(()),
            false => Err(Error::fix(SqlState::PRIVILEGE, format!("{reach} may not be reached from this server"))
                .with_hint("start it with --allow-location, or declare the catalog in the configuration file")),
        }
    }
}

fn read(entry: &str) -> Result<Reach> {
    let wrong = || {
        Error::fix(SqlState::PARAMETER, format!("\"{entry}\" is no location"))
            .with_hint("write /folder, s3://bucket/prefix or https://host:port")
    };
    if let Some(rest) = entry.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix: Vec<_> = prefix.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect();
        return match bucket.is_empty() {
            true => Err(wrong()),
            false => Ok(Reach::Bucket { bucket: bucket.to_string(), prefix }),
        };
    }
    if entry.contains("://") {
        return Reach::server(entry).ok_or_else(wrong);
    }
    let path = Path::new(entry);
    if !path.is_absolute() {
        return Err(wrong().with_detail("a folder is written with its whole path"));
    }
    Ok(Reach::Folder(path.to_path_buf()))
}

fn contains(allowed: &Reach, reach: &Reach) -> bool {
    match (allowed, reach) {
        (Reach::Folder(allowed), Reach::Folder(folder)) => match (real(allowed), real(folder)) {
            (Some(allowed), Some(folder)) => folder.starts_with(allowed),
            _ => false,
        },
        (Reach::Bucket { bucket: allowed, prefix: within }, Reach::Bucket { bucket, prefix }) => {
            allowed == bucket && prefix.starts_with(within)
        }
        (Reach::Server { .. }, Reach::Server { .. }) => allowed == reach,
        (Reach::Folder(_) | Reach::Bucket { .. } | Reach::Server { .. }, _) => false,
    }
}

/// The path after symbolic links; what is not there yet is under what is.
fn real(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok())?;
    let rest = path.strip_prefix(there).ok()?;
    let is_plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    is_plain.then(|| std::fs::canonicalize(there).ok()).flatten().map(|there| there.join(rest))
}

#[cfg(test)]
mod tests;
