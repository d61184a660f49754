//! A column being put together from compact values, part after part, without an allocation for each.

use super::super::wire::{Malformed, Reader};
use super::compact::{ALL_NULL, NONE_NULL, NULL_BYTES_MAX, SOME_NULL, bytes_of};
use super::layout::Layout;
use arrow_array::{ArrayRef, BinaryViewArray, StringViewArray, make_array};
use arrow_buffer::{BooleanBufferBuilder, Buffer, MutableBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};
use std::sync::Arc;

/// The rows of one column so far.
pub(crate) struct Column {
    data_type: DataType,
    rows: usize,
    validity: Validity,
    values: Values,
}

/// Which slots hold a value. The bits are made when the first null comes.
#[derive(Default)]
struct Validity {
    bits: Option<BooleanBufferBuilder>,
}

enum Values {
    Null,
    Bool(BooleanBufferBuilder),
    Fixed { width: usize, bytes: MutableBuffer },
    Bytes { large: bool, view: bool, text: bool, ends: Vec<i64>, bytes: Vec<u8> },
    List { large: bool, ends: Vec<i64>, child: Box<Column> },
    FixedList { size: usize, child: Box<Column> },
    Struct(Vec<Column>),
}

/// Offsets of 32 bits in memory reach so far; a column is finished before.
const BYTES_MAX: usize = i32::MAX as usize;

/// Checks what so many slots take in memory that stand for no bytes in the part.
fn check_nulls(rows: usize, width: usize) -> Result<(), Malformed> {
    match bytes_of(rows, width.max(1))? <= NULL_BYTES_MAX {
        true => Ok(()),
        false => Err(Malformed("a column has more nulls than a part may")),
    }
}

impl Column {
    /// `None` for a type that the compact encoding does not know.
    pub(crate) fn new(data_type: &DataType) -> Option<Self> {
        let values = match (Layout::of(data_type)?, data_type) {
            (Layout::Null, _) => Values::Null,
            (Layout::Bool, _) => Values::Bool(BooleanBufferBuilder::new(0)),
            (Layout::Fixed(width), _) => Values::Fixed { width, bytes: MutableBuffer::new(0) },
            (Layout::Bytes { large }, _) => {
                let text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8);
                Values::Bytes { large, view: false, text, ends: Vec::new(), bytes: Vec::new() }
            }
            (Layout::View, _) => {
                let text = *data_type == DataType::Utf8View;
                Values::Bytes { large: false, view: true, text, ends: Vec::new(), bytes: Vec::new() }
            }
            (
                Layout::List { large, .. },
                DataType::List(field) | DataType::Map(field, _) | DataType::LargeList(field),
            ) => Values::List { large, ends: Vec::new(), child: Box::new(Self::new(field.data_type())?) },
            (Layout::FixedList { size, .. }, DataType::FixedSizeList(field, _)) => {
                Values::FixedList { size, child: Box::new(Self::new(field.data_type())?) }
            }
            (Layout::Struct(_), DataType::Struct(fields)) => {
                Values::Struct(fields.iter().map(|field| Self::new(field.data_type())).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Self { data_type: data_type.clone(), rows: 0, validity: Validity::default(), values })
    }

    /// Appends the values of so many rows. If it fails, [`truncate`](Self::truncate) takes back what it did.
    #[inline]
    pub(crate) fn append(&mut self, reader: &mut Reader<'_>, rows: usize) -> Result<(), Malformed> {
        match reader.u8()? {
            NONE_NULL => self.validity.append_valid(rows),
            SOME_NULL => {
                let bitmap = reader.take(rows.div_ceil(8))?;
                self.validity.append_bitmap(self.rows, rows, bitmap);
            }
            ALL_NULL => return self.append_nulls(rows),
            _ => return Err(Malformed("a column is of a newer version")),
        }
        self.append_values(reader, rows)?;
        self.rows += rows;
        Ok(())
    }

    #[inline]
    fn append_values(&mut self, reader: &mut Reader<'_>, rows: usize) -> Result<(), Malformed> {
        match &mut self.values {
            Values::Null => check_nulls(rows, 1)?,
            Values::Bool(bits) => {
                let packed = reader.take(rows.div_ceil(8))?;
                bits.append_packed_range(0..rows, packed);
            }
            Values::Fixed { width, bytes } => bytes.extend_from_slice(reader.take(bytes_of(rows, *width)?)?),
            Values::Bytes { text, ends, bytes, .. } => append_strings(reader, rows, *text, ends, bytes)?,
            Values::List { ends, child, .. } => {
                let before = ends.last().copied().unwrap_or(0);
                append_ends(reader, rows, ends)?;
                let elements = ends.last().copied().unwrap_or(0) - before;
                child.append(reader, elements as usize)?;
            }
            Values::FixedList { size, child } => child.append(reader, bytes_of(rows, *size)?)?,
            Values::Struct(fields) => fields.iter_mut().try_for_each(|field| field.append(reader, rows))?,
        }
        Ok(())
    }

    fn append_nulls(&mut self, rows: usize) -> Result<(), Malformed> {
        let width = match &self.values {
            Values::Fixed { width, .. } => *width,
            Values::Bytes { .. } | Values::List { .. } => size_of::<i64>(),
            _ => 1,
        };
        check_nulls(rows, width)?;
        self.validity.append_nulls(self.rows, rows);
        match &mut self.values {
            Values::Null => {}
            Values::Bool(bits) => bits.append_n(rows, false),
            Values::Fixed { width, bytes } => bytes.extend_zeros(bytes_of(rows, *width)?),
            Values::Bytes { ends, .. } | Values::List { ends, .. } => {
                let end = ends.last().copied().unwrap_or(0);
                ends.resize(ends.len() + rows, end);
            }
            Values::FixedList { size, child } => child.append_nulls(bytes_of(rows, *size)?)?,
            Values::Struct(fields) => fields.iter_mut().try_for_each(|field| field.append_nulls(rows))?,
        }
        self.rows += rows;
        Ok(())
    }

    /// Takes back all rows behind the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.validity.truncate(rows);
        match &mut self.values {
            Values::Null => {}
            Values::Bool(bits) => bits.truncate(rows.min(bits.len())),
            Values::Fixed { width, bytes } => bytes.truncate(rows * *width),
            Values::Bytes { ends, bytes, .. } => {
                ends.truncate(rows);
                bytes.truncate(ends.last().copied().unwrap_or(0) as usize);
            }
            Values::List { ends, child, .. } => {
                ends.truncate(rows);
                child.truncate(ends.last().copied().unwrap_or(0) as usize);
            }
            Values::FixedList { size, child } => child.truncate(rows * *size),
            Values::Struct(fields) => fields.iter_mut().for_each(|field| field.truncate(rows)),
        }
    }

    /// The column as an array; the next rows begin anew.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let nulls = self.validity.finish();
        if let Values::Bytes { view: true, text, ends, bytes, .. } = &mut self.values {
            return finish_views(*text, std::mem::take(ends), std::mem::take(bytes), nulls);
        }
        let data = ArrayData::builder(self.data_type.clone()).len(rows).nulls(nulls);
        let data = match &mut self.values {
            Values::Null => data,
            Values::Bool(bits) => data.add_buffer(bits.finish().into_inner()),
            Values::Fixed { bytes, .. } => data.add_buffer(std::mem::take(bytes).into()),
            Values::Bytes { large, ends, bytes, .. } => {
                data.add_buffer(offsets(*large, ends)).add_buffer(Buffer::from_vec(std::mem::take(bytes)))
            }
            Values::List { large, ends, child } => {
                data.add_buffer(offsets(*large, ends)).add_child_data(child.finish()?.to_data())
            }
            Values::FixedList { child, .. } => data.add_child_data(child.finish()?.to_data()),
            Values::Struct(fields) => {
                let fields = fields.iter_mut().map(|field| Ok(field.finish()?.to_data()));
                data.child_data(fields.collect::<Result<_, ArrowError>>()?)
            }
        };
        // Checks everything, UTF-8 and offsets included: no bytes from disk make an array that Arrow would not.
        Ok(make_array(data.align_buffers(true).build()?))
    }
}

impl Validity {
    fn bits(&mut self, rows_before: usize) -> &mut BooleanBufferBuilder {
        self.bits.get_or_insert_with(|| {
            let mut bits = BooleanBufferBuilder::new(rows_before);
            bits.append_n(rows_before, true);
            bits
        })
    }

    #[inline]
    fn append_valid(&mut self, rows: usize) {
        if let Some(bits) = &mut self.bits {
            bits.append_n(rows, true);
        }
    }

    fn append_nulls(&mut self, rows_before: usize, rows: usize) {
        self.bits(rows_before).append_n(rows, false);
    }

    fn append_bitmap(&mut self, rows_before: usize, rows: usize, bitmap: &[u8]) {
        self.bits(rows_before).append_packed_range(0..rows, bitmap);
    }

    fn truncate(&mut self, rows: usize) {
        if let Some(bits) = &mut self.bits {
            bits.truncate(rows.min(bits.len()));
        }
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        self.bits.take().map(|mut bits| NullBuffer::new(bits.finish()))
    }
}

#[inline]
fn append_ends(reader: &mut Reader<'_>, rows: usize, ends: &mut Vec<i64>) -> Result<(), Malformed> {
    let mut end = ends.last().copied().unwrap_or(0) as usize;
    for _ in 0..rows {
        end = end.checked_add(reader.length()?).ok_or(Malformed("a column is longer than memory"))?;
        if end > BYTES_MAX {
            return Err(Malformed("a column is longer than a batch may be"));
        }
        ends.push(end as i64);
    }
    Ok(())
}

#[inline]
fn append_strings(
    reader: &mut Reader<'_>,
    rows: usize,
    text: bool,
    ends: &mut Vec<i64>,
    bytes: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let first = ends.len();
    let before = bytes.len();
    append_ends(reader, rows, ends)?;
    let after = ends.last().copied().unwrap_or(0) as usize;
    let appended = reader.take(after - before)?;
    if text {
        let whole = std::str::from_utf8(appended).map_err(|_| Malformed("a text is not UTF-8"))?;
        let apart = ends[first..].iter().all(|end| whole.is_char_boundary(*end as usize - before));
        if !apart {
            return Err(Malformed("a text ends within a character"));
        }
    }
    bytes.extend_from_slice(appended);
    Ok(())
}

fn offsets(large: bool, ends: &mut Vec<i64>) -> Buffer {
    let ends = std::mem::take(ends);
    if large {
        Buffer::from_vec(std::iter::once(0).chain(ends).collect::<Vec<i64>>())
    } else {
        Buffer::from_vec(std::iter::once(0).chain(ends.into_iter().map(|end| end as i32)).collect::<Vec<i32>>())
    }
}

fn finish_views(
    text: bool,
    mut ends: Vec<i64>,
    bytes: Vec<u8>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let data_type = if text { DataType::Utf8 } else { DataType::Binary };
    let data = ArrayData::builder(data_type).len(ends.len()).nulls(nulls);
    let data = data.add_buffer(offsets(false, &mut ends)).add_buffer(Buffer::from_vec(bytes)).build()?;
    Ok(if text {
        Arc::new(StringViewArray::from(&arrow_array::StringArray::from(data)))
    } else {
        Arc::new(BinaryViewArray::from(&arrow_array::BinaryArray::from(data)))
    })
}
