//! Memory, as Linux counts it in `/proc/PID/status`.

use crate::contender::{engine, query};
use crate::{Result, rows};
use serde::{Deserialize, Serialize};
use std::process::Command;

/// What a child process tells on its last line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peak {
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
}

/// The peak of a process of its own that runs a setup statement and then reads a query's rows to the end: here the
/// generated data and the rows of other contenders would count.
pub(crate) fn peak_of_a_child(setup: &str, query: &str) -> Result<Peak> {
    let output = Command::new(std::env::current_exe()?).args(["--child", setup, query]).output()?;
    if !output.status.success() {
        return Err(format!("the child process failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The child's side.
pub(crate) async fn report_own_peak(setup: &str, sql: &str) -> Result<()> {
    let engine = engine(&[setup.to_string()]).await?;
    let session = engine.session();
    let mut stream = query(&session, sql).await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await? {
        rows += rows::count(&[batch]);
    }
    let bytes = resident("self", "VmHWM")?;
    println!("{}", serde_json::to_string(&Peak { rows, bytes })?);
    Ok(())
}

/// What a process holds in memory now.
pub(crate) fn resident_now(pid: u32) -> Result<u64> {
    resident(&pid.to_string(), "VmRSS")
}

fn resident(process: &str, key: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    parse(&status, key).ok_or_else(|| format!("/proc/{process}/status has no {key}").into())
}

/// Reads `VmRSS:     1234 kB`.
fn parse(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests;
