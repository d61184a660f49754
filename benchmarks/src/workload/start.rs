//! `start`: from the shell to the first answer and back, and the memory of a shell that waits for its next statement.

use crate::Result;
use crate::arguments::Settings;
use crate::contender::Contender;
use crate::measure::interleave;
use crate::memory::resident_now;
use crate::program::program;
use crate::report::{Finding, Measured};
use crate::rows;
use arrow::datatypes::{DataType, Field, Schema};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const STATEMENT: &str = "SELECT 1 AS one";
const ROUNDS: u32 = 41;

/// After its answer a shell gets this long to come to rest.
const REST: Duration = Duration::from_millis(500);

pub(crate) async fn run(settings: &Settings) -> Result<Measured> {
    let polder = program(settings)?;
    let mut contenders = vec![Contender::program("polder", &polder, &["sql", "--format", "csv", "-c", STATEMENT])];
    let mut measured = Measured { rounds: settings.rounds(ROUNDS), ..Measured::default() };
    measured.contenders = vec![version(&polder)?];
    let answer = printed(&polder, &["sql", "--format", "csv", "-c", STATEMENT])?;
    if let Some(peers) = &settings.peers {
        let duckdb = peers.duckdb_program()?;
        let arguments = ["-csv", "-c", STATEMENT];
        measured.contenders.push(format!("duckdb {}", version(&duckdb)?));
        let other = printed(&duckdb, &arguments)?;
        rows::assert_identical(&parse(&answer)?, "duckdb", &parse(&other)?)?;
        contenders.push(Contender::program("duckdb", duckdb, &arguments));
    }
    measured.hash = rows::fingerprint(&parse(&answer)?)?.to_string();

    let samples = interleave(&contenders, measured.rounds).await?;
    measured.table("start", &samples);
    measured.findings.extend(samples[1..].iter().map(|peer| Finding::time("start", &samples[0], peer, Some(2.0))));
    measured.findings.push(Finding::memory("idle_memory", idle_memory(&polder)?, 60.0));
    Ok(measured)
}

/// The memory of `polder sql` that has answered one statement and waits for the next.
fn idle_memory(polder: &Path) -> Result<u64> {
    let mut shell = Command::new(polder)
        .args(["sql", "--format", "csv"])
        .env_remove("POLDER_DATA")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = shell.stdin.take().ok_or("the shell has no standard input")?;
    let mut output = BufReader::new(shell.stdout.take().ok_or("the shell has no standard output")?);
    writeln!(input, "{STATEMENT};")?;
    input.flush()?;
    let mut answer = String::new();
    while output.read_line(&mut answer)? > 0 && answer.lines().count() < 2 {}
    std::thread::sleep(REST);
    let bytes = resident_now(shell.id());
    drop(input);
    let status = shell.wait()?;
    if status.success() && answer == "one\n1\n" {
        bytes
    } else {
        Err(format!("polder sql: {status}, {answer:?}").into())
    }
}

/// The program given, or the one that cargo builds beside this one from the same sources.
fn version(program: &Path) -> Result<String> {
    Ok(String::from_utf8(printed(program, &["--version"])?)?.trim().to_string())
}

fn printed(program: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into())
}

fn parse(csv: &[u8]) -> Result<Vec<arrow::record_batch::RecordBatch>> {
    rows::read_csv(csv, &Arc::new(Schema::new(vec![Field::new("one", DataType::Int64, true)])))
}
