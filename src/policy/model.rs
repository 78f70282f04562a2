//! A policy that has been checked: every name resolves, every number is in its unit.

use std::collections::BTreeMap;
use std::ops::Range;

use flowspec::{Both, Bytes, Direction, ErrorTerms, Micros, Qos, Rate, Share};

use super::owner::{Owner, OwnerMatch};
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

/// Where something stands in the sources: which one, and which of its bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The number of the source, in the order given.
    pub source: usize,
    /// Byte offsets in its text.
    pub span: Range<usize>,
    /// The line where it begins, from 1; 0 where nobody has counted.
    pub line: usize,
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
    /// How classes share the budget.
    pub class_model: ClassModel,
    /// The largest IP datagram, where the policy knows better than the kernel.
    pub mtu: Option<Bytes>,
    /// What the path adds to every packet's delay, however fast it is served.
    pub path_latency: Micros,
    /// How many flows there may be.
    pub max_flows: Option<u64>,
    /// What the flows' buffer needs may come to, per direction.
    pub buffer: Option<Bytes>,
    /// Whether latency and delay variation are part of the test.
    pub delay: bool,
    /// C and D of the path, instead of those of the programmed tree.
    pub error_terms: Option<ErrorTerms>,
    /// Whether a foreign root qdisc may be replaced.
    pub takeover: bool,
    /// What keeps a link that comes and goes from taking the flows along.
    pub hysteresis: Option<Hysteresis>,
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
    /// What is kept for traffic without a reservation, whatever is reservable.
    pub min_best_effort: Option<Share>,
}

/// How classes share a budget. Source: RFC 4125, 4126, 4127.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClassModel {
    /// Maximum allocation: each class within its share; shares may overlap.
    Mam,
    /// Russian dolls: all classes of a type and of those inside it within that type's shares.
    Rdm,
    /// Reservation thresholds: a class above its share may go on while this part of the budget stays free.
    Mar(Share),
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

/// When a link's capacity counts that is not what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hysteresis {
    /// A rise counts once it has lasted so long.
    pub time: Micros,
    /// Nobody has to go for a drop of less than this part of the capacity.
    pub change: Share,
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
    /// Controlled load is charged its rate divided by this, in thousandths. Where admission is measured it
    /// is charged its rate, and this is how far what is measured may lower the sum.
    pub overbooking_thousandths: u64,
    /// 0 best to 7.
    pub setup_priority: u8,
    /// 0 best to 7; not worse than `setup_priority`.
    pub holding_priority: u8,
    /// Orders the Russian dolls, 0 the outermost to 7.
    pub class_type: u8,
    /// What a flow is charged.
    pub allocate: Allocate,
    /// Whether its controlled load counts as declared or as measured.
    pub admission: Admission,
    /// Whose flows it is for; everybody's where there is nothing.
    pub matches: Option<OwnerMatch>,
    /// The DS field's code point for the class's packets.
    pub dscp: Option<u8>,
    /// Where it is defined.
    pub place: Place,
}

/// What a flow is charged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allocate {
    /// What its service needs: r, or R where a delay needs more.
    Rate,
    /// p: it may then always send at its peak.
    Peak,
}

/// How controlled load counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// By the sum of what flows have declared.
    Declared,
    /// By what they were measured to send, with a margin; by the sum where there is no measurement.
    Measured,
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

/// What each client whose name matches may have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// The pattern: `*` stands for any characters.
    pub pattern: String,
    /// How many flows.
    pub max_flows: Option<u64>,
    /// What its flows may be charged together, per direction.
    pub max_rate: Option<Rate>,
    /// How many requests a second; as many may come at once after a pause.
    pub requests_per_second: Option<u64>,
    /// How far ahead it may book.
    pub horizon: Option<Micros>,
    /// The best setup priority it may ask for.
    pub best_setup_priority: Option<u8>,
    /// Where it is defined.
    pub place: Place,
}

impl Client {
    /// Whether the pattern is for this client.
    pub fn matches(&self, client: &str) -> bool {
        let mut parts = self.pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = client.strip_prefix(first) else { return false };
        let parts: Vec<_> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
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

impl Budget {
    /// So much of a link may be promised.
    pub const fn new(capacity: Capacity, reservable: Share) -> Self {
        Self { capacity, reservable, min_best_effort: None }
    }

    /// The budget: `floor(capacity × reservable)`, and not more than `min_best_effort` leaves; an absolute
    /// `reservable` is at most the capacity.
    pub fn reservable_of(&self, capacity: Rate) -> Rate {
        let kept = self.min_best_effort.map_or(Rate::ZERO, |share| share.of(capacity));
        self.reservable.of(capacity).min(capacity.saturating_sub(kept))
    }
}

impl InterfacePolicy {
    /// What a policy means that says nothing but budgets.
    pub fn new(budgets: Both<Budget>) -> Self {
        Self {
            budgets,
            enforcement: Enforcement::Auto,
            on_capacity_drop: OnCapacityDrop::Keep,
            class_model: ClassModel::Mam,
            mtu: None,
            path_latency: Micros::new(0),
            max_flows: None,
            buffer: None,
            delay: true,
            error_terms: None,
            takeover: false,
            hysteresis: None,
            place: Place::default(),
        }
    }

    /// The budget of a direction.
    pub const fn budget(&self, direction: Direction) -> &Budget {
        self.budgets.get(direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let matches = |pattern: &str, name: &str| {
            let client = Client {
                pattern: pattern.into(),
                max_flows: None,
                max_rate: None,
                requests_per_second: None,
                horizon: None,
                best_setup_priority: None,
                place: Place::default(),
            };
            client.matches(name)
        };
        assert!(matches("origin-*", "origin-1") && matches("origin-*", "origin-"));
        assert!(!matches("origin-*", "my-origin-1"));
        assert!(matches("*", "") && matches("*", "anyone"));
        assert!(matches("a*b*c", "a-b-b-c") && matches("a*a", "aa") && !matches("a*a", "a"));
        assert!(matches("one", "one") && !matches("one", "one-more"));
    }
}
