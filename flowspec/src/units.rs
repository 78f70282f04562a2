//! Rates, sizes, times and shares: exact integers with a text form.
//!
//! One syntax for every file and flag: a unit is required, bits have decimal prefixes, and a text that can be read in
//! two ways is refused with both readings. Text is exact: a value that is not a whole number of bytes (or microseconds)
//! is an error and is never rounded.
//!
//! - Types: [`Rate`], [`Bytes`], [`Micros`], [`Share`], [`Ratio`].
//! - Errors: [`UnitError`], for a [`Quantity`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::grammar::{Decimal, RATE, SIZE, Scaled, TIME, saturating_u64, split};

pub use crate::unit_error::{Quantity, UnitError};

/// Bytes per second of IP datagrams (IP header and payload, no link header), as in RFC 2215.
///
/// Text form: `6 Mbit/s`, `750 kB/s`, `2.5 Gbit`. [`Display`](fmt::Display) writes bits per second
/// and parses back to the same value. JSON: an integer, bytes per second, as in FLOWSPEC.
///
/// ```
/// use flowspec::Rate;
///
/// let rate: Rate = "2.5 Mbit/s".parse()?;
/// assert_eq!((rate.get(), rate.to_string()), (312_500, "2.5 Mbit/s".to_owned()));
/// // A number without a unit could mean bits or bytes.
/// assert!("2500000".parse::<Rate>().is_err());
/// # Ok::<(), flowspec::UnitError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(u64);

/// A number of bytes.
///
/// Text form: `1500 B`, `64 KiB`, `2 MB`. JSON: an integer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

/// A time in microseconds, as in FLOWSPEC.
///
/// Text form: `50 ms`, `2 s`. JSON: an integer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(u64);

/// A factor to scale a rate by: numerator ÷ denominator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ratio {
    /// What the rate is multiplied by.
    pub numerator: u64,
    /// What the product is divided by; not zero.
    pub denominator: u64,
}

/// A part of a rate: a percentage of the parent, or an absolute rate.
///
/// Text form: `80%`, or a rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Share {
    /// Billionths of the parent: `80%` is 800 000 000.
    Part(u64),
    /// Independent of the parent, even where it is larger than the parent.
    Rate(Rate),
}

impl Rate {
    /// No bytes per second; a field that is not specified is `None` instead.
    pub const ZERO: Self = Self(0);

    /// From bytes per second, FLOWSPEC's unit.
    pub const fn new(bytes_per_second: u64) -> Self {
        Self(bytes_per_second)
    }

    /// From units of 10⁶ bits per second, which are 125 000 bytes per second each.
    pub const fn from_mbit(megabits_per_second: u64) -> Self {
        Self(megabits_per_second * 125_000)
    }

    /// In bytes per second.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, or `None` where it does not fit 64 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This rate times the ratio, rounded up: for demand, so that a flow never gets less than it reserved.
    ///
    /// # Panics
    /// When the denominator is zero.
    #[must_use]
    pub fn scale_up(self, ratio: Ratio) -> Self {
        let (product, denominator) = self.scaled(ratio);
        Self(saturating_u64(product.div_ceil(denominator)))
    }

    /// This rate times the ratio, rounded down: for supply, so that no byte is reserved twice.
    ///
    /// # Panics
    /// When the denominator is zero.
    #[must_use]
    pub fn scale_down(self, ratio: Ratio) -> Self {
        let (product, denominator) = self.scaled(ratio);
        Self(saturating_u64(product / denominator))
    }

    fn scaled(self, Ratio { numerator, denominator }: Ratio) -> (u128, u128) {
        assert!(denominator > 0, "scaling {self} by {numerator}/0");
        (u128::from(self.0) * u128::from(numerator), u128::from(denominator))
    }

    /// The bytes that pass in `time` at this rate; a fraction of a byte is dropped.
    pub fn bytes_in(self, time: Micros) -> Bytes {
        Bytes(saturating_u64(u128::from(self.0) * u128::from(time.0) / 1_000_000))
    }
}

impl Bytes {
    /// No bytes; a field that is not specified is `None` instead.
    pub const ZERO: Self = Self(0);
    /// The largest number that 64 bits can hold.
    pub const MAX: Self = Self(u64::MAX);

    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// As a plain integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, at most [`Bytes::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Micros {
    /// From microseconds, FLOWSPEC's unit of time.
    pub const fn new(microseconds: u64) -> Self {
        Self(microseconds)
    }

    /// In microseconds.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Ratio {
    /// `percent(150)` is one and a half.
    pub const fn percent(hundredths: u64) -> Self {
        Self { numerator: hundredths, denominator: 100 }
    }
}

impl Share {
    /// The share of `parent`, rounded down: supply is never more than there is.
    pub fn of(self, parent: Rate) -> Rate {
        match self {
            Self::Part(billionths) => {
                parent.scale_down(Ratio { numerator: billionths, denominator: BILLION })
            }
            Self::Rate(rate) => rate,
        }
    }
}

const BILLION: u64 = 1_000_000_000;

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        RATE.parse(text, |rate| Self(rate).to_string()).map(Self)
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        SIZE.parse(text, |bytes| format!("{bytes} B")).map(Self)
    }
}

impl FromStr for Micros {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        TIME.parse(text, |micros| format!("{micros} us")).map(Self)
    }
}

impl FromStr for Share {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let Some(number) = text.trim_end().strip_suffix('%') else {
            let (number, unit) = split(text);
            if unit.is_empty() && !text.trim().is_empty() {
                if let Some(share) = fraction(number) {
                    return Err(UnitError::Ambiguous {
                        text: text.to_owned(),
                        readings: ["a fraction of the parent".into(), "a rate".into()],
                        corrections: [share, format!("{} Mbit/s", text.trim())],
                    });
                }
                return Err(UnitError::Ambiguous {
                    text: text.to_owned(),
                    readings: ["a percentage of the parent".into(), "a rate".into()],
                    corrections: [format!("{}%", text.trim()), format!("{} Mbit/s", text.trim())],
                });
            }
            return text.parse().map(Self::Rate);
        };
        let not_a_number = || UnitError::NotANumber { text: text.to_owned(), kind: Quantity::Share };
        let decimal = Decimal::parse(number.trim()).ok_or_else(not_a_number)?;
        // One per cent is 10⁷ billionths.
        let scaled = Scaled { decimal, factor: 10_000_000 };
        let billionths = scaled.over(1).ok_or_else(|| UnitError::Inexact {
            text: text.to_owned(),
            kind: Quantity::Share,
            nearest: [percent(scaled.whole(1)), percent(scaled.whole(1).saturating_add(1))],
        })?;
        match u64::try_from(billionths) {
            Ok(part) if part <= BILLION => Ok(Self::Part(part)),
            _ => Err(UnitError::OverWhole { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from(self.0) * 8;
        f.pad(&exact(bits, &[("Gbit/s", BILLION), ("Mbit/s", 1_000_000), ("kbit/s", 1_000)], "bit/s"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
            n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
            n => format!("{n} B"),
        };
        f.pad(&text)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&exact(u128::from(self.0), &[("s", 1_000_000), ("ms", 1_000)], "us"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(billionths) => f.pad(&percent(*billionths)),
            Self::Rate(rate) => rate.fmt(f),
        }
    }
}

/// `value` in the largest unit that expresses it exactly with at most three decimals.
fn exact(value: u128, units: &[(&str, u64)], smallest: &str) -> String {
    for &(unit, factor) in units {
        let factor = u128::from(factor);
        if value >= factor && value.is_multiple_of(factor / 1000) {
            return decimal(value, factor, unit);
        }
    }
    format!("{value} {smallest}")
}

fn decimal(value: u128, factor: u128, unit: &str) -> String {
    let (whole, rest) = (value / factor, value % factor * 1000 / factor);
    let fraction = format!("{rest:03}");
    match fraction.trim_end_matches('0') {
        "" => format!("{whole} {unit}"),
        fraction => format!("{whole}.{fraction} {unit}"),
    }
}

/// A fraction of the whole in per cent: "0.8" as "80%"; `None` if the number is not written as one.
fn fraction(number: &str) -> Option<String> {
    let decimal = Decimal::parse(number).filter(|_| number.contains('.'))?;
    let billionths = Scaled { decimal, factor: BILLION }.whole(1);
    (billionths <= BILLION).then(|| percent(billionths))
}

fn percent(billionths: u64) -> String {
    let (whole, rest) = (billionths / 10_000_000, billionths % 10_000_000);
    let fraction = format!("{rest:07}");
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}%"),
        fraction => format!("{whole}.{fraction}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_rate(text: &str, expected: u64) {
        assert_eq!(text.parse(), Ok(Rate(expected)), "{text}");
    }

    #[track_caller]
    fn check_refused<T: FromStr<Err = UnitError> + fmt::Debug>(text: &str, words: &[&str]) {
        let message = text.parse::<T>().expect_err(text).to_string();
        for word in words {
            assert!(message.contains(word), "{text}: {word:?} is not in {message:?}");
        }
    }

    #[test]
    fn rates_are_exact() {
        check_rate("8 bit/s", 1);
        check_rate("6 Mbit/s", 750_000);
        check_rate("6Mbit", 750_000);
        check_rate("2.5 Gbit/s", 312_500_000);
        check_rate("0.008 kbit/s", 1);
        check_rate("1 KiB/s", 1024);
        check_rate("1 GB/s", 1_000_000_000);
        check_rate("0 bit/s", 0);
        check_rate("18446744073709551615 B/s", u64::MAX);
    }

    #[test]
    fn ambiguous_text_is_refused_with_both_readings() {
        for text in ["6 Mbps", "6 mbps", "6M", "6 MBps"] {
            let words = ["6 Mbit/s", "6 MB/s", "750000 B/s", "6000000 B/s"];
            check_refused::<Rate>(text, &words);
        }
        check_refused::<Rate>("1000", &["1000 bit/s", "1000 B/s"]);
        check_refused::<Bytes>("64k", &["64 kB", "64 KiB"]);
        check_refused::<Bytes>("64 K", &["64000 B", "65536 B"]);
        check_refused::<Bytes>("1500", &["1500 B"]);
        check_refused::<Micros>("5", &["5 ms", "5 s"]);
        check_refused::<Share>("80", &["\"80%\""]);
        check_refused::<Share>("0.8", &["a fraction of the parent", "\"80%\""]);
        check_refused::<Share>("0.125", &["\"12.5%\""]);
        check_refused::<Share>("1.0", &["\"100%\""]);
        check_refused::<Share>("33.3", &["\"33.3%\""]);
    }

    #[test]
    fn text_that_is_not_a_quantity_is_refused() {
        for text in [
            "",
            "Mbit/s",
            "-1 Mbit/s",
            "+1 Mbit/s",
            "1e6 bit/s",
            ".5 Mbit/s",
            "1. Mbit/s",
            "1.2.3 bit/s",
            "1_000 bit/s",
            "٣ Mbit/s",
        ] {
            check_refused::<Rate>(text, &[]);
        }
        check_refused::<Rate>("6 mbit/s", &["did you mean \"6 Mbit/s\""]);
        check_refused::<Rate>("6 MB", &["did you mean \"6 MB/s\""]);
        check_refused::<Rate>("100 bit/s", &["96 bit/s", "104 bit/s"]);
        check_refused::<Rate>("0.5 B/s", &["whole number"]);
        check_refused::<Rate>("18446744073709551616 B/s", &["too large"]);
        check_refused::<Rate>("999999999999999999999999 GiB/s", &["too large"]);
        check_refused::<Bytes>("1.5 B", &["1 B", "2 B"]);
        check_refused::<Share>("100.1%", &["at most 100%"]);
        check_refused::<Share>("0.00000001%", &["billionths"]);
    }

    #[test]
    fn a_share_rounds_down() {
        let third: Share = "33.3333333%".parse().expect("seven decimals are exact");
        assert_eq!(third.of(Rate(10)), Rate(3));
        assert_eq!("80%".parse::<Share>().map(|s| s.of(Rate(999))), Ok(Rate(799)));
        assert_eq!("8 bit/s".parse::<Share>().map(|s| s.of(Rate(999))), Ok(Rate(1)));
    }

    proptest::proptest! {
        #[test]
        fn display_parses_back(value: u64) {
            proptest::prop_assert_eq!(Rate(value).to_string().parse(), Ok(Rate(value)));
            proptest::prop_assert_eq!(Bytes(value).to_string().parse(), Ok(Bytes(value)));
            proptest::prop_assert_eq!(Micros(value).to_string().parse(), Ok(Micros(value)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = (text.parse::<Rate>(), text.parse::<Bytes>(), text.parse::<Micros>(), text.parse::<Share>());
        }

        #[test]
        fn share_displays_back(part in 0..=BILLION) {
            let share = Share::Part(part);
            proptest::prop_assert_eq!(share.to_string().parse(), Ok(share));
        }
    }
}
