//! The command line, and the settings that follow from it.

use crate::Result;
use crate::peers::Peers;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// Measures Polder beside its peers, in one run, on equal rows.
#[derive(Debug, Parser)]
#[command(name = "polder-benchmarks", version)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum, required_unless_present = "child")]
    workloads: Vec<Choice>,
    /// Little data, two rounds, and only the peers that need no installation: shows that the benchmarks still work
    #[arg(long)]
    small: bool,
    /// The scale factor of the data (1 is 6 million rows of lineitem)
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f64>,
    /// How many rounds, instead of the workload's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// The polder program, instead of the one that cargo builds beside this one
    #[arg(long, value_name = "PATH")]
    polder: Option<PathBuf>,
    /// Run a setup statement and a query, and report the peak of this process's memory
    #[arg(long, hide = true, num_args = 2, value_names = ["SETUP", "QUERY"])]
    pub(crate) child: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Choice {
    /// All of them, one after the other
    All,
    /// Every row and column of a PostgreSQL table into Arrow
    PostgresScan,
    /// GROUP BY over a PostgreSQL table
    PostgresAggregate,
    /// PostgreSQL joined with Parquet
    FederatedJoin,
    /// The 22 queries derived from TPC-H, on Parquet
    ParquetQueries,
    /// From the shell to the first answer, and the memory of a shell that waits
    Start,
    /// Search hits joined to a large PostgreSQL table
    KeyShipping,
    /// Durable appends of one kilobyte
    LogAppend,
    /// Every record of a topic, and its last one
    LogScan,
    /// The ten best of six thousand mails for each of many questions
    SearchTop10,
    /// Durable inserts into a table with a primary key.
    TableCommit,
    /// A table after many updates: all of it, one row of it, and opening it again.
    TableScan,
    /// Payments between accounts in several shards.
    TableCall,
    /// Five million rows over Flight SQL
    FlightTransfer,
    /// The same rows over PostgreSQL's protocol
    PgwireTransfer,
    /// Queries, lookups and commits of many clients of a server
    ServerQueries,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    PostgresScan,
    PostgresAggregate,
    FederatedJoin,
    ParquetQueries,
    Start,
    KeyShipping,
    LogAppend,
    LogScan,
    SearchTop10,
    TableCommit,
    TableScan,
    TableCall,
    FlightTransfer,
    PgwireTransfer,
    ServerQueries,
}

impl Workload {
    const ALL: [Self; 15] = [
        Self::PostgresScan,
        Self::PostgresAggregate,
        Self::FederatedJoin,
        Self::ParquetQueries,
        Self::Start,
        Self::KeyShipping,
        Self::LogAppend,
        Self::LogScan,
        Self::SearchTop10,
        Self::TableCommit,
        Self::TableScan,
        Self::TableCall,
        Self::FlightTransfer,
        Self::PgwireTransfer,
        Self::ServerQueries,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PostgresScan => "postgres_scan",
            Self::PostgresAggregate => "postgres_aggregate",
            Self::FederatedJoin => "federated_join",
            Self::ParquetQueries => "parquet_queries",
            Self::Start => "start",
            Self::KeyShipping => "key_shipping",
            Self::LogAppend => "log_append",
            Self::LogScan => "log_scan",
            Self::SearchTop10 => "search_top10",
            Self::TableCommit => "table_commit",
            Self::TableScan => "table_scan",
            Self::TableCall => "table_call",
            Self::FlightTransfer => "flight_transfer",
            Self::PgwireTransfer => "pgwire_transfer",
            Self::ServerQueries => "server_queries",
        }
    }
}

/// How to run: what the report prints, so that a run can be repeated.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) small: bool,
    pub(crate) scale: f64,
    rounds: Option<u32>,
    pub(crate) polder: Option<PathBuf>,
    /// Threads of every contender that can be told.
    pub(crate) threads: usize,
    /// Where the installed peers are; `None` in a small run, which needs nothing installed.
    pub(crate) peers: Option<Peers>,
}

impl Settings {
    /// The number of rounds, where the workload wants `usual` of them.
    pub(crate) fn rounds(&self, usual: u32) -> u32 {
        self.rounds.unwrap_or(if self.small { 1 } else { usual })
    }
}

impl Arguments {
    /// What to run, each once, in the order given.
    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let mut workloads = Vec::new();
        for choice in &self.workloads {
            let chosen: &[Workload] = match choice {
                Choice::All => &Workload::ALL,
                Choice::PostgresScan => &[Workload::PostgresScan],
                Choice::PostgresAggregate => &[Workload::PostgresAggregate],
                Choice::FederatedJoin => &[Workload::FederatedJoin],
                Choice::ParquetQueries => &[Workload::ParquetQueries],
                Choice::Start => &[Workload::Start],
                Choice::KeyShipping => &[Workload::KeyShipping],
                Choice::LogAppend => &[Workload::LogAppend],
                Choice::LogScan => &[Workload::LogScan],
                Choice::SearchTop10 => &[Workload::SearchTop10],
                Choice::TableCommit => &[Workload::TableCommit],
                Choice::TableScan => &[Workload::TableScan],
                Choice::TableCall => &[Workload::TableCall],
                Choice::FlightTransfer => &[Workload::FlightTransfer],
                Choice::PgwireTransfer => &[Workload::PgwireTransfer],
                Choice::ServerQueries => &[Workload::ServerQueries],
            };
            for workload in chosen {
                if !workloads.contains(workload) {
                    workloads.push(*workload);
                }
            }
        }
        workloads
    }

    pub(crate) fn settings(&self) -> Result<Settings> {
        Ok(Settings {
            small: self.small,
            scale: self.scale.unwrap_or(if self.small { 0.002 } else { 0.2 }),
            rounds: self.rounds,
            polder: self.polder.clone(),
            threads: std::thread::available_parallelism()?.get(),
            peers: if self.small { None } else { Some(Peers::installed()?) },
        })
    }
}
