//! Reserving for a connection: before it is made, and once it is.
//!
//! [`Endpoint::reserve`] gives a [`PendingChange`], which classifies the socket's packets. A connection that is
//! made commits it, which shapes the socket's data; one that fails drops it, which restores the state before.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use flowspec::{Direction, Errno, Qos, ServiceType, Wsa};
use gqos::admission::{Decision, Lack};
use gqos::connect::{meter, plan, segment_limit};
use gqos::engine::{
    Admitted, Answer, Ask, Granted, Lingering, Lost, PeerSocket, ReceivedPackets, Reservation,
    ReservationRequest,
};
use gqos::failure::{KernelCall, KernelFailure};
use gqos::linux::socket::{self, route_selectors};
use gqos::linux::{RouteQuery, RouteSelectors};
use gqos::policy::{Protocol, Subject};
use shaper::headers::IpVersion;

use super::Result;
use super::blocking::may_await_others;
use super::endpoint::Endpoint;
use super::network_events::EventSet;
use super::provider::provider;
use super::provider_specific::ProviderSpecific;
use super::qos_host::{QosHost, ReserveError};
use super::qos_state::{HeldReservation, OriginalMark, flow_id, needs_no_reservation};
use super::status::QosStatus;
use crate::sys::{self, KernelOption};

/// The reservation for a connection that is not made yet. Dropping it undoes it.
pub(crate) struct PendingChange {
    /// `None` once it is committed.
    change: Option<LedgerChange>,
    pub(crate) requested: Qos,
    provider_specific: ProviderSpecific,
    endpoint: Weak<Endpoint>,
}

/// What a pending reservation has changed in the ledger.
enum LedgerChange {
    /// Nothing, since the request needs no reservation.
    Nothing,
    /// The flow was admitted.
    Admitted(Box<Granted>),
    /// The socket's earlier flow was renegotiated.
    Renegotiated { admitted: Box<Admitted>, decision: Box<Decision>, before: Box<Qos> },
}

impl Drop for PendingChange {
    fn drop(&mut self) {
        let change = self.change.take();
        // The socket's packets leave the class before the reservation is released and others may get the class.
        if matches!(change, Some(LedgerChange::Admitted(_) | LedgerChange::Renegotiated { .. }))
            && let Some(endpoint) = self.endpoint.upgrade()
        {
            endpoint.restore_classification();
        }
        if let (Some(LedgerChange::Renegotiated { decision, before, .. }), Ok(provider)) =
            (change, provider())
        {
            provider.host.restore_flow(flow_id(&decision), *before);
        }
    }
}

impl Endpoint {
    /// Reserves for a connection to a peer. A reservation that the socket holds on the same interface is renegotiated.
    ///
    /// - **Errors**: WSAEOPNOTSUPP where the request is refused: the earlier reservation is kept, and the status is kept
    ///   for SIO_GET_QOS. WSAENETDOWN where the socket cannot be classified.
    pub(crate) fn reserve(
        &self,
        requested: Option<Qos>,
        provider_specific: ProviderSpecific,
        peer: SocketAddr,
    ) -> Result<Option<PendingChange>> {
        let Some(mut requested) = requested else { return Ok(None) };
        for direction in Direction::BOTH {
            if !self.is_open_for(direction) {
                requested.get_mut(direction).service_type = ServiceType::NoTraffic;
            }
        }
        let pending = |change| {
            Some(PendingChange { change: Some(change), requested, provider_specific, endpoint: self.weak() })
        };
        if needs_no_reservation(&requested) {
            return Ok(pending(LedgerChange::Nothing));
        }
        let host = &provider()?.host;
        let held = {
            let state = self.state();
            let held = state.qos.reservation.as_ref();
            held.map(|held| held.decision.clone()).zip(state.qos.requested)
        };
        if let Some((decision, before)) = held
            && self.interface_to(host, peer).is_none_or(|interface| decision.totals.contains_key(&interface))
        {
            let changed = host.renegotiate(flow_id(&decision), requested);
            let (admitted, decision) = changed.map_err(|error| self.keep_status(&error))?;
            let (admitted, decision, before) = (Box::new(admitted), Box::new(decision), Box::new(before));
            return Ok(pending(LedgerChange::Renegotiated { admitted, decision, before }));
        }
        let granted = self.reserve_new(host, requested, peer)?;
        let classified = self.classify(&granted.admitted, &provider_specific, IpVersion::of(peer.ip()));
        // Where that has failed, the pending reservation is dropped here.
        let pending = pending(LedgerChange::Admitted(Box::new(granted)));
        classified.map(|()| pending)
    }

    fn reserve_new(&self, host: &QosHost, requested: Qos, peer: SocketAddr) -> Result<Granted> {
        let protocol = if self.is_stream() { Protocol::Tcp } else { Protocol::Udp };
        let bound = self.state().bound;
        let local_port = if bound { sys::local_address(&self.fd).map_or(0, |local| local.port()) } else { 0 };
        // A refused flow waits for capacity if the program has selected FD_QOS.
        let wait = self.events.selects(EventSet::QOS);
        let waiting_id = self.state().qos.waiting_id.take();
        let id = waiting_id.clone().unwrap_or_else(|| host.new_flow_id());
        let group = self.membership().and_then(|member| member.group.shared_id());
        let ask = Ask { id: Some(id.clone()), group, wait, ..Ask::qos(requested) };
        let subject = Subject { protocol, local_port, peer: peer.ip() };
        let (interface, selectors) = (self.selected_interface(peer.ip()), self.route_selectors(peer));
        let request = ReservationRequest { interface, selectors, ..ReservationRequest::new(ask, subject) };
        let reserved = host.reserve(request);
        if waiting_id.is_some() && reserved.is_err() && !wait {
            host.stop_waiting(&id);
        }
        reserved.map_err(|error| {
            if wait && error.is_waiting() {
                self.report_capacity(host, id);
            }
            self.keep_status(&error)
        })
    }

    /// The interface by which packets to the peer leave.
    fn interface_to(&self, host: &QosHost, peer: SocketAddr) -> Option<String> {
        self.selected_interface(peer.ip()).or_else(|| host.interface(self.route_to(peer)))
    }

    /// The route of the socket's packets to a peer.
    pub(crate) fn route_to(&self, peer: SocketAddr) -> RouteQuery {
        RouteQuery { peer: peer.ip(), selectors: self.route_selectors(peer) }
    }

    /// What the route to the peer depends on: the options of the socket.
    fn route_selectors(&self, peer: SocketAddr) -> RouteSelectors {
        route_selectors(&self.fd, peer)
    }

    /// The interface that IP_MULTICAST_IF or IPV6_MULTICAST_IF selects for a multicast peer.
    fn selected_interface(&self, peer: IpAddr) -> Option<String> {
        let value = self.state().multicast_interface;
        peer.is_multicast().then(|| sys::multicast_interface(self.family, value))?
    }

    /// Has FD_QOS report when capacity is free for a refused flow.
    fn report_capacity(&self, host: &QosHost, id: String) {
        self.state().qos.waiting_id = Some(id.clone());
        let me = self.weak();
        host.on_capacity(id, move || {
            if let Some(endpoint) = me.upgrade() {
                endpoint.report_status(Wsa::QosReceivers.into());
            }
        });
    }

    /// Keeps a refusal's status for SIO_GET_QOS, and returns its code.
    fn keep_status(&self, error: &ReserveError) -> Wsa {
        let (code, status) = error.codes();
        self.state().qos.status = Some(status);
        code
    }

    /// Adds a status for SIO_GET_QOS and records FD_QOS.
    pub(crate) fn report_status(&self, status: QosStatus) {
        self.state().qos.push_status(status);
        self.operations.changed.notify_waiters();
        self.events.record(EventSet::QOS, Some(status.code));
    }

    /// Directs a socket's packets to their class, and marks them.
    fn classify(&self, admitted: &Admitted, objects: &ProviderSpecific, version: IpVersion) -> Result<()> {
        let failed = |_| Wsa::Enetdown;
        if self.is_stream()
            && let Some(tspec) = &admitted.tspec.sending
            && let Some(payload) = segment_limit(tspec.max_sdu_size(), version)
        {
            socket::limit_segment(&self.fd, payload).map_err(failed)?;
        }
        let dscp = objects.code_point().or(admitted.dscp);
        if admitted.class.is_some() || dscp.is_some() {
            let code_point = socket::code_point(&self.fd, version).map_err(failed)?;
            self.state().qos.original_mark.get_or_insert(OriginalMark { version, code_point });
            self.direct_packets(version, dscp, admitted)?;
        }
        Ok(())
    }

    /// Directs packets to the flow's class and marks them with the code point.
    ///
    /// Where the program has given up the privilege for that, the reactor's thread does it, which has kept its own.
    fn direct_packets(&self, version: IpVersion, dscp: Option<u8>, admitted: &Admitted) -> Result<()> {
        let class = admitted.class;
        if socket::classify(&self.fd, version, dscp, class).is_ok() {
            return Ok(());
        }
        let (provider, this) = (provider()?, self.weak().upgrade().ok_or(Wsa::Enetdown)?);
        if !may_await_others() {
            return Err(Wsa::Enetdown);
        }
        let classified = async move { socket::classify(&this.fd, version, dscp, class).map_err(drop) };
        match provider.host.wait_for(classified) {
            Some(Ok(())) => Ok(()),
            Some(Err(())) | None => Err(Wsa::Enetdown),
        }
    }

    /// Classifies the socket as it was before a connection that has failed.
    fn restore_classification(&self) {
        let (admitted, objects, original) = {
            let state = self.state();
            let held = state.qos.reservation.as_ref();
            (held.map(|held| held.admitted.clone()), state.qos.provider_specific, state.qos.original_mark)
        };
        let version = original.map_or(self.family.ip_version(), |original| original.version);
        match admitted {
            // The kernel has accepted the same calls before.
            Some(admitted) => drop(self.classify(&admitted, &objects, version)),
            None => self.remove_classification(),
        }
    }

    fn remove_classification(&self) {
        let original = self.state().qos.original_mark.take();
        if let Some(OriginalMark { version, code_point }) = original {
            // An error means that the socket is shut down and sends no more packets.
            let _ = socket::classify(&self.fd, version, Some(code_point), None);
        }
    }

    /// Makes a pending reservation the socket's own once the connection is made, and shapes the connection from its
    /// first byte on.
    pub(crate) fn commit(&self, pending: Option<PendingChange>, peer: IpAddr) -> Result<()> {
        let Some(mut pending) = pending else { return Ok(()) };
        let (requested, objects) = (pending.requested, pending.provider_specific);
        match &pending.change {
            Some(LedgerChange::Admitted(granted)) => self.shape(&granted.admitted, &objects, peer)?,
            Some(LedgerChange::Renegotiated { admitted, .. }) => {
                self.classify(admitted, &objects, IpVersion::of(peer))?;
                self.shape(admitted, &objects, peer)?;
            }
            Some(LedgerChange::Nothing) | None => self.release(),
        }
        {
            let mut state = self.state();
            (state.qos.requested, state.qos.provider_specific) = (Some(requested), objects);
        }
        let holds_reservation = match pending.change.take() {
            Some(LedgerChange::Admitted(granted)) => {
                self.hold(*granted);
                true
            }
            Some(LedgerChange::Renegotiated { admitted, decision, .. }) => {
                self.hold_renegotiated(admitted, decision)
            }
            Some(LedgerChange::Nothing) | None => {
                self.state().qos.status = None;
                false
            }
        };
        if holds_reservation {
            self.receive_in_class();
        }
        if holds_reservation && objects.confirm_request {
            self.report_status(Wsa::QosRequestConfirmed.into());
        }
        Ok(())
    }

    /// Assigns the packets that the socket's flow receives to their class; the decision says what it lacks where the kernel
    /// does not say the socket's addresses. Nothing waits for the kernel, since the caller may be the reactor.
    fn receive_in_class(&self) {
        let Ok(provider) = provider() else { return };
        let (peer, local) = match self.received_between() {
            Ok(Some(addresses)) => addresses,
            // It is connected later, and then this is called once more.
            Ok(None) => return,
            Err(failure) => {
                let mut state = self.state();
                let held = state.qos.reservation.as_mut();
                let held = held.filter(|held| held.admitted.tspec.receiving.is_some());
                if let Some(enforced) = held.and_then(|held| held.decision.enforced_mut()) {
                    enforced.lacking.push(Lack::ReceivingClass(failure.into()));
                }
                return;
            }
        };
        let held = {
            let state = self.state();
            state
                .qos
                .reservation
                .as_ref()
                .map(|held| (held.id(), *held.admitted.clone(), *held.decision.clone()))
        };
        let Some((id, admitted, decision)) = held.filter(|(_, held, _)| held.tspec.receiving.is_some())
        else {
            return;
        };
        let protocol = if self.is_stream() { Protocol::Tcp } else { Protocol::Udp };
        let packets = ReceivedPackets { protocol, peer, local_port: local.port() };
        let received = provider.host.receive(packets, (admitted, decision));
        let me = self.weak();
        provider.host.spawn(async move {
            if let (Some(decision), Some(endpoint)) = (received.await, me.upgrade())
                && let Some(held) = endpoint.state().qos.reservation.as_mut().filter(|held| held.id() == id)
            {
                *held.decision = decision;
            }
        });
    }

    /// The addresses of the peer and of the socket itself, between which the flow receives; none of a socket that is not connected.
    fn received_between(&self) -> std::result::Result<Option<(SocketAddr, SocketAddr)>, KernelFailure> {
        let failed = |call, errno| KernelCall(call).failed("socket", errno);
        let peer = match sys::peer_address(&self.fd) {
            Ok(peer) => peer,
            Err(Errno::ENOTCONN) => return Ok(None),
            Err(errno) => return Err(failed("getpeername", errno)),
        };
        let local = sys::local_address(&self.fd).map_err(|errno| failed("getsockname", errno))?;
        Ok(Some((peer, local)))
    }

    fn hold(&self, granted: Granted) {
        let Granted { admitted, decision, mut reservation } = granted;
        reservation.metered(meter(self.control.clone()));
        let (admitted, decision) = (Box::new(admitted), Box::new(decision));
        let reservation_state = reservation.state();
        let me = self.weak();
        reservation_state.on_move(move |answer| {
            if let Some(endpoint) = me.upgrade() {
                endpoint.on_reservation_moved(answer);
            }
        });
        reservation.connected();
        self.watch_peer(&reservation, &admitted);
        let before = {
            let mut state = self.state();
            state.qos.status = Some(Wsa::QosRequestConfirmed.into());
            state.qos.reservation.replace(HeldReservation { reservation, decision, admitted })
        };
        if let Some(before) = before {
            before.reservation.end(Lingering::Nothing);
        }
        let me = self.weak();
        // Registered last: the reservation may be lost already, and then the function is called at once.
        reservation_state.on_loss(move |lost| {
            if let Some(endpoint) = me.upgrade() {
                endpoint.on_reservation_lost(lost);
            }
        });
    }

    /// Has the engine release the reservation once the peer is dead or accepts nothing.
    fn watch_peer(&self, reservation: &Reservation, admitted: &Admitted) {
        let Some(direction) = admitted.reserved_direction() else { return };
        let socket = if self.is_stream() {
            let me = self.weak();
            PeerSocket::Descriptor(Arc::new(move |call| {
                // The number may be another file's since the program has closed it.
                if let Some(endpoint) = me.upgrade()
                    && endpoint.fd.is_same()
                {
                    call(endpoint.fd.as_fd());
                }
            }))
        } else {
            let control = self.control.clone();
            PeerSocket::Datagrams(Arc::new(move || control.stats(direction).passed()))
        };
        reservation.watch(socket, admitted.timeouts);
    }

    /// Returns false where the reservation was lost meanwhile, which was reported then.
    fn hold_renegotiated(&self, admitted: Box<Admitted>, decision: Box<Decision>) -> bool {
        let mut state = self.state();
        match &mut state.qos.reservation {
            Some(held) => {
                (held.admitted, held.decision) = (admitted, decision);
                state.qos.status = Some(Wsa::QosRequestConfirmed.into());
                true
            }
            None => {
                state.qos.requested = Some(Qos::BEST_EFFORT);
                drop(state);
                self.stop_shaping();
                false
            }
        }
    }

    /// Shapes the socket's data in user space, by the reservation.
    fn shape(&self, admitted: &Admitted, objects: &ProviderSpecific, peer: IpAddr) -> Result<()> {
        let is_stream = self.is_stream();
        let framing = if is_stream {
            socket::tcp_framing(&self.fd, peer).map_err(|_| Wsa::Enetdown)?
        } else {
            socket::udp_framing(peer)
        };
        let plan = |direction| plan(admitted, direction, framing).map_err(|error| error.wsa());
        let mut sending = plan(Direction::Sending)?.filter(|_| !objects.borrows());
        if let (Some(plan), Some(rate)) = (&mut sending, objects.shaping_rate) {
            plan.sustained.rate = plan.sustained.rate.min(rate);
        }
        if let (Some(plan), true) = (&sending, is_stream) {
            shaper::sys::assist_tcp(&self.fd, plan).map_err(|_| Wsa::Enetdown)?;
            // The bucket makes the pauses; Nagle's algorithm would add to them.
            let _ = sys::set(&self.fd, KernelOption::NoDelay, 1);
        }
        let owed = admitted.owed;
        self.control.set_owing(Direction::Sending, sending, owed.sending);
        // Datagrams have arrived already when they are received.
        let receiving = if is_stream { plan(Direction::Receiving)? } else { None };
        if let Some(plan) = &receiving {
            shaper::sys::assist_receiving(&self.fd, plan).map_err(|_| Wsa::Enetdown)?;
        }
        self.control.set_owing(Direction::Receiving, receiving, owed.receiving);
        Ok(())
    }

    /// Ends shaping and classification.
    fn stop_shaping(&self) {
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
        self.remove_classification();
        if self.is_stream() {
            let _ = shaper::sys::release_tcp(&self.fd);
            let _ = shaper::sys::release_receiving(&self.fd);
        }
    }

    /// The connection continues as best effort.
    fn on_reservation_lost(&self, lost: &Lost) {
        let held = {
            let mut state = self.state();
            state.qos.requested = Some(Qos::BEST_EFFORT);
            state.qos.reservation.take()
        };
        if held.is_some() {
            self.stop_shaping();
        }
        self.report_status(lost.why.status().into());
    }

    /// The socket's packets leave by another interface, on which its flow is admitted.
    fn on_reservation_moved(&self, answer: &Answer) {
        let Answer { decision, admitted: Some(admitted) } = answer else { return };
        let (objects, version) = {
            let mut state = self.state();
            let Some(held) = &mut state.qos.reservation else { return };
            if held.decision.id() != decision.id() {
                return;
            }
            *held.admitted = admitted.clone();
            *held.decision = decision.clone();
            let original = state.qos.original_mark;
            let version = original.map_or(self.family.ip_version(), |original| original.version);
            (state.qos.provider_specific, version)
        };
        // An error means that the socket is shut down and sends no more packets.
        let _ = self.classify(admitted, &objects, version);
        self.receive_in_class();
    }

    /// Releases the reservation. The connection continues as best effort.
    pub(crate) fn release(&self) {
        let held = {
            let mut state = self.state();
            state.qos.status = None;
            state.qos.reservation.take()
        };
        if let Some(held) = held {
            self.stop_shaping();
            held.reservation.end(Lingering::Nothing);
        }
    }

    /// Releases what is reserved for directions that have ended, once the data that is on its way has left.
    pub(crate) fn release_ended_directions(&self) {
        let is_reserved = self.state().qos.reservation.is_some();
        let (Ok(provider), Some(this), true) = (provider(), self.weak().upgrade(), is_reserved) else {
            return;
        };
        let lingering = match self.is_stream() && !self.is_open_for(Direction::Sending) {
            true => self.lingering(),
            false => Lingering::Nothing,
        };
        let host = Arc::clone(&provider.host);
        provider.host.spawn(async move {
            lingering.finish().await;
            this.renegotiate_open_directions(&host).await;
        });
    }

    async fn renegotiate_open_directions(&self, host: &QosHost) {
        let (id, requested) = {
            let open = Direction::BOTH.map(|direction| (direction, self.is_open_for(direction)));
            let mut state = self.state();
            let qos = &mut state.qos;
            let (Some(held), Some(requested)) = (&qos.reservation, &mut qos.requested) else { return };
            for (direction, _) in open.into_iter().filter(|(_, open)| !open) {
                requested.get_mut(direction).service_type = ServiceType::NoTraffic;
            }
            (held.id(), *requested)
        };
        if needs_no_reservation(&requested) {
            self.release();
        } else if let Some((_, decision)) = host.renegotiate_later(id, requested).await
            && let Some(held) = &mut self.state().qos.reservation
        {
            *held.decision = decision;
        }
    }
}
