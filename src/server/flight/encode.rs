//! Rows and schemas as Flight sends them.

use super::status::status;
use crate::server::views::compacted;
use crate::session::Rows;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
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

/// Rows as messages, the schema first. It is the one that was told before: a plan may know better what is never NULL, or name a
/// column by the values of its parameters, and drivers take that for another result.
pub(super) fn encoded(rows: Rows, told: &SchemaRef) -> BoxStream<'static, Result<FlightData, Status>> {
    let schema = as_sent(told);
    let wanted = Arc::clone(&schema);
    let batches = futures::stream::try_unfold((rows, wanted), |(mut rows, wanted)| async move {
        let Some(batch) = rows.next().await.map_err(failed)? else { return Ok(None) };
        let batch = conformed(&batch, &wanted).map_err(|error| failed(unwritable(error)))?;
        Ok(Some((batch, (rows, wanted))))
    });
    messages(schema, batches.boxed())
}

/// The same rows in these columns.
fn conformed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.num_columns() != schema.fields().len() {
        return Err(ArrowError::SchemaError("other columns were planned".to_string()));
    }
    let column = |(column, field): (&ArrayRef, &FieldRef)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
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
    let schema = schema.map_or_else(|| Arc::new(Schema::empty()), as_sent);
    exact_schema_bytes(&schema)
}

/// The schema of a listing, which the protocol fixes.
pub(super) fn exact_schema_bytes(schema: &Schema) -> Result<Bytes> {
    FlightInfo::new().try_with_schema(schema).map(|info| info.schema).map_err(unwritable)
}

/// Dictionaries travel as their values, and any column may have NULL.
fn as_sent(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()));
    let encoder = FlightDataEncoderBuilder::new().with_schema(Arc::clone(&schema));
    encoder.build(futures::stream::empty()).known_schema().unwrap_or(schema)
}

pub(super) fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::fix(SqlState::DATA, "the rows cannot be written as Arrow").with_detail(error.to_string())
}
