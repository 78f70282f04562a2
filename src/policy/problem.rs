//! A problem in a policy: what is wrong, where, and how to correct it.

use super::code::Code;
use super::place::Place;

/// One problem, with the place it points at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The stable code of this kind of problem.
    pub code: Code,
    /// What is wrong, in a sentence that is complete by itself.
    pub message: String,
    /// The bytes that a diagnostic underlines.
    pub place: Place,
    /// Other places that matter.
    pub labels: Vec<Label>,
    /// A sentence that says how to correct it; `None` where the message does.
    pub help: Option<String>,
}

/// Another place of a problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label {
    /// The bytes that a diagnostic underlines beside the problem's own.
    pub place: Place,
    /// Why this place matters.
    pub text: String,
}

impl Problem {
    /// A problem without further places and without help.
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
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
