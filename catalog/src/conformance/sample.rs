//! Values to try for each Arrow type: the ordinary, the extreme, the awkward, and NULL.

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano, IntervalUnit, TimeUnit, i256};
use std::sync::Arc;

/// Texts that break what splices, trims, folds or collates.
const TEXTS: [&str; 22] = [
    "",
    " ",
    "a",
    "A",
    "b",
    "ab",
    "a ",
    " a",
    "a\tb\n",
    "it's",
    "a\"b",
    "back\\slash",
    "\\' OR true --",
    "a''b",
    "100%",
    "_",
    "$$",
    ";",
    "é",
    "e\u{301}",
    "ß",
    "日本語 🦀",
];

/// Values of a type, NULL last. A type that is not known here gives only NULLs.
pub fn sample(data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        DataType::Int8 => {
            Arc::new(Int8Array::from(vec![Some(0), Some(1), Some(-1), Some(i8::MIN), Some(i8::MAX), None]))
        }
        DataType::Int16 => {
            Arc::new(Int16Array::from(vec![Some(0), Some(1), Some(-1), Some(i16::MIN), Some(i16::MAX), None]))
        }
        DataType::Int32 => {
            Arc::new(Int32Array::from(vec![Some(0), Some(1), Some(-1), Some(i32::MIN), Some(i32::MAX), None]))
        }
        DataType::Int64 => {
            Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(-1), Some(i64::MIN), Some(i64::MAX), None]))
        }
        DataType::UInt8 => Arc::new(UInt8Array::from(vec![Some(0), Some(1), Some(u8::MAX), None])),
        DataType::UInt16 => Arc::new(UInt16Array::from(vec![Some(0), Some(1), Some(u16::MAX), None])),
        DataType::UInt32 => Arc::new(UInt32Array::from(vec![Some(0), Some(1), Some(u32::MAX), None])),
        DataType::UInt64 => Arc::new(UInt64Array::from(vec![Some(0), Some(1), Some(u64::MAX), None])),
        DataType::Float32 => {
            let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, f32::MAX, f32::MIN];
            let values = [0.0, 1.5, -1.5].into_iter().chain(special).map(Some).chain([None]);
            Arc::new(Float32Array::from_iter(values))
        }
        DataType::Float64 => {
            let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, f64::MIN];
            let values = [0.0, 1.5, -1.5, 0.1].into_iter().chain(special).map(Some).chain([None]);
            Arc::new(Float64Array::from_iter(values))
        }
        DataType::Utf8 => Arc::new(StringArray::from_iter(TEXTS.iter().map(Some).chain([None]))),
        DataType::LargeUtf8 | DataType::Utf8View => {
            cast(&sample(&DataType::Utf8), data_type).expect("text casts to text")
        }
        DataType::Binary => {
            Arc::new(BinaryArray::from(vec![Some(&b""[..]), Some(b"\0"), Some(b"\xff\xfe"), Some(b"abc"), None]))
        }
        DataType::LargeBinary | DataType::BinaryView => {
            cast(&sample(&DataType::Binary), data_type).expect("bytes cast to bytes")
        }
        DataType::FixedSizeBinary(size) => fixed_binary(*size),
        // 1969-12-31, 1970-01-01, a leap day, 0001-01-01, 9999-12-31.
        DataType::Date32 => {
            Arc::new(Date32Array::from(vec![Some(-1), Some(0), Some(11_016), Some(-719_162), Some(2_932_896), None]))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(1), Some(86_399_999_999), None]))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Arc::new(timestamps().with_timezone_opt(zone.clone())),
        DataType::Timestamp(..) => cast(&in_nanosecond_range(), data_type).expect("timestamps cast to timestamps"),
        DataType::Interval(IntervalUnit::MonthDayNano) => Arc::new(IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(0, 0, 0)),
            Some(IntervalMonthDayNano::new(14, 3, 1_000)),
            Some(IntervalMonthDayNano::new(-1, -1, -1_000)),
            None,
        ])),
        DataType::Decimal128(precision, scale) => {
            let largest = 10i128.checked_pow(u32::from(*precision)).map_or(i128::MAX, |power| power - 1);
            let values = [Some(0), Some(1), Some(-1), Some(largest), Some(-largest), None];
            let array = Decimal128Array::from_iter(values).with_precision_and_scale(*precision, *scale);
            Arc::new(array.expect("the type is valid"))
        }
        DataType::Decimal256(precision, scale) => {
            let largest = i256::from_i128(10).wrapping_pow(u32::from(*precision)).wrapping_sub(i256::ONE);
            let values = [Some(i256::ZERO), Some(i256::ONE), Some(largest), Some(largest.wrapping_neg()), None];
            let array = Decimal256Array::from_iter(values).with_precision_and_scale(*precision, *scale);
            Arc::new(array.expect("the type is valid"))
        }
        DataType::List(item) => list(item),
        other => new_null_array(other, 1),
    }
}

/// Before 1970, beyond 2262 (where nanoseconds end), and the two ends of the calendar's four-digit years.
fn timestamps() -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from(vec![
        Some(0),
        Some(-1),
        Some(1),
        Some(951_782_400_123_456),
        Some(32_503_680_000_000_000),
        Some(-62_135_596_800_000_000),
        Some(253_402_300_799_999_999),
        None,
    ])
}

fn in_nanosecond_range() -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(-1_000_000), Some(951_782_400_000_000), None]))
}

fn fixed_binary(size: i32) -> ArrayRef {
    let bytes = |byte| vec![byte; usize::try_from(size).unwrap_or_default()];
    let values = [Some(bytes(0)), Some(bytes(0xff)), Some(bytes(0x5a)), None];
    Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), size).expect("sizes are equal"))
}

/// All values in one list, an empty list, and NULL.
fn list(item: &FieldRef) -> ArrayRef {
    let values = sample(item.data_type());
    let offsets = OffsetBuffer::from_lengths([values.len(), 0, 0]);
    Arc::new(ListArray::new(Arc::clone(item), offsets, values, Some(vec![true, true, false].into())))
}
