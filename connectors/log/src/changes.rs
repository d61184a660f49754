//! The changes of topics: whole entries, in the order of commit times, from any position on, without polling.
//!
//! A topic is a history, so every record is an insertion (weight +1). A tombstone is a record too: it is told as a row with
//! nothing but its key, and whoever wants to tell it apart asks for the hidden column `_deleted`. Columns that are asked for
//! by their place may be hidden ones; without a list all declared columns are told.
//!
//! A stream follows the shards of all topics. What nobody asked for is passed over, and told now and then as an empty
//! transaction, so that a position moves on.

mod cut;
mod follower;

use crate::source::Topics;
use async_trait::async_trait;
use cut::Cut;
use follower::Follower;
use futures::StreamExt;
use futures::future::select_all;
use polder_catalog::{ChangeEvent, ChangeStream, Changes, ChangesRequest, Error, ReadContext, Result, SourcePosition};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that wait for a slow follower.
const EVENTS_AHEAD: usize = 16;

/// Follows topics.
#[derive(Debug)]
pub(crate) struct TopicChanges(pub(crate) Arc<Topics>);

#[async_trait]
impl Changes for TopicChanges {
    async fn latest(&self, context: &ReadContext) -> Result<SourcePosition> {
        context.check()?;
        Ok(Cut::now(&self.0)?.position())
    }

    async fn open(&self, context: &ReadContext, request: ChangesRequest) -> Result<ChangeStream> {
        context.check()?;
        let follower = Follower::new(&self.0, request)?;
        let (send, events) = mpsc::channel(EVENTS_AHEAD);
        // Its owner is the stream: dropped, it closes the channel, which ends the task.
        tokio::spawn(follow(Arc::clone(&self.0), follower, send));
        let events = futures::stream::unfold(events, |mut events| async move { Some((events.recv().await?, events)) });
        Ok(events.boxed())
    }

    /// Retention is the topic's own.
    async fn confirm(&self, _: &SourcePosition) -> Result<()> {
        Ok(())
    }
}

/// Tells what there is, waits for more, until nobody listens.
async fn follow(topics: Arc<Topics>, mut follower: Follower, send: mpsc::Sender<Result<ChangeEvent>>) {
    let mut defined = topics.defined.subscribe();
    loop {
        defined.mark_unchanged();
        let (told, sender) = (Arc::clone(&topics), send.clone());
        let round = tokio::task::spawn_blocking(move || {
            let going_on = follower.tell(&told, &sender);
            (follower, going_on)
        });
        follower = match round.await {
            Ok((back, Ok(true))) => back,
            Ok((_, Ok(false))) => return,
            Ok((_, Err(error))) => return fail(&send, error).await,
            Err(error) => {
                let error = Error::report(format!("the thread that follows topics stopped: {error}"));
                return fail(&send, error).await;
            }
        };
        tokio::select! {
            () = send.closed() => return,
            () = more(&topics, follower.cut()) => {}
            _ = defined.changed() => {}
        }
    }
}

/// The last that is told.
async fn fail(send: &mpsc::Sender<Result<ChangeEvent>>, error: Error) {
    // Nobody is left to hear it if this fails.
    let _ = send.send(Err(error)).await;
}

/// Completes when a shard is longer than the cut.
async fn more(topics: &Topics, cut: &Cut) {
    let Ok(shards) = topics.shards() else { return };
    let waits = shards.into_iter().map(|shard| {
        let told = cut.entry(shard.name());
        let mut end = shard.end_watch();
        Box::pin(async move {
            // An error is the end of the log; the next round finds that out.
            let _ = end.wait_for(|end| end.entries.0 > told).await;
        })
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    select_all(waits).await;
}
