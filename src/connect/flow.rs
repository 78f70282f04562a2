//! A flow: a socket, its shaping, and the reservation it holds.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::{Direction, Micros};
use shaper::Control;
use tokio::sync::Notify;

use super::carrier::Carrier;
use super::error::ConnectError;
use super::host::Host;
use super::plan::{meter, plan};
use super::transfers::HostWorkers;
use crate::admission::{Decision, Operation};
use crate::engine::{
    Admitted, Answer, Ask, Granted, Lingering, Lost, ReceivedPackets, Rendition, Reservation,
    ReservationRequest, ReservationState,
};
use crate::policy::{Protocol, Subject};

/// The handle on the reservation of a connection or of a datagram flow: reserves, renegotiates, refreshes and releases.
///
/// For servers that learn from a connection's first request what to reserve: the connection is accepted without a
/// reservation and gets one here. From then on its packets are sent through its class and its writes are shaped.
///
/// ```no_run
/// use gqos::connect::{Ask, Connection, ConnectError};
///
/// async fn serve(connection: &Connection) -> Result<(), ConnectError> {
///     let flow = connection.flow();
///     // The first rendition that fits, best first.
///     flow.reserve(&Ask::first_of(["1080p", "720p"]).class("viewer")).await?;
///     println!("{} gets {}", flow.peer(), flow.rendition().unwrap_or_default());
///     // Later: a smaller one. A refusal keeps what is reserved.
///     flow.renegotiate(&Ask::template("480p")).await?;
///     // The stream is over, and the connection stays open.
///     flow.release()
/// }
/// ```
pub struct Flow(Arc<Inner>);

struct Inner {
    host: Host,
    carrier: Carrier,
    peer: SocketAddr,
    control: Control,
    state: Mutex<FlowState>,
    /// The state is [`FlowState::Lost`] now.
    lost: Notify,
    /// Renegotiations are answered, and the socket is shaped by them, one at a time.
    renegotiation: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Its owner has dropped it: its data leaves before its reservation is released.
    Dropped,
    /// It has failed.
    Failed,
    /// It has failed since its peer is gone.
    PeerGone,
}

#[derive(Default)]
enum FlowState {
    #[default]
    Free,
    /// A reservation is requested.
    Reserving,
    Held(Box<FlowReservation>),
    /// The reservation was lost.
    Lost(Lost),
    Ended,
}

struct FlowReservation {
    reservation: Reservation,
    decision: Decision,
    rendition: Option<String>,
    /// The connection's next flush releases it.
    ends_when_flushed: bool,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Flow");
        shown.field("peer", &self.peer()).field("id", &self.id()).field("rendition", &self.rendition());
        shown.field("lost", &self.lost()).field("control", self.control()).finish()
    }
}

impl Flow {
    /// A flow without a reservation.
    pub(super) fn new(host: Host, carrier: Carrier, peer: SocketAddr) -> Self {
        Self(Arc::new(Inner {
            host,
            carrier,
            peer,
            control: Control::default(),
            state: Mutex::default(),
            lost: Notify::new(),
            renegotiation: tokio::sync::Mutex::default(),
        }))
    }

    /// A flow with a reservation that was granted before.
    pub(super) fn granted(
        host: Host,
        carrier: Carrier,
        peer: SocketAddr,
        granted: Granted,
    ) -> Result<Self, ConnectError> {
        let flow = Self::new(host, carrier, peer);
        *flow.0.state() = FlowState::Reserving;
        flow.0.set_up(granted, RequestGuard(&flow.0))?;
        Ok(flow)
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// The control of the flow's shaper.
    pub fn control(&self) -> &Control {
        &self.0.control
    }

    /// The decision that admitted the flow, or the one that renegotiated it, while its reservation is held.
    pub fn decision(&self) -> Option<Decision> {
        self.0.held(|held| held.decision.clone())
    }

    /// The template that is reserved: the one that was asked for, or the first of a ladder that fitted. `None` without a
    /// reservation, and where flowspecs were asked for.
    pub fn rendition(&self) -> Option<String> {
        self.0.held(|held| held.rendition.clone())?
    }

    /// The flow's id, while its reservation is held.
    pub fn id(&self) -> Option<String> {
        self.0.held(|held| held.reservation.id().to_owned())
    }

    /// Why the reservation was lost, while none has replaced it. The connection goes on as best effort.
    pub fn lost(&self) -> Option<Lost> {
        self.0.why_lost()
    }

    /// Waits until the reservation is lost, for ever if it is not.
    ///
    /// ```no_run
    /// use gqos::connect::Flow;
    ///
    /// async fn watch(flow: &Flow) {
    ///     let lost = flow.until_lost().await;
    ///     // Preempted, shed, expired, or its peer is dead or stalled. The connection goes on as best effort.
    ///     eprintln!("{lost}");
    /// }
    /// ```
    pub async fn until_lost(&self) -> Lost {
        loop {
            let lost = self.0.lost.notified();
            if let Some(lost) = self.lost() {
                return lost;
            }
            lost.await;
        }
    }

    /// Reserves, and shapes the socket. Dropped, the future releases what was or will be granted.
    ///
    /// A reservation that [ends with a flush](Self::release_when_flushed) is released first.
    ///
    /// - **Errors**: the refusal; the flow holds a reservation already or has ended; the kernel's.
    pub async fn reserve(&self, ask: &Ask) -> Result<Decision, ConnectError> {
        self.flushed()?;
        {
            let mut state = self.0.state();
            let problem = match *state {
                FlowState::Free | FlowState::Lost(_) => None,
                FlowState::Reserving | FlowState::Held(_) => Some(ConnectError::AlreadyReserved),
                FlowState::Ended => Some(ConnectError::Ended),
            };
            if let Some(problem) = problem {
                return Err(problem);
            }
            *state = FlowState::Reserving;
        }
        // Restores the state if this future is dropped or fails.
        let request = RequestGuard(&self.0);
        let asked = self.0.request(ask.clone())?;
        let (local_port, reserved) = (asked.subject.local_port, self.0.host.reserve(asked));
        let mut granted = reserved.await?;
        let Granted { admitted, decision, .. } = &mut granted;
        self.0.receive(local_port, admitted, decision).await;
        let decision = self.0.set_up(granted, request)?;
        self.attached().await;
        Ok(decision)
    }

    /// Waits until the packets of the flow go to its class.
    pub(super) async fn attached(&self) {
        if let Some(id) = self.id() {
            self.0.host.engine.attached(&id).await;
        }
    }

    /// Asks for something else in place of what is reserved. The socket is shaped by what is granted; of a ladder that is
    /// the first rendition that fits, each being a request of its own. A refusal keeps what is reserved.
    ///
    /// What is asked for counts, and the time to live where there is one. Id, class, group, client, priorities and times
    /// of the reservation stay. Dropped, the future does not take the request back.
    ///
    /// - **Errors**: the refusal, of the last rendition; no reservation is held; the kernel's.
    pub async fn renegotiate(&self, ask: &Ask) -> Result<Decision, ConnectError> {
        let (inner, ask) = (Arc::clone(&self.0), ask.clone());
        // A task of its own finishes it, so that a caller that gives up does not leave the socket with another shape
        // than its reservation.
        match tokio::spawn(async move { inner.renegotiate(ask).await }).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => Err(ConnectError::Stopped),
        }
    }

    /// Prolongs a reservation that was made with a [time to live](Ask::time_to_live): it lasts so long from now on.
    ///
    /// - **Errors**: no reservation is held; the refusal; the engine has stopped.
    pub async fn refresh(&self, time_to_live: Duration) -> Result<(), ConnectError> {
        let id = self.id().ok_or(ConnectError::NotReserved)?;
        self.0.refresh(id, time_to_live).await
    }

    /// Releases the reservation; the connection goes on as best effort.
    ///
    /// - **Errors**: `setsockopt`.
    pub fn release(&self) -> Result<(), ConnectError> {
        let held = {
            let mut state = self.0.state();
            match std::mem::take(&mut *state) {
                FlowState::Held(held) => held,
                other => {
                    *state = other;
                    return Ok(());
                }
            }
        };
        self.0.unshape()?;
        // Packets that are queued in the class leave before the class is deleted.
        held.reservation.end(Lingering::Nothing);
        Ok(())
    }

    /// Releases the reservation once the connection is flushed: for data that its writer still has in a buffer of its own,
    /// such as an HTTP library does with a response. Datagrams have no such buffer, and a flow of theirs is released at
    /// once.
    ///
    /// ```no_run
    /// use gqos::connect::{Ask, Connection};
    /// use tokio::io::{AsyncWriteExt, BufWriter};
    ///
    /// async fn send(segment: &[u8], connection: Connection) -> Result<(), Box<dyn std::error::Error>> {
    ///     let flow = std::sync::Arc::clone(connection.flow());
    ///     flow.reserve(&Ask::template("1080p")).await?;
    ///     let mut buffered = BufWriter::with_capacity(1 << 20, connection);
    ///     buffered.write_all(segment).await?;
    ///     flow.release_when_flushed()?;
    ///     // What is still in the buffer is sent with the reservation.
    ///     Ok(buffered.flush().await?)
    /// }
    /// ```
    ///
    /// - **Errors**: `setsockopt`.
    pub fn release_when_flushed(&self) -> Result<(), ConnectError> {
        if self.0.carrier.protocol() == Protocol::Udp {
            return self.release();
        }
        if let FlowState::Held(held) = &mut *self.0.state() {
            held.ends_when_flushed = true;
        }
        Ok(())
    }

    /// The connection is flushed, or asks for another reservation.
    pub(super) fn flushed(&self) -> Result<(), ConnectError> {
        if self.0.held(|held| held.ends_when_flushed) == Some(true) { self.release() } else { Ok(()) }
    }

    /// The connection has ended: its reservation is released.
    pub(super) fn end(&self, end: End) {
        let state = std::mem::replace(&mut *self.0.state(), FlowState::Ended);
        if let FlowState::Held(held) = state {
            match end {
                End::Dropped => held.reservation.end(self.0.carrier.lingering()),
                End::Failed => held.reservation.end(Lingering::Nothing),
                End::PeerGone => held.reservation.end_without_peer(),
            }
        }
    }

    /// Whether its reservation ends soon without being lost: its connection has ended, or begun to.
    #[cfg(feature = "proxy")]
    pub(crate) fn is_about_to_end(&self) -> bool {
        match *self.0.state() {
            FlowState::Held(_) => {}
            FlowState::Ended => return true,
            FlowState::Free | FlowState::Reserving | FlowState::Lost(_) => return false,
        }
        self.0.carrier.has_begun_to_end()
    }

    /// The host by which it reserves.
    #[cfg(feature = "proxy")]
    pub(crate) fn host(&self) -> &Host {
        &self.0.host
    }

    /// The threads of its host.
    pub(super) fn workers(&self) -> &HostWorkers {
        &self.0.host.workers
    }

    pub(super) fn carrier(&self) -> &Carrier {
        &self.0.carrier
    }
}

impl Inner {
    /// The request for the flow; fails where the kernel does not say its local port, which rules may be for.
    fn request(&self, ask: Ask) -> Result<ReservationRequest, ConnectError> {
        let failed = |cause| ConnectError::socket("getsockname", self.peer, cause);
        let local_port = self.carrier.local_addr().map_err(failed)?.port();
        let subject = Subject { protocol: self.carrier.protocol(), local_port, peer: self.peer.ip() };
        let selectors = self.carrier.route_selectors(self.peer);
        Ok(ReservationRequest { selectors, ..ReservationRequest::new(ask, subject) })
    }

    /// Gives the flow a class for what it receives, or takes it where nothing is reserved for receiving any more.
    async fn receive(&self, local_port: u16, admitted: &Admitted, decision: &mut Decision) {
        let packets = ReceivedPackets { protocol: self.carrier.protocol(), peer: self.peer, local_port };
        self.host.receive(packets, admitted, decision).await;
    }

    /// Shapes the socket as its flow was admitted, and holds the reservation.
    fn set_up(
        self: &Arc<Self>,
        granted: Granted,
        request: RequestGuard<'_>,
    ) -> Result<Decision, ConnectError> {
        let Granted { admitted, mut decision, mut reservation } = granted;
        self.carrier.limit_enforced(&mut decision, reservation.marks_sockets());
        let begins_now = admitted.begins.is_none();
        if begins_now {
            self.apply(&admitted, &mut reservation)?;
        }
        let (id, reserved) = (reservation.id().to_owned(), reservation.state());
        let is_reserved_later = decision.is_unconfirmed();
        request.hold(reservation, decision.clone());
        // After it is held, since it may be admitted on another interface from then on.
        self.host.engine.connected(&id);
        if !begins_now || is_reserved_later {
            let (flow, state) = (Arc::downgrade(self), Arc::downgrade(&reserved));
            reserved.on_begin(move |admitted| {
                if let (Some(flow), Some(state)) = (flow.upgrade(), state.upgrade()) {
                    flow.begin(&state, admitted);
                }
            });
        }
        Ok(decision)
    }

    /// A reservation that was made ahead begins, or the daemon is back and has granted the reservation of a flow that had begun
    /// without it.
    fn begin(&self, reserved: &Arc<ReservationState>, admitted: &Admitted) {
        let mut state = self.state();
        if let FlowState::Held(held) = &mut *state
            && Arc::ptr_eq(&held.reservation.state(), reserved)
        {
            // A socket that cannot be shaped has failed, and sends nothing.
            let _ = self.apply(admitted, &mut held.reservation);
            held.decision.reserved_later();
        }
    }

    /// The flow is admitted on another interface, by which its packets leave. They go to its class there at once.
    fn moved(self: &Arc<Self>, reserved: &Arc<ReservationState>, answer: &Answer) {
        let Answer { decision, admitted: Some(admitted) } = answer.clone() else { return };
        let rendition = {
            let mut state = self.state();
            let FlowState::Held(held) = &mut *state else { return };
            if !Arc::ptr_eq(&held.reservation.state(), reserved) {
                return;
            }
            if admitted.begins.is_none() {
                // A socket that cannot be marked has failed, and sends nothing.
                let _ = self.mark(&admitted, &held.reservation);
            }
            held.decision = decision.clone();
            held.rendition.clone()
        };
        let (flow, reserved, mut decision) = (Arc::clone(self), Arc::clone(reserved), decision);
        tokio::spawn(async move {
            // A socket without an address has failed.
            let Ok(local) = flow.carrier.local_addr() else { return };
            flow.receive(local.port(), &admitted, &mut decision).await;
            // It fails for a flow that has ended meanwhile, and for a socket that has failed.
            let _ = flow.shape_renegotiated(&reserved, (admitted, decision, rendition));
        });
    }

    /// Shapes the socket for a reservation, and has the engine watch its peer.
    fn apply(&self, admitted: &Admitted, reservation: &mut Reservation) -> Result<(), ConnectError> {
        if let Err(error) = self.shape(admitted, reservation) {
            // What has failed is the error; a socket that cannot be shaped is given up.
            let _ = self.unshape();
            return Err(error);
        }
        reservation.metered(meter(self.control.clone()));
        if let Some(socket) = self.carrier.peer_socket(&self.control, admitted) {
            reservation.watch(socket, admitted.timeouts);
        }
        Ok(())
    }

    /// Shapes the socket as its flow was admitted.
    fn shape(&self, admitted: &Admitted, reservation: &Reservation) -> Result<(), ConnectError> {
        self.mark(admitted, reservation)?;
        let framing = self.carrier.framing(self.peer)?;
        let sending = plan(admitted, Direction::Sending, framing)?;
        if let Some(plan) = &sending {
            self.carrier.assist(self.peer, plan)?;
        }
        self.control.set_owing(Direction::Sending, sending, admitted.owed.sending);
        let receiving = plan(admitted, Direction::Receiving, framing)?;
        if let Some(plan) = &receiving {
            self.carrier.assist_receiving(self.peer, plan)?;
        }
        self.control.set_owing(Direction::Receiving, receiving, admitted.owed.receiving);
        Ok(())
    }

    /// Sends the socket's packets to the flow's class, or has the engine do that.
    fn mark(&self, admitted: &Admitted, reservation: &Reservation) -> Result<(), ConnectError> {
        if !reservation.marks_sockets() || !admitted.reserves() {
            return self.carrier.mark(self.peer, admitted);
        }
        match self.carrier.attached() {
            Some(socket) => {
                self.carrier.remember_mark(self.peer)?;
                reservation.attach(socket);
                Ok(())
            }
            None => self.carrier.mark(self.peer, &Admitted { class: None, ..admitted.clone() }),
        }
    }

    /// Ends the shaping of the socket and takes it out of its class.
    fn unshape(&self) -> Result<(), ConnectError> {
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
        self.carrier.unmark(self.peer)
    }

    async fn renegotiate(&self, ask: Ask) -> Result<Decision, ConnectError> {
        let _first = self.renegotiation.lock().await;
        let held = self.held(|held| (held.reservation.id().to_owned(), held.reservation.state()));
        let (id, reserved) = held.ok_or(ConnectError::NotReserved)?;
        let time_to_live = ask.time_to_live;
        let engine = &self.host.engine;
        let request = self.request(Ask { id: Some(id.clone()), ..ask })?;
        let local_port = request.subject.local_port;
        let renditions = engine.renditions(request).await?;
        let mut refused = None;
        for Rendition { template: name, qos } in renditions {
            let answer = engine.renegotiate(id.clone(), qos.map(Some)).await?;
            let mut decision = answer.decision;
            let Some(admitted) = answer.admitted else {
                refused = Some(decision);
                continue;
            };
            self.receive(local_port, &admitted, &mut decision).await;
            let decision = self.shape_renegotiated(&reserved, (admitted, decision, name))?;
            if let Some(time_to_live) = time_to_live {
                self.refresh(id, time_to_live).await?;
            }
            return Ok(decision);
        }
        Err(refused.map_or(ConnectError::NotReserved, |decision| ConnectError::Refused(Box::new(decision))))
    }

    /// Shapes the socket as its flow was renegotiated, unless that has ended meanwhile.
    fn shape_renegotiated(
        &self,
        reserved: &Arc<ReservationState>,
        (admitted, mut decision, name): (Admitted, Decision, Option<String>),
    ) -> Result<Decision, ConnectError> {
        // Locked while the socket is shaped: a loss of the reservation ends the shaping afterwards.
        let mut state = self.state();
        match &mut *state {
            FlowState::Held(held) if Arc::ptr_eq(&held.reservation.state(), reserved) => {
                self.carrier.limit_enforced(&mut decision, held.reservation.marks_sockets());
                if admitted.begins.is_none() {
                    self.shape(&admitted, &held.reservation)?;
                }
                held.decision = decision.clone();
                held.rendition = name;
                Ok(decision)
            }
            _ => Err(ConnectError::NotReserved),
        }
    }

    async fn refresh(&self, id: String, time_to_live: Duration) -> Result<(), ConnectError> {
        let time_to_live = u64::try_from(time_to_live.as_micros()).unwrap_or(u64::MAX);
        let refresh = Operation::Refresh { id, time_to_live: Micros::new(time_to_live) };
        let decision = self.host.submit(refresh).await?;
        if decision.is_ok() { Ok(()) } else { Err(ConnectError::Refused(Box::new(decision))) }
    }

    fn lose(&self, lost: &Lost) {
        let mut state = self.state();
        if matches!(*state, FlowState::Held(_)) {
            // This fails for a closed socket alone, which sends nothing.
            let _ = self.unshape();
            *state = FlowState::Lost(lost.clone());
            self.lost.notify_waiters();
        }
    }

    /// Reads something of the reservation, while it is held.
    fn held<T>(&self, read: impl FnOnce(&FlowReservation) -> T) -> Option<T> {
        match &*self.state() {
            FlowState::Held(held) => Some(read(held)),
            FlowState::Free | FlowState::Reserving | FlowState::Lost(_) | FlowState::Ended => None,
        }
    }

    fn why_lost(&self) -> Option<Lost> {
        match &*self.state() {
            FlowState::Lost(lost) => Some(lost.clone()),
            FlowState::Free | FlowState::Reserving | FlowState::Held(_) | FlowState::Ended => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, FlowState> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. Dropped, it makes the flow free again.
struct RequestGuard<'a>(&'a Arc<Inner>);

impl RequestGuard<'_> {
    fn hold(self, reservation: Reservation, decision: Decision) {
        let mut state = self.0.state();
        if !matches!(*state, FlowState::Reserving) {
            // The connection has ended meanwhile; dropping the reservation releases it.
            return;
        }
        let reserved = reservation.state();
        let rendition = decision.rendition().map(str::to_owned);
        *state = FlowState::Held(Box::new(FlowReservation {
            reservation,
            decision,
            rendition,
            ends_when_flushed: false,
        }));
        drop(state);
        let (flow, state) = (Arc::downgrade(self.0), Arc::downgrade(&reserved));
        reserved.on_move(move |answer| {
            if let (Some(flow), Some(state)) = (flow.upgrade(), state.upgrade()) {
                flow.moved(&state, answer);
            }
        });
        // After the state is set, since the reservation may be lost already.
        let flow = Arc::downgrade(self.0);
        reserved.on_loss(move |lost| {
            if let Some(flow) = flow.upgrade() {
                flow.lose(lost);
            }
        });
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(*state, FlowState::Reserving) {
            *state = FlowState::Free;
        }
    }
}
