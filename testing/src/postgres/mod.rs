//! A PostgreSQL cluster of a test's own.

mod binaries;
mod builder;
mod template;
#[cfg(test)]
mod tests;

pub use builder::PostgresBuilder;

use crate::watch::Watched;
use binaries::Binaries;
use std::io::Write;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A running cluster: PostgreSQL with the defaults of a real one, except for what only costs time (fsync).
///
/// The database's collation is ICU `en-US` on purpose: it orders text unlike bytes do, so that a pushed
/// comparison that forgets `COLLATE "C"` shows.
pub struct Postgres {
    // Before the directory: the server stops before its files are removed.
    server: Option<Watched>,
    directory: TempDir,
    binaries: Binaries,
    port: u16,
    password: Option<String>,
}

impl Postgres {
    /// PostgreSQL's own client, of the same installation.
    pub fn psql_program() -> std::path::PathBuf {
        Binaries::find().psql()
    }

    /// A cluster with a superuser `polder` who needs no password.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A cluster with settings, a password or TLS.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// The URL of the database `postgres` for the superuser.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of another database for the superuser.
    pub fn url_of(&self, database: &str) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://polder{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port, the same for the life of the value, also over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL in the database `postgres` and returns rows as `psql -A -t` prints them: `a|b` a line.
    ///
    /// # Panics
    /// If a statement fails, with what psql said.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    /// The same in another database.
    ///
    /// # Panics
    /// If a statement fails, with what psql said.
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|message| panic!("psql: {message}\nin: {sql}"))
    }

    /// The same, where a failure is expected: what psql said.
    ///
    /// # Errors
    /// What psql printed to its standard error.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut child = self
            .psql_command(database)
            .args(["-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start psql");
        let mut input = child.stdin.take().expect("psql has a standard input");
        let sql = sql.to_string();
        // On its own thread: a psql that prints much does not read before its output is taken.
        let writer = std::thread::spawn(move || input.write_all(sql.as_bytes()));
        let output = child.wait_with_output().expect("wait for psql");
        // A psql that ended early has closed its input; its own message says why.
        let _ = writer.join().expect("the thread that feeds psql does not panic");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut text = String::from_utf8(output.stdout).expect("psql prints UTF-8");
        if text.ends_with('\n') {
            text.pop();
        }
        Ok(text)
    }

    /// A `psql` for this cluster, over its Unix socket, for a caller who adds arguments of its own.
    pub fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(self.binaries.psql());
        command.arg("-X").arg("-h").arg(self.directory.path());
        command.args(["-p", &self.port.to_string(), "-U", "polder", "-d", database]);
        command.env("PGCLIENTENCODING", "UTF8").env_remove("PGOPTIONS");
        command
    }

    /// Creates a database and returns its URL.
    pub fn create_database(&self, name: &str) -> String {
        self.psql(&format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
        self.url_of(name)
    }

    /// What the server has logged since it started.
    pub fn log(&self) -> String {
        self.server.as_ref().map(Watched::log).unwrap_or_default()
    }

    /// The process id of the postmaster while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().and_then(Watched::pid)
    }

    /// Shuts the server down cleanly (open connections are cut); its data stay for [`Postgres::restart`].
    pub fn stop(&mut self) {
        self.end("INT");
    }

    /// Stops the server as a power cut would; its data stay for [`Postgres::restart`].
    pub fn crash(&mut self) {
        self.end("QUIT");
    }

    /// Starts the server again on the same port and data.
    ///
    /// # Panics
    /// If it runs already, or does not start.
    pub fn restart(&mut self) {
        assert!(self.server.is_none(), "stop() or crash() comes before restart()");
        let server = self.launch();
        assert!(server.wait_until(|| self.is_ready()), "PostgreSQL did not start again:\n{}", server.log());
        self.server = Some(server);
    }

    fn end(&mut self, signal: &str) {
        if let Some(server) = self.server.take() {
            server.end(signal);
        }
    }

    fn launch(&self) -> Watched {
        let data = self.directory.path().join("data");
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let postgres = self.binaries.server("postgres").display().to_string();
        let mut command = binaries::as_server_user();
        command.extend([postgres, "-D".to_string(), data.display().to_string()]);
        command.extend(["-p".to_string(), self.port.to_string()]);
        command.extend(["-k".to_string(), self.directory.path().display().to_string()]);
        Watched::start(self.directory.path(), &command)
    }

    /// The postmaster writes `ready` on the eighth line of its pid file once it takes connections.
    fn is_ready(&self) -> bool {
        std::fs::read_to_string(self.directory.path().join("data/postmaster.pid"))
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|state| state.trim() == "ready"))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end("INT");
    }
}
