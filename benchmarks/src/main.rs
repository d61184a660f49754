//! Reproducible benchmarks: Polder and its peers in one run, on the same data, one after the other in each round.
//!
//! ```text
//! cargo run --release -p polder-benchmarks -- WORKLOAD...     measures and appends to history.ndjson
//! cargo run -p polder-benchmarks -- --small all               the same code on little data: does it still work?
//! ```
//!
//! A workload checks that all contenders return the same rows before it times them. The run ends with one line
//! `RESULT workload=... ours=... peer=... ratio=...` for each comparison. README.md says what the workloads are.

// Wall time is what is measured here, and the terminal is where it goes.
#![expect(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod contender;
mod measure;
mod memory;
mod mixed;
mod peers;
mod pgbench;
mod program;
mod report;
mod rows;
mod served;
mod tpch;
mod workload;

use arguments::Arguments;
use clap::Parser;
use report::Report;
use std::process::ExitCode;

/// Whatever stops a benchmark is told to the person who runs it, and nobody else handles it.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    if let [setup, query] = arguments.child.as_slice() {
        return memory::report_own_peak(setup, query).await;
    }
    let settings = arguments.settings()?;
    let mut report = Report::start(&settings);
    for workload in arguments.workloads() {
        report.add(workload, workload::run(workload, &settings).await?);
    }
    report.finish()
}
