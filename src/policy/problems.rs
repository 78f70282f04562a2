//! The problems found so far, and, for the schema, what each key takes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::place::Place;
use super::problem::{Code, Label, Problem, Severity};

/// Collects problems while the sources are read.
#[derive(Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    /// What each key takes, by its table; nothing where nobody wants to know.
    learnt: Option<RefCell<Learnt>>,
}

/// What each key takes, as a JSON schema has it, by its table's path.
type Learnt = BTreeMap<(String, &'static str), Value>;

impl Problems {
    /// Learns what each key takes as well.
    pub(crate) fn learning() -> Self {
        Self { learnt: Some(RefCell::default()), ..Self::default() }
    }

    /// What was learnt.
    pub(crate) fn learnt(self) -> Learnt {
        self.learnt.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(super) fn learn(&self, path: &str, key: &'static str, form: impl FnOnce() -> Value) {
        if let Some(learnt) = &self.learnt {
            learnt.borrow_mut().insert((path.to_owned(), key), form());
        }
    }

    pub(crate) fn note(&self, code: Code, place: Place, message: impl Into<String>) {
        self.add(Problem { code, message: message.into(), place, labels: Vec::new(), help: None });
    }

    pub(crate) fn note_with_help(&self, code: Code, place: Place, message: String, help: Option<String>) {
        self.add(Problem { code, message, place, labels: Vec::new(), help });
    }

    pub(crate) fn note_with_label(
        &self,
        code: Code,
        place: Place,
        message: String,
        other: Place,
        text: &str,
    ) {
        let labels = vec![Label { place: other, text: text.to_owned() }];
        self.add(Problem { code, message, place, labels, help: None });
    }

    fn add(&self, problem: Problem) {
        self.found.borrow_mut().push(problem);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|problem| problem.code.severity() == Severity::Error)
    }

    pub(crate) fn into_inner(self) -> Vec<Problem> {
        let mut problems = self.found.into_inner();
        problems
            .sort_by_key(|problem| (problem.place.source, problem.place.span.start, problem.place.span.end));
        problems
    }
}
