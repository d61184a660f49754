//! The suite can fail: sources with one thing broken each, and the promise that must notice.

use super::subject::{MemorySubject, catalog};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use futures::StreamExt;
use polder_catalog::conformance::{Edit, Outcome, Subject, Table, Trouble, check};
use polder_catalog::{
    Applied, Capabilities, CatalogName, ChangeEvent, ChangePart, ChangeStream, Changes, ChangesRequest, Check,
    Connector, Dataset, DatasetEntry, Entry, Position, ReadContext, Result, Source, SourcePosition, Writer,
};
use std::sync::Arc;

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
}

#[derive(Debug)]
struct Broken {
    inner: Arc<dyn Source>,
    defect: Defect,
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
        self.inner.dataset(context, schema, table).await
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

struct BrokenSubject {
    inner: MemorySubject,
    source: Arc<Broken>,
}

impl BrokenSubject {
    async fn start(defect: Defect) -> Self {
        let inner = MemorySubject::start().await;
        let source = Arc::new(Broken { inner: inner.source(), defect });
        Self { inner, source }
    }
}

#[async_trait]
impl Subject for BrokenSubject {
    fn connector(&self) -> Arc<dyn Connector> {
        self.inner.connector()
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
async fn what_the_subject_cannot_show_is_said() {
    let outcome = check("source_1_listing_is_cheap", &BrokenSubject::start(Defect::ListsOutOfOrder).await).await;
    assert!(matches!(outcome, Outcome::NotShown(_)), "{outcome:?}");
}
