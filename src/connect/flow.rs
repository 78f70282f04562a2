//! A flow: a socket, its shaping, and the reservation it holds.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use flowspec::{Both, Bytes, Direction};
use shaper::{Control, Framing, Plan};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::error::ConnectError;
use super::host::Host;
use crate::admission::Decision;
use crate::engine::{
    Admitted, Ask, Granted, Lingering, Lost, PeerSocket, Reservation, ReservationRequest, Usage,
};
use crate::linux::socket;
use crate::policy::{Protocol, Subject};

/// The handle on an accepted or connected TCP flow: reserves for it, and releases.
///
/// For servers that learn from a connection's first request what to reserve: the connection is accepted without a
/// reservation and gets one here. From then on its packets are sent through its class and its writes are shaped.
pub struct Flow {
    host: Host,
    socket: Arc<TcpStream>,
    peer: SocketAddr,
    control: Control,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

/// How a connection has ended.
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
enum State {
    #[default]
    Free,
    /// A reservation is requested.
    Reserving,
    Held {
        reservation: Reservation,
        decision: Box<Decision>,
    },
    /// The reservation was lost.
    Lost(Lost),
    Ended,
}

impl Flow {
    pub(super) fn new(host: Host, socket: Arc<TcpStream>, peer: SocketAddr) -> Self {
        let (control, state, changed) = (Control::default(), Arc::default(), Arc::default());
        Self { host, socket, peer, control, state, changed }
    }

    /// A flow that was reserved before it was connected: shaped from its first byte.
    pub(super) fn connected(
        host: Host,
        socket: Arc<TcpStream>,
        peer: SocketAddr,
        granted: Granted,
    ) -> Result<Self, ConnectError> {
        let Granted { admitted, decision, mut reservation } = granted;
        let flow = Self::new(host, socket, peer);
        *flow.state() = State::Reserving;
        let request = Request(&flow);
        flow.shape(&admitted)?;
        reservation.metered(meter(flow.control.clone()));
        reservation.connected();
        flow.watch(&reservation, &admitted);
        request.hold(reservation, decision);
        Ok(flow)
    }

    /// The peer's address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The control of the flow's shaper.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The decision that admitted the flow, while its reservation is held.
    pub fn decision(&self) -> Option<Decision> {
        match &*self.state() {
            State::Held { decision, .. } => Some((**decision).clone()),
            State::Free | State::Reserving | State::Lost(_) | State::Ended => None,
        }
    }

    /// Why the reservation was lost, while none has replaced it. The connection goes on as best effort.
    pub fn lost(&self) -> Option<Lost> {
        match &*self.state() {
            State::Lost(lost) => Some(lost.clone()),
            State::Free | State::Reserving | State::Held { .. } | State::Ended => None,
        }
    }

    /// Waits until the reservation is lost, for ever if it is not.
    pub async fn until_lost(&self) -> Lost {
        loop {
            let changed = self.changed.notified();
            if let Some(lost) = self.lost() {
                return lost;
            }
            changed.await;
        }
    }

    /// Reserves, and shapes the socket.
    ///
    /// - **Errors**: the refusal; the flow holds one already or has ended; the kernel's.
    pub async fn reserve(&self, ask: &Ask) -> Result<Decision, ConnectError> {
        {
            let mut state = self.state();
            let problem = match *state {
                State::Free | State::Lost(_) => None,
                State::Reserving | State::Held { .. } => Some(ConnectError::AlreadyReserved),
                State::Ended => Some(ConnectError::Ended),
            };
            if let Some(problem) = problem {
                return Err(problem);
            }
            *state = State::Reserving;
        }
        // Restores the state if this future is dropped or fails.
        let request = Request(self);
        let local_port = self.socket.local_addr().map_or(0, |local| local.port());
        let subject = Subject { protocol: Protocol::Tcp, local_port, peer: self.peer.ip() };
        let Granted { admitted, decision, mut reservation } =
            self.host.reserve(ReservationRequest::new(ask.clone(), subject)).await?;
        let ipv6 = self.peer.ip().to_canonical().is_ipv6();
        if admitted.class.is_some() || admitted.dscp.is_some() {
            socket::classify(&*self.socket, ipv6, admitted.dscp, admitted.class)?;
        }
        self.shape(&admitted)?;
        reservation.metered(meter(self.control.clone()));
        reservation.connected();
        self.watch(&reservation, &admitted);
        request.hold(reservation, decision.clone());
        Ok(decision)
    }

    /// Has the engine release the reservation once the peer is dead or accepts nothing.
    fn watch(&self, reservation: &Reservation, admitted: &Admitted) {
        if admitted.reserves() {
            reservation.watch(PeerSocket::Tcp(Arc::downgrade(&self.socket)), admitted.timeouts);
        }
    }

    /// Shapes the socket as the flow was admitted.
    fn shape(&self, admitted: &Admitted) -> Result<(), ConnectError> {
        let framing = socket::tcp_framing(&*self.socket, self.peer.ip())?;
        if let Some(plan) = plan(admitted, Direction::Sending, framing)? {
            let assisted = shaper::sys::assist_tcp(&*self.socket, &plan);
            assisted.map_err(|error| failed(self.peer, error))?;
            self.control.set_owing(Direction::Sending, Some(plan), admitted.owed.sending);
        }
        let receiving = plan(admitted, Direction::Receiving, framing)?;
        self.control.set_owing(Direction::Receiving, receiving, admitted.owed.receiving);
        Ok(())
    }

    /// Releases the reservation; the connection goes on as best effort.
    ///
    /// - **Errors**: `setsockopt`.
    pub fn release(&self) -> Result<(), ConnectError> {
        let held = {
            let mut state = self.state();
            match std::mem::replace(&mut *state, State::Free) {
                State::Held { reservation, .. } => reservation,
                other => {
                    *state = other;
                    return Ok(());
                }
            }
        };
        unshape(&self.control, &self.socket, self.peer)?;
        // Packets that are queued in the class leave before the class is deleted.
        held.end(Lingering::Nothing);
        Ok(())
    }

    /// The connection has ended: its reservation is released.
    pub(super) fn end(&self, end: End) {
        let state = std::mem::replace(&mut *self.state(), State::Ended);
        if let State::Held { reservation, .. } = state {
            match end {
                End::Dropped => reservation.end(Lingering::Tcp(Arc::clone(&self.socket))),
                End::Failed => reservation.end(Lingering::Nothing),
                End::PeerGone => reservation.end_without_peer(),
            }
        }
    }

    pub(super) const fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. Dropped, it makes the flow free again.
struct Request<'a>(&'a Flow);

impl Request<'_> {
    fn hold(self, reservation: Reservation, decision: Decision) {
        let flow = self.0;
        let (control, peer) = (flow.control.clone(), flow.peer);
        let (socket, state) = (Arc::downgrade(&flow.socket), Arc::downgrade(&flow.state));
        let changed = Arc::clone(&flow.changed);
        let on_loss = move |lost: &Lost| {
            let (Some(socket), Some(state)) = (socket.upgrade(), state.upgrade()) else { return };
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Held { .. }) {
                // This fails for a closed socket alone, which sends nothing.
                let _ = unshape(&control, &socket, peer);
                *state = State::Lost(lost.clone());
                changed.notify_waiters();
            }
        };
        let mut state = flow.state();
        if !matches!(*state, State::Reserving) {
            // The connection has ended meanwhile; dropping the reservation releases it.
            return;
        }
        let reserved = reservation.state();
        *state = State::Held { reservation, decision: Box::new(decision) };
        drop(state);
        // After the state is set, since the reservation may be lost already.
        reserved.on_loss(on_loss);
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(*state, State::Reserving) {
            *state = State::Free;
        }
    }
}

/// Ends the shaping of a socket and takes it out of its class.
fn unshape(control: &Control, stream: &TcpStream, peer: SocketAddr) -> Result<(), ConnectError> {
    for direction in Direction::BOTH {
        control.set(direction, None);
    }
    socket::classify(stream, peer.ip().to_canonical().is_ipv6(), Some(0), None)?;
    shaper::sys::release_tcp(stream).map_err(|error| failed(peer, error))
}

/// A socket option of the shaper could not be set.
fn failed(peer: SocketAddr, failure: shaper::sys::SystemCallError) -> ConnectError {
    ConnectError::socket(&failure.call.to_string(), peer, failure.errno)
}

/// Reads what a flow takes from the buckets of its shaper, from now on: for [`Reservation::metered`], once the flow is
/// shaped.
pub fn meter(control: Control) -> impl Fn() -> Usage + Send + Sync + 'static {
    let charged = |control: &Control| control.stats(Direction::Sending).charged;
    let before = charged(&control);
    let both = Both { sending: Direction::Sending, receiving: Direction::Receiving };
    let shaped = both.map(|direction| control.plan(direction).map(|_| direction));
    move || {
        let missing = shaped.map(|shaped| shaped.map(|direction| control.owed(direction)));
        Usage { missing, sent: Bytes::new(charged(&control).saturating_sub(before)) }
    }
}

/// The plan for one direction of what was admitted.
pub fn plan(
    admitted: &Admitted,
    direction: Direction,
    framing: Framing,
) -> Result<Option<Plan>, ConnectError> {
    let tspec = admitted.tspec.get(direction);
    Ok(tspec.as_ref().map(|tspec| Plan::new(tspec, framing)).transpose()?)
}

/// The payload of the largest segment that a flow with this maximum packet size may send. `None` where TCP_MAXSEG cannot
/// express it: the kernel takes no more than 32,767, which only packets of the loopback interface exceed.
pub fn segment_limit(max_sdu_size: Bytes, ipv6: bool) -> Option<u32> {
    const LARGEST: u32 = 32_767;
    // The kernel subtracts the timestamps from what is set here.
    let headers = if ipv6 { 60 } else { 40 };
    u32::try_from(max_sdu_size.get().saturating_sub(headers))
        .ok()
        .filter(|payload| (1..=LARGEST).contains(payload))
}
