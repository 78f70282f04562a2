//! Sockets: made, bound, connected, accepted, shut down.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

use flowspec::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::socket::{
    self, AddressFamily, Backlog, Shutdown, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage,
    getsockopt, sockopt,
};

use super::errno::{Result, check, from_nix, size_of_value};
use crate::protocol::{Family, SocketType};

/// Which directions of a connection end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShutdownHow {
    /// SD_RECEIVE.
    Receive,
    /// SD_SEND.
    Send,
    /// SD_BOTH.
    Both,
}

/// A new TCP or UDP socket, closed on exec.
///
/// - **Errors**: `socket`.
pub(crate) fn open(family: Family, socket_type: SocketType) -> Result<OwnedFd> {
    let family = match family {
        Family::Inet => AddressFamily::Inet,
        Family::Inet6 => AddressFamily::Inet6,
    };
    let (kind, protocol) = match socket_type {
        SocketType::Stream => (SockType::Stream, SockProtocol::Tcp),
        SocketType::Datagram => (SockType::Datagram, SockProtocol::Udp),
    };
    socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).map_err(from_nix)
}

/// Sets whether a descriptor stays open in programs that this process executes.
///
/// - **Errors**: `fcntl`.
pub(crate) fn set_inheritable(socket: &impl AsFd, inheritable: bool) -> Result<()> {
    let flags = if inheritable { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(socket, FcntlArg::F_SETFD(flags)).map(drop).map_err(from_nix)
}

/// Whether a descriptor stays open in programs that this process executes.
pub(crate) fn is_inheritable(socket: &impl AsFd) -> bool {
    fcntl(socket, FcntlArg::F_GETFD).is_ok_and(|flags| flags & FdFlag::FD_CLOEXEC.bits() == 0)
}

/// Whether an address is a broadcast address: the limited one, or that of a network that this host is on.
pub(crate) fn is_broadcast(to: SocketAddr) -> bool {
    let SocketAddr::V4(v4) = to else { return false };
    if v4.ip().is_broadcast() {
        return true;
    }
    // Only the kernel's routing table knows a network's broadcast address: it answers EACCES to a socket without
    // SO_BROADCAST.
    !v4.ip().is_loopback()
        && open(Family::Inet, SocketType::Datagram)
            .is_ok_and(|probe| connect(&probe, to) == Err(Errno::EACCES))
}

/// - **Errors**: `bind`.
pub(crate) fn bind(socket: &impl AsRawFd, address: SocketAddr) -> Result<()> {
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).map_err(from_nix)
}

/// Starts a connection, or sets a datagram socket's peer.
///
/// - **Errors**: `connect`; EINPROGRESS where the socket does not block and the peer has not answered.
pub(crate) fn connect(socket: &impl AsRawFd, address: SocketAddr) -> Result<()> {
    socket::connect(socket.as_raw_fd(), &SockaddrStorage::from(address)).map_err(from_nix)
}

/// Removes a socket's peer. A port that the kernel chose by itself is lost with it.
///
/// - **Errors**: `connect`.
pub(crate) fn disconnect(socket: &impl AsRawFd) -> Result<()> {
    // SAFETY: sockaddr is made of integers, for which all zeroes is a value.
    let mut address: libc::sockaddr = unsafe { std::mem::zeroed() };
    address.sa_family = libc::sa_family_t::try_from(libc::AF_UNSPEC).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `address` is valid for reads of its own size for the whole call.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &raw const address, size_of_value(&address)) };
    check(result).map(drop)
}

/// Accepts connections from now on.
///
/// - **Errors**: `listen`.
pub(crate) fn listen(socket: &impl AsFd, backlog: i32) -> Result<()> {
    // SOMAXCONN_HINT(N) is -N, and stands for N within Windows' limits.
    let length = if backlog < 0 { backlog.saturating_neg().clamp(200, 65_535) } else { backlog.max(1) };
    // SOMAXCONN and everything above the kernel's own limit is that limit.
    let backlog = Backlog::new(length).unwrap_or(Backlog::MAXCONN);
    socket::listen(socket, backlog).map_err(from_nix)
}

/// The next connection of a listener, with its peer's address.
///
/// - **Errors**: `accept`.
pub(crate) fn accept(socket: &impl AsRawFd) -> Result<(OwnedFd, SocketAddr)> {
    let accepted = socket::accept4(socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC).map_err(from_nix)?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
    let peer = peer_address(&accepted)?;
    Ok((accepted, peer))
}

/// - **Errors**: `getsockname`.
pub(crate) fn local_address(socket: &impl AsRawFd) -> Result<SocketAddr> {
    let name = socket::getsockname::<SockaddrStorage>(socket.as_raw_fd()).map_err(from_nix)?;
    internet_address(&name).ok_or(Errno::EAFNOSUPPORT)
}

pub(crate) fn peer_address(socket: &impl AsRawFd) -> Result<SocketAddr> {
    let name = socket::getpeername::<SockaddrStorage>(socket.as_raw_fd()).map_err(from_nix)?;
    internet_address(&name).ok_or(Errno::EAFNOSUPPORT)
}

/// The address that the kernel wrote; `None` where it wrote none, or one of another family.
pub(super) fn socket_address(name: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    // SAFETY: `name` is valid for reads of its whole size, and `length` is what the kernel wrote of it.
    let name = unsafe { SockaddrStorage::from_raw(std::ptr::from_ref(name).cast(), Some(length)) }?;
    internet_address(&name)
}

fn internet_address(name: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::from(SocketAddrV4::from(*v4)));
    v4.or_else(|| name.as_sockaddr_in6().map(|v6| SocketAddr::from(SocketAddrV6::from(*v6))))
}

/// - **Errors**: `shutdown`.
pub(crate) fn shutdown(socket: &impl AsRawFd, how: ShutdownHow) -> Result<()> {
    let how = match how {
        ShutdownHow::Receive => Shutdown::Read,
        ShutdownHow::Send => Shutdown::Write,
        ShutdownHow::Both => Shutdown::Both,
    };
    socket::shutdown(socket.as_raw_fd(), how).map_err(from_nix)
}

/// - **Errors**: `ioctl`.
pub(crate) fn set_nonblocking(socket: &impl AsRawFd, nonblocking: bool) -> Result<()> {
    let mut on = libc::c_int::from(nonblocking);
    // SAFETY: FIONBIO reads one int, which `on` is.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONBIO, &raw mut on) }).map(drop)
}

/// The socket's pending error (SO_ERROR), which is cleared.
///
/// - **Errors**: `getsockopt`.
pub(crate) fn take_error(socket: &impl AsFd) -> Result<Option<Errno>> {
    let errno = getsockopt(socket, sockopt::SocketError).map_err(from_nix)?;
    Ok((errno != 0).then(|| Errno::new(errno)))
}

/// Bytes to read; of a datagram socket, those of its first datagram.
///
/// - **Errors**: `ioctl`.
pub(crate) fn available(socket: &impl AsRawFd) -> Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which `bytes` is.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(bytes.unsigned_abs())
}

/// Whether the next byte is the urgent one.
///
/// - **Errors**: `ioctl`.
pub(crate) fn at_mark(socket: &impl AsRawFd) -> Result<bool> {
    let mut mark: libc::c_int = 0;
    // SAFETY: SIOCATMARK writes one int, which `mark` is.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCATMARK, &raw mut mark) })?;
    Ok(mark != 0)
}

/// Whether a TCP connection's peer sends no more, or the connection is over.
pub(crate) fn peer_has_closed(socket: &impl AsRawFd) -> bool {
    // CLOSE, TIME_WAIT, CLOSE_WAIT, LAST_ACK and CLOSING. Source: `net/tcp_states.h`.
    const PEER_HAS_CLOSED: [u8; 5] = [7, 6, 8, 9, 11];
    let mut state: u8 = 0;
    let mut length = size_of_value(&state);
    // SAFETY: `state` is valid for writes of `length` bytes, and `length` for one of its own. The state is the first byte
    // of what the kernel writes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    };
    check(result).is_ok() && PEER_HAS_CLOSED.contains(&state)
}

/// What identifies a socket among all sockets that the host has had since it started.
///
/// - **Errors**: `getsockopt`; ENOTSOCK and EBADF for what is no socket.
/// - **Source**: socket(7), SO_COOKIE.
pub(crate) fn cookie(socket: &impl AsRawFd) -> Result<u64> {
    let mut cookie: u64 = 0;
    let mut length = size_of_value(&cookie);
    // SAFETY: `cookie` is valid for writes of `length` bytes, and `length` for one of its own.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    check(result).map(|_| cookie)
}

/// A socket that takes the number of a closed one: shut down, so that no call on it waits.
struct Placeholder {
    fd: OwnedFd,
    cookie: u64,
}

/// Made once, so that closing needs no descriptor.
static PLACEHOLDER: OnceLock<Placeholder> = OnceLock::new();

/// Makes the placeholder while there are descriptors left.
///
/// - **Errors**: those of socket(2). A later call tries again.
pub(crate) fn prepare_placeholder() -> Result<()> {
    if PLACEHOLDER.get().is_some() {
        return Ok(());
    }
    let kind = SockType::Datagram;
    let fd = socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).map_err(from_nix)?;
    // A socket without a peer is shut down too, whatever the kernel answers.
    let _ = shutdown(&fd, ShutdownHow::Both);
    let cookie = cookie(&fd)?;
    PLACEHOLDER.get_or_init(|| Placeholder { fd, cookie });
    Ok(())
}

/// Closes what a descriptor is of, and keeps its number. Where there is no placeholder it does nothing.
pub(crate) fn replace_by_placeholder(descriptor: &impl AsRawFd) {
    if let Some(placeholder) = PLACEHOLDER.get() {
        // SAFETY: the number stays open, and is owned by the same value as before.
        let _ = unsafe { libc::dup3(placeholder.fd.as_raw_fd(), descriptor.as_raw_fd(), libc::O_CLOEXEC) };
    }
}

pub(crate) fn is_placeholder(descriptor: &impl AsRawFd) -> bool {
    PLACEHOLDER.get().is_some_and(|placeholder| cookie(descriptor) == Ok(placeholder.cookie))
}

/// Source: `asm-generic/sockios.h`.
const SIOCATMARK: libc::c_ulong = 0x8905;
