//! The stored row: values of the columns that no 64-bit word holds, one after the other, as bytes.
//!
//! ```text
//! row    = { value }                          one for each stored column, in the order of the layout
//! value  = 00  |  01 length:u32 payload       NULL, or the value
//! list   = { value }                          the payload of a list
//! ```
//!
//! All numbers are little-endian. A column is found by skipping those before it.

use crate::encoding::index;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, FixedSizeBinaryBuilder, LargeListArray, ListArray,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, FieldRef, IntervalMonthDayNanoType, IntervalUnit, ToByteSlice,
};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Whether values of this type can be stored and come back exactly as they were.
pub(crate) fn holds(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => holds(item.data_type()),
        DataType::Interval(unit) => *unit == IntervalUnit::MonthDayNano,
        other => crate::encoding::fits_word(other) || crate::encoding::is_bytes(other),
    }
}

/// Appends one value.
pub(crate) fn write(array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    if array.is_null(row) {
        out.push(0);
        return Ok(());
    }
    out.push(1);
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    write_payload(array, row, out)?;
    let length = u32::try_from(out.len() - length_at - 4)
        .map_err(|_| ArrowError::InvalidArgumentError("a value exceeds 4 GiB".into()))?;
    out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn write_payload(array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    match array.data_type() {
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).try_for_each(|item| write(&items, item, out))
        }
        DataType::LargeList(_) => {
            let items = array.as_list::<i64>().value(row);
            (0..items.len()).try_for_each(|item| write(&items, item, out))
        }
        DataType::Interval(_) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            out.extend_from_slice(&value.months.to_le_bytes());
            out.extend_from_slice(&value.days.to_le_bytes());
            out.extend_from_slice(&value.nanoseconds.to_le_bytes());
            Ok(())
        }
        DataType::Decimal128(..) => {
            out.extend_from_slice(array.as_primitive::<Decimal128Type>().value(row).to_byte_slice());
            Ok(())
        }
        DataType::Decimal256(..) => {
            out.extend_from_slice(&array.as_primitive::<Decimal256Type>().value(row).to_le_bytes());
            Ok(())
        }
        word if crate::encoding::fits_word(word) => {
            let words = crate::encoding::words(&array.slice(row, 1))?;
            out.extend_from_slice(&words[0].unwrap_or_default().to_le_bytes());
            Ok(())
        }
        _ => {
            out.extend_from_slice(&crate::encoding::bytes(array, row).unwrap_or_default());
            Ok(())
        }
    }
}

/// The values of a stored row, in order.
#[derive(Clone)]
pub(crate) struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    pub(crate) fn new(row: &'a [u8]) -> Self {
        Self { rest: row }
    }
}

impl<'a> Iterator for Values<'a> {
    /// `None` inside is NULL.
    type Item = Result<Option<&'a [u8]>, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (flag, rest) = self.rest.split_first()?;
        if *flag == 0 {
            self.rest = rest;
            return Some(Ok(None));
        }
        let value = rest
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(index(u32::from_le_bytes(*length))));
        let Some((value, rest)) = value else {
            self.rest = &[];
            return Some(Err(damaged()));
        };
        self.rest = rest;
        Some(Ok(Some(value)))
    }
}

/// The values of one column as an array.
pub(crate) fn read(values: &[Option<&[u8]>], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    Ok(match data_type {
        DataType::List(item) => {
            let (items, lengths, nulls) = read_lists(values, item)?;
            Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, nulls)?)
        }
        DataType::LargeList(item) => {
            let (items, lengths, nulls) = read_lists(values, item)?;
            Arc::new(LargeListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, nulls)?)
        }
        DataType::Interval(_) => Arc::new(primitive::<IntervalMonthDayNanoType>(values, |bytes| {
            let (months, rest) = bytes.split_first_chunk::<4>()?;
            let (days, nanoseconds) = rest.split_first_chunk::<4>()?;
            Some(arrow::datatypes::IntervalMonthDayNano::new(
                i32::from_le_bytes(*months),
                i32::from_le_bytes(*days),
                i64::from_le_bytes(nanoseconds.try_into().ok()?),
            ))
        })?),
        DataType::Decimal128(digits, scale) => {
            let read = |bytes: &[u8]| Some(i128::from_le_bytes(bytes.try_into().ok()?));
            Arc::new(primitive::<Decimal128Type>(values, read)?.with_precision_and_scale(*digits, *scale)?)
        }
        DataType::Decimal256(digits, scale) => {
            let read = |bytes: &[u8]| Some(arrow::datatypes::i256::from_le_bytes(bytes.try_into().ok()?));
            Arc::new(primitive::<Decimal256Type>(values, read)?.with_precision_and_scale(*digits, *scale)?)
        }
        DataType::FixedSizeBinary(size) => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), *size);
            for value in values {
                match value {
                    Some(value) => builder.append_value(value)?,
                    None => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        text if text.is_string() => {
            let texts = values.iter().map(|value| value.map(std::str::from_utf8).transpose().map_err(|_| damaged()));
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            of_type(Arc::new(StringArray::from(texts)), text)?
        }
        word if crate::encoding::fits_word(word) => {
            let words = values.iter().map(|value| value.map(to_word).transpose()).collect::<Result<Vec<_>, _>>()?;
            crate::encoding::of_words(&words, word)?
        }
        binary => of_type(Arc::new(BinaryArray::from(values.to_vec())), binary)?,
    })
}

fn to_word(bytes: &[u8]) -> Result<u64, ArrowError> {
    Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| damaged())?))
}

fn of_type(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type { Ok(array) } else { cast(&array, data_type) }
}

type Lists = (ArrayRef, Vec<usize>, Option<NullBuffer>);

fn read_lists(values: &[Option<&[u8]>], item: &FieldRef) -> Result<Lists, ArrowError> {
    let (mut items, mut lengths) = (Vec::new(), Vec::with_capacity(values.len()));
    for value in values {
        let before = items.len();
        for item in Values::new(value.unwrap_or_default()) {
            items.push(item?);
        }
        lengths.push(items.len() - before);
    }
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    Ok((read(&items, item.data_type())?, lengths, nulls))
}

fn primitive<T: ArrowPrimitiveType>(
    values: &[Option<&[u8]>],
    read: impl Fn(&[u8]) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let values = values.iter().map(|value| match value {
        Some(bytes) => read(bytes).map(Some).ok_or_else(damaged),
        None => Ok(None),
    });
    Ok(values.collect::<Result<Vec<_>, _>>()?.into_iter().collect())
}

fn damaged() -> ArrowError {
    ArrowError::InvalidArgumentError("a stored row is damaged".into())
}
