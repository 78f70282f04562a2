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
#[derive(Clone, Copy, Debug)]
struct Addresses {
    local: SocketAddr,
    /// `None` for a datagram socket that takes datagrams of every sender.
    peer: Option<SocketAddr>,
}

impl Addresses {
    /// Whether the peer of this end is the other one.
    fn reaches(&self, other: &Self) -> bool {
        let is_local = |peer: &SocketAddr| peer.ip().is_loopback() || peer.ip() == self.local.ip();
        let same_ip = |peer: &SocketAddr| peer.ip() == other.local.ip() || other.local.ip().is_unspecified();
        self.peer.is_some_and(|peer| is_local(&peer) && peer.port() == other.local.port() && same_ip(&peer))
    }

    /// Whether both are ends of one flow.
    fn face(&self, other: &Self) -> bool {
        match (self.peer, other.peer) {
            (Some(_), Some(_)) => self.reaches(other) && other.reaches(self),
            (Some(_), None) => self.reaches(other),
            (None, Some(_)) => other.reaches(self),
            (None, None) => false,
        }
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
        let peer = {
            let state = self.state();
            if !state.bound || self.is_stream() && state.phase != ConnectionPhase::Connected {
                return None;
            }
            state.peer
        };
        Some(Addresses { local: sys::local_address(&self.fd).ok()?, peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(local: &str, peer: Option<&str>) -> Addresses {
        let address = |text: &str| text.parse().expect("an address");
        Addresses { local: address(local), peer: peer.map(address) }
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
}
