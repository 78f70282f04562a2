//! A socket whose descriptor gets another kernel socket: AcceptEx gives it an accepted connection, and DisconnectEx a
//! fresh socket for the next one. The SOCKET's number and its object stay.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use flowspec::{Errno, Wsa};

use super::Result;
use super::blocking::now;
use super::condition::AcceptOptions;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::network_events::EventSet;
use super::protocol::Family;
use super::provider::check_started;
use crate::sys::{self, KernelOption};

/// A connection that was accepted for another socket.
pub(crate) struct AcceptedConnection {
    fd: OwnedFd,
    pub(crate) peer: SocketAddr,
}

impl Endpoint {
    /// Has the socket wait to become the accepted end of a connection. Until [`end_await_adoption`] it can neither be bound
    /// nor connected, nor wait for another connection.
    ///
    /// - **Errors**: WSAEINVAL where it is bound, connected, listens or waits already, or differs in kind from the listener.
    /// - **Source**: AcceptEx.
    ///
    /// [`end_await_adoption`]: Self::end_await_adoption
    pub(crate) fn await_adoption(&self, listener: &Self) -> Result<()> {
        let is_alike = self.is_stream() && self.family == listener.family;
        let mut state = self.state();
        let is_unused = state.phase == ConnectionPhase::Idle && !state.bound && !state.awaits_adoption;
        if !is_unused || !is_alike || self.carries_connect_data() {
            return Err(Wsa::Einval);
        }
        state.awaits_adoption = true;
        Ok(())
    }

    pub(crate) fn end_await_adoption(&self) {
        self.state().awaits_adoption = false;
    }

    /// Takes the next connection of a listener of plain TCP from the kernel, without waiting.
    ///
    /// - **Errors**: WSAEINVAL where the socket does not listen or its connections carry connect data;
    ///   WSAEWOULDBLOCK; WSAEMFILE.
    pub(crate) fn take_connection(self: &Arc<Self>) -> Result<AcceptedConnection> {
        check_started()?;
        let (phase, nonblocking) = {
            let state = self.state();
            (state.phase, state.nonblocking)
        };
        if !self.is_stream() || phase != ConnectionPhase::Listening || self.carries_connect_data() {
            return Err(Wsa::Einval);
        }
        // The descriptor must not block: another thread may take the connection first.
        sys::set_nonblocking(&self.fd, true).map_err(Errno::wsa)?;
        let accepted = loop {
            match sys::accept(&self.fd) {
                // The peer was gone before the connection was accepted.
                Err(Errno::ECONNABORTED | Errno::ECONNRESET | Errno::ENOTCONN | Errno::EINTR) => {}
                accepted => break accepted,
            }
        };
        if !nonblocking {
            let _ = sys::set_nonblocking(&self.fd, false);
        }
        self.enable_event(EventSet::ACCEPT);
        let (fd, peer) = accepted.map_err(Errno::wsa)?;
        Ok(AcceptedConnection { fd, peer })
    }

    /// Makes this socket the accepted end of a connection of the listener, and reserves what the listener's
    /// SIO_SET_QOS requests. Where that is refused the connection is closed, FD_QOS reports it to the listener, and the
    /// socket is as it was.
    ///
    /// - **Errors**: WSAEOPNOTSUPP where the reservation is refused; WSA_OPERATION_ABORTED where the socket is closed.
    pub(crate) fn adopt(self: &Arc<Self>, connection: AcceptedConnection, listener: &Self) -> Result<()> {
        if self.is_closed() {
            return Err(Wsa::OperationAborted);
        }
        let peer = connection.peer;
        let nonblocking = self.state().nonblocking;
        sys::set_nonblocking(&connection.fd, nonblocking).map_err(Errno::wsa)?;
        self.fd.replace(connection.fd)?;
        {
            let mut state = self.state();
            (state.phase, state.bound, state.peer) = (ConnectionPhase::Connected, true, Some(peer));
            (state.connected_at, state.error, state.connect_failed) = (Some(now()), None, false);
        }
        if let Err(code) = listener.reserve_accepted(self, peer, &AcceptOptions::default(), None) {
            let status = self.state().qos.status;
            self.reopen()?;
            listener.report_status(status.unwrap_or_else(|| code.into()));
            return Err(Wsa::Eopnotsupp);
        }
        self.note_end_in_process();
        Ok(())
    }

    /// Releases the reservation and gives the socket a fresh kernel socket, with its blocking mode.
    ///
    /// - **Errors**: those of `socket`.
    /// - **Source**: DisconnectEx, TF_REUSE_SOCKET.
    pub(crate) fn reopen(&self) -> Result<()> {
        self.release();
        let fresh = sys::open(self.family, self.socket_type).map_err(Errno::wsa)?;
        if self.family == Family::Inet6 {
            sys::set(&fresh, KernelOption::Ipv6Only, 1).map_err(Errno::wsa)?;
        }
        let mut state = self.state();
        sys::set_nonblocking(&fresh, state.nonblocking).map_err(Errno::wsa)?;
        self.fd.replace(fresh)?;
        (state.phase, state.bound, state.peer) = (ConnectionPhase::Idle, false, None);
        (state.sending_ended, state.receiving_ended, state.reset) = (false, false, None);
        (state.connected_at, state.error, state.connect_failed) = (None, None, false);
        state.qos.forget_other_end();
        Ok(())
    }
}
