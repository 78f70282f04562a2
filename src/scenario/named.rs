//! The names that a test uses, with their places: before it is run they are compared with the policies and with the flows
//! that it opens.

use std::cell::RefCell;

use super::names::IdPattern;
use crate::policy::Place;
use crate::policy::read::section::{Placed, Section};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NameKind {
    Interface,
    Class,
    Group,
    Template,
    Client,
    Flow,
}

/// A name in a test file.
#[derive(Clone, Debug)]
pub(super) struct NameUse {
    pub(super) kind: NameKind,
    /// Several, for the ids of a repeated step.
    pub(super) names: IdPattern,
    pub(super) place: Place,
    /// Whether it is a part of what is expected.
    pub(super) is_expected: bool,
}

/// Collects the names of a step while it is read.
#[derive(Debug, Default)]
pub(super) struct NameUses {
    found: RefCell<Vec<NameUse>>,
    is_expected: bool,
}

impl NameUses {
    /// Collects the names of an expectation.
    pub(super) fn expected() -> Self {
        Self { is_expected: true, ..Self::default() }
    }

    pub(super) fn into_inner(self) -> Vec<NameUse> {
        self.found.into_inner()
    }

    pub(super) fn note(&self, kind: NameKind, names: IdPattern, place: Place) {
        self.found.borrow_mut().push(NameUse { kind, names, place, is_expected: self.is_expected });
    }

    /// Reads a key whose value is a name.
    pub(super) fn text(&self, section: &Section<'_>, key: &'static str, kind: NameKind) -> Option<String> {
        section.string(key).map(|name| self.noted(kind, name))
    }

    /// Reads a key whose value is a name or a list of names; an empty list is no mistake.
    pub(super) fn texts(
        &self,
        section: &Section<'_>,
        key: &'static str,
        kind: NameKind,
    ) -> Option<Vec<String>> {
        let names = section.strings(key)?;
        Some(names.into_iter().map(|name| self.noted(kind, name)).collect())
    }

    fn noted(&self, kind: NameKind, name: Placed<&str>) -> String {
        self.note(kind, IdPattern::one(name.value), name.place);
        name.value.to_owned()
    }
}
