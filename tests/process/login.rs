//! Users, passwords, tokens and TLS, as clients of each protocol meet them.

use crate::program::{command, signal};
use crate::root;
use crate::serve::polder_python;
use crate::server::{Server, assert_ran};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A data directory with one user, `root`.
fn with_root() -> TempDir {
    let directory = tempfile::tempdir().expect("make a folder");
    let made = command(&["sql", "--data"])
        .arg(directory.path())
        .args(["-c", "CREATE USER root PASSWORD 'secret' SUPERUSER"])
        .output()
        .expect("run polder");
    assert_ran(&made);
    directory
}

fn client(server: &Server, ca: Option<&Path>, part: &str) -> Output {
    let mut python = Command::new(polder_python());
    python.arg(root().join("tests/process/clients/login.py"));
    python.args([&server.http, &server.flight, &server.pg]).arg(ca.unwrap_or(Path::new(""))).arg(part);
    python.output().expect("run python")
}

struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let certificates = Self { folder: tempfile::tempdir().expect("make a folder") };
        let ca = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        certificates.openssl(&ca, &["-subj", "/CN=Polder test CA", "-keyout", "ca.key", "-out", "ca.pem"]);
        certificates.renew();
        certificates
    }

    /// A certificate for the server, in place of the one before.
    fn renew(&self) {
        let request =
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"];
        self.openssl(&request, &["-keyout", "server.key", "-out", "server.csr"]);
        std::fs::write(self.file("names"), "subjectAltName = DNS:localhost, IP:127.0.0.1\n").expect("write");
        let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        self.openssl(&sign, &["-days", "2", "-extfile", "names", "-out", "server.pem"]);
    }

    fn openssl(&self, arguments: &[&str], rest: &[&str]) {
        let done = Command::new("openssl").args(arguments).args(rest).current_dir(self.folder.path()).output();
        assert_ran(&done.expect("openssl is installed: apt-get install openssl"));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

#[test]
fn users_log_in_by_each_protocol() {
    let data = with_root();
    let server = Server::start(&["--data", text(data.path())]);
    assert_ran(&client(&server, None, "logins"));
    server.stop();
}

#[test]
fn users_log_in_under_tls_and_certificates_are_renewed() {
    let (data, certificates) = (with_root(), Certificates::new());
    let (certificate, key) = (certificates.file("server.pem"), certificates.file("server.key"));
    let arguments = ["--data", text(data.path()), "--tls-cert", text(&certificate), "--tls-key", text(&key)];
    let mut server = Server::start(&arguments);
    let ca = certificates.file("ca.pem");
    for part in ["logins", "hostile"] {
        assert_ran(&client(&server, Some(&ca), part));
    }
    let shown = |server: &Server| {
        let shown = client(server, Some(&ca), "certificate");
        assert_ran(&shown);
        shown.stdout
    };
    let before = shown(&server);
    certificates.renew();
    signal(server.id(), "HUP");
    server.said.expect("the certificates were read again\n");
    assert_ne!(shown(&server), before);
    // What cannot be read changes nothing.
    let now = shown(&server);
    std::fs::write(&certificate, "no certificate").expect("write");
    signal(server.id(), "HUP");
    server.said.expect("the certificates stay as they were");
    assert_eq!(shown(&server), now);
    server.stop();
}

#[test]
fn nobody_is_served_beyond_loopback_without_login_and_tls() {
    let (data, certificates) = (with_root(), Certificates::new());
    let refused = |arguments: &[&str], why: &str| {
        let open = ["serve", "--http", "0.0.0.0:0", "--flight", "127.0.0.1:0", "--pg", "127.0.0.1:0"];
        let ended = command(&open).args(arguments).output().expect("run polder");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && said.contains(why), "{arguments:?}: {said}");
    };
    let (certificate, key) = (certificates.file("server.pem"), certificates.file("server.key"));
    let tls = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    refused(&["--data", text(data.path())], "there is no TLS");
    refused(&tls, "there are no users");
    refused(&["--without-tls"], "there are no users");
    refused(&["--tls-cert", text(&key), "--tls-key", text(&key)], "cannot be used for TLS");
    refused(&["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "could not read");
}

/// Who shows no certificate that the server's authority has signed is not let in.
#[test]
fn clients_show_certificates_where_they_must() {
    let (data, certificates) = (with_root(), Certificates::new());
    let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| certificates.file(name));
    let arguments = ["--data", text(data.path()), "--tls-cert", text(&certificate), "--tls-key", text(&key)];
    let server = Server::start(&[&arguments[..], &["--tls-client-ca", text(&ca)]].concat());
    let psql = |extra: &str| {
        let (host, port) = server.pg.split_once(':').expect("an address");
        let target = format!(
            "host={host} port={port} user=root dbname=polder sslmode=verify-ca sslrootcert={} {extra}",
            ca.display()
        );
        let mut psql = Command::new(polder_testing::Postgres::psql_program());
        psql.env("PGPASSWORD", "secret").args([&target, "-Atc", "SELECT 1"]).output().expect("run psql")
    };
    let with = psql(&format!("sslcert={} sslkey={}", certificate.display(), key.display()));
    assert_ran(&with);
    assert_eq!(with.stdout, b"1\n");
    assert_eq!(psql("sslcert=/nowhere").status.code(), Some(2));
    server.stop();
}
