//! A problem in a policy: what is wrong, where, and what would be right.

use super::model::Place;

/// Whether a policy with this problem can be used.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, though hardly as meant.
    Warning,
}

/// One problem, with the place it points at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Its stable code.
    pub code: Code,
    /// What is wrong, in a sentence that needs no other.
    pub message: String,
    /// Where.
    pub place: Place,
    /// Other places that matter, each with a word on why.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

/// A further place of a problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// Why it matters.
    pub text: String,
}

/// The stable code of a kind of problem.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Code {
    /// The text is not TOML.
    Syntax,
    /// A key that has no meaning here.
    UnknownKey,
    /// A value of the wrong type.
    WrongType,
    /// A key that is needed is not there.
    MissingKey,
    /// A rate, size, time or share that cannot be read in exactly one way.
    BadUnit,
    /// A value that is not one of those allowed.
    BadValue,
    /// A name that nothing defines.
    UnknownName,
    /// A flowspec that contradicts itself.
    BadFlowspec,
    /// The same thing defined twice.
    Duplicate,
    /// A version of the format that this program does not know.
    Version,
    /// Two keys that exclude each other.
    Conflict,
    /// More may be promised than the link carries once headers are added, or nothing is left for
    /// what has no reservation.
    Overcommitted,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::Syntax,
        Self::UnknownKey,
        Self::WrongType,
        Self::MissingKey,
        Self::BadUnit,
        Self::BadValue,
        Self::UnknownName,
        Self::BadFlowspec,
        Self::Duplicate,
        Self::Version,
        Self::Conflict,
        Self::Overcommitted,
    ];

    /// As it is printed; never given to another kind of problem.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Syntax => "GQ0001",
            Self::UnknownKey => "GQ0002",
            Self::WrongType => "GQ0003",
            Self::MissingKey => "GQ0004",
            Self::BadUnit => "GQ0005",
            Self::BadValue => "GQ0006",
            Self::UnknownName => "GQ0007",
            Self::BadFlowspec => "GQ0008",
            Self::Duplicate => "GQ0009",
            Self::Version => "GQ0010",
            Self::Conflict => "GQ0011",
            Self::Overcommitted => "GQ0101",
        }
    }

    /// Whether it makes a policy unusable.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Syntax
            | Self::UnknownKey
            | Self::WrongType
            | Self::MissingKey
            | Self::BadUnit
            | Self::BadValue
            | Self::UnknownName
            | Self::BadFlowspec
            | Self::Duplicate
            | Self::Version
            | Self::Conflict => Severity::Error,
            Self::Overcommitted => Severity::Warning,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.id())
    }
}
