//! Sockets: a Linux descriptor, with what Winsock knows of it besides.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use flowspec::{Direction, Wsa};
use shaper::Control;

use super::Result;
use super::catalogue::{Catalogued, PROTOCOLS};
use super::exchange::Offered;
use super::group::{Grouping, Membership};
use super::notify::Notify;
use super::provider::running;
use super::qos::Quality;
use crate::sys::raw::{self, Half, Signal};
use gqos::engine::Lingering;

/// Address families.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// AF_INET.
    Inet,
    /// AF_INET6.
    Inet6,
}

/// Socket types.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// SOCK_STREAM: TCP.
    Stream,
    /// SOCK_DGRAM: UDP.
    Datagram,
}

/// A socket of the provider's, closed when it is dropped.
#[derive(Debug)]
pub struct Socket(Arc<Endpoint>);

/// An open socket: what its calls need.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) fd: Arc<OwnedFd>,
    /// Addresses of this family.
    pub family: Family,
    /// Streams or datagrams.
    pub kind: Kind,
    /// It carries data and flow specifications with its connect calls.
    pub(super) with_data: bool,
    /// The one direction in which it moves anything, where there is only one.
    pub(super) only: Option<Direction>,
    pub(super) control: Control,
    pub(super) notify: Notify,
    /// Which process made it: a child has no business with what its parent shares.
    process: u32,
    closed: AtomicBool,
    closed_signal: OnceLock<Signal>,
    /// How many threads wait in the kernel to receive.
    receivers: AtomicUsize,
    /// What is finished later.
    pub(super) later: super::later::Later,
    /// Its group, for as long as it lives.
    group: OnceLock<Membership>,
    /// Itself, for those who tell it something later.
    me: Weak<Self>,
    state: Mutex<State>,
}

/// Where a socket stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Phase {
    /// Neither connected nor listening.
    #[default]
    Idle,
    /// A connection is being made.
    Connecting,
    /// It has a peer.
    Connected,
    /// It takes connections.
    Listening,
}

/// Who may have the same local address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Sharing {
    /// Nobody, and nobody is kept from taking it by force.
    #[default]
    Usual,
    /// SO_REUSEADDR: everybody who wants to.
    Reuse,
    /// SO_EXCLUSIVEADDRUSE: nobody at all.
    Exclusive,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) nonblocking: bool,
    /// It has a local address, asked for or not.
    pub(super) bound: bool,
    pub(super) peer: Option<SocketAddr>,
    /// A datagram socket had a peer, and has been told to have none.
    pub(super) dissolved: bool,
    /// SO_ERROR: of the last connection that was not made.
    pub(super) error: Option<Wsa>,
    /// The last non-blocking connection failed, and nobody has tried since.
    pub(super) failed: bool,
    pub(super) connected_at: Option<Instant>,
    pub(super) sending_ended: bool,
    pub(super) receiving_ended: bool,
    pub(super) sharing: Sharing,
    pub(super) broadcast: bool,
    pub(super) quality: Quality,
    /// What a listener has been offered, where connections bring something along.
    pub(super) offered: Option<Arc<Offered>>,
    /// What the callee has sent along.
    pub(super) callee_data: Vec<u8>,
    /// A connection that was put off.
    pub(super) deferred: Option<(RawFd, SocketAddr)>,
    /// SO_SNDTIMEO and SO_RCVTIMEO; nothing where calls wait for as long as it takes.
    pub(super) send_timeout: Option<Duration>,
    pub(super) receive_timeout: Option<Duration>,
    /// SIO_UDP_CONNRESET is off: that nobody took a datagram is not told.
    pub(super) resets_untold: bool,
    /// SO_CONDITIONAL_ACCEPT, which is kept: the kernel makes connections before anybody is asked.
    pub(super) conditional_accept: bool,
    /// Priority inside its group, which is kept and says nothing.
    pub(super) group_priority: i32,
}

/// Every open socket, by its descriptor.
static TABLE: RwLock<Vec<Option<Arc<Endpoint>>>> = RwLock::new(Vec::new());

impl Socket {
    /// A new socket.
    ///
    /// - **Errors**: WSANOTINITIALISED, WSAEMFILE, WSAENOBUFS, WSAEAFNOSUPPORT.
    /// - **Source**: WSPSocket.
    pub fn open(family: Family, kind: Kind) -> Result<Self> {
        Self::open_in(family, kind, Grouping::None)
    }

    /// The same in a group.
    ///
    /// - **Errors**: those of [`open`](Self::open); WSAEINVAL for a group that there is not, or that such a socket
    ///   cannot be in.
    pub fn open_in(family: Family, kind: Kind, group: Grouping) -> Result<Self> {
        Self::open_as(family, kind, false, None, group)
    }

    /// A datagram socket that only sends or only receives: of its flow specifications the other half is ignored, and
    /// calls that would move something that way are WSAEOPNOTSUPP.
    ///
    /// - **Errors**: those of [`open_in`](Self::open_in).
    /// - **Source**: WSAPROTOCOL_INFO, XP1_UNI_SEND and XP1_UNI_RECV.
    pub fn open_one_way(family: Family, only: Direction, group: Grouping) -> Result<Self> {
        Self::open_as(family, Kind::Datagram, false, Some(only), group)
    }

    /// A stream whose connect calls carry data and flow specifications to the peer, by an exchange of its own
    /// before the connection stands. Both ends have to be such.
    ///
    /// - **Errors**: those of [`open`](Self::open).
    /// - **Source**: WSAPROTOCOL_INFO, XP1_CONNECT_DATA.
    pub fn open_with_data(family: Family) -> Result<Self> {
        Self::open_with_data_in(family, Grouping::None)
    }

    /// The same in a group.
    ///
    /// - **Errors**: those of [`open_in`](Self::open_in).
    pub fn open_with_data_in(family: Family, group: Grouping) -> Result<Self> {
        Self::open_as(family, Kind::Stream, true, None, group)
    }

    fn open_as(
        family: Family,
        kind: Kind,
        with_data: bool,
        only: Option<Direction>,
        group: Grouping,
    ) -> Result<Self> {
        running()?;
        let membership = group.enter(family, kind)?;
        let fd = raw::open(family == Family::Inet6, kind == Kind::Stream);
        let fd = fd.map_err(|error| raw::code(&error))?;
        if family == Family::Inet6 {
            // Windows' default, whatever the host's is.
            raw::set(&fd, raw::Knob::OnlyIpv6, 1).map_err(|error| raw::code(&error))?;
        }
        let socket = Self(enter(|me| Endpoint::new(fd, family, kind, with_data, only, State::default(), me)));
        socket.join(membership);
        Ok(socket)
    }

    pub(super) const fn of(endpoint: Arc<Endpoint>) -> Self {
        Self(endpoint)
    }

    /// The descriptor, on which read, write, poll and epoll work as well. The socket stays open.
    pub fn into_raw(self) -> RawFd {
        let number = self.0.number();
        // It is closed by `from_raw`, or by `cleanup`.
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not used again and its field is read once, so that nothing is dropped twice.
        drop(unsafe { std::ptr::read(&raw const this.0) });
        number
    }

    /// The socket behind a descriptor that [`into_raw`](Self::into_raw) gave.
    ///
    /// - **Errors**: WSAENOTSOCK.
    pub fn from_raw(number: RawFd) -> Result<Self> {
        endpoint(number).map(Self)
    }

    /// Ends the socket: calls that wait on it return, and what it had reserved is given back.
    ///
    /// - **Errors**: WSAENOTSOCK where that has happened already.
    /// - **Source**: WSPCloseSocket.
    pub fn close(self) -> Result<()> {
        close(self.0.number())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may have been closed by its number.
        if !self.0.is_closed() {
            let _ = close(self.0.number());
        }
    }
}

impl Deref for Socket {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

fn enter(make: impl FnOnce(Weak<Endpoint>) -> Endpoint) -> Arc<Endpoint> {
    let endpoint = Arc::new_cyclic(|me| make(me.clone()));
    let place = usize::try_from(endpoint.number()).unwrap_or(0);
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    if table.len() <= place {
        table.resize_with(place + 1, || None);
    }
    table[place] = Some(Arc::clone(&endpoint));
    endpoint
}

/// The socket with a number.
///
/// - **Errors**: WSAENOTSOCK.
pub(super) fn endpoint(number: RawFd) -> Result<Arc<Endpoint>> {
    let place = usize::try_from(number).map_err(|_| Wsa::Enotsock)?;
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    table.get(place).and_then(Option::as_ref).cloned().ok_or(Wsa::Enotsock)
}

/// Closes the socket with a number.
///
/// - **Errors**: WSAENOTSOCK.
pub(super) fn close(number: RawFd) -> Result<()> {
    let place = usize::try_from(number).map_err(|_| Wsa::Enotsock)?;
    let taken = {
        let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
        table.get_mut(place).and_then(Option::take)
    };
    taken.ok_or(Wsa::Enotsock)?.end();
    Ok(())
}

/// Every open socket that `wanted` holds for.
pub(super) fn others(wanted: impl Fn(&Endpoint) -> bool) -> Vec<Arc<Endpoint>> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    table.iter().flatten().filter(|endpoint| wanted(endpoint)).cloned().collect()
}

/// Closes everything that is open.
pub(super) fn close_all() {
    let all = std::mem::take(&mut *TABLE.write().unwrap_or_else(PoisonError::into_inner));
    all.into_iter().flatten().for_each(|endpoint| endpoint.end());
}

/// A thread that waits in the kernel to receive.
pub(super) struct Receiver<'a>(&'a Endpoint);

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        self.0.receivers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endpoint {
    fn new(
        fd: OwnedFd,
        family: Family,
        kind: Kind,
        with_data: bool,
        only: Option<Direction>,
        state: State,
        me: Weak<Self>,
    ) -> Self {
        Self {
            fd: Arc::new(fd),
            family,
            kind,
            with_data,
            only,
            control: Control::default(),
            notify: Notify::default(),
            process: raw::process(),
            closed: AtomicBool::new(false),
            closed_signal: OnceLock::new(),
            receivers: AtomicUsize::new(0),
            later: super::later::Later::default(),
            group: OnceLock::new(),
            me,
            state: Mutex::new(state),
        }
    }

    /// A socket that came from a listener, entered among the others.
    pub(super) fn accepted(&self, fd: OwnedFd, peer: SocketAddr) -> Arc<Self> {
        let before = self.state();
        let state = State {
            phase: Phase::Connected,
            nonblocking: before.nonblocking,
            bound: true,
            peer: Some(peer),
            connected_at: Some(super::waiting::now()),
            sharing: before.sharing,
            ..State::default()
        };
        drop(before);
        enter(|me| Self::new(fd, self.family, self.kind, self.with_data, None, state, me))
    }

    /// Its protocol.
    pub fn protocol(&self) -> &'static Catalogued {
        let (family, kind) = (self.family, self.kind);
        let same = |known: &&Catalogued| {
            (known.family, known.kind, known.carries_data(), known.only())
                == (family, kind, self.with_data, self.only)
        };
        // Whatever can be opened is in the catalogue.
        PROTOCOLS.iter().find(same).unwrap_or(&PROTOCOLS[0])
    }

    /// Somebody waits in the kernel to receive, until this is dropped.
    pub(super) fn receiver(&self) -> Receiver<'_> {
        self.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver(self)
    }

    /// Whether it is made for this direction.
    ///
    /// - **Errors**: WSAEOPNOTSUPP.
    pub(super) fn check_way(&self, direction: Direction) -> Result<()> {
        if self.only.is_none_or(|only| only == direction) { Ok(()) } else { Err(Wsa::Eopnotsupp) }
    }

    /// Whether anything goes this way: not where that half has ended.
    pub(super) fn goes(&self, direction: Direction) -> bool {
        if self.check_way(direction).is_err() {
            return false;
        }
        let state = self.state();
        match direction {
            Direction::Sending => !state.sending_ended,
            Direction::Receiving => !state.receiving_ended,
        }
    }

    /// Its group.
    pub(super) fn membership(&self) -> Option<&Membership> {
        self.group.get()
    }

    /// It is in a group from now on, if it is in none.
    pub(super) fn join(&self, membership: Option<Membership>) {
        if let Some(membership) = membership {
            let _ = self.group.set(membership);
        }
    }

    /// Itself, to be told something later.
    pub(super) fn me(&self) -> Weak<Self> {
        self.me.clone()
    }

    /// The descriptor's number, which is the SOCKET.
    pub fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stream(&self) -> bool {
        self.kind == Kind::Stream
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// What wakes those who wait on the socket when it is closed.
    pub(super) fn closed_signal(&self) -> Result<&Signal> {
        if let Some(signal) = self.closed_signal.get() {
            return Ok(signal);
        }
        let fresh = Signal::new().map_err(|error| raw::code(&error))?;
        let signal = self.closed_signal.get_or_init(|| fresh);
        if self.is_closed() {
            signal.raise();
        }
        Ok(signal)
    }

    /// Whether an address is of the socket's family.
    pub(super) fn check_family(&self, address: SocketAddr) -> Result<()> {
        let same = matches!(
            (self.family, address.ip()),
            (Family::Inet, IpAddr::V4(_)) | (Family::Inet6, IpAddr::V6(_))
        );
        if same { Ok(()) } else { Err(Wsa::Eafnosupport) }
    }

    /// It is over: everybody who waits is woken, and what was reserved is given back once the data has left.
    fn end(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(signal) = self.closed_signal.get() {
            signal.raise();
        }
        if self.receivers.load(Ordering::SeqCst) > 0 {
            let _ = raw::shutdown(&*self.fd, Half::Receive);
        }
        self.later.changed.notify_waiters();
        self.notify.end();
        let (quality, phase, deferred) = {
            let mut state = self.state();
            let deferred = state.deferred.take();
            state.offered = None;
            (std::mem::take(&mut state.quality), std::mem::take(&mut state.phase), deferred)
        };
        if let Some((number, _)) = deferred {
            // It may have been closed by its number.
            let _ = close(number);
        }
        if self.process != raw::process() {
            // The descriptor is closed here, and the connection is the parent's.
            std::mem::forget(quality);
            return;
        }
        let lingering = match (self.kind, phase) {
            (Kind::Stream, Phase::Connected) => Lingering::Descriptor(Arc::clone(&self.fd)),
            _ => Lingering::Nothing,
        };
        quality.end(lingering);
        if matches!(phase, Phase::Connecting | Phase::Listening) {
            // Others may hold the descriptor a little longer: what is being made is not made any more.
            let _ = raw::shutdown(&*self.fd, Half::Both);
        }
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
    }

    /// The local address.
    ///
    /// - **Errors**: WSAEINVAL where it has none.
    /// - **Source**: WSPGetSockName.
    pub fn local_address(&self) -> Result<SocketAddr> {
        running()?;
        if !self.state().bound {
            return Err(Wsa::Einval);
        }
        raw::local(&*self.fd).map_err(|error| raw::code(&error))
    }

    /// The peer's address; while a connection is being made, the intended one.
    ///
    /// - **Errors**: WSAENOTCONN.
    /// - **Source**: WSPGetPeerName.
    pub fn peer_address(&self) -> Result<SocketAddr> {
        running()?;
        let state = self.state();
        match state.phase {
            Phase::Connecting | Phase::Connected => state.peer.ok_or(Wsa::Enotconn),
            Phase::Idle | Phase::Listening => Err(Wsa::Enotconn),
        }
    }

    /// Whether calls on the socket wait. The descriptor itself follows.
    ///
    /// - **Errors**: WSAEINVAL where it is to wait and events are selected on it.
    /// - **Source**: WSPIoctl, FIONBIO.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        running()?;
        if !nonblocking && self.notify.is_selected() {
            return Err(Wsa::Einval);
        }
        let mut state = self.state();
        raw::set_nonblocking(&*self.fd, nonblocking).map_err(|error| raw::code(&error))?;
        state.nonblocking = nonblocking;
        Ok(())
    }

    /// Ends one half of the connection, or both. What was reserved for it returns once what is on its way has left.
    ///
    /// - **Errors**: WSAENOTCONN.
    /// - **Source**: WSPShutdown.
    pub fn shutdown(&self, half: Half) -> Result<()> {
        running()?;
        let mut state = self.state();
        if self.is_stream() && state.phase != Phase::Connected {
            return Err(Wsa::Enotconn);
        }
        state.sending_ended |= half != Half::Receive;
        state.receiving_ended |= half != Half::Send;
        if state.phase == Phase::Connected {
            raw::shutdown(&*self.fd, half).map_err(|error| raw::code(&error))?;
        }
        drop(state);
        self.release_halves();
        Ok(())
    }
}
