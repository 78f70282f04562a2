//! An open socket: a Linux descriptor, and what Winsock knows of it besides.
//!
//! The methods that perform Winsock's calls are in the files of those calls.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use flowspec::{Direction, Errno, Wsa};
use shaper::Control;
use tokio::io::Interest;

use super::Result;
use super::blocking::{now, pause, wait};
use super::close_state::CloseState;
use super::descriptor::{Descriptor, Duplicate, Watched};
use super::group::Membership;
use super::handshake::OfferQueue;
use super::network_events::EventSelection;
use super::operations::Operations;
use super::protocol::{Family, PROTOCOLS, ProtocolInfo, SocketType};
use super::provider::check_started;
use super::qos_state::QosState;
use crate::sys::{self, Readiness};

/// An open socket, shared by the calls on it.
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) fd: Descriptor,
    /// The family of its addresses.
    pub family: Family,
    /// Streams or datagrams.
    pub socket_type: SocketType,
    /// Connect calls carry data and flow specifications to the peer.
    carries_connect_data: bool,
    /// The direction of a one-way socket.
    only: Option<Direction>,
    /// Shapes the socket's data in user space.
    pub(crate) control: Control,
    pub(crate) events: EventSelection,
    pub(crate) closing: Arc<CloseState>,
    pub(crate) operations: Operations<Self>,
    /// The process that made it: a child after fork does not release what its parent has reserved.
    process: u32,
    group: OnceLock<Membership>,
    me: Weak<Self>,
    state: Mutex<EndpointState>,
}

/// What distinguishes the sockets of the catalogue's protocols.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointKind {
    pub(crate) family: Family,
    pub(crate) socket_type: SocketType,
    pub(crate) carries_connect_data: bool,
    pub(crate) only: Option<Direction>,
}

/// The state of a socket's connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum ConnectionPhase {
    /// Neither connected nor listening.
    #[default]
    Idle,
    Connecting,
    /// It has a peer.
    Connected,
    Listening,
}

/// Which other sockets may bind to the same local address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum AddressSharing {
    /// None, except those with SO_REUSEADDR.
    #[default]
    Default,
    /// SO_REUSEADDR.
    Reuse,
    /// SO_EXCLUSIVEADDRUSE.
    Exclusive,
}

/// The part of a socket that changes.
#[derive(Debug, Default)]
pub(crate) struct EndpointState {
    pub(crate) phase: ConnectionPhase,
    pub(crate) nonblocking: bool,
    /// It has a local address, from bind or chosen by the kernel.
    pub(crate) bound: bool,
    pub(crate) peer: Option<SocketAddr>,
    /// An AcceptEx that is under way will make it the accepted end of a connection.
    pub(crate) awaits_adoption: bool,
    /// The multicast session that a datagram socket sends to without a peer.
    pub(crate) session: Option<SocketAddr>,
    /// The multicast session that it has joined to receive.
    pub(crate) receives_session: Option<SocketAddr>,
    /// It is a datagram socket whose peer was removed.
    pub(crate) peer_removed: bool,
    /// SO_ERROR: the error of the latest connection that failed.
    pub(crate) error: Option<Wsa>,
    /// The latest non-blocking connection has failed and was not tried again.
    pub(crate) connect_failed: bool,
    /// The connection was reset: the code of every receive from now on.
    pub(crate) reset: Option<Wsa>,
    pub(crate) connected_at: Option<Instant>,
    pub(crate) sending_ended: bool,
    pub(crate) receiving_ended: bool,
    pub(crate) sharing: AddressSharing,
    pub(crate) broadcast: bool,
    /// The value of IP_MULTICAST_IF or IPV6_MULTICAST_IF; 0 where the route decides.
    pub(crate) multicast_interface: i32,
    pub(crate) qos: QosState,
    /// The connections of a listener whose connect calls carry data.
    pub(crate) offers: Option<Arc<OfferQueue>>,
    /// The data that the callee has sent with its answer.
    pub(crate) callee_data: Vec<u8>,
    /// The status in the callee's answer, until the connection is made.
    pub(crate) callee_reserves: Option<Wsa>,
    /// A connection that the condition function has deferred.
    pub(crate) deferred: Option<(RawFd, SocketAddr)>,
    /// SO_SNDTIMEO; `None` is no limit.
    pub(crate) send_timeout: Option<Duration>,
    /// SO_RCVTIMEO.
    pub(crate) receive_timeout: Option<Duration>,
    /// SIO_UDP_CONNRESET is off: an ICMP port unreachable is not reported.
    pub(crate) ignores_resets: bool,
    /// SO_CONDITIONAL_ACCEPT. It has no effect, since the kernel completes connections before the condition runs.
    pub(crate) conditional_accept: bool,
    /// SO_GROUP_PRIORITY. It has no effect.
    pub(crate) group_priority: i32,
}

impl Endpoint {
    pub(crate) fn new(fd: Descriptor, kind: EndpointKind, state: EndpointState, me: Weak<Self>) -> Self {
        Self {
            fd,
            family: kind.family,
            socket_type: kind.socket_type,
            carries_connect_data: kind.carries_connect_data,
            only: kind.only,
            control: Control::default(),
            events: EventSelection::default(),
            closing: Arc::default(),
            operations: Operations::default(),
            process: sys::process_id(),
            group: OnceLock::new(),
            me,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn new_accepted(&self, fd: Descriptor, peer: SocketAddr, me: Weak<Self>) -> Self {
        let listener = self.state();
        let state = EndpointState {
            phase: ConnectionPhase::Connected,
            nonblocking: listener.nonblocking,
            bound: true,
            peer: Some(peer),
            connected_at: Some(now()),
            sharing: listener.sharing,
            ..EndpointState::default()
        };
        drop(listener);
        Self::new(fd, EndpointKind { only: None, ..self.kind() }, state, me)
    }

    const fn kind(&self) -> EndpointKind {
        EndpointKind {
            family: self.family,
            socket_type: self.socket_type,
            carries_connect_data: self.carries_connect_data,
            only: self.only,
        }
    }

    /// The catalogue entry of its protocol.
    pub fn protocol(&self) -> &'static ProtocolInfo {
        let own = (self.family, self.socket_type, self.carries_connect_data, self.only);
        let matches = |entry: &&ProtocolInfo| {
            (entry.family, entry.socket_type, entry.carries_connect_data(), entry.only()) == own
        };
        // Every socket that can be opened is of an entry.
        PROTOCOLS.iter().find(matches).unwrap_or(&PROTOCOLS[0])
    }

    /// Whether connect calls carry data and flow specifications to the peer.
    pub const fn carries_connect_data(&self) -> bool {
        self.carries_connect_data
    }

    /// The data that the callee has sent with its answer to the connect call.
    pub fn callee_data(&self) -> Vec<u8> {
        self.state().callee_data.clone()
    }

    /// The descriptor's number, which is the SOCKET.
    pub fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, EndpointState> {
        // The state is consistent between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reference for callbacks that may outlive the socket.
    pub(crate) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.socket_type == SocketType::Stream
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.state().phase == ConnectionPhase::Listening
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closing.is_closed()
    }

    /// Whether this process made it, and not its parent.
    pub(crate) fn is_own(&self) -> bool {
        self.process == sys::process_id()
    }

    pub(crate) fn membership(&self) -> Option<&Membership> {
        self.group.get()
    }

    /// Makes the socket a member of a group, unless it is in one.
    pub(crate) fn join_group(&self, membership: Option<Membership>) {
        if let Some(membership) = membership {
            let _ = self.group.set(membership);
        }
    }

    /// Checks that a one-way socket is of this direction.
    ///
    /// - **Errors**: WSAEOPNOTSUPP.
    pub(crate) fn check_direction(&self, direction: Direction) -> Result<()> {
        if self.only.is_none_or(|only| only == direction) { Ok(()) } else { Err(Wsa::Eopnotsupp) }
    }

    /// Sets whether programs that this process executes inherit the descriptor. By default they do not.
    ///
    /// - **Errors**: those of `fcntl`.
    /// - **Source**: WSASocket, WSA_FLAG_NO_HANDLE_INHERIT, the opposite.
    pub fn set_inheritable(&self, inheritable: bool) -> Result<()> {
        sys::set_inheritable(&self.fd, inheritable).map_err(Errno::wsa)
    }

    /// Whether programs that this process executes inherit the descriptor.
    pub fn is_inheritable(&self) -> bool {
        sys::is_inheritable(&self.fd)
    }

    /// Whether data can still be transferred in this direction.
    pub(crate) fn is_open_for(&self, direction: Direction) -> bool {
        if self.check_direction(direction).is_err() {
            return false;
        }
        let state = self.state();
        match direction {
            Direction::Sending => !state.sending_ended,
            Direction::Receiving => !state.receiving_ended,
        }
    }

    /// Checks that an address is of the socket's family.
    ///
    /// - **Errors**: WSAEAFNOSUPPORT.
    pub(crate) fn check_family(&self, address: SocketAddr) -> Result<()> {
        match (self.family, address.ip()) {
            (Family::Inet, IpAddr::V4(_)) | (Family::Inet6, IpAddr::V6(_)) => Ok(()),
            (Family::Inet, IpAddr::V6(_)) | (Family::Inet6, IpAddr::V4(_)) => Err(Wsa::Eafnosupport),
        }
    }

    /// Waits until the descriptor is ready.
    ///
    /// - **Errors**: WSAEINTR, WSAETIMEDOUT, WSAEINPROGRESS.
    pub(crate) fn wait_until(&self, wanted: Readiness, timeout: Option<Duration>) -> Result<Readiness> {
        wait(&self.closing, self.number(), wanted, timeout)
    }

    /// Waits for a time.
    ///
    /// - **Errors**: WSAEINTR, WSAEINPROGRESS.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        pause(&self.closing, time)
    }

    /// A duplicate of the descriptor.
    ///
    /// - **Errors**: WSAEMFILE, WSAENOBUFS.
    pub(crate) fn duplicate(&self) -> Result<Duplicate> {
        Duplicate::new(&self.fd, &self.closing)
    }

    /// Registers a duplicate of the descriptor with the reactor, on which the caller runs.
    ///
    /// - **Errors**: WSAEMFILE, WSAENOBUFS.
    pub(crate) fn register(&self, interest: Interest) -> Result<Watched> {
        self.duplicate()?.watch(interest)
    }

    /// Waits until the socket is closed.
    pub(crate) async fn until_closed(&self) {
        self.operations.until(|| self.is_closed().then_some(())).await;
    }

    /// The local address.
    ///
    /// - **Errors**: WSAEINVAL where it has none.
    /// - **Source**: WSPGetSockName.
    pub fn local_address(&self) -> Result<SocketAddr> {
        check_started()?;
        if !self.state().bound {
            return Err(Wsa::Einval);
        }
        sys::local_address(&self.fd).map_err(Errno::wsa)
    }

    /// The peer's address; that of the connect call, while it is under way.
    ///
    /// - **Errors**: WSAENOTCONN.
    /// - **Source**: WSPGetPeerName.
    pub fn peer_address(&self) -> Result<SocketAddr> {
        check_started()?;
        let state = self.state();
        match state.phase {
            ConnectionPhase::Connecting | ConnectionPhase::Connected => state.peer.ok_or(Wsa::Enotconn),
            ConnectionPhase::Idle | ConnectionPhase::Listening => Err(Wsa::Enotconn),
        }
    }

    /// Sets whether calls on the socket, and on its descriptor, return instead of waiting.
    ///
    /// - **Errors**: WSAEINVAL for a blocking socket on which events are selected.
    /// - **Source**: WSPIoctl, FIONBIO.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        check_started()?;
        if !nonblocking && self.events.is_active() {
            return Err(Wsa::Einval);
        }
        let mut state = self.state();
        sys::set_nonblocking(&self.fd, nonblocking).map_err(Errno::wsa)?;
        state.nonblocking = nonblocking;
        Ok(())
    }
}
