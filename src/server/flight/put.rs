//! What a client sends as Arrow.

use super::Server;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use futures::{StreamExt, TryStreamExt};
use polder_catalog::{Error, Result, SqlState};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Batches that are read before they are asked for.
const BATCHES_AHEAD: usize = 1;

/// Batches of one schema.
pub(super) struct Sent {
    pub(super) schema: SchemaRef,
    /// None at the end.
    batches: mpsc::Receiver<Result<Option<DecodedPayload>>>,
    is_over: bool,
    _reading: AbortOnDropHandle<()>,
}

impl Sent {
    /// Reads the schema. Bytes that a decoder stumbles over end its task, and nothing else.
    ///
    /// # Errors
    /// 22P04 for what is not Arrow.
    pub(super) async fn start(server: &Server, stream: PeekableFlightDataStream) -> Result<Self> {
        let (sender, mut batches) = mpsc::channel(BATCHES_AHEAD);
        let mut decoder = FlightDataDecoder::new(stream.map_err(FlightError::from));
        let reading = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(decoded) = decoder.next().await {
                let decoded = decoded.map(|data| Some(data.payload)).map_err(unreadable);
                let has_failed = decoded.is_err();
                if sender.send(decoded).await.is_err() || has_failed {
                    return;
                }
            }
            let _ = sender.send(Ok(None)).await;
        }));
        let first = tokio::select! {
            error = server.shutdown.stopped() => return Err(error),
            first = batches.recv() => first.ok_or_else(broken)??,
        };
        match first {
            Some(DecodedPayload::Schema(schema)) => Ok(Self { schema, batches, is_over: false, _reading: reading }),
            _ => Err(Error::fix(SqlState::FORMAT, "what is sent does not begin with its schema")),
        }
    }

    /// The next rows; none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.is_over {
            match self.batches.recv().await.ok_or_else(broken)?? {
                Some(DecodedPayload::RecordBatch(batch)) if batch.schema() == self.schema => return Ok(Some(batch)),
                Some(DecodedPayload::RecordBatch(_) | DecodedPayload::Schema(_)) => {
                    return Err(Error::fix(SqlState::FORMAT, "the schema changes between the rows"));
                }
                Some(DecodedPayload::None) => {}
                None => self.is_over = true,
            }
        }
        Ok(None)
    }
}

fn unreadable(error: FlightError) -> Error {
    match error {
        FlightError::Tonic(status) => {
            Error::fix(SqlState::CANCELLED, "the rows broke off").with_detail(status.message().to_string())
        }
        other => broken().with_detail(other.to_string()),
    }
}

fn broken() -> Error {
    Error::fix(SqlState::FORMAT, "what is sent cannot be read as Arrow")
}
