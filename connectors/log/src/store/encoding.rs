//! How rows become payloads and back.
//!
//! A few rows take our [`compact`] encoding, which costs a few bytes a column; many rows, and types that it does not
//! know, take a record batch message of Arrow IPC, which is read without copying. The reader is told which by the part.

mod column;
mod compact;
mod decoder;
pub(crate) mod ipc;
mod layout;

pub use decoder::BatchDecoder;

use super::part::{Encoding, Part};
use super::{Error, Result};
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use std::sync::Arc;

/// So many rows are worth the few hundred bytes that a message of Arrow IPC costs, and are then read without copying.
const IPC_ROWS_MIN: usize = 128;

/// Encodes the rows of a batch.
pub(crate) fn encode(batch: &RecordBatch) -> Result<(Encoding, Vec<u8>)> {
    if batch.num_rows() < IPC_ROWS_MIN
        && let Some(payload) = compact::encode(batch)
    {
        return Ok((Encoding::COMPACT, payload));
    }
    Ok((Encoding::ARROW_IPC, ipc::encode(batch).map_err(|error| not_encoded(&error))?))
}

fn not_encoded(error: &ArrowError) -> Error {
    Error::fix(format!("could not encode a batch: {error}"))
}

impl Part {
    /// The rows of the part as a batch of its schema, or of the columns of `projection` alone.
    pub fn to_batch(&self, schema: &SchemaRef, projection: Option<&[usize]>) -> Result<RecordBatch> {
        let decoded = match self.encoding {
            Encoding::COMPACT => return self.compact_to_batch(schema, projection),
            Encoding::ARROW_IPC => ipc::decode(&self.payload, schema, projection),
            Encoding(other) => Err(ArrowError::InvalidArgumentError(format!("encoding {other} does not hold rows"))),
        };
        let batch = decoded.map_err(|error| self.not_decoded(&error))?;
        if batch.num_rows() as u64 != self.row_count {
            let (found, expected) = (batch.num_rows(), self.row_count);
            let error = ArrowError::InvalidArgumentError(format!("it has {found} rows instead of {expected}"));
            return Err(self.not_decoded(&error));
        }
        Ok(batch)
    }

    fn compact_to_batch(&self, schema: &SchemaRef, projection: Option<&[usize]>) -> Result<RecordBatch> {
        let rows_max = usize::try_from(self.row_count).unwrap_or(usize::MAX);
        let mut decoder = BatchDecoder::new(Arc::clone(schema), projection.map(<[usize]>::to_vec), rows_max)?;
        decoder.push(self)?;
        let batch = decoder.flush()?;
        Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(decoder.schema()))))
    }

    fn not_decoded(&self, error: &ArrowError) -> Error {
        let id = self.id;
        let message = format!("could not decode a part of dataset {}, schema {}: {error}", id.dataset, id.schema);
        Error::new(super::Kind::Repair, message)
            .with_hint("the bytes are as they were written; check that the schema is the one they were written with")
    }
}
