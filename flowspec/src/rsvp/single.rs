//! IEEE 754 single precision, read and written as integers.
//!
//! RFC 2210 has rates and sizes as floats on the wire. This module handles their bits: a mantissa of 24 bits and an
//! exponent. A value is read exactly and then rounded to a whole number, up or down as its use requires. A whole number is
//! written as the nearest single that is not below it, or not above it.

/// The 32 bits of an IEEE 754 single, NaN and negative numbers included.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Single(u32);

/// What becomes of a fraction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rounding {
    /// Up: for demand (r, b, p, R), so that a flow gets at least what it requests.
    Up,
    /// Down: for supply (a path's bandwidth), so that no more is reserved than there is.
    Down,
}

/// The value of a single.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Number {
    /// A whole number, after rounding.
    Whole(u64),
    /// Exponent 255, fraction 0, positive: RFC 2210's peak rate without a limit.
    Infinite,
}

/// Why a single is not a number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotACount {
    /// Exponent 255 with a fraction.
    #[error("not a number (NaN)")]
    NotANumber,
    /// The sign bit is set: negative zero counts as well.
    #[error("negative")]
    Negative,
    /// Above 2⁶⁴ − 1.
    #[error("above 2^64")]
    TooLarge,
}

/// Bits of the fraction, without the leading one of a normal number.
const FRACTION_BITS: u32 = 23;
const BIAS: u32 = 127;

impl Single {
    /// A peak rate without a limit, on the wire.
    pub const INFINITY: Self = Self(0x7F80_0000);

    /// The single with these bits; every pattern is allowed.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// In host byte order; the wire has them in network byte order.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The number, rounded to a whole one.
    ///
    /// - **Errors**: negative numbers, negative zero and NaN, which RFC 2210 section 3.1 does not allow; numbers that 64
    ///   bits cannot hold.
    pub fn round(self, rounding: Rounding) -> Result<Number, NotACount> {
        let (exponent, fraction) = (self.0 >> FRACTION_BITS & 0xFF, u64::from(self.0 & 0x7F_FFFF));
        if exponent == 0xFF && fraction != 0 {
            return Err(NotACount::NotANumber);
        }
        if self.0 >> 31 == 1 {
            return Err(NotACount::Negative);
        }
        // mantissa × 2^(point − 150), where a subnormal number has no leading one.
        let (mantissa, point) = match exponent {
            0xFF => return Ok(Number::Infinite),
            0 => (fraction, 1),
            _ => (fraction | 1 << FRACTION_BITS, exponent),
        };
        const ONE: u32 = BIAS + FRACTION_BITS;
        if point >= ONE {
            let shift = point - ONE;
            if shift > mantissa.leading_zeros() {
                return Err(NotACount::TooLarge);
            }
            return Ok(Number::Whole(mantissa << shift));
        }
        let shift = ONE - point;
        let (whole, rest) = match shift {
            0..64 => (mantissa >> shift, mantissa & ((1 << shift) - 1)),
            _ => (0, mantissa),
        };
        let up = rounding == Rounding::Up && rest != 0;
        Ok(Number::Whole(whole + u64::from(up)))
    }

    /// The nearest single that is not below a number, or not above it. The relative error is below 2⁻²³.
    pub fn from_whole(value: u64, rounding: Rounding) -> Self {
        if value == 0 {
            return Self(0);
        }
        let length = 64 - value.leading_zeros();
        let mut exponent = BIAS + length - 1;
        let mut mantissa = if length <= FRACTION_BITS + 1 {
            value << (FRACTION_BITS + 1 - length)
        } else {
            let shift = length - FRACTION_BITS - 1;
            let up = rounding == Rounding::Up && value & ((1 << shift) - 1) != 0;
            (value >> shift) + u64::from(up)
        };
        // Rounding up may carry into a 25th bit; all bits below it are then zero.
        if mantissa >> (FRACTION_BITS + 1) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        let fraction = u32::try_from(mantissa & 0x7F_FFFF).unwrap_or(0);
        Self(exponent << FRACTION_BITS | fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(bits: u32, down: Result<Number, NotACount>, up: Result<Number, NotACount>) {
        assert_eq!(Single::from_bits(bits).round(Rounding::Down), down, "{bits:#x}");
        assert_eq!(Single::from_bits(bits).round(Rounding::Up), up, "{bits:#x}");
    }

    #[test]
    fn edge_cases_are_rounded_exactly() {
        let whole = |n| Ok(Number::Whole(n));
        check(0x0000_0000, whole(0), whole(0));
        check(0x3F80_0000, whole(1), whole(1));
        check(0x3F00_0000, whole(0), whole(1)); // 0.5
        check(0x0000_0001, whole(0), whole(1)); // the smallest there is
        check(0x0080_0000, whole(0), whole(1)); // the smallest normal one
        check(0x4B7F_FFFF, whole(0xFF_FFFF), whole(0xFF_FFFF));
        check(0x4B00_0001, whole(0x80_0001), whole(0x80_0001));
        check(0x4AFF_FFFF, whole(0x7F_FFFF), whole(0x80_0000)); // 8388607.5
        check(0x4937_1B00, whole(750_000), whole(750_000));
        check(0x5F7F_FFFF, whole(0xFFFF_FF00_0000_0000), whole(0xFFFF_FF00_0000_0000));
        check(0x5F80_0000, Err(NotACount::TooLarge), Err(NotACount::TooLarge)); // 2^64
        check(0x7F7F_FFFF, Err(NotACount::TooLarge), Err(NotACount::TooLarge));
        check(0x7F80_0000, Ok(Number::Infinite), Ok(Number::Infinite));
        for nan in [0x7F80_0001, 0x7FC0_0000, 0xFFC0_0000] {
            check(nan, Err(NotACount::NotANumber), Err(NotACount::NotANumber));
        }
        for negative in [0x8000_0000, 0xBF80_0000, 0xFF80_0000] {
            check(negative, Err(NotACount::Negative), Err(NotACount::Negative));
        }
    }

    proptest! {
        /// Against the machine's own floats, which are exact here: a double holds every single.
        #[test]
        fn rounding_agrees_with_the_machines_floats(bits: u32) {
            let value = f64::from(f32::from_bits(bits));
            for (rounding, expected) in [(Rounding::Down, value.floor()), (Rounding::Up, value.ceil())] {
                match Single::from_bits(bits).round(rounding) {
                    Ok(Number::Infinite) => prop_assert_eq!(value, f64::INFINITY),
                    Ok(Number::Whole(whole)) => prop_assert_eq!(format!("{whole}"), format!("{expected:.0}")),
                    Err(NotACount::NotANumber) => prop_assert!(value.is_nan()),
                    Err(NotACount::Negative) => prop_assert!(value.is_sign_negative()),
                    Err(NotACount::TooLarge) => prop_assert!(value >= 18_446_744_073_709_551_616.0),
                }
            }
        }

        /// The written single is on the right side of the number, and no other single is between them.
        #[test]
        fn the_nearest_single_is_written(value: u64, length in 1u32..=64) {
            let value = value >> (64 - length);
            let [down, up] = [Rounding::Down, Rounding::Up].map(|rounding| Single::from_whole(value, rounding));
            let Ok(Number::Whole(below)) = down.round(Rounding::Down) else { panic!("{down:?}") };
            prop_assert!(below <= value);
            prop_assert!(up == down && below == value || up.to_bits() == down.to_bits() + 1 && below < value);
            if let Ok(Number::Whole(above)) = up.round(Rounding::Up) {
                prop_assert!(above >= value);
            }
        }
    }
}
