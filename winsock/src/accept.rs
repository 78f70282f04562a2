//! Accepting.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use flowspec::{Both, Errno, Qos, Wsa};

use super::Result;
use super::blocking::{in_callback, wait};
use super::condition::{AcceptOptions, ConditionResult, IncomingConnection};
use super::descriptor::Descriptor;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::group::{GroupSelection, Membership};
use super::handshake::{CalleeAnswer, OfferQueue, OfferedConnection, send_answer, status_of_acceptor};
use super::network_events::EventSet;
use super::provider::{check_started, provider};
use super::qos_state::{merged, reserved_directions};
use super::socket::Socket;
use super::socket_table;
use crate::sys::{self, Readiness};

type ConditionFunction<'a> = &'a mut dyn FnMut(&IncomingConnection<'_>) -> ConditionResult;

impl Endpoint {
    /// Accepts the next connection and returns it with its peer's address. The new socket has the listener's properties.
    /// The QOS of the caller, or of SIO_SET_QOS on the listener, is reserved for it. A connection whose QOS is refused is
    /// closed, FD_QOS reports that to the listener, and the call waits for the next one.
    ///
    /// - **Errors**: WSAEINVAL where the socket does not listen; WSAEOPNOTSUPP for datagrams; WSAEWOULDBLOCK;
    ///   WSAEINTR; WSAEMFILE.
    /// - **Source**: WSPAccept.
    pub fn accept(self: &Arc<Self>) -> Result<(Socket, SocketAddr)> {
        self.accept_if(|_| ConditionResult::accept())
    }

    /// Accepts the next connection if the condition function does. This end is reserved before the caller gets its
    /// answer, so that either both ends have their reservations or there is no connection.
    ///
    /// - **Errors**: those of [`accept`](Self::accept); WSAECONNREFUSED where the condition rejects, WSATRY_AGAIN where
    ///   it defers.
    /// - **Source**: WSPAccept, ConditionFunc.
    pub fn accept_if(
        self: &Arc<Self>,
        mut condition: impl FnMut(&IncomingConnection<'_>) -> ConditionResult,
    ) -> Result<(Socket, SocketAddr)> {
        check_started()?;
        let offers = self.state().offers.clone();
        loop {
            let accepted = match &offers {
                Some(offers) => self.accept_offered(offers, &mut condition)?,
                None => self.accept_plain(&mut condition)?,
            };
            if let Some(accepted) = accepted {
                return Ok(accepted);
            }
        }
    }

    /// Accepts a connection of plain TCP; `None` where its QOS was refused.
    fn accept_plain(
        self: &Arc<Self>,
        condition: ConditionFunction<'_>,
    ) -> Result<Option<(Socket, SocketAddr)>> {
        let (socket, peer) = self.next_connection()?;
        let local = socket.local_address()?;
        let incoming = IncomingConnection { peer, local, caller_data: &[], sqos: None, gqos: None };
        let options = match in_callback(|| condition(&incoming)) {
            ConditionResult::Accept(options) => options,
            ConditionResult::Reject => return Err(Wsa::Econnrefused),
            ConditionResult::Defer => {
                self.state().deferred = Some((socket.into_raw(), peer));
                return Err(Wsa::TryAgain);
            }
        };
        socket.join_group(socket.select_group(options.group)?);
        socket.set_group_peer(peer.ip());
        match self.reserve_accepted(&socket, peer, &options, None) {
            Ok(()) => {
                socket.note_end_in_process();
                Ok(Some((socket, peer)))
            }
            Err(code) => {
                let status = socket.state().qos.status;
                self.report_status(status.unwrap_or_else(|| code.into()));
                Ok(None)
            }
        }
    }

    /// Accepts a connection whose connect call carries data; `None` where its QOS was refused.
    fn accept_offered(
        self: &Arc<Self>,
        offers: &OfferQueue,
        condition: ConditionFunction<'_>,
    ) -> Result<Option<(Socket, SocketAddr)>> {
        let connection = self.next_offered(offers)?;
        let local = sys::local_address(&connection.fd).map_err(Errno::wsa)?;
        let OfferedConnection { peer, ref offer, .. } = connection;
        let sqos = offer.sqos.map(from_other_end);
        let incoming = IncomingConnection {
            peer,
            local,
            caller_data: &offer.data,
            sqos,
            gqos: offer.gqos.map(from_other_end),
        };
        let refusal = CalleeAnswer { refused: Some(Wsa::Econnrefused), status: None, data: Vec::new() };
        let options = match in_callback(|| condition(&incoming)) {
            ConditionResult::Accept(options) => options,
            ConditionResult::Reject => {
                send_answer(&connection.fd, &refusal);
                return Err(Wsa::Econnrefused);
            }
            ConditionResult::Defer => {
                offers.put_back(connection);
                return Err(Wsa::TryAgain);
            }
        };
        // An invalid group is the acceptor's error: the caller is refused.
        let membership = self.select_group(options.group).inspect_err(|_| {
            send_answer(&connection.fd, &refusal);
        })?;
        let nonblocking = self.state().nonblocking;
        sys::set_nonblocking(&connection.fd, nonblocking).map_err(Errno::wsa)?;
        let socket = self.insert_accepted(connection.fd, peer)?;
        socket.join_group(membership);
        socket.set_group_peer(peer.ip());
        self.enable_event(EventSet::ACCEPT);
        if let Err(code) = self.reserve_accepted(&socket, peer, &options, sqos) {
            let status = socket.state().qos.status;
            let status_code = status.map(|status| status.code);
            send_answer(
                &socket.fd,
                &CalleeAnswer { refused: Some(code), status: status_code, data: Vec::new() },
            );
            self.report_status(status.unwrap_or_else(|| code.into()));
            return Ok(None);
        }
        let held = {
            let mut state = socket.state();
            let held = state.qos.reserved_directions();
            if let Some(offered) = sqos.as_ref().filter(|_| held != Both::default()) {
                state.qos.note_other_end(reserved_directions(offered));
            }
            held
        };
        let status = status_of_acceptor(held);
        send_answer(&socket.fd, &CalleeAnswer { refused: None, status, data: options.callee_data });
        self.inherit_selection(&socket)?;
        Ok(Some((socket, peer)))
    }

    /// Takes the first connection whose offer has arrived, or waits for one.
    fn next_offered(&self, offers: &OfferQueue) -> Result<OfferedConnection> {
        loop {
            if let Some(connection) = offers.take_first() {
                return Ok(connection);
            }
            if self.state().nonblocking {
                return Err(Wsa::Ewouldblock);
            }
            wait(&self.closing, offers.descriptor(), Readiness::READABLE, None)?;
        }
    }

    /// Reserves for a new socket: the QOS of the condition function, else the caller's, else the listener's.
    ///
    /// - **Errors**: WSAEOPNOTSUPP, with the status kept on the new socket.
    pub(crate) fn reserve_accepted(
        &self,
        socket: &Endpoint,
        peer: SocketAddr,
        options: &AcceptOptions,
        offered: Option<Qos>,
    ) -> Result<()> {
        let (own, own_objects) = {
            let state = self.state();
            (state.qos.requested, state.qos.provider_specific)
        };
        let (requested, objects) = match options.sqos.or(offered) {
            Some(requested) => (Some(merged(&requested, own.as_ref())), options.provider_specific),
            None => (own, own_objects),
        };
        let pending = socket.reserve(requested, objects, peer)?;
        socket.commit(pending, peer.ip())
    }

    /// Takes the next connection from the kernel.
    fn next_connection(self: &Arc<Self>) -> Result<(Socket, SocketAddr)> {
        if !self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        let (nonblocking, deferred) = {
            let mut state = self.state();
            if state.phase != ConnectionPhase::Listening {
                return Err(Wsa::Einval);
            }
            (state.nonblocking, state.deferred.take())
        };
        if let Some((number, peer)) = deferred
            && let Ok(socket) = Socket::from_raw(number)
        {
            return Ok((socket, peer));
        }
        // The descriptor must not block even where the call does: another thread may take the connection first.
        sys::set_nonblocking(&self.fd, true).map_err(Errno::wsa)?;
        let accepted = self.accept_from_kernel(nonblocking);
        if !nonblocking {
            let _ = sys::set_nonblocking(&self.fd, false);
        }
        self.enable_event(EventSet::ACCEPT);
        let (fd, peer) = accepted?;
        if nonblocking {
            sys::set_nonblocking(&fd, true).map_err(Errno::wsa)?;
        }
        let socket = self.insert_accepted(fd, peer)?;
        self.inherit_selection(&socket)?;
        Ok((socket, peer))
    }

    fn accept_from_kernel(&self, nonblocking: bool) -> Result<(OwnedFd, SocketAddr)> {
        loop {
            match sys::accept(&self.fd) {
                Ok(accepted) => return Ok(accepted),
                Err(Errno::EAGAIN) if !nonblocking => {
                    self.wait_until(Readiness::READABLE, None)?;
                }
                // The peer was gone before the connection was accepted.
                Err(Errno::ECONNABORTED | Errno::ECONNRESET | Errno::ENOTCONN | Errno::EINTR) => {}
                Err(error) => return Err(error.wsa()),
            }
        }
    }

    fn insert_accepted(&self, fd: OwnedFd, peer: SocketAddr) -> Result<Socket> {
        let fd = Descriptor::new(fd)?;
        Ok(Socket::of(socket_table::insert(|me| self.new_accepted(fd, peer, me))))
    }

    fn select_group(&self, group: GroupSelection) -> Result<Option<Membership>> {
        provider()?.groups.enter(group, self.family, self.socket_type)
    }

    /// Gives a new socket the listener's selection of events.
    fn inherit_selection(&self, socket: &Socket) -> Result<()> {
        match self.events.current() {
            Some((target, selected)) => socket.select_for(Some(target), selected),
            None => Ok(()),
        }
    }
}

/// A flow's QOS from the other end: what one end sends, the other one receives.
fn from_other_end(qos: Qos) -> Qos {
    Qos { sending: qos.receiving, receiving: qos.sending }
}
