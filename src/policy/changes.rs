//! The differences between two policies, key by key.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::de::DeTable;

use crate::ordered::{OrderedMap, OrderedSet};

use super::entries::{self, Entries};
use super::model::Policy;
use super::notation::{key, quoted};
use super::place::Source;

/// A definition in a policy, by its kind and its name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum PolicyItem {
    /// The keys at the top of the file.
    Top,
    /// An interface, by the name of its table.
    Interface(String),
    /// `[template.NAME]`.
    Template(String),
    /// `[class.NAME]`.
    Class(String),
    /// `[group.NAME]`.
    Group(String),
    /// The limits of clients, by their pattern.
    Client(String),
    /// `[proxy.NAME]`.
    Proxy(String),
    /// `[daemon]`.
    Daemon,
    /// A rule, by its number from 1: in the new policy, or in the old one if it is removed.
    Rule(usize),
}

/// The definitions in which two policies differ.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PolicyChanges {
    /// Only in the new policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<ItemChange>,
    /// Only in the old policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<ItemChange>,
    /// In both, with different values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<ItemChange>,
}

/// A definition that differs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ItemChange {
    /// The table that differs.
    pub item: PolicyItem,
    /// Its keys that differ; all keys of one that only one policy has.
    #[serde(default)]
    pub keys: Vec<KeyChange>,
}

/// A key that differs. Values are TOML, and a key with a default has its default where the file does not state it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyChange {
    /// The key below its definition, such as `egress.capacity`.
    pub key: String,
    /// The value in the old policy; `None` if it had none.
    pub before: Option<String>,
    /// The value in the new policy; `None` if it has none.
    pub after: Option<String>,
}

impl PolicyChanges {
    /// The differences from one policy to another.
    ///
    /// Places in files do not count. Where rules were added or removed, the rules before the first and after the last
    /// difference are the same ones, whatever their numbers.
    pub fn between(before: &Policy, after: &Policy) -> Self {
        let (old, new) = (items(before), items(after));
        let mut changes = Self::default();
        for (item, entries) in &new {
            match old.get(item) {
                None => changes.added.push(ItemChange::new(item.clone(), None, Some(entries))),
                Some(known) if known != entries => {
                    changes.changed.push(ItemChange::new(item.clone(), Some(known), Some(entries)));
                }
                Some(_) => {}
            }
        }
        let removed = old.iter().filter(|(item, _)| !new.contains_key(item));
        changes.removed = removed.map(|(item, old)| ItemChange::new(item.clone(), Some(old), None)).collect();
        changes.compare_orders(before, after);
        changes.compare_rules(before, after);
        changes
    }

    /// The keys, with their paths, that only a daemon which starts under the policy takes: all of `[daemon]` but `group` and `degrade`,
    /// and `enforcement` of an interface.
    pub fn taken_at_start(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for ItemChange { item, keys } in self.changed.iter().chain(&self.added).chain(&self.removed) {
            let is_taken = |key: &&KeyChange| match item {
                PolicyItem::Daemon => !["group", "degrade"].contains(&key.key.as_str()),
                PolicyItem::Interface(_) => {
                    key.key == "enforcement" && key.before.is_some() && key.after.is_some()
                }
                _ => false,
            };
            paths.extend(keys.iter().filter(is_taken).map(|key| format!("{item}.{}", key.key)));
        }
        paths
    }

    /// Whether both policies mean the same.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Notes where definitions that both policies have stand in another order, if the first that matches applies.
    fn compare_orders(&mut self, before: &Policy, after: &Policy) {
        let mut keys = Vec::new();
        for (key, in_order) in ORDERS {
            let (old, new) = (in_order(before), in_order(after));
            let common = |names: &[String], others: &[String]| {
                let others: OrderedSet<_> = others.iter().collect();
                let common: Vec<_> = names.iter().filter(|name| others.contains(name)).map(quoted).collect();
                format!("[{}]", common.join(", "))
            };
            let (before, after) = (common(&old, &new), common(&new, &old));
            if before != after {
                keys.push(KeyChange { key: key.to_owned(), before: Some(before), after: Some(after) });
            }
        }
        if !keys.is_empty() {
            self.changed.push(ItemChange { item: PolicyItem::Top, keys });
        }
    }

    fn compare_rules(&mut self, before: &Policy, after: &Policy) {
        let entries = |policy: &Policy| policy.rules.iter().map(entries::rule).collect::<Vec<_>>();
        let (old, new) = (entries(before), entries(after));
        let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let (old_rest, new_rest) = (&old[start..], &new[start..]);
        let same = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new);
        let end = same.count();
        let (old, new) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
        for index in 0..old.len().max(new.len()) {
            let change = ItemChange::new(PolicyItem::Rule(start + index + 1), old.get(index), new.get(index));
            match (old.get(index), new.get(index)) {
                (None, _) => self.added.push(change),
                (_, None) => self.removed.push(change),
                (old, new) if old != new => self.changed.push(change),
                _ => {}
            }
        }
    }
}

impl ItemChange {
    fn new(item: PolicyItem, before: Option<&Entries>, after: Option<&Entries>) -> Self {
        let [old, new] = [before, after].map(|entries| entries.map_or_else(Vec::new, Entries::dotted));
        let value = |entries: &[(String, String)], key: &str| {
            entries.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
        };
        let gone = old.iter().filter(|(key, _)| value(&new, key).is_none());
        let keys = new.iter().chain(gone).filter_map(|(key, _)| {
            let (before, after) = (value(&old, key), value(&new, key));
            (before != after).then(|| KeyChange { key: key.clone(), before, after })
        });
        Self { item, keys: keys.collect() }
    }
}

/// Every definition of a policy but its rules.
fn items(policy: &Policy) -> OrderedMap<PolicyItem, Entries> {
    let mut items = OrderedMap::from([(PolicyItem::Top, entries::top(policy))]);
    let named = policy.interfaces.iter().map(|(name, interface)| (name.as_str(), interface));
    for (name, interface) in named.chain(policy.any_interface.iter().map(|interface| ("*", interface))) {
        items.insert(PolicyItem::Interface(name.to_owned()), entries::interface(interface));
    }
    for (name, template) in &policy.templates {
        items.insert(PolicyItem::Template(name.clone()), entries::template(&template.qos));
    }
    for (name, class) in &policy.classes {
        items.insert(PolicyItem::Class(name.clone()), entries::class(class));
    }
    for (name, group) in &policy.groups {
        items.insert(PolicyItem::Group(name.clone()), entries::group(group));
    }
    for client in &policy.clients {
        items.insert(PolicyItem::Client(client.pattern.clone()), entries::client(client));
    }
    for (name, proxy) in &policy.proxies {
        items.insert(PolicyItem::Proxy(name.clone()), entries::proxy(proxy));
    }
    if let Some(daemon) = &policy.daemon {
        items.insert(PolicyItem::Daemon, entries::daemon(daemon));
    }
    items
}

/// The names of definitions in the order in which they are tried.
type InOrder = fn(&Policy) -> Vec<String>;

/// The definitions of which the first that matches applies.
const ORDERS: [(&str, InOrder); 2] =
    [("the order of the clients", clients), ("the order of the classes with owners", classes_by_place)];

fn clients(policy: &Policy) -> Vec<String> {
    policy.clients.iter().map(|client| client.pattern.clone()).collect()
}

/// The classes that have conditions on owners, in the order in which they are tried.
fn classes_by_place(policy: &Policy) -> Vec<String> {
    let conditional = policy.classes.iter().filter(|(_, class)| class.matches.is_some());
    let mut places: Vec<_> = conditional
        .map(|(name, class)| ((class.place.source, class.place.span.start), name.clone()))
        .collect();
    places.sort();
    places.into_iter().map(|(_, name)| name).collect()
}

/// Serialises as one string, that of `Display`.
impl Serialize for PolicyItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The path of the definition's table, as the file has it: `interface.eth0`.
impl fmt::Display for PolicyItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => write!(f, "policy"),
            Self::Interface(name) => write!(f, "interface.{}", key(name)),
            Self::Template(name) => write!(f, "template.{}", key(name)),
            Self::Class(name) => write!(f, "class.{}", key(name)),
            Self::Group(name) => write!(f, "group.{}", key(name)),
            Self::Daemon => f.write_str("daemon"),
            Self::Client(pattern) => write!(f, "client.{}", key(pattern)),
            Self::Proxy(name) => write!(f, "proxy.{}", key(name)),
            Self::Rule(number) => write!(f, "rule {number}"),
        }
    }
}

/// Reads what [`Serialize`] writes.
impl<'de> Deserialize<'de> for PolicyItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?;
        Self::of_path(&path).ok_or_else(|| de::Error::custom(format_args!("{path:?} is no part of a policy")))
    }
}

impl PolicyItem {
    /// The definition with a path.
    fn of_path(path: &str) -> Option<Self> {
        match path {
            "policy" => return Some(Self::Top),
            "daemon" => return Some(Self::Daemon),
            _ => {}
        }
        if let Some(number) = path.strip_prefix("rule ") {
            return number.parse().ok().map(Self::Rule);
        }
        let (kind, name) = path.split_once('.')?;
        let text = format!("{name} = 0");
        let named = DeTable::parse(&text).ok()?.into_inner();
        let name = named.keys().next()?.get_ref().clone().into_owned();
        Some(match kind {
            "interface" => Self::Interface(name),
            "template" => Self::Template(name),
            "class" => Self::Class(name),
            "group" => Self::Group(name),
            "client" => Self::Client(name),
            "proxy" => Self::Proxy(name),
            _ => return None,
        })
    }

    /// What a definition has that states no more than it must.
    fn defaults(&self, plain: &OrderedMap<Self, Entries>) -> Vec<(String, String)> {
        let plain =
            plain.iter().find(|(item, _)| std::mem::discriminant(*item) == std::mem::discriminant(self));
        let mut keys = plain.map_or_else(Vec::new, |(_, entries)| entries.dotted());
        keys.retain(|(key, _)| !STATED.contains(&key.as_str()));
        keys
    }
}

/// A definition of each kind that has defaults, with no more than it must have.
const PLAIN: &str = "version = 1\n[interface.x]\negress = { capacity = \"auto\" }\n[class.x]\n\
    [template.x]\nsending = { service_type = \"best_effort\" }\n\
    [group.x]\ninterface = \"x\"\nsending = { service_type = \"best_effort\" }\n\
    [proxy.x]\nlisten = \"127.0.0.1:1\"\nto = \"127.0.0.1:2\"\ntemplate = \"x\"\n[daemon]\naudit = \"/x\"\n";

/// The keys that [`PLAIN`] states itself.
const STATED: [&str; 7] =
    ["egress.capacity", "ingress.capacity", "interface", "listen", "to", "template", "audit.path"];

/// The keys of a definition that only one policy has, without those that have their defaults.
fn stated_keys(
    ItemChange { item, keys }: &ItemChange,
    plain: &OrderedMap<PolicyItem, Entries>,
) -> Vec<String> {
    let defaults = item.defaults(plain);
    let values: Vec<_> = keys
        .iter()
        .filter_map(|KeyChange { key, before, after }| {
            Some((key.as_str(), after.as_deref().or(before.as_deref())?))
        })
        .collect();
    let is_stated = |(key, value): &&(&str, &str)| {
        // One direction of an interface serves for both.
        let other = key.strip_prefix("ingress.").map(|rest| format!("egress.{rest}"));
        let is_copy = other.is_some_and(|other| values.contains(&(other.as_str(), *value)));
        !is_copy && !defaults.iter().any(|(known, default)| known == key && default == value)
    };
    values.iter().filter(is_stated).map(|(key, value)| format!("{key} = {value}")).collect()
}

/// A line for each key that differs, old and new value; a line for each definition that only one policy has, with the
/// keys that do not have their defaults.
impl fmt::Display for PolicyChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ItemChange { item, keys } in &self.changed {
            for KeyChange { key, before, after } in keys {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
                let path = match item {
                    PolicyItem::Top => key.clone(),
                    item => format!("{item}.{key}"),
                };
                writeln!(f, "{path}: {} → {}", value(before), value(after))?;
            }
        }
        if self.added.is_empty() && self.removed.is_empty() {
            return Ok(());
        }
        let plain = Policy::parse(&[Source { name: "", text: PLAIN }]);
        let plain = plain.map_or_else(|_| OrderedMap::new(), |(policy, _)| items(&policy));
        for (word, changes) in [("added", &self.added), ("removed", &self.removed)] {
            for change in changes {
                let keys = stated_keys(change, &plain);
                let end = if keys.is_empty() { "" } else { ": " };
                writeln!(f, "{}: {word}{end}{}", change.item, keys.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_defaults_is_a_policy_and_items_come_back_from_their_paths() {
        let (plain, _) = Policy::parse(&[Source { name: "p.toml", text: PLAIN }]).expect("a policy");
        let items = items(&plain);
        assert!(items.len() > STATED.len() - 1, "{items:?}");
        let names = ["eth0", "a.b", "origin-*", "", "a\"\\\u{1}\u{e9}"].map(str::to_owned);
        let kinds = [
            PolicyItem::Interface,
            PolicyItem::Template,
            PolicyItem::Class,
            PolicyItem::Group,
            PolicyItem::Client,
            PolicyItem::Proxy,
        ];
        let named = kinds.iter().flat_map(|kind| names.iter().map(|name| kind(name.clone())));
        for item in named.chain([PolicyItem::Top, PolicyItem::Daemon, PolicyItem::Rule(7)]) {
            let json = serde_json::to_string(&item).unwrap();
            assert_eq!(serde_json::from_str::<PolicyItem>(&json).unwrap(), item, "{json}");
        }
        for text in ["\"\"", "\"rule x\"", "\"planet.x\"", "\"class\"", "\"class.\"", "7"] {
            assert!(serde_json::from_str::<PolicyItem>(text).is_err(), "{text}");
        }
    }
}
