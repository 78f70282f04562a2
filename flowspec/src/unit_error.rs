//! Why a text is not a quantity.

/// Why a text is not a quantity. The message shows what would be accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// The text can be read in two ways.
    #[error("{text:?} can be read in two ways: {} or {}; write {:?} or {:?}", .readings[0], .readings[1], .corrections[0], .corrections[1])]
    Ambiguous {
        /// What was written.
        text: String,
        /// What it could mean, in words.
        readings: [String; 2],
        /// How to write each meaning.
        corrections: [String; 2],
    },
    /// No unit of this kind has that name.
    #[error("{text:?} has an unknown unit; a {kind} is written {examples}{hint}")]
    UnknownUnit {
        /// What was written.
        text: String,
        /// rate, size, time or share.
        kind: &'static str,
        /// The accepted units.
        examples: &'static str,
        /// A correction, where one is near.
        hint: String,
    },
    /// There is no number in front of the unit.
    #[error("{text:?} is not a {kind}: digits, then a unit, are expected ({examples})")]
    NotANumber {
        /// What was written.
        text: String,
        /// rate, size, time or share.
        kind: &'static str,
        /// The accepted units.
        examples: &'static str,
    },
    /// The value is not a whole number of the smallest unit.
    #[error("{text:?} is not a whole number of {smallest}; the nearest are {:?} and {:?}", .nearest[0], .nearest[1])]
    Inexact {
        /// What was written.
        text: String,
        /// What the value has to be a multiple of.
        smallest: &'static str,
        /// The values below and above.
        nearest: [String; 2],
    },
    /// The value does not fit 64 bits.
    #[error("{text:?} is too large: at most {limit} can be expressed")]
    TooLarge {
        /// What was written.
        text: String,
        /// The largest value, in the smallest unit.
        limit: String,
    },
    /// A share above the whole.
    #[error("{text:?} is more than the whole: a share is at most 100%")]
    OverWhole {
        /// What was written.
        text: String,
    },
}
