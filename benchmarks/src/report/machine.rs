//! Where and of what a figure was taken: a figure without this is no figure.

use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::process::Command;

/// The machine of this run.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    /// Processes that ran or waited in the minute before: on a shared machine this explains a bad figure.
    load: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let kibibytes = value(&memory, "MemTotal").and_then(|text| text.strip_suffix("kB")?.trim().parse().ok());
        Self {
            cpu: value(&cpu, "model name").unwrap_or("unknown").to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kibibytes.map_or(0, |kibibytes: u64| kibibytes >> 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_string(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_gib, kernel, load } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gib} GiB, Linux {kernel}, load {load} at the start")
    }
}

/// The commit that was built, marked if the tree holds more than that.
pub(crate) fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_string() };
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/benchmarks/history.ndjson"]);
    if changes.is_some_and(|changes| changes.is_empty()) { commit } else { format!("{commit} with changes") }
}

fn git(arguments: &[&str]) -> Option<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("git").arg("-C").arg(here).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The first `key : value` of a file of `/proc`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':')).map(str::trim)
}
