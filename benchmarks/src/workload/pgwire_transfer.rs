//! `pgwire_transfer`: the rows of `flight_transfer` over PostgreSQL's protocol, from Polder and from PostgreSQL 15, by psql and by
//! psycopg. What psql prints must be equal to the last byte.

use crate::arguments::Settings;
use crate::contender::Contender;
use crate::measure::interleave;
use crate::report::{Finding, Measured};
use crate::served::Served;
use crate::{Result, mixed, tpch};
use polder_testing::Postgres;
use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};

const ROWS: usize = 5_000_000;
const ROWS_OF_SMALL: usize = 2_000;
/// psycopg makes a Python object of each value, which takes most of its time, and much memory.
const ROWS_OF_PSYCOPG: usize = 1_000_000;
const ROUNDS: u32 = 5;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let count = if settings.small { ROWS_OF_SMALL } else { ROWS };
    let data = tempfile::tempdir()?;
    mixed::fill(data.path(), count).await?;
    let postgres = tpch::postgres();
    mixed::fill_postgres(&postgres, count);
    let served = Served::start(settings, data.path())?;
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders.push(format!("polder serve, {count} rows of a table"));
    measured.contenders.push(postgres.psql("SELECT split_part(version(), ' (', 1)").trim().to_string());
    measured.hash = check(served.pg_url(), &postgres.url())?;

    let sql = "SELECT * FROM mixed";
    let psql = |name, url: &str| {
        Contender::program(name, Postgres::psql_program(), &["-X", "-q", "-At", "-d", url, "-c", sql])
    };
    let contenders = [psql("polder", served.pg_url()), psql("postgres", &postgres.url())];
    let samples = interleave(&contenders, measured.rounds).await?;
    measured.table("psql", &samples);
    measured.findings.push(Finding::rate("psql", count, &samples[0], &samples[1], Some(1.0)));

    if let Some(peers) = &settings.peers {
        let some = count.min(ROWS_OF_PSYCOPG);
        let sql = format!("SELECT * FROM mixed WHERE id <= {some}");
        let (ours, theirs) = (peers.psycopg_rows(served.pg_url())?, peers.psycopg_rows(&postgres.url())?);
        measured.contenders.push(ours.version.clone());
        let contenders = [Contender::peer("polder", &ours, &sql), Contender::peer("postgres", &theirs, &sql)];
        let samples = interleave(&contenders, measured.rounds).await?;
        measured.table("psycopg", &samples);
        measured.findings.push(Finding::rate("psycopg", some, &samples[0], &samples[1], Some(1.0)));
    }
    Ok(measured)
}

/// A psql whose rows can be read.
fn psql(url: &str) -> Result<(Child, ChildStdout)> {
    let mut psql = Command::new(Postgres::psql_program());
    psql.args(["-X", "-q", "-At", "-d", url, "-c", "SELECT * FROM mixed ORDER BY id"]);
    let mut child = psql.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("psql has no standard output")?;
    Ok((child, output))
}

/// Both print the same; tells its hash.
fn check(ours: &str, theirs: &str) -> Result<String> {
    let ((mut one, mut ours), (mut other, mut theirs)) = (psql(ours)?, psql(theirs)?);
    let (mut hash, mut place) = (0xcbf2_9ce4_8422_2325_u64, 0_usize);
    loop {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        (&mut ours).take(1 << 20).read_to_end(&mut left)?;
        (&mut theirs).take(1 << 20).read_to_end(&mut right)?;
        if left != right {
            return Err(difference(place, &left, &right).into());
        }
        if left.is_empty() {
            break;
        }
        place += left.len();
        hash = left.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    }
    match one.wait()?.success() && other.wait()?.success() && place > 0 {
        true => Ok(format!("{hash:016x} ({place} bytes)")),
        false => Err("psql has failed".into()),
    }
}

fn difference(place: usize, ours: &[u8], theirs: &[u8]) -> String {
    let at = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs).unwrap_or(ours.len().min(theirs.len()));
    let shown = |bytes: &[u8]| {
        let from = at.saturating_sub(100);
        String::from_utf8_lossy(&bytes[from.min(bytes.len())..(at + 20).min(bytes.len())]).into_owned()
    };
    format!("psql prints other rows at byte {}: {:?} instead of {:?}", place + at, shown(ours), shown(theirs))
}
