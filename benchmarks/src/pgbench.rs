//! PostgreSQL on the disk, durable as it is by default, written to by pgbench: one INSERT is one transaction.

use crate::Result;
use crate::measure::Stretch;
use polder_testing::Postgres;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) struct PgBench {
    postgres: Postgres,
    stretch: Duration,
}

impl PgBench {
    /// With tables.
    pub(crate) fn new(stretch: Duration, tables: &str) -> Self {
        let settings = [("max_connections", "300"), ("shared_buffers", "1GB"), ("max_wal_size", "4GB")];
        let builder =
            settings.iter().fold(Postgres::builder().durable(), |builder, (name, value)| builder.setting(name, value));
        let postgres = builder.start();
        postgres.psql(tables);
        Self { postgres, stretch }
    }

    pub(crate) fn describe(&self) -> String {
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
    pub(crate) fn run(&self, clients: usize, script: &str) -> Result<Stretch> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("script.sql");
        fs::write(&file, script)?;
        let seconds = self.stretch.as_secs().max(1);
        let mut command = self.command();
        command.args(["--no-vacuum", "--protocol=prepared", "--log"]);
        command.arg(format!("--client={clients}")).arg(format!("--time={seconds}"));
        command.arg(format!("--jobs={}", clients.min(2))).arg("--file").arg(&file);
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
        let rate = transactions_per_second(&String::from_utf8(output.stdout)?)?;
        Ok(Stretch::of(Duration::from_secs_f64(waits.len() as f64 / rate), waits))
    }

    /// How many rows a table has.
    pub(crate) fn count(&self, table: &str) -> Result<u64> {
        Ok(self.postgres.psql(&format!("SELECT count(*) FROM {table}")).trim().parse()?)
    }

    /// How often the log was synced, since the server was started.
    pub(crate) fn syncs(&self) -> Result<u64> {
        Ok(self.postgres.psql("SELECT wal_sync FROM pg_stat_wal").trim().parse()?)
    }

    /// The processor time of the server and all its processes, also those that have ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let server = self.postgres.pid().ok_or("the server has gone")?;
        let mut ticks = cpu_ticks(server, true)?;
        for process in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if parent_of(pid) == Some(server) {
                ticks += cpu_ticks(pid, false).unwrap_or(0);
            }
        }
        // Linux counts a hundred ticks a second wherever it shows them.
        Ok(Duration::from_millis(ticks * 10))
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

/// The fields of `/proc/PID/stat` behind the name, which may hold spaces: the third field is the first here.
fn stat_of(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_string).collect())
}

fn parent_of(pid: u32) -> Option<u32> {
    stat_of(pid)?.get(1)?.parse().ok()
}

/// Ticks of the processor in user and system mode, with those of children that have ended.
fn cpu_ticks(pid: u32, with_children: bool) -> Result<u64> {
    let stat = stat_of(pid).ok_or("no such process")?;
    let fields = if with_children { &[11, 12, 13, 14][..] } else { &[11, 12] };
    let ticks = fields.iter().map(|at| stat.get(*at).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0));
    Ok(ticks.sum())
}

/// The processor time of this process.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(Duration::from_millis(cpu_ticks(std::process::id(), false)? * 10))
}
