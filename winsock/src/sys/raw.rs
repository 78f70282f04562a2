//! Sockets as a provider of Winsock needs them: descriptors that others may use as well, one call each.
//!
//! Errors are the kernel's, with their errno: which Winsock code that is, is the caller's to say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    self, AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockProtocol, SockType, SockaddrStorage,
    getsockopt, sockopt,
};

/// What is to be looked at, and what was found, of one descriptor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ready {
    /// There is something to read, or the end of it.
    pub readable: bool,
    /// There is something urgent to read.
    pub urgent: bool,
    /// There is room to write.
    pub writable: bool,
    /// There is an error, or both directions have ended.
    pub failed: bool,
    /// The peer will send no more.
    pub ended: bool,
}

/// Which half of a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Half {
    /// What is received.
    Receive,
    /// What is sent.
    Send,
    /// Both.
    Both,
}

/// How data is passed on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// Out of band.
    pub urgent: bool,
    /// Left in the queue.
    pub peek: bool,
    /// Past the routing table.
    pub direct: bool,
    /// The kernel waits, where the descriptor does.
    pub waits: bool,
}

impl Flags {
    fn bits(self) -> MsgFlags {
        let mut bits = MsgFlags::MSG_NOSIGNAL;
        bits.set(MsgFlags::MSG_DONTWAIT, !self.waits);
        bits.set(MsgFlags::MSG_OOB, self.urgent);
        bits.set(MsgFlags::MSG_PEEK, self.peek);
        bits.set(MsgFlags::from_bits_retain(libc::MSG_DONTROUTE), self.direct);
        bits
    }
}

/// A new socket, closed on exec.
///
/// - **Errors**: `socket`.
pub fn open(ipv6: bool, stream: bool) -> io::Result<OwnedFd> {
    let family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let (kind, protocol) =
        if stream { (SockType::Stream, SockProtocol::Tcp) } else { (SockType::Datagram, SockProtocol::Udp) };
    Ok(socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol)?)
}

/// Whether datagrams for an address go to all hosts of a network: the limited broadcast, or the one of a network
/// that this host is on.
pub fn is_broadcast(to: SocketAddr) -> bool {
    let SocketAddr::V4(v4) = to else { return false };
    if v4.ip().is_broadcast() {
        return true;
    }
    // Nobody but the kernel's routes knows; it refuses a socket that has not been given leave.
    !v4.ip().is_loopback()
        && open(false, false).is_ok_and(|probe| {
            connect(&probe, to).is_err_and(|error| error.raw_os_error() == Some(libc::EACCES))
        })
}

/// Gives a socket its local address.
///
/// - **Errors**: `bind`.
pub fn bind(socket: &impl AsRawFd, address: SocketAddr) -> io::Result<()> {
    Ok(socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?)
}

/// Begins a connection, or names a datagram socket's peer.
///
/// - **Errors**: `connect`; EINPROGRESS where the socket does not block and the peer has not answered.
pub fn connect(socket: &impl AsRawFd, address: SocketAddr) -> io::Result<()> {
    Ok(socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?)
}

/// Ends a datagram socket's association; what it was bound to without being asked is lost with it.
///
/// - **Errors**: `connect`.
pub fn dissolve(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: sockaddr is made of integers, for which all zeroes is a value.
    let mut address: libc::sockaddr = unsafe { std::mem::zeroed() };
    address.sa_family = libc::sa_family_t::try_from(libc::AF_UNSPEC).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: `address` is valid for reads of `length` bytes for the whole call.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &raw const address, length) };
    Ok(Errno::result(result).map(drop)?)
}

/// Accepts connections from now on.
///
/// - **Errors**: `listen`.
pub fn listen(socket: &impl AsFd, backlog: i32) -> io::Result<()> {
    // SOMAXCONN and everything above the kernel's own limit is that limit.
    let backlog = Backlog::new(backlog.clamp(1, i32::from(u16::MAX / 2))).unwrap_or(Backlog::MAXCONN);
    Ok(socket::listen(socket, backlog)?)
}

/// The next connection of a listener, with its peer's address.
///
/// - **Errors**: `accept`.
pub fn accept(socket: &impl AsRawFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let accepted = socket::accept4(socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the descriptor is new and nobody else's.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
    let peer = peer(&accepted)?;
    Ok((accepted, peer))
}

/// The local address.
///
/// - **Errors**: `getsockname`.
pub fn local(socket: &impl AsRawFd) -> io::Result<SocketAddr> {
    address(&socket::getsockname::<SockaddrStorage>(socket.as_raw_fd())?)
}

/// The peer's address.
///
/// - **Errors**: `getpeername`.
pub fn peer(socket: &impl AsRawFd) -> io::Result<SocketAddr> {
    address(&socket::getpeername::<SockaddrStorage>(socket.as_raw_fd())?)
}

fn address(storage: &SockaddrStorage) -> io::Result<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::from(std::net::SocketAddrV4::from(*v4)));
    let v6 = || storage.as_sockaddr_in6().map(|v6| SocketAddr::from(std::net::SocketAddrV6::from(*v6)));
    v4.or_else(v6).ok_or_else(|| io::Error::other("the socket is neither IPv4 nor IPv6"))
}

/// Sends what fits now.
///
/// - **Errors**: `send`; EAGAIN where nothing fits.
pub fn send(socket: &impl AsRawFd, data: &[u8], flags: Flags) -> io::Result<usize> {
    Ok(socket::send(socket.as_raw_fd(), data, flags.bits())?)
}

/// Sends a datagram.
///
/// - **Errors**: `sendto`.
pub fn send_to(socket: &impl AsRawFd, data: &[u8], flags: Flags, to: SocketAddr) -> io::Result<usize> {
    Ok(socket::sendto(socket.as_raw_fd(), data, &SockaddrStorage::from(to), flags.bits())?)
}

/// Takes what has come on a stream: how much; nothing at its end.
///
/// - **Errors**: `recv`; EAGAIN where nothing has come.
pub fn receive_stream(socket: &impl AsRawFd, buffer: &mut [u8], flags: Flags) -> io::Result<usize> {
    Ok(socket::recv(socket.as_raw_fd(), buffer, flags.bits())?)
}

/// Takes what has come: how much, of how much (a datagram may be longer than the buffer), and whose it is.
///
/// - **Errors**: `recvmsg`; EAGAIN where nothing has come.
pub fn receive(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    flags: Flags,
) -> io::Result<(usize, bool, Option<SocketAddr>)> {
    let mut slices = [io::IoSliceMut::new(buffer)];
    let came = socket::recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, None, flags.bits())?;
    let from = came.address.as_ref().and_then(|from| address(from).ok());
    Ok((came.bytes, came.flags.contains(MsgFlags::MSG_TRUNC), from))
}

/// Has receiving that waits in the kernel answer after this time; nothing for as long as it takes. Only a system
/// call, so that a signal handler may do it.
///
/// - **Errors**: `setsockopt`.
pub fn set_receive_time(socket: &impl AsFd, time: Option<Duration>) -> io::Result<()> {
    let micros = time.map_or(0, |time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    let time = nix::sys::time::TimeVal::new(micros / 1_000_000, micros % 1_000_000);
    Ok(socket::setsockopt(socket, sockopt::ReceiveTimeout, &time)?)
}

/// Ends one half of a connection, or both.
///
/// - **Errors**: `shutdown`.
pub fn shutdown(socket: &impl AsRawFd, half: Half) -> io::Result<()> {
    let how = match half {
        Half::Receive => Shutdown::Read,
        Half::Send => Shutdown::Write,
        Half::Both => Shutdown::Both,
    };
    Ok(socket::shutdown(socket.as_raw_fd(), how)?)
}

/// Whether calls on a descriptor wait.
///
/// - **Errors**: `ioctl`.
pub fn set_nonblocking(socket: &impl AsRawFd, nonblocking: bool) -> io::Result<()> {
    let mut on = libc::c_int::from(nonblocking);
    // SAFETY: FIONBIO reads one int, which `on` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONBIO, &raw mut on) };
    Errno::result(result)?;
    Ok(())
}

/// The error that waits on a socket, which is gone with it.
///
/// - **Errors**: `getsockopt`.
pub fn take_error(socket: &impl AsFd) -> io::Result<Option<io::Error>> {
    let errno = getsockopt(socket, sockopt::SocketError)?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

/// How many bytes there are to read; of a datagram socket, in its first datagram.
///
/// - **Errors**: `ioctl`.
pub fn available(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which `bytes` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    Errno::result(result)?;
    Ok(bytes.unsigned_abs())
}

/// Whether the next byte is the urgent one.
///
/// - **Errors**: `ioctl`.
pub fn at_mark(socket: &impl AsRawFd) -> io::Result<bool> {
    let mut mark: libc::c_int = 0;
    // SAFETY: SIOCATMARK writes one int, which `mark` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCATMARK, &raw mut mark) };
    Errno::result(result)?;
    Ok(mark != 0)
}

/// Source: `asm-generic/sockios.h`.
const SIOCATMARK: libc::c_ulong = 0x8905;

/// Options of the socket layer and of the protocols, by what they are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Knob {
    /// SO_REUSEADDR.
    ReuseAddress,
    /// SO_REUSEPORT.
    ReusePort,
    /// SO_BROADCAST.
    Broadcast,
    /// SO_KEEPALIVE.
    KeepAlive,
    /// SO_OOBINLINE.
    OutOfBandInline,
    /// SO_DONTROUTE.
    DontRoute,
    /// SO_SNDBUF, as it was asked for.
    SendBuffer,
    /// SO_RCVBUF, as it was asked for.
    ReceiveBuffer,
    /// TCP_NODELAY.
    NoDelay,
    /// IPV6_V6ONLY.
    OnlyIpv6,
    /// IP_TTL.
    Ttl,
    /// IP_TOS.
    Tos,
    /// IPV6_UNICAST_HOPS.
    Hops,
    /// IP_MULTICAST_TTL.
    MulticastTtl,
    /// IP_MULTICAST_LOOP.
    MulticastLoop,
    /// IP_RECVERR, or IPV6_RECVERR.
    ReceiveErrors {
        /// The socket is IPv6's.
        ipv6: bool,
    },
}

impl Knob {
    const fn names(self) -> (i32, i32) {
        match self {
            Self::ReuseAddress => (libc::SOL_SOCKET, libc::SO_REUSEADDR),
            Self::ReusePort => (libc::SOL_SOCKET, libc::SO_REUSEPORT),
            Self::Broadcast => (libc::SOL_SOCKET, libc::SO_BROADCAST),
            Self::KeepAlive => (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
            Self::OutOfBandInline => (libc::SOL_SOCKET, libc::SO_OOBINLINE),
            Self::DontRoute => (libc::SOL_SOCKET, libc::SO_DONTROUTE),
            Self::SendBuffer => (libc::SOL_SOCKET, libc::SO_SNDBUF),
            Self::ReceiveBuffer => (libc::SOL_SOCKET, libc::SO_RCVBUF),
            Self::NoDelay => (libc::IPPROTO_TCP, libc::TCP_NODELAY),
            Self::OnlyIpv6 => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
            Self::Ttl => (libc::IPPROTO_IP, libc::IP_TTL),
            Self::Tos => (libc::IPPROTO_IP, libc::IP_TOS),
            Self::Hops => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
            Self::MulticastTtl => (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
            Self::MulticastLoop => (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
            Self::ReceiveErrors { ipv6: false } => (libc::IPPROTO_IP, libc::IP_RECVERR),
            Self::ReceiveErrors { ipv6: true } => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        }
    }
}

/// Sets an option that is a number.
///
/// - **Errors**: `setsockopt`.
pub fn set(socket: &impl AsRawFd, knob: Knob, value: i32) -> io::Result<()> {
    let (level, name) = knob.names();
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: `value` is valid for reads of `length` bytes for the whole call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    Ok(Errno::result(result).map(drop)?)
}

/// An option that is a number.
///
/// - **Errors**: `getsockopt`.
pub fn get(socket: &impl AsRawFd, knob: Knob) -> io::Result<i32> {
    let (level, name) = knob.names();
    let mut value: i32 = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: `value` is valid for writes of `length` bytes, and `length` for one of its own.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    Errno::result(result)?;
    Ok(value)
}

/// How long a closed socket keeps trying to send: nothing where it does so without anybody waiting.
///
/// - **Errors**: `setsockopt`.
pub fn set_linger(socket: &impl AsFd, linger: Option<u16>) -> io::Result<()> {
    let value =
        libc::linger { l_onoff: i32::from(linger.is_some()), l_linger: i32::from(linger.unwrap_or(0)) };
    Ok(socket::setsockopt(socket, sockopt::Linger, &value)?)
}

/// As [`set_linger`] set it.
///
/// - **Errors**: `getsockopt`.
pub fn linger(socket: &impl AsFd) -> io::Result<Option<u16>> {
    let value = getsockopt(socket, sockopt::Linger)?;
    Ok((value.l_onoff != 0).then(|| u16::try_from(value.l_linger).unwrap_or(u16::MAX)))
}

/// Waits until something is ready: how many are; 0 where the time is over. Waits for ever without a timeout.
/// A negative descriptor is passed over.
///
/// - **Errors**: `poll`, EINTR among them: who was interrupted decides what that means.
pub fn poll(watched: &mut [(RawFd, Ready)], timeout: Option<Duration>) -> io::Result<usize> {
    let mut polled: Vec<libc::pollfd> = Vec::with_capacity(watched.len());
    for (fd, wanted) in watched.iter() {
        let mut events = 0;
        for (wanted, event) in [
            (wanted.readable, libc::POLLIN),
            (wanted.urgent, libc::POLLPRI),
            (wanted.writable, libc::POLLOUT),
            (wanted.ended, libc::POLLRDHUP),
        ] {
            events |= if wanted { event } else { 0 };
        }
        polled.push(libc::pollfd { fd: *fd, events, revents: 0 });
    }
    let millis = match timeout {
        None => -1,
        // Rounded up: nobody is woken before his time.
        Some(time) => i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX),
    };
    let length = libc::nfds_t::try_from(polled.len()).map_err(io::Error::other)?;
    // SAFETY: `polled` is valid for reads and writes of `length` entries for the whole call, and poll answers
    // POLLNVAL for a descriptor that is not open.
    let count = Errno::result(unsafe { libc::poll(polled.as_mut_ptr(), length, millis) })?;
    for ((_, ready), polled) in watched.iter_mut().zip(&polled) {
        let found = |events: i16| polled.revents & events != 0;
        *ready = Ready {
            readable: found(libc::POLLIN),
            urgent: found(libc::POLLPRI),
            writable: found(libc::POLLOUT),
            failed: found(libc::POLLERR | libc::POLLHUP | libc::POLLNVAL),
            ended: found(libc::POLLRDHUP),
        };
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Something that can be signalled, and waited for with `poll`.
#[derive(Debug)]
pub struct Signal(EventFd);

impl Signal {
    /// One that is not signalled.
    ///
    /// - **Errors**: `eventfd`.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Signals it: it stays so until it is [cleared](Self::clear).
    pub fn raise(&self) {
        // The counter is full only where nobody has cleared it for 2⁶⁴ times: it is signalled then.
        let _ = self.0.write(1);
    }

    /// It is not signalled any more. Says whether it was.
    pub fn clear(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl Signal {
    /// Another descriptor of the same.
    ///
    /// - **Errors**: `fcntl`.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }
}

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The Winsock code of a system error.
///
/// Source: WSPConnect, table of error codes; Windows Sockets error codes.
pub fn code(error: &io::Error) -> flowspec::Wsa {
    use flowspec::Wsa;
    let Some(errno) = error.raw_os_error() else { return Wsa::Enetdown };
    match Errno::from_raw(errno) {
        Errno::EINTR => Wsa::Eintr,
        Errno::EACCES | Errno::EPERM => Wsa::Eacces,
        Errno::EFAULT => Wsa::Efault,
        Errno::EINVAL => Wsa::Einval,
        Errno::EMFILE | Errno::ENFILE => Wsa::Emfile,
        Errno::EAGAIN => Wsa::Ewouldblock,
        Errno::EINPROGRESS => Wsa::Ewouldblock,
        Errno::EALREADY => Wsa::Ealready,
        Errno::EBADF | Errno::ENOTSOCK => Wsa::Enotsock,
        Errno::EDESTADDRREQ => Wsa::Edestaddrreq,
        Errno::EMSGSIZE => Wsa::Emsgsize,
        Errno::EPROTOTYPE => Wsa::Eprototype,
        Errno::ENOPROTOOPT => Wsa::Enoprotoopt,
        Errno::EPROTONOSUPPORT => Wsa::Eprotonosupport,
        Errno::ESOCKTNOSUPPORT => Wsa::Esocktnosupport,
        Errno::EOPNOTSUPP => Wsa::Eopnotsupp,
        Errno::EAFNOSUPPORT => Wsa::Eafnosupport,
        Errno::EADDRINUSE => Wsa::Eaddrinuse,
        Errno::EADDRNOTAVAIL => Wsa::Eaddrnotavail,
        Errno::ENETUNREACH => Wsa::Enetunreach,
        Errno::ENETRESET => Wsa::Enetreset,
        Errno::ECONNABORTED => Wsa::Econnaborted,
        // To write where the peer reads no more is a connection that it has given up.
        Errno::ECONNRESET | Errno::EPIPE => Wsa::Econnreset,
        Errno::ENOBUFS | Errno::ENOMEM => Wsa::Enobufs,
        Errno::EISCONN => Wsa::Eisconn,
        Errno::ENOTCONN => Wsa::Enotconn,
        Errno::ESHUTDOWN => Wsa::Eshutdown,
        Errno::ETIMEDOUT => Wsa::Etimedout,
        Errno::ECONNREFUSED => Wsa::Econnrefused,
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => Wsa::Ehostunreach,
        // The rest has no row in the table: the network subsystem has failed.
        _ => Wsa::Enetdown,
    }
}

/// Has something done when the process ends by `exit` or by returning from `main`.
///
/// - **Errors**: there is no memory for it.
pub fn at_exit(work: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the function is of this library, which stays as long as its handler is known.
    if unsafe { libc::atexit(work) } == 0 { Ok(()) } else { Err(Errno::ENOMEM.into()) }
}

/// By which link a multicast address is joined.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum By {
    /// The one that routes say.
    #[default]
    Routes,
    /// The one with this address.
    Address(Ipv4Addr),
    /// The one of this number.
    Index(u32),
}

/// Has a datagram socket receive what is sent to a multicast address, or no longer.
///
/// - **Errors**: `setsockopt`; a link that is not there is EADDRNOTAVAIL.
pub fn multicast(member: &impl AsRawFd, group: IpAddr, by: By, joins: bool) -> io::Result<()> {
    let index = if let By::Index(index) = by { index } else { 0 };
    match group {
        IpAddr::V4(v4) => {
            let local = if let By::Address(local) = by { local } else { Ipv4Addr::UNSPECIFIED };
            let at = |ip: Ipv4Addr| libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            let request = libc::ip_mreqn {
                imr_multiaddr: at(v4),
                imr_address: at(local),
                imr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
            };
            let name = if joins { libc::IP_ADD_MEMBERSHIP } else { libc::IP_DROP_MEMBERSHIP };
            set_structure(member, libc::IPPROTO_IP, name, &request)
        }
        IpAddr::V6(v6) => {
            let group = libc::in6_addr { s6_addr: v6.octets() };
            let request = libc::ipv6_mreq { ipv6mr_multiaddr: group, ipv6mr_interface: index };
            let name = if joins { libc::IPV6_ADD_MEMBERSHIP } else { libc::IPV6_DROP_MEMBERSHIP };
            set_structure(member, libc::IPPROTO_IPV6, name, &request)
        }
    }
}

fn set_structure<T>(socket: &impl AsRawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(value)).map_err(io::Error::other)?;
    // SAFETY: `value` is valid for reads of `length` bytes for the whole call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    match Errno::result(result) {
        Err(Errno::ENODEV) => Err(Errno::EADDRNOTAVAIL.into()),
        result => Ok(result.map(drop)?),
    }
}

/// The number of this process, which is asked for once and again after a fork.
pub fn process() -> u32 {
    match PROCESS.load(Ordering::Relaxed) {
        0 => {
            ONCE.call_once(|| {
                // SAFETY: the handler stores a number, which a child may do whatever its parent was at. Where there
                // is no memory for it every call asks.
                WATCHED
                    .store(unsafe { libc::pthread_atfork(None, None, Some(forked)) } == 0, Ordering::Relaxed);
            });
            let process = std::process::id();
            if WATCHED.load(Ordering::Relaxed) {
                PROCESS.store(process, Ordering::Relaxed);
            }
            process
        }
        process => process,
    }
}

static PROCESS: AtomicU32 = AtomicU32::new(0);
static WATCHED: AtomicBool = AtomicBool::new(false);
static ONCE: Once = Once::new();

extern "C" fn forked() {
    PROCESS.store(0, Ordering::Relaxed);
}
