//! `log_append`: durable appends of one kilobyte, with 1, 16 and 256 of them in flight.
//!
//! An append counts when it is acknowledged, and nobody here acknowledges before fdatasync has returned. Beside us stand the
//! disk itself, NATS JetStream and PostgreSQL, all on one file system. At the end, everybody must hold as many records as it
//! acknowledged.
//!
//! The disk writes one record and syncs, and in turns as many records as are in flight and syncs: with so many in flight, no
//! one can be acknowledged faster than that. Ours at the 99th percentile should be within three of these syncs.

mod disk;
mod nats;
mod topic;

use crate::Result;
use crate::arguments::Settings;
use crate::measure::{Samples, Stretch};
use crate::pgbench::PgBench;
use crate::report::{Finding, Measured};
use disk::Disk;
use nats::Nats;
use std::time::Duration;
use topic::Topic;

const ROUNDS: u32 = 3;
/// Appends in flight, with the names of what is measured at so many.
const LEVELS: [(usize, &str, &str); 3] =
    [(1, "append_1", "p99_append_1"), (16, "append_16", "p99_append_16"), (256, "append_256", "p99_append_256")];
/// The payload of one record.
const BYTES: usize = 1_000;

/// What one contender did in all rounds of one level. Its name says when it syncs, so that this stands beside every figure.
struct Appended {
    name: &'static str,
    times: Vec<Duration>,
    waits: Vec<Duration>,
}

impl Appended {
    fn new(name: &'static str) -> Self {
        Self { name, times: Vec::new(), waits: Vec::new() }
    }

    fn add(&mut self, stretch: Stretch) {
        self.times.push(stretch.time_of_one());
        self.waits.extend(stretch.waits);
    }

    /// Wall time for one append, a round each.
    fn rate(&self) -> Samples {
        Samples::new(self.name, self.times.clone())
    }

    fn waits(&self) -> Samples {
        Samples::new(self.name, self.waits.clone())
    }

    fn p99(&self) -> Samples {
        Samples::new(self.name, vec![self.waits().percentile(99)])
    }
}

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let stretch = Duration::from_millis(if settings.small { 100 } else { 3_000 });
    let folder = tempfile::tempdir()?;
    let mut disk = Disk::new(folder.path())?;
    let topic = Topic::new(&folder.path().join("polder")).await?;
    let pgbench = PgBench::new(stretch, "CREATE TABLE records (payload text NOT NULL)");
    let nats = match &settings.peers {
        Some(peers) => Some(Nats::start(&peers.nats_server()?, &folder.path().join("nats")).await?),
        None => None,
    };
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec![topic.describe(), disk.describe(), pgbench.describe()];
    measured.contenders.extend(nats.as_ref().map(Nats::describe));

    let insert = format!("INSERT INTO records VALUES ('{}');\n", "x".repeat(BYTES));
    let mut inserts = 0;
    for (in_flight, measure, p99) in LEVELS {
        let mut ours = Appended::new("polder_fdatasync");
        let mut alone = Appended::new("disk_fdatasync");
        let mut grouped = Appended::new("disk_group_fdatasync");
        let mut postgres = Appended::new("postgres_fsync_on");
        let mut jetstream = Appended::new("nats_sync_always");
        for round in 0..=measured.rounds {
            let own = topic.append(in_flight, stretch).await?;
            let raw = disk.append(1, stretch)?;
            let together = disk.append(in_flight, stretch / 3)?;
            let inserted = pgbench.run(in_flight, &insert)?;
            inserts += inserted.appends as u64;
            let published = match &nats {
                Some(nats) => nats.publish(in_flight, stretch).await?,
                None => Stretch::default(),
            };
            // The first round does not count.
            if round > 0 {
                ours.add(own);
                alone.add(raw);
                grouped.add(together);
                postgres.add(inserted);
                jetstream.add(published);
            }
        }
        let mut peers = vec![&alone, &grouped, &postgres];
        peers.extend(nats.is_some().then_some(&jetstream));
        let everybody: Vec<_> = std::iter::once(&ours).chain(peers.iter().copied()).collect();
        measured.table(measure, &everybody.iter().map(|one| one.rate()).collect::<Vec<_>>());
        measured.table(&format!("{measure}, each wait"), &everybody.iter().map(|one| one.waits()).collect::<Vec<_>>());
        measured.table(p99, &everybody.iter().map(|one| one.p99()).collect::<Vec<_>>());
        for peer in peers {
            measured.findings.push(Finding::rate(measure, 1, &ours.rate(), &peer.rate(), wanted(in_flight, peer.name)));
        }
        measured.findings.push(Finding::time(p99, &ours.p99(), &alone.waits(), Some(3.0)));
        measured.findings.push(Finding::time(p99, &ours.p99(), &grouped.p99(), Some(3.0)));
    }
    topic.check().await?;
    assert_held("PostgreSQL", inserts, pgbench.count("records")?)?;
    if let Some(nats) = &nats {
        nats.check().await?;
    }
    measured.hash = "none: payloads are alike, counts were checked".to_string();
    Ok(measured)
}

/// The ratio of rates that we want.
fn wanted(in_flight: usize, peer: &str) -> Option<f64> {
    match (in_flight, peer) {
        (256, "nats_sync_always") => Some(5.0),
        (256, "postgres_fsync_on") => Some(3.0),
        _ => None,
    }
}

/// As many acknowledged as held.
fn assert_held(name: &str, acknowledged: u64, held: u64) -> Result<()> {
    if acknowledged == held {
        return Ok(());
    }
    Err(format!("{name} acknowledged {acknowledged} appends and holds {held}").into())
}
