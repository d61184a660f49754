//! The two traits that a connector implements: [`Connector`], a kind of system, and [`Source`], one attached instance.

use crate::{
    Capabilities, CatalogName, Changes, Dataset, DatasetEntry, OptionSpec, Options, Reach, ReadContext, Reason, Result,
    ScanExec, ScanReport, Writer,
};
use async_trait::async_trait;
use datafusion_expr::{LogicalPlan, ScalarUDF};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::TableProvider;
use std::fmt::Debug;
use std::sync::Arc;

/// Code for one kind of system: `postgres`, `object_store`, `memory`, ...
///
/// # Promises
/// 1. `name`, `options` and `doc` are constant for the life of the process.
/// 2. `attach` makes no network call: a source that is down can be attached, and says so when it is used. So one dead
///    source never keeps the engine from opening.
/// 3. `attach` reads no secret; secrets are read at each connect.
#[async_trait]
pub trait Connector: Debug + Send + Sync {
    /// The word after `USING`.
    fn name(&self) -> &'static str;

    /// One sentence for the reference: what system, which versions.
    fn doc(&self) -> &'static str;

    /// Every option that `WITH (...)` takes.
    fn options(&self) -> &'static [OptionSpec];

    /// Functions of its own, for every query: what its sources can push down, and evaluated here for everything else.
    fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        Vec::new()
    }

    /// Where the folders, buckets and HTTP servers are that these options lead to. What the engine does not allow is not attached.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    fn reaches(&self, options: &Options) -> Result<Vec<Reach>> {
        let _ = options;
        Ok(Vec::new())
    }

    /// Makes a source of validated options.
    ///
    /// # Errors
    /// [`Kind::Fix`](crate::Kind::Fix) naming the option, if options contradict each other or cannot be parsed further.
    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>>;
}

/// One attached instance of a connector.
///
/// # Promises of the source
/// 1. *Listing is cheap*: [`schemas`](Self::schemas) and [`datasets`](Self::datasets) do not load columns, and cost a
///    constant number of round trips.
/// 2. *Fresh*: a dataset created, altered or dropped at the system is seen by the next call. What a source caches it
///    checks before use.
/// 3. *Never wrong, only slower*: a provider declares a filter `Exact` only if the system drops exactly the rows that
///    DataFusion's evaluation of the same expression would.
/// 4. *Cancel*: a dropped future or stream, a cancelled [`ReadContext`] and a passed deadline all stop the work at the
///    system, not only here.
/// 5. *Errors name the source* and what to do; no part of a result is presented as the whole.
/// 6. All methods may be called concurrently.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// What the planner may hand over.
    fn capabilities(&self) -> Capabilities;

    /// The names of the schemas, in order. Those that hold the system's own tables (`pg_catalog`) may be left out, so that
    /// they do not drown the user's; [`datasets`](Self::datasets) and [`dataset`](Self::dataset) know them all the same.
    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>>;

    /// The schema that a two-part name (`catalog.table`) means.
    fn default_schema(&self) -> &str {
        "public"
    }

    /// Names, kinds and ids of all datasets of one schema, in order. An unknown schema has none.
    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>>;

    /// One dataset with its columns, ready to scan under `context`; `None` if it does not exist.
    ///
    /// The provider lives as long as one query and may keep the context.
    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>>;

    /// What `CHECK CATALOG` prints: reachable, version, TLS, rights. Never an error: what fails is a check that failed.
    async fn check(&self, context: &ReadContext) -> Vec<Check>;

    /// What a leaf of a physical plan asks of this source; `None` if the leaf is not this source's.
    ///
    /// The default knows [`ScanExec`]. A source that hands out other plan nodes describes them here, for EXPLAIN.
    fn describe_scan(&self, catalog: &CatalogName, leaf: &dyn ExecutionPlan) -> Option<ScanReport> {
        let exec = leaf.downcast_ref::<ScanExec>().filter(|exec| exec.catalog() == catalog)?;
        Some(exec.report())
    }

    /// Takes over plan fragments beyond one table's filter, projection and limit, if the system can.
    fn federation(&self) -> Option<Arc<dyn Federation>> {
        None
    }

    /// Runs a text of the system's own language, if it has one: `query('catalog', 'text')`.
    fn pass_through(&self) -> Option<Arc<dyn PassThrough>> {
        None
    }

    /// The system's own changes, if it can tell them.
    fn changes(&self) -> Option<Arc<dyn Changes>> {
        None
    }

    /// Takes entries of the log, if the system can be written.
    fn writer(&self) -> Option<Arc<dyn Writer>> {
        None
    }

    /// Closes what is open at the system. Called once, when the catalog is dropped, altered or the engine stops.
    async fn close(&self) {}
}

/// Takes over plan fragments: aggregates, Top-N, joins of one source's own tables.
///
/// # Promises
/// 1. Called by the optimizer after DataFusion's own rules, with a fragment whose leaves are all
///    [`SourceTable`](crate::SourceTable)s of this source. No I/O happens here.
/// 2. `Pushed::Whole` gives the same rows as the fragment would (*never wrong, only slower*). Its columns come in the
///    fragment's order, with the same types, nullability and metadata, under the names `c0`, `c1`, ...: a fragment may have
///    two columns of one name, so the planner restores the names. A Sort with a fetch only has to give the right rows: the
///    planner keeps the Sort above, since the order of a scan is not relied on.
/// 3. Anything not proven exact is `Pushed::Declined`, with the reason that EXPLAIN prints.
/// 4. Idempotent: a fragment already taken over is a single scan, and is not offered again.
pub trait Federation: Debug + Send + Sync {
    /// Tries to take over a fragment whole.
    fn push(&self, fragment: &LogicalPlan) -> Result<Pushed>;
}

/// The answer to [`Federation::push`].
#[derive(Debug)]
pub enum Pushed {
    /// The source evaluates the whole fragment; its rows come from this provider.
    Whole(Arc<dyn TableProvider>),
    /// The top of the fragment stays local.
    Declined(Reason),
}

/// Hands a text to the system untouched.
#[async_trait]
pub trait PassThrough: Debug + Send + Sync {
    /// Describes the result of `text` and makes it scannable. The system runs it read-only.
    async fn query(&self, context: &ReadContext, text: &str) -> Result<Arc<dyn TableProvider>>;
}

/// One line of `CHECK CATALOG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: `reachable`, `version`, `tls`, `rights on public.orders`.
    pub item: String,
    /// How it stands.
    pub state: CheckState,
    /// What was found.
    pub detail: String,
    /// The statement or setting that mends it, if something is missing.
    pub fix: Option<String>,
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// It works, with a risk that `detail` names.
    Warning,
    /// It does not work.
    Failed,
}

impl CheckState {
    /// The word that `CHECK CATALOG` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    /// A check that passed.
    pub fn ok(item: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { item: item.into(), state: CheckState::Ok, detail: detail.into(), fix: None }
    }

    /// A check that did not, with what mends it.
    pub fn failed(item: impl Into<String>, detail: impl Into<String>, fix: Option<String>) -> Self {
        Self { item: item.into(), state: CheckState::Failed, detail: detail.into(), fix }
    }

    /// A check that passed with a risk.
    pub fn warning(item: impl Into<String>, detail: impl Into<String>, fix: Option<String>) -> Self {
        Self { item: item.into(), state: CheckState::Warning, detail: detail.into(), fix }
    }
}
