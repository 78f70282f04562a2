//! One finding: what was looked at, what was found, what it costs.

use std::fmt;

use serde::Serialize;

/// What was found of one subject.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What the subject belongs to: `kernel`, `privileges`, `confinement`, an interface, `tcp`, `clock`, `process`.
    pub topic: String,
    /// The feature, privilege or interface, as the table's first column names it.
    pub subject: String,
    /// Whether it costs guarantees.
    pub state: FindingState,
    /// A few words: the kernel's answer, or a number.
    pub found: String,
    /// What gqos does without it; `None` where nothing is lacking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<String>,
    /// A command or a setting; `None` where there is nothing to mend, or no way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How a subject stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingState {
    /// Nothing is lacking.
    Ok,
    /// Costs something, but no guarantee.
    Note,
    /// Not known, and no guarantee depends on it.
    Unknown,
    /// Costs guarantees.
    Lacking,
}

/// As the table says it: what costs guarantees is in capitals.
impl fmt::Display for FindingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Lacking => "LACKING",
        })
    }
}

/// What a lack costs and how to mend it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remedy<'a> {
    pub(super) costs: &'a str,
    pub(super) mend: &'a str,
}

impl Finding {
    pub(super) fn ok(topic: &str, subject: impl Into<String>, found: impl Into<String>) -> Self {
        let (topic, subject, found) = (topic.to_owned(), subject.into(), found.into());
        Self { topic, subject, state: FindingState::Ok, found, costs: None, mend: None }
    }

    pub(super) fn with(self, state: FindingState, Remedy { costs, mend }: Remedy<'_>) -> Self {
        Self { state, costs: Some(costs.to_owned()), mend: Some(mend.to_owned()), ..self }
    }
}
