//! Multicast: WSPJoinLeaf and memberships.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use flowspec::{Direction, Errno, Flowspec, Wsa};

use super::Result;
use super::connect::ConnectRequest;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::provider::check_started;
use crate::sys::{self, MulticastInterface};

/// The part of a leaf in its multicast session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeafRole {
    /// JL_SENDER_ONLY.
    Sender,
    /// JL_RECEIVER_ONLY.
    Receiver,
    /// JL_BOTH.
    Both,
}

impl Endpoint {
    /// Joins a multicast session. The requested QOS is reserved first. A leaf that sends does so to the session, by `send`
    /// or `send_to`, and is shaped. The session has no root, and the leaf is the socket itself.
    ///
    /// A receiver without a local address is bound to the session's port. It becomes a member on the interface that
    /// IP_MULTICAST_IF or IPV6_MULTICAST_IF selects, else on that of the route.
    ///
    /// - **Errors**: WSAEOPNOTSUPP for a stream, or where the QOS is refused; WSAEADDRNOTAVAIL for an address that is
    ///   not multicast; WSAEISCONN where the socket has a peer; before that, those of [`connect`](Self::connect).
    /// - **Source**: WSPJoinLeaf.
    pub fn join_leaf(
        self: &Arc<Self>,
        session: SocketAddr,
        request: &ConnectRequest<'_>,
        role: LeafRole,
    ) -> Result<()> {
        check_started()?;
        self.check_family(session)?;
        if self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        if !session.ip().is_multicast() || session.port() == 0 {
            return Err(Wsa::Eaddrnotavail);
        }
        let bound = {
            let state = self.state();
            if state.phase == ConnectionPhase::Connected {
                return Err(Wsa::Eisconn);
            }
            state.bound
        };
        let mut request = *request;
        if let Some(sqos) = &mut request.sqos {
            match role {
                LeafRole::Sender => *sqos.get_mut(Direction::Receiving) = Flowspec::BEST_EFFORT,
                LeafRole::Receiver => *sqos.get_mut(Direction::Sending) = Flowspec::BEST_EFFORT,
                LeafRole::Both => {}
            }
        }
        let mut pending = self.reserve_connection(session, &request)?;
        if role != LeafRole::Sender {
            if !bound {
                let wildcard = match session {
                    SocketAddr::V4(v4) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, v4.port())),
                    SocketAddr::V6(v6) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, v6.port())),
                };
                self.bind(wildcard)?;
            }
            let interface = sys::selected_interface(self.family, self.state().multicast_interface);
            sys::join_multicast(&self.fd, session.ip(), interface).map_err(Errno::wsa)?;
        }
        pending.commit(self, session.ip())?;
        {
            let mut state = self.state();
            state.session = Some(session).filter(|_| role != LeafRole::Receiver);
            state.receives_session = Some(session).filter(|_| role != LeafRole::Sender);
            state.qos.forget_other_end();
        }
        self.note_end_in_process();
        Ok(())
    }

    /// Makes the socket a member of a multicast group, without a reservation.
    ///
    /// - **Errors**: WSAENOPROTOOPT for a stream; WSAEADDRNOTAVAIL for an address that is not multicast, or where there
    ///   is no such interface; WSAEADDRINUSE where the socket is a member already.
    /// - **Source**: IP_ADD_MEMBERSHIP and IPV6_ADD_MEMBERSHIP.
    pub fn join_multicast(&self, group: IpAddr, interface: MulticastInterface) -> Result<()> {
        self.check_membership(group)?;
        sys::join_multicast(&self.fd, group, interface).map_err(Errno::wsa)
    }

    /// Ends a membership.
    ///
    /// - **Errors**: those of [`join_multicast`](Self::join_multicast); WSAEADDRNOTAVAIL where the socket is no member.
    /// - **Source**: IP_DROP_MEMBERSHIP and IPV6_DROP_MEMBERSHIP.
    pub fn leave_multicast(&self, group: IpAddr, interface: MulticastInterface) -> Result<()> {
        self.check_membership(group)?;
        sys::leave_multicast(&self.fd, group, interface).map_err(Errno::wsa)?;
        self.state().receives_session.take_if(|session| session.ip() == group);
        Ok(())
    }

    fn check_membership(&self, group: IpAddr) -> Result<()> {
        check_started()?;
        self.check_family(SocketAddr::new(group, 0))?;
        if self.is_stream() {
            return Err(Wsa::Enoprotoopt);
        }
        if group.is_multicast() { Ok(()) } else { Err(Wsa::Eaddrnotavail) }
    }
}
