//! A problem in a policy: what is wrong, where, and what would be right.

use super::place::Place;

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
    /// A group that its class or its interface has no room for.
    GroupTooLarge,
    /// A bucket that a full packet of the interface does not fit into.
    SmallBucket,
    /// A rule that no flow reaches, since an earlier one takes them all.
    ShadowedRule,
    /// A class that no rule and no group gives.
    UnusedClass,
    /// A template that no interface has room for.
    NeverFits,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 17] = [
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
        Self::GroupTooLarge,
        Self::SmallBucket,
        Self::ShadowedRule,
        Self::UnusedClass,
        Self::NeverFits,
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
            Self::GroupTooLarge => "GQ0102",
            Self::SmallBucket => "GQ0103",
            Self::ShadowedRule => "GQ0104",
            Self::UnusedClass => "GQ0105",
            Self::NeverFits => "GQ0106",
        }
    }

    /// What it says, in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Syntax => "the text is not TOML",
            Self::UnknownKey => "a key that has no meaning here",
            Self::WrongType => "a value of the wrong type",
            Self::MissingKey => "a key that is needed is not there",
            Self::BadUnit => "a quantity that cannot be read in exactly one way",
            Self::BadValue => "a value that is not allowed",
            Self::UnknownName => "a name that nothing defines",
            Self::BadFlowspec => "a flowspec that contradicts itself",
            Self::Duplicate => "the same thing defined twice",
            Self::Version => "an unknown version of the format",
            Self::Conflict => "keys that exclude each other",
            Self::Overcommitted => "too little is left for headers and traffic without a reservation",
            Self::GroupTooLarge => "a group that there is no room for",
            Self::SmallBucket => "a bucket below a full packet",
            Self::ShadowedRule => "a rule that no flow reaches",
            Self::UnusedClass => "a class that nothing gives",
            Self::NeverFits => "a template that no interface has room for",
        }
    }

    /// What it means and what to do about it.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Syntax => {
                "The text ends the TOML parser: a quote, a bracket or a comma is missing, or a table is opened twice.\n\
                 Nothing else of the file is checked until it parses."
            }
            Self::UnknownKey => {
                "Keys that are not known are never ignored: a misspelt limit would be no limit.\n\
                 The nearest known key is suggested; docs/POLICY.md lists them all."
            }
            Self::WrongType => {
                "A table where a text belongs, a number where a flag belongs. Quantities are texts with a unit:\n\
                 capacity = \"1 Gbit/s\", not capacity = 1000000000."
            }
            Self::MissingKey => {
                "There is no default that would be right for everybody: a capacity, a token rate of a flow that is\n\
                 sent with a guarantee, the interface of a group."
            }
            Self::BadUnit => {
                "\"6 Mbps\" is megabits to some and megabytes to others; \"64k\" is 64000 to some and 65536 to others.\n\
                 Write rates as bit/s, kbit/s, Mbit/s, Gbit/s or B/s, kB/s, MB/s, GB/s (1000) or KiB/s, MiB/s, GiB/s\n\
                 (1024); sizes as B, kB, MB, KiB, MiB; times as us, ms, s, min, h; shares as \"80%\" or a rate."
            }
            Self::BadValue => {
                "The value is of the right type and outside of what is allowed; the message says what is."
            }
            Self::UnknownName => {
                "A rule, a group or a test names a class, a template or an interface that no table defines.\n\
                 The nearest defined name is suggested."
            }
            Self::BadFlowspec => {
                "No traffic can conform to it, or no promise can be made for it: a rate or size of zero, a peak below\n\
                 the rate (p < r), a smallest packet above the largest (m > M), a bucket that a full packet does not fit\n\
                 into (b < M), guaranteed service without any delay. docs/FLOWSPEC.md has the rules."
            }
            Self::Duplicate => {
                "Several files merge into one policy, and nothing is overridden silently: a definition stands once.\n\
                 Both places are shown."
            }
            Self::Version => "version = 1 is the only version of the format that there is.",
            Self::Conflict => {
                "Two keys say the same thing in two ways (token_rate and goodput), or cannot both hold (a setup priority\n\
                 better than the holding priority would let two flows displace each other for ever)."
            }
            Self::Overcommitted => {
                "What is promised counts IP bytes. On the link each packet also has a header, and lost packets are sent\n\
                 again; what has no reservation, name lookups and routing among it, needs something as well. More than\n\
                 82 % of the capacity (64 of 78 bytes) cannot be promised safely; 80 % is the default."
            }
            Self::GroupTooLarge => {
                "The groups of a class ask for more together than the class's share, or those of an interface for more\n\
                 than its budget. A group that does not fit is not made, and its members are told that there is none."
            }
            Self::SmallBucket => {
                "With a bucket below the MTU (1500 bytes unless the interface says otherwise) and no max_sdu_size, the\n\
                 largest packet of the flow is as small as its bucket: TCP then sends many small segments. Make the bucket\n\
                 larger (50 to 100 ms of the flow's rate is good for media), or say max_sdu_size."
            }
            Self::ShadowedRule => {
                "The first rule that matches decides. An earlier rule matches everything that this one does: put this one\n\
                 before it, or take it out."
            }
            Self::UnusedClass => {
                "The policy has rules, and none of them nor any group gives this class: only a caller that names it gets it.\n\
                 If that is meant, there is nothing to do."
            }
            Self::NeverFits => {
                "Every interface states its capacity, and not even an empty one has room for this template."
            }
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
            Self::Overcommitted
            | Self::GroupTooLarge
            | Self::SmallBucket
            | Self::ShadowedRule
            | Self::UnusedClass
            | Self::NeverFits => Severity::Warning,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.id())
    }
}
