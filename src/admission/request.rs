//! Requests for flows and groups, and what is granted.

use flowspec::{Both, Micros, Moment, Qos, Rate, TSpec};

use super::account::window::Window;
use super::displaced::Displaced;
use crate::policy::{Class, GroupMode, Owner, PeerTimeouts, Policy};

/// What a new flow asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The flow's id; unique among the admitted flows.
    pub id: String,
    /// The interface it leaves and enters by.
    pub interface: String,
    /// The policy's class, which limits its rate, number and owner; without one only the interface's limits count.
    pub class: Option<String>,
    /// The group whose reservation it shares, if any.
    pub group: Option<String>,
    /// The client that requests it, if that is known.
    pub client: Option<String>,
    /// The owner, as far as it is known.
    pub owner: Owner,
    /// The flowspec of each direction; a service type of no traffic reserves nothing.
    pub qos: Qos,
    /// When it begins; now where it is absent or past.
    pub start: Option<Moment>,
    /// The first moment after it; absent where it lasts until it is released.
    pub end: Option<Moment>,
    /// How long it lasts without a refresh.
    pub time_to_live: Option<Micros>,
    /// Whether it waits to be notified of capacity where it is refused for lack of it.
    pub wait: bool,
    /// 0 best to 7; the class's where it is absent.
    pub setup_priority: Option<u8>,
    /// 0 best to 7, not worse than the setup priority; the class's where it is absent.
    pub holding_priority: Option<u8>,
}

/// The two names that every new flow has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewFlow<'a> {
    /// The flow's id; unique among the admitted flows.
    pub id: &'a str,
    /// The interface it leaves and enters by.
    pub interface: &'a str,
}

/// A request for a group: one reservation for several flows (lpGQOS).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupRequest {
    /// The group's id; groups have a namespace of their own.
    pub id: String,
    /// The one interface that its members use.
    pub interface: String,
    /// The policy's class whose share the group takes; without one only the interface's budget counts.
    pub class: Option<String>,
    /// What the interface charges: the group's flowspec, or its largest member's.
    pub mode: GroupMode,
    /// What the members may take together, in each direction.
    pub qos: Qos,
}

/// What the ledger has reserved for a flow, and how the flow is set up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grant {
    /// The charge to its group's budget, or to the interface's where it has no group.
    pub charged: Both<Rate>,
    /// The TSpec that is enforced; `None` in a direction without a reservation.
    pub tspec: Both<Option<TSpec>>,
    /// The code point for its packets, from the class.
    pub dscp: Option<u8>,
    /// How long the flow keeps its reservation without its peer.
    pub timeouts: PeerTimeouts,
    /// The flows that were preempted for it, least important first.
    pub preempted: Vec<Displaced>,
}

impl Request {
    /// A flow on an interface, from now until it is released, without class, group or client.
    pub fn new(flow: NewFlow<'_>, qos: Qos) -> Self {
        Self {
            id: flow.id.to_owned(),
            interface: flow.interface.to_owned(),
            class: None,
            group: None,
            client: None,
            owner: Owner::default(),
            qos,
            start: None,
            end: None,
            time_to_live: None,
            wait: false,
            setup_priority: None,
            holding_priority: None,
        }
    }

    /// A flow that is only asked about, by [`Operation::Query`](super::Operation::Query): its id is empty and names nothing.
    pub fn unnamed(interface: &str, qos: Qos) -> Self {
        Self::new(NewFlow { id: "", interface }, qos)
    }

    pub(crate) fn window(&self, now: Moment) -> Window {
        Window { start: self.start.unwrap_or(now).max(now), end: self.end }
    }

    /// Setup and holding priority: its own, or its class's. Where only one is given, the other follows.
    pub(crate) fn priorities(&self, class: Option<&Class>) -> (u8, u8) {
        let by_class = class.map_or((Policy::DEFAULT_PRIORITY, Policy::DEFAULT_PRIORITY), |class| {
            (class.setup_priority, class.holding_priority)
        });
        match (self.setup_priority, self.holding_priority) {
            (Some(setup), Some(holding)) => (setup, holding),
            (Some(setup), None) => (setup, by_class.1.min(setup)),
            (None, Some(holding)) => (by_class.0.max(holding), holding),
            (None, None) => by_class,
        }
    }
}
