//! Decoders of fixed-width values, text and bytes.

use super::column::{ColumnDecoder, Fault, unrepresentable};
use crate::types::{Unrepresentable, Wire, nan};
use arrow::array::{ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder, StringBuilder};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    UInt64Type,
};
use polder_catalog::Result;
use std::sync::Arc;

/// Days from 1970-01-01, Arrow's epoch, to 2000-01-01, PostgreSQL's.
const EPOCH_DAYS: i32 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;

pub(super) fn decoder(wire: &Wire, data_type: &DataType, policy: Unrepresentable) -> Option<Box<dyn ColumnDecoder>> {
    Some(match wire {
        Wire::Bool => Box::new(Bool(BooleanBuilder::new())),
        Wire::Int2 => fixed::<Int16Type, 2>(data_type, policy, |bytes, _| Ok(Some(i16::from_be_bytes(bytes)))),
        Wire::Int4 => fixed::<Int32Type, 4>(data_type, policy, |bytes, _| Ok(Some(i32::from_be_bytes(bytes)))),
        Wire::Int8 => fixed::<Int64Type, 8>(data_type, policy, |bytes, _| Ok(Some(i64::from_be_bytes(bytes)))),
        Wire::UInt4 => fixed::<UInt32Type, 4>(data_type, policy, |bytes, _| Ok(Some(u32::from_be_bytes(bytes)))),
        Wire::UInt8 => fixed::<UInt64Type, 8>(data_type, policy, |bytes, _| Ok(Some(u64::from_be_bytes(bytes)))),
        Wire::Float4 => {
            fixed::<Float32Type, 4>(data_type, policy, |bytes, _| Ok(Some(nan::single(f32::from_be_bytes(bytes)))))
        }
        Wire::Float8 => {
            fixed::<Float64Type, 8>(data_type, policy, |bytes, _| Ok(Some(nan::double(f64::from_be_bytes(bytes)))))
        }
        Wire::Date => fixed::<Date32Type, 4>(data_type, policy, date),
        Wire::Time => fixed::<Time64MicrosecondType, 8>(data_type, policy, time),
        Wire::Timestamp => fixed::<TimestampMicrosecondType, 8>(data_type, policy, timestamp),
        Wire::Interval => fixed::<IntervalMonthDayNanoType, 16>(data_type, policy, interval),
        Wire::Text => Box::new(Text(StringBuilder::new())),
        Wire::Bytea => Box::new(Bytea(BinaryBuilder::new())),
        Wire::Uuid => Box::new(Uuid(FixedSizeBinaryBuilder::new(16))),
        Wire::Numeric { .. } | Wire::Array(_) | Wire::Composite(_) => return None,
    })
}

/// Decodes the bytes of one value; `None` is NULL, by the policy.
type Convert<T, const N: usize> = fn([u8; N], Unrepresentable) -> Result<Option<T>, Fault>;

/// A type whose values all have `N` bytes.
struct Fixed<T: ArrowPrimitiveType, const N: usize> {
    builder: PrimitiveBuilder<T>,
    policy: Unrepresentable,
    convert: Convert<T::Native, N>,
}

fn fixed<T: ArrowPrimitiveType, const N: usize>(
    data_type: &DataType,
    policy: Unrepresentable,
    convert: Convert<T::Native, N>,
) -> Box<dyn ColumnDecoder> {
    // The time zone of a timestamp is part of its type, not of its values.
    let builder = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
    Box::new(Fixed { builder, policy, convert })
}

impl<T: ArrowPrimitiveType, const N: usize> ColumnDecoder for Fixed<T, N> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let bytes = bytes.try_into().map_err(|_| Fault::Garbled("a value of another width"))?;
        self.builder.append_option((self.convert)(bytes, self.policy)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

fn date(bytes: [u8; 4], policy: Unrepresentable) -> Result<Option<i32>, Fault> {
    match i32::from_be_bytes(bytes) {
        i32::MAX => unrepresentable(policy, "infinity"),
        i32::MIN => unrepresentable(policy, "-infinity"),
        days => match days.checked_add(EPOCH_DAYS) {
            Some(days) => Ok(Some(days)),
            None => unrepresentable(policy, "a date beyond the year 5000000"),
        },
    }
}

fn time(bytes: [u8; 8], policy: Unrepresentable) -> Result<Option<i64>, Fault> {
    match i64::from_be_bytes(bytes) {
        DAY_MICROS => unrepresentable(policy, "24:00:00"),
        micros @ 0..DAY_MICROS => Ok(Some(micros)),
        _ => Err(Fault::Garbled("a time outside the day")),
    }
}

fn timestamp(bytes: [u8; 8], policy: Unrepresentable) -> Result<Option<i64>, Fault> {
    match i64::from_be_bytes(bytes) {
        i64::MAX => unrepresentable(policy, "infinity"),
        i64::MIN => unrepresentable(policy, "-infinity"),
        micros => match micros.checked_add(EPOCH_MICROS) {
            Some(micros) => Ok(Some(micros)),
            None => unrepresentable(policy, "a timestamp after the year 294246"),
        },
    }
}

fn interval(bytes: [u8; 16], policy: Unrepresentable) -> Result<Option<IntervalMonthDayNano>, Fault> {
    let [m0, m1, m2, m3, m4, m5, m6, m7, days @ .., n0, n1, n2, n3] = bytes;
    let micros = i64::from_be_bytes([m0, m1, m2, m3, m4, m5, m6, m7]);
    let days = i32::from_be_bytes(days);
    let months = i32::from_be_bytes([n0, n1, n2, n3]);
    match micros.checked_mul(1_000) {
        Some(nanos) => Ok(Some(IntervalMonthDayNano::new(months, days, nanos))),
        None => unrepresentable(policy, format!("an interval whose time part is {} hours", micros / 3_600_000_000)),
    }
}

struct Bool(BooleanBuilder);

impl ColumnDecoder for Bool {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match bytes {
            [0] => self.0.append_value(false),
            [1] => self.0.append_value(true),
            _ => return Err(Fault::Garbled("neither true nor false")),
        }
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

struct Text(StringBuilder);

impl ColumnDecoder for Text {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Character)?;
        check_room(self.0.values_slice().len(), bytes.len())?;
        self.0.append_value(text);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

struct Bytea(BinaryBuilder);

impl ColumnDecoder for Bytea {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        check_room(self.0.values_slice().len(), bytes.len())?;
        self.0.append_value(bytes);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Arrow's builders panic beyond 32-bit offsets. One value has at most 1 GiB and batches are small, so this is rare.
fn check_room(held: usize, more: usize) -> Result<(), Fault> {
    if held + more > i32::MAX as usize { Err(Fault::TooLarge) } else { Ok(()) }
}

struct Uuid(FixedSizeBinaryBuilder);

impl ColumnDecoder for Uuid {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.0.append_value(bytes).map_err(|_| Fault::Garbled("a uuid that has not 16 bytes"))
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}
