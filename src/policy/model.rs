//! A checked policy: every name in it is defined, every number has its unit.

use std::collections::BTreeMap;

use flowspec::Qos;

use super::class::{Admission, Class};
use super::client::Client;
use super::daemon::DaemonPolicy;
use super::device::device_name_fault;
use super::interface::InterfacePolicy;
use super::owner::Owner;
use super::place::Place;
use super::proxy::Proxy;
use super::rule::{Rule, Subject};
use super::timeouts::PeerTimeouts;

/// What a policy knows of a flow: the names of its class and of its client.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowNames<'a> {
    /// `None` for a flow without a class.
    pub class: Option<&'a str>,
    /// The client, whose limits are those of the first pattern that matches its name.
    pub client: Option<&'a str>,
}

/// How much of each interface may be reserved, and by which flows.
///
/// ```
/// use gqos::policy::{Policy, Source};
///
/// let text = "version = 1\n[class.viewer]\nshare = \"60 Mbit\"\nmax_flow = 5\n";
/// let problems = Policy::parse(&[Source { name: "policy.toml", text }]).expect_err("a misspelt key");
/// assert_eq!(problems[0].help.as_deref(), Some("did you mean \"max_flows\"?"));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// By interface name; `*` is for every interface without a table of its own.
    pub interfaces: BTreeMap<String, InterfacePolicy>,
    /// `[interface."*"]`: applies to every interface that has no table of its own.
    pub any_interface: Option<InterfacePolicy>,
    /// The flowspecs that requests name, by template name.
    pub templates: BTreeMap<String, Template>,
    /// By class name, as rules and requests name it.
    pub classes: BTreeMap<String, Class>,
    /// The groups that exist from the start, by group name.
    pub groups: BTreeMap<String, Group>,
    /// In the order of the files; the first pattern that matches applies.
    pub clients: Vec<Client>,
    /// In the order of the files; the first rule that matches applies.
    pub rules: Vec<Rule>,
    /// The listeners in front of unmodified origins, by name.
    pub proxies: BTreeMap<String, Proxy>,
    /// The names of the sources, without directories.
    pub sources: Vec<String>,
    /// Whether a new flow may displace flows whose holding priority is worse than its setup priority.
    pub preemption: bool,
    /// How long a flow keeps its reservation without its peer.
    pub timeouts: PeerTimeouts,
    /// `[daemon]`: how the daemon is reached, and what one user may take of it.
    pub daemon: Option<DaemonPolicy>,
}

/// An interface, and one that may be below it.
#[derive(Clone, Copy, Debug)]
pub struct WireNames<'a> {
    /// The interface above, such as a VLAN.
    pub interface: &'a str,
    /// The interface that may send its packets.
    pub parent: &'a str,
}

/// A named QOS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// The flowspecs of both directions.
    pub qos: Qos,
    /// Where the template is defined.
    pub place: Place,
}

/// One reservation that several sockets share (lpGQOS).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// The only interface that its members may use.
    pub interface: String,
    /// The class whose share is charged.
    pub class: Option<String>,
    /// The group's own flowspec, or its largest member's.
    pub mode: GroupMode,
    /// The group's flowspecs.
    pub qos: Qos,
    /// Where the group is defined.
    pub place: Place,
}

/// Which flowspec the interface is charged for a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMode {
    /// The group's own flowspec, from its creation; the sum of the members stays within it.
    Envelope,
    /// The flowspec of its largest member.
    Shared,
}

impl GroupMode {
    /// The words of a policy file.
    pub(crate) const WORDS: [(&str, Self); 2] = [("envelope", Self::Envelope), ("shared", Self::Shared)];
}

impl Policy {
    /// The priority of a flow for which neither request nor class gives one, on the scale from 0 (best) to 7.
    pub const DEFAULT_PRIORITY: u8 = 4;

    /// A place as `file:line`: `streaming.toml:12`.
    pub fn locate(&self, place: &Place) -> Option<String> {
        let source = self.sources.get(place.source)?;
        (place.line > 0).then(|| format!("{source}:{}", place.line))
    }

    /// Whether the policy has classes for some owners alone.
    pub fn matches_owners(&self) -> bool {
        self.classes.values().any(|class| class.matches.is_some())
    }

    /// Whether a rule, a group or a proxy gives a class to flows.
    pub(super) fn assigns_class(&self, name: &str) -> bool {
        let of_rules = self.rules.iter().map(|rule| &rule.class);
        let of_groups = self.groups.values().map(|group| &group.class);
        let of_proxies = self.proxies.values().flat_map(|proxy| {
            proxy.rules.iter().map(|rule| &rule.class).chain(std::iter::once(&proxy.class))
        });
        of_rules.chain(of_groups).chain(of_proxies).any(|class| class.as_deref() == Some(name))
    }

    /// Whether any class has measured admission.
    pub fn has_measured_class(&self) -> bool {
        self.classes.values().any(|class| class.admission == Admission::Measured)
    }

    /// The timeouts of a flow: its client's, or else its class's, or else the policy's.
    pub fn timeouts_of(&self, names: FlowNames<'_>) -> PeerTimeouts {
        let FlowNames { class, client } = names;
        self.timeouts_under(class.and_then(|class| self.classes.get(class)), client)
    }

    /// The same for a flow of a class whose settings are known.
    pub(crate) fn timeouts_under(&self, class: Option<&Class>, client: Option<&str>) -> PeerTimeouts {
        let class = class.map(|class| class.timeouts);
        let client = client.and_then(|client| self.client(client)).map(|client| client.timeouts);
        self.timeouts.with(class.unwrap_or_default()).with(client.unwrap_or_default())
    }

    /// The limits of a client: those of the first pattern that matches its name.
    pub fn client(&self, name: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.matches(name))
    }

    /// The class of a flow whose caller names none: the first, in the order of the files, whose `match` conditions
    /// the owner meets.
    pub fn class_for(&self, owner: &Owner) -> Option<&str> {
        let conditional =
            self.classes.iter().filter_map(|(name, class)| Some((name, class, class.matches.as_ref()?)));
        let matching = conditional.filter(|(.., matches)| matches.is_met_by(owner));
        matching
            .min_by_key(|(_, class, _)| (class.place.source, class.place.span.start))
            .map(|(name, ..)| name.as_str())
    }

    /// The interface's own table, or `[interface."*"]` if an interface can have the name.
    pub fn interface(&self, name: &str) -> Option<&InterfacePolicy> {
        let any = || self.any_interface.as_ref().filter(|_| device_name_fault(name).is_none());
        self.interfaces.get(name).or_else(any)
    }

    /// Whether an interface sends on the wire of another, by the `parent` of both and of the interfaces between them.
    pub fn is_on_wire_of(&self, wire: WireNames<'_>) -> bool {
        let parent = |name: &&str| self.interface(name)?.parent.as_deref();
        // A checked policy has no circles.
        let below = std::iter::successors(Some(wire.interface), parent).take(1 + self.interfaces.len());
        below.skip(1).any(|name| name == wire.parent)
    }

    /// The rule for a caller that names neither template nor flowspec: the first that matches a flow on this interface.
    pub fn rule_for(&self, subject: &Subject, interface: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches.is_met_by(subject) && self.group_is_on(rule, interface))
    }

    /// Whether flows on this interface can join the rule's group; any interface will do for a rule without one.
    fn group_is_on(&self, rule: &Rule, interface: &str) -> bool {
        let group = rule.group.as_ref().and_then(|group| self.groups.get(group));
        group.is_none_or(|group| group.interface == interface)
    }

    /// The place of every definition.
    pub(super) fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        (self.interfaces.values_mut().chain(&mut self.any_interface))
            .map(|interface| &mut interface.place)
            .chain(self.templates.values_mut().map(|template| &mut template.place))
            .chain(self.classes.values_mut().map(|class| &mut class.place))
            .chain(self.groups.values_mut().map(|group| &mut group.place))
            .chain(self.clients.iter_mut().map(|client| &mut client.place))
            .chain(self.rules.iter_mut().map(|rule| &mut rule.place))
            .chain(self.proxies.values_mut().flat_map(|proxy| {
                std::iter::once(&mut proxy.place).chain(proxy.rules.iter_mut().map(|rule| &mut rule.place))
            }))
            .chain(self.daemon.iter_mut().map(|daemon| &mut daemon.place))
    }
}
