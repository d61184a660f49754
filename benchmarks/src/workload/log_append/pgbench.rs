//! PostgreSQL on the disk, durable as it is by default, written to by pgbench: one INSERT is one transaction.

use super::{BYTES, Stretch, assert_held};
use crate::Result;
use polder_testing::Postgres;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) struct PgBench {
    postgres: Postgres,
    stretch: Duration,
    acknowledged: AtomicU64,
}

impl PgBench {
    pub(super) fn new(stretch: Duration) -> Result<Self> {
        let settings = [("max_connections", "300"), ("shared_buffers", "1GB"), ("max_wal_size", "4GB")];
        let builder =
            settings.iter().fold(Postgres::builder().durable(), |builder, (name, value)| builder.setting(name, value));
        let postgres = builder.start();
        postgres.psql("CREATE TABLE records (payload text NOT NULL)");
        Ok(Self { postgres, stretch, acknowledged: AtomicU64::new(0) })
    }

    pub(super) fn describe(&self) -> String {
        let setting = |name| self.postgres.psql(&format!("SHOW {name}")).trim().to_string();
        format!(
            "PostgreSQL {} (pgbench; fsync {}, synchronous_commit {}, wal_sync_method {})",
            setting("server_version"),
            setting("fsync"),
            setting("synchronous_commit"),
            setting("wal_sync_method")
        )
    }

    /// pgbench counts whole seconds, so it runs for one at least; the connections it makes first do not count.
    pub(super) fn insert(&self, clients: usize) -> Result<Stretch> {
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("insert.sql");
        fs::write(&script, format!("INSERT INTO records VALUES ('{}');\n", "x".repeat(BYTES)))?;
        let seconds = self.stretch.as_secs().max(1);
        let mut command = self.command();
        command.args(["--no-vacuum", "--protocol=prepared", "--log"]);
        command.arg(format!("--client={clients}")).arg(format!("--time={seconds}"));
        command.arg(format!("--jobs={}", clients.min(2))).arg("--file").arg(&script);
        command.arg(format!("--log-prefix={}", folder.path().join("waits").display()));
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let mut waits = Vec::new();
        for file in fs::read_dir(folder.path())?.collect::<Result<Vec<_>, _>>()? {
            if file.file_name().to_string_lossy().starts_with("waits") {
                waits.extend(read_waits(&fs::read_to_string(file.path())?)?);
            }
        }
        self.acknowledged.fetch_add(waits.len() as u64, Ordering::Relaxed);
        let rate = transactions_per_second(&String::from_utf8(output.stdout)?)?;
        Ok(Stretch::of(Duration::from_secs_f64(waits.len() as f64 / rate), waits))
    }

    pub(super) fn check(&self) -> Result<()> {
        let held = self.postgres.psql("SELECT count(*) FROM records").trim().parse()?;
        assert_held("PostgreSQL", self.acknowledged.load(Ordering::Relaxed), held)
    }

    /// The pgbench that lies beside psql, at the same cluster.
    fn command(&self) -> Command {
        let psql = self.postgres.psql_command("postgres");
        let program = std::path::Path::new(psql.get_program()).with_file_name("pgbench");
        let mut command = Command::new(program);
        command.args(["--host=127.0.0.1", "--username=polder", "postgres"]);
        command.arg(format!("--port={}", self.postgres.port()));
        command
    }
}

/// `client transaction microseconds script seconds microseconds` a line.
fn read_waits(log: &str) -> Result<Vec<Duration>> {
    let wait = |line: &str| line.split(' ').nth(2).and_then(|wait| wait.parse().ok()).map(Duration::from_micros);
    log.lines().map(|line| wait(line).ok_or_else(|| format!("pgbench logged {line:?}").into())).collect()
}

fn transactions_per_second(report: &str) -> Result<f64> {
    let rate = report.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.ok_or_else(|| format!("pgbench tells no tps: {report}").into())
}
