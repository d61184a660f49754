//! The changes verb: the history as a stream, from any position that is still held.

use crate::Fault;
use crate::fault::Faults;
use crate::store::{Committed, Effect, EffectKind, Next, State, Store};
use crate::table::Columns;
use crate::transaction::weighted_schema;
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion_common::DFSchema;
use datafusion_common::cast::as_boolean_array;
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::create_physical_expr;
use polder_catalog::{
    CatalogName, ChangeEvent, ChangePart, ChangeStream, Changes, ChangesRequest, ColumnId, DatasetId, DatasetRequest,
    Error, PART_ROWS_MAX, ReadContext, Result, SourcePosition, SqlState, TransactionHeader,
};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// Follows one catalog.
#[derive(Debug)]
pub(crate) struct MemoryChanges {
    catalog: CatalogName,
    store: Arc<Store>,
    faults: Arc<Faults>,
}

impl MemoryChanges {
    pub(crate) fn new(catalog: CatalogName, store: Arc<Store>, faults: Arc<Faults>) -> Self {
        Self { catalog, store, faults }
    }
}

#[async_trait]
impl Changes for MemoryChanges {
    async fn latest(&self, context: &ReadContext) -> Result<SourcePosition> {
        context.check()?;
        Ok(self.store.position(self.store.state().version))
    }

    async fn open(&self, context: &ReadContext, request: ChangesRequest) -> Result<ChangeStream> {
        context.check()?;
        let version = match &request.after {
            None => Some(self.store.oldest()),
            Some(position) => self.store.version(position),
        };
        let Some(version) = version else {
            let reason = format!("catalog \"{}\": the position is not of this catalog's history", self.catalog);
            return Ok(Box::pin(futures::stream::iter([Ok(ChangeEvent::Lost { reason })])));
        };
        let state = self.store.state();
        let followed = request.datasets.into_iter().map(|dataset| Followed::new(dataset, &state)).collect();
        let follower = Follower {
            catalog: self.catalog.clone(),
            store: Arc::clone(&self.store),
            news: self.store.watch(),
            context: context.clone(),
            version,
            followed,
            queue: VecDeque::new(),
            faults: Arc::clone(&self.faults),
            fault: None,
        };
        Ok(Box::pin(futures::stream::unfold(Some(follower), |follower| async move {
            let mut follower = follower?;
            let event = follower.next().await;
            let goes_on = matches!(&event, Ok(event) if !matches!(event, ChangeEvent::Lost { .. }));
            Some((event, goes_on.then_some(follower)))
        })))
    }

    async fn confirm(&self, position: &SourcePosition) -> Result<()> {
        if let Some(version) = self.store.version(position) {
            self.store.trim(version);
        }
        Ok(())
    }
}

/// One dataset as the follower asked for it.
struct Followed {
    dataset: DatasetId,
    /// The columns by id: positions shift when a column goes, ids never do.
    columns: Option<Vec<ColumnId>>,
    predicate: Option<Expr>,
}

impl Followed {
    fn new(request: DatasetRequest, state: &State) -> Self {
        let table = state.tables.get(&request.dataset);
        let ids = |positions: Vec<usize>| {
            let known = table.map(|table| table.columns.ids.as_slice()).unwrap_or_default();
            positions.into_iter().filter_map(|at| known.get(at).cloned()).collect()
        };
        Self { dataset: request.dataset, columns: request.columns.map(ids), predicate: request.predicate }
    }

    /// Where the columns asked for are in this version of the table.
    fn positions(&self, columns: &Columns) -> Vec<usize> {
        match &self.columns {
            None => (0..columns.ids.len()).collect(),
            Some(wanted) => wanted.iter().filter_map(|id| columns.ids.iter().position(|known| known == id)).collect(),
        }
    }

    fn schema(&self, columns: &Columns) -> Result<SchemaRef> {
        Ok(Arc::new(columns.schema.project(&self.positions(columns)).map_err(defect)?))
    }

    /// The rows that were asked for, in the columns that were asked for, weights last.
    fn told(&self, changes: &RecordBatch, columns: &Columns) -> Result<RecordBatch> {
        let matching = match &self.predicate {
            None => changes.clone(),
            Some(predicate) => matching(predicate, changes, columns).map_err(Error::from_datafusion)?,
        };
        let mut positions = self.positions(columns);
        positions.push(columns.ids.len());
        matching.project(&positions).map_err(defect)
    }
}

fn matching(predicate: &Expr, changes: &RecordBatch, columns: &Columns) -> datafusion_common::Result<RecordBatch> {
    let schema = DFSchema::try_from(weighted_schema(&columns.schema))?;
    let predicate =
        create_physical_expr(predicate, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    let verdict = predicate.evaluate(changes)?.into_array(changes.num_rows())?;
    let verdict: &BooleanArray = as_boolean_array(&verdict)?;
    Ok(filter_record_batch(changes, verdict)?)
}

/// One stream: how far it is, and what is ready to be told.
struct Follower {
    catalog: CatalogName,
    store: Arc<Store>,
    news: watch::Receiver<Arc<State>>,
    context: ReadContext,
    /// Everything up to this version has been told or stands in the queue.
    version: u64,
    followed: Vec<Followed>,
    queue: VecDeque<Telling>,
    faults: Arc<Faults>,
    /// Events until an injected fault, once one was taken.
    fault: Option<usize>,
}

/// What stands in the queue. Rows are cut and filtered when their turn comes, so the queue holds no copies.
enum Telling {
    Event(ChangeEvent),
    Rows { followed: usize, changes: RecordBatch, columns: Arc<Columns> },
}

impl Follower {
    async fn next(&mut self) -> Result<ChangeEvent> {
        self.fail_if_asked()?;
        loop {
            self.context.check()?;
            if let Some(event) = self.ready()? {
                return Ok(event);
            }
            self.news.mark_unchanged();
            match self.store.after(self.version) {
                Next::Transaction(committed) => self.enqueue(&committed)?,
                Next::Trimmed => return Ok(ChangeEvent::Lost { reason: self.trimmed() }),
                Next::None => self.wait().await?,
            }
        }
    }

    /// The next event that has something to tell.
    fn ready(&mut self) -> Result<Option<ChangeEvent>> {
        while let Some(telling) = self.queue.pop_front() {
            match telling {
                Telling::Event(event) => return Ok(Some(event)),
                Telling::Rows { followed, changes, columns } => {
                    let followed = &self.followed[followed];
                    let batch = followed.told(&changes, &columns)?;
                    if batch.num_rows() > 0 {
                        return Ok(Some(ChangeEvent::Part(ChangePart { dataset: followed.dataset.clone(), batch })));
                    }
                }
            }
        }
        Ok(None)
    }

    fn enqueue(&mut self, committed: &Committed) -> Result<()> {
        let position = self.store.position(committed.version);
        self.queue.push_back(Telling::Event(ChangeEvent::Begin(TransactionHeader {
            position: position.clone(),
            time: committed.time,
            origin: committed.origin.clone(),
            request_id: committed.request_id.clone(),
        })));
        for effect in &committed.effects {
            let followed = self.followed.iter().position(|followed| followed.dataset == effect.dataset);
            if let Some(followed) = followed {
                self.enqueue_effect(followed, effect, &position)?;
            }
        }
        self.queue.push_back(Telling::Event(ChangeEvent::Commit(position)));
        self.version = committed.version;
        Ok(())
    }

    fn enqueue_effect(&mut self, followed: usize, effect: &Effect, position: &SourcePosition) -> Result<()> {
        let (dataset, position) = (effect.dataset.clone(), position.clone());
        let event = match &effect.kind {
            EffectKind::Changed(changes, columns) => {
                for start in (0..changes.num_rows()).step_by(PART_ROWS_MAX) {
                    let changes = changes.slice(start, PART_ROWS_MAX.min(changes.num_rows() - start));
                    self.queue.push_back(Telling::Rows { followed, changes, columns: Arc::clone(columns) });
                }
                return Ok(());
            }
            EffectKind::Truncated => ChangeEvent::Truncate { dataset, position },
            EffectKind::Altered(columns) => {
                ChangeEvent::SchemaChange { dataset, schema: self.followed[followed].schema(columns)?, position }
            }
            EffectKind::Dropped => {
                ChangeEvent::NeedsResnapshot { dataset, reason: "the table was dropped".to_string(), position }
            }
        };
        self.queue.push_back(Telling::Event(event));
        Ok(())
    }

    /// Sleeps until there is a new state, or the follower is no longer wanted.
    async fn wait(&mut self) -> Result<()> {
        tokio::select! {
            error = self.context.stopped() => Err(error),
            news = self.news.changed() => news.map_err(|_| Error::report("the store was closed while it was held")),
        }
    }

    fn trimmed(&self) -> String {
        format!(
            "catalog \"{}\" no longer holds the history after version {}; take a new copy, and raise history_max if \
             this happens again",
            self.catalog, self.version
        )
    }

    fn fail_if_asked(&mut self) -> Result<()> {
        let asked = |fault: &Fault| match fault {
            Fault::Changes { after_events } => Some(*after_events),
            _ => None,
        };
        self.fault = self.fault.or_else(|| self.faults.take(asked));
        match self.fault {
            Some(0) => Err(Error::retry(SqlState::CONNECTION_LOST, "the memory went away (injected)")
                .at(format!("catalog \"{}\"", self.catalog))),
            Some(events) => {
                self.fault = Some(events - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn defect(error: arrow::error::ArrowError) -> Error {
    Error::report("a batch of changes does not fit its table").with_source(error)
}
