//! What a test may want of its cluster.

use super::binaries::{Binaries, give_to_server_user};
use super::{Postgres, template};
use crate::place;
use crate::port::free_port;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How often a start is tried again when another process took the port first.
const ATTEMPTS: usize = 10;

/// Durability is what these clusters can do without; logical decoding and many sessions are what they need.
const SETTINGS: [(&str, &str); 8] = [
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "200"),
    ("wal_level", "logical"),
    ("shared_buffers", "64MB"),
    ("timezone", "UTC"),
];

/// Builds a [`Postgres`].
#[derive(Default)]
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
    rules: Vec<String>,
    password: Option<String>,
    tls: Option<(PathBuf, PathBuf)>,
    durable: bool,
}

impl PostgresBuilder {
    /// A line of `postgresql.conf`, over the defaults.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_string(), value.to_string()));
        self
    }

    /// On the disk and as safe from a crash as PostgreSQL is by default, for who measures what that costs.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        let safe = ["fsync", "synchronous_commit", "full_page_writes"];
        safe.into_iter().fold(self, |builder, name| builder.setting(name, "on"))
    }

    /// A line of `pg_hba.conf`, before the default ones: `hostssl all all all trust`.
    #[must_use]
    pub fn rule(mut self, line: &str) -> Self {
        self.rules.push(line.to_string());
        self
    }

    /// Every TCP connection needs a password (SCRAM), and this is the superuser's.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_string());
        self
    }

    /// Offers TLS with this certificate and key (PEM files).
    #[must_use]
    pub fn tls(mut self, certificate: &Path, key: &Path) -> Self {
        self.tls = Some((certificate.to_path_buf(), key.to_path_buf()));
        self
    }

    /// Starts the cluster and returns once it takes connections.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, with the command that installs it, or does not start, with its log.
    pub fn start(self) -> Postgres {
        let binaries = Binaries::find();
        let directory = if self.durable { place::on_disk("polder-pg-") } else { place::directory("polder-pg-") };
        let data = directory.path().join("data");
        template::copy(&binaries, &data);
        self.write_configuration(&data);
        give_to_server_user(directory.path());
        let password = self.password.clone();
        let mut postgres = Postgres { server: None, directory, binaries, port: 0, password };
        start_on_a_free_port(&mut postgres);
        if let Some(password) = &self.password {
            postgres.psql(&format!("ALTER ROLE polder PASSWORD '{}'", password.replace('\'', "''")));
        }
        postgres
    }

    fn write_configuration(&self, data: &Path) {
        fs::write(data.join("pg_hba.conf"), self.access_rules()).expect("write pg_hba.conf");
        let mut text = String::new();
        for (name, value) in SETTINGS {
            let _ = writeln!(text, "{name} = '{value}'");
        }
        if let Some((certificate, key)) = &self.tls {
            copy_private(certificate, &data.join("server.crt"));
            copy_private(key, &data.join("server.key"));
            text.push_str("ssl = on\n");
        }
        for (name, value) in &self.settings {
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        }
        fs::write(data.join("postgresql.auto.conf"), text).expect("write postgresql.auto.conf");
    }

    /// The Unix socket, which only this process knows, always trusts: that is how `psql` gets in.
    fn access_rules(&self) -> String {
        let method = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        let mut rules = String::from("local all all trust\nlocal replication all trust\n");
        for rule in &self.rules {
            let _ = writeln!(rules, "{rule}");
        }
        let _ = writeln!(rules, "host all all 127.0.0.1/32 {method}\nhost replication all 127.0.0.1/32 {method}");
        rules
    }
}

fn start_on_a_free_port(postgres: &mut Postgres) {
    for _ in 0..ATTEMPTS {
        postgres.port = free_port();
        let server = postgres.launch();
        if server.wait_until(|| postgres.is_ready()) {
            postgres.server = Some(server);
            return;
        }
        let log = server.log();
        assert!(log.contains("could not create any TCP/IP sockets"), "PostgreSQL did not start:\n{log}");
        server.clear_log();
        server.end("KILL");
    }
    panic!("PostgreSQL found no free port in {ATTEMPTS} attempts");
}

/// The server refuses a key that others may read.
fn copy_private(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).expect("make the file private");
}
