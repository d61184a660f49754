//! An S3 server that speaks HTTP: versitygw over a temporary directory.

#[cfg(test)]
mod tests;

use crate::place;
use crate::port::free_port;
use crate::tools::{self, INSTALL};
use crate::watch::Watched;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const ACCESS_KEY: &str = "polder-access";
const SECRET_KEY: &str = "polder-secret/key+";
const REGION: &str = "us-east-1";

/// How often a start is tried again when another process took the port first.
const ATTEMPTS: usize = 10;

/// A running S3 server, empty at first. Requests are signed, paths are in path style.
pub struct S3 {
    // Before the directory: the server stops before its files are removed.
    server: Option<Watched>,
    directory: TempDir,
    port: u16,
}

impl S3 {
    /// Starts a server and returns once it answers.
    ///
    /// # Panics
    /// If versitygw is not installed, with the command that installs it, or does not start, with its log.
    pub fn start() -> Self {
        let directory = place::directory("polder-s3-");
        for folder in ["buckets", "metadata", "users"] {
            std::fs::create_dir(directory.path().join(folder)).expect("create the server's folders");
        }
        let mut s3 = Self { server: None, directory, port: 0 };
        for _ in 0..ATTEMPTS {
            s3.port = free_port();
            if s3.launch() {
                return s3;
            }
        }
        panic!("the S3 server found no free port in {ATTEMPTS} attempts");
    }

    /// `http://127.0.0.1:PORT`, the same for the life of the value, also over restarts.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The access key id of the account that may do everything.
    pub fn access_key(&self) -> &str {
        ACCESS_KEY
    }

    /// Its secret access key. It holds characters that a careless signature or URL would break on.
    pub fn secret_key(&self) -> &str {
        SECRET_KEY
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        REGION
    }

    /// Creates a bucket.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_bucket(&self, name: &str) {
        self.request("PUT", name, None);
    }

    /// Lets everyone list and read a bucket, without credentials.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn make_public(&self, bucket: &str) {
        self.allow(bucket, "*", &["s3:GetObject", "s3:ListBucket"]);
    }

    /// Lets a user, or `*`, do this in a bucket; what was allowed before no longer is.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn allow(&self, bucket: &str, principal: &str, actions: &[&str]) {
        let one = |action: &&str| {
            let below = if *action == "s3:ListBucket" { "" } else { "/*" };
            format!(
                r#"{{"Effect": "Allow", "Principal": "{principal}", "Action": "{action}",
                    "Resource": "arn:aws:s3:::{bucket}{below}"}}"#
            )
        };
        let statements = actions.iter().map(one).collect::<Vec<_>>().join(", ");
        let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
        self.request("PUT", &format!("{bucket}?policy="), Some(policy.as_bytes()));
    }

    /// Adds an account that may do nothing until [`S3::allow`] says so.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_user(&self, access_key: &str, secret_key: &str) {
        let output = Command::new(program())
            .args(["admin", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION])
            .args(["--endpoint-url", &self.endpoint(), "create-user", "--role", "user"])
            .args(["--access", access_key, "--secret", secret_key])
            .output()
            .expect("start versitygw");
        assert!(output.status.success(), "create user: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Writes an object.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        self.request("PUT", &format!("{bucket}/{}", encode_path(key)), Some(bytes));
    }

    /// Writes a file, or every file below a folder, under `prefix`.
    ///
    /// # Panics
    /// If a file cannot be read or the server refuses.
    pub fn upload(&self, bucket: &str, prefix: &str, path: &Path) {
        if path.is_file() {
            let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
            return self.put(bucket, prefix, &bytes);
        }
        let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("list {}: {error}", path.display()));
        for entry in entries {
            let entry = entry.expect("list a folder");
            let name = entry.file_name().into_string().expect("file names are UTF-8");
            self.upload(bucket, format!("{prefix}/{name}").trim_start_matches('/'), &entry.path());
        }
    }

    /// Removes an object.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.request("DELETE", &format!("{bucket}/{}", encode_path(key)), None);
    }

    /// The requests answered so far, one a line: `200 GET /bucket/key`.
    pub fn requests(&self) -> Vec<String> {
        let log = self.server.as_ref().map(Watched::log).unwrap_or_default();
        log.lines().filter_map(request_of_line).collect()
    }

    /// Stops the server; its objects stay for [`S3::restart`].
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.end("TERM");
        }
    }

    /// Starts the server again on the same port and objects.
    ///
    /// # Panics
    /// If it runs already, or does not start.
    pub fn restart(&mut self) {
        assert!(self.server.is_none(), "stop() comes before restart()");
        assert!(self.launch(), "the S3 server did not start again on port {}", self.port);
    }

    /// False if another process has the port.
    fn launch(&mut self) -> bool {
        let program = program();
        assert!(program.exists(), "no S3 server is installed: {INSTALL}");
        let root = self.directory.path();
        let command = [
            program.display().to_string(),
            format!("--access={ACCESS_KEY}"),
            format!("--secret={SECRET_KEY}"),
            format!("--region={REGION}"),
            format!("--port=127.0.0.1:{}", self.port),
            format!("--health={}", self.health()),
            "--keep-alive".to_string(),
            format!("--iam-dir={}", root.join("users").display()),
            "posix".to_string(),
            format!("--sidecar={}", root.join("metadata").display()),
            root.join("buckets").display().to_string(),
        ];
        let server = Watched::start(root, &command);
        let ready = server.wait_until(|| self.answers().unwrap_or(false));
        if ready {
            self.server = Some(server);
        } else {
            assert!(server.log().contains("address already in use"), "the S3 server ended:\n{}", server.log());
        }
        ready
    }

    /// A path of this server's own, so that another test's server on the same port is not taken for it.
    fn health(&self) -> String {
        let name = self.directory.path().file_name().and_then(|name| name.to_str());
        format!("/{}", name.expect("temporary directories have plain names"))
    }

    fn answers(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET {} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", self.health())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    }

    /// curl signs requests, so no HTTP client has to be compiled for the tests.
    fn request(&self, method: &str, path: &str, body: Option<&[u8]>) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--path-as-is", "--request", method])
            .args(["--aws-sigv4", &format!("aws:amz:{REGION}:s3")])
            .args(["--user", &format!("{ACCESS_KEY}:{SECRET_KEY}")])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--header", "Expect:"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if body.is_some() {
            curl.args(["--data-binary", "@-", "--header", "Content-Type: application/octet-stream"]);
        }
        let mut child = curl.arg(format!("{}/{path}", self.endpoint())).spawn().expect("start curl");
        let mut input = child.stdin.take().expect("curl has a standard input");
        // A curl that ended early has closed its input; its own message says why.
        let _ = input.write_all(body.unwrap_or_default());
        drop(input);
        let output = child.wait_with_output().expect("wait for curl");
        assert!(
            output.status.success(),
            "{method} {path}: {}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

fn program() -> PathBuf {
    tools::folder().join("bin/versitygw")
}

/// Every byte but the unreserved ones and `/`, as the signature counts them.
fn encode_path(key: &str) -> String {
    let mut path = String::new();
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => path.push(char::from(byte)),
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

/// `time | vgw | status | duration | client | method | path | error | query`.
fn request_of_line(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    match fields.as_slice() {
        [_, "vgw", status, _, _, method, path, _, ""] => Some(format!("{status} {method} {path}")),
        [_, "vgw", status, _, _, method, path, _, query] => Some(format!("{status} {method} {path}?{query}")),
        _ => None,
    }
}
