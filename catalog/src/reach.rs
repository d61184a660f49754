//! Places outside the engine that a catalog leads to, as far as it matters who may name them.

use std::fmt;
use std::path::PathBuf;

/// Something that the options of a catalog lead to: the engine decides whether they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A folder of this machine, as an absolute path; symbolic links are not followed yet.
    Folder(PathBuf),
    /// A part of a bucket.
    Bucket {
        /// The name of the bucket.
        bucket: String,
        /// The parts of the prefix.
        prefix: Vec<String>,
    },
    /// A server that is sent requests.
    Server {
        /// `https`.
        scheme: String,
        /// Its name or address, as the URL standard normalizes it.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Reach {
    /// The server of a URL; none if it names none, or somebody to log in as.
    pub fn server(url: &str) -> Option<Self> {
        let url = url::Url::parse(url).ok()?;
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let host = url.host_str().filter(|host| !host.is_empty())?.to_string();
        Some(Self::Server { scheme: url.scheme().to_string(), host, port: url.port_or_known_default()? })
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{}", prefix.join("/")),
            Self::Server { scheme, host, port } => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}
