//! A service that gives out credentials, as small as can be: the real ones live inside AWS.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Status and body, from the head of a request.
type Answer = fn(&str) -> (u16, String);

/// An HTTP server that answers from one function.
pub(super) struct Mock {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Mock {
    pub(super) async fn http(answer: Answer) -> Self {
        Self::start(answer, None).await
    }

    /// With a certificate of its own for 127.0.0.1, which is left in the folder as `mock.pem`.
    pub(super) async fn https(answer: Answer, folder: &Path) -> Self {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", "/CN=mock", "-days", "2", "-keyout", "mock.key", "-out", "mock.pem"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
            .current_dir(folder)
            .output()
            .expect("openssl is installed: apt-get install openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let certificate = CertificateDer::from_pem_file(folder.join("mock.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(folder.join("mock.key")).expect("a key");
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
            .expect("the key fits the certificate");
        Self::start(answer, Some(Arc::new(config).into())).await
    }

    async fn start(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&heads);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = match &tls {
                    None => serve(stream, answer, &noted).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, answer, &noted).await,
                        Err(error) => Err(error),
                    },
                };
            }
        });
        Self { port, heads, accepting }
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The heads of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves one request, whose body, if any, does not matter.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (status, body) = answer(&head);
    heads.lock().expect("no panic").push(head);
    let length = body.len();
    // A redirect leads to what its body says.
    let location = if status == 307 { format!("Location: {body}\r\n") } else { String::new() };
    let answer =
        format!("HTTP/1.1 {status} Mock\r\n{location}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
