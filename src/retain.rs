//! Retention: removes what topics no longer have to keep, now and then, whole segments at a time.

use crate::commit::log_error;
use crate::engine::Inner;
use polder_log::TopicDefinition;
use polder_log::store::{Clock, CommitTime, Log, SystemClock, TrimPolicy};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How often it looks. Segments are large, so more often would find nothing.
const EVERY: Duration = Duration::from_secs(60);

/// Starts looking, until the handle or the engine is dropped.
pub(crate) fn start(engine: Weak<Inner>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let Some(engine) = engine.upgrade() else { return };
            let Some(log) = engine.commit.opened().map(Arc::clone) else { continue };
            for topic in engine.catalogs().topics.values() {
                trim(&log, topic).await;
            }
        }
    }))
}

/// Trims the shards of a topic by its retention. What fails is told and tried again the next time.
pub(crate) async fn trim(log: &Log, topic: &TopicDefinition) {
    let retention = topic.retention;
    if retention.age.is_none() && retention.bytes.is_none() {
        return;
    }
    let oldest = retention.age.map(|age| {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        CommitTime(SystemClock.now().0.saturating_sub(age))
    });
    let policy = TrimPolicy { before: None, older_than: oldest, bytes_max: retention.bytes };
    for shard in topic.shards.iter().filter_map(|name| log.shard(name)) {
        match shard.trim(policy).await.map_err(log_error) {
            Ok(report) if report.segments > 0 => {
                tracing::info!(topic = %topic.name, shard = shard.name(), bytes = report.bytes, "trimmed by retention");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(topic = %topic.name, shard = shard.name(), %error, "could not trim"),
        }
    }
}
