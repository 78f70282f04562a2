//! A policy that has been checked: every name resolves, every number is in its unit.

use std::collections::BTreeMap;

use flowspec::Qos;

use super::class::{Admission, Class};
use super::client::Client;
use super::interface::InterfacePolicy;
use super::owner::Owner;
use super::place::Place;
use super::rule::{Rule, Subject};

/// What may be promised, and to whom.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// By interface name.
    pub interfaces: BTreeMap<String, InterfacePolicy>,
    /// `[interface."*"]`: for every interface without a table of its own.
    pub any_interface: Option<InterfacePolicy>,
    /// By template name.
    pub templates: BTreeMap<String, Template>,
    /// By class name.
    pub classes: BTreeMap<String, Class>,
    /// By group name.
    pub groups: BTreeMap<String, Group>,
    /// In the order in which they are tried.
    pub clients: Vec<Client>,
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
    /// What its sources are called: the last part of each path.
    pub sources: Vec<String>,
    /// Whether a newcomer may displace flows whose holding priority is worse than its setup priority.
    pub preemption: bool,
}

/// A named QOS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// What it asks for.
    pub qos: Qos,
    /// Where it is defined.
    pub place: Place,
}

/// One flowspec that several sockets share (lpGQOS).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The interface it is for.
    pub interface: String,
    /// The class that is charged.
    pub class: Option<String>,
    /// How it is charged.
    pub mode: GroupMode,
    /// What it asks for.
    pub qos: Qos,
    /// Where it is defined.
    pub place: Place,
}

/// How a group is charged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMode {
    /// The group's flowspec, from the start; the members' sum stays within it.
    Envelope,
    /// The largest member.
    Shared,
}

impl Policy {
    /// A place in the policy as people write it: `streaming.toml:12`.
    pub fn locate(&self, place: &Place) -> Option<String> {
        let source = self.sources.get(place.source)?;
        (place.line > 0).then(|| format!("{source}:{}", place.line))
    }

    /// What the policy says that is decided, tested and replayed, and that a running host does not carry
    /// out yet; nothing where a host can keep all of it.
    pub fn beyond_a_host(&self) -> Option<&'static str> {
        let mut interfaces = self.interfaces.values().chain(&self.any_interface);
        let takes_over = interfaces.any(|interface| interface.takeover);
        takes_over.then_some("takeover = true: a foreign root qdisc cannot be saved and restored yet")
    }

    /// Whether any class is admitted by what it is measured to send.
    pub fn measures(&self) -> bool {
        self.classes.values().any(|class| class.admission == Admission::Measured)
    }

    /// The middle of the priorities, 0 best to 7.
    pub const DEFAULT_PRIORITY: u8 = 4;

    /// What a client may have, by the first pattern that matches: its number, for counting.
    pub fn client(&self, name: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.matches(name))
    }

    /// The class that a flow is for whose caller names none: the first, as they stand in the policy, whose
    /// conditions its owner meets.
    pub fn class_for(&self, owner: &Owner) -> Option<&str> {
        let named =
            self.classes.iter().filter_map(|(name, class)| Some((name, class, class.matches.as_ref()?)));
        let meant = named.filter(|(.., matches)| matches.admits(owner));
        meant
            .min_by_key(|(_, class, _)| (class.place.source, class.place.span.start))
            .map(|(name, ..)| name.as_str())
    }

    /// What the policy says of an interface, if it says anything.
    pub fn interface(&self, name: &str) -> Option<&InterfacePolicy> {
        self.interfaces.get(name).or(self.any_interface.as_ref())
    }

    /// The first rule that matches, for a caller that named nothing.
    pub fn rule_for(&self, subject: &Subject) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches.admits(subject))
    }
}
