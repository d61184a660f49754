//! The rows of `COPY ... FROM STDIN`, on their way from a client.

use crate::activity::Running;
use bytes::Bytes;
use polder_catalog::{Error, Result, SqlState};
use std::fmt;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// What a client sends. Only [`End`](Self::End) is the end: a client that goes away has sent no whole.
#[derive(Debug)]
pub(crate) enum Piece {
    Bytes(Bytes),
    End,
    Failed(Error),
}

/// Takes what a client sends. Dropping it before [`finish`](Self::finish) writes nothing.
pub struct CopyIn {
    pieces: mpsc::Sender<Piece>,
    /// Until its result was told.
    writing: Option<AbortOnDropHandle<Result<u64>>>,
    /// The statement, until its end was told.
    running: Option<Running>,
}

impl CopyIn {
    pub(crate) fn new(pieces: mpsc::Sender<Piece>, writing: tokio::task::JoinHandle<Result<u64>>) -> Self {
        Self { pieces, writing: Some(AbortOnDropHandle::new(writing)), running: None }
    }

    /// The rows of a statement, whose end is theirs.
    pub(crate) fn watched(self, running: Running) -> Self {
        Self { running: Some(running), ..self }
    }

    /// Sends the next piece, waiting while those before are still being read. A piece may end anywhere.
    ///
    /// # Errors
    /// If a row did not fit: what is wrong is told as soon as it is known, and nothing is written.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        if self.pieces.send(Piece::Bytes(piece)).await.is_ok() {
            return Ok(());
        }
        self.written().await?;
        Err(Error::report("rows ended before what was sent"))
    }

    /// Nothing more comes: writes the rows, and tells the tag.
    ///
    /// # Errors
    /// As [`write`](Self::write); those of writing.
    pub async fn finish(mut self) -> Result<String> {
        let _ = self.pieces.send(Piece::End).await;
        self.written().await.map(|count| format!("COPY {count}"))
    }

    /// Gives up because of the client: nothing is written. What the statement is answered with.
    pub async fn fail(mut self, reason: &str) -> Error {
        let error = || Error::fix(SqlState::CANCELLED, format!("COPY was given up by the client: {reason}"));
        let _ = self.pieces.send(Piece::Failed(error())).await;
        self.written().await.err().unwrap_or_else(error)
    }

    async fn written(&mut self) -> Result<u64> {
        let writing = self.writing.take().ok_or_else(|| Error::fix(SqlState::STATE, "COPY has ended already"))?;
        let Some(running) = self.running.take() else { return written(writing).await };
        let written = running.run(written(writing)).await;
        match &written {
            Ok(_) => running.done(),
            Err(error) => running.failed(error),
        }
        written
    }
}

async fn written(writing: AbortOnDropHandle<Result<u64>>) -> Result<u64> {
    writing.await.map_err(|error| Error::report("writing rows ended in a panic").with_source(error))?
}

impl fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CopyIn")
    }
}
