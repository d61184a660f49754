//! The apply verb: entries of the log, whole and once.

use crate::Fault;
use crate::fault::Faults;
use crate::store::Store;
use crate::transaction::Transaction;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt;
use polder_catalog::{Applied, DatasetId, Entry, Error, Kind, Position, Result, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The origin of what came from the log, so that a follower does not send it round in circles.
const ORIGIN: &str = "polder";

/// Writes into one catalog.
#[derive(Debug)]
pub(crate) struct MemoryWriter {
    store: Arc<Store>,
    faults: Arc<Faults>,
}

impl MemoryWriter {
    pub(crate) fn new(store: Arc<Store>, faults: Arc<Faults>) -> Self {
        Self { store, faults }
    }

    fn holds(&self, position: &Position) -> bool {
        self.store.state().last_applied.as_ref().is_some_and(|last| last.includes(position))
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    /// Nothing is touched before the last part is here, and then all in one commit without an await: dropped anywhere,
    /// this leaves the entry whole or absent.
    async fn apply(&self, entry: Entry) -> Result<Applied> {
        if self.holds(&entry.position) {
            return Ok(Applied::Done);
        }
        if self.faults.take(|fault| (*fault == Fault::Apply).then_some(())).is_some() {
            let reason = "the memory is busy (injected)".to_string();
            return Ok(Applied::Retry { after: Duration::from_millis(10), reason });
        }
        if let Some(definition) = entry.definitions.first() {
            let reason = format!("memory takes no definitions, and the entry defines {}", definition.dataset());
            return Ok(Applied::Refused { reason });
        }
        let transaction = match gather(entry.parts).await? {
            Ok(transaction) => transaction.origin(ORIGIN),
            Err(reason) => return Ok(Applied::Refused { reason }),
        };
        let transaction = Transaction { request_id: entry.request_id, ..transaction };
        match self.store.commit(transaction, Some(entry.position)) {
            Ok(_) => Ok(Applied::Done),
            Err(error) if error.kind() == Kind::Fix => Ok(Applied::Refused { reason: error.to_string() }),
            Err(error) => Err(error),
        }
    }

    async fn last_applied(&self) -> Result<Option<Position>> {
        Ok(self.store.state().last_applied.clone())
    }
}

/// All parts as one transaction. The parts of a dataset become one batch: weights of equal rows add up across parts.
/// The inner error is why the entry can never be taken.
async fn gather(mut parts: polder_catalog::PartStream) -> Result<Result<Transaction, String>> {
    let mut datasets: BTreeMap<DatasetId, Vec<RecordBatch>> = BTreeMap::new();
    while let Some(part) = parts.try_next().await? {
        if part.weights().is_none() {
            return Err(Error::report(format!("a part of dataset {} has no weights", part.dataset)));
        }
        datasets.entry(part.dataset).or_default().push(part.batch);
    }
    let mut transaction = Transaction::new();
    for (dataset, batches) in datasets {
        let schema = batches[0].schema();
        match concat_batches(&schema, &batches) {
            Ok(changes) => transaction = transaction.change(dataset, changes),
            Err(error) => return Ok(Err(format!("the parts of dataset {dataset} do not fit together: {error}"))),
        }
    }
    Ok(Ok(transaction))
}
