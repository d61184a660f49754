//! The rows of `COPY ... FROM STDIN`, on their way from a client.

use bytes::Bytes;
use polder_catalog::{Error, Result, SqlState};
use std::fmt;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Takes what a client sends. Dropping it before [`finish`](Self::finish) writes nothing.
pub struct CopyIn {
    /// Dropped first: a writer that sees the pieces end would take them for the whole.
    writing: AbortOnDropHandle<Result<u64>>,
    pieces: mpsc::Sender<Result<Bytes>>,
}

impl CopyIn {
    pub(crate) fn new(pieces: mpsc::Sender<Result<Bytes>>, writing: tokio::task::JoinHandle<Result<u64>>) -> Self {
        Self { writing: AbortOnDropHandle::new(writing), pieces }
    }

    /// Sends the next piece, waiting while those before are still being read. A piece may end anywhere.
    ///
    /// # Errors
    /// If a row did not fit: what is wrong is told as soon as it is known, and nothing is written.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        if self.pieces.send(Ok(piece)).await.is_ok() {
            return Ok(());
        }
        match (&mut self.writing).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => Err(Error::report("rows ended before what was sent")),
            Err(error) => Err(Error::report("writing rows ended in a panic").with_source(error)),
        }
    }

    /// Nothing more comes: writes the rows, and tells the tag.
    pub async fn finish(self) -> Result<String> {
        drop(self.pieces);
        let written =
            self.writing.await.map_err(|error| Error::report("writing rows ended in a panic").with_source(error))?;
        written.map(|count| format!("COPY {count}"))
    }

    /// Gives up because of the client: nothing is written.
    pub async fn fail(self, reason: &str) -> Error {
        let error = Error::fix(SqlState::CANCELLED, format!("COPY was given up by the client: {reason}"));
        let _ = self.pieces.send(Err(Error::fix(SqlState::CANCELLED, reason.to_string()))).await;
        error
    }
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopyIn")
    }
}
