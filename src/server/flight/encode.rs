//! Rows and schemas as Flight sends them.

use super::status::status;
use crate::server::views::compacted;
use crate::session::Rows;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightInfo};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use polder_catalog::{Error, Result, SqlState};
use std::sync::Arc;
use tonic::Status;

/// About how large a message is. Clients take 4 MiB unless they were told otherwise.
const MESSAGE_BYTES: usize = 2 << 20;

/// Rows as messages, the schema first.
pub(super) fn encoded(rows: Rows) -> Result<BoxStream<'static, Result<FlightData, Status>>> {
    let schema = rows.schema();
    let batches = futures::stream::try_unfold(rows, |mut rows| async move {
        let batch = rows.next().await.map_err(failed)?;
        Ok(batch.map(|batch| (batch, rows)))
    });
    Ok(messages(schema, batches.boxed()))
}

/// A small result that is here already.
pub(super) fn ready(batch: RecordBatch) -> BoxStream<'static, Result<FlightData, Status>> {
    messages(batch.schema(), futures::stream::iter([Ok(batch)]).boxed())
}

fn messages(
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch, FlightError>>,
) -> BoxStream<'static, Result<FlightData, Status>> {
    let pieces = batches.map_ok(|batch| futures::stream::iter(pieces(&batch))).try_flatten();
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(usize::MAX);
    encoder.build(pieces).map_err(Status::from).boxed()
}

/// A batch in parts that each make a message. Each part is compacted, for it would bring the texts of the whole otherwise.
fn pieces(batch: &RecordBatch) -> Vec<Result<RecordBatch, FlightError>> {
    let parts = batch.get_array_memory_size().div_ceil(MESSAGE_BYTES).max(1);
    let rows = batch.num_rows().div_ceil(parts).max(1);
    let starts = (0..batch.num_rows()).step_by(rows);
    let part = |start: usize| {
        let part = batch.slice(start, rows.min(batch.num_rows() - start));
        compacted(&part).map_err(|error| failed(unwritable(error)))
    };
    starts.map(part).collect()
}

fn failed(error: Error) -> FlightError {
    FlightError::Tonic(Box::new(status(error)))
}

/// A schema as it will come before the rows; that of nothing if there are none.
pub(super) fn schema_bytes(schema: Option<&SchemaRef>) -> Result<Bytes> {
    let schema = match schema {
        Some(schema) => as_sent(schema),
        None => Arc::new(Schema::empty()),
    };
    FlightInfo::new().try_with_schema(&schema).map(|info| info.schema).map_err(unwritable)
}

/// Dictionaries travel as their values.
fn as_sent(schema: &SchemaRef) -> SchemaRef {
    let encoder = FlightDataEncoderBuilder::new().with_schema(Arc::clone(schema));
    let encoder = encoder.build(futures::stream::empty());
    encoder.known_schema().unwrap_or_else(|| Arc::clone(schema))
}

pub(super) fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::fix(SqlState::DATA, "the rows cannot be written as Arrow").with_detail(error.to_string())
}
