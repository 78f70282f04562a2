//! Socket options: the class of the packets of a socket, what their route depends on, and how its transport frames data.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::{SockaddrStorage, getpeername, getsockname, getsockopt, setsockopt, sockopt};
use shaper::Framing;
use shaper::headers::{IpVersion, tcp_header_size, udp_header_size};

use super::routes::{Ports, RouteQuery, RouteSelectors};
use super::socket_option::read_option;
use crate::failure::{KernelCall, KernelFailure};
use crate::tc::Handle;

/// Sends the packets of the socket to this class from now on, marked with this code point, which is below 64.
///
/// `None` for the class is the default class; `None` for the code point leaves it as it is. Sets the code point first,
/// since the kernel changes the priority with it.
///
/// - **Errors**: `setsockopt`, which needs CAP_NET_ADMIN or CAP_NET_RAW for a class.
/// - **Source**: socket(7), ip(7); kernel `net/core/sock.c`, `net/ipv4/ip_sockglue.c`.
pub fn classify(
    socket: &impl AsFd,
    version: IpVersion,
    dscp: Option<u8>,
    class: Option<Handle>,
) -> Result<(), KernelFailure> {
    if let Some(dscp) = dscp {
        debug_assert!(dscp < 64, "a code point has 6 bits: {dscp}");
        let field = i32::from(dscp) << 2;
        let (call, set) = match version {
            IpVersion::V6 => ("setsockopt(IPV6_TCLASS)", setsockopt(socket, sockopt::Ipv6TClass, &field)),
            IpVersion::V4 => ("setsockopt(IP_TOS)", setsockopt(socket, sockopt::Ipv4Tos, &field)),
        };
        set.map_err(|errno| KernelCall(call).failed(format!("DSCP {dscp}"), errno))?;
    }
    let priority = class.map_or(0, Handle::to_u32).cast_signed();
    setsockopt(socket, sockopt::Priority, &priority).map_err(|errno| {
        let class = class.map_or_else(|| "0".into(), |class| class.to_string());
        KernelCall("setsockopt(SO_PRIORITY)").failed(format!("class {class}"), errno)
    })
}

/// How the packets of a socket are classified.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SocketMark {
    /// Their class; the default class where it is `None`.
    pub class: Option<Handle>,
    /// Their code point, below 64; `None` leaves the socket's as it is.
    pub dscp: Option<u8>,
}

/// Sends the packets of the socket with this mark from now on: [`classify`].
///
/// - **Errors**: `setsockopt`, which needs CAP_NET_ADMIN or CAP_NET_RAW for a class.
pub fn mark(socket: &impl AsFd, version: IpVersion, mark: SocketMark) -> Result<(), KernelFailure> {
    classify(socket, version, mark.dscp, mark.class)
}

/// The code point that the packets of the socket are marked with.
///
/// - **Errors**: `getsockopt`.
pub fn code_point(socket: &impl AsFd, version: IpVersion) -> Result<u8, KernelFailure> {
    let (call, field) = match version {
        IpVersion::V6 => ("getsockopt(IPV6_TCLASS)", getsockopt(socket, sockopt::Ipv6TClass)),
        IpVersion::V4 => ("getsockopt(IP_TOS)", getsockopt(socket, sockopt::Ipv4Tos)),
    };
    let field = field.map_err(|errno| KernelCall(call).failed("socket", errno))?;
    let [field, ..] = field.to_le_bytes();
    Ok(field >> 2)
}

/// What the route of a socket's packets to this peer depends on. An option that the kernel does not have is one that the
/// socket does not have.
///
/// - **Source**: socket(7), SO_MARK, SO_BINDTOIFINDEX and SO_PROTOCOL; kernel `net/core/sock.c`, `sock_i_uid`.
pub fn route_selectors(socket: &impl AsFd, peer: SocketAddr) -> RouteSelectors {
    let option = |name| read_option::<libc::c_int>(socket, libc::SOL_SOCKET, name).unwrap_or(0);
    let local: Option<SocketAddr> =
        getsockname::<SockaddrStorage>(socket.as_fd().as_raw_fd()).ok().and_then(|local| {
            local
                .as_sockaddr_in()
                .map(|v4| SocketAddr::V4((*v4).into()))
                .or_else(|| local.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
        });
    let source = local.map(|local| local.ip().to_canonical()).filter(|source| !source.is_unspecified());
    // It may be no address of this host, for which the kernel gives no route.
    let source = source.filter(|_| !is_transparent(socket));
    let protocol = u8::try_from(option(libc::SO_PROTOCOL)).unwrap_or(0);
    let local_port = local.map_or(0, |local| local.port());
    RouteSelectors {
        scope: scope(peer),
        device: option(libc::SO_BINDTOIFINDEX).unsigned_abs(),
        mark: option(libc::SO_MARK).cast_unsigned(),
        source,
        user: nix::sys::stat::fstat(socket.as_fd()).ok().map(|file| file.st_uid),
        ports: (protocol != 0).then(|| Ports { protocol, local: local_port, peer: peer.port() }),
    }
}

/// The packets of a connected socket to its peer; `None` where it is not connected.
pub fn route_of(socket: &impl AsFd) -> Option<RouteQuery> {
    let peer = getpeername::<SockaddrStorage>(socket.as_fd().as_raw_fd()).ok()?;
    let v4 = peer.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    let peer = v4.or_else(|| peer.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))?;
    Some(RouteQuery { peer: peer.ip().to_canonical(), selectors: route_selectors(socket, peer) })
}

/// Lets a socket hold so many bytes of payload that were not read, as far as the system allows it.
///
/// - **Errors**: `setsockopt`.
pub fn set_receive_buffer(socket: &impl AsFd, bytes: usize) -> Result<(), KernelFailure> {
    // The kernel counts what it needs for each packet, which is more than a small one has, and doubles the number itself.
    let bytes = bytes.saturating_mul(2);
    setsockopt(socket, sockopt::RcvBufForce, &bytes)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &bytes))
        .map_err(|errno| KernelCall("setsockopt(SO_RCVBUF)").failed(bytes.to_string(), errno))
}

/// How many datagrams a socket has lost because its receive buffer was full.
///
/// - **Errors**: `getsockopt`.
/// - **Source**: `linux/sock_diag.h`, SK_MEMINFO_DROPS.
pub fn dropped_datagrams(socket: &impl AsFd) -> Result<u64, KernelFailure> {
    const DROPS: usize = 8;
    let memory = read_option::<[u32; DROPS + 1]>(socket, libc::SOL_SOCKET, libc::SO_MEMINFO);
    let memory = memory.map_err(|errno| KernelCall("getsockopt(SO_MEMINFO)").failed("socket", errno))?;
    Ok(memory[DROPS].into())
}

/// Whether a socket may send from addresses of other hosts.
///
/// - **Source**: ip(7), IP_TRANSPARENT; `linux/in6.h`, IPV6_TRANSPARENT.
fn is_transparent(socket: &impl AsFd) -> bool {
    let option = |level, name| read_option::<libc::c_int>(socket, level, name).is_ok_and(|value| value != 0);
    option(libc::IPPROTO_IP, libc::IP_TRANSPARENT) || option(libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)
}

/// The scope id of an address; 0 where it has none.
pub const fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

/// Sets the congestion control of a TCP socket.
///
/// - **Errors**: `setsockopt` where the kernel has no such algorithm or does not allow it.
pub fn set_congestion_control(socket: &impl AsFd, name: &str) -> Result<(), KernelFailure> {
    setsockopt(socket, sockopt::TcpCongestion, &name.into())
        .map_err(|errno| KernelCall("setsockopt(TCP_CONGESTION)").failed(name, errno))
}

/// Limits the payload of the segments of a TCP socket that is not connected yet.
///
/// - **Errors**: `setsockopt`.
pub fn limit_segment(socket: &impl AsFd, payload: u32) -> Result<(), KernelFailure> {
    setsockopt(socket, sockopt::TcpMaxSeg, &payload)
        .map_err(|errno| KernelCall("setsockopt(TCP_MAXSEG)").failed(payload.to_string(), errno))
}

/// How a connected TCP socket frames its data: the segment size in force, and the headers of each segment.
///
/// - **Errors**: `getsockopt`.
/// - **Source**: tcp(7), TCP_INFO; `TCPI_OPT_TIMESTAMPS`, `linux/tcp.h`.
pub fn tcp_framing(socket: &impl AsFd, peer: IpAddr) -> Result<Framing, KernelFailure> {
    let info =
        tcp_info(socket).map_err(|error| KernelCall("getsockopt(TCP_INFO)").failed("socket", error))?;
    // `tcp_header_size` counts the timestamps option.
    let unused = if info.tcpi_options & TCPI_OPT_TIMESTAMPS == 0 { TIMESTAMPS } else { 0 };
    let header = tcp_header_size(IpVersion::of(peer)) - unused;
    Ok(Framing::Stream { header, segment: u64::from(info.tcpi_snd_mss).max(1) })
}

/// How a UDP socket frames its data.
pub fn udp_framing(peer: IpAddr) -> Framing {
    Framing::Datagram { header: udp_header_size(IpVersion::of(peer)) }
}

/// Ends the sending half: the kernel sends a FIN after all data that it has accepted.
///
/// - **Errors**: `shutdown`.
pub fn shutdown_write(socket: &impl AsFd) -> Result<(), KernelFailure> {
    nix::sys::socket::shutdown(socket.as_fd().as_raw_fd(), nix::sys::socket::Shutdown::Write)
        .map_err(|errno| KernelCall("shutdown").failed("SHUT_WR", errno))
}

/// The bytes that a TCP socket has accepted and its peer has not acknowledged.
///
/// - **Errors**: `ioctl`.
/// - **Source**: tcp(7), SIOCOUTQ.
pub fn unacknowledged(socket: &impl AsFd) -> Result<u32, KernelFailure> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for the whole call, and SIOCOUTQ writes one int.
    let result = unsafe { outq(socket.as_fd().as_raw_fd(), &raw mut bytes) };
    result.map_err(|errno| KernelCall("ioctl(SIOCOUTQ)").failed("socket", errno))?;
    Ok(bytes.unsigned_abs())
}

/// Whether a TCP connection stands whole: neither side has ended its half, and it has not failed.
///
/// - **Errors**: `getsockopt`.
/// - **Source**: tcp(7), TCP_INFO; `net/tcp_states.h`.
#[cfg(feature = "proxy")]
pub fn is_established(socket: &impl AsFd) -> Result<bool, KernelFailure> {
    const TCP_ESTABLISHED: u8 = 1;
    let info =
        tcp_info(socket).map_err(|error| KernelCall("getsockopt(TCP_INFO)").failed("socket", error))?;
    Ok(info.tcpi_state == TCP_ESTABLISHED)
}

mod ioctl {
    #![allow(missing_docs, reason = "the macro writes an undocumented function")]
    nix::ioctl_read_bad!(outq, nix::libc::TIOCOUTQ, nix::libc::c_int);
}
use ioctl::outq;

const TCPI_OPT_TIMESTAMPS: u8 = 1;

/// The size of the timestamps option with its padding. Source: RFC 7323.
const TIMESTAMPS: u64 = 12;

pub(super) fn tcp_info(socket: &impl AsFd) -> io::Result<libc::tcp_info> {
    Ok(read_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?)
}
