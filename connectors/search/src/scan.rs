//! The scan verb: a planned request to one index, and the stream of its rows.
//!
//! An index is asked on threads that may block. Rows come in segments, each read by one partition; a Top-N and an
//! aggregate are one answer over all segments.

mod groups;
mod top;

pub(crate) use groups::{Aggregate, Function, Group, Groups};
pub(crate) use top::{By, Key, Top};

use crate::error::reading;
use crate::layout::Layout;
use crate::pushdown::Condition;
use crate::read::Segment;
use crate::store::Table;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::stats::Precision;
use datafusion_common::{DataFusionError, Result, Statistics};
use datafusion_execution::memory_pool::MemoryPool;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use polder_catalog::{CatalogName, Error, KeptLocal, RuntimeFilters, Scan, ScanMeter, TellPanic};
use std::sync::Arc;
use tantivy::query::{AllQuery, BooleanQuery, ConstScoreQuery, EnableScoring, Occur, Query};
use tantivy::{DocId, Score, TERMINATED};
use tokio::sync::mpsc;

/// Batches that wait for their reader, for each partition.
const BATCHES_AHEAD: usize = 2;

/// What becomes of the rows that pass the filter.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Rows { limit: Option<usize> },
    Top(Top),
    Groups(Groups),
}

/// A planned request.
#[derive(Clone, Debug)]
pub(crate) struct SearchScan {
    catalog: CatalogName,
    request: Arc<Request>,
    kept_local: Vec<KeptLocal>,
    /// Segments of each partition.
    partitions: Vec<Vec<usize>>,
    /// What the rest of the query finds out while it runs.
    runtime_filters: Option<RuntimeFilters>,
}

/// What the index is asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) table: Arc<Table>,
    /// Columns of the layout's schema; for groups, of their own.
    pub(crate) output: Vec<usize>,
    pub(crate) schema: SchemaRef,
    /// Which rows.
    pub(crate) filter: Condition,
    /// What the score is of: the filter, or with pushdown off, what is checked above.
    pub(crate) scored: Condition,
    pub(crate) shape: Shape,
}

impl SearchScan {
    #[expect(clippy::too_many_arguments, reason = "a plan has as many parts")]
    pub(crate) fn new(
        catalog: CatalogName,
        table: Arc<Table>,
        output: Vec<usize>,
        filter: Condition,
        scored: Condition,
        shape: Shape,
        kept_local: Vec<KeptLocal>,
        partitions: usize,
    ) -> Self {
        let schema = match &shape {
            Shape::Groups(groups) => groups.schema(&output),
            Shape::Rows { .. } | Shape::Top(_) => {
                Arc::new(table.layout.schema.project(&output).expect("the columns were checked"))
            }
        };
        let partitions = match &shape {
            Shape::Rows { .. } => spread(&table, partitions),
            Shape::Top(_) | Shape::Groups(_) => vec![Vec::new()],
        };
        let request = Arc::new(Request { table, output, schema, filter, scored, shape });
        Self { catalog, request, kept_local, partitions, runtime_filters: None }
    }

    /// The same rows under other names, as the planner wants those of a fragment.
    pub(crate) fn with_schema(self, schema: SchemaRef) -> Self {
        let request = Arc::new(Request { schema, ..Request::clone(&self.request) });
        Self { request, ..self }
    }
}

/// Shares the segments out, the largest first, each to the partition that has the fewest rows.
fn spread(table: &Table, partitions: usize) -> Vec<Vec<usize>> {
    let mut segments: Vec<(u32, usize)> =
        table.searcher.segment_readers().iter().enumerate().map(|(at, reader)| (reader.num_docs(), at)).collect();
    segments.sort_unstable_by(|a, b| b.cmp(a));
    let mut shares = vec![(0u64, Vec::new()); partitions.clamp(1, segments.len().max(1))];
    for (rows, segment) in segments {
        let share = shares.iter_mut().min_by_key(|(rows, _)| *rows).expect("there is a partition");
        share.0 += u64::from(rows);
        share.1.push(segment);
    }
    shares.into_iter().map(|(_, segments)| segments).collect()
}

/// What is known of the size of a scan.
pub(crate) fn statistics(table: &Table, schema: &SchemaRef, filter: &Condition, limit: Option<usize>) -> Statistics {
    let rows = crate::encoding::index(table.searcher.num_docs());
    let num_rows = match (filter, limit) {
        (Condition::All, None) => Precision::Exact(rows),
        (Condition::Nothing, _) => Precision::Inexact(0),
        (_, limit) => Precision::Inexact(rows.min(limit.unwrap_or(usize::MAX))),
    };
    Statistics { num_rows, ..Statistics::new_unknown(schema) }
}

impl Scan for SearchScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.request.schema)
    }

    fn request(&self) -> String {
        let Request { table, filter, scored, shape, .. } = self.request.as_ref();
        let mut text = format!("{}: {filter}", table.layout.definition.name);
        if !matches!(scored, Condition::All) && matches!(filter, Condition::All) {
            text.push_str(&format!(", scored by {scored}"));
        }
        match shape {
            Shape::Rows { limit: None } => {}
            Shape::Rows { limit: Some(limit) } => text.push_str(&format!(", at most {limit}")),
            Shape::Top(top) => text.push_str(&format!(", {top}")),
            Shape::Groups(groups) => text.push_str(&format!(", {groups}")),
        }
        text
    }

    fn kept_local(&self) -> Vec<KeptLocal> {
        self.kept_local.clone()
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn statistics(&self) -> Statistics {
        let Request { table, schema, filter, shape, .. } = self.request.as_ref();
        match shape {
            Shape::Rows { limit } => statistics(table, schema, filter, *limit),
            Shape::Top(top) => statistics(table, schema, filter, Some(top.limit)),
            Shape::Groups(_) => Statistics::new_unknown(schema),
        }
    }

    /// Rows without a limit can be fewer: which of them a limit takes would change with the filter.
    fn with_runtime_filters(&self, filters: RuntimeFilters) -> Option<Arc<dyn Scan>> {
        let Shape::Rows { limit: None } = self.request.shape else { return None };
        Some(Arc::new(Self { runtime_filters: Some(filters), ..self.clone() }))
    }

    fn open(&self, partition: usize, task: Arc<TaskContext>, meter: ScanMeter) -> Result<SendableRecordBatchStream> {
        let rows_max = task.session_config().batch_size().max(1);
        let work = Work {
            request: Arc::clone(&self.request),
            segments: self.partitions[partition].clone(),
            catalog: self.catalog.clone(),
            rows_max,
            runtime_filters: self.runtime_filters.clone(),
            memory: Arc::clone(task.memory_pool()),
        };
        let stream = futures::stream::unfold(Progress::Planned(work), move |progress| {
            let meter = meter.clone();
            async move {
                let mut batches = match progress {
                    Progress::Planned(work) => match work.narrowed(&meter) {
                        Ok(work) => work.start(),
                        Err(error) => return Some((Err(DataFusionError::from(error)), Progress::Failed)),
                    },
                    Progress::Running(batches) => batches,
                    Progress::Failed => return None,
                };
                match batches.recv().await? {
                    Ok(batch) => {
                        meter.received(batch.get_array_memory_size());
                        Some((Ok(batch), Progress::Running(batches)))
                    }
                    // The first error is the last item.
                    Err(error) => Some((Err(DataFusionError::from(error)), Progress::Failed)),
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

type Batches = mpsc::Receiver<Result<RecordBatch, Error>>;

enum Progress {
    Planned(Work),
    Running(Batches),
    Failed,
}

/// One partition of a request.
struct Work {
    request: Arc<Request>,
    segments: Vec<usize>,
    catalog: CatalogName,
    rows_max: usize,
    runtime_filters: Option<RuntimeFilters>,
    memory: Arc<dyn MemoryPool>,
}

/// Rows on their way to whoever reads them.
pub(crate) struct Taker<'a> {
    to: &'a mpsc::Sender<Result<RecordBatch, Error>>,
    schema: &'a SchemaRef,
}

impl Taker<'_> {
    /// Whether nobody takes rows any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.to.is_closed()
    }

    /// Hands rows over, under the schema that was promised; whether somebody took them.
    pub(crate) fn give(&self, rows: &RecordBatch) -> Result<bool, Error> {
        if rows.num_rows() == 0 {
            return Ok(true);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let renamed = RecordBatch::try_new_with_options(Arc::clone(self.schema), rows.columns().to_vec(), &options);
        let renamed = renamed.map_err(crate::read::unreadable)?;
        Ok(self.to.blocking_send(Ok(renamed)).is_ok())
    }
}

impl Work {
    /// At the first poll a join knows its keys.
    fn narrowed(self, meter: &ScanMeter) -> Result<Self, Error> {
        let Some(filters) = &self.runtime_filters else { return Ok(self) };
        let Request { table, output, filter, scored, .. } = self.request.as_ref();
        let wanted = crate::narrow::wanted(filters, &table.layout, output, meter)?;
        let filter = Condition::and(vec![filter.clone(), wanted.clone()]);
        let scored = Condition::and(vec![scored.clone(), wanted]);
        let request = Arc::new(Request { filter, scored, ..Request::clone(&self.request) });
        Ok(Self { request, ..self })
    }

    /// Nobody waits for the thread: it ends when its rows are out, or at the first that nobody takes.
    fn start(self) -> Batches {
        let (give, batches) = mpsc::channel(BATCHES_AHEAD);
        tokio::task::spawn_blocking(move || {
            let _panics_are_told = TellPanic(give.clone());
            if let Err(error) = self.run(&give) {
                // Nobody may be left to hear it.
                let _ = give.blocking_send(Err(error.at(format!("catalog \"{}\"", self.catalog))));
            }
        });
        batches
    }

    fn run(&self, to: &mpsc::Sender<Result<RecordBatch, Error>>) -> Result<(), Error> {
        self.request.filter.check(&self.request.table.searcher)?;
        let taker = Taker { to, schema: &self.request.schema };
        match &self.request.shape {
            Shape::Rows { limit } => self.rows(limit.unwrap_or(usize::MAX), &taker),
            Shape::Top(top) => top.run(&self.request, &taker),
            Shape::Groups(groups) => groups.run(&self.request, &self.memory, &taker),
        }
    }

    fn rows(&self, limit: usize, taker: &Taker<'_>) -> Result<(), Error> {
        let Request { table, output, .. } = self.request.as_ref();
        let (query, has_score) = self.request.query();
        let searcher = &table.searcher;
        let scoring = match has_score {
            true => EnableScoring::enabled_from_searcher(searcher),
            false => EnableScoring::disabled_from_searcher(searcher),
        };
        let weight = query.weight(scoring).map_err(reading)?;
        let mut left = limit;
        for at in &self.segments {
            let reader = &searcher.segment_readers()[*at];
            let segment = Segment::new(&table.layout, reader, output)?;
            let mut scorer = weight.scorer(reader, 1.0).map_err(reading)?;
            let (mut documents, mut scores): (Vec<DocId>, Vec<Score>) = (Vec::new(), Vec::new());
            let mut document = scorer.doc();
            while document != TERMINATED && left > 0 {
                if !reader.is_deleted(document) {
                    documents.push(document);
                    if has_score {
                        scores.push(scorer.score());
                    }
                    left -= 1;
                }
                document = scorer.advance();
                if document & 0xfff == 0 && taker.is_gone() {
                    return Ok(());
                }
                if documents.len() == self.rows_max {
                    if !segment.give(output, &documents, &scores, taker)? {
                        return Ok(());
                    }
                    documents.clear();
                    scores.clear();
                }
            }
            if !segment.give(output, &documents, &scores, taker)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Request {
    /// The query, and whether its score is asked for and is one.
    pub(super) fn query(&self) -> (Box<dyn Query>, bool) {
        let layout: &Layout = &self.table.layout;
        let wants_score = match &self.shape {
            Shape::Groups(_) => false,
            Shape::Rows { .. } => self.output.contains(&layout.score()),
            Shape::Top(top) => self.output.contains(&layout.score()) || top.is_by_score(),
        };
        match self.scored.scored(layout).filter(|_| wants_score) {
            None => (self.filter.query(layout), false),
            Some(query) if matches!(self.filter, Condition::All) && !matches!(self.scored, Condition::All) => {
                let all: Box<dyn Query> = Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0));
                (Box::new(BooleanQuery::new(vec![(Occur::Must, all), (Occur::Should, query)])), true)
            }
            Some(query) => (query, true),
        }
    }
}
