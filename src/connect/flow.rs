//! A flow: a socket, its shaping, and the reservation it holds.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use flowspec::{Bytes, Direction};
use shaper::{Control, Framing, Plan};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::error::ConnectError;
use super::host::{Ask, Command, Host};
use super::lingering::Lingering;
use crate::admission::Decision;
use crate::linux::socket;
use crate::manager::Admitted;
use crate::policy::Protocol;

/// A reservation, given back exactly once: by [`end`](Self::end) or when dropped.
pub(crate) struct Reservation {
    commands: mpsc::UnboundedSender<Command>,
    id: String,
    ended: bool,
}

/// A reservation that was granted: how to set its flow up, and the duty to give it back.
pub(crate) struct Granted {
    pub(crate) admitted: Admitted,
    pub(crate) decision: Decision,
    pub(crate) reservation: Reservation,
}

/// The handle on an accepted or connected TCP flow: reserves for it, and gives back.
///
/// For servers that learn what a connection wants only from its first request: the connection is
/// accepted without a reservation and gets one here, from which moment its socket is in its class and
/// its writes are held to the flowspec.
pub struct Flow {
    host: Host,
    socket: Arc<TcpStream>,
    peer: SocketAddr,
    control: Control,
    state: Mutex<State>,
}

enum State {
    Free,
    /// A reservation is being asked for.
    Asking,
    Held {
        reservation: Reservation,
        decision: Box<Decision>,
    },
    Ended,
}

impl Reservation {
    pub(super) const fn new(commands: mpsc::UnboundedSender<Command>, id: String) -> Self {
        Self { commands, id, ended: false }
    }

    /// The peer has answered: the flow is no longer provisional.
    pub(crate) fn connected(&self) {
        self.tell(Command::Connected { id: self.id.clone() });
    }

    fn tell(&self, command: Command) {
        // A manager that has stopped has given everything back.
        let _ = self.commands.send(command);
    }

    pub(crate) fn end(mut self, lingering: Lingering) {
        self.give_back(lingering);
    }

    fn give_back(&mut self, lingering: Lingering) {
        if !std::mem::replace(&mut self.ended, true) {
            self.tell(Command::Closed { id: self.id.clone(), lingering });
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(Lingering::Nothing);
    }
}

impl Flow {
    pub(super) fn new(host: Host, socket: Arc<TcpStream>, peer: SocketAddr) -> Self {
        Self { host, socket, peer, control: Control::default(), state: Mutex::new(State::Free) }
    }

    /// A flow whose reservation came before its socket: shaped before its first byte.
    pub(super) fn connected(
        host: Host,
        socket: Arc<TcpStream>,
        peer: SocketAddr,
        granted: Granted,
    ) -> Result<Self, ConnectError> {
        let Granted { admitted, decision, reservation } = granted;
        let mut flow = Self::new(host, socket, peer);
        flow.shape(&admitted)?;
        reservation.connected();
        flow.state = Mutex::new(State::Held { reservation, decision: Box::new(decision) });
        Ok(flow)
    }

    /// The peer.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The handle on the shaping.
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The decision that admitted the flow, while its reservation is held.
    pub fn decision(&self) -> Option<Decision> {
        match &*self.state() {
            State::Held { decision, .. } => Some((**decision).clone()),
            State::Free | State::Asking | State::Ended => None,
        }
    }

    /// Asks for a reservation and holds the socket to it.
    ///
    /// - **Errors**: the refusal; the flow holds one already or has ended; the kernel's.
    pub async fn reserve(&self, ask: &Ask) -> Result<Decision, ConnectError> {
        {
            let mut state = self.state();
            let problem = match *state {
                State::Free => None,
                State::Asking | State::Held { .. } => Some("the flow holds a reservation already"),
                State::Ended => Some("the flow has ended"),
            };
            if let Some(problem) = problem {
                return Err(ConnectError::State { problem });
            }
            *state = State::Asking;
        }
        // Given back if this future is dropped or fails.
        let asking = Asking(self);
        let local_port = self.socket.local_addr().map_or(0, |local| local.port());
        let Granted { admitted, decision, reservation } =
            self.host.reserve(ask, self.peer.ip(), Protocol::Tcp, local_port).await?;
        let ipv6 = self.peer.ip().to_canonical().is_ipv6();
        if admitted.class.is_some() || admitted.dscp.is_some() {
            socket::classify(&*self.socket, ipv6, admitted.dscp, admitted.class)?;
        }
        self.shape(&admitted)?;
        reservation.connected();
        asking.hold(reservation, decision.clone());
        Ok(decision)
    }

    /// Holds the socket to what was admitted.
    fn shape(&self, admitted: &Admitted) -> Result<(), ConnectError> {
        let framing = socket::tcp_framing(&*self.socket, self.peer.ip())?;
        if let Some(plan) = plan(admitted, Direction::Sending, framing)? {
            let assisted = shaper::sys::assist_tcp(&*self.socket, &plan);
            let failed = |cause| ConnectError::Socket { call: "setsockopt", peer: self.peer, cause };
            assisted.map_err(failed)?;
            self.control.set(Direction::Sending, Some(plan));
        }
        self.control.set(Direction::Receiving, plan(admitted, Direction::Receiving, framing)?);
        Ok(())
    }

    /// Gives the reservation back; the connection goes on as best effort.
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
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
        let ipv6 = self.peer.ip().to_canonical().is_ipv6();
        socket::classify(&*self.socket, ipv6, None, None)?;
        let failed = |cause| ConnectError::Socket { call: "setsockopt", peer: self.peer, cause };
        shaper::sys::release_tcp(&*self.socket).map_err(failed)?;
        // What is in the class already leaves before the class goes.
        held.end(Lingering::Nothing);
        Ok(())
    }

    /// The connection is over: what is reserved is given back, once the data has left.
    pub(super) fn end(&self, wait_for_data: bool) {
        let state = std::mem::replace(&mut *self.state(), State::Ended);
        if let State::Held { reservation, .. } = state {
            let lingering =
                if wait_for_data { Lingering::Tcp(Arc::clone(&self.socket)) } else { Lingering::Nothing };
            reservation.end(lingering);
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

/// Puts a flow back into its state when asking for a reservation fails or is abandoned.
struct Asking<'a>(&'a Flow);

impl Asking<'_> {
    fn hold(self, reservation: Reservation, decision: Decision) {
        let mut state = self.0.state();
        if matches!(*state, State::Asking) {
            *state = State::Held { reservation, decision: Box::new(decision) };
        }
        // Otherwise the connection ended meanwhile, and the reservation is given back here.
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(*state, State::Asking) {
            *state = State::Free;
        }
    }
}

/// The plan for one direction of what was admitted.
pub(crate) fn plan(
    admitted: &Admitted,
    direction: Direction,
    framing: Framing,
) -> Result<Option<Plan>, ConnectError> {
    let tspec = admitted.tspec.get(direction);
    Ok(tspec.as_ref().map(|tspec| Plan::new(tspec, framing)).transpose()?)
}

/// The largest segment's payload that a flow with this M may send, where TCP_MAXSEG can say it: the
/// kernel takes no more than 32 767, which only loopback's packets exceed.
pub(crate) fn segment_limit(max_sdu_size: Bytes, ipv6: bool) -> Option<u32> {
    const LARGEST: u32 = 32_767;
    // The kernel subtracts the timestamps from what is set here.
    let headers = if ipv6 { 60 } else { 40 };
    u32::try_from(max_sdu_size.get().saturating_sub(headers))
        .ok()
        .filter(|payload| (1..=LARGEST).contains(payload))
}
