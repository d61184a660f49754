//! DuckDB: the second opinion on what an answer should be.

#[cfg(test)]
mod tests;

use crate::tools::{self, INSTALL};
use crate::{Postgres, S3};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Reads statements and prints rows, each text with its length before it.
const PROGRAM: &str = include_str!("duckdb/session.py");

/// One row; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// A DuckDB session with an empty database in memory.
pub struct DuckDb {
    python: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl DuckDb {
    /// Starts a session. It ends with the value, or when this process ends: its input ends then.
    ///
    /// # Panics
    /// If DuckDB is not installed, with the command that installs it.
    pub fn start() -> Self {
        let program = tools::folder().join("python/bin/python");
        assert!(program.exists(), "DuckDB is not installed: {INSTALL}");
        let mut python = Command::new(program)
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start python");
        let input = python.stdin.take();
        let output = BufReader::new(python.stdout.take().expect("python has a standard output"));
        Self { python, input, output }
    }

    /// Runs statements and returns the rows of the last one, as text: decimals with their scale, floats with
    /// the digits that read back the same, booleans as `true` and `false`, times in ISO 8601.
    ///
    /// # Panics
    /// If a statement fails.
    pub fn query(&mut self, sql: &str) -> Vec<Row> {
        self.try_query(sql).unwrap_or_else(|message| panic!("DuckDB: {message}\nin: {sql}"))
    }

    /// The same, where a failure is expected.
    ///
    /// # Errors
    /// What DuckDB said.
    pub fn try_query(&mut self, sql: &str) -> Result<Vec<Row>, String> {
        let input = self.input.as_mut().expect("the session lives as long as the value");
        write!(input, "{}\n{sql}", sql.len()).and_then(|()| input.flush()).expect("send a statement to DuckDB");
        match self.number() {
            Some(rows) => {
                let columns = self.number().expect("DuckDB tells how many columns");
                Ok((0..rows).map(|_| (0..columns).map(|_| self.text()).collect()).collect())
            }
            None => Err(self.text().expect("DuckDB says what went wrong")),
        }
    }

    /// Makes `s3://` mean that server.
    pub fn use_s3(&mut self, s3: &S3) {
        self.load("httpfs");
        self.query(&format!(
            "CREATE OR REPLACE SECRET (TYPE s3, PROVIDER config, KEY_ID '{}', SECRET '{}', REGION '{}',
                ENDPOINT '{}', URL_STYLE 'path', USE_SSL false)",
            s3.access_key(),
            s3.secret_key(),
            s3.region(),
            s3.endpoint().trim_start_matches("http://")
        ));
    }

    /// Attaches the database `postgres` of a cluster under a name.
    pub fn attach(&mut self, name: &str, postgres: &Postgres) {
        self.load("postgres_scanner");
        self.query(&format!("ATTACH '{}' AS {name} (TYPE postgres, READ_ONLY)", postgres.url()));
    }

    /// Loads an extension from its Python package: nothing is downloaded.
    fn load(&mut self, extension: &str) {
        self.query(&format!("-- load {extension}"));
    }

    /// A line with a number, or with a minus sign for none.
    fn number(&mut self) -> Option<usize> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read from DuckDB");
        assert!(!line.is_empty(), "DuckDB ended");
        (line.trim() != "-").then(|| line.trim().parse().expect("a number from DuckDB"))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        let mut bytes = vec![0; length];
        self.output.read_exact(&mut bytes).expect("read from DuckDB");
        Some(String::from_utf8(bytes).expect("DuckDB prints UTF-8"))
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.python.wait();
    }
}
