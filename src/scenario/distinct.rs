//! The definitions of a policy that differ, for requests that are tried on each of them.

use std::collections::BTreeMap;

use crate::policy::{Class, Owner, Policy};

/// The name of an interface that stands for `[interface."*"]`.
pub(super) const ANY_INTERFACE: &str = "*";

/// A policy in which `[interface."*"]` is tried under its own name, which no interface can have.
pub(super) fn with_any_interface(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    let any = policy.any_interface.clone().map(|interface| (ANY_INTERFACE.to_owned(), interface));
    policy.interfaces.extend(any);
    policy
}

/// The names of definitions of which none means the same as another before it. `meaning` leaves out what makes no
/// difference here.
pub(super) fn distinct<T: PartialEq>(
    definitions: &BTreeMap<String, T>,
    meaning: impl Fn(&T) -> T,
) -> Vec<&str> {
    let mut known = Vec::new();
    let mut names = Vec::new();
    for (name, definition) in definitions {
        let definition = meaning(definition);
        if !known.contains(&definition) {
            known.push(definition);
            names.push(name.as_str());
        }
    }
    names
}

/// An owner that meets the conditions of a class.
pub(super) fn owner_for(class: &Class) -> Owner {
    let Some(matches) = &class.matches else { return Owner::default() };
    Owner {
        uid: matches.uid.first().map(|range| *range.start()),
        gid: matches.gid.first().map(|range| *range.start()),
        cgroup: matches.cgroup.first().cloned(),
    }
}
