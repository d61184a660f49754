//! `postgres_scan`: every row and column of lineitem from PostgreSQL into Arrow.
//!
//! psql writes what the server sends to `/dev/null`: the server's own limit. DuckDB and connectorx build Arrow tables. We
//! stream batches and keep none. The peak of memory is that of a process of its own, on the table and on one that is four
//! times as large: it must not grow with the table.

use super::{attach_postgres, attach_postgres_to_duckdb, psql};
use crate::arguments::Settings;
use crate::contender::{Contender, engine};
use crate::measure::interleave;
use crate::memory::peak_of_a_child;
use crate::report::{Finding, Measured};
use crate::{Result, rows, tpch};
use arrow::array::RecordBatchReader;
use polder_testing::Postgres;

const SCAN: &str = "SELECT * FROM pg.public.lineitem";
const SCAN_LARGE: &str = "SELECT * FROM pg.public.lineitem_large";
const ROUNDS: u32 = 9;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let postgres = tpch::postgres();
    tpch::load(&postgres, "lineitem", settings.scale)?;
    let url = postgres.url();
    let engine = engine(&[attach_postgres(&url)]).await?;
    let mut contenders = vec![
        Contender::polder(&engine, SCAN),
        psql(&postgres, "COPY (SELECT * FROM lineitem) TO STDOUT (FORMAT binary)"),
    ];
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder".to_string(), postgres.psql("SELECT split_part(version(), ' (', 1)")];
    if let Some(peers) = &settings.peers {
        let (duckdb, connectorx) = (peers.duckdb(settings.threads)?, peers.connectorx(&url)?);
        attach_postgres_to_duckdb(&duckdb, &url)?;
        measured.contenders.extend([duckdb.version.clone(), connectorx.version.clone()]);
        contenders.push(Contender::peer("duckdb", &duckdb, SCAN));
        contenders.push(Contender::peer("connectorx", &connectorx, "SELECT * FROM lineitem"));
    }
    let generated = check(&postgres, &contenders, settings.scale).await?;
    measured.hash = generated.to_string();

    let samples = interleave(&contenders, measured.rounds).await?;
    measured.table("scan", &samples);
    let rate = |peer, bound| Finding::rate("scan", generated.rows, &samples[0], peer, Some(bound));
    measured.findings.push(rate(&samples[1], 0.9));
    measured.findings.extend(samples[2..].iter().map(|peer| rate(peer, 1.0)));
    measured.findings.extend(memory(&postgres, generated.rows)?);
    Ok(measured)
}

/// Everybody must return what the generator made.
async fn check(postgres: &Postgres, contenders: &[Contender], scale: f64) -> Result<rows::Fingerprint> {
    let generator = tpch::rows("lineitem", scale);
    let schema = generator.schema();
    let generated = generator.collect::<Result<Vec<_>, _>>()?;
    for contender in contenders {
        let rows = match contender.name {
            "psql" => tpch::psql_rows(postgres, "SELECT * FROM lineitem", &schema)?,
            _ => contender.rows().await?,
        };
        rows::assert_identical(&generated, contender.name, &rows)?;
    }
    rows::fingerprint(&generated)
}

/// Peaks under the limit on both tables.
fn memory(postgres: &Postgres, rows: usize) -> Result<[Finding; 2]> {
    postgres.psql(
        "CREATE UNLOGGED TABLE lineitem_large AS SELECT lineitem.* FROM generate_series(1, 4), lineitem;
         VACUUM ANALYZE lineitem_large",
    );
    let attach = attach_postgres(&postgres.url());
    let (small, large) = (peak_of_a_child(&attach, SCAN)?, peak_of_a_child(&attach, SCAN_LARGE)?);
    if (small.rows, large.rows) != (rows, 4 * rows) {
        return Err(format!(
            "the child processes read {} and {} rows instead of {rows} and 4 times that",
            small.rows, large.rows
        )
        .into());
    }
    Ok([
        Finding::memory("peak_memory", small.bytes, 300.0),
        Finding::memory("peak_memory_of_4_times_the_rows", large.bytes, 300.0),
    ])
}
