//! Connecting: the checks in the order of WSPConnect's page, the reservation, then the peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use flowspec::{Errno, Qos, Wsa};
use tokio::io::Interest;

use super::Result;
use super::blocking::{blocks, check_may_block, now};
use super::descriptor::Duplicate;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::group::PreviousGroupReservation;
use super::handshake::{Offer, directions_of_answer, send_offer};
use super::network_events::EventSet;
use super::protocol::Family;
use super::provider::{check_started, provider};
use super::provider_specific::ProviderSpecific;
use super::qos_state::merged;
use super::reservation::PendingChange;
use super::status::QosStatus;
use crate::sys::{self, MessageFlags, Readiness};

/// What a program requests with a connect call.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectRequest<'a> {
    /// Data that the peer sees before it accepts.
    pub caller_data: Option<&'a [u8]>,
    /// The QOS to reserve; by default that of SIO_SET_QOS.
    pub sqos: Option<Qos>,
    /// The objects of `sqos`.
    pub provider_specific: ProviderSpecific,
    /// The QOS to reserve for the socket's group. Ignored unless this socket has created the group.
    pub gqos: Option<Qos>,
    /// How much data the callee may send with its answer, in bytes; with more the connection fails with WSAEFAULT.
    /// With `None` the callee's data is dropped.
    pub callee_capacity: Option<usize>,
}

impl<'a> ConnectRequest<'a> {
    /// A request with data, a QOS, and capacity for data of the callee.
    pub const fn with(caller_data: &'a [u8], sqos: Option<Qos>, callee_capacity: usize) -> Self {
        Self {
            caller_data: Some(caller_data),
            sqos,
            provider_specific: ProviderSpecific::NONE,
            gqos: None,
            callee_capacity: Some(callee_capacity),
        }
    }
}

/// What a connect call has done when it returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConnectOutcome {
    /// The connection is made, or the datagram socket has its peer.
    Connected,
    /// The datagram socket's peer is removed.
    PeerRemoved,
}

/// Takes the callee's data once it has arrived.
pub(crate) type CalleeDataSink = Box<dyn FnOnce(&[u8]) -> Result<()> + Send>;

/// What is reserved for a connection that is not made yet. Dropping it undoes it.
pub(crate) struct PendingConnection {
    reservation: Option<PendingChange>,
    group: Option<PreviousGroupReservation>,
}

impl PendingConnection {
    /// Keeps the reservations once the connection is made.
    pub(crate) fn commit(&mut self, endpoint: &Endpoint, peer: IpAddr) -> Result<()> {
        endpoint.commit(self.reservation.take(), peer)?;
        self.group = None;
        Ok(())
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        // The member before its group, which is released with its last member.
        self.reservation = None;
        self.group.take().into_iter().for_each(PreviousGroupReservation::restore);
    }
}

/// The caller's part of the connect-data handshake.
struct CallerHandshake {
    offer: Offer,
    callee_capacity: Option<usize>,
    sink: Option<CalleeDataSink>,
}

impl Endpoint {
    /// Connects to a peer. The requested QOS is reserved before the first packet leaves.
    ///
    /// A datagram socket only gets its peer; the address of all zeroes removes it.
    ///
    /// - **Errors**: those of WSPConnect's table. WSAEWOULDBLOCK where the socket does not block: events, select and
    ///   SO_ERROR report the end. A refused, timed out or unreachable connection may be tried again.
    /// - **Source**: WSPConnect.
    pub fn connect(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: &ConnectRequest<'_>,
    ) -> Result<ConnectOutcome> {
        self.connect_with_sink(peer, request, None)
    }

    pub(crate) fn connect_with_sink(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: &ConnectRequest<'_>,
        sink: Option<CalleeDataSink>,
    ) -> Result<ConnectOutcome> {
        check_started()?;
        self.check_family(peer)?;
        let blocking = self.begin_connect(peer)?;
        if self.is_stream() {
            self.connect_stream(peer, request, sink, blocking)
        } else {
            self.connect_datagram(peer, request)
        }
    }

    /// Makes the checks of a connect call that come before its QOS, and no connection.
    ///
    /// - **Errors**: those of [`connect`](Self::connect) that come before WSAEOPNOTSUPP.
    pub fn check_connect(&self, peer: SocketAddr) -> Result<()> {
        check_started()?;
        self.check_family(peer)?;
        self.begin_connect(peer)?;
        self.abandon_connect();
        Ok(())
    }

    /// How the latest non-blocking connection has ended.
    ///
    /// - **Errors**: that of the connection; WSAEALREADY while it is under way.
    pub(crate) fn connect_outcome(&self) -> Result<()> {
        let state = self.state();
        match state.phase {
            ConnectionPhase::Connected => Ok(()),
            ConnectionPhase::Connecting => Err(Wsa::Ealready),
            ConnectionPhase::Idle | ConnectionPhase::Listening => Err(state.error.unwrap_or(Wsa::Enetdown)),
        }
    }

    /// Checks state and address, and marks a stream as connecting. Returns whether the call blocks.
    fn begin_connect(&self, peer: SocketAddr) -> Result<bool> {
        let mut state = self.state();
        if state.awaits_adoption {
            return Err(Wsa::Einval);
        }
        match state.phase {
            ConnectionPhase::Listening => return Err(Wsa::Einval),
            ConnectionPhase::Connecting => return Err(Wsa::Ealready),
            ConnectionPhase::Connected if self.is_stream() => return Err(Wsa::Eisconn),
            ConnectionPhase::Connected | ConnectionPhase::Idle => {}
        }
        let blocking = blocks(state.nonblocking);
        let is_wildcard = peer.ip().is_unspecified();
        if self.is_stream() {
            // Linux would connect to this host.
            if is_wildcard || peer.port() == 0 {
                return Err(Wsa::Eaddrnotavail);
            }
            if blocking {
                check_may_block()?;
            }
            self.check_group_peer(peer.ip())?;
            (state.phase, state.peer, state.connect_failed) =
                (ConnectionPhase::Connecting, Some(peer), false);
            self.events.begin_connection();
            state.qos.forget_other_end();
        } else {
            if !is_wildcard && peer.port() == 0 {
                return Err(Wsa::Eaddrnotavail);
            }
            if !state.broadcast && sys::is_broadcast(peer) {
                return Err(Wsa::Eacces);
            }
        }
        Ok(blocking)
    }

    /// Marks a stream as not connecting.
    fn abandon_connect(&self) {
        let mut state = self.state();
        if state.phase == ConnectionPhase::Connecting {
            (state.phase, state.peer) = (ConnectionPhase::Idle, None);
        }
    }

    fn connect_stream(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: &ConnectRequest<'_>,
        sink: Option<CalleeDataSink>,
        blocking: bool,
    ) -> Result<ConnectOutcome> {
        let pending = self.reserve_connection(peer, request).inspect_err(|_| self.abandon_connect())?;
        // The reactor's descriptor, made before the connection is, so that a failure is the call's.
        let duplicate = match blocking {
            true => None,
            false => Some(self.duplicate().inspect_err(|_| self.abandon_connect())?),
        };
        // The kernel binds a socket that has no address, which counts as bound.
        self.state().bound = true;
        if blocking && let Err(error) = sys::set_nonblocking(&self.fd, true) {
            self.abandon_connect();
            return Err(error.wsa());
        }
        let result = sys::connect(&self.fd, peer);
        let in_progress = result.is_err_and(|error| error.wsa() == Wsa::Ewouldblock);
        let handshake = self.caller_handshake(&pending, request, sink);
        // A handshake waits for its answer.
        if let Some(duplicate) = duplicate
            && (in_progress || handshake.is_some() && result.is_ok())
        {
            self.finish_connect_later(duplicate, pending, peer, handshake)?;
            return Err(Wsa::Ewouldblock);
        }
        let outcome = if in_progress {
            self.wait_until(Readiness::WRITABLE, None).and_then(|_| self.connect_result())
        } else {
            result.map_err(connect_error)
        };
        let outcome = outcome.and_then(|()| match handshake {
            None => Ok(()),
            Some(handshake) => self.await_handshake(handshake),
        });
        if blocking {
            let nonblocking = self.state().nonblocking;
            // An error means that the socket was closed meanwhile.
            let _ = sys::set_nonblocking(&self.fd, nonblocking);
        }
        // A socket that was closed before connect(2) is another file by then, with errors of its own.
        let outcome = outcome.map_err(|error| if self.is_closed() { Wsa::Eintr } else { error });
        let outcome = self.finish_connect(outcome, pending, peer);
        if outcome == Err(Wsa::Econnrefused) && !blocking {
            // Linux reports a refusal by this host at once, Windows as the end of the attempt.
            self.state().error = outcome.err();
            self.events.record(EventSet::CONNECT, outcome.err());
            return Err(Wsa::Ewouldblock);
        }
        outcome?;
        self.events.record(EventSet::CONNECT, None);
        self.enable_event(EventSet::WRITE);
        self.watch_connection();
        Ok(ConnectOutcome::Connected)
    }

    /// The caller's part of a handshake; `None` for plain TCP.
    fn caller_handshake(
        &self,
        pending: &PendingConnection,
        request: &ConnectRequest<'_>,
        sink: Option<CalleeDataSink>,
    ) -> Option<CallerHandshake> {
        self.carries_connect_data().then(|| CallerHandshake {
            offer: Offer {
                sqos: pending.reservation.as_ref().map(|reservation| reservation.requested),
                gqos: request.gqos,
                data: request.caller_data.unwrap_or_default().to_vec(),
            },
            callee_capacity: request.callee_capacity,
            sink,
        })
    }

    /// Performs a handshake on the reactor and waits for its end.
    fn await_handshake(self: &Arc<Self>, handshake: CallerHandshake) -> Result<()> {
        let this = Arc::clone(self);
        let answered = provider()?.host.wait_for(async move {
            tokio::select! {
                biased;
                () = this.until_closed() => Err(Wsa::Eintr),
                answered = this.perform_handshake(handshake) => answered,
            }
        });
        answered.unwrap_or(Err(Wsa::Enetdown))
    }

    /// Reserves for the group and the socket, then checks the caller's data, which plain TCP cannot carry.
    pub(crate) fn reserve_connection(
        &self,
        peer: SocketAddr,
        request: &ConnectRequest<'_>,
    ) -> Result<PendingConnection> {
        let (sqos, objects) = {
            let state = self.state();
            let earlier = state.qos.requested;
            match request.sqos {
                Some(sqos) => (Some(merged(&sqos, earlier.as_ref())), request.provider_specific),
                None => (earlier, state.qos.provider_specific),
            }
        };
        let group = self.reserve_group(request.gqos, peer)?;
        // From here on an error restores the group's reservation.
        let mut pending = PendingConnection { reservation: None, group };
        pending.reservation = self.reserve(sqos, objects, peer)?;
        let has_data = request.caller_data.is_some_and(|data| !data.is_empty());
        if self.is_stream() && !self.carries_connect_data() && has_data {
            return Err(Wsa::Eprotonosupport);
        }
        Ok(pending)
    }

    /// Sends the offer and keeps the callee's data.
    async fn perform_handshake(&self, handshake: CallerHandshake) -> Result<()> {
        let CallerHandshake { offer, callee_capacity, sink } = handshake;
        let connection = self.register(Interest::READABLE.add(Interest::WRITABLE))?;
        let answer = send_offer(&connection, &offer).await?;
        if let Some(refused) = answer.refused {
            self.state().qos.status = answer.status.map(QosStatus::from);
            return Err(refused);
        }
        self.state().callee_reserves = answer.status;
        let Some(capacity) = callee_capacity else { return Ok(()) };
        if answer.data.len() > capacity {
            return Err(Wsa::Efault);
        }
        if let Some(sink) = sink {
            sink(&answer.data)?;
        }
        self.state().callee_data = answer.data;
        Ok(())
    }

    /// The result of an attempt, once the descriptor is writable.
    fn connect_result(&self) -> Result<()> {
        match sys::take_error(&self.fd) {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(connect_error(error)),
        }
    }

    /// Commits the reservations or undoes them, and records the new state.
    fn finish_connect(
        &self,
        outcome: Result<()>,
        mut pending: PendingConnection,
        peer: SocketAddr,
    ) -> Result<()> {
        let outcome = outcome.and_then(|()| pending.commit(self, peer.ip()));
        if outcome.is_ok() {
            self.set_group_peer(peer.ip());
        }
        drop(pending);
        self.record_outcome(outcome, peer);
        if outcome.is_ok() {
            let answered = self.state().callee_reserves.take();
            match answered {
                Some(status) => self.note_end(directions_of_answer(status)),
                None => self.note_end_in_process(),
            }
        }
        outcome
    }

    fn record_outcome(&self, outcome: Result<()>, peer: SocketAddr) {
        let mut state = self.state();
        match outcome {
            Ok(()) => {
                (state.phase, state.peer) = (ConnectionPhase::Connected, Some(peer));
                (state.error, state.reset, state.connected_at) = (None, None, Some(now()));
            }
            Err(_) => {
                (state.phase, state.peer, state.connect_failed) = (ConnectionPhase::Idle, None, true);
                self.reset_descriptor();
            }
        }
    }

    /// Makes the descriptor of a failed connection ready for another attempt, with the same local port.
    fn reset_descriptor(&self) {
        let local = sys::local_address(&self.fd).ok();
        // Without this, Linux reports the failure to the next attempt, and refuses to listen.
        let _ = sys::disconnect(&self.fd);
        if let Some(local) = local.filter(|local| local.port() != 0) {
            let wildcard = match self.family {
                Family::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Family::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            // Only a port that the kernel has chosen is lost with the peer; for another one this call fails.
            let _ = sys::bind(&self.fd, SocketAddr::new(wildcard, local.port()));
        }
    }

    /// Waits for the peer on the reactor.
    fn finish_connect_later(
        self: &Arc<Self>,
        duplicate: Duplicate,
        pending: PendingConnection,
        peer: SocketAddr,
        handshake: Option<CallerHandshake>,
    ) -> Result<()> {
        let this = Arc::clone(self);
        provider()?.host.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = this.until_closed() => return,
                outcome = this.await_connection(duplicate, handshake) => outcome,
            };
            // The program may have closed the descriptor by close(2).
            if !this.fd.is_same() {
                return;
            }
            let outcome = this.finish_connect(outcome, pending, peer);
            this.state().error = outcome.err();
            this.events.record(EventSet::CONNECT, outcome.err());
            if outcome.is_ok() {
                this.events.record(EventSet::WRITE, None);
                this.watch_connection();
            }
        });
        Ok(())
    }

    async fn await_connection(&self, duplicate: Duplicate, handshake: Option<CallerHandshake>) -> Result<()> {
        {
            let watched = duplicate.watch(Interest::WRITABLE)?;
            let _ready = watched.writable().await.map_err(|error| sys::errno_of(&error).wsa())?;
            self.connect_result()?;
        }
        match handshake {
            Some(handshake) => self.perform_handshake(handshake).await,
            None => Ok(()),
        }
    }

    fn connect_datagram(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: &ConnectRequest<'_>,
    ) -> Result<ConnectOutcome> {
        if peer.ip().is_unspecified() {
            return self.remove_peer();
        }
        let mut pending = self.reserve_connection(peer, request)?;
        let (before, bound) = {
            let state = self.state();
            (state.peer, state.bound)
        };
        if before.is_some_and(|before| before != peer) || before.is_none() && bound {
            // The datagrams in the queue are those of other senders.
            self.discard_received();
        }
        sys::connect(&self.fd, peer).map_err(connect_error)?;
        if before != Some(peer) {
            self.discard_received_from_others(peer);
        }
        pending.commit(self, peer.ip())?;
        {
            let mut state = self.state();
            (state.phase, state.peer, state.bound) = (ConnectionPhase::Connected, Some(peer), true);
            (state.session, state.receives_session) = (None, None);
            (state.peer_removed, state.error) = (false, None);
            if before != Some(peer) {
                state.qos.forget_other_end();
            }
        }
        self.note_end_in_process();
        self.events.begin_connection();
        self.events.record(EventSet::CONNECT, None);
        self.events.record(EventSet::WRITE, None);
        self.record_if_selected();
        Ok(ConnectOutcome::Connected)
    }

    /// Removes a datagram socket's peer and keeps its address, which Linux drops where it has chosen it. The datagrams in
    /// the queue are discarded.
    fn remove_peer(&self) -> Result<ConnectOutcome> {
        let local = sys::local_address(&self.fd).ok();
        self.release();
        sys::disconnect(&self.fd).map_err(Errno::wsa)?;
        let after = sys::local_address(&self.fd).ok();
        if let (Some(local), Some(after)) = (local, after)
            && local.port() != 0
            && after.port() == 0
        {
            sys::bind(&self.fd, local).map_err(Errno::wsa)?;
        }
        self.discard_received();
        {
            let mut state = self.state();
            (state.phase, state.peer, state.peer_removed) = (ConnectionPhase::Idle, None, true);
            (state.session, state.receives_session) = (None, None);
            state.qos.forget_other_end();
        }
        // An event of what was discarded does not keep the next one from being recorded.
        self.enable_event(EventSet::READ);
        Ok(ConnectOutcome::PeerRemoved)
    }

    fn discard_received(&self) {
        while sys::receive(&self.fd, (&mut [0][..]).into(), MessageFlags::default()).is_ok() {}
    }

    /// Discards the datagrams of others that have arrived before the kernel knew the peer.
    fn discard_received_from_others(&self, peer: SocketAddr) {
        let peek = MessageFlags { peek: true, ..MessageFlags::default() };
        while let Ok(received) = sys::receive(&self.fd, (&mut [0][..]).into(), peek)
            && received.from != Some(peer)
        {
            let _ = sys::receive(&self.fd, (&mut [0][..]).into(), MessageFlags::default());
        }
    }
}

/// The code of a failed connect(2): EADDRNOTAVAIL means that the local address is in use with this peer.
fn connect_error(error: Errno) -> Wsa {
    if error == Errno::EADDRNOTAVAIL { Wsa::Eaddrinuse } else { error.wsa() }
}
