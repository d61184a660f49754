//! How rows become payloads and back.
//!
//! A few rows take our [`compact`] encoding, which costs a few bytes a column; many rows, and types that it does not know,
//! take a record batch message of Arrow IPC, which is read without copying. The reader is told which by the part.

pub(crate) mod ipc;

use super::part::{Encoding, Part};
use super::{Error, Result};
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};

/// Encodes the rows of a batch.
pub(crate) fn encode(batch: &RecordBatch) -> Result<(Encoding, Vec<u8>)> {
    Ok((Encoding::ARROW_IPC, ipc::encode(batch).map_err(|error| not_encoded(&error))?))
}

fn not_encoded(error: &ArrowError) -> Error {
    Error::fix(format!("could not encode a batch: {error}"))
}

impl Part {
    /// The rows of the part as a batch of its schema, or of the columns of `projection` alone.
    pub fn to_batch(&self, schema: &SchemaRef, projection: Option<&[usize]>) -> Result<RecordBatch> {
        let decoded = match self.encoding {
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

    fn not_decoded(&self, error: &ArrowError) -> Error {
        let id = self.id;
        let message = format!("could not decode a part of dataset {}, schema {}: {error}", id.dataset, id.schema);
        Error::new(super::Kind::Repair, message)
            .with_hint("the bytes are as they were written; check that the schema is the one they were written with")
    }
}
