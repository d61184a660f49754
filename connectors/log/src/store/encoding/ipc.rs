//! Record batch messages of Arrow IPC, without the schema, which is an entry of its own.
//!
//! ```text
//! | metadata length varint | metadata | padding to 64 bytes | body length varint | body | ...
//! ```
//!
//! Dictionaries come before the batch, each a message of its own. Buffers are not compressed: they are read in place.

use super::super::wire::{Malformed, Reader, put_bytes};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_ipc::{Message, convert};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use bytes::Bytes;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The schema as the bytes of a schema entry.
pub(crate) fn encode_schema(schema: &Schema) -> Vec<u8> {
    let mut tracker = DictionaryTracker::new(false);
    let options = IpcWriteOptions::default();
    IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options).ipc_message
}

/// Reads a schema; it never panics, whatever the bytes are.
pub(crate) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef, ArrowError> {
    guarded(|| convert::try_schema_from_flatbuffer_bytes(bytes).map(Arc::new))
}

pub(crate) fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let options = IpcWriteOptions::default();
    let generator = IpcDataGenerator::default();
    let mut tracker = DictionaryTracker::new(false);
    // Gives the dictionaries the ids that a reader of the schema gives them.
    generator.schema_to_bytes_with_dictionary_tracker(&batch.schema(), &mut tracker, &options);
    let (dictionaries, rows) = generator.encode(batch, &mut tracker, &options, &mut IpcWriteContext::default())?;
    let mut out = Vec::with_capacity(rows.arrow_data.len() + rows.ipc_message.len() + 16);
    dictionaries.iter().chain([&rows]).for_each(|message| put_message(&mut out, message));
    Ok(out)
}

fn put_message(out: &mut Vec<u8>, message: &EncodedData) {
    put_bytes(out, &message.ipc_message);
    put_bytes(out, &message.arrow_data);
}

/// Reads a batch. Fixed-width buffers that happen to lie aligned are used in place; others are copied.
pub(crate) fn decode(
    payload: &Bytes,
    schema: &SchemaRef,
    projection: Option<&[usize]>,
) -> Result<RecordBatch, ArrowError> {
    guarded(|| decode_messages(payload, schema, projection))
}

/// Arrow's reader checks most of what it reads, and slices the rest: a panic there is an error here.
fn guarded<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ArrowError::IpcError("the message does not follow the format".to_string())))
}

fn decode_messages(
    payload: &Bytes,
    schema: &SchemaRef,
    projection: Option<&[usize]>,
) -> Result<RecordBatch, ArrowError> {
    let mut reader = Reader::new(payload);
    let mut dictionaries = HashMap::<i64, ArrayRef>::new();
    let schema = with_dictionary_ids(schema)?;
    loop {
        let metadata = reader.bytes().map_err(cut)?;
        let body = payload.slice_ref(reader.bytes().map_err(cut)?);
        let message = arrow_ipc::root_as_message(metadata).map_err(|error| ArrowError::IpcError(error.to_string()))?;
        check_buffers(&message, body.len())?;
        let body = Buffer::from(body);
        if let Some(rows) = message.header_as_record_batch() {
            return read_record_batch(&body, rows, schema, &dictionaries, projection, &message.version());
        }
        let dictionary = message.header_as_dictionary_batch();
        let dictionary = dictionary.ok_or_else(|| ArrowError::IpcError("a message is not of rows".to_string()))?;
        read_dictionary(&body, dictionary, &schema, &mut dictionaries, &message.version())?;
    }
}

fn cut(Malformed(why): Malformed) -> ArrowError {
    ArrowError::IpcError(why.to_string())
}

/// Every buffer of the message must lie within its body.
fn check_buffers(message: &Message<'_>, body_bytes: usize) -> Result<(), ArrowError> {
    let rows = message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch()?.data());
    let within = |offset: i64, length: i64| {
        let end = offset.checked_add(length);
        offset >= 0 && length >= 0 && end.is_some_and(|end| end as u64 <= body_bytes as u64)
    };
    // We write none, and a few bytes of it could stand for any number.
    if rows.is_some_and(|rows| rows.compression().is_some()) {
        return Err(ArrowError::IpcError("the buffers are compressed".to_string()));
    }
    let buffers = rows.and_then(|rows| rows.buffers());
    if buffers.iter().flatten().all(|buffer| within(buffer.offset(), buffer.length())) {
        return Ok(());
    }
    Err(ArrowError::IpcError("a buffer ends beyond the body of the message".to_string()))
}

/// Dictionaries find their column by an id that only a schema read from IPC has.
fn with_dictionary_ids(schema: &SchemaRef) -> Result<SchemaRef, ArrowError> {
    let has_dictionaries = schema.fields().iter().any(|field| holds_dictionary(field.data_type()));
    if has_dictionaries { decode_schema(&encode_schema(schema)) } else { Ok(Arc::clone(schema)) }
}

fn holds_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => holds_dictionary(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_dictionary(field.data_type())),
        DataType::Union(fields, _) => fields.iter().any(|(_, field)| holds_dictionary(field.data_type())),
        DataType::RunEndEncoded(_, values) => holds_dictionary(values.data_type()),
        _ => false,
    }
}
