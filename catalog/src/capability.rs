//! What a source can do, as data: the planner reads it and EXPLAIN prints it.

use std::fmt;

/// Whether a source does one kind of work itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does, for what the connector's translator knows to be exact.
    Exact,
    /// It narrows what is read; Polder checks every row again.
    Inexact,
    /// It does not.
    No,
}

/// What a source can take over from the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Reading only the columns asked for.
    pub projection: Support,
    /// Dropping rows by a predicate.
    pub filter: Support,
    /// Stopping after so many rows.
    pub limit: Support,
    /// ORDER BY with a LIMIT.
    pub top_n: Support,
    /// GROUP BY and aggregate functions.
    pub aggregate: Support,
    /// Joining two of its own tables.
    pub join: Support,
    /// Reading only the rows with the keys that a join turned out to have:
    /// [`Scan::with_runtime_filters`](crate::Scan::with_runtime_filters).
    pub keys: bool,
    /// One snapshot for all scans of a query.
    pub snapshot: bool,
    /// Whether an entry is applied as one transaction.
    pub transactions: bool,
}

impl Capabilities {
    /// A source that only hands out its rows.
    pub const NONE: Self = Self {
        projection: Support::No,
        filter: Support::No,
        limit: Support::No,
        top_n: Support::No,
        aggregate: Support::No,
        join: Support::No,
        keys: false,
        snapshot: false,
        transactions: false,
    };
}

/// Why something was kept local. Codes are stable, texts are for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// The source has no such operation.
    SourceLacks,
    /// The source's own semantics differ, or are not proven equal.
    Semantics,
    /// The order or equality of text depends on the source's collation.
    Collation,
    /// The type has no exact counterpart.
    Type,
    /// The inputs come from several sources.
    SeveralSources,
    /// The expression gives another result at each call.
    Volatile,
    /// It would move more rows than it saves.
    Cost,
    /// Pushdown was switched off.
    Off,
    /// What it stands on was kept local already.
    Input,
    /// The source did the work; what remains here makes its result exact.
    Finishes,
}

impl ReasonCode {
    /// The code as EXPLAIN prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceLacks => "source_lacks",
            Self::Semantics => "semantics",
            Self::Collation => "collation",
            Self::Type => "type",
            Self::SeveralSources => "several_sources",
            Self::Volatile => "volatile",
            Self::Cost => "cost",
            Self::Off => "pushdown_off",
            Self::Input => "input_local",
            Self::Finishes => "finishes",
        }
    }
}

/// A code and one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The stable code.
    pub code: ReasonCode,
    /// What exactly stood in the way.
    pub text: String,
}

impl Reason {
    /// A reason in words.
    pub fn new(code: ReasonCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Pushdown was switched off for this session.
    pub fn off() -> Self {
        Self::new(ReasonCode::Off, "pushdown is off")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.text, self.code.as_str())
    }
}

/// A part of the query that a scan did not hand to its source, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLocal {
    /// `filter`, `limit`, `projection` or the name of an operator.
    pub what: &'static str,
    /// The expression, printed as SQL.
    pub expression: String,
    /// Why it stayed.
    pub reason: Reason,
}
