//! Requests for reservations, and what the engine adds to them.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::Qos;

use super::ask::Ask;
use crate::linux::{Link, RouteQuery, RouteSelectors};
use crate::policy::{Owner, Protocol, Subject};
use crate::tc::Arriving;

/// A client's request for a reservation, for callers that set their sockets up themselves.
///
/// ```no_run
/// use std::net::IpAddr;
///
/// use gqos::connect::{Ask, ConnectError, Host, ReservationRequest};
/// use gqos::engine::Granted;
/// use gqos::policy::{Protocol, Subject};
///
/// /// The reservation lasts as long as what is returned.
/// async fn reserve(host: &Host, peer: IpAddr) -> Result<Granted, ConnectError> {
///     let subject = Subject { protocol: Protocol::Udp, local_port: 5004, peer };
///     let granted = host.reserve(ReservationRequest::new(Ask::template("voice"), subject)).await?;
///     // SO_PRIORITY of the socket selects this class.
///     println!("{}: {:?}", granted.decision.message(), granted.admitted.class);
///     // The socket is set up: the flow is no longer provisional.
///     granted.reservation.connected();
///     Ok(granted)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ReservationRequest {
    /// What the flow is to get.
    pub ask: Ask,
    /// The flow's transport, local port and peer: the peer decides the interface, all three the policy's rule.
    pub subject: Subject,
    /// What else decides the interface: the options of the flow's socket, and the scope id of its peer.
    pub selectors: RouteSelectors,
    /// The credentials that the policy's classes are matched against. `None` is this process: an engine in the same
    /// process looks them up if the policy needs them, a remote one takes those of the connection.
    pub owner: Option<Owner>,
    /// The interface by which the packets leave, where the socket selects one for a multicast peer. Where this is `None`, or
    /// no interface has the name, the route to the peer decides.
    pub interface: Option<String>,
}

impl ReservationRequest {
    /// A request whose owner is this process.
    pub const fn new(ask: Ask, subject: Subject) -> Self {
        let selectors =
            RouteSelectors { scope: 0, device: 0, mark: 0, source: None, user: None, ports: None };
        Self { ask, subject, selectors, owner: None, interface: None }
    }

    /// The packets of the flow.
    pub(super) const fn route(&self) -> RouteQuery {
        RouteQuery { peer: self.subject.peer, selectors: self.selectors }
    }
}

/// Flowspecs that a request accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rendition {
    /// The name of the policy's template that has them; `None` for flowspecs of the request's own, and for best effort.
    pub template: Option<String>,
    /// One for each direction.
    pub qos: Qos,
}

/// What the packets that a flow receives have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceivedPackets {
    /// Decides between TCP and UDP ports in the filter.
    pub protocol: Protocol,
    /// The address and port that the packets come from.
    pub peer: SocketAddr,
    /// The port of this host that they are sent to.
    pub local_port: u16,
}

impl ReceivedPackets {
    /// The same for the filters of a tree, with the transport's number in IP headers.
    pub(super) const fn arriving(self) -> Arriving {
        let Self { protocol, peer, local_port } = self;
        Arriving { protocol: protocol.number(), peer, local_port }
    }
}

/// What the engine adds to a request before its policy resolves it.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// The flow's id.
    pub(super) id: String,
    /// The link by which the peer is reached.
    pub(super) link: Arc<Link>,
    /// The credentials of the caller, as far as the policy needs them.
    pub(super) owner: Owner,
}

/// A client's request on its way to the engine's task.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) request: ReservationRequest,
    pub(super) placement: Placement,
}
