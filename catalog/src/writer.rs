//! The apply verb: whole entries of the log into a store, once each.

use crate::{ChangePart, DatasetDefinition, Definition, OptionSpec, Position, Result};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::fmt;
use std::time::{Duration, SystemTime};

/// The parts of an entry, read as they are needed: an entry may exceed memory.
pub type PartStream = BoxStream<'static, Result<ChangePart>>;

/// One transaction, on its way into a store.
pub struct Entry {
    /// The position that the store reflects once the entry is applied.
    pub position: Position,
    /// When it was committed.
    pub time: SystemTime,
    /// The request that caused it, if it had an id.
    pub request_id: Option<String>,
    /// What is created, altered and dropped, in order, before the changes.
    pub definitions: Vec<Definition>,
    /// Its changes, any number of datasets.
    pub parts: PartStream,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("position", &self.position)
            .field("request_id", &self.request_id)
            .field("definitions", &self.definitions)
            .finish_non_exhaustive()
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The store holds it; asking again changes nothing.
    Done,
    /// The store will never take it, and holds no part of it.
    Refused {
        /// Why, in the store's words.
        reason: String,
    },
    /// Not now. The store holds no part of it.
    Retry {
        /// How long to wait, at least.
        after: Duration,
        /// What stood in the way.
        reason: String,
    },
}

/// Takes entries, one after the other.
///
/// # Promises of the store
/// 1. *Whole*: after `Done` every change of the entry is visible; after `Refused` or `Retry`, none. A store without
///    transactions says so in its [`Capabilities`](crate::Capabilities::transactions), and documents what a reader may see.
/// 2. *Idempotent*: an entry whose position is included in [`last_applied`](Self::last_applied) is `Done` without effect.
/// 3. *Remembered with the data*: the last applied position is stored in the same transaction as the changes.
/// 4. *Dropped at any await*, `apply` leaves the entry either whole or absent.
/// 5. *Defined by the log*: definitions take effect in order, before the changes, and as whole as they are. A store that
///    takes none refuses an entry that has some, which [`check_definition`](Self::check_definition) has told before.
///
/// The engine calls `apply` in the order of positions and never twice at once.
#[async_trait]
pub trait Writer: fmt::Debug + Send + Sync {
    /// Applies one entry.
    ///
    /// # Errors
    /// Only for faults that neither refuse nor ask to retry: a broken entry, a defect.
    async fn apply(&self, entry: Entry) -> Result<Applied>;

    /// The position of the last entry that was applied; `None` before the first, and after the store was lost: then
    /// every entry comes again.
    async fn last_applied(&self) -> Result<Option<Position>>;

    /// The options that a column of a defined dataset takes.
    fn column_options(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// The options that a defined dataset takes as a whole.
    fn dataset_options(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// Whether the store can hold such a dataset. Asked before the definition is logged, so that what cannot be is refused
    /// while somebody is there to read why; no I/O.
    ///
    /// # Errors
    /// [`Kind::Fix`](crate::Kind::Fix), naming the column or option that does not fit. A store that takes no definitions
    /// refuses every one: the default.
    fn check_definition(&self, definition: &DatasetDefinition) -> Result<()> {
        Err(definition.refused())
    }
}
