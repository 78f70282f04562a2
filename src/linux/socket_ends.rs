//! The ends of sockets in this network namespace, as the kernel reports them (sock_diag).

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use tokio::io::unix::AsyncFd;

use crate::failure::{AnswerProblem, KernelCall, KernelFailure};

/// Reports the TCP and UDP sockets that have ended, in the network namespace of the thread that opened it. Needs no
/// privilege.
///
/// A socket ends when its last descriptor is closed and nothing waits to be sent any more, in whatever process.
pub struct SocketEnds {
    socket: AsyncFd<OwnedFd>,
}

/// What was reported.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndedSockets {
    /// The cookies of sockets that have ended.
    Cookies(Vec<u64>),
    /// More have ended than the queue holds: [`live_sockets`] says which are there still.
    Overrun,
}

/// SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET_UDP_DESTROY and those of INET6, as a mask. Source: `linux/sock_diag.h`.
const DESTROY_GROUPS: u32 = 0b1111;

/// SOCK_DIAG_BY_FAMILY, `linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// What the queue holds where the limit of the system may be exceeded: 30,000 ends while the reader is stopped for a second.
const QUEUE: libc::c_int = 8 << 20;

/// `struct nlmsghdr`, and the offset of `idiag_cookie` in `struct inet_diag_msg`. Source: `linux/inet_diag.h`.
const HEADER: usize = 16;
const COOKIE: usize = 44;

impl SocketEnds {
    /// Reports what ends from now on.
    ///
    /// - **Errors**: `socket`, `bind`.
    /// - **Source**: sock_diag(7); kernel `net/core/sock_diag.c`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open() -> Result<Self, KernelFailure> {
        let socket = netlink(DESTROY_GROUPS)?;
        let queue = QUEUE;
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
        for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
            // SAFETY: `queue` is valid for reads of `length` bytes.
            let _ = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const queue).cast(),
                    length,
                )
            };
        }
        let failed = |error: io::Error| KernelCall("epoll_ctl").failed("sock_diag", error);
        // SAFETY: an `OwnedFd` always gives the same descriptor, and keeps it open as long as it lives.
        let socket = unsafe { AsyncFd::register(socket) };
        Ok(Self { socket: socket.map_err(|error| failed(error.into()))? })
    }

    /// Waits for the next sockets that end.
    ///
    /// - **Errors**: `recv`.
    pub async fn next(&self) -> Result<EndedSockets, KernelFailure> {
        let failed = |error: io::Error| KernelCall("recv").failed("sock_diag", error);
        let mut buffer = vec![0; 1 << 16];
        let mut cookies = Vec::new();
        loop {
            let mut ready = self.socket.readable().await.map_err(failed)?;
            loop {
                match receive(self.socket.get_ref(), &mut buffer) {
                    Ok(bytes) => cookies.extend(messages(&buffer[..bytes]).filter_map(cookie)),
                    Err(Errno::ENOBUFS) => return Ok(EndedSockets::Overrun),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(KernelCall("recv").failed("sock_diag", errno)),
                }
                if cookies.len() >= MOST_AT_ONCE {
                    return Ok(EndedSockets::Cookies(cookies));
                }
            }
            ready.clear_ready();
            if !cookies.is_empty() {
                return Ok(EndedSockets::Cookies(cookies));
            }
        }
    }
}

/// How many ends are reported at once at most.
const MOST_AT_ONCE: usize = 1024;

/// The cookies of all TCP and UDP sockets of this thread's network namespace that have a peer or a local port. Blocks: some
/// 17 ms for 10,000 sockets.
///
/// - **Errors**: `socket`, `send`, `recv`, or an answer that is not what was asked for.
pub fn live_sockets() -> Result<HashSet<u64>, KernelFailure> {
    let mut live = HashSet::new();
    dump_all(&mut |message| live.extend(cookie(message)))?;
    Ok(live)
}

/// The cookies of the same sockets, each with what selects the class of its packets (SO_PRIORITY, or what net_cls of its control
/// group sets in its place). Blocks for as long.
///
/// - **Errors**: those of [`live_sockets`].
/// - **Source**: kernel `net/ipv4/inet_diag.c`, `inet_diag_msg_attrs_fill`: INET_DIAG_CLASS_ID comes where the traffic class is
///   asked for.
pub fn socket_priorities() -> Result<BTreeMap<u64, u32>, KernelFailure> {
    let mut priorities = BTreeMap::new();
    dump_all(&mut |message| {
        let priority = attribute(message.body, INET_DIAG_CLASS_ID);
        if let (Some(cookie), Some(priority)) = (cookie(message), priority) {
            priorities.insert(cookie, priority);
        }
    })?;
    Ok(priorities)
}

/// INET_DIAG_TCLASS and INET_DIAG_CLASS_ID, and the size of `struct inet_diag_msg`. Source: `linux/inet_diag.h`.
const INET_DIAG_TCLASS: u8 = 6;
const INET_DIAG_CLASS_ID: u16 = 17;
const INET_DIAG_MSG: usize = 72;

/// A number among the attributes of a socket.
fn attribute(body: &[u8], kind: u16) -> Option<u32> {
    let mut rest = body.get(INET_DIAG_MSG..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) == kind {
            return Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?));
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn dump_all(each: &mut dyn FnMut(Message<'_>)) -> Result<(), KernelFailure> {
    let socket = netlink(0)?;
    let mut buffer = vec![0; 1 << 18];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            dump(&socket, (family, protocol), &mut buffer, each)?;
        }
    }
    Ok(())
}

/// Every state but TIME_WAIT, which outlives its socket and has its cookie. Source: `net/tcp_states.h`.
const STATES: u32 = !(1 << 6);

/// TCP_FIN_WAIT2, and the offset of `idiag_inode` in `struct inet_diag_msg`.
const FIN_WAIT2: u8 = 5;
const INODE: usize = 68;

/// Whether a message is about a connection in FIN_WAIT2 that no process has any more: what is left of its socket, which
/// has ended.
fn is_remnant(message: &Message<'_>) -> bool {
    message.body.get(1) == Some(&FIN_WAIT2) && message.body.get(INODE..INODE + 4) == Some(&[0; 4])
}

/// How long an answer may take, in milliseconds.
const PATIENCE: libc::c_int = 5_000;

fn dump(
    socket: &OwnedFd,
    (family, protocol): (libc::c_int, libc::c_int),
    buffer: &mut [u8],
    each: &mut dyn FnMut(Message<'_>),
) -> Result<(), KernelFailure> {
    const FLAGS: u16 = 0x301; // NLM_F_REQUEST | NLM_F_DUMP
    const REQUEST: usize = HEADER + 56; // struct inet_diag_req_v2
    let mut request = [0_u8; REQUEST];
    request[..4].copy_from_slice(&u32::try_from(REQUEST).unwrap_or(0).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    request[HEADER] = u8::try_from(family).unwrap_or(0);
    request[HEADER + 1] = u8::try_from(protocol).unwrap_or(0);
    request[HEADER + 2] = 1 << (INET_DIAG_TCLASS - 1);
    request[HEADER + 4..HEADER + 8].copy_from_slice(&STATES.to_ne_bytes());
    // SAFETY: `request` is valid for reads of its length.
    let sent = unsafe { libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) };
    let call = KernelCall("SOCK_DIAG_BY_FAMILY");
    Errno::result(sent).map_err(|errno| call.failed("dump of sockets", errno))?;
    loop {
        let mut polled = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `polled` is one valid entry.
        let ready = unsafe { libc::poll(&raw mut polled, 1, PATIENCE) };
        if Errno::result(ready).map_err(|errno| call.failed("dump of sockets", errno))? == 0 {
            return Err(call.failed("dump of sockets", Errno::ETIMEDOUT));
        }
        let bytes = receive(socket, buffer).map_err(|errno| call.failed("dump of sockets", errno))?;
        for message in messages(&buffer[..bytes]) {
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    let number = message
                        .body
                        .get(..4)
                        .and_then(|code| code.try_into().ok())
                        .map_or(0, i32::from_ne_bytes);
                    let errno = Errno::from_raw(number.saturating_abs());
                    // A kernel without the transport has no sockets of it.
                    return if errno == Errno::ENOENT {
                        Ok(())
                    } else {
                        Err(call.failed("dump of sockets", errno))
                    };
                }
                _ if is_remnant(&message) => {}
                _ => each(message),
            }
        }
        if bytes == 0 {
            return Err(call.unexpected("dump of sockets", AnswerProblem::EndedEarly));
        }
    }
}

/// A socket of the family that reports on sockets, a member of these groups.
fn netlink(groups: u32) -> Result<OwnedFd, KernelFailure> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes three numbers and gives a descriptor or an error.
    let opened = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
    let opened = Errno::result(opened).map_err(|errno| KernelCall("socket").failed("sock_diag", errno))?;
    // SAFETY: the kernel has made this descriptor for the caller.
    let socket = unsafe { OwnedFd::from_raw_fd(opened) };
    // SAFETY: a sockaddr_nl is made of integers, for which all zeroes is a value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or(0);
    address.nl_groups = groups;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).unwrap_or(0);
    // SAFETY: `address` is valid for reads of `length` bytes.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(bound).map_err(|errno| KernelCall("bind").failed("sock_diag", errno))?;
    Ok(socket)
}

fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `buffer` is valid for writes of its length.
    let received = unsafe {
        libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
    };
    Errno::result(received).map(isize::unsigned_abs)
}

/// A message of netlink, without its header.
struct Message<'a> {
    kind: u16,
    body: &'a [u8],
}

/// The messages of a datagram, up to the first that is cut short.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?);
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let length = usize::try_from(length).ok()?;
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, body })
    })
}

/// The cookie of the socket that a message is about.
fn cookie(message: Message<'_>) -> Option<u64> {
    if message.kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let half =
        |at: usize| Some(u64::from(u32::from_ne_bytes(message.body.get(at..at + 4)?.try_into().ok()?)));
    Some(half(COOKIE)? | half(COOKIE + 4)? << 32)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::super::attach::PassedSocket;
    use super::*;

    fn cookie_of(socket: &impl std::os::fd::AsFd) -> u64 {
        PassedSocket::inspect(socket).unwrap().cookie
    }

    /// Waits until these sockets were reported, with others that may end before them.
    async fn until_reported(ends: &SocketEnds, reported: &mut HashSet<u64>, awaited: &[u64]) {
        while !awaited.iter().all(|cookie| reported.contains(cookie)) {
            match ends.next().await.unwrap() {
                EndedSockets::Cookies(ended) => reported.extend(ended),
                EndedSockets::Overrun => {
                    let live = live_sockets().unwrap();
                    reported.extend(awaited.iter().filter(|cookie| !live.contains(cookie)));
                }
            }
        }
    }

    #[tokio::test]
    async fn the_end_of_each_kind_of_socket_is_reported() {
        let ends = SocketEnds::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let cookies = [cookie_of(&client), cookie_of(&server), cookie_of(&datagrams)];
        let live = live_sockets().unwrap();
        assert!(cookies.iter().all(|cookie| live.contains(cookie)), "{cookies:?}");
        let copy = client.try_clone().unwrap();
        drop((client, server, datagrams));
        let mut reported = HashSet::new();
        until_reported(&ends, &mut reported, &cookies[2..]).await;
        assert!(live_sockets().unwrap().contains(&cookies[0]), "a copy keeps a socket");
        drop(copy);
        until_reported(&ends, &mut reported, &cookies[..2]).await;
        let live = live_sockets().unwrap();
        assert!(cookies.iter().all(|cookie| !live.contains(cookie)));
    }

    #[test]
    fn the_priority_of_a_socket_is_listed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = UdpSocket::bind("[::1]:0").unwrap();
        let set = |socket: &dyn std::os::fd::AsFd, priority| {
            nix::sys::socket::setsockopt(&socket.as_fd(), nix::sys::socket::sockopt::Priority, &priority)
                .unwrap();
        };
        set(&client, 5);
        set(&datagrams, 3);
        let priorities = socket_priorities().unwrap();
        assert_eq!(priorities.get(&cookie_of(&client)), Some(&5));
        assert_eq!(priorities.get(&cookie_of(&datagrams)), Some(&3));
        assert_eq!(
            priorities.get(&cookie_of(&TcpStream::connect(listener.local_addr().unwrap()).unwrap())),
            None
        );
    }

    #[test]
    fn messages_that_are_cut_short_are_no_messages() {
        let mut message = vec![0_u8; HEADER + COOKIE + 8];
        let length = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message[HEADER + COOKIE..].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(messages(&message).filter_map(cookie).collect::<Vec<_>>(), [1 | 2 << 32]);
        for length in 0..message.len() {
            assert_eq!(messages(&message[..length]).filter_map(cookie).count(), 0, "{length}");
        }
        message[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(messages(&message).count(), 0, "a length of zero");
    }
}
