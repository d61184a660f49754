//! Values as an index orders them: 64-bit words and byte strings whose order is the order of the values.
//!
//! ```text
//! -1, 0, 1             7fff..ff  8000..00  8000..01                     the sign bit turned round
//! -inf, -1.5, 0, NaN   floats in IEEE 754's total order, as Arrow compares them
//! numeric(30, 2)       16 bytes, big-endian, the sign bit turned round
//! text                 its bytes; beyond 256, its first bytes and the hash of the whole
//! ```
//!
//! Both ways give back exactly the value that went in, but for long texts: those are only looked up by their term.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    UInt64Array,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::Arc;

/// The most bytes of a value that are its own term.
pub(crate) const TERM_BYTES_MAX: usize = 256;
/// Decimals of at most so many digits fit 64 bits.
const DECIMAL_DIGITS_MAX: u8 = 18;
const SIGN: u64 = 1 << 63;

/// Whether values of this type fit a word of 64 bits.
pub(crate) fn fits_word(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..) => true,
        DataType::Decimal128(digits, _) => *digits <= DECIMAL_DIGITS_MAX,
        other => other.is_integer(),
    }
}

/// Whether values of this type are terms of bytes.
pub(crate) fn is_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(..) | DataType::Decimal256(..) => !fits_word(data_type),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => true,
        other => other.is_string(),
    }
}

/// The values as words, in their order.
pub(crate) fn words(array: &ArrayRef) -> Result<Vec<Option<u64>>, ArrowError> {
    let signed = |array: &ArrayRef| -> Result<Vec<Option<u64>>, ArrowError> {
        let array = cast(array, &DataType::Int64)?;
        Ok(array.as_primitive::<Int64Type>().iter().map(|value| value.map(of_signed)).collect())
    };
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().iter().map(|value| value.map(u64::from)).collect(),
        DataType::Float32 => array.as_primitive::<Float32Type>().iter().map(|value| value.map(of_single)).collect(),
        DataType::Float64 => array.as_primitive::<Float64Type>().iter().map(|value| value.map(of_double)).collect(),
        DataType::Date32 | DataType::Time32(_) => signed(&cast(array, &DataType::Int32)?)?,
        DataType::Decimal128(..) => {
            array.as_primitive::<Decimal128Type>().iter().map(of_decimal).collect::<Result<_, _>>()?
        }
        unsigned if unsigned.is_unsigned_integer() => {
            cast(array, &DataType::UInt64)?.as_primitive::<UInt64Type>().iter().collect()
        }
        _ => signed(array)?,
    })
}

/// The values of these words.
///
/// # Errors
/// If a word is no value of the type: the index is damaged.
pub(crate) fn of_words(words: &[Option<u64>], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let each = || words.iter().copied();
    let signed = || each().map(|word| word.map(to_signed));
    let damaged = || ArrowError::InvalidArgumentError("a word of the index is no value of its type".into());
    let small = |word: Option<u64>| word.map(|word| i32::try_from(to_signed(word)).map_err(|_| damaged())).transpose();
    let single = |word: Option<u64>| word.map(|word| to_single(word).ok_or_else(damaged)).transpose();
    let exactly = CastOptions { safe: false, ..CastOptions::default() };
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(each().map(|word| word.map(|word| word != 0)))),
        DataType::Float32 => Arc::new(Float32Array::from(each().map(single).collect::<Result<Vec<_>, _>>()?)),
        DataType::Float64 => Arc::new(Float64Array::from_iter(each().map(|word| word.map(to_double)))),
        DataType::Date32 | DataType::Time32(_) => {
            cast(&Int32Array::from(each().map(small).collect::<Result<Vec<_>, _>>()?), data_type)?
        }
        DataType::Decimal128(digits, scale) => {
            let values = signed().map(|value| value.map(i128::from));
            Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(*digits, *scale)?)
        }
        unsigned if unsigned.is_unsigned_integer() => {
            cast_with_options(&UInt64Array::from_iter(each()), data_type, &exactly)?
        }
        _ => cast_with_options(&Int64Array::from_iter(signed()), data_type, &exactly)?,
    })
}

fn of_signed(value: i64) -> u64 {
    value.cast_unsigned() ^ SIGN
}

/// The signed number of a word.
pub(crate) fn to_signed(word: u64) -> i64 {
    (word ^ SIGN).cast_signed()
}

fn of_decimal(value: Option<i128>) -> Result<Option<u64>, ArrowError> {
    let narrow = |value| i64::try_from(value).map(of_signed);
    value.map(narrow).transpose().map_err(|_| ArrowError::InvalidArgumentError("a decimal exceeds its type".into()))
}

/// IEEE 754's total order, as Arrow's comparisons have it: a negative number's bits count backwards.
fn of_double(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn to_double(word: u64) -> f64 {
    f64::from_bits(if word & SIGN == 0 { !word } else { word ^ SIGN })
}

fn of_single(value: f32) -> u64 {
    let bits = value.to_bits();
    u64::from(if bits >> 31 == 0 { bits | 1 << 31 } else { !bits })
}

fn to_single(word: u64) -> Option<f32> {
    let bits = u32::try_from(word).ok()?;
    Some(f32::from_bits(if bits >> 31 == 0 { !bits } else { bits ^ 1 << 31 }))
}

/// A value as bytes in the order of the values; `None` for NULL.
pub(crate) fn bytes(array: &ArrayRef, row: usize) -> Option<Cow<'_, [u8]>> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => Cow::Borrowed(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => Cow::Borrowed(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => Cow::Borrowed(array.as_string_view().value(row).as_bytes()),
        DataType::Binary => Cow::Borrowed(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Cow::Borrowed(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Cow::Borrowed(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => Cow::Borrowed(array.as_fixed_size_binary().value(row)),
        DataType::Decimal128(..) => {
            let value = array.as_primitive::<Decimal128Type>().value(row).cast_unsigned() ^ 1 << 127;
            Cow::Owned(value.to_be_bytes().to_vec())
        }
        DataType::Decimal256(..) => {
            let mut value = array.as_primitive::<Decimal256Type>().value(row).to_be_bytes();
            value[0] ^= 0x80;
            Cow::Owned(value.to_vec())
        }
        other => unreachable!("{other} is no type of bytes"),
    })
}

/// The term of a value: itself, or its first bytes and the hash of the whole. The two differ in length, so no value's
/// own bytes are the term of another.
pub(crate) fn term(value: &[u8]) -> Cow<'_, [u8]> {
    if value.len() <= TERM_BYTES_MAX {
        return Cow::Borrowed(value);
    }
    let mut term = value[..TERM_BYTES_MAX].to_vec();
    term.extend_from_slice(&Sha256::digest(value));
    Cow::Owned(term)
}

/// A name for any sequence of values: their hash.
pub(crate) fn fingerprint<'a>(values: impl Iterator<Item = Option<Cow<'a, [u8]>>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for value in values {
        match value {
            None => hash.update([0]),
            Some(value) => {
                hash.update([1]);
                hash.update((value.len() as u64).to_le_bytes());
                hash.update(value);
            }
        }
    }
    hash.finalize().into()
}

/// A number as an index in memory.
pub(crate) fn index(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;

// Used by the tests of both directions.
#[cfg(test)]
pub(crate) fn round_trip(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    of_words(&words(array)?, array.data_type())
}

const _: () = assert!(TERM_BYTES_MAX + 32 < 65_530, "a term fits an index");
