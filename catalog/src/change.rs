//! The changes verb: a source's own transactions, whole, in order, in bounded parts.
//!
//! ```text
//! begin ─ part ─ part ─ commit ─ begin ─ part ─ commit ─ truncate ...
//! └────── one transaction ─────┘ └─── the next ──────┘
//! ```

use crate::{DatasetId, ReadContext, Result, SourcePosition};
use arrow::array::{Array, Int64Array};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion_expr::Expr;
use futures::stream::BoxStream;
use std::fmt::Debug;
use std::time::SystemTime;

/// The last column of every batch of changes: `Int64`, +1 inserted, -1 deleted; an update is two changes (a Z-set, as
/// in DBSP, Budiu et al., VLDB 2023).
pub const WEIGHT_COLUMN: &str = "_weight";

/// The most rows that one part may hold, so that a follower's memory does not depend on the size of a transaction.
pub const PART_ROWS_MAX: usize = 8192;

/// Follows what happens at a source.
///
/// A transaction that also truncates or alters a dataset tells so in its place, between its `Begin` and its `Commit`;
/// such an event on its own is a transaction of its own. A transaction with nothing that was asked for may be told empty
/// (`Begin`, `Commit`), so that a follower's position moves on, or left out.
///
/// # Promises of the source
/// 1. *Whole transactions*: every `Begin` is followed by its parts and one `Commit`, with no other transaction between.
///    A stream that breaks off before `Commit` has told nothing.
/// 2. *Bounded*: no part holds more than [`PART_ROWS_MAX`] rows, however large the transaction.
/// 3. *Resumable*: opened after a commit's position, the stream goes on with the next transaction: no gap, no duplicate.
/// 4. *Ordered*: positions of commits never decrease.
/// 5. *Complete*: an update or delete carries the old row with weight -1, in the requested columns.
/// 6. *Loud*: what cannot be told as changes is told as [`ChangeEvent::SchemaChange`], [`ChangeEvent::Truncate`],
///    [`ChangeEvent::NeedsResnapshot`] or [`ChangeEvent::Lost`]; nothing is left out in silence.
/// 7. *Pushed*: a row is told if it satisfies the request's predicate before or after the change; columns not asked for
///    do not travel.
#[async_trait]
pub trait Changes: Debug + Send + Sync {
    /// The position of the newest commit: a stream opened after it tells only what is still to come.
    async fn latest(&self, context: &ReadContext) -> Result<SourcePosition>;

    /// Starts telling. The stream has no end of its own; dropping it stops the source.
    async fn open(&self, context: &ReadContext, request: ChangesRequest) -> Result<ChangeStream>;

    /// The source may forget everything up to and including this position. Called only after it is durable here.
    async fn confirm(&self, position: &SourcePosition) -> Result<()>;
}

/// A boxed stream of events.
pub type ChangeStream = BoxStream<'static, Result<ChangeEvent>>;

/// What to follow, and from where.
#[derive(Clone, Debug)]
pub struct ChangesRequest {
    /// Tell what was committed after this position; `None` starts with the oldest change that the source still holds.
    pub after: Option<SourcePosition>,
    /// Which datasets; events of others are left out.
    pub datasets: Vec<DatasetRequest>,
}

/// What to follow of one dataset.
#[derive(Clone, Debug)]
pub struct DatasetRequest {
    /// The dataset.
    pub dataset: DatasetId,
    /// Positions of the columns to tell, in order, in the dataset as it is when the stream is opened; `None` for all.
    pub columns: Option<Vec<usize>>,
    /// Which rows to tell; evaluated as DataFusion would. `None` for all.
    pub predicate: Option<Expr>,
}

/// One event of a change stream.
#[derive(Clone, Debug)]
pub enum ChangeEvent {
    /// A transaction starts.
    Begin(TransactionHeader),
    /// Some of its changes to one dataset.
    Part(ChangePart),
    /// It ends, and its changes count, all at once.
    Commit(SourcePosition),
    /// From here on the dataset's rows have this schema (without the weight column).
    SchemaChange {
        /// The dataset.
        dataset: DatasetId,
        /// Its new columns.
        schema: SchemaRef,
        /// Where in the history.
        position: SourcePosition,
    },
    /// All rows of the dataset are gone.
    Truncate {
        /// The dataset.
        dataset: DatasetId,
        /// Where in the history.
        position: SourcePosition,
    },
    /// The dataset changed in a way that only a new copy can tell.
    NeedsResnapshot {
        /// The dataset.
        dataset: DatasetId,
        /// What happened.
        reason: String,
        /// Where in the history.
        position: SourcePosition,
    },
    /// The source no longer holds the history after the requested position. The stream ends here.
    Lost {
        /// What happened, and what to do.
        reason: String,
    },
}

/// The head of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHeader {
    /// The position that its commit will have.
    pub position: SourcePosition,
    /// When the source committed it, by the source's clock.
    pub time: SystemTime,
    /// Where the transaction came from, if it was not made at this source (so that changes never run in circles).
    pub origin: Option<String>,
    /// The request id that caused it, if it was one of ours.
    pub request_id: Option<String>,
}

/// Changes to one dataset: its columns, then [`WEIGHT_COLUMN`].
#[derive(Clone, Debug)]
pub struct ChangePart {
    /// The dataset.
    pub dataset: DatasetId,
    /// Rows and weights.
    pub batch: RecordBatch,
}

impl ChangePart {
    /// The weights; `None` if the last column is not a weight column, which breaks the contract.
    pub fn weights(&self) -> Option<&Int64Array> {
        let last = self.batch.num_columns().checked_sub(1)?;
        let is_weight = self.batch.schema_ref().field(last).name() == WEIGHT_COLUMN;
        let weights: &Int64Array = self.batch.column(last).as_any().downcast_ref()?;
        (is_weight && weights.null_count() == 0).then_some(weights)
    }
}
