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
pub(super) enum ReferenceKind {
    Interface,
    /// An interface on whose wire another one sends.
    Parent {
        /// The other one; `*` for those without a table of their own.
        of: String,
    },
    Class,
    Group,
    Template,
}

impl Reference {
    pub(super) fn new(user: &str, kind: ReferenceKind, name: &Placed<&str>) -> Self {
        let (user, place) = (user.to_owned(), name.place.clone());
        Self { kind, name: name.value.to_owned(), place, user }
    }

    /// The problem of a name that the policy does not define, or of a parent that is below its own child.
    pub(super) fn problem(&self, policy: &Policy) -> Option<Problem> {
        let Self { kind, name, place, user } = self;
        let is_defined = match kind {
            ReferenceKind::Interface | ReferenceKind::Parent { .. } => policy.interface(name).is_some(),
            ReferenceKind::Class => policy.classes.contains_key(name),
            ReferenceKind::Group => policy.groups.contains_key(name),
            ReferenceKind::Template => policy.templates.contains_key(name),
        };
        if is_defined {
            return match kind {
                ReferenceKind::Parent { of } => self.circle(of, policy),
                _ => None,
            };
        }
        let table = kind.table();
        // A name that would be another problem is no help.
        let names = kind.names(policy).into_iter().filter(|name| match kind {
            ReferenceKind::Parent { of } => circle(of, name, policy).is_none(),
            _ => true,
        });
        let help = match nearest(name, names) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("define [{table}.{name:?}]"),
        };
        let message = format!("{user} names {table} {name:?}, which is not defined");
        Some(Problem::new(Code::UnknownName, place.clone(), message).with_help(Some(help)))
    }
}

impl Reference {
    /// The problem of a parent whose own parents lead back to the interface.
    fn circle(&self, of: &str, policy: &Policy) -> Option<Problem> {
        let (user, name) = (&self.user, &self.name);
        let path = circle(of, name, policy)?.join(" → ");
        let message = format!("{user}.parent: {name:?} is on the wire of {of:?} itself: {path}");
        let help = "the parent is the link below: that of the VLAN eth0.10 is eth0";
        let problem = Problem::new(Code::BadValue, self.place.clone(), message);
        Some(problem.with_help(Some(help.to_owned())))
    }
}

/// The tables from an interface over a parent and its parents back to the interface; `None` where they do not lead back.
fn circle(of: &str, parent: &str, policy: &Policy) -> Option<Vec<String>> {
    let table =
        |name: &str| if policy.interfaces.contains_key(name) { name.to_owned() } else { "*".to_owned() };
    let parent_of = |table: &str| match table {
        "*" => policy.any_interface.as_ref()?.parent.as_deref(),
        name => policy.interfaces.get(name)?.parent.as_deref(),
    };
    let mut path = vec![of.to_owned()];
    let mut next = Some(parent);
    while let Some(name) = next {
        let table = table(name);
        if table == *of {
            path.push(table);
            return Some(path);
        }
        // A circle that this interface only leads to is a problem of the interfaces in it.
        if path.contains(&table) {
            return None;
        }
        next = parent_of(&table);
        path.push(table);
    }
    None
}

impl ReferenceKind {
    const fn table(&self) -> &'static str {
        match self {
            Self::Interface | Self::Parent { .. } => "interface",
            Self::Class => "class",
            Self::Group => "group",
            Self::Template => "template",
        }
    }

    fn names<'a>(&self, policy: &'a Policy) -> Vec<&'a str> {
        match self {
            Self::Interface | Self::Parent { .. } => policy.interfaces.keys().map(String::as_str).collect(),
            Self::Class => policy.classes.keys().map(String::as_str).collect(),
            Self::Group => policy.groups.keys().map(String::as_str).collect(),
            Self::Template => policy.templates.keys().map(String::as_str).collect(),
        }
    }
}
