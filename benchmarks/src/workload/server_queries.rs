//! `server_queries`: what the way through a server costs, and how many clients it serves.
//!
//! The 22 queries over Flight SQL beside the engine in this process; one row by its key over PostgreSQL's protocol, asked by one client and
//! by a hundred at once; commits by one and by 64 clients. PostgreSQL 15 stands beside the latter, durable as it is by default, with the
//! same client program at both: tokio-postgres, prepared statements.

use super::attach_lake;
use super::parquet_queries::add_medians;
use crate::arguments::Settings;
use crate::contender::{Contender, engine};
use crate::measure::{Samples, Stretch, interleave};
use crate::report::{Finding, Measured, Unit, milliseconds};
use crate::rows::Fingerprint;
use crate::served::{Served, connect};
use crate::{Result, mixed, rows, tpch};
use futures::future::try_join_all;
use polder_testing::Postgres;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const ROUNDS: u32 = 5;
const ROWS: usize = 1_000_000;
const ROWS_OF_SMALL: usize = 2_000;
const CLIENTS: usize = 100;

/// How many clients commit, and what the figures are called.
const COMMITS: [(usize, &str); 2] = [(1, "commit_1"), (64, "commit_64")];
const PAYMENTS: &str = "CREATE TABLE payments (id BIGINT PRIMARY KEY, account BIGINT NOT NULL, note TEXT)";

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let count = if settings.small { ROWS_OF_SMALL } else { ROWS };
    let data = tempfile::tempdir()?;
    mixed::fill(&data.path().join("polder"), count).await?;
    tpch::write_parquet(&data.path().join("lake"), &tpch::TABLES, settings.scale)?;
    let served = Served::start(settings, &data.path().join("polder"))?;
    let settings_of_postgres = [("max_connections", "300"), ("shared_buffers", "1GB"), ("max_wal_size", "4GB")];
    let postgres = settings_of_postgres
        .iter()
        .fold(Postgres::builder().durable(), |builder, (name, value)| builder.setting(name, value));
    let postgres = postgres.start();
    mixed::fill_postgres(&postgres, count);
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders.push(format!("polder serve, scale {}, {count} rows of a table", settings.scale));
    measured.contenders.push(postgres.psql("SELECT split_part(version(), ' (', 1)").trim().to_string());

    let attach = attach_lake(&data.path().join("lake"));
    connect(served.pg_url()).await?.batch_execute(&attach).await?;
    queries(&mut measured, &served, &attach).await?;
    let urls = [("polder", served.pg_url().to_string()), ("postgres", postgres.url())];
    lookups(&mut measured, &urls, count, settings).await?;
    many(&mut measured, &urls, count, settings).await?;
    commits(&mut measured, &urls, settings).await?;
    Ok(measured)
}

/// The queries over Flight SQL and in this process.
async fn queries(measured: &mut Measured, served: &Served, attach: &str) -> Result<()> {
    let engine = engine(&[attach.to_string()]).await?;
    let channel = served.channel().await?;
    let (mut totals, mut fingerprints) = (Vec::new(), Vec::new());
    for (index, sql) in tpch::QUERIES.iter().enumerate() {
        let sql = tpch::qualify(sql, |_| "lake")?;
        let contenders = [Contender::flight("flight", &channel, &sql), Contender::polder(&engine, &sql)];
        let query = format!("q{:02}", index + 1);
        let reference = contenders[1].rows().await?;
        let equal = rows::assert_equal(&reference, "flight", &contenders[0].rows().await?);
        equal.map_err(|error| format!("{query}: {error}"))?;
        fingerprints.push(rows::fingerprint(&reference)?);
        let samples = interleave(&contenders, measured.rounds).await?;
        measured.row(&query, &samples);
        add_medians(&mut totals, &samples);
    }
    measured.table("total of the medians", &totals);
    measured.hash = Fingerprint::of_all(&fingerprints).to_string();
    measured.findings.push(Finding::time("total_of_22_over_flight", &totals[0], &totals[1], Some(1.1)));
    engine.close().await?;
    Ok(())
}

type Urls = [(&'static str, String); 2];

const LOOKUP: &str = "SELECT id, amount, price, name, note FROM mixed WHERE id = $1";

/// One row by its key: how long one client waits.
async fn lookups(measured: &mut Measured, urls: &Urls, count: usize, settings: &Settings) -> Result<()> {
    let lookups = if settings.small { 20 } else { 5_000 };
    let mut samples = Vec::new();
    for (name, url) in urls {
        let client = connect(url).await?;
        let waits = look_up(&client, count, 0, |done| done < lookups).await?;
        samples.push(Samples::new(name, waits));
    }
    measured.table("lookup", &samples);
    measured.findings.push(Finding::time("lookup_p50", &samples[0], &samples[1], None));
    Ok(())
}

/// Lookups one after the other, as long as `goes_on` says so of how many were done.
async fn look_up(client: &Client, count: usize, seed: usize, goes_on: impl Fn(usize) -> bool) -> Result<Vec<Duration>> {
    let lookup = client.prepare(LOOKUP).await?;
    let mut waits = Vec::new();
    while goes_on(waits.len()) {
        let id = ((waits.len() + seed) * 7_919_317 % count + 1) as i64;
        let start = Instant::now();
        let row = client.query_one(&lookup, &[&id]).await?;
        waits.push(start.elapsed());
        if row.try_get::<_, i64>(0)? != id {
            return Err(format!("row {id} is another").into());
        }
    }
    Ok(waits)
}

/// What many clients at once had: all their waits, and the share that the worst served had of a fair one.
struct Crowd {
    waits: Samples,
    rate: Samples,
    share: f64,
}

/// A hundred clients for a bounded time.
async fn many(measured: &mut Measured, urls: &Urls, count: usize, settings: &Settings) -> Result<()> {
    let stretch = Duration::from_millis(if settings.small { 300 } else { 10_000 });
    let mut crowds = Vec::new();
    for (name, url) in urls {
        let clients = try_join_all((0..CLIENTS).map(|_| connect(url))).await?;
        let start = Instant::now();
        let until = start + stretch;
        let clients = clients.into_iter().enumerate().map(|(seed, client)| {
            tokio::spawn(async move { look_up(&client, count, seed * 1_000, |_| Instant::now() < until).await })
        });
        let waits = try_join_all(clients).await?.into_iter().collect::<Result<Vec<_>>>()?;
        let elapsed = start.elapsed();
        let fewest = waits.iter().map(Vec::len).min().unwrap_or_default();
        let waits: Vec<_> = waits.into_iter().flatten().collect();
        let share = fewest as f64 * CLIENTS as f64 / waits.len().max(1) as f64;
        let rate = Samples::new(name, vec![elapsed.div_f64(waits.len().max(1) as f64)]);
        crowds.push(Crowd { waits: Samples::new(name, waits), rate, share });
    }
    let [ours, theirs] = &crowds[..] else { return Err("two servers were asked".into()) };
    measured.table("lookup by 100 clients", &[ours.waits.clone(), theirs.waits.clone()]);
    let p99 = |crowd: &Crowd| milliseconds(crowd.waits.percentile(99));
    let findings = [
        Finding::rate("lookups_of_100", 1, &ours.rate, &theirs.rate, None),
        Finding::cost("lookup_p99_of_100", Unit::Milliseconds, p99(ours), "postgres", p99(theirs)),
        Finding::cost("fairness_of_100", Unit::Share, ours.share, "postgres", theirs.share),
        Finding::bounded("fairness_of_100", Unit::Share, ours.share, 0.5),
    ];
    measured.findings.extend(findings);
    Ok(())
}

/// Durable inserts of one row each, acknowledged after the sync.
async fn commits(measured: &mut Measured, urls: &Urls, settings: &Settings) -> Result<()> {
    let stretch = Duration::from_millis(if settings.small { 200 } else { 4_000 });
    let (mut acknowledged, next) = ([0_usize; 2], Arc::new(AtomicI64::new(0)));
    for (_, url) in urls {
        connect(url).await?.batch_execute(PAYMENTS).await?;
    }
    for (clients, measure) in COMMITS {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=measured.rounds {
            for (at, (_, url)) in urls.iter().enumerate() {
                let done = commit(url, clients, stretch, &next).await?;
                acknowledged[at] += done.appends;
                // The first round does not count.
                if round > 0 {
                    times[at].push(done.time_of_one());
                }
            }
        }
        let [ours, theirs] = times;
        let samples = [Samples::new("polder", ours), Samples::new("postgres", theirs)];
        measured.table(measure, &samples);
        measured.findings.push(Finding::rate(measure, 1, &samples[0], &samples[1], Some(1.0)));
    }
    for ((name, url), acknowledged) in urls.iter().zip(acknowledged) {
        let held: i64 = connect(url).await?.query_one("SELECT count(*) FROM payments", &[]).await?.try_get(0)?;
        if held != acknowledged as i64 {
            return Err(format!("{name} acknowledged {acknowledged} rows and holds {held}").into());
        }
    }
    Ok(())
}

async fn commit(url: &str, clients: usize, stretch: Duration, next: &Arc<AtomicI64>) -> Result<Stretch> {
    let clients = try_join_all((0..clients).map(|_| connect(url))).await?;
    let start = Instant::now();
    let clients = clients.into_iter().map(|client| {
        let next = Arc::clone(next);
        tokio::spawn(async move {
            let insert = client.prepare("INSERT INTO payments VALUES ($1, 7, 'a note')").await?;
            let mut waits = Vec::new();
            while start.elapsed() < stretch {
                let one = Instant::now();
                client.execute(&insert, &[&next.fetch_add(1, Ordering::Relaxed)]).await?;
                waits.push(one.elapsed());
            }
            Ok::<_, tokio_postgres::Error>(waits)
        })
    });
    let waits = try_join_all(clients).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Stretch::of(start.elapsed(), waits.into_iter().flatten().collect()))
}
