//! Socket options of Linux.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};

use flowspec::Errno;
use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::errno::{Result, check, from_nix, size_of_value};

/// An option whose value is a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KernelOption {
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
    /// SO_SNDBUF. Linux returns twice the value that was set, since it counts its own overhead.
    SendBuffer,
    /// SO_RCVBUF; doubled likewise.
    ReceiveBuffer,
    /// TCP_NODELAY.
    NoDelay,
    /// IPV6_V6ONLY.
    Ipv6Only,
    /// IP_TTL.
    TimeToLive,
    /// IP_TOS.
    TypeOfService,
    /// IPV6_UNICAST_HOPS.
    UnicastHops,
    /// IP_MULTICAST_TTL.
    MulticastTimeToLive,
    /// IP_MULTICAST_LOOP.
    MulticastLoop,
}

impl KernelOption {
    /// The level and the name for `setsockopt`.
    const fn level_and_name(self) -> (i32, i32) {
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
            Self::Ipv6Only => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
            Self::TimeToLive => (libc::IPPROTO_IP, libc::IP_TTL),
            Self::TypeOfService => (libc::IPPROTO_IP, libc::IP_TOS),
            Self::UnicastHops => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
            Self::MulticastTimeToLive => (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
            Self::MulticastLoop => (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
        }
    }
}

/// - **Errors**: `setsockopt`.
pub(crate) fn set(socket: &impl AsRawFd, option: KernelOption, value: i32) -> Result<()> {
    let (level, name) = option.level_and_name();
    set_structure(socket, level, name, &value)
}

/// - **Errors**: `getsockopt`.
pub(crate) fn get(socket: &impl AsRawFd, option: KernelOption) -> Result<i32> {
    let (level, name) = option.level_and_name();
    let mut value: i32 = 0;
    let mut length = size_of_value(&value);
    // SAFETY: `value` is valid for writes of `length` bytes, and `length` for one of its own.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    check(result).map(|_| value)
}

fn set_structure<T>(socket: &impl AsRawFd, level: i32, name: i32, value: &T) -> Result<()> {
    // SAFETY: `value` is valid for reads of its own size for the whole call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of_value(value),
        )
    };
    check(result).map(drop)
}

/// How many seconds `close` waits for unsent data; `None` where it does not wait.
///
/// - **Errors**: `setsockopt`.
pub(crate) fn set_linger(socket: &impl AsFd, seconds: Option<u16>) -> Result<()> {
    let value =
        libc::linger { l_onoff: i32::from(seconds.is_some()), l_linger: i32::from(seconds.unwrap_or(0)) };
    setsockopt(socket, sockopt::Linger, &value).map_err(from_nix)
}

/// The value that [`set_linger`] set.
///
/// - **Errors**: `getsockopt`.
pub(crate) fn linger(socket: &impl AsFd) -> Result<Option<u16>> {
    let value = getsockopt(socket, sockopt::Linger).map_err(from_nix)?;
    Ok((value.l_onoff != 0).then(|| u16::try_from(value.l_linger).unwrap_or(u16::MAX)))
}

/// The interface on which a multicast group is joined.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MulticastInterface {
    /// The one that the routing table names for the group.
    #[default]
    Default,
    /// The one with this address.
    Address(Ipv4Addr),
    /// The one with this index.
    Index(u32),
}

/// Makes a datagram socket a member of a multicast group.
///
/// - **Errors**: `setsockopt`; EADDRNOTAVAIL where there is no such interface.
pub(crate) fn join_multicast(
    socket: &impl AsRawFd,
    group: IpAddr,
    interface: MulticastInterface,
) -> Result<()> {
    set_membership(socket, group, interface, (libc::IP_ADD_MEMBERSHIP, libc::IPV6_ADD_MEMBERSHIP))
}

/// Ends a membership.
///
/// - **Errors**: those of [`join_multicast`].
pub(crate) fn leave_multicast(
    socket: &impl AsRawFd,
    group: IpAddr,
    interface: MulticastInterface,
) -> Result<()> {
    set_membership(socket, group, interface, (libc::IP_DROP_MEMBERSHIP, libc::IPV6_DROP_MEMBERSHIP))
}

/// `names` are the options of IPv4 and IPv6.
fn set_membership(
    socket: &impl AsRawFd,
    group: IpAddr,
    interface: MulticastInterface,
    names: (i32, i32),
) -> Result<()> {
    let index = if let MulticastInterface::Index(index) = interface { index } else { 0 };
    let result = match group {
        IpAddr::V4(v4) => {
            let local = match interface {
                MulticastInterface::Address(local) => local,
                MulticastInterface::Default | MulticastInterface::Index(_) => Ipv4Addr::UNSPECIFIED,
            };
            let raw = |ip: Ipv4Addr| libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            let request = libc::ip_mreqn {
                imr_multiaddr: raw(v4),
                imr_address: raw(local),
                imr_ifindex: i32::try_from(index).map_err(|_| Errno::EADDRNOTAVAIL)?,
            };
            set_structure(socket, libc::IPPROTO_IP, names.0, &request)
        }
        IpAddr::V6(v6) => {
            let group = libc::in6_addr { s6_addr: v6.octets() };
            let request = libc::ipv6_mreq { ipv6mr_multiaddr: group, ipv6mr_interface: index };
            set_structure(socket, libc::IPPROTO_IPV6, names.1, &request)
        }
    };
    match result {
        Err(Errno::ENODEV) => Err(Errno::EADDRNOTAVAIL),
        result => result,
    }
}
