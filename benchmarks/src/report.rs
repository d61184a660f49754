//! What a run says: the machine and the settings first, then the tables, the `RESULT` lines last; and the same as one
//! line per workload in `history.ndjson`.

mod machine;

use crate::Result;
use crate::arguments::{Settings, Workload};
use crate::measure::Samples;
use machine::Machine;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

#[cfg(test)]
mod tests;

/// What is compared, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "rows/s")]
    RowsPerSecond,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "MB")]
    Megabytes,
    #[serde(rename = "rows")]
    Rows,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "syncs")]
    Syncs,
    #[serde(rename = "share")]
    Share,
}

impl Unit {
    fn more_is_better(self) -> bool {
        match self {
            Self::RowsPerSecond | Self::Share => true,
            Self::Milliseconds | Self::Megabytes | Self::Rows | Self::Microseconds | Self::Syncs => false,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowsPerSecond => "rows/s",
            Self::Milliseconds => "ms",
            Self::Megabytes => "MB",
            Self::Rows => "rows",
            Self::Microseconds => "us",
            Self::Syncs => "syncs",
            Self::Share => "share",
        })
    }
}

/// One figure of ours beside one of another.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// What was measured: `scan`, `total_of_22`, `peak_memory`.
    pub(crate) measure: &'static str,
    /// Whose figure stands beside ours: a peer's name, or `limit` for a figure that we set ourselves.
    pub(crate) against: &'static str,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    pub(crate) peer: f64,
    /// The ratio that we want: at least this where more is better, else at most this.
    pub(crate) bound: Option<f64>,
}

impl Finding {
    /// Two times.
    pub(crate) fn time(measure: &'static str, ours: &Samples, peer: &Samples, bound: Option<f64>) -> Self {
        let (ours, theirs) = (milliseconds(ours.median()), milliseconds(peer.median()));
        Self { measure, against: peer.name, unit: Unit::Milliseconds, ours, peer: theirs, bound }
    }

    /// Two times for the same number of rows, as rates.
    pub(crate) fn rate(measure: &'static str, rows: usize, ours: &Samples, peer: &Samples, bound: Option<f64>) -> Self {
        let rate = |samples: &Samples| rows as f64 / samples.median().as_secs_f64();
        Self { measure, against: peer.name, unit: Unit::RowsPerSecond, ours: rate(ours), peer: rate(peer), bound }
    }

    /// Memory under a limit that we set ourselves.
    pub(crate) fn memory(measure: &'static str, bytes: u64, limit_megabytes: f64) -> Self {
        let ours = bytes as f64 / 1e6;
        Self { measure, against: "limit", unit: Unit::Megabytes, ours, peer: limit_megabytes, bound: Some(1.0) }
    }

    /// A time under a limit that we set ourselves.
    pub(crate) fn within(measure: &'static str, ours: &Samples, limit_milliseconds: f64) -> Self {
        let ours = milliseconds(ours.median());
        Self { measure, against: "limit", unit: Unit::Milliseconds, ours, peer: limit_milliseconds, bound: Some(1.0) }
    }

    /// A rate that we want to reach ourselves.
    pub(crate) fn at_rate(measure: &'static str, rows: usize, ours: &Samples, wanted: f64) -> Self {
        let rate = rows as f64 / ours.median().as_secs_f64();
        Self { measure, against: "goal", unit: Unit::RowsPerSecond, ours: rate, peer: wanted, bound: Some(1.0) }
    }

    /// Rows that a source sent, under a limit that we set ourselves.
    pub(crate) fn moved(measure: &'static str, rows: u64, limit: u64) -> Self {
        Self { measure, against: "limit", unit: Unit::Rows, ours: rows as f64, peer: limit as f64, bound: Some(1.0) }
    }

    /// What each commit costs.
    pub(crate) fn cost(measure: &'static str, unit: Unit, ours: f64, against: &'static str, peer: f64) -> Self {
        Self { measure, against, unit, ours, peer, bound: None }
    }

    /// A figure of ours under a limit, or over a goal, that we set ourselves.
    pub(crate) fn bounded(measure: &'static str, unit: Unit, ours: f64, limit: f64) -> Self {
        let against = if unit.more_is_better() { "goal" } else { "limit" };
        Self { measure, against, unit, ours, peer: limit, bound: Some(1.0) }
    }

    fn ratio(&self) -> f64 {
        self.ours / self.peer
    }

    fn is_met(&self) -> Option<bool> {
        let bound = self.bound?;
        Some(if self.unit.more_is_better() { self.ratio() >= bound } else { self.ratio() <= bound })
    }

    /// The line that people and scripts look for.
    fn line(&self, workload: Workload) -> String {
        let mut line = format!(
            "RESULT workload={} ours={} peer={} ratio={:.3} measure={} against={} unit={}",
            workload.name(),
            short(self.ours),
            short(self.peer),
            self.ratio(),
            self.measure,
            self.against,
            self.unit,
        );
        if let (Some(bound), Some(met)) = (self.bound, self.is_met()) {
            let relation = if self.unit.more_is_better() { "at_least" } else { "at_most" };
            line += &format!(" {relation}={bound} met={}", if met { "yes" } else { "no" });
        }
        line
    }
}

/// What a workload gives.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    /// The fingerprint of our rows: two runs on the same data must agree.
    pub(crate) hash: String,
    /// Who ran, with versions and whatever else decides about speed.
    pub(crate) contenders: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) findings: Vec<Finding>,
    /// Medians in milliseconds, by what ran and who ran it.
    pub(crate) medians: BTreeMap<String, BTreeMap<&'static str, f64>>,
}

impl Measured {
    /// Prints a block of times and keeps their medians.
    pub(crate) fn table(&mut self, what: &str, samples: &[Samples]) {
        println!("{what:<24}{:>12}{:>12}{:>12}  (ms)", "median", "fastest", "slowest");
        for one in samples {
            let times = [one.median(), one.fastest(), one.slowest()].map(milliseconds);
            println!("  {:<22}{:>12.2}{:>12.2}{:>12.2}", one.name, times[0], times[1], times[2]);
        }
        self.keep(what, samples);
    }

    /// Prints the medians alone, in one line, each with ours over it, and keeps them.
    pub(crate) fn row(&mut self, what: &str, samples: &[Samples]) {
        let ours = samples.first().map(|ours| milliseconds(ours.median())).unwrap_or_default();
        print!("{what:<6}");
        for one in samples {
            let median = milliseconds(one.median());
            print!("{:>12} {median:>9.2} ms {:>6.3}", one.name, ours / median);
        }
        println!();
        self.keep(what, samples);
    }

    fn keep(&mut self, what: &str, samples: &[Samples]) {
        let medians = samples.iter().map(|one| (one.name, milliseconds(one.median()))).collect();
        self.medians.insert(what.to_string(), medians);
    }
}

/// One line of the history.
#[derive(Serialize)]
struct Entry<'a> {
    unix_seconds: u64,
    commit: &'a str,
    machine: &'a Machine,
    workload: Workload,
    scale: f64,
    threads: usize,
    #[serde(flatten)]
    measured: &'a Measured,
}

/// A run from its first line to its last.
pub(crate) struct Report {
    machine: Machine,
    commit: String,
    scale: f64,
    threads: usize,
    small: bool,
    measured: Vec<(Workload, Measured)>,
}

impl Report {
    /// Prints what a reader needs to judge the figures.
    pub(crate) fn start(settings: &Settings) -> Self {
        let machine = Machine::this();
        let commit = machine::commit();
        println!("machine   {machine}");
        println!("commit    {commit}, {} profile", profile());
        let size = if settings.small { "small: shows that it works, not how fast" } else { "full" };
        println!("settings  scale {}, {} threads each, {size}", settings.scale, settings.threads);
        let (scale, threads, small) = (settings.scale, settings.threads, settings.small);
        Self { machine, commit, scale, threads, small, measured: Vec::new() }
    }

    /// Takes a workload's figures, and prints what ran and the hash of its rows.
    pub(crate) fn add(&mut self, workload: Workload, measured: Measured) {
        println!("{} ran {} rounds of {}", workload.name(), measured.rounds, measured.contenders.join(", "));
        println!("HASH workload={} rows={}", workload.name(), measured.hash);
        self.measured.push((workload, measured));
    }

    /// Keeps the figures if they mean something, then prints the verdict.
    pub(crate) fn finish(self) -> Result<()> {
        if self.is_kept() {
            self.append()?;
        } else {
            println!("history.ndjson is left as it is: it holds full runs in the release profile");
        }
        for (workload, measured) in &self.measured {
            for finding in &measured.findings {
                println!("{}", finding.line(*workload));
            }
        }
        Ok(())
    }

    fn is_kept(&self) -> bool {
        !self.small && !cfg!(debug_assertions)
    }

    fn append(&self) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("history.ndjson");
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let unix_seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        for (workload, measured) in &self.measured {
            let (machine, commit, scale, threads) = (&self.machine, &*self.commit, self.scale, self.threads);
            let entry = Entry { unix_seconds, commit, machine, workload: *workload, scale, threads, measured };
            writeln!(file, "{}", serde_json::to_string(&entry)?)?;
        }
        Ok(())
    }
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Rates without a fraction, times and sizes with two digits of one.
fn short(number: f64) -> String {
    if number >= 10_000.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}
