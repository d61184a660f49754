//! Columns of views, as they travel.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use std::sync::Arc;

/// Views of a slice hold the buffers of the whole; IPC would send them with each slice.
pub(super) fn compacted(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    RecordBatch::try_new_with_options(
        batch.schema(),
        batch.columns().iter().map(column).collect(),
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}
