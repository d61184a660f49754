//! The benchmarks keep themselves alive: every workload runs on little data and agrees with its peers about the rows.
//! Nothing is timed here.

use std::path::Path;
use std::process::Command;

const WORKLOADS: [&str; 12] = [
    "postgres_scan",
    "postgres_aggregate",
    "federated_join",
    "parquet_queries",
    "start",
    "key_shipping",
    "log_append",
    "log_scan",
    "search_top10",
    "flight_transfer",
    "pgwire_transfer",
    "server_queries",
];

/// What a small run of some workloads prints.
fn small(workloads: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_polder-benchmarks"));
    let mut command = Command::new(program);
    command.arg("--small").args(workloads);
    // Built by the same `cargo test` when the whole workspace is tested; otherwise the benchmark builds it.
    let polder = program.with_file_name("polder");
    if polder.is_file() {
        command.arg("--polder").arg(polder);
    }
    let output = command.output().expect("run the benchmarks");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{workloads:?} failed:\n{stdout}\n{stderr}");
    stdout
}

/// A benchmark that no longer runs, or whose rows differ from its peers', is found here and not on the day it is needed.
#[test]
fn every_workload_runs_on_little_data_and_agrees_with_its_peers() {
    let printed = small(&["all"]);
    for workload in WORKLOADS {
        let hash = printed.lines().find(|line| line.starts_with(&format!("HASH workload={workload} rows=")));
        assert!(hash.is_some(), "{workload} printed no hash:\n{printed}");
        let start = format!("RESULT workload={workload} ours=");
        let result = printed.lines().find(|line| line.starts_with(&start));
        assert!(
            result.is_some_and(|line| line.contains(" peer=") && line.contains(" ratio=")),
            "{workload}:\n{printed}"
        );
    }
}

/// Two runs can only be compared if they read the same rows.
#[test]
fn the_hash_of_a_workload_is_the_same_in_every_run() {
    let hashes = || -> Vec<String> {
        let printed = small(&["federated_join"]);
        printed.lines().filter(|line| line.starts_with("HASH")).map(str::to_string).collect()
    };
    let first = hashes();
    assert_eq!(first.len(), 1);
    assert_eq!(first, hashes());
}
