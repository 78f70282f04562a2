//! What another policy adds, takes away and changes.

use std::collections::BTreeMap;
use std::fmt;

use super::model::Policy;
use super::place::Place;

/// Something that a policy defines.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Item {
    /// `preemption`.
    Preemption,
    /// An interface, as its table is called.
    Interface(String),
    /// A template.
    Template(String),
    /// A class.
    Class(String),
    /// A group.
    Group(String),
    /// A client's pattern.
    Client(String),
    /// A rule, by its number from 1.
    Rule(usize),
}

/// What a policy has that another one has not, and the other way round.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// What is new.
    pub added: Vec<Item>,
    /// What is there no more.
    pub removed: Vec<Item>,
    /// What says something else.
    pub changed: Vec<Item>,
}

impl Changes {
    /// From one policy to another. Where something stands in its file makes no difference; rules are told
    /// by their number, since the first that matches decides.
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

    /// Whether both mean the same.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Everything a policy defines, with what it means written out.
fn items(policy: &Policy) -> BTreeMap<Item, String> {
    let mut items = BTreeMap::new();
    if policy.preemption {
        items.insert(Item::Preemption, String::new());
    }
    let nowhere = Place::default;
    let interfaces = policy.interfaces.iter().map(|(name, interface)| (name.as_str(), interface));
    for (name, interface) in interfaces.chain(policy.any_interface.iter().map(|any| ("*", any))) {
        let mut interface = interface.clone();
        interface.place = nowhere();
        items.insert(Item::Interface(name.to_owned()), format!("{:?}", interface));
    }
    for (name, template) in &policy.templates {
        items.insert(Item::Template(name.clone()), format!("{:?}", template.qos));
    }
    for (name, class) in &policy.classes {
        let mut class = class.clone();
        class.place = nowhere();
        items.insert(Item::Class(name.clone()), format!("{:?}", class));
    }
    for (name, group) in &policy.groups {
        let mut group = group.clone();
        group.place = nowhere();
        items.insert(Item::Group(name.clone()), format!("{:?}", group));
    }
    for client in &policy.clients {
        let mut client = client.clone();
        client.place = nowhere();
        items.insert(Item::Client(client.pattern.clone()), format!("{:?}", client));
    }
    for (number, rule) in policy.rules.iter().enumerate() {
        let mut rule = rule.clone();
        rule.place = nowhere();
        items.insert(Item::Rule(number + 1), format!("{:?}", rule));
    }
    items
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preemption => write!(f, "preemption"),
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
