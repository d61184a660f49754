//! Rows on their way to a client: read as fast as it takes them.

use super::cancel::Entered;
use super::encode::encoded;
use super::status::status;
use super::{Server, panicked};
use crate::activity::Killed;
use crate::server::Shutdown;
use crate::session::Rows;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::StreamExt;
use futures::stream::BoxStream;
use polder_catalog::Error;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

/// Pieces that are ready before the client asks for them.
const PIECES_AHEAD: usize = 1;

/// The answer to a query. Dropping it cancels the query.
pub(super) struct Answer {
    /// None at the end.
    pieces: mpsc::Receiver<Result<Option<FlightData>, Status>>,
    shutdown: Shutdown,
    running: Entered,
    killed: Killed,
    /// Heard by the sources at once, also when the task computes and cannot be ended yet.
    _cancel: DropGuard,
    _reading: AbortOnDropHandle<()>,
}

impl Answer {
    pub(super) fn start(server: &Server, rows: Rows, told: &SchemaRef, running: Entered, takes_notices: bool) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (cancel, killed) = (rows.cancellation().drop_guard(), rows.killed());
        let notices = takes_notices.then(|| rows.notices());
        let mut encoded = encoded(rows, told);
        let reading = server.workers.spawn(async move {
            while let Some(piece) = encoded.next().await {
                let has_failed = piece.is_err();
                if sender.send(piece.map(Some)).await.is_err() || has_failed {
                    return;
                }
            }
            let told = notices.map(|notices| notices.told()).filter(|told| !told.is_empty());
            if let Some(piece) = told.and_then(|told| serde_json::to_vec(&told).ok()) {
                // Who went away needs none of it.
                let _ = sender.send(Ok(Some(FlightData::new().with_app_metadata(piece)))).await;
            }
            // Who went away needs no end.
            let _ = sender.send(Ok(None)).await;
        });
        let reading = AbortOnDropHandle::new(reading);
        Self { pieces, shutdown: server.shutdown.clone(), running, killed, _cancel: cancel, _reading: reading }
    }

    /// An error is the last piece: the client takes no part for the whole.
    pub(super) fn stream(self) -> BoxStream<'static, Result<FlightData, Status>> {
        let pieces = futures::stream::unfold(Some(self), |answer| async move {
            let mut answer = answer?;
            match answer.piece().await {
                Ok(piece) => piece.map(|piece| (Ok(piece), Some(answer))),
                Err(status) => Some((Err(status), None)),
            }
        });
        pieces.boxed()
    }

    async fn piece(&mut self) -> Result<Option<FlightData>, Status> {
        tokio::select! {
            biased;
            error = self.shutdown.stopped() => Err(status(error)),
            error = self.killed.heard() => Err(status(error)),
            () = self.running.cancelled() => Err(status(Error::cancelled())),
            piece = self.pieces.recv() => piece.unwrap_or_else(|| Err(status(panicked()))),
        }
    }
}
