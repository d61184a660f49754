//! TLS of the listeners: certificates that can be renewed while the server runs.

use polder_catalog::{Error, Kind, Result, SqlState};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// A connection, with TLS or without.
pub(crate) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Where certificates lie, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Who signs the certificates that clients must show; None if they need none.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The certificates of a server, as of the last time they were read. All clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    config: Mutex<Arc<ServerConfig>>,
}

impl Tls {
    /// # Errors
    /// 58P01 for a file that cannot be read, 22023 for one that holds something else.
    pub(crate) fn new(files: TlsFiles) -> Result<Self> {
        let config = Mutex::new(Arc::new(read(&files)?));
        Ok(Self(Arc::new(Inner { files, config })))
    }

    /// Reads the files again; connections from now on have the new ones.
    ///
    /// # Errors
    /// As for [`new`](Self::new); then the old ones stay.
    pub(crate) fn reload(&self) -> Result<()> {
        let config = Arc::new(read(&self.0.files)?);
        *self.0.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Begins TLS on a connection, for one protocol (`h2`, `http/1.1`, `postgresql`).
    ///
    /// # Errors
    /// If the client does not go along, or takes longer than it may.
    pub(crate) async fn accept(&self, stream: TcpStream, protocol: &str, patience: Duration) -> io::Result<Stream> {
        let config = Arc::clone(&self.0.config.lock().unwrap_or_else(PoisonError::into_inner));
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![protocol.into()];
        let accepted = tokio::time::timeout(patience, TlsAcceptor::from(Arc::new(config)).accept(stream)).await;
        accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(Either::Right)
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig> {
    let certificates = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::report("TLS cannot be set up").with_source(error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(path, &error))?)
        }
    };
    builder.with_single_cert(certificates, key).map_err(|error| unusable(&files.certificate, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| unreadable(path, &error))?;
    match certificates.is_empty() {
        true => Err(unusable(path, &"there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> Error {
    Error::new(Kind::Fix, SqlState::NO_FILE, format!("could not read {}", path.display()))
        .with_detail(error.to_string())
        .with_hint("it holds certificates, or a key, in PEM")
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::fix(SqlState::PARAMETER, format!("{} cannot be used for TLS", path.display())).with_detail(why.to_string())
}
