//! Our own encoding of few rows: column after column, a few bytes each beside the values.
//!
//! ```text
//! column   | nulls u8 | bitmap, if some are null | values, unless all are null |
//! values   bool     a bit each
//!          fixed    little endian, one after the other, null slots too
//!          bytes    a varint length each, then all bytes
//!          list     a varint length each, then the elements as a column
//!          fixed list, struct: the elements, the fields as columns
//! ```
//!
//! There is no schema and no type in it: the part names them.

use super::super::wire::{Malformed, Reader, put_varint};
use super::layout::Layout;
use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryViewType, ByteViewType, StringViewType};
use arrow_array::{Array, ArrayRef, OffsetSizeTrait, RecordBatch};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType;

/// No slot is null.
pub(super) const NONE_NULL: u8 = 0;
/// A bitmap says which slots hold a value.
pub(super) const SOME_NULL: u8 = 1;
/// All slots are null, and no values follow.
pub(super) const ALL_NULL: u8 = 2;

/// Null slots of one column that stand for no bytes take at most so much memory.
pub(super) const NULL_BYTES_MAX: usize = 64 << 20;

/// Encodes the rows; `None` if a column is of a type or shape that this encoding does not know.
pub(super) fn encode(batch: &RecordBatch) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(16 * batch.num_columns());
    for column in batch.columns() {
        put_column(&mut out, column, &Layout::of(column.data_type())?)?;
    }
    Some(out)
}

fn put_column(out: &mut Vec<u8>, array: &ArrayRef, layout: &Layout) -> Option<()> {
    let nulls = if *layout == Layout::Null { None } else { array.nulls().filter(|nulls| nulls.null_count() > 0) };
    match nulls {
        None => out.push(NONE_NULL),
        Some(nulls) if nulls.null_count() == array.len() => {
            out.push(ALL_NULL);
            let bytes = array.len().checked_mul(layout.slot_bytes())?;
            return (bytes <= NULL_BYTES_MAX).then_some(());
        }
        Some(nulls) => {
            out.push(SOME_NULL);
            put_bits(out, nulls.iter());
        }
    }
    put_values(out, array, layout)
}

fn put_bits(out: &mut Vec<u8>, bits: impl ExactSizeIterator<Item = bool>) {
    let start = out.len();
    out.resize(start + bits.len().div_ceil(8), 0);
    for (index, bit) in bits.enumerate() {
        out[start + index / 8] |= u8::from(bit) << (index % 8);
    }
}

fn put_values(out: &mut Vec<u8>, array: &ArrayRef, layout: &Layout) -> Option<()> {
    match layout {
        Layout::Null => Some(()),
        Layout::Bool => {
            put_bits(out, array.as_boolean().values().iter());
            Some(())
        }
        Layout::Fixed(width) => {
            let data = array.to_data();
            let start = data.offset() * width;
            out.extend_from_slice(data.buffers().first()?.get(start..start + data.len() * width)?);
            Some(())
        }
        Layout::Bytes { .. } | Layout::View => put_strings(out, array),
        Layout::List { child, .. } => put_lists(out, array, child),
        Layout::FixedList { child, .. } => put_column(out, array.as_fixed_size_list().values(), child),
        Layout::Struct(layouts) => layouts
            .iter()
            .zip(array.as_struct().columns())
            .try_for_each(|(layout, field)| put_column(out, field, layout)),
    }
}

fn put_strings(out: &mut Vec<u8>, array: &ArrayRef) -> Option<()> {
    match array.data_type() {
        DataType::Utf8 => put_each(out, array.as_string::<i32>().iter().map(|value| value.map(str::as_bytes))),
        DataType::LargeUtf8 => put_each(out, array.as_string::<i64>().iter().map(|value| value.map(str::as_bytes))),
        DataType::Binary => put_each(out, array.as_binary::<i32>().iter()),
        DataType::LargeBinary => put_each(out, array.as_binary::<i64>().iter()),
        DataType::Utf8View => put_views::<StringViewType>(out, array),
        DataType::BinaryView => put_views::<BinaryViewType>(out, array),
        _ => return None,
    }
    Some(())
}

fn put_views<T: ByteViewType>(out: &mut Vec<u8>, array: &ArrayRef) {
    put_each(out, array.as_byte_view::<T>().iter().map(|value| value.map(AsRef::as_ref)));
}

fn put_each<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = Option<&'a [u8]>> + Clone) {
    let values = values.map(Option::unwrap_or_default);
    values.clone().for_each(|value| put_varint(out, value.len() as u64));
    values.for_each(|value| out.extend_from_slice(value));
}

fn put_lists(out: &mut Vec<u8>, array: &ArrayRef, child: &Layout) -> Option<()> {
    match array.data_type() {
        DataType::List(_) => {
            put_elements(out, array, array.as_list::<i32>().offsets(), array.as_list::<i32>().values(), child)
        }
        DataType::LargeList(_) => {
            put_elements(out, array, array.as_list::<i64>().offsets(), array.as_list::<i64>().values(), child)
        }
        DataType::Map(..) => {
            let entries: ArrayRef = std::sync::Arc::new(array.as_map().entries().clone());
            put_elements(out, array, array.as_map().offsets(), &entries, child)
        }
        _ => None,
    }
}

fn put_elements<O: OffsetSizeTrait>(
    out: &mut Vec<u8>,
    array: &ArrayRef,
    offsets: &OffsetBuffer<O>,
    elements: &ArrayRef,
    child: &Layout,
) -> Option<()> {
    for (row, pair) in offsets.windows(2).enumerate() {
        let length = (pair[1] - pair[0]).as_usize();
        if length > 0 && array.is_null(row) {
            // A null list that hides elements: rare, and left to Arrow IPC.
            return None;
        }
        put_varint(out, length as u64);
    }
    let (first, last) = (offsets.first()?.as_usize(), offsets.last()?.as_usize());
    put_column(out, &elements.slice(first, last - first), child)
}

/// Steps over a column of so many rows.
pub(super) fn skip(reader: &mut Reader<'_>, layout: &Layout, rows: usize) -> Result<(), Malformed> {
    match reader.u8()? {
        NONE_NULL => {}
        SOME_NULL => drop(reader.take(rows.div_ceil(8))?),
        ALL_NULL => return Ok(()),
        _ => return Err(Malformed("a column is of a newer version")),
    }
    match layout {
        Layout::Null => Ok(()),
        Layout::Bool => reader.take(rows.div_ceil(8)).map(drop),
        Layout::Fixed(width) => reader.take(bytes_of(rows, *width)?).map(drop),
        Layout::Bytes { .. } | Layout::View => {
            let bytes = total_length(reader, rows)?;
            reader.take(bytes).map(drop)
        }
        Layout::List { child, .. } => {
            let elements = total_length(reader, rows)?;
            skip(reader, child, elements)
        }
        Layout::FixedList { size, child } => skip(reader, child, bytes_of(rows, *size)?),
        Layout::Struct(layouts) => layouts.iter().try_for_each(|layout| skip(reader, layout, rows)),
    }
}

pub(super) fn bytes_of(rows: usize, width: usize) -> Result<usize, Malformed> {
    rows.checked_mul(width).ok_or(Malformed("a column is longer than memory"))
}

fn total_length(reader: &mut Reader<'_>, rows: usize) -> Result<usize, Malformed> {
    let mut total = 0_usize;
    for _ in 0..rows {
        total = total.checked_add(reader.length()?).ok_or(Malformed("a column is longer than memory"))?;
    }
    Ok(total)
}
