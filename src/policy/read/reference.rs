//! References: names that a table uses and that others define. They are looked up once every source has been read.

use super::section::{Placed, nearest};
use crate::policy::code::Code;
use crate::policy::model::Policy;
use crate::policy::place::Place;
use crate::policy::problem::Problem;

/// A name that a table uses, with its place.
pub(in crate::policy) struct Reference {
    kind: ReferenceKind,
    name: String,
    place: Place,
    /// The table that uses it, as it is written in messages.
    user: String,
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(super) enum ReferenceKind {
    Interface,
    Class,
    Group,
    Template,
}

impl Reference {
    pub(super) fn new(user: &str, kind: ReferenceKind, name: &Placed<&str>) -> Self {
        let (user, place) = (user.to_owned(), name.place.clone());
        Self { kind, name: name.value.to_owned(), place, user }
    }

    /// The problem of a name that the policy does not define.
    pub(super) fn problem(&self, policy: &Policy) -> Option<Problem> {
        let Self { kind, name, place, user } = self;
        let is_defined = match kind {
            ReferenceKind::Interface => policy.interface(name).is_some(),
            ReferenceKind::Class => policy.classes.contains_key(name),
            ReferenceKind::Group => policy.groups.contains_key(name),
            ReferenceKind::Template => policy.templates.contains_key(name),
        };
        if is_defined {
            return None;
        }
        let table = kind.table();
        let help = match nearest(name, kind.names(policy).into_iter()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("define [{table}.{name:?}]"),
        };
        let message = format!("{user} names {table} {name:?}, which is not defined");
        Some(Problem::new(Code::UnknownName, place.clone(), message).with_help(Some(help)))
    }
}

impl ReferenceKind {
    const fn table(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Class => "class",
            Self::Group => "group",
            Self::Template => "template",
        }
    }

    fn names(self, policy: &Policy) -> Vec<&str> {
        match self {
            Self::Interface => policy.interfaces.keys().map(String::as_str).collect(),
            Self::Class => policy.classes.keys().map(String::as_str).collect(),
            Self::Group => policy.groups.keys().map(String::as_str).collect(),
            Self::Template => policy.templates.keys().map(String::as_str).collect(),
        }
    }
}
