//! The parameters of the methods.

use core::net::IpAddr;

use flowspec::{Both, Bytes, Flowspec, Micros};
use serde::{Deserialize, Serialize};

use crate::policy::{GroupMode, Protocol};

/// What a flow asks for, and where: the fields of a line of a trace, with times from now on in place of moments, and with
/// what decides the interface.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReserveCall {
    /// The flow's id, unique on the host; the daemon chooses one where this is absent.
    pub id: Option<String>,
    /// Claims the reservation of this id that was granted with this epoch, by a client that has connected again. Where it
    /// is there no more, the flow is a new one.
    pub epoch: Option<String>,
    /// The interface by which the packets leave; the route to `peer` decides where this is absent.
    pub interface: Option<String>,
    /// The peer's address. Either this or `interface` has to be given.
    pub peer: Option<IpAddr>,
    /// The transport, for the policy's rules; TCP where it is absent.
    pub protocol: Option<Protocol>,
    /// The local port, for the policy's rules.
    pub local_port: Option<u16>,
    /// What else decides the route.
    pub route: Option<RouteHints>,
    /// The policy's class.
    pub class: Option<String>,
    /// The group whose reservation the flow shares.
    pub group: Option<String>,
    /// The client that the flow is counted for.
    pub client: Option<String>,
    /// A template of the policy. Without this, `templates` and flowspecs, the policy's first rule that matches decides.
    pub template: Option<String>,
    /// The first of these that fits, best first.
    pub templates: Option<Vec<String>>,
    /// The flowspec for sending, in place of a template.
    pub sending: Option<Flowspec>,
    /// The flowspec for receiving, in place of a template.
    pub receiving: Option<Flowspec>,
    /// When the reservation begins, from now; at once where this is absent.
    pub starts_in_us: Option<Micros>,
    /// When it ends, from now; with its release where this is absent.
    pub ends_in_us: Option<Micros>,
    /// How long it lasts without a refresh.
    pub ttl_us: Option<Micros>,
    /// Whether a flow that is refused for lack of capacity enters the waiting queue.
    pub wait: Option<bool>,
    /// 0 (best) to 7; that of the class where it is absent.
    pub setup_priority: Option<u8>,
    /// 0 (best) to 7, not worse than `setup_priority`; that of the class where it is absent.
    pub holding_priority: Option<u8>,
    /// Whether the answer has the parts of the decision in place of the flat record.
    pub details: Option<bool>,
}

/// What decides the route of a flow's packets beside the peer's address. Absent fields are those of a socket without an
/// option.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteHints {
    /// The scope id of a link-local peer.
    pub scope: u32,
    /// The number of the interface that the socket is bound to.
    pub device: u32,
    /// The mark of the socket's packets.
    pub mark: u32,
    /// The address that the socket is bound to.
    pub source: Option<IpAddr>,
    /// The ports, by which rules match and multipath routes choose.
    pub ports: Option<RoutePorts>,
}

/// The transport of a flow and its ports.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoutePorts {
    /// The protocol's number: IPPROTO_TCP or IPPROTO_UDP.
    pub protocol: u8,
    /// The port of this host; 0 while it is not known.
    pub local: u16,
    /// The port of the peer; 0 while it is not known.
    pub peer: u16,
}

/// A reservation by its id.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FlowId {
    /// The id that the decision names.
    pub id: String,
}

/// A method without parameters.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Other flowspecs for a reservation. An absent direction stays as it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenegotiateCall {
    /// The id of the reservation.
    pub id: String,
    /// A template of the policy, in place of flowspecs.
    pub template: Option<String>,
    /// The flowspec for sending.
    pub sending: Option<Flowspec>,
    /// The flowspec for receiving.
    pub receiving: Option<Flowspec>,
    /// Whether the answer has the parts of the decision in place of the flat record.
    pub details: Option<bool>,
}

/// The end of a group.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UngroupCall {
    /// The id of the group.
    pub id: String,
    /// Whether the answer has the parts of the decision in place of the flat record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<bool>,
}

/// A prolongation of a reservation that was made with a time to live.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshCall {
    /// The id of the reservation.
    pub id: String,
    /// How long it lasts from now on.
    pub ttl_us: Micros,
    /// Whether the answer has the parts of the decision in place of the flat record.
    #[serde(default)]
    pub details: Option<bool>,
}

/// The end of a reservation, or of a wait for capacity.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseCall {
    /// The id of the reservation.
    pub id: String,
    /// The tokens that are missing from the flow's bucket in each direction; null where it has none in user space.
    pub missing: Option<Both<Option<Bytes>>>,
    /// The tokens that the flow's sends have taken in all.
    pub sent: Option<Bytes>,
    /// Whether the flow has ended since its peer is gone.
    pub peer_gone: Option<bool>,
}

/// What is free on an interface, and when a flow would fit.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryCall {
    /// The interface; the route to `peer` decides where this is absent.
    pub interface: Option<String>,
    /// The peer's address. Either this or `interface` has to be given.
    pub peer: Option<IpAddr>,
    /// The class of the flow that is asked about. Without any of what follows, the answer says what is free.
    pub class: Option<String>,
    /// The flow's group.
    pub group: Option<String>,
    /// The flow's client.
    pub client: Option<String>,
    /// The flow's template.
    pub template: Option<String>,
    /// The flow's flowspec for sending.
    pub sending: Option<Flowspec>,
    /// The flow's flowspec for receiving.
    pub receiving: Option<Flowspec>,
    /// Whether the answer has the parts of the decision in place of the flat record.
    pub details: Option<bool>,
}

/// What a stream of notices is about.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WaitCall {
    /// One flow; all that the caller's process has reserved where this is absent.
    pub id: Option<String>,
}

/// A reservation, and the socket of a process that the caller may trace.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdoptCall {
    /// The id of the reservation.
    pub id: String,
    /// The process that has the socket.
    pub pid: u32,
    /// The number of its descriptor in that process.
    pub fd: u32,
}

/// A group: one reservation for several flows.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupCall {
    /// The group's id; groups have a namespace of their own.
    pub id: String,
    /// The interface that all members use.
    pub interface: String,
    /// The policy's class.
    pub class: Option<String>,
    /// How the interface is charged; an envelope where this is absent.
    pub mode: Option<GroupMode>,
    /// A template of the policy, in place of flowspecs.
    pub template: Option<String>,
    /// What the members may send together.
    pub sending: Option<Flowspec>,
    /// What the members may receive together.
    pub receiving: Option<Flowspec>,
    /// Whether the answer has the parts of the decision in place of the flat record.
    pub details: Option<bool>,
}

/// The packets whose interface is asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EgressCall {
    /// The peer's address.
    pub peer: IpAddr,
    /// What else decides the route.
    #[serde(default)]
    pub route: Option<RouteHints>,
}

/// Which flows are listed, and in which order.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowsCall {
    /// Those of one interface; all where this is absent.
    pub interface: Option<String>,
    /// Those whose id, interface, class, client or group contains this text, in letters of either case.
    pub contains: Option<String>,
    /// The order; by id where this is absent. Of equals, the ids decide.
    pub sort: Option<FlowOrder>,
    /// How many of the first are left out.
    pub first: Option<usize>,
    /// How many there are at most. With this, what is listed may be as old as ten times the time that it takes to read it.
    pub most: Option<usize>,
    /// Whether each flow has what the kernel has counted of it.
    pub traffic: Option<bool>,
}

/// An order of flows. Rates, counts and times begin with the highest, names with the first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields of a flow's record")]
pub enum FlowOrder {
    #[default]
    Id,
    Interface,
    /// Both directions together.
    Rate,
    Sending,
    Receiving,
    Used,
    Delayed,
    Dropped,
    BelowPromise,
    Age,
    Class,
    Client,
    Group,
    Uid,
}

/// How much a status says.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusCall {
    /// Whether it has the kernel's classes.
    pub classes: Option<bool>,
    /// Whether it has the groups, and what the kernel has counted of the flows of interfaces, classes and groups. Without
    /// `classes`, what the kernel counts is as old as the last reading then: half a second, and longer with thousands of flows.
    pub sums: Option<bool>,
}

/// Whether new flows are admitted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainCall {
    /// New flows are admitted again.
    pub resume: Option<bool>,
}

/// The interface to be described.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GetInterfaceDescription {
    /// Its name.
    pub interface: String,
}
