//! A problem in a policy: what is wrong, where, and how to correct it.

use super::place::Place;

/// Whether a policy with a problem can be used.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used, but is probably not what its author meant.
    Warning,
}

/// One problem, with the place it points at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The stable code of this kind of problem.
    pub code: Code,
    /// What is wrong, in a sentence that is complete by itself.
    pub message: String,
    /// The place in the sources.
    pub place: Place,
    /// Other places that matter.
    pub labels: Vec<Label>,
    /// How to correct it.
    pub help: Option<String>,
}

/// Another place of a problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label {
    /// The place in the sources.
    pub place: Place,
    /// Why this place matters.
    pub text: String,
}

/// The stable code of a kind of problem.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// The text is not TOML.
    Syntax,
    /// A key that does not exist in this table.
    UnknownKey,
    /// A value of the wrong type.
    WrongType,
    /// A required key is missing.
    MissingKey,
    /// A rate, size, time or share without exactly one reading.
    BadUnit,
    /// A value outside the allowed ones.
    BadValue,
    /// A name that is not defined.
    UnknownName,
    /// A flowspec that contradicts itself.
    BadFlowspec,
    /// A second definition of the same thing.
    Duplicate,
    /// A version of the format that this program does not read.
    Version,
    /// Keys that exclude each other.
    Conflict,
    /// So much may be reserved that link headers and best-effort traffic may not fit on the link.
    Overcommitted,
    /// A group that exceeds its class's share or its interface's budget.
    GroupTooLarge,
    /// A bucket smaller than a full packet of the interface.
    SmallBucket,
    /// A rule that no flow reaches because an earlier rule matches all of them.
    ShadowedRule,
    /// A class that no rule and no group assigns.
    UnusedClass,
    /// A template that exceeds the budget of every interface.
    NeverFits,
    /// A timeout that ends flows whose peers are well.
    HastyTimeout,
}

impl Problem {
    /// A problem without further places and without help.
    pub(crate) fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place, labels: Vec::new(), help: None }
    }

    /// Adds how to correct it.
    pub(crate) fn with_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Adds another place and why it matters.
    pub(crate) fn with_label(mut self, place: Place, text: &str) -> Self {
        self.labels.push(Label { place, text: text.to_owned() });
        self
    }
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 18] = [
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
        Self::HastyTimeout,
    ];

    /// The code as it is printed. A code is never reused for another kind of problem.
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
            Self::HastyTimeout => "GQ0111",
        }
    }

    /// The kind of problem in a few words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Syntax => "the text is not TOML",
            Self::UnknownKey => "an unknown key",
            Self::WrongType => "a value of the wrong type",
            Self::MissingKey => "a required key is missing",
            Self::BadUnit => "a quantity that cannot be read in exactly one way",
            Self::BadValue => "a value that is not allowed",
            Self::UnknownName => "a name that is not defined",
            Self::BadFlowspec => "a flowspec that contradicts itself",
            Self::Duplicate => "a second definition",
            Self::Version => "an unknown version of the format",
            Self::Conflict => "keys that exclude each other",
            Self::Overcommitted => "too little is left for link headers and best-effort traffic",
            Self::GroupTooLarge => "a group that does not fit",
            Self::SmallBucket => "a bucket smaller than a full packet",
            Self::ShadowedRule => "a rule that no flow reaches",
            Self::UnusedClass => "a class that no rule and no group assigns",
            Self::NeverFits => "a template that fits on no interface",
            Self::HastyTimeout => "a timeout that ends flows whose peers are well",
        }
    }

    /// What the problem means and how to correct it.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Syntax => {
                "The TOML parser stopped: for instance, a quote, a bracket or a comma is missing, or a table is defined\n\
                 twice. The rest of the file is not checked until it parses."
            }
            Self::UnknownKey => {
                "Unknown keys are errors and not ignored, because a misspelt limit would be no limit.\n\
                 The nearest known key is suggested; docs/POLICY.md lists all keys."
            }
            Self::WrongType => {
                "For example a table in place of a string, or a number in place of a boolean. A quantity is a string with\n\
                 a unit: capacity = \"1 Gbit/s\", not capacity = 1000000000."
            }
            Self::MissingKey => {
                "The key has no default that would be right for every host: the capacity of a link, the token rate of a\n\
                 flow that sends with a reservation, the interface of a group."
            }
            Self::BadUnit => {
                "\"6 Mbps\" may mean megabits or megabytes, \"64k\" may mean 64000 or 65536.\n\
                 Write rates as bit/s, kbit/s, Mbit/s, Gbit/s or B/s, kB/s, MB/s, GB/s (powers of 1000) or KiB/s, MiB/s,\n\
                 GiB/s (powers of 1024); sizes as B, kB, MB, KiB, MiB; times as us, ms, s, min, h; shares as \"80%\" or a\n\
                 rate."
            }
            Self::BadValue => {
                "The value has the right type and is outside the allowed values; the message lists the allowed values."
            }
            Self::UnknownName => {
                "A rule, a group or a test names a class, a template or an interface that is not defined.\n\
                 The nearest defined name is suggested."
            }
            Self::BadFlowspec => {
                "No traffic can conform to it, or nothing can be reserved for it: a rate or size of zero, a peak rate below\n\
                 the token rate (p < r), a smallest packet above the largest (m > M), a bucket smaller than a full packet\n\
                 (b < M), guaranteed service with a latency of zero. docs/FLOWSPEC.md lists the rules."
            }
            Self::Duplicate => {
                "Several files merge into one policy, and no definition overrides another: each thing is defined once.\n\
                 Both places are shown."
            }
            Self::Version => "The only version of the format is version = 1.",
            Self::Conflict => {
                "Two keys state the same quantity in different ways (token_rate and goodput), or cannot both hold (with a\n\
                 setup priority better than the holding priority, two flows could displace each other for ever)."
            }
            Self::Overcommitted => {
                "Reservations count IP bytes. On the link each packet also has a link header, and lost packets are sent\n\
                 again; traffic without a reservation, such as name look-ups and routing, needs a part as well. No more than\n\
                 82 % of the capacity (64 of 78 bytes) can be reserved safely; the default is 80 %."
            }
            Self::GroupTooLarge => {
                "The groups of a class ask for more together than the class's share, or the groups of an interface for more\n\
                 than its budget. A group that does not fit is not created, and requests of its members are refused."
            }
            Self::SmallBucket => {
                "With a bucket below the MTU (1500 bytes unless the interface says otherwise) and no max_sdu_size, the\n\
                 largest packet of the flow is as small as its bucket, and TCP sends many small segments. Use a larger\n\
                 bucket (for media, 50 to 100 ms at the flow's rate), or set max_sdu_size."
            }
            Self::ShadowedRule => {
                "The first rule that matches applies. An earlier rule matches everything that this one matches: move this\n\
                 rule before it, or remove it."
            }
            Self::UnusedClass => {
                "The policy has rules, and neither a rule nor a group assigns this class: only a request that names it uses\n\
                 it. If that is intended, ignore the warning."
            }
            Self::NeverFits => NEVER_FITS,
            Self::HastyTimeout => HASTY_TIMEOUT,
        }
    }

    /// Whether a policy with this problem can be used.
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
            | Self::NeverFits
            | Self::HastyTimeout => Severity::Warning,
        }
    }
}

const NEVER_FITS: &str = "The template asks for more than any interface's budget, even when it is empty.";

const HASTY_TIMEOUT: &str = "A flow loses its reservation after this time. A viewer that changes networks is silent for some seconds\n\
     (dead_after), and a player with a full buffer reads nothing until part of it is played (stalled_after).\n\
     The defaults are 30 s and 60 s; \"off\" switches a timeout off.";

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.id())
    }
}
