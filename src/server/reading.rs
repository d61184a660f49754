//! Rows on their way to a client: read where statements run, as fast as the client takes them.

use crate::activity::Killed;
use crate::server::Shutdown;
use crate::session::Rows;
use arrow::array::RecordBatch;
use polder_catalog::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use tokio_util::task::AbortOnDropHandle;

/// Pieces that are made while one is sent.
const PIECES_AHEAD: usize = 1;

/// Rows that are being read, in pieces of the client's format. Dropping it cancels the query, here and at the sources.
pub(crate) struct Reading<T> {
    /// None at the end.
    pieces: mpsc::Receiver<Result<Option<T>>>,
    is_over: bool,
    shutdown: Shutdown,
    killed: Killed,
    /// Heard by the sources at once, also when the task computes and cannot be ended yet.
    _cancel: DropGuard,
    _task: AbortOnDropHandle<()>,
}

impl<T: Send + 'static> Reading<T> {
    /// Reads in a task of its own; `write` makes a piece of a batch.
    pub(crate) fn start(
        mut rows: Rows,
        shutdown: &Shutdown,
        workers: &Handle,
        mut write: impl FnMut(&RecordBatch) -> Result<T> + Send + 'static,
    ) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (cancel, killed) = (rows.cancellation().drop_guard(), rows.killed());
        let task = workers.spawn(async move {
            loop {
                let piece = match rows.next().await {
                    Ok(Some(batch)) => write(&batch).map(Some),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                let is_last = !matches!(piece, Ok(Some(_)));
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        let task = AbortOnDropHandle::new(task);
        Self { pieces, is_over: false, shutdown: shutdown.clone(), killed, _cancel: cancel, _task: task }
    }

    /// The next piece; None after the last. Cancel-safe.
    ///
    /// # Errors
    /// What is wrong with the rows, or 57P01 when the server ends: then those before are not the whole.
    pub(crate) async fn next(&mut self) -> Result<Option<T>> {
        if self.is_over {
            return Ok(None);
        }
        let piece = tokio::select! {
            biased;
            error = self.shutdown.stopped() => Err(error),
            error = self.killed.heard() => Err(error),
            piece = self.pieces.recv() => piece.unwrap_or_else(|| Err(Error::report("the statement ended in a panic"))),
        };
        self.is_over = !matches!(piece, Ok(Some(_)));
        piece
    }
}
