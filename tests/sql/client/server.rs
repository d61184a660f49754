//! `polder serve` in a process of its own, for one file.

use super::CONFIG;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A running server; it ends with the value.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:PORT` of Flight SQL.
    pub(crate) flight: String,
    /// `127.0.0.1:PORT` of PostgreSQL's protocol.
    pub(crate) pg: String,
    _folder: TempDir,
}

impl Server {
    /// One whose catalogs may lead to these locations.
    pub(crate) fn start(locations: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("make a temporary directory");
        let config = folder.path().join("polder.toml");
        std::fs::write(&config, CONFIG).expect("write the configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_polder"));
        command.args(["serve", "--http", "127.0.0.1:0", "--flight", "127.0.0.1:0", "--pg", "127.0.0.1:0"]);
        command.args(locations.iter().flat_map(|location| ["--allow-location", location]));
        command.arg("--config").arg(&config).env_remove("POLDER_DATA").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("run polder serve");
        let mut said = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let (mut flight, mut pg, mut text) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            said.read_line(&mut line).expect("read what the server says");
            let address = |scheme: &str| line.trim().split_once(scheme).map(|(_, rest)| rest.replace("/polder", ""));
            if let Some(address) = address("grpc://") {
                flight = address;
            }
            if let Some(address) = address("postgresql://") {
                pg = address;
            }
            text += &line;
            assert!(!line.is_empty(), "the server has ended: {text}");
            if line == "ready\n" {
                break;
            }
        }
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, flight, pg, _folder: folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
