//! `federated_join`: customer and orders in PostgreSQL, lineitem in Parquet.
//!
//! `shipping` is query 3 of the TPC-H-derived set: both sides are large, so it shows how fast rows travel. `one_customer`
//! reads the lines of one customer: whoever carries the keys of the few orders over to the Parquet side reads little.
//! Plain DataFusion with everything in Parquet gives the reference answer, and the floor.

use super::{attach_lake, attach_lake_to_duckdb, attach_postgres, attach_postgres_to_duckdb, data_fusion};
use crate::arguments::Settings;
use crate::contender::{Contender, engine};
use crate::measure::interleave;
use crate::report::{Finding, Measured};
use crate::rows::Fingerprint;
use crate::{Result, rows, tpch};

const ONE_CUSTOMER: &str = "
    SELECT o_orderkey, o_orderdate, sum(l_extendedprice * (1 - l_discount)) AS revenue
    FROM orders JOIN lineitem ON l_orderkey = o_orderkey
    WHERE o_custkey = 370
    GROUP BY o_orderkey, o_orderdate";
const ROUNDS: u32 = 15;

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    tpch::write_parquet(folder.path(), &["customer", "orders", "lineitem"], settings.scale)?;
    let postgres = tpch::postgres();
    tpch::load(&postgres, "customer", settings.scale)?;
    tpch::load(&postgres, "orders", settings.scale)?;
    postgres.psql("CREATE INDEX ON orders (o_custkey)");

    let url = postgres.url();
    let engine = engine(&[attach_postgres(&url), attach_lake(folder.path())]).await?;
    let plain = data_fusion(folder.path(), settings.threads).await?;
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec!["polder".to_string(), "DataFusion with all in Parquet".to_string()];
    let duckdb = match &settings.peers {
        Some(peers) => {
            let duckdb = peers.duckdb(settings.threads)?;
            attach_postgres_to_duckdb(&duckdb, &url)?;
            attach_lake_to_duckdb(&duckdb, folder.path())?;
            measured.contenders.push(duckdb.version.clone());
            Some(duckdb)
        }
        None => None,
    };

    let mut fingerprints = Vec::new();
    for (measure, sql) in [("shipping", tpch::QUERIES[2]), ("one_customer", ONE_CUSTOMER)] {
        let federated = tpch::qualify(sql, |table| if table == "lineitem" { "lake" } else { "pg" })?;
        let mut contenders =
            vec![Contender::polder(&engine, &federated), Contender::data_fusion("datafusion_all_parquet", &plain, sql)];
        contenders.extend(duckdb.as_ref().map(|duckdb| Contender::peer("duckdb", duckdb, &federated)));
        let reference = contenders[0].rows().await?;
        for peer in &contenders[1..] {
            rows::assert_equal(&reference, peer.name, &peer.rows().await?)?;
        }
        fingerprints.push(rows::fingerprint(&reference)?);

        let samples = interleave(&contenders, measured.rounds).await?;
        measured.table(measure, &samples);
        measured.findings.push(Finding::time(measure, &samples[0], &samples[1], None));
        let against_duckdb = samples[2..].iter().map(|peer| Finding::time(measure, &samples[0], peer, Some(1.0)));
        measured.findings.extend(against_duckdb);
    }
    measured.hash = Fingerprint::of_all(&fingerprints).to_string();
    Ok(measured)
}
