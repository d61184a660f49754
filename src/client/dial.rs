//! Connections: TCP, and TLS over it.

use super::login::Login;
use super::target::Target;
use super::unreachable;
use polder_catalog::{Error, Result, SqlState};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a server may take to be there.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// # Errors
/// 08006 if nobody is there.
pub(super) async fn tcp(target: &Target) -> Result<TcpStream> {
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let connected = tokio::time::timeout(PATIENCE, connecting).await;
    let stream = connected
        .map_err(|_| unreachable(target, "no answer within ten seconds"))?
        .map_err(|error| unreachable(target, error))?;
    // Statements must not wait for more; a connection that cannot be told so is only slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// What is shown of us, and asked of the server, in TLS.
pub(super) fn tls(login: &Login) -> Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::report(format!("ring has no TLS protocol: {error}")))?
        .with_root_certificates(authorities(login)?)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// TLS over a connection; the server proves that it has the name it was called by.
pub(super) async fn secured(stream: TcpStream, target: &Target, tls: &TlsConnector) -> Result<Box<dyn Stream>> {
    let name = ServerName::try_from(target.host.clone()).map_err(|error| unreachable(target, error))?;
    let secured = tokio::time::timeout(PATIENCE, tls.connect(name, stream)).await;
    let stream = secured
        .map_err(|_| unreachable(target, "no TLS within ten seconds"))?
        .map_err(|error| unreachable(target, error).with_hint("--ca FILE names the authority of its certificate"))?;
    Ok(Box::new(stream))
}

/// # Errors
/// 58P01 for a file without certificates.
pub(super) fn authorities(login: &Login) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match login.authorities.as_deref() {
        Some(file) => read(file, &mut store)?,
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

fn read(file: &Path, store: &mut RootCertStore) -> Result<()> {
    let unreadable = |detail: String| {
        Error::fix(SqlState::NO_FILE, format!("--ca: could not read {}", file.display()))
            .with_detail(detail)
            .with_hint("it is a PEM file of certificates")
    };
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        store.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(unreadable("there is none in it".to_string()));
    }
    Ok(())
}
