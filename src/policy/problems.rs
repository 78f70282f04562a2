//! Collects problems while sources are read and, for the JSON schema, which values each key takes.

use std::cell::RefCell;

use serde_json::Value;

use crate::ordered::OrderedMap;

use super::code::{Code, Severity};
use super::place::Place;
use super::problem::Problem;

/// The problems found so far.
#[derive(Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    /// Recorded only for the JSON schema.
    forms: Option<RefCell<Forms>>,
}

/// The JSON schema of each key's values, by the path of its table and the key.
pub(crate) type Forms = OrderedMap<(String, &'static str), Value>;

impl Problems {
    /// Records the forms of all keys that are read as well.
    pub(crate) fn recording_forms() -> Self {
        Self { forms: Some(RefCell::default()), ..Self::default() }
    }

    /// The forms recorded so far.
    pub(crate) fn into_forms(self) -> Forms {
        self.forms.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(super) fn record_form(&self, path: &str, key: &'static str, form: impl FnOnce() -> Value) {
        if let Some(forms) = &self.forms {
            forms.borrow_mut().insert((path.to_owned(), key), form());
        }
    }

    pub(crate) fn add(&self, problem: Problem) {
        self.found.borrow_mut().push(problem);
    }

    pub(crate) fn note(&self, code: Code, place: Place, message: impl Into<String>) {
        self.add(Problem::new(code, place, message));
    }

    /// How many there are so far.
    #[cfg(feature = "scenario")]
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Removes those with a code, except the first ones.
    #[cfg(feature = "scenario")]
    pub(super) fn withdraw(&self, code: Code, except_first: usize) {
        let mut found = self.found.borrow_mut();
        let first = except_first.min(found.len());
        let later = found.split_off(first);
        found.extend(later.into_iter().filter(|problem| problem.code != code));
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|problem| problem.code.severity() == Severity::Error)
    }

    /// Whether a source could not be parsed.
    pub(crate) fn has_syntax_error(&self) -> bool {
        self.found.borrow().iter().any(|problem| problem.code == Code::Syntax)
    }

    /// All problems in the order of their places.
    pub(crate) fn into_inner(self) -> Vec<Problem> {
        let mut problems = self.found.into_inner();
        problems
            .sort_by_key(|problem| (problem.place.source, problem.place.span.start, problem.place.span.end));
        problems
    }
}
