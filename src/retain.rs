//! Retention: removes what topics no longer have to keep, now and then, whole segments at a time.

use crate::engine::Inner;
use polder_log::store::{Clock, SystemClock};
use std::sync::Weak;
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
            trim(&engine).await;
        }
    }))
}

/// Trims every topic by its retention. What fails is told and tried again the next time.
async fn trim(engine: &Inner) {
    let Some(topics) = engine.opened_topics() else { return };
    for topic in topics.topics() {
        if topic.retention.age.is_none() && topic.retention.bytes.is_none() {
            continue;
        }
        match topics.trim(&topic.name, SystemClock.now()).await {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(topic = %topic.name, bytes, "trimmed by retention"),
            Err(error) => tracing::warn!(topic = %topic.name, %error, "could not trim"),
        }
    }
}
