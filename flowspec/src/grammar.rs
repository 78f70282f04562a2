//! The grammar of quantities: a decimal number, then a unit. Values are exact.

use crate::unit_error::{Quantity, UnitError};

/// What the parsers of rates, sizes and times share.
pub(crate) struct Grammar {
    kind: Quantity,
    units: &'static [(&'static str, u64)],
    ambiguous: &'static [(&'static str, &'static str, &'static str)],
    /// The smallest unit of the quantity, as text.
    smallest: &'static str,
    /// The factor of the smallest unit.
    divisor: u64,
}

pub(crate) const RATE: Grammar = Grammar {
    kind: Quantity::Rate,
    units: RATE_UNITS,
    ambiguous: AMBIGUOUS_RATES,
    smallest: "B/s",
    divisor: 8,
};
pub(crate) const SIZE: Grammar = Grammar {
    kind: Quantity::Size,
    units: SIZE_UNITS,
    ambiguous: AMBIGUOUS_SIZES,
    smallest: "B",
    divisor: 1,
};
pub(crate) const TIME: Grammar = Grammar {
    kind: Quantity::Time,
    units: TIME_UNITS,
    ambiguous: AMBIGUOUS_TIMES,
    smallest: "us",
    divisor: 1,
};

impl Grammar {
    /// The value of a text in the smallest unit of the quantity; `show` writes a value for the message of an error.
    pub(crate) fn parse(&self, text: &str, show: impl Fn(u64) -> String) -> Result<u64, UnitError> {
        let too_large = || UnitError::TooLarge { text: text.to_owned(), limit: show(u64::MAX) };
        if self.has_too_many_digits(text) {
            return Err(too_large());
        }
        let scaled = self.scaled(text)?;
        let value = scaled.over(self.divisor).ok_or_else(|| {
            let below = scaled.whole(self.divisor);
            let nearest = [show(below), show(below.saturating_add(1))];
            UnitError::Inexact { text: text.to_owned(), kind: self.kind, nearest }
        })?;
        u64::try_from(value).map_err(|_| too_large())
    }

    /// Whether a number in front of a known unit has more digits than are read.
    fn has_too_many_digits(&self, text: &str) -> bool {
        let (number, unit) = split(text);
        let whole = number.split('.').next().unwrap_or_default();
        let is_known = self.units.iter().any(|(name, _)| *name == unit);
        is_known && whole.trim_start_matches('0').len() > Decimal::MOST_DIGITS
    }

    fn scaled(&self, text: &str) -> Result<Scaled, UnitError> {
        let (number, unit) = split(text);
        let decimal = Decimal::parse(number)
            .ok_or_else(|| UnitError::NotANumber { text: text.to_owned(), kind: self.kind })?;
        if let Some(&(_, factor)) = self.units.iter().find(|(name, _)| *name == unit) {
            return Ok(Scaled { decimal, factor });
        }
        if let Some(&(_, first, second)) = self.ambiguous.iter().find(|(name, ..)| *name == unit) {
            return Err(UnitError::Ambiguous {
                text: text.to_owned(),
                readings: [self.reading(number, first), self.reading(number, second)],
                corrections: [format!("{number} {first}"), format!("{number} {second}")],
            });
        }
        let similar = self
            .units
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit) || name.strip_suffix("/s") == Some(unit));
        Err(UnitError::UnknownUnit {
            text: text.to_owned(),
            kind: self.kind,
            suggestion: similar.map(|(name, _)| format!("{number} {name}")),
        })
    }

    /// `6 Mbit/s (750000 B/s)`: a unit, and its value in the smallest unit.
    fn reading(&self, number: &str, unit: &str) -> String {
        let factor = self.units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let scaled = Decimal::parse(number).zip(factor);
        match scaled.and_then(|(decimal, factor)| Scaled { decimal, factor }.over(self.divisor)) {
            Some(value) if unit != self.smallest => format!("{number} {unit} ({value} {})", self.smallest),
            _ => format!("{number} {unit}"),
        }
    }
}

/// Splits a text into its number and its unit, without the spaces between them.
pub(crate) fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// A decimal number as written: `digits ÷ 10^places`.
#[derive(Clone, Copy)]
pub(crate) struct Decimal {
    digits: u128,
    places: u32,
}

impl Decimal {
    /// Parses digits, optionally with a point and more digits; at most [`Self::MOST_DIGITS`] in all.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (text, ""),
        };
        let every = || whole.bytes().chain(fraction.bytes());
        if whole.is_empty() || every().count() > Self::MOST_DIGITS || !every().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = every().fold(0u128, |value, byte| value * 10 + u128::from(byte - b'0'));
        Some(Self { digits, places: u32::try_from(fraction.len()).ok()? })
    }

    /// 10²⁴ times the largest factor of a unit (8 · 2³⁰ for GiB/s) is below 2¹²⁸, and no quantity that fits 64 bits needs
    /// more digits.
    const MOST_DIGITS: usize = 24;
}

/// A decimal times its unit.
#[derive(Clone, Copy)]
pub(crate) struct Scaled {
    pub(crate) decimal: Decimal,
    pub(crate) factor: u64,
}

impl Scaled {
    /// The value divided by `divisor`, where it is a whole number.
    pub(crate) fn over(self, divisor: u64) -> Option<u128> {
        let (value, scale) = self.parts(divisor);
        value.is_multiple_of(scale).then(|| value / scale)
    }

    /// The whole part of the value divided by `divisor`.
    pub(crate) fn whole(self, divisor: u64) -> u64 {
        let (value, scale) = self.parts(divisor);
        saturating_u64(value / scale)
    }

    fn parts(self, divisor: u64) -> (u128, u128) {
        let value = self.decimal.digits.saturating_mul(u128::from(self.factor));
        (value, 10u128.pow(self.decimal.places) * u128::from(divisor))
    }
}

pub(crate) fn saturating_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// The units of a rate, in bits per second.
const RATE_UNITS: &[(&str, u64)] = &[
    ("bit/s", 1),
    ("kbit/s", 1_000),
    ("Mbit/s", 1_000_000),
    ("Gbit/s", 1_000_000_000),
    ("bit", 1),
    ("kbit", 1_000),
    ("Mbit", 1_000_000),
    ("Gbit", 1_000_000_000),
    ("B/s", 8),
    ("kB/s", 8_000),
    ("MB/s", 8_000_000),
    ("GB/s", 8_000_000_000),
    ("KiB/s", 8 << 10),
    ("MiB/s", 8 << 20),
    ("GiB/s", 8 << 30),
];

const SIZE_UNITS: &[(&str, u64)] =
    &[("B", 1), ("kB", 1_000), ("MB", 1_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20)];

const TIME_UNITS: &[(&str, u64)] =
    &[("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000)];

/// Units of a rate that other tools read in different ways, with the two readings.
const AMBIGUOUS_RATES: &[(&str, &str, &str)] = &[
    ("", "bit/s", "B/s"),
    ("k", "kbit/s", "kB/s"),
    ("K", "kbit/s", "KiB/s"),
    ("m", "Mbit/s", "MB/s"),
    ("M", "Mbit/s", "MB/s"),
    ("g", "Gbit/s", "GB/s"),
    ("G", "Gbit/s", "GB/s"),
    ("bps", "bit/s", "B/s"),
    ("kbps", "kbit/s", "kB/s"),
    ("Kbps", "kbit/s", "kB/s"),
    ("mbps", "Mbit/s", "MB/s"),
    ("Mbps", "Mbit/s", "MB/s"),
    ("gbps", "Gbit/s", "GB/s"),
    ("Gbps", "Gbit/s", "GB/s"),
    ("Bps", "bit/s", "B/s"),
    ("kBps", "kbit/s", "kB/s"),
    ("KBps", "kbit/s", "kB/s"),
    ("MBps", "Mbit/s", "MB/s"),
    ("GBps", "Gbit/s", "GB/s"),
    ("b/s", "bit/s", "B/s"),
    ("kb/s", "kbit/s", "kB/s"),
    ("Kb/s", "kbit/s", "kB/s"),
    ("KB/s", "kB/s", "KiB/s"),
    ("mb/s", "Mbit/s", "MB/s"),
    ("Mb/s", "Mbit/s", "MB/s"),
    ("gb/s", "Gbit/s", "GB/s"),
    ("Gb/s", "Gbit/s", "GB/s"),
];

const AMBIGUOUS_SIZES: &[(&str, &str, &str)] = &[
    ("", "B", "KiB"),
    ("k", "kB", "KiB"),
    ("K", "kB", "KiB"),
    ("m", "MB", "MiB"),
    ("M", "MB", "MiB"),
    ("KB", "kB", "KiB"),
    ("kb", "kB", "KiB"),
    ("Kb", "kB", "KiB"),
    ("mb", "MB", "MiB"),
    ("Mb", "MB", "MiB"),
    ("b", "B", "kB"),
];

const AMBIGUOUS_TIMES: &[(&str, &str, &str)] = &[("", "ms", "s"), ("m", "ms", "min")];
