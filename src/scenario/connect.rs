//! The request of a `connect` step.

use core::net::{IpAddr, Ipv4Addr};

use flowspec::{Micros, Moment, Qos};

use super::names::IdPattern;
use super::requested::RequestedQos;
use crate::admission::{NewFlow, Request};
use crate::policy::{Owner, Protocol, Subject};

/// One or more flows, opened one after the other.
#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub(super) id: IdPattern,
    pub(super) interface: String,
    pub(super) class: Option<String>,
    pub(super) group: Option<String>,
    pub(super) client: Option<String>,
    pub(super) owner: Owner,
    pub(super) qos: RequestedQos,
    /// Counted from the time of the step.
    pub(super) start: Option<Micros>,
    pub(super) duration: Option<Micros>,
    pub(super) time_to_live: Option<Micros>,
    pub(super) wait: bool,
    pub(super) setup_priority: Option<u8>,
    pub(super) holding_priority: Option<u8>,
    /// The protocol, port and peer with which rules are looked up if the step names neither template nor flowspec.
    pub(super) protocol: Option<Protocol>,
    pub(super) local_port: Option<u16>,
    pub(super) peer: Option<IpAddr>,
}

impl Connect {
    /// The request of one of the flows, without its QOS.
    pub(super) fn request(&self, id: String, now: Moment) -> Request {
        let mut request = Request::new(NewFlow { id: &id, interface: &self.interface }, Qos::BEST_EFFORT);
        request.class.clone_from(&self.class);
        request.group.clone_from(&self.group);
        request.client.clone_from(&self.client);
        request.owner.clone_from(&self.owner);
        let start = now.saturating_add(self.start.unwrap_or_default());
        request.start = Some(start);
        request.end = self.duration.map(|duration| start.saturating_add(duration));
        request.time_to_live = self.time_to_live;
        request.wait = self.wait;
        (request.setup_priority, request.holding_priority) = (self.setup_priority, self.holding_priority);
        request
    }

    /// What rules are looked up with.
    pub(super) fn subject(&self) -> Subject {
        Subject {
            protocol: self.protocol.unwrap_or(Protocol::Tcp),
            local_port: self.local_port.unwrap_or_default(),
            peer: self.peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        }
    }
}
