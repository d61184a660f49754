//! Binary COPY into Arrow, column by column.
//!
//! [`CopyDecoder`] reads the framing of the stream and hands each value's bytes to the builder of its column: no object
//! is made per row. The bytes come from the network: whatever they are, the result is a batch or an error, never a
//! panic. The formats are those of PostgreSQL's `*_send` functions.

mod column;
mod nested;
mod numeric;
mod scalar;
#[cfg(test)]
mod tests;

use crate::table::PgOutput;
use crate::types::Unrepresentable;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::{Buf, Bytes, BytesMut};
use column::{ColumnDecoder, Fault, decoder};
use polder_catalog::{Error, Kind, Result, SqlState};
use std::sync::Arc;

/// What every binary COPY starts with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of the (empty) extension.
const HEADER_BYTES: usize = 19;
/// A batch is handed on at this size even if it has few rows, so that wide rows do not pile up.
const BATCH_BYTES: usize = 4 << 20;

/// Turns the chunks of one COPY into record batches.
pub(crate) struct CopyDecoder {
    schema: SchemaRef,
    columns: Vec<Box<dyn ColumnDecoder>>,
    batch_rows: usize,
    rows: usize,
    bytes: usize,
    state: State,
    /// A tuple that is not whole yet. Servers send one tuple per message, so this is empty in practice.
    rest: BytesMut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Tuples,
    Ended,
}

impl CopyDecoder {
    pub(crate) fn new(outputs: &[PgOutput], policy: Unrepresentable, batch_rows: usize) -> Result<Self> {
        let columns = outputs
            .iter()
            .map(|output| decoder(&output.wire, output.field.data_type(), policy))
            .collect::<Result<Vec<_>>>()?;
        let fields: Vec<FieldRef> = outputs.iter().map(|output| Arc::clone(&output.field)).collect();
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            columns,
            batch_rows: batch_rows.max(1),
            rows: 0,
            bytes: 0,
            state: State::Header,
            rest: BytesMut::new(),
        })
    }

    /// Takes the next chunk. A chunk may end anywhere, also within a value.
    pub(crate) fn push(&mut self, chunk: &Bytes) -> Result<()> {
        self.bytes += chunk.len();
        if self.rest.is_empty() {
            let used = self.consume(chunk)?;
            self.rest.extend_from_slice(&chunk[used..]);
            return Ok(());
        }
        self.rest.extend_from_slice(chunk);
        let whole = std::mem::take(&mut self.rest);
        let used = self.consume(&whole)?;
        self.rest = whole;
        self.rest.advance(used);
        Ok(())
    }

    /// Whether a batch should be taken before the next chunk.
    pub(crate) fn is_full(&self) -> bool {
        self.rows >= self.batch_rows || self.bytes >= BATCH_BYTES
    }

    /// The rows so far, if there are any.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(|column| column.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(|error| {
            // The one way to get here is a NULL in a column that the server declared NOT NULL.
            Error::new(Kind::Retry, SqlState::DATA, "the rows do not fit the columns that were planned")
                .with_detail(error.to_string())
                .with_hint("the table was altered while the query ran: run it again")
        })?;
        Ok(Some(batch))
    }

    /// Checks that the stream ended where it should.
    pub(crate) fn end(&self) -> Result<()> {
        if self.state == State::Ended && self.rest.is_empty() {
            return Ok(());
        }
        Err(garbled("the rows end in the middle"))
    }

    /// Decodes all whole tuples, and says how many bytes they took.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = 0;
        if self.state == State::Header {
            let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(0) };
            if &header[..SIGNATURE.len()] != SIGNATURE {
                return Err(garbled("the server did not send a binary COPY"));
            }
            let extension = u32::from_be_bytes(header[15..19].try_into().expect("four bytes")) as usize;
            at = HEADER_BYTES + extension;
            if bytes.len() < at {
                return Ok(0);
            }
            self.state = State::Tuples;
        }
        while self.state == State::Tuples {
            match tuple_length(&bytes[at..], self.columns.len())? {
                Tuple::Partial => break,
                Tuple::Trailer => {
                    self.state = State::Ended;
                    at += 2;
                }
                Tuple::Whole(length) => {
                    self.tuple(&bytes[at + 2..at + length])?;
                    at += length;
                }
            }
        }
        if self.state == State::Ended && at < bytes.len() {
            return Err(garbled("there are bytes after the last row"));
        }
        Ok(at)
    }

    /// Decodes the values of one whole tuple, whose lengths have been checked.
    fn tuple(&mut self, mut bytes: &[u8]) -> Result<()> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            let length = bytes.get_i32();
            if length < 0 {
                column.append_null();
                continue;
            }
            let (value, rest) = bytes.split_at(length as usize);
            bytes = rest;
            column.append(value).map_err(|fault| fault.of_column(self.schema.field(index).name()))?;
        }
        self.rows += 1;
        Ok(())
    }
}

enum Tuple {
    Partial,
    Trailer,
    /// The length in bytes, with the field count.
    Whole(usize),
}

/// Measures a tuple before any of it is decoded, so that a builder never holds half a row.
fn tuple_length(bytes: &[u8], columns: usize) -> Result<Tuple> {
    let Some(count) = bytes.get(..2) else { return Ok(Tuple::Partial) };
    let count = i16::from_be_bytes([count[0], count[1]]);
    if count == -1 {
        return Ok(Tuple::Trailer);
    }
    if usize::try_from(count) != Ok(columns) {
        return Err(garbled(format!("a row has {count} columns in place of {columns}")));
    }
    let mut at = 2;
    for _ in 0..columns {
        let Some(length) = bytes.get(at..at + 4) else { return Ok(Tuple::Partial) };
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        if length < -1 {
            return Err(garbled(format!("a value of {length} bytes")));
        }
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    Ok(if at <= bytes.len() { Tuple::Whole(at) } else { Tuple::Partial })
}

fn garbled(what: impl Into<String>) -> Error {
    Error::new(Kind::Reopen, SqlState::FORMAT, what).with_hint("is it PostgreSQL that answers at this address?")
}

impl Fault {
    fn of_column(self, name: &str) -> Error {
        match self {
            Self::Unrepresentable(value) => Error::fix(
                SqlState::OUT_OF_RANGE,
                format!("column \"{name}\" holds {value}, which its Arrow type has not"),
            )
            .with_hint(
                "leave such rows out, or set the catalog's option unrepresentable to 'null' or 'text' \
                         (for a numeric without precision, numeric_scale may help)",
            ),
            Self::Character => {
                Error::fix(SqlState::CHARACTER, format!("column \"{name}\" holds text that is not valid UTF-8"))
                    .with_hint("mend the value at the source, or read the column as bytea")
            }
            Self::TooLarge => {
                Error::fix(SqlState::OUT_OF_RANGE, format!("column \"{name}\" holds more than 2 GiB in one batch"))
                    .with_hint("select parts of the value")
            }
            Self::Garbled(what) => {
                Error::new(Kind::Retry, SqlState::FORMAT, format!("column \"{name}\" cannot be read: {what}"))
                    .with_hint("the column's type may have changed while the query ran: run it again")
            }
        }
    }
}
