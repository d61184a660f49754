//! The workloads. Each builds its data, checks that all contenders return the same rows, and then times them.

mod federated_join;
mod flight_transfer;
mod key_shipping;
mod log_append;
mod log_scan;
mod parquet_queries;
mod pgwire_transfer;
mod postgres_aggregate;
mod postgres_scan;
mod search_top10;
mod server_queries;
mod start;
mod table_call;
mod table_commit;
mod table_scan;

use crate::arguments::{Settings, Workload};
use crate::contender::Contender;
use crate::peers::Peer;
use crate::report::Measured;
use crate::{Result, tpch};
use datafusion::common::config::Dialect;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::{ParquetReadOptions, SessionConfig};
use std::path::Path;

/// Runs one.
pub(crate) async fn run(workload: Workload, settings: &Settings) -> Result<Measured> {
    match workload {
        Workload::PostgresScan => postgres_scan::run(settings).await,
        Workload::PostgresAggregate => postgres_aggregate::run(settings).await,
        Workload::FederatedJoin => federated_join::run(settings).await,
        Workload::ParquetQueries => parquet_queries::run(settings).await,
        Workload::Start => start::run(settings).await,
        Workload::KeyShipping => key_shipping::run(settings).await,
        Workload::LogAppend => log_append::run(settings).await,
        Workload::LogScan => log_scan::run(settings).await,
        Workload::SearchTop10 => search_top10::run(settings).await,
        Workload::TableCommit => table_commit::run(settings).await,
        Workload::TableScan => table_scan::run(settings).await,
        Workload::TableCall => table_call::run(settings).await,
        Workload::FlightTransfer => flight_transfer::run(settings).await,
        Workload::PgwireTransfer => pgwire_transfer::run(settings).await,
        Workload::ServerQueries => server_queries::run(settings).await,
    }
}

/// The statement that attaches a PostgreSQL as `pg`.
fn attach_postgres(url: &str) -> String {
    format!("CREATE CATALOG pg USING postgres WITH (url = '{url}')")
}

/// The statement that attaches a folder as `lake`.
fn attach_lake(folder: &Path) -> String {
    format!("CREATE CATALOG lake USING object_store WITH (location = '{}')", folder.display())
}

/// Plain DataFusion with a folder's Parquet files as `lake.public.TABLE`, under the settings of Polder's own planner.
async fn data_fusion(folder: &Path, threads: usize) -> Result<SessionContext> {
    let mut config =
        SessionConfig::new().with_target_partitions(threads).with_default_catalog_and_schema("lake", "public");
    let parser = &mut config.options_mut().sql_parser;
    parser.dialect = Dialect::PostgreSQL;
    // Decides whether literals such as 0.05 make a query compute with decimals or with doubles.
    parser.parse_float_as_decimal = true;
    let context = SessionContext::new_with_config(config);
    for table in tpch::TABLES {
        let file = folder.join(format!("{table}.parquet"));
        if file.is_file() {
            context.register_parquet(table, file.to_string_lossy(), ParquetReadOptions::default()).await?;
        }
    }
    Ok(context)
}

/// Plain DataFusion with one Parquet file as a table.
async fn data_fusion_table(file: &Path, table: &str, threads: usize) -> Result<SessionContext> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
    context.register_parquet(table, file.to_string_lossy(), ParquetReadOptions::default()).await?;
    Ok(context)
}

/// Attaches a PostgreSQL to DuckDB as `pg`.
fn attach_postgres_to_duckdb(duckdb: &Peer, url: &str) -> Result<()> {
    duckdb.run(&format!("ATTACH '{url}' AS pg (TYPE postgres, READ_ONLY)"))
}

/// Makes a folder's Parquet files readable in DuckDB as `lake.public.TABLE`.
fn attach_lake_to_duckdb(duckdb: &Peer, folder: &Path) -> Result<()> {
    duckdb.run("ATTACH ':memory:' AS lake")?;
    duckdb.run("CREATE SCHEMA lake.public")?;
    for table in tpch::TABLES {
        let file = folder.join(format!("{table}.parquet"));
        if file.is_file() {
            duckdb.run(&format!("CREATE VIEW lake.public.{table} AS FROM read_parquet('{}')", file.display()))?;
        }
    }
    Ok(())
}

/// A `psql` that runs one statement over TCP, as our own connector does, and throws its rows away.
fn psql(postgres: &polder_testing::Postgres, sql: &str) -> Contender {
    let program = postgres.psql_command("postgres").get_program().to_os_string();
    Contender::program("psql", program, &["-X", "-q", "-d", &postgres.url(), "-c", sql])
}
