//! Options of IP and TCP whose value is a number.

use std::os::fd::AsRawFd;

use flowspec::Errno;
use nix::libc;

use super::errno::{Result, check, size_of_value};
use crate::protocol::Family;

/// An option of IPv4, of IPv6 or of TCP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NetworkOption {
    /// IP_MULTICAST_IF: an address, or an index below 2²⁴, in network byte order. IPV6_MULTICAST_IF: an index.
    MulticastInterface,
    /// IPV6_MULTICAST_HOPS.
    MulticastHops,
    /// IPV6_MULTICAST_LOOP.
    MulticastLoop,
    /// IP_PKTINFO, IPV6_PKTINFO: control data has the packet's address and interface.
    PacketInfo,
    /// IP_RECVTTL, IPV6_HOPLIMIT: control data has the hop limit.
    ReceiveHopLimit,
    /// IP_RECVTOS, IPV6_RECVTCLASS: control data has the traffic class.
    ReceiveTrafficClass,
    /// IPV6_TCLASS.
    TrafficClass,
    /// IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, by Linux' numbers; IP_DONTFRAGMENT is one of them.
    MtuDiscovery,
    /// IP_MTU, IPV6_MTU.
    Mtu,
    /// TCP_KEEPIDLE, in seconds.
    KeepIdle,
    /// TCP_KEEPINTVL, in seconds.
    KeepInterval,
    /// TCP_KEEPCNT.
    KeepCount,
    /// TCP_MAXSEG.
    MaxSegment,
    /// TCP_USER_TIMEOUT, in milliseconds.
    UserTimeout,
}

impl NetworkOption {
    /// The level and the name for `setsockopt`; `None` where the family has no such option.
    const fn level_and_name(self, family: Family) -> Option<(i32, i32)> {
        Some(match (self, family) {
            (Self::MulticastInterface, Family::Inet) => (libc::IPPROTO_IP, libc::IP_MULTICAST_IF),
            (Self::MulticastInterface, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF),
            (Self::MulticastHops, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS),
            (Self::MulticastLoop, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP),
            (Self::PacketInfo, Family::Inet) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            (Self::PacketInfo, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            (Self::ReceiveHopLimit, Family::Inet) => (libc::IPPROTO_IP, libc::IP_RECVTTL),
            (Self::ReceiveHopLimit, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
            (Self::ReceiveTrafficClass, Family::Inet) => (libc::IPPROTO_IP, libc::IP_RECVTOS),
            (Self::ReceiveTrafficClass, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
            (Self::TrafficClass, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
            (Self::MtuDiscovery, Family::Inet) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
            (Self::MtuDiscovery, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
            (Self::Mtu, Family::Inet) => (libc::IPPROTO_IP, libc::IP_MTU),
            (Self::Mtu, Family::Inet6) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
            (Self::KeepIdle, _) => (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
            (Self::KeepInterval, _) => (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
            (Self::KeepCount, _) => (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
            (Self::MaxSegment, _) => (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
            (Self::UserTimeout, _) => (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
            (Self::MulticastHops | Self::MulticastLoop | Self::TrafficClass, Family::Inet) => return None,
        })
    }

    /// The kinds of path discovery of Linux: DONT, WANT, DO and PROBE.
    pub(crate) const fn mtu_discovery(do_not_fragment: bool) -> i32 {
        if do_not_fragment { libc::IP_PMTUDISC_DO } else { libc::IP_PMTUDISC_DONT }
    }
}

/// - **Errors**: `setsockopt`; ENOPROTOOPT where the family has no such option.
pub(crate) fn set_network(
    socket: &impl AsRawFd,
    family: Family,
    option: NetworkOption,
    value: i32,
) -> Result<()> {
    let (level, name) = option.level_and_name(family).ok_or(Errno::ENOPROTOOPT)?;
    // An address, or an index in network byte order.
    let index = u32::from_be_bytes(value.to_ne_bytes());
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: if index >> 24 == 0 { 0 } else { value.cast_unsigned() } },
        imr_ifindex: if index >> 24 == 0 { index.cast_signed() } else { 0 },
    };
    let (pointer, length) = match (option, family) {
        (NetworkOption::MulticastInterface, Family::Inet) => {
            ((&raw const request).cast(), size_of_value(&request))
        }
        _ => ((&raw const value).cast(), size_of_value(&value)),
    };
    // SAFETY: the pointer is to `request` or `value`, which are valid for reads of their size for the whole call.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, length) }).map(drop)
}

/// - **Errors**: `getsockopt`; ENOPROTOOPT where the family has no such option.
pub(crate) fn get_network(socket: &impl AsRawFd, family: Family, option: NetworkOption) -> Result<i32> {
    let (level, name) = option.level_and_name(family).ok_or(Errno::ENOPROTOOPT)?;
    let mut value: i32 = 0;
    let mut length = size_of_value(&value);
    // SAFETY: `value` is valid for writes of `length` bytes, and `length` for one of its own.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    check(result).map(|_| value)
}

/// The smoothed round-trip time of a TCP socket, in microseconds; `None` where the kernel knows none.
pub(crate) fn round_trip_micros(socket: &impl AsRawFd) -> Option<u32> {
    // SAFETY: tcp_info is made of integers, for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_value(&info);
    // SAFETY: `info` is valid for writes of `length` bytes, and `length` for one of its own.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (check(result).is_ok() && info.tcpi_rtt > 0).then_some(info.tcpi_rtt)
}
