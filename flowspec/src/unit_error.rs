//! Why a text is not a quantity.

/// A kind of quantity that has a text form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Quantity {
    /// In whole bytes per second: [`Rate`](crate::Rate).
    Rate,
    /// In whole bytes: [`Bytes`](crate::Bytes).
    Size,
    /// In whole microseconds: [`Micros`](crate::Micros).
    Time,
    /// A percentage or a rate: [`Share`](crate::Share).
    Share,
}

/// Why a text is not a quantity. The message shows what would be accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The text can be read in two ways.
    #[error("{text:?} can be read in two ways: {} or {}; write {:?} or {:?}", .readings[0], .readings[1], .corrections[0], .corrections[1])]
    Ambiguous {
        /// As it was given.
        text: String,
        /// What it could mean, in words.
        readings: [String; 2],
        /// How to write each meaning.
        corrections: [String; 2],
    },
    /// No unit of this kind has that name.
    #[error("{text:?} has an unknown unit; a {kind} is written {}{}", kind.examples(), did_you_mean(.suggestion.as_deref()))]
    UnknownUnit {
        /// As it was given.
        text: String,
        /// What was to be read.
        kind: Quantity,
        /// A unit with a similar name, with the number.
        suggestion: Option<String>,
    },
    /// There is no number in front of the unit.
    #[error("{text:?} is not a {kind}: digits, then a unit, are expected ({})", kind.examples())]
    NotANumber {
        /// As it was given.
        text: String,
        /// What was to be read.
        kind: Quantity,
    },
    /// The value is not a whole number of the smallest unit.
    #[error("{text:?} is not a whole number of {}; the nearest are {:?} and {:?}", kind.smallest_unit(), .nearest[0], .nearest[1])]
    Inexact {
        /// As it was given.
        text: String,
        /// What was to be read.
        kind: Quantity,
        /// The values below and above.
        nearest: [String; 2],
    },
    /// The value does not fit 64 bits.
    #[error("{text:?} is too large: at most {limit} can be expressed")]
    TooLarge {
        /// As it was given.
        text: String,
        /// The largest value, in the smallest unit.
        limit: String,
    },
    /// A share above the whole.
    #[error("{text:?} is more than the whole: a share is at most 100%")]
    OverWhole {
        /// As it was given.
        text: String,
    },
}

impl Quantity {
    /// One lower-case word, for a sentence.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Size => "size",
            Self::Time => "time",
            Self::Share => "share",
        }
    }

    const fn examples(self) -> &'static str {
        match self {
            Self::Rate => "with bit/s, kbit/s, Mbit/s, Gbit/s, B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s or GiB/s",
            Self::Size => "with B, kB, MB, KiB or MiB",
            Self::Time => "with us, ms, s, min or h",
            Self::Share => "with % of the parent, or as a rate",
        }
    }

    /// What every value is a whole number of.
    const fn smallest_unit(self) -> &'static str {
        match self {
            Self::Rate => "bytes per second",
            Self::Size => "bytes",
            Self::Time => "microseconds",
            Self::Share => "billionths",
        }
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|text| format!("; did you mean {text:?}?")).unwrap_or_default()
}
