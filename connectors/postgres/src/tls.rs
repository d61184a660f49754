//! TLS to the server, as libpq's `sslmode` means it.
//!
//! The cryptography is ring's, named at each use: the process-wide default provider is never asked for.

use crate::options::{PgOptions, SslVerification};
use polder_catalog::{Error, Result, SqlState};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What the driver is told: whether to encrypt. What is verified is [`connector`]'s.
pub(crate) fn mode(ssl: SslVerification) -> SslMode {
    match ssl {
        SslVerification::Disable => SslMode::Disable,
        SslVerification::Prefer => SslMode::Prefer,
        SslVerification::Require | SslVerification::Authority | SslVerification::Full => SslMode::Require,
    }
}

/// Makes the connector of a catalog. Reads the root certificates.
pub(crate) fn connector(options: &PgOptions) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(options, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::report(format!("ring has no TLS protocol: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(options: &PgOptions, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let roots = options.root_certificates.as_deref();
    let verification = match options.ssl {
        SslVerification::Require if roots.is_some() => SslVerification::Authority,
        other => other,
    };
    let web_pki = || -> Result<Arc<WebPkiServerVerifier>> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(root_store(roots)?), Arc::clone(provider))
            .build()
            .map_err(|error| no_roots(&error.to_string()))
    };
    Ok(match verification {
        SslVerification::Disable | SslVerification::Prefer | SslVerification::Require => {
            Arc::new(Lenient { provider: Arc::clone(provider), authority: None })
        }
        SslVerification::Authority => Arc::new(Lenient { provider: Arc::clone(provider), authority: Some(web_pki()?) }),
        SslVerification::Full => web_pki()?,
    })
}

fn root_store(file: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            let unreadable = |detail: String| {
                Error::fix(SqlState::NO_FILE, format!("could not read sslrootcert {}", path.display()))
                    .with_detail(detail)
                    .with_hint("it is a PEM file of certificates")
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                store.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

fn no_roots(detail: &str) -> Error {
    Error::fix(SqlState::CONNECTION, "there are no authorities to verify the server's certificate by")
        .with_detail(detail)
        .with_hint("set the catalog's option sslrootcert to a PEM file")
}

/// Verifies less than the whole: the authority but not the host's name, or only that the server holds its key.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain is checked before the name, so this error means that only the name differs.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
