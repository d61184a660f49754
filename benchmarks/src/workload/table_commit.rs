//! `table_commit`: durable inserts into a table with a primary key, one row and a hundred rows each, by 1 and by 64 sessions.
//!
//! We run prepared statements in this process; beside us PostgreSQL does by libpq (pgbench), under the same durability: a commit is
//! acknowledged after fdatasync. What each commit costs in processor time and syncs is printed, too: ours includes the
//! clients, PostgreSQL's does not. In the end both must hold as many rows as they acknowledged.

use crate::Result;
use crate::arguments::Settings;
use crate::contender::query;
use crate::measure::{Samples, Stretch};
use crate::pgbench::{PgBench, own_cpu};
use crate::report::{Finding, Measured, Unit};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::scalar::ScalarValue;
use futures::future::try_join_all;
use polder::{Engine, Session};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: u32 = 3;
const TABLE: &str =
    "CREATE TABLE payments (id BIGINT PRIMARY KEY, account BIGINT NOT NULL, amount BIGINT NOT NULL, note TEXT)";

/// How many sessions, how many rows each commit has, what the figures are called, and the ratio to PostgreSQL that we want.
const LEVELS: [(usize, usize, [&str; 3], f64); 4] = [
    (1, 1, ["commit_1", "cpu_1", "syncs_1"], 1.0),
    (64, 1, ["commit_64", "cpu_64", "syncs_64"], 1.0),
    (1, 100, ["batch_1", "cpu_batch_1", "syncs_batch_1"], 2.0),
    (64, 100, ["batch_64", "cpu_batch_64", "syncs_batch_64"], 2.0),
];

/// One contender at one level: a time for each commit of each round, and what they cost in all.
struct Cost {
    name: &'static str,
    times: Vec<Duration>,
    commits: usize,
    cpu: Duration,
    syncs: u64,
}

impl Cost {
    fn new(name: &'static str) -> Self {
        Self { name, times: Vec::new(), commits: 0, cpu: Duration::ZERO, syncs: 0 }
    }

    fn add(&mut self, stretch: &Stretch, cpu: Duration, syncs: u64) {
        self.times.push(stretch.time_of_one());
        self.commits += stretch.appends;
        self.cpu += cpu;
        self.syncs += syncs;
    }

    fn samples(&self) -> Samples {
        Samples::new(self.name, self.times.clone())
    }

    fn cpu_per_commit(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.commits.max(1) as f64
    }

    fn syncs_per_commit(&self) -> f64 {
        self.syncs as f64 / self.commits.max(1) as f64
    }
}

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let stretch = Duration::from_millis(if settings.small { 100 } else { 4_000 });
    let folder = tempfile::tempdir()?;
    let table = Table::new(&folder.path().join("polder")).await?;
    let postgres = PgBench::new(stretch, TABLE);
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders =
        vec!["polder (prepared statements in process; fdatasync of each group)".to_string(), postgres.describe()];
    let mut rows_of_postgres = 0;
    for (sessions, rows, [measure, cpu, syncs], wanted) in LEVELS {
        let (mut ours, mut theirs) = (Cost::new("polder"), Cost::new("postgres"));
        for round in 0..=measured.rounds {
            let before = (own_cpu()?, table.syncs().await?);
            let own = table.insert(sessions, rows, stretch).await?;
            let after = (own_cpu()?, table.syncs().await?);
            let peer_before = (postgres.cpu()?, postgres.syncs()?);
            let peer = postgres.run(sessions, &script(rows))?;
            let peer_after = (postgres.cpu()?, postgres.syncs()?);
            rows_of_postgres += peer.appends as u64 * rows as u64;
            // The first round does not count.
            if round > 0 {
                ours.add(&own, after.0.saturating_sub(before.0), after.1 - before.1);
                theirs.add(&peer, peer_after.0.saturating_sub(peer_before.0), peer_after.1 - peer_before.1);
            }
        }
        measured.table(measure, &[ours.samples(), theirs.samples()]);
        measured.findings.push(Finding::rate(measure, rows, &ours.samples(), &theirs.samples(), Some(wanted)));
        let cost =
            |measure, unit, of: fn(&Cost) -> f64| Finding::cost(measure, unit, of(&ours), theirs.name, of(&theirs));
        measured.findings.push(cost(cpu, Unit::Microseconds, Cost::cpu_per_commit));
        measured.findings.push(cost(syncs, Unit::Syncs, Cost::syncs_per_commit));
    }
    table.check().await?;
    let held = postgres.count("payments")?;
    if held != rows_of_postgres {
        return Err(format!("PostgreSQL acknowledged {rows_of_postgres} rows and holds {held}").into());
    }
    measured.hash = "none: ids are random, counts were checked".to_string();
    Ok(measured)
}

/// Ids are random, so that the clients need not agree on them: below zero for single rows, hundreds above it for batches.
fn script(rows: usize) -> String {
    match rows {
        1 => "\\set id random(-4000000000000000000, -1)\nINSERT INTO payments VALUES (:id, 7, 125, 'a note');\n"
            .to_string(),
        _ => format!(
            "\\set id random(0, 40000000000000000)\nINSERT INTO payments SELECT :id::bigint * {rows} + n, 7, 125, 'a note' FROM \
             generate_series(0, {}) AS g (n);\n",
            rows - 1
        ),
    }
}

/// Ourselves.
struct Table {
    engine: Engine,
    next: Arc<AtomicI64>,
    acknowledged: AtomicU64,
}

impl Table {
    async fn new(folder: &Path) -> Result<Self> {
        let engine = Engine::builder().data_dir(Some(folder.to_path_buf())).open().await?;
        engine.session().run(TABLE).await?;
        Ok(Self { engine, next: Arc::default(), acknowledged: AtomicU64::new(0) })
    }

    async fn insert(&self, sessions: usize, rows: usize, stretch: Duration) -> Result<Stretch> {
        let start = Instant::now();
        let clients = (0..sessions).map(|_| {
            let (session, next) = (self.engine.session(), Arc::clone(&self.next));
            tokio::spawn(async move { client(&session, &next, rows, start + stretch).await })
        });
        let mut waits = Vec::new();
        for client in try_join_all(clients).await? {
            waits.extend(client?);
        }
        self.acknowledged.fetch_add((waits.len() * rows) as u64, Ordering::Relaxed);
        Ok(Stretch::of(start.elapsed(), waits))
    }

    async fn number(&self, sql: &str) -> Result<u64> {
        let rows = query(&self.engine.session(), sql).await?.collect().await?;
        let number = rows.first().map(|rows| rows.column(0).as_primitive::<Int64Type>().value(0));
        Ok(number.ok_or("no rows")?.try_into()?)
    }

    async fn syncs(&self) -> Result<u64> {
        self.number("SELECT CAST(syncs AS BIGINT) FROM polder.system.log_shards WHERE shard = 'main'").await
    }

    async fn check(&self) -> Result<()> {
        let (held, acknowledged) =
            (self.number("SELECT count(*) FROM payments").await?, self.acknowledged.load(Ordering::Relaxed));
        if held == acknowledged {
            Ok(())
        } else {
            Err(format!("polder acknowledged {acknowledged} rows and holds {held}").into())
        }
    }
}

async fn client(session: &Session, next: &AtomicI64, rows: usize, until: Instant) -> Result<Vec<Duration>> {
    let cells = |row: usize| format!("(${}, ${}, ${}, ${})", row * 4 + 1, row * 4 + 2, row * 4 + 3, row * 4 + 4);
    let values: Vec<_> = (0..rows).map(cells).collect();
    let insert = session.prepare(&format!("INSERT INTO payments VALUES {}", values.join(", ")))?;
    let mut waits = Vec::new();
    while Instant::now() < until {
        let first = next.fetch_add(rows as i64, Ordering::Relaxed);
        let row = |row: usize| [scattered(first + row as i64).into(), 7i64.into(), 125i64.into(), "a note".into()];
        let values: Vec<ScalarValue> = (0..rows).flat_map(row).collect();
        let one = Instant::now();
        session.run_prepared(&insert, &values).await?;
        waits.push(one.elapsed());
    }
    Ok(waits)
}

/// A number for each number, in no order, as random ids are.
fn scattered(number: i64) -> i64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)
}
