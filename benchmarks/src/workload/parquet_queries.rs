//! `parquet_queries`: the 22 queries derived from TPC-H, on Parquet files.
//!
//! Plain DataFusion reads the same files through its own `ListingTable`s, registered once, with the same settings. So the
//! ratio is what the engine around DataFusion costs: resolving names, attaching, planning, streaming. DuckDB is printed
//! beside them.

use super::{attach_lake, attach_lake_to_duckdb, data_fusion};
use crate::arguments::Settings;
use crate::contender::{Contender, engine};
use crate::measure::{Samples, interleave};
use crate::report::{Finding, Measured};
use crate::rows::Fingerprint;
use crate::{Result, rows, tpch};
use std::time::Duration;

const ROUNDS: u32 = 15;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    tpch::write_parquet(folder.path(), &tpch::TABLES, settings.scale)?;
    let engine = engine(&[attach_lake(folder.path())]).await?;
    let plain = data_fusion(folder.path(), settings.threads).await?;
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder".to_string(), format!("DataFusion {}", datafusion::DATAFUSION_VERSION)];
    let duckdb = match &settings.peers {
        Some(peers) => {
            let duckdb = peers.duckdb(settings.threads)?;
            attach_lake_to_duckdb(&duckdb, folder.path())?;
            measured.contenders.push(duckdb.version.clone());
            Some(duckdb)
        }
        None => None,
    };

    let mut fingerprints = Vec::new();
    let mut totals: Vec<Samples> = Vec::new();
    for (index, sql) in tpch::QUERIES.iter().enumerate() {
        let query = format!("q{:02}", index + 1);
        let sql = tpch::qualify(sql, |_| "lake")?;
        let mut contenders = vec![Contender::polder(&engine, &sql), Contender::data_fusion("datafusion", &plain, &sql)];
        contenders.extend(duckdb.as_ref().map(|duckdb| Contender::peer("duckdb", duckdb, &sql)));
        fingerprints.push(check(&contenders).await.map_err(|error| format!("{query}: {error}"))?);

        let samples = interleave(&contenders, measured.rounds).await?;
        measured.row(&query, &samples);
        add_medians(&mut totals, &samples);
    }
    measured.table("total of the medians", &totals);
    measured.hash = Fingerprint::of_all(&fingerprints).to_string();
    measured.findings.push(Finding::time("total_of_22", &totals[0], &totals[1], Some(1.05)));
    measured.findings.extend(totals[2..].iter().map(|peer| Finding::time("total_of_22", &totals[0], peer, None)));
    Ok(measured)
}

/// Everybody must return what we return.
async fn check(contenders: &[Contender]) -> Result<Fingerprint> {
    let reference = contenders[0].rows().await?;
    for peer in &contenders[1..] {
        rows::assert_equal(&reference, peer.name, &peer.rows().await?)?;
    }
    rows::fingerprint(&reference)
}

/// Adds the median of each contender to its total.
pub(super) fn add_medians(totals: &mut Vec<Samples>, samples: &[Samples]) {
    if totals.is_empty() {
        totals.extend(samples.iter().map(|one| Samples::new(one.name, vec![Duration::ZERO])));
    }
    for (total, one) in totals.iter_mut().zip(samples) {
        *total = Samples::new(one.name, vec![total.median() + one.median()]);
    }
}
