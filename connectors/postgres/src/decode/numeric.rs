//! `numeric` into decimals, without loss.
//!
//! On the wire a numeric is a row of base-10000 digits with the weight of the first: `12.5` is digits `[12, 5000]`,
//! weight 0. The decimal is `digits * 10^scale` as an integer. Nothing is rounded: a value with more digits than the
//! column's decimal has is not representable.

use super::column::{ColumnDecoder, Fault, unrepresentable};
use crate::types::Unrepresentable;
use arrow::array::{ArrayRef, Decimal128Builder, Decimal256Builder};
use arrow::datatypes::{DataType, i256};
use polder_catalog::Result;
use std::sync::Arc;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Powers of ten that fit 64 bits.
const POWERS_64: [u64; 20] = {
    let mut powers = [1; 20];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Powers of ten that fit 128 bits.
const POWERS_128: [i128; 39] = {
    let mut powers = [1; 39];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

pub(super) fn decoder(
    precision: u8,
    scale: i8,
    data_type: &DataType,
    policy: Unrepresentable,
) -> Box<dyn ColumnDecoder> {
    match data_type {
        DataType::Decimal128(..) => {
            let builder = Decimal128Builder::new().with_data_type(data_type.clone());
            let limit = POWERS_128[usize::from(precision.min(38))];
            Box::new(Narrow { builder, limit, scale: i32::from(scale), policy })
        }
        _ => {
            let builder = Decimal256Builder::new().with_data_type(data_type.clone());
            let limit = power_256(u32::from(precision.min(76))).expect("10^76 fits 256 bits");
            Box::new(Wide { builder, limit, scale: i32::from(scale), policy })
        }
    }
}

/// Up to 38 digits.
struct Narrow {
    builder: Decimal128Builder,
    /// Ten to the precision: the first value that does not fit.
    limit: i128,
    scale: i32,
    policy: Unrepresentable,
}

impl ColumnDecoder for Narrow {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let numeric = Numeric::parse(bytes)?;
        let value = match numeric.to_i128(self.scale).filter(|value| (-self.limit < *value) & (*value < self.limit)) {
            Some(value) => Some(value),
            None => unrepresentable(self.policy, numeric.to_text())?,
        };
        self.builder.append_option(value);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// Up to 76 digits.
struct Wide {
    builder: Decimal256Builder,
    limit: i256,
    scale: i32,
    policy: Unrepresentable,
}

impl ColumnDecoder for Wide {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let numeric = Numeric::parse(bytes)?;
        let value = match numeric.to_i256(self.scale).filter(|value| value.wrapping_abs() < self.limit) {
            Some(value) => Some(value),
            None => unrepresentable(self.policy, numeric.to_text())?,
        };
        self.builder.append_option(value);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

/// A magnitude as `head * 10^power + rest`.
struct Parts {
    /// How many digits of base 10000 are the head.
    head: usize,
    power: u32,
    rest: u64,
}

/// A numeric as it is on the wire. Every digit has been checked to be below 10000.
struct Numeric<'a> {
    /// Two bytes each.
    digits: &'a [u8],
    /// The power of 10000 that the first digit counts.
    weight: i32,
    sign: u16,
    /// Decimal digits after the point, as PostgreSQL prints it.
    display_scale: u16,
}

impl<'a> Numeric<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let Some((&[c0, c1, w0, w1, s0, s1, d0, d1], digits)) = bytes.split_first_chunk::<8>() else {
            return Err(Fault::Garbled("a numeric without its head"));
        };
        if digits.len() != 2 * usize::from(u16::from_be_bytes([c0, c1])) {
            return Err(Fault::Garbled("a numeric with a wrong count of digits"));
        }
        if digits.chunks_exact(2).any(|pair| u16::from_be_bytes([pair[0], pair[1]]) > 9_999) {
            return Err(Fault::Garbled("a numeric with a digit above 9999"));
        }
        let sign = u16::from_be_bytes([s0, s1]);
        if !matches!(sign, 0 | NEGATIVE | NAN | INFINITY | NEGATIVE_INFINITY) {
            return Err(Fault::Garbled("a numeric with an unknown sign"));
        }
        let weight = i32::from(i16::from_be_bytes([w0, w1]));
        Ok(Self { digits, weight, sign, display_scale: u16::from_be_bytes([d0, d1]) })
    }

    fn digits(&self) -> impl Iterator<Item = u64> + '_ {
        self.digits.chunks_exact(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
    }

    fn count(&self) -> usize {
        self.digits.len() / 2
    }

    fn is_finite(&self) -> bool {
        matches!(self.sign, 0 | NEGATIVE)
    }

    /// The power of ten that turns the digits, read as one integer, into the decimal's integer.
    fn shift(&self, scale: i32) -> i32 {
        4 * (self.weight + 1 - self.count() as i32) + scale
    }

    /// Splits the digits so that no intermediate result exceeds the result: a shift down would first have to make room for
    /// the decimal digits that it then takes off the last digit. `None` if they are no zeros.
    fn parts(&self, mut shift: i32) -> Option<Parts> {
        let digit = |index: usize| u64::from(u16::from_be_bytes([self.digits[2 * index], self.digits[2 * index + 1]]));
        let mut head = self.count();
        while shift < 0 && head > 0 && digit(head - 1) == 0 {
            head -= 1;
            shift += 4;
        }
        if shift >= 0 || head == 0 {
            return Some(Parts { head, power: shift.max(0).unsigned_abs(), rest: 0 });
        }
        // What is below one is no integer.
        let power = u32::try_from(4 + shift).ok().filter(|power| *power > 0)?;
        let taken = POWERS_64[4 - power as usize];
        let last = digit(head - 1);
        last.is_multiple_of(taken).then(|| Parts { head: head - 1, power, rest: last / taken })
    }

    /// The value times ten to the scale; `None` if that is not an integer or does not fit.
    #[inline]
    fn to_i128(&self, scale: i32) -> Option<i128> {
        if !self.is_finite() {
            return None;
        }
        let shift = self.shift(scale);
        // Four digits of base 10000 are 16 decimal ones: most of what people store, and 64 bits are far quicker to divide.
        let magnitude = if self.count() <= 4 {
            let integer = self.digits().fold(0, |sum, digit| sum * 10_000 + digit);
            shift_64(integer, shift)?
        } else {
            let Parts { head, power, rest } = self.parts(shift)?;
            let mut integer: i128 = 0;
            for digit in self.digits().take(head) {
                integer = integer.checked_mul(10_000)?.checked_add(i128::from(digit))?;
            }
            let power = POWERS_128.get(power as usize)?;
            integer.checked_mul(*power)?.checked_add(i128::from(rest))?
        };
        Some(if self.sign == NEGATIVE { -magnitude } else { magnitude })
    }

    fn to_i256(&self, scale: i32) -> Option<i256> {
        if let Some(value) = self.to_i128(scale) {
            return Some(i256::from_i128(value));
        }
        if !self.is_finite() {
            return None;
        }
        let Parts { head, power, rest } = self.parts(self.shift(scale))?;
        let (base, wide) = (i256::from_i128(10_000), |digit: u64| i256::from_i128(i128::from(digit)));
        let mut integer = i256::ZERO;
        for digit in self.digits().take(head) {
            integer = integer.checked_mul(base)?.checked_add(wide(digit))?;
        }
        let magnitude = integer.checked_mul(power_256(power)?)?.checked_add(wide(rest))?;
        Some(if self.sign == NEGATIVE { magnitude.wrapping_neg() } else { magnitude })
    }

    /// As PostgreSQL prints it, for error messages.
    fn to_text(&self) -> String {
        match self.sign {
            NAN => return "NaN".to_string(),
            INFINITY => return "Infinity".to_string(),
            NEGATIVE_INFINITY => return "-Infinity".to_string(),
            _ => {}
        }
        let digits: Vec<u64> = self.digits().collect();
        let digit = |power: i32| digits.get((self.weight - power) as usize).copied().unwrap_or(0);
        let mut text = String::new();
        for power in (0..=self.weight.max(0)).rev() {
            text.push_str(&format!("{:04}", digit(power)));
        }
        let mut text = text.trim_start_matches('0').to_string();
        if text.is_empty() {
            text.push('0');
        }
        if self.display_scale > 0 {
            let scale = usize::from(self.display_scale);
            let fraction: String =
                (1..=scale.div_ceil(4) as i32).map(|power| format!("{:04}", digit(-power))).collect();
            text.push('.');
            text.push_str(&fraction[..scale]);
        }
        if self.sign == NEGATIVE { format!("-{text}") } else { text }
    }
}

#[inline]
fn shift_64(integer: u64, shift: i32) -> Option<i128> {
    if shift >= 0 {
        if integer == 0 {
            return Some(0);
        }
        return i128::from(integer).checked_mul(*POWERS_128.get(shift as usize)?);
    }
    match POWERS_64.get(shift.unsigned_abs() as usize) {
        Some(power) => integer.is_multiple_of(*power).then(|| i128::from(integer / power)),
        None => (integer == 0).then_some(0),
    }
}

fn power_256(exponent: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(exponent)
}
