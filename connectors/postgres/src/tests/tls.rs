//! TLS, from not verified to fully verified.

use super::server::{attach, context};
use polder_testing::Postgres;
use std::path::Path;
use std::process::Command;

fn openssl(arguments: &[&str], folder: &Path) {
    let done = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl is installed: apt-get install openssl");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

// Protects the sessions of servers elsewhere: a certificate for another name, or of another authority, is refused.
#[tokio::test(flavor = "multi_thread")]
async fn sslmode_decides_what_is_verified() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    openssl(
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=authority",
            "-days",
            "2",
        ],
        path,
    );
    openssl(
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
            "-subj",
            "/CN=localhost",
        ],
        path,
    );
    std::fs::write(path.join("names"), "subjectAltName=DNS:localhost").expect("written");
    openssl(
        &[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "server.pem",
            "-days",
            "1",
            "-extfile",
            "names",
        ],
        path,
    );
    let server = Postgres::builder().tls(&path.join("server.pem"), &path.join("server.key")).start();
    let root = path.join("ca.pem").display().to_string();
    let by_name = server.url().replace("127.0.0.1", "localhost");
    let by_address = server.url();
    for (url, sslmode, root, works) in [
        (&by_name, "verify-full", Some(&root), true),
        (&by_address, "verify-full", Some(&root), false),
        (&by_address, "verify-ca", Some(&root), true),
        (&by_address, "verify-ca", None, false),
        (&by_address, "require", None, true),
        (&by_address, "prefer", None, true),
    ] {
        let mut options = vec![("url", url.as_str()), ("sslmode", sslmode)];
        options.extend(root.map(|root| ("sslrootcert", root.as_str())));
        let source = attach(&options).await.expect("attached");
        let listed = source.schemas(&context()).await;
        assert_eq!(listed.is_ok(), works, "{sslmode} {url} {root:?}: {listed:?}");
        if works {
            let tls = source.check(&context()).await.into_iter().find(|check| check.item == "tls").expect("checked");
            assert!(tls.detail.contains("TLSv1"), "{tls:?}");
        } else {
            let error = listed.expect_err("refused");
            assert!(error.message().contains("TLS"), "{error}");
        }
    }
}
