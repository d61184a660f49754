//! One operator of a plan as it is shown: as lines for people, as JSON for programs.
//!
//! The keys are PostgreSQL's where it has the thing (`Node Type`, `Plans`, `Actual Rows`, `Execution Time`), so what draws its
//! plans draws these.

use serde::{Serialize, Serializer};
use std::time::Duration;

/// An operator with those below it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Node {
    #[serde(rename = "Node Type")]
    pub(super) kind: String,
    /// The operator as it describes itself; a scan is described by its request.
    #[serde(rename = "Detail", skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    #[serde(rename = "Catalog", skip_serializing_if = "Option::is_none")]
    pub(super) catalog: Option<String>,
    /// What the source is sent.
    #[serde(rename = "Request", skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<String>,
    /// Why no source does it.
    #[serde(rename = "Local", skip_serializing_if = "Option::is_none")]
    pub(super) local: Option<String>,
    /// Whether a transaction reads it without checking at its end that it still holds.
    #[serde(rename = "Read Live", skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_live: bool,
    /// Columns whose keys the join above will know.
    #[serde(rename = "Awaited Keys", skip_serializing_if = "Vec::is_empty")]
    pub(super) awaited: Vec<String>,
    /// What the join above added to the request.
    #[serde(rename = "Keys", skip_serializing_if = "Vec::is_empty")]
    pub(super) keys: Vec<String>,
    #[serde(rename = "Kept Local", skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<KeptHere>,
    #[serde(rename = "Actual Rows", skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    #[serde(rename = "Actual Bytes", skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    /// From the first to the last row of a scan.
    #[serde(rename = "Actual Total Time", skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<Milliseconds>,
    /// What an operator computed, over all threads.
    #[serde(rename = "Compute Time", skip_serializing_if = "Option::is_none")]
    pub(super) compute: Option<Milliseconds>,
    #[serde(rename = "Plans", skip_serializing_if = "Vec::is_empty")]
    pub(super) below: Vec<Node>,
}

/// What a source could not be asked.
#[derive(Debug, Serialize)]
pub(super) struct KeptHere {
    #[serde(rename = "What")]
    pub(super) what: String,
    #[serde(rename = "Expression", skip_serializing_if = "String::is_empty")]
    pub(super) expression: String,
    #[serde(rename = "Reason")]
    pub(super) reason: String,
}

impl Node {
    /// The lines of this operator and of those below it.
    pub(super) fn write_lines(&self, depth: usize, lines: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        let head = match (&self.detail, &self.catalog) {
            (Some(detail), _) => detail.clone(),
            (None, Some(catalog)) => format!("Scan {catalog}"),
            (None, None) => self.kind.clone(),
        };
        lines.push(format!("{indent}{head}{}", self.measured()));
        lines.extend(self.notes().into_iter().map(|note| format!("{indent}    {note}")));
        self.below.iter().for_each(|node| node.write_lines(depth + 1, lines));
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<_> = self.local.iter().map(|reason| format!("local: {reason}")).collect();
        notes.extend(self.request.iter().flat_map(|request| request.lines()).map(|line| format!("sends: {line}")));
        if self.is_live {
            notes.push("read live: COMMIT does not check whether it still holds".to_string());
        }
        if !self.awaited.is_empty() {
            notes.push(format!("keys: {}, asked for once the join above knows them", self.awaited.join(", ")));
        }
        notes.extend(self.keys.iter().map(|keys| format!("keys: {keys}")));
        for KeptHere { what, expression, reason } in &self.kept {
            let space = if expression.is_empty() { "" } else { " " };
            notes.push(format!("local {what}{space}{expression}: {reason}"));
        }
        notes
    }

    fn measured(&self) -> String {
        let parts: Vec<_> = [
            self.rows.map(|rows| format!("rows={rows}")),
            self.bytes.map(|bytes| format!("bytes={bytes}")),
            self.time.map(|Milliseconds(time)| format!("time={}", milliseconds(time))),
            self.compute.map(|Milliseconds(time)| format!("compute={}", milliseconds(time))),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() { String::new() } else { format!("  ({})", parts.join(", ")) }
    }

    fn add_sources(&self, sources: &mut Vec<Source>) {
        if let (Some(catalog), Some(rows), Some(bytes)) = (&self.catalog, self.rows, self.bytes) {
            match sources.iter_mut().find(|source| source.catalog == *catalog) {
                Some(source) => {
                    source.rows += rows;
                    source.bytes += bytes;
                }
                None => sources.push(Source { catalog: catalog.clone(), rows, bytes }),
            }
        }
        self.below.iter().for_each(|node| node.add_sources(sources));
    }
}

/// The whole explanation.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    #[serde(rename = "Plan")]
    plan: Option<Node>,
    /// What each source sent, over all its scans.
    #[serde(rename = "Sources", skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Source>,
    #[serde(rename = "Execution Time", skip_serializing_if = "Option::is_none")]
    elapsed: Option<Milliseconds>,
    #[serde(rename = "Logical Plan", skip_serializing_if = "Option::is_none")]
    logical: Option<String>,
}

#[derive(Debug, Serialize)]
struct Source {
    #[serde(rename = "Catalog")]
    catalog: String,
    #[serde(rename = "Actual Rows")]
    rows: u64,
    #[serde(rename = "Actual Bytes")]
    bytes: u64,
}

impl Document {
    pub(super) fn new(nodes: Vec<Node>, elapsed: Option<Duration>, logical: Option<String>) -> Self {
        let mut sources = Vec::new();
        nodes.iter().for_each(|node| node.add_sources(&mut sources));
        Self { plan: nodes.into_iter().next(), sources, elapsed: elapsed.map(Milliseconds), logical }
    }
}

/// A time, written as a number of milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Milliseconds(pub(super) Duration);

impl Serialize for Milliseconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0.as_secs_f64() * 1_000_000.0).round() / 1_000.0)
    }
}

pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1_000.0)
}
