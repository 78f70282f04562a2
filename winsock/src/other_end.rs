//! Both ends of a flow in this process: each learns that the other one has QoS.
//!
//! Sockets of plain TCP and UDP exchange no messages about their reservations. Where both are sockets of this provider, the
//! provider knows of both.

use std::net::SocketAddr;

use flowspec::Both;

use super::endpoint::{ConnectionPhase, Endpoint};
use super::network_events::EventSet;
use super::socket_table;
use crate::sys;

/// The addresses of one end of a flow.
#[derive(Clone, Debug)]
struct Addresses {
    local: SocketAddr,
    /// Where it sends: its peer, its multicast session, or the address of QOS_DESTADDR.
    destination: Option<SocketAddr>,
    /// The kernel takes only what the destination sends.
    is_connected: bool,
    /// The multicast session that it receives.
    receives_session: Option<SocketAddr>,
    /// The interfaces on which it has a reservation; none where it has no reservation.
    interfaces: Vec<String>,
}

impl Addresses {
    /// Whether what this end sends goes to the other one.
    fn reaches(&self, other: &Self) -> bool {
        let Some(to) = self.destination else { return false };
        if to.ip().is_multicast() {
            return other.receives_session == Some(to) && self.shares_interface(other);
        }
        let is_local = to.ip().is_loopback() || [self.local.ip(), other.local.ip()].contains(&to.ip());
        let same_ip = to.ip() == other.local.ip() || other.local.ip().is_unspecified();
        is_local && to.port() == other.local.port() && same_ip
    }

    /// Whether the other end takes what this one sends.
    fn is_taken_by(&self, other: &Self) -> bool {
        self.reaches(other) && (!other.is_connected || other.reaches(self))
    }

    fn shares_interface(&self, other: &Self) -> bool {
        let is_unknown = self.interfaces.is_empty() || other.interfaces.is_empty();
        is_unknown || self.interfaces.iter().any(|interface| other.interfaces.contains(interface))
    }

    /// Whether both are ends of one flow.
    fn face(&self, other: &Self) -> bool {
        self.is_taken_by(other) || other.is_taken_by(self)
    }
}

impl Endpoint {
    /// Has FD_QOS report WSA_QOS_RECEIVERS and WSA_QOS_SENDERS at both ends, where the other end of this socket's flow is
    /// a socket of this process that has QoS too. Each end is notified once for each direction.
    pub(crate) fn note_end_in_process(&self) {
        if self.carries_connect_data() {
            return;
        }
        let own = self.state().qos.requested_directions();
        if own == Both::default() {
            return;
        }
        let Some(addresses) = self.addresses() else { return };
        let is_other_end = |other: &Self| {
            !std::ptr::eq(other, self)
                && other.socket_type == self.socket_type
                && other.family == self.family
                && other.has_requested()
                && other.addresses().is_some_and(|others| addresses.face(&others))
        };
        for other in socket_table::find(is_other_end) {
            let others = other.state().qos.requested_directions();
            // What one end sends, the other one receives.
            self.note_end(Both { sending: others.receiving, receiving: others.sending });
            other.note_end(Both { sending: own.receiving, receiving: own.sending });
        }
    }

    /// Notes the directions, from this end's side, for which the other end has QoS.
    pub(crate) fn note_end(&self, other: Both<bool>) {
        self.state().qos.note_other_end(other);
        if self.events.selects(EventSet::QOS) {
            self.announce_other_end();
        }
    }

    fn has_requested(&self) -> bool {
        self.state().qos.requested_directions() != Both::default()
    }

    fn addresses(&self) -> Option<Addresses> {
        let (destination, is_connected, receives_session, interfaces) = {
            let state = self.state();
            let is_connected = state.phase == ConnectionPhase::Connected;
            let target = || state.session.or(state.qos.provider_specific.destination);
            let destination = if self.is_stream() { state.peer } else { state.peer.or_else(target) };
            // A datagram socket that sends gets its local address with the first datagram.
            let has_end = if self.is_stream() { is_connected } else { state.bound || destination.is_some() };
            if !has_end {
                return None;
            }
            let held = state.qos.reservation.as_ref();
            let interfaces = held.map(|held| held.decision.totals.keys().cloned().collect());
            (destination, is_connected, state.receives_session, interfaces.unwrap_or_default())
        };
        let local = sys::local_address(&self.fd).ok()?;
        Some(Addresses { local, destination, is_connected, receives_session, interfaces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn end(local: &str, peer: Option<&str>) -> Addresses {
        Addresses {
            local: address(local),
            destination: peer.map(address),
            is_connected: peer.is_some(),
            receives_session: None,
            interfaces: Vec::new(),
        }
    }

    /// An end that sends without being connected.
    fn sender(local: &str, to: &str) -> Addresses {
        Addresses { is_connected: false, ..end(local, Some(to)) }
    }

    #[track_caller]
    fn check(name: &str, one: &Addresses, other: &Addresses, expected: bool) {
        assert_eq!((one.face(other), other.face(one)), (expected, expected), "{name}");
    }

    #[test]
    fn ends_face_each_other_by_their_addresses() {
        let client = end("127.0.0.1:5000", Some("127.0.0.1:80"));
        check("connected", &client, &end("127.0.0.1:80", Some("127.0.0.1:5000")), true);
        check("another client's", &client, &end("127.0.0.1:80", Some("127.0.0.1:5001")), false);
        check("without a peer", &client, &end("0.0.0.0:80", None), true);
        check("another port", &client, &end("0.0.0.0:81", None), false);
        check("another address of this host", &client, &end("10.0.0.1:80", None), false);
        let remote = end("10.0.0.1:5000", Some("10.0.0.2:80"));
        check("a port of another host", &remote, &end("0.0.0.0:80", None), false);
        check("neither has a peer", &end("0.0.0.0:80", None), &end("0.0.0.0:81", None), false);
    }

    #[test]
    fn a_sender_faces_the_socket_at_its_destination() {
        let unbound = sender("0.0.0.0:0", "127.0.0.1:80");
        check("at the address", &unbound, &end("127.0.0.1:80", None), true);
        check("at every address", &unbound, &end("0.0.0.0:80", None), true);
        check("at another port", &unbound, &end("127.0.0.1:81", None), false);
        check("connected to another socket", &unbound, &end("127.0.0.1:80", Some("127.0.0.1:5000")), false);
        let bound = sender("127.0.0.1:5000", "127.0.0.1:80");
        check("connected to it", &bound, &end("127.0.0.1:80", Some("127.0.0.1:5000")), true);
        let to_this_host = sender("0.0.0.0:0", "10.0.0.1:80");
        check("an address of this host", &to_this_host, &end("10.0.0.1:80", None), true);
        check("perhaps of another host", &to_this_host, &end("0.0.0.0:80", None), false);
    }

    #[test]
    fn the_leaves_of_a_session_face_each_other_on_one_interface() {
        let on = |end: &Addresses, interface: &str| Addresses {
            interfaces: vec![interface.into()],
            ..end.clone()
        };
        let session = address("239.1.2.3:80");
        let sends = sender("0.0.0.0:0", "239.1.2.3:80");
        let receives = Addresses { receives_session: Some(session), ..end("0.0.0.0:80", None) };
        check("of one session", &sends, &receives, true);
        check("on one interface", &on(&sends, "lo"), &on(&receives, "lo"), true);
        check("on two", &on(&sends, "lo"), &on(&receives, "eth0"), false);
        let other = Addresses { receives_session: Some(address("239.1.2.4:80")), ..receives.clone() };
        check("of two sessions", &sends, &other, false);
        check("not a member", &sends, &end("0.0.0.0:80", None), false);
        check("two that send", &sends, &sends.clone(), false);
        check("two that receive", &receives, &receives.clone(), false);
    }
}
