//! A policy that has been checked: every name resolves, every number is in its unit.

use std::collections::BTreeMap;
use std::ops::Range;

use flowspec::{Both, Direction, Flowspec, Qos, Rate, Share};

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
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
}

/// Where something stands in the sources: which one, and which of its bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The number of the source, in the order given.
    pub source: usize,
    /// Byte offsets in its text.
    pub span: Range<usize>,
}

/// What one interface may promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfacePolicy {
    /// Egress (sending) and ingress (receiving).
    pub budgets: Both<Budget>,
    /// How promises are kept.
    pub enforcement: Enforcement,
    /// What happens to flows that no longer fit after a capacity drop.
    pub on_capacity_drop: OnCapacityDrop,
    /// Where it is defined.
    pub place: Place,
}

/// How much of a direction may be promised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// What the link carries.
    pub capacity: Capacity,
    /// The part of it that may be promised.
    pub reservable: Share,
}

/// What a link carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capacity {
    /// The link speed that the kernel reports.
    Auto,
    /// This much.
    Rate(Rate),
}

/// How promises are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// By tc where it can be programmed, else by user space alone, which is then said.
    Auto,
    /// By tc and user space; refused where tc cannot be programmed.
    Kernel,
    /// By user space alone.
    UserSpace,
}

/// What happens to flows that no longer fit after a capacity drop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnCapacityDrop {
    /// They stay; nothing new is admitted until they fit again.
    Keep,
    /// The least important are ended until the rest fits.
    Shed,
}

/// A named QOS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// What it asks for.
    pub qos: Qos,
    /// Where it is defined.
    pub place: Place,
}

/// A kind of flow: its share, limits and marks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Class {
    /// What the class may hold of an interface's budget, per direction; classes may overlap (MAM).
    /// All of it where nothing is given.
    pub share: Option<Share>,
    /// How many flows it may hold on an interface.
    pub max_flows: Option<u64>,
    /// The most one flow may be charged.
    pub max_rate: Option<Rate>,
    /// Controlled load is charged its rate divided by this, in thousandths.
    pub overbooking_thousandths: u64,
    /// 0 best to 7.
    pub setup_priority: u8,
    /// 0 best to 7; not worse than `setup_priority`.
    pub holding_priority: u8,
    /// The DS field's code point for the class's packets.
    pub dscp: Option<u8>,
    /// Where it is defined.
    pub place: Place,
}

impl Policy {
    /// What the policy says of an interface, if it says anything.
    pub fn interface(&self, name: &str) -> Option<&InterfacePolicy> {
        self.interfaces.get(name).or(self.any_interface.as_ref())
    }

    /// The first rule that matches, for a caller that named nothing.
    pub fn rule_for(&self, subject: &Subject) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches.admits(subject))
    }
}

impl Budget {
    /// The budget: `floor(capacity × reservable)`; an absolute `reservable` is at most the capacity.
    pub fn reservable_of(&self, capacity: Rate) -> Rate {
        self.reservable.of(capacity).min(capacity)
    }
}

impl InterfacePolicy {
    /// The budget of a direction.
    pub const fn budget(&self, direction: Direction) -> &Budget {
        self.budgets.get(direction)
    }
}

impl Class {
    /// What a flowspec takes from this class's budgets: r, and for controlled load r divided by the
    /// overbooking, rounded up.
    pub fn charge(&self, spec: &Flowspec) -> Rate {
        let rate = spec.token_rate.unwrap_or_default();
        match spec.service_type {
            flowspec::ServiceType::ControlledLoad => rate.scale_up(1000, self.overbooking_thousandths),
            _ => rate,
        }
    }
}
