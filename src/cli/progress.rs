//! The line that shows that a long query is alive: what came from each source, and how long it takes.

use crate::session::{Progress, SourceProgress};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// A query that ends sooner shows nothing.
const QUIET: Duration = Duration::from_millis(500);
const REDRAW: Duration = Duration::from_millis(200);

/// Back to the start of the line, and erase it.
const CLEAR: &str = "\r\x1b[2K";

/// One line on standard error, if that is a terminal; nothing otherwise.
pub(crate) struct ProgressLine {
    started: Instant,
    ticks: Option<Interval>,
    drawn: bool,
}

impl ProgressLine {
    /// Starts the clock of a statement.
    pub(crate) fn start() -> Self {
        let started = Instant::now();
        let ticks = io::stderr().is_terminal().then(|| {
            let mut ticks = interval_at(started + QUIET, REDRAW);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { started, ticks, drawn: false }
    }

    /// Since the statement started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Completes when the line should be drawn anew. Cancel-safe.
    pub(crate) async fn tick(&mut self) {
        match &mut self.ticks {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Draws the line.
    pub(crate) fn draw(&mut self, progress: Option<&Progress>) {
        let sources = progress.map(Progress::sources).unwrap_or_default();
        let text = line(&sources, self.elapsed());
        drop(write!(io::stderr(), "{CLEAR}{text}"));
        drop(io::stderr().flush());
        self.drawn = true;
    }

    /// Takes the line away, before anything else is written.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            drop(write!(io::stderr(), "{CLEAR}"));
            drop(io::stderr().flush());
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(sources: &[SourceProgress], elapsed: Duration) -> String {
    let mut parts: Vec<String> = sources
        .iter()
        .map(|source| format!("{}: {} rows, {}", source.name, grouped(source.rows), size(source.bytes)))
        .collect();
    parts.push(format!("{:.1} s", elapsed.as_secs_f64()));
    parts.join(" · ")
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

/// `512 B`, `3.4 MB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::{SourceProgress, line};
    use std::time::Duration;

    #[test]
    fn the_line_names_rows_and_bytes_of_each_source() {
        let source = |name: &str, rows, bytes| SourceProgress { name: name.to_string(), rows, bytes };
        let sources = [source("shop", 1_204_000, 35_100_000), source("lake", 3, 999), source("cold", 0, 999_990)];
        let text = line(&sources, Duration::from_millis(2_140));
        assert_eq!(text, "shop: 1,204,000 rows, 35.1 MB · lake: 3 rows, 999 B · cold: 0 rows, 1.0 MB · 2.1 s");
    }
}
