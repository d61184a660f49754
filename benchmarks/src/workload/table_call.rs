//! `table_call`: payments between accounts, by 1 and by 64 sessions.
//!
//! Ours is a procedure: the account that pays and the one that is paid lie in two of four shards, and a payment counts once it is
//! decided; the time until the last has arrived counts, too. PostgreSQL's is a transaction of two updates in one server
//! (pgbench). Those who pay and those who are paid are different accounts, so that nobody waits for nobody in circles.
//! In the end no money may be missing.

use crate::Result;
use crate::arguments::Settings;
use crate::contender::query;
use crate::measure::{Samples, Stretch};
use crate::pgbench::PgBench;
use crate::report::{Finding, Measured};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::scalar::ScalarValue;
use futures::future::try_join_all;
use polder::{Engine, Session};
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 3;
/// Half of them pay, half of them are paid.
const ACCOUNTS: i64 = 2_000;
const BALANCE: i64 = 1_000_000_000;
const LEVELS: [(usize, &str); 2] = [(1, "call_1"), (64, "call_64")];

const PROCEDURE: &str = "CREATE PROCEDURE pay(source BIGINT, target BIGINT, amount BIGINT) AS $$
    ASSERT (SELECT balance FROM accounts WHERE id = source) >= amount, 'not enough money';
    UPDATE accounts SET balance = balance - amount WHERE id = source;
    EMIT UPDATE accounts SET balance = balance + amount WHERE id = target;
$$";

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let stretch = Duration::from_millis(if settings.small { 100 } else { 4_000 });
    let folder = tempfile::tempdir()?;
    let engine = open(&folder.path().join("polder")).await?;
    let tables = format!(
        "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0));
         INSERT INTO accounts SELECT n, {BALANCE} FROM generate_series(0, {ACCOUNTS} - 1) AS g (n);"
    );
    let postgres = PgBench::new(stretch, &tables);
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder (prepared CALL in process; four shards)".to_string(), postgres.describe()];
    let half = ACCOUNTS / 2;
    let script = format!(
        "\\set source random(0, {half} - 1)\n\\set target random({half}, {ACCOUNTS} - 1)\nBEGIN;\n\
         UPDATE accounts SET balance = balance - 1 WHERE id = :source AND balance >= 1;\n\
         UPDATE accounts SET balance = balance + 1 WHERE id = :target;\nCOMMIT;\n"
    );
    for (sessions, measure) in LEVELS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=measured.rounds {
            let own = pay(&engine, sessions, stretch).await?;
            let peer = postgres.run(sessions, &script)?;
            // The first round does not count.
            if round > 0 {
                ours.push(own.time_of_one());
                theirs.push(peer.time_of_one());
            }
        }
        let (ours, theirs) = (Samples::new("polder", ours), Samples::new("postgres", theirs));
        measured.findings.push(Finding::rate(measure, 1, &ours, &theirs, None));
        measured.table(measure, &[ours, theirs]);
    }
    let sum = number(&engine, "SELECT CAST(sum(balance) AS BIGINT) FROM accounts").await?;
    if sum != ACCOUNTS * BALANCE {
        return Err(format!("{} is there of {}", sum, ACCOUNTS * BALANCE).into());
    }
    measured.hash = "none: payments are random, the sum was checked".to_string();
    Ok(measured)
}

async fn open(folder: &Path) -> Result<Engine> {
    let engine = Engine::builder().data_dir(Some(folder.to_path_buf())).open().await?;
    let session = engine.session();
    session
        .run("CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL CHECK (balance >= 0)) WITH (shards = 4)")
        .await?;
    session.run(PROCEDURE).await?;
    let insert = session.prepare("INSERT INTO accounts VALUES ($1, $2)")?;
    let fill = |id: i64| {
        let (session, insert) = (&session, &insert);
        async move { session.run_prepared(insert, &[id.into(), BALANCE.into()]).await.map(drop) }
    };
    try_join_all((0..ACCOUNTS).map(fill)).await?;
    Ok(engine)
}

async fn pay(engine: &Engine, sessions: usize, stretch: Duration) -> Result<Stretch> {
    let start = Instant::now();
    let clients = (0..sessions).map(|client| {
        let session = engine.session();
        tokio::spawn(async move { self::client(&session, client as u64, start + stretch).await })
    });
    let mut waits = Vec::new();
    for client in try_join_all(clients).await? {
        waits.extend(client?);
    }
    // What was paid has to arrive.
    while number(engine, "SELECT CAST(sum(balance) AS BIGINT) FROM accounts").await? != ACCOUNTS * BALANCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Stretch::of(start.elapsed(), waits))
}

async fn client(session: &Session, client: u64, until: Instant) -> Result<Vec<Duration>> {
    let call = session.prepare("CALL pay($1, $2, $3)")?;
    let mut waits = Vec::new();
    let mut chance = client.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let half = ACCOUNTS / 2;
    while Instant::now() < until {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let (source, target) = ((chance >> 3) as i64 % half, half + (chance >> 33) as i64 % half);
        let values: [ScalarValue; 3] = [source.abs().into(), target.into(), 1i64.into()];
        let one = Instant::now();
        session.run_prepared(&call, &values).await?;
        waits.push(one.elapsed());
    }
    Ok(waits)
}

async fn number(engine: &Engine, sql: &str) -> Result<i64> {
    let rows = query(&engine.session(), sql).await?.collect().await?;
    let number = rows.first().map(|rows| rows.column(0).as_primitive::<Int64Type>().value(0));
    Ok(number.ok_or("no rows")?)
}
