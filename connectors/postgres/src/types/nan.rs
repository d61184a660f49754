//! One NaN.
//!
//! PostgreSQL keeps whichever NaN it was sent or its processor made (`inf - inf` is a negative one on x86), and takes all
//! of them for one value, the greatest. Arrow goes by the bits of a float, and has a negative NaN below everything. So
//! every NaN is read as the positive one without a payload, and only that one is ever sent.

const SINGLE: u32 = 0x7fc0_0000;
const DOUBLE: u64 = 0x7ff8_0000_0000_0000;

/// The value, or the one NaN.
pub(crate) fn single(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(SINGLE) } else { value }
}

/// The value, or the one NaN.
pub(crate) fn double(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(DOUBLE) } else { value }
}

/// Whether the value may have been read: it is no other NaN.
pub(crate) fn is_readable_single(value: f32) -> bool {
    !value.is_nan() || value.to_bits() == SINGLE
}

/// Whether the value may have been read: it is no other NaN.
pub(crate) fn is_readable_double(value: f64) -> bool {
    !value.is_nan() || value.to_bits() == DOUBLE
}
