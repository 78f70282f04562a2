//! The differences between two policies.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::model::Policy;
use super::place::Place;
use super::timeouts::PeerTimeouts;

/// A definition in a policy.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Item {
    /// `preemption = true`.
    Preemption,
    /// `dead_after` and `stalled_after` at the top.
    Timeouts,
    /// An interface, by the name of its table.
    Interface(String),
    /// A template.
    Template(String),
    /// A class.
    Class(String),
    /// A group.
    Group(String),
    /// The limits of clients, by their pattern.
    Client(String),
    /// A rule, by its number from 1.
    Rule(usize),
}

/// The definitions in which two policies differ.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Changes {
    /// Only in the new policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Item>,
    /// Only in the old policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Item>,
    /// In both, with different values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Item>,
}

impl Changes {
    /// The differences from one policy to another. Places in files do not count, except that rules are compared by
    /// their number, since the first that matches applies.
    pub fn between(before: &Policy, after: &Policy) -> Self {
        let (before, after) = (items(before), items(after));
        let mut changes = Self::default();
        for (item, meaning) in &after {
            match before.get(item) {
                None => changes.added.push(item.clone()),
                Some(old) if old != meaning => changes.changed.push(item.clone()),
                Some(_) => {}
            }
        }
        changes.removed = before.into_keys().filter(|item| !after.contains_key(item)).collect();
        changes
    }

    /// Whether both policies mean the same.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Every definition of a policy, with a text that is the same if and only if its values are.
fn items(policy: &Policy) -> BTreeMap<Item, String> {
    let mut policy = policy.clone();
    policy.places_mut().for_each(|place| *place = Place::default());
    let mut items = BTreeMap::new();
    if policy.preemption {
        items.insert(Item::Preemption, String::new());
    }
    if policy.timeouts != PeerTimeouts::default() {
        items.insert(Item::Timeouts, format!("{:?}", policy.timeouts));
    }
    for (name, interface) in policy.interfaces {
        items.insert(Item::Interface(name), format!("{interface:?}"));
    }
    if let Some(interface) = policy.any_interface {
        items.insert(Item::Interface("*".to_owned()), format!("{interface:?}"));
    }
    for (name, template) in policy.templates {
        items.insert(Item::Template(name), format!("{template:?}"));
    }
    for (name, class) in policy.classes {
        items.insert(Item::Class(name), format!("{class:?}"));
    }
    for (name, group) in policy.groups {
        items.insert(Item::Group(name), format!("{group:?}"));
    }
    for client in policy.clients {
        items.insert(Item::Client(client.pattern.clone()), format!("{client:?}"));
    }
    for (number, rule) in policy.rules.into_iter().enumerate() {
        items.insert(Item::Rule(number + 1), format!("{rule:?}"));
    }
    items
}

/// As it is displayed.
impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preemption => write!(f, "preemption"),
            Self::Timeouts => write!(f, "dead_after or stalled_after"),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Template(name) => write!(f, "template {name}"),
            Self::Class(name) => write!(f, "class {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::Client(pattern) => write!(f, "client {pattern:?}"),
            Self::Rule(number) => write!(f, "rule {number}"),
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, items) in [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)]
        {
            for item in items {
                writeln!(f, "{word}: {item}")?;
            }
        }
        Ok(())
    }
}
