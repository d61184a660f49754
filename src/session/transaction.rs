//! A transaction: statements that take effect as one entry of the log, or not at all.
//!
//! It reads Polder's own tables as they were when it began, and what it has changed itself. When it commits, the log decides whether
//! all that it has read still holds; if not it fails with 40001 and may be done again. So transactions are serializable,
//! in the order of the log (optimistic concurrency control: Kung and Robinson, ACM TODS 1981). What it reads
//! elsewhere is read live, and nobody can tell whether that still holds.

use crate::definitions::TableDefinition;
use crate::requests::Request;
use crate::session::Words;
use arrow::array::RecordBatch;
use polder_catalog::{Error, Result, SqlState};
use polder_rows::View;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a transaction has done so far.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) view: Arc<View>,
    read_only: bool,
    /// An error in it leaves nothing but to roll back, as in PostgreSQL.
    failed: bool,
    /// In the order of the statements.
    changes: Vec<Change>,
    /// What was answered to each statement that changes rows.
    tags: Vec<String>,
    request: Option<Named>,
}

/// Rows of one table with their weights.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) table: TableDefinition,
    pub(crate) rows: RecordBatch,
    pub(crate) weights: Option<Vec<i64>>,
}

/// The request that a transaction is of.
#[derive(Debug)]
struct Named {
    id: String,
    /// Its statements with their parameters.
    words: Vec<String>,
    /// What each of them was answered when the transaction was committed before: it is not done again.
    before: Option<VecDeque<String>>,
}

impl Transaction {
    /// `before` is the outcome of the same request, if it was committed before.
    pub(crate) fn new(view: Arc<View>, read_only: bool, request_id: Option<String>, before: Option<&str>) -> Self {
        let before = before.map(|outcome| outcome.split(TAG_SEPARATOR).map(str::to_string).collect());
        let request = request_id.map(|id| Named { id, words: Vec::new(), before });
        Self { view, read_only, failed: false, changes: Vec::new(), tags: Vec::new(), request }
    }

    /// Whether a statement may run, which reads or changes rows.
    ///
    /// # Errors
    /// 25P02 if one has failed already, 25006 if it changes what it may only read.
    pub(crate) fn check(&self, writes: bool) -> Result<()> {
        if self.failed {
            return Err(Error::fix(
                SqlState::FAILED_TRANSACTION,
                "the transaction has failed, nothing more is done in it",
            )
            .with_hint("ROLLBACK, and do it again from BEGIN"));
        }
        if writes && self.read_only {
            return Err(Error::fix(SqlState::READ_ONLY, "the transaction is READ ONLY"));
        }
        Ok(())
    }

    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Notes a statement that changes rows. What it was answered, if it was done when the request came first.
    pub(crate) fn note(&mut self, words: Words<'_>) -> Option<String> {
        let request = self.request.as_mut()?;
        request.words.extend(words.listed());
        // The last one is that of COMMIT.
        request.before.as_mut().filter(|tags| tags.len() > 1)?.pop_front()
    }

    /// Adds what a statement has changed.
    pub(crate) fn add(&mut self, changes: impl IntoIterator<Item = Change>, tag: &str) {
        self.changes.extend(changes);
        self.tags.push(tag.to_string());
    }

    /// The end: all changes, the request, and the outcome as the log keeps it.
    pub(crate) fn finish(self, user: &str) -> (Vec<Change>, Option<Request>, String) {
        let tags = self.tags.iter().map(String::as_str).chain([COMMIT]);
        let outcome = tags.collect::<Vec<_>>().join(TAG_SEPARATOR);
        let request = self.request.map(|named| Request::new(user, &named.id, named.words.iter().map(String::as_str)));
        (self.changes, request, outcome)
    }
}

pub(crate) const COMMIT: &str = "COMMIT";

/// Between the answers to the statements of a transaction, in the outcome of its request.
const TAG_SEPARATOR: &str = "; ";
