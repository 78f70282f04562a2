//! Multicast: a datagram socket joins a session as its leaf.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use flowspec::{Direction, Wsa};

use super::Result;
use super::connect::Connecting;
use super::provider::running;
use super::socket::{Endpoint, Phase};
use crate::sys::raw::{self, By};

/// What a leaf does in its session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// JL_SENDER_ONLY.
    Sender,
    /// JL_RECEIVER_ONLY.
    Receiver,
    /// JL_BOTH.
    Both,
}

impl Endpoint {
    /// Joins a multicast session, with the quality that is asked for reserved first: what is sent there, by
    /// `send_to`, is held to it. The session has no root, and the socket stays the one it is.
    ///
    /// A receiver is bound to the session's port where it is not bound.
    ///
    /// - **Errors**: WSAEOPNOTSUPP for a stream, and where the quality cannot be satisfied; WSAEADDRNOTAVAIL where
    ///   the address is none of a session; WSAEISCONN where the socket has a peer; those of
    ///   [`connect`](Self::connect) before that.
    /// - **Source**: WSPJoinLeaf.
    pub fn join_leaf(
        self: &Arc<Self>,
        session: SocketAddr,
        asked: &Connecting<'_>,
        role: Role,
    ) -> Result<()> {
        running()?;
        self.check_family(session)?;
        if self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        if !session.ip().is_multicast() || session.port() == 0 {
            return Err(Wsa::Eaddrnotavail);
        }
        let bound = {
            let state = self.state();
            if state.phase == Phase::Connected {
                return Err(Wsa::Eisconn);
            }
            state.bound
        };
        let mut asked = *asked;
        // The half that the leaf has no part in is not asked for.
        if let Some(sqos) = &mut asked.sqos {
            let other = match role {
                Role::Sender => Some(Direction::Receiving),
                Role::Receiver => Some(Direction::Sending),
                Role::Both => None,
            };
            if let Some(other) = other {
                *sqos.get_mut(other) = flowspec::Flowspec::BEST_EFFORT;
            }
        }
        let mut promised = self.promised(session, &asked)?;
        if role != Role::Sender {
            if !bound {
                let any = match session {
                    SocketAddr::V4(v4) => SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, v4.port())),
                    SocketAddr::V6(v6) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, v6.port())),
                };
                self.bind(any)?;
            }
            raw::multicast(&*self.fd, session.ip(), By::Routes, true).map_err(|error| raw::code(&error))?;
        }
        promised.keep(self, session.ip())
    }

    /// Receives what is sent to a multicast address from now on, or no longer, without anything reserved.
    ///
    /// - **Errors**: WSAENOPROTOOPT for a stream; WSAEADDRNOTAVAIL where it is no such address, or its link is not
    ///   there; WSAEADDRINUSE where it has been joined already.
    /// - **Source**: IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP and IPv6's.
    pub fn take_part(&self, group: IpAddr, by: By, joins: bool) -> Result<()> {
        running()?;
        self.check_family(SocketAddr::new(group, 0))?;
        if self.is_stream() {
            return Err(Wsa::Enoprotoopt);
        }
        if !group.is_multicast() {
            return Err(Wsa::Eaddrnotavail);
        }
        raw::multicast(&*self.fd, group, by, joins).map_err(|error| raw::code(&error))
    }
}
