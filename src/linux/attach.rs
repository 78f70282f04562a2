//! Sockets of other processes: what a descriptor is, without waiting for it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{SockaddrStorage, getpeername, getsockname};
use shaper::headers::IpVersion;

use super::confine::{DescriptorTaker, copy_descriptor};
use super::socket::{self, SocketMark};
use super::socket_option::read_option;
use crate::failure::{KernelCall, KernelFailure};

/// A TCP or UDP socket that another process has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PassedSocket {
    /// Its cookie, which no other socket has until the host is started again.
    pub cookie: u64,
    /// The family of its addresses, for the code point.
    pub version: IpVersion,
    /// Whether it has a peer, or at least a local port: the kernel finds it when it lists sockets.
    pub is_bound: bool,
}

/// Why a descriptor cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotASocket {
    /// It is a file, a pipe, or anything else that is no socket.
    #[error("it is not a socket")]
    File,
    /// A socket of another family, such as AF_UNIX.
    #[error("its family is {domain}, which is neither AF_INET nor AF_INET6")]
    Family {
        /// SO_DOMAIN.
        domain: i32,
    },
    /// A socket of another transport.
    #[error("its protocol is {protocol}, which is neither TCP nor UDP")]
    Protocol {
        /// SO_PROTOCOL.
        protocol: i32,
    },
    /// A listening socket, which sends nothing.
    #[error("it is a listening socket")]
    Listening,
    /// It belongs to another network namespace, whose interfaces are others.
    #[error("it belongs to another network namespace")]
    Namespace,
    /// A call to the kernel failed.
    #[error(transparent)]
    Kernel(#[from] KernelFailure),
}

impl PassedSocket {
    /// What a descriptor is. Asks the socket layer alone, which does not wait: a file is never asked anything.
    ///
    /// - **Errors**: it is not a TCP or UDP socket of this network namespace, or listens.
    /// - **Source**: socket(7), SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_COOKIE; `asm-generic/socket.h`, SO_NETNS_COOKIE.
    pub fn inspect(descriptor: &impl AsFd) -> Result<Self, NotASocket> {
        let number = |name, call| match read_option::<libc::c_int>(descriptor, libc::SOL_SOCKET, name) {
            Err(Errno::ENOTSOCK | Errno::EBADF) => Err(NotASocket::File),
            Err(errno) => Err(NotASocket::Kernel(KernelCall(call).failed("passed socket", errno))),
            Ok(number) => Ok(number),
        };
        let domain = number(libc::SO_DOMAIN, "getsockopt(SO_DOMAIN)")?;
        let version = match domain {
            libc::AF_INET => IpVersion::V4,
            libc::AF_INET6 => IpVersion::V6,
            _ => return Err(NotASocket::Family { domain }),
        };
        let protocol = number(libc::SO_PROTOCOL, "getsockopt(SO_PROTOCOL)")?;
        if protocol != libc::IPPROTO_TCP && protocol != libc::IPPROTO_UDP {
            return Err(NotASocket::Protocol { protocol });
        }
        if number(libc::SO_ACCEPTCONN, "getsockopt(SO_ACCEPTCONN)")? != 0 {
            return Err(NotASocket::Listening);
        }
        let long = |name, call: &str| {
            read_option::<u64>(descriptor, libc::SOL_SOCKET, name)
                .map_err(|errno| NotASocket::Kernel(KernelCall(call).failed("passed socket", errno)))
        };
        if long(libc::SO_NETNS_COOKIE, "getsockopt(SO_NETNS_COOKIE)")? != own_namespace()? {
            return Err(NotASocket::Namespace);
        }
        let cookie = long(libc::SO_COOKIE, "getsockopt(SO_COOKIE)")?;
        Ok(Self { cookie, version, is_bound: is_bound(descriptor) })
    }

    /// Sends the packets of the socket with this mark from now on.
    ///
    /// - **Errors**: `setsockopt`, which needs CAP_NET_ADMIN or CAP_NET_RAW for a class.
    pub fn mark(&self, descriptor: &impl AsFd, mark: SocketMark) -> Result<(), KernelFailure> {
        socket::mark(descriptor, self.version, mark)
    }
}

/// Takes a copy of a socket of another process of the same user: by the taker, in a process that is confined.
///
/// - **Errors**: `pidfd_open`, `pidfd_getfd`, which need the right to trace the process; the process belongs to another user.
/// - **Source**: pidfd_open(2).
pub fn socket_of_process(
    process: ProcessDescriptor,
    taker: Option<&DescriptorTaker>,
) -> Result<OwnedFd, KernelFailure> {
    let ProcessDescriptor { pid, descriptor, uid } = process;
    let object = || format!("process {pid}");
    let id = i64::from(pid);
    // SAFETY: the call takes two numbers and gives a descriptor or an error.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    let opened = Errno::result(opened).map_err(|errno| KernelCall("pidfd_open").failed(object(), errno))?;
    let opened = i32::try_from(opened).unwrap_or(-1);
    // SAFETY: the kernel has made this descriptor for the caller.
    let pidfd = unsafe { OwnedFd::from_raw_fd(opened) };
    // All four users of the process, so that one that has changed its user is not taken for its caller's.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let users: Vec<u32> = users.split_whitespace().filter_map(|user| user.parse().ok()).collect();
    if uid.is_some_and(|uid| users.is_empty() || users.iter().any(|user| *user != uid)) {
        return Err(KernelCall("pidfd_getfd").failed(object(), Errno::EPERM));
    }
    // The process that was looked at is the one that was opened, as long as that has not ended.
    let copied = match taker {
        Some(taker) => taker.copy(&pidfd, descriptor),
        None => copy_descriptor(pidfd.as_raw_fd(), descriptor),
    };
    copied.map_err(|errno| {
        KernelCall("pidfd_getfd").failed(format!("descriptor {descriptor} of process {pid}"), errno)
    })
}

/// A descriptor of another process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProcessDescriptor {
    /// The process.
    pub pid: u32,
    /// The number of the descriptor in it.
    pub descriptor: u32,
    /// The user that the process has to belong to; `None` for any.
    pub uid: Option<u32>,
}

/// 128 random bits, in hexadecimal.
///
/// - **Errors**: `getrandom`.
pub fn random_name() -> Result<String, KernelFailure> {
    let mut bytes = [0_u8; 16];
    // SAFETY: `bytes` is valid for writes of its length.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // Up to 256 bytes come whole. Source: getrandom(2).
    Errno::result(read).map_err(|errno| KernelCall("getrandom").failed("16 bytes", errno))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// The cookie of this thread's network namespace.
pub(super) fn own_namespace() -> Result<u64, KernelFailure> {
    let failed = |error| KernelCall("socket").failed("AF_UNIX", error);
    let (own, _) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    read_option(&own, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
        .map_err(|errno| KernelCall("getsockopt(SO_NETNS_COOKIE)").failed("own socket", errno))
}

fn is_bound(descriptor: &impl AsFd) -> bool {
    let raw = descriptor.as_fd().as_raw_fd();
    let port = |address: &SockaddrStorage| {
        address
            .as_sockaddr_in()
            .map(|v4| v4.port())
            .or_else(|| address.as_sockaddr_in6().map(|v6| v6.port()))
            .unwrap_or(0)
    };
    getpeername::<SockaddrStorage>(raw).is_ok()
        || getsockname::<SockaddrStorage>(raw).is_ok_and(|local| port(&local) != 0 && is_datagram(descriptor))
}

/// A TCP socket with a port and without a peer is in no table that the kernel lists.
fn is_datagram(descriptor: &impl AsFd) -> bool {
    read_option::<libc::c_int>(descriptor, libc::SOL_SOCKET, libc::SO_TYPE) == Ok(libc::SOCK_DGRAM)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn sockets_of_tcp_and_udp_are_taken_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let inspected = PassedSocket::inspect(&stream).unwrap();
        assert!(inspected.is_bound && inspected.version == IpVersion::V4);
        let copy = stream.try_clone().unwrap();
        assert_eq!(PassedSocket::inspect(&copy), Ok(inspected), "a copy is the same socket");
        let datagrams = UdpSocket::bind("[::1]:0").unwrap();
        let other = PassedSocket::inspect(&datagrams).unwrap();
        assert!(other.is_bound && other.version == IpVersion::V6 && other.cookie != inspected.cookie);
        assert_eq!(PassedSocket::inspect(&listener), Err(NotASocket::Listening));
        let (local, _) = UnixStream::pair().unwrap();
        assert_eq!(PassedSocket::inspect(&local), Err(NotASocket::Family { domain: libc::AF_UNIX }));
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(PassedSocket::inspect(&file), Err(NotASocket::File));
    }

    #[test]
    fn names_differ() {
        let [a, b] = [random_name().unwrap(), random_name().unwrap()];
        assert!(a != b && a.len() == 32, "{a} {b}");
    }
}
