//! Ourselves: a topic of one shard, appended to as an embedding program would.

use super::{BYTES, assert_held};
use crate::Result;
use crate::contender::query;
use crate::measure::Stretch;
use arrow::array::{AsArray, BinaryArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use futures::future::try_join_all;
use polder::{Engine, Session};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) struct Topic {
    session: Arc<Session>,
    record: RecordBatch,
    acknowledged: AtomicU64,
}

impl Topic {
    pub(super) async fn new(folder: &Path) -> Result<Self> {
        let engine = Engine::builder().data_dir(Some(folder.to_path_buf())).open().await?;
        let session = Arc::new(engine.session());
        session.run("CREATE TOPIC records (payload BYTEA NOT NULL)").await?;
        let payload = BinaryArray::from_iter_values([[b'x'; BYTES]]);
        let record = RecordBatch::try_from_iter([("payload", Arc::new(payload) as _)])?;
        Ok(Self { session, record, acknowledged: AtomicU64::new(0) })
    }

    pub(super) fn describe(&self) -> String {
        "polder (fdatasync of each group of appends before they are acknowledged)".to_string()
    }

    pub(super) async fn append(&self, in_flight: usize, stretch: Duration) -> Result<Stretch> {
        let start = Instant::now();
        let clients = (0..in_flight).map(|_| {
            let (session, record) = (Arc::clone(&self.session), self.record.clone());
            tokio::spawn(async move { client(&session, &record, start + stretch).await })
        });
        let mut waits = Vec::new();
        for client in try_join_all(clients).await? {
            waits.extend(client?);
        }
        self.acknowledged.fetch_add(waits.len() as u64, Ordering::Relaxed);
        Ok(Stretch::of(start.elapsed(), waits))
    }

    pub(super) async fn check(&self) -> Result<()> {
        let rows = query(&self.session, "SELECT count(*) FROM records").await?.collect().await?;
        let held = rows.first().map(|rows| rows.column(0).as_primitive::<Int64Type>().value(0));
        assert_held("polder", self.acknowledged.load(Ordering::Relaxed), held.unwrap_or_default().try_into()?)
    }
}

async fn client(session: &Session, record: &RecordBatch, until: Instant) -> Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while Instant::now() < until {
        let one = Instant::now();
        session.append("records", record.clone()).await?;
        waits.push(one.elapsed());
    }
    Ok(waits)
}
