//! The suite can fail: sources with one thing broken each, and the promise that must notice.

use super::subject::{MemorySubject, catalog};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion_common::Constraints;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_session::{Session, TableProvider};
use futures::StreamExt;
use polder_catalog::conformance::{Edit, Outcome, Subject, Table, Trouble, check};
use polder_catalog::{
    Applied, Capabilities, CatalogName, ChangeEvent, ChangePart, ChangeStream, Changes, ChangesRequest, Check,
    Connector, Dataset, DatasetEntry, Entry, OptionKind, OptionSpec, Options, Position, ReadContext, Result,
    ScanReport, Source, SourcePosition, Writer,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// Tables are listed in no order.
    ListsOutOfOrder,
    /// A stream that resumes starts with the transaction that was told last.
    RepeatsAfterResume,
    /// Deleted rows are told with the weight of inserted ones.
    LosesSigns,
    /// A stream that was broken off by a trimmed history just stays silent.
    HidesLoss,
    /// An entry that comes again is applied again.
    AppliesTwice,
    /// Refused entries count as applied.
    AcceptsEverything,
    /// Cancelled contexts are served as any other.
    IgnoresCancellation,
    /// A pushed filter on a column also drops the rows where the column is NULL, whatever the filter says of them.
    DropsNulls,
    /// A pushed `<` is taken for `<=`, and declared exact.
    ComparesInexactly,
    /// A pushed limit is taken as an offset, too.
    MiscountsLimits,
    /// The request is another one at each look.
    DescribesAnew,
    /// Attaching reads the password.
    ReadsSecrets,
}

#[derive(Debug)]
struct Broken {
    inner: Arc<dyn Source>,
    defect: Defect,
    looks: AtomicUsize,
}

#[async_trait]
impl Source for Broken {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn schemas(&self, context: &ReadContext) -> Result<Vec<String>> {
        self.inner.schemas(context).await
    }

    async fn datasets(&self, context: &ReadContext, schema: &str) -> Result<Vec<DatasetEntry>> {
        let mut entries = self.inner.datasets(context, schema).await?;
        if self.defect == Defect::ListsOutOfOrder {
            entries.reverse();
        }
        Ok(entries)
    }

    async fn dataset(&self, context: &ReadContext, schema: &str, table: &str) -> Result<Option<Dataset>> {
        if self.defect == Defect::IgnoresCancellation {
            let deaf = ReadContext::builder(context.query().clone(), context.principal().clone());
            return self.inner.dataset(&deaf.build(), schema, table).await;
        }
        let found = self.inner.dataset(context, schema, table).await?;
        Ok(found.map(|dataset| {
            let provider = Arc::new(BrokenTable { inner: dataset.provider, defect: self.defect });
            Dataset { provider, ..dataset }
        }))
    }

    fn describe_scan(&self, catalog: &CatalogName, leaf: &dyn ExecutionPlan) -> Option<ScanReport> {
        let mut report = self.inner.describe_scan(catalog, leaf)?;
        if self.defect == Defect::DescribesAnew {
            report.request.push_str(&format!(" -- {}", self.looks.fetch_add(1, Ordering::Relaxed)));
        }
        Some(report)
    }

    async fn check(&self, context: &ReadContext) -> Vec<Check> {
        self.inner.check(context).await
    }

    fn changes(&self) -> Option<Arc<dyn Changes>> {
        let inner = self.inner.changes()?;
        Some(Arc::new(BrokenChanges { inner, defect: self.defect }))
    }

    fn writer(&self) -> Option<Arc<dyn Writer>> {
        let inner = self.inner.writer()?;
        Some(Arc::new(BrokenWriter { inner, defect: self.defect }))
    }
}

#[derive(Debug)]
struct BrokenTable {
    inner: Arc<dyn TableProvider>,
    defect: Defect,
}

#[async_trait]
impl TableProvider for BrokenTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.inner.constraints()
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion_common::Result<Vec<TableProviderFilterPushDown>> {
        self.inner.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion_common::Result<Arc<dyn ExecutionPlan>> {
        let filters: Vec<Expr> = match self.defect {
            Defect::DropsNulls => filters.iter().map(and_not_null).collect(),
            Defect::ComparesInexactly => filters.iter().map(with_loose_bounds).collect::<Result<_, _>>()?,
            _ => filters.to_vec(),
        };
        let limit = limit.map(|limit| if self.defect == Defect::MiscountsLimits { limit / 2 } else { limit });
        self.inner.scan(session, projection, &filters, limit).await
    }
}

fn and_not_null(filter: &Expr) -> Expr {
    let columns = filter.column_refs().into_iter().cloned().map(Expr::Column);
    columns.fold(filter.clone(), |filter, column| filter.and(column.is_not_null()))
}

fn with_loose_bounds(filter: &Expr) -> datafusion_common::Result<Expr> {
    let loosened = filter.clone().transform(|expr| match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Lt, right }) => {
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op: Operator::LtEq, right })))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(loosened?.data)
}

#[derive(Debug)]
struct BrokenChanges {
    inner: Arc<dyn Changes>,
    defect: Defect,
}

#[async_trait]
impl Changes for BrokenChanges {
    async fn latest(&self, context: &ReadContext) -> Result<SourcePosition> {
        self.inner.latest(context).await
    }

    async fn open(&self, context: &ReadContext, mut request: ChangesRequest) -> Result<ChangeStream> {
        if self.defect == Defect::RepeatsAfterResume {
            request.after = request.after.map(|position| one_before(&position));
        }
        let defect = self.defect;
        let events = self.inner.open(context, request).await?;
        Ok(events.filter_map(move |event| std::future::ready(spoil(defect, event))).boxed())
    }

    async fn confirm(&self, position: &SourcePosition) -> Result<()> {
        self.inner.confirm(position).await
    }
}

/// The position of the transaction before: versions are the last eight bytes.
fn one_before(position: &SourcePosition) -> SourcePosition {
    let (life, version) = position.as_bytes().split_at(8);
    let version = u64::from_be_bytes(version.try_into().expect("eight bytes"));
    SourcePosition::new([life, &version.saturating_sub(1).to_be_bytes()].concat())
}

fn spoil(defect: Defect, event: Result<ChangeEvent>) -> Option<Result<ChangeEvent>> {
    match event {
        Ok(ChangeEvent::Lost { .. }) if defect == Defect::HidesLoss => None,
        Ok(ChangeEvent::Part(part)) if defect == Defect::LosesSigns => {
            let rows = part.batch.project(&(0..part.batch.num_columns() - 1).collect::<Vec<_>>());
            let batch = crate::transaction::weighted(&rows.expect("all columns but the last"), 1);
            Some(Ok(ChangeEvent::Part(ChangePart { batch, ..part })))
        }
        other => Some(other),
    }
}

#[derive(Debug)]
struct BrokenWriter {
    inner: Arc<dyn Writer>,
    defect: Defect,
}

#[async_trait]
impl Writer for BrokenWriter {
    async fn apply(&self, mut entry: Entry) -> Result<Applied> {
        if self.defect == Defect::AppliesTwice {
            // A position of its own for each call: nothing is ever recognized.
            let last = self.inner.last_applied().await?.unwrap_or_default();
            for (shard, offset) in last.shards {
                entry.position.shards.insert(shard, polder_catalog::Offset(offset.0 + 1));
            }
        }
        match self.inner.apply(entry).await? {
            Applied::Refused { .. } if self.defect == Defect::AcceptsEverything => Ok(Applied::Done),
            applied => Ok(applied),
        }
    }

    async fn last_applied(&self) -> Result<Option<Position>> {
        self.inner.last_applied().await
    }
}

/// A connector with a password.
#[derive(Debug)]
struct BrokenConnector {
    inner: Arc<dyn Connector>,
    defect: Defect,
}

const WITH_PASSWORD: &[OptionSpec] =
    &[OptionSpec::new("password", OptionKind::Secret, "Where the password is kept, which memory has no use for.")];

#[async_trait]
impl Connector for BrokenConnector {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn doc(&self) -> &'static str {
        self.inner.doc()
    }

    fn options(&self) -> &'static [OptionSpec] {
        WITH_PASSWORD
    }

    async fn attach(&self, name: &CatalogName, options: Options) -> Result<Arc<dyn Source>> {
        if self.defect == Defect::ReadsSecrets {
            options.secret("password").map(|secret| secret.reveal()).transpose()?;
        }
        self.inner.attach(name, Options::validate(self.inner.options(), [])?).await
    }
}

struct BrokenSubject {
    inner: MemorySubject,
    source: Arc<Broken>,
}

impl BrokenSubject {
    async fn start(defect: Defect) -> Self {
        let inner = MemorySubject::start().await;
        let source = Arc::new(Broken { inner: inner.source(), defect, looks: AtomicUsize::new(0) });
        Self { inner, source }
    }
}

#[async_trait]
impl Subject for BrokenSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(BrokenConnector { inner: self.inner.connector(), defect: self.source.defect })
    }

    fn options(&self) -> Vec<(String, String)> {
        self.inner.options()
    }

    fn catalog(&self) -> CatalogName {
        catalog()
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }

    fn types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    async fn create(&self, table: &Table) -> Result<()> {
        self.inner.create(table).await
    }

    async fn drop(&self, table: &str) -> Result<()> {
        self.inner.drop(table).await
    }

    async fn commit(&self, edits: &[Edit]) -> Result<bool> {
        self.inner.commit(edits).await
    }

    async fn make(&self, trouble: Trouble) -> bool {
        self.inner.make(trouble).await
    }
}

/// A source with nothing broken but what the promise is not about.
async fn expect_kept(defect: Defect, promise: &str) {
    let outcome = check(promise, &BrokenSubject::start(defect).await).await;
    assert_eq!(outcome, Outcome::Kept, "{defect:?}: {promise}");
}

async fn expect_noticed(defect: Defect, promise: &str) {
    let outcome = check(promise, &BrokenSubject::start(defect).await).await;
    assert!(outcome.is_broken(), "{defect:?} passes {promise}: {outcome:?}");
}

#[tokio::test]
async fn a_listing_out_of_order_is_noticed() {
    expect_noticed(Defect::ListsOutOfOrder, "source_1_lists_all_datasets_in_order").await;
}

#[tokio::test]
async fn a_duplicate_after_resume_is_noticed() {
    expect_noticed(Defect::RepeatsAfterResume, "changes_3_resumes_after_any_position").await;
}

#[tokio::test]
async fn deletes_told_as_inserts_are_noticed() {
    expect_noticed(Defect::LosesSigns, "changes_1_tells_whole_transactions").await;
    expect_noticed(Defect::LosesSigns, "changes_and_rows_agree").await;
}

#[tokio::test]
async fn a_loss_in_silence_is_noticed() {
    expect_noticed(Defect::HidesLoss, "changes_6_tells_that_history_is_lost").await;
}

#[tokio::test]
async fn an_entry_applied_twice_is_noticed() {
    expect_noticed(Defect::AppliesTwice, "writer_2_applies_once").await;
}

#[tokio::test]
async fn a_refusal_told_as_done_is_noticed() {
    expect_noticed(Defect::AcceptsEverything, "writer_1_a_refusal_leaves_no_trace").await;
}

#[tokio::test]
async fn a_query_that_cannot_be_cancelled_is_noticed() {
    expect_noticed(Defect::IgnoresCancellation, "source_4_a_cancelled_query_stops").await;
    expect_noticed(Defect::IgnoresCancellation, "source_4_a_passed_deadline_stops").await;
}

#[tokio::test]
async fn a_filter_that_drops_nulls_is_noticed() {
    expect_noticed(Defect::DropsNulls, "source_3_same_rows_with_pushdown_on_and_off").await;
}

#[tokio::test]
async fn a_filter_that_is_nearly_exact_is_noticed() {
    expect_noticed(Defect::ComparesInexactly, "source_3_same_rows_with_pushdown_on_and_off").await;
}

#[tokio::test]
async fn a_limit_that_gives_too_few_rows_is_noticed() {
    expect_noticed(Defect::MiscountsLimits, "source_3_same_rows_under_limits").await;
}

#[tokio::test]
async fn a_scan_that_describes_itself_anew_is_noticed() {
    expect_noticed(Defect::DescribesAnew, "scan_1_describes_itself_the_same_each_time").await;
}

#[tokio::test]
async fn a_secret_read_when_attaching_is_noticed() {
    expect_noticed(Defect::ReadsSecrets, "connector_3_attaches_without_secrets").await;
    expect_kept(Defect::ListsOutOfOrder, "connector_3_attaches_without_secrets").await;
}

#[tokio::test]
async fn what_the_subject_cannot_show_is_said() {
    let outcome = check("source_1_listing_is_cheap", &BrokenSubject::start(Defect::ListsOutOfOrder).await).await;
    assert!(matches!(outcome, Outcome::NotShown(_)), "{outcome:?}");
}
