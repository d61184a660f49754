//! Where a catalog's files are, and how people write it.

use object_store::path::Path;
use polder_catalog::{Error, Reach, Result, SqlState};
use std::fmt;
use std::path::PathBuf;

/// The place that a catalog stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A folder, absolute.
    Local(PathBuf),
    /// A prefix of a bucket; the prefix may be empty.
    S3 { bucket: String, prefix: Path },
}

impl Location {
    /// Reads `s3://bucket/prefix`, `file:///folder` or a path; a relative path starts at the working directory.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("s3://").or_else(|| text.strip_prefix("s3a://")) {
            return Self::s3(text, rest);
        }
        if text.starts_with("file://") {
            let url = url::Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
            return url.map(Self::Local).ok_or_else(|| bad(text, "it is not an absolute file URL"));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(bad(text, &format!("{scheme}:// is not a scheme it knows")));
        }
        if text.is_empty() || text.contains('\0') {
            return Err(bad(text, "it names no folder"));
        }
        let path = std::path::absolute(text).map_err(|error| bad(text, &error.to_string()))?;
        Ok(Self::Local(path))
    }

    fn s3(text: &str, rest: &str) -> Result<Self> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@:\\".contains(c)) {
            return Err(bad(text, "it has no valid bucket name"));
        }
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| bad(text, &error.to_string()))?;
        Ok(Self::S3 { bucket: bucket.to_string(), prefix })
    }

    /// What it is to whoever decides where catalogs may lead.
    pub(crate) fn reach(&self) -> Reach {
        match self {
            Self::Local(folder) => Reach::Folder(folder.clone()),
            Self::S3 { bucket, prefix } => Reach::Bucket {
                bucket: bucket.clone(),
                prefix: prefix.parts().map(|part| part.as_ref().to_string()).collect(),
            },
        }
    }

    /// Where the catalog begins inside its store.
    pub(crate) fn root(&self) -> Result<Path> {
        match self {
            Self::Local(folder) => {
                Path::from_absolute_path(folder).map_err(|error| bad(&folder.display().to_string(), &error.to_string()))
            }
            Self::S3 { prefix, .. } => Ok(prefix.clone()),
        }
    }

    /// One path inside the store as people write it: `s3://bucket/a/b.csv` or `/a/b.csv`.
    pub(crate) fn display(&self, path: &Path) -> String {
        match self {
            Self::Local(_) => format!("/{path}"),
            Self::S3 { bucket, .. } => format!("s3://{bucket}/{path}"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(folder) => write!(f, "{}", folder.display()),
            Self::S3 { bucket, prefix } if prefix.as_ref().is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

fn bad(text: &str, what: &str) -> Error {
    Error::fix(SqlState::PARAMETER, format!("option \"location\" cannot be '{text}': {what}"))
        .with_hint("it takes s3://bucket/prefix, file:///folder or the path of a folder")
}
