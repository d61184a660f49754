//! Keys that tell where a row belongs: one sequence of bytes for each value, and its hash.
//!
//! The bytes do not depend on the width or the unit of the type, so that a key stays in its shard when its column is
//! widened. They are part of the format: what routes a record today must route it so for ever.
//!
//! | type | bytes |
//! |---|---|
//! | boolean | one byte, 0 or 1 |
//! | integers, date | the value as 8 bytes, little endian |
//! | float | the bits as 8 bytes, little endian, as a double; -0 as 0, every NaN as one |
//! | decimal | the digits without zeros at the end as 32 bytes, little endian, then the scale that is left, one byte |
//! | text | UTF-8 |
//! | bytes, UUID | as they are |
//! | time | nanoseconds as 8 bytes, little endian |
//! | timestamp | nanoseconds as 16 bytes, little endian |

use crate::{Error, Result, SqlState, mark};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Field, Float64Type, Int64Type, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt64Type, i256,
};
use datafusion_common::ScalarValue;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

/// How a key is hashed. Stored in the definition of what is spread by it, so that a better hash can come without moving old keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyHash {
    /// XXH64 with seed 0.
    #[default]
    Xxh64,
}

impl KeyHash {
    /// The hash of the bytes of a key.
    pub fn of(self, key: &[u8]) -> u64 {
        match self {
            Self::Xxh64 => XxHash64::oneshot(0, key),
        }
    }

    /// The hash of each value; `None` for NULL.
    ///
    /// # Errors
    /// 0A000 for a type that is not one of a key.
    pub fn of_each(self, keys: &ArrayRef) -> Result<Vec<Option<u64>>> {
        let mut hashes = Vec::with_capacity(keys.len());
        each(keys, |_, key| hashes.push(key.map(|key| self.of(key))))?;
        Ok(hashes)
    }

    /// The hash of each row of several columns, none of which is NULL: of the bytes of its values, each after its length as 4
    /// bytes, little endian. One column alone is hashed as [`of_each`](Self::of_each) does.
    ///
    /// # Errors
    /// 0A000 for a type that is not one of a key, 23502 for NULL.
    pub fn of_rows(self, columns: &[ArrayRef]) -> Result<Vec<u64>> {
        let null = || Error::fix(SqlState::NOT_NULL, "a key is NULL");
        if let [column] = columns {
            return self.of_each(column)?.into_iter().map(|hash| hash.ok_or_else(null)).collect();
        }
        let mut rows = vec![Vec::new(); columns.first().map_or(0, |column| column.len())];
        for column in columns {
            let mut is_null = false;
            each(column, |row, key| match key {
                Some(key) => {
                    rows[row].extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
                    rows[row].extend_from_slice(key);
                }
                None => is_null = true,
            })?;
            if is_null {
                return Err(null());
            }
        }
        Ok(rows.iter().map(|row| self.of(row)).collect())
    }
}

/// Whether a column can be a key.
///
/// # Errors
/// 0A000 naming the column, if it cannot.
pub fn check(field: &Field) -> Result<()> {
    if is_key_type(field.data_type()) && mark::of(field.metadata()).is_none() {
        return Ok(());
    }
    Err(no_key(field.data_type()).at(format!("column \"{}\"", field.name())))
}

fn is_key_type(of: &DataType) -> bool {
    use DataType::*;
    of.is_integer()
        || of.is_string()
        || matches!(
            of,
            Boolean
                | Float16
                | Float32
                | Float64
                | Decimal32(..)
                | Decimal64(..)
                | Decimal128(..)
                | Decimal256(..)
                | Binary
                | LargeBinary
                | BinaryView
                | FixedSizeBinary(_)
                | Date32
                | Time32(_)
                | Time64(_)
                | Timestamp(..)
        )
}

fn no_key(of: &DataType) -> Error {
    Error::fix(SqlState::NOT_SUPPORTED, format!("a key cannot be of type {of}"))
        .with_hint("a key is a boolean, a number, a text, bytes, a UUID, a date, a time or a timestamp")
}

/// The bytes of one value; `None` for NULL and for a type that is not one of a key.
pub fn bytes_of(value: &ScalarValue) -> Option<Vec<u8>> {
    let mut bytes = None;
    each(&value.to_array().ok()?, |_, key| bytes = key.map(<[u8]>::to_vec)).ok()?;
    bytes
}

/// Visits the bytes of each value in order; `None` for NULL.
///
/// # Errors
/// 0A000 for a type that is not one of a key.
pub fn each(keys: &ArrayRef, mut visit: impl FnMut(usize, Option<&[u8]>)) -> Result<()> {
    let widened = |to: DataType| cast(keys, &to).map_err(|error| Error::from_datafusion(error.into()));
    match keys.data_type() {
        DataType::Boolean => {
            keys.as_boolean()
                .iter()
                .enumerate()
                .for_each(|(row, key)| visit(row, key.map(|key| [u8::from(key)]).as_ref().map(<[u8; 1]>::as_slice)));
        }
        DataType::UInt64 => each_number::<UInt64Type, 8>(keys, u64::to_le_bytes, visit),
        of if of.is_integer() || *of == DataType::Date32 => {
            let of = if *of == DataType::Date32 { widened(DataType::Int32)? } else { ArrayRef::clone(keys) };
            let wide = cast(&of, &DataType::Int64).map_err(|error| Error::from_datafusion(error.into()))?;
            each_number::<Int64Type, 8>(&wide, i64::to_le_bytes, visit);
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            each_number::<Float64Type, 8>(&widened(DataType::Float64)?, |key| canonical(key).to_le_bytes(), visit);
        }
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
            let (scale, wide) = (*scale, widened(DataType::Decimal128(38, *scale))?);
            each_number::<Decimal128Type, 33>(&wide, |key| decimal(i256::from_i128(key), scale), visit);
        }
        DataType::Decimal128(_, scale) => {
            each_number::<Decimal128Type, 33>(keys, |key| decimal(i256::from_i128(key), *scale), visit);
        }
        DataType::Decimal256(_, scale) => each_number::<Decimal256Type, 33>(keys, |key| decimal(key, *scale), visit),
        of if of.is_string() => {
            let texts = widened(DataType::LargeUtf8)?;
            texts.as_string::<i64>().iter().enumerate().for_each(|(row, key)| visit(row, key.map(str::as_bytes)));
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let all = widened(DataType::LargeBinary)?;
            all.as_binary::<i64>().iter().enumerate().for_each(|(row, key)| visit(row, key));
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let wide = widened(DataType::Time64(TimeUnit::Nanosecond))?;
            each_number::<Time64NanosecondType, 8>(&wide, i64::to_le_bytes, visit);
        }
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => {
                each_number::<TimestampSecondType, 16>(keys, |key| nanoseconds(key, 1_000_000_000), visit)
            }
            TimeUnit::Millisecond => {
                each_number::<TimestampMillisecondType, 16>(keys, |key| nanoseconds(key, 1_000_000), visit)
            }
            TimeUnit::Microsecond => {
                each_number::<TimestampMicrosecondType, 16>(keys, |key| nanoseconds(key, 1_000), visit)
            }
            TimeUnit::Nanosecond => each_number::<TimestampNanosecondType, 16>(keys, |key| nanoseconds(key, 1), visit),
        },
        of => return Err(no_key(of)),
    }
    Ok(())
}

fn each_number<T: ArrowPrimitiveType, const N: usize>(
    keys: &ArrayRef,
    bytes: impl Fn(T::Native) -> [u8; N],
    mut visit: impl FnMut(usize, Option<&[u8]>),
) {
    for (row, key) in keys.as_primitive::<T>().iter().enumerate() {
        visit(row, key.map(&bytes).as_ref().map(<[u8; N]>::as_slice));
    }
}

fn canonical(key: f64) -> f64 {
    if key == 0.0 {
        0.0
    } else if key.is_nan() {
        f64::NAN
    } else {
        key
    }
}

fn nanoseconds(key: i64, unit: i128) -> [u8; 16] {
    (i128::from(key) * unit).to_le_bytes()
}

fn decimal(mut digits: i256, mut scale: i8) -> [u8; 33] {
    let ten = i256::from_i128(10);
    if digits == i256::ZERO {
        scale = 0;
    }
    while digits != i256::ZERO && digits.wrapping_rem(ten) == i256::ZERO && scale > i8::MIN {
        digits = digits.wrapping_div(ten);
        scale -= 1;
    }
    let mut bytes = [0; 33];
    bytes[..32].copy_from_slice(&digits.to_le_bytes());
    bytes[32] = scale.to_le_bytes()[0];
    bytes
}
