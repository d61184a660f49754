//! `postgres_aggregate`: GROUP BY over a PostgreSQL table. Whoever lets the server do it moves three rows; whoever does
//! not moves them all. psql shows what the server itself needs, with the start of psql.

use super::{attach_postgres, attach_postgres_to_duckdb, psql};
use crate::arguments::Settings;
use crate::contender::{Contender, engine};
use crate::measure::interleave;
use crate::report::{Finding, Measured};
use crate::{Result, rows, tpch};
use arrow::record_batch::RecordBatch;

const SELECT: &str = "SELECT l_returnflag, sum(l_quantity) AS quantity, count(*) AS lines FROM";
const GROUP: &str = "GROUP BY l_returnflag";
const ROUNDS: u32 = 15;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let postgres = tpch::postgres();
    tpch::load(&postgres, "lineitem", settings.scale)?;
    let url = postgres.url();
    let engine = engine(&[attach_postgres(&url)]).await?;
    let (ours, native) = (format!("{SELECT} pg.public.lineitem {GROUP}"), format!("{SELECT} lineitem {GROUP}"));
    let mut contenders = vec![Contender::polder(&engine, &ours), psql(&postgres, &native)];
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder".to_string(), postgres.psql("SELECT split_part(version(), ' (', 1)")];
    if let Some(peers) = &settings.peers {
        let duckdb = peers.duckdb(settings.threads)?;
        attach_postgres_to_duckdb(&duckdb, &url)?;
        measured.contenders.push(duckdb.version.clone());
        contenders.push(Contender::peer("duckdb", &duckdb, &ours));
    }
    let reference = contenders[0].rows().await?;
    let schema = reference.first().map(RecordBatch::schema).ok_or("the aggregate has no rows")?;
    rows::assert_equal(&reference, "psql", &tpch::psql_rows(&postgres, &native, &schema)?)?;
    for peer in &contenders[2..] {
        rows::assert_equal(&reference, peer.name, &peer.rows().await?)?;
    }
    measured.hash = rows::fingerprint(&reference)?.to_string();

    let samples = interleave(&contenders, measured.rounds).await?;
    measured.table("aggregate", &samples);
    measured.findings.push(Finding::time("aggregate", &samples[0], &samples[1], None));
    measured.findings.extend(samples[2..].iter().map(|peer| Finding::time("aggregate", &samples[0], peer, Some(1.0))));
    Ok(measured)
}
