//! Capture at a device: what left or came, and when, as the kernel's tap sees it.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};

use crate::failure::KernelFailure;

/// A packet: when it passed, and its IP datagrams' bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet {
    /// Nanoseconds since the epoch, by the kernel.
    pub nanos: u64,
    /// Bytes of IP datagrams: an aggregate counts each of its segments' headers.
    pub bytes: u64,
}

/// An open tap on one interface.
pub struct Tap(OwnedFd);

/// What is kept of each packet: enough for its headers.
const SNAP: usize = 128;

const ETHERNET: usize = 14;

impl Tap {
    /// Opens a tap on every interface of the calling thread's namespace.
    ///
    /// - **Errors**: `socket` (CAP_NET_RAW is needed) or its options.
    pub fn open() -> Result<Self, KernelFailure> {
        let failed = |call| move |errno: nix::errno::Errno| KernelFailure::new(call, "AF_PACKET", errno);
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )
        .map_err(failed("socket"))?;
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true).map_err(failed("setsockopt"))?;
        setsockopt(&fd, sockopt::RcvBufForce, &(64 << 20)).map_err(failed("setsockopt"))?;
        Ok(Self(fd))
    }

    /// Takes what has been captured of this transport (6 TCP, 17 UDP) to or from this port.
    ///
    /// `segment` is the payload of a full segment, for counting the headers of aggregates.
    ///
    /// - **Errors**: `recvmsg`.
    pub fn take(&self, protocol: u8, port: u16, segment: u64) -> Result<Vec<Packet>, KernelFailure> {
        let mut packets = Vec::new();
        let mut buffer = [0u8; SNAP];
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_TRUNC;
            let received = recvmsg::<LinkAddr>(self.0.as_raw_fd(), &mut slices, Some(&mut control), flags);
            let (length, nanos) = match received {
                Err(nix::errno::Errno::EAGAIN) => return Ok(packets),
                Err(errno) => return Err(KernelFailure::new("recvmsg", "AF_PACKET", errno)),
                Ok(message) => {
                    let stamp =
                        message.cmsgs().ok().into_iter().flatten().find_map(|control| match control {
                            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                            _ => None,
                        });
                    (message.bytes, stamp.map_or(0, |stamp| stamp.as_nanos()))
                }
            };
            if let Some(bytes) = datagram_bytes(&buffer, length, protocol, port, segment) {
                packets.push(Packet { nanos: u64::try_from(nanos).unwrap_or(u64::MAX), bytes });
            }
        }
    }
}

/// Bytes of IP datagrams in a frame of the wanted flow.
fn datagram_bytes(frame: &[u8; SNAP], length: usize, protocol: u8, port: u16, segment: u64) -> Option<u64> {
    let ip = &frame[ETHERNET..];
    let (header, found) = match ip[0] >> 4 {
        4 => (usize::from(ip[0] & 0xF) * 4, ip[9]),
        6 => (40, ip[6]),
        _ => return None,
    };
    let ports = ip.get(header..header + 4)?;
    let is_ours = [&ports[..2], &ports[2..]].iter().any(|bytes| **bytes == port.to_be_bytes());
    if found != protocol || !is_ours {
        return None;
    }
    let total = length.checked_sub(ETHERNET)? as u64;
    if protocol != 6 {
        return Some(total);
    }
    let headers = header as u64 + u64::from(ip.get(header + 12)? >> 4) * 4;
    let payload = total.checked_sub(headers)?;
    let extra = payload.div_ceil(segment.max(1)).saturating_sub(1);
    Some(total + extra * headers)
}

/// The empirical bucket depth: the largest excess of bytes over rate × time, over all windows.
///
/// Equal to the largest level of a leaky bucket that drains at `rate` and takes each packet as it
/// passes. Bytes, rounded up.
pub fn depth(packets: &[Packet], rate: u64) -> u64 {
    const SCALE: u128 = 1_000_000_000;
    let (mut level, mut most, mut last) = (0u128, 0u128, 0u64);
    for packet in packets {
        let drained = u128::from(rate) * u128::from(packet.nanos.saturating_sub(last));
        level = level.saturating_sub(drained) + u128::from(packet.bytes) * SCALE;
        most = most.max(level);
        last = packet.nanos;
    }
    u64::try_from(most.div_ceil(SCALE)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_the_largest_excess_over_all_windows() {
        let trace = |packets: &[(u64, u64)]| {
            let packets: Vec<_> = packets.iter().map(|&(nanos, bytes)| Packet { nanos, bytes }).collect();
            // Over all windows, by the definition.
            let most =
                (0..packets.len()).flat_map(|first| (first..packets.len()).map(move |last| (first, last)));
            let most = most.map(|(first, last)| {
                let bytes: u64 = packets[first..=last].iter().map(|packet| packet.bytes).sum();
                let span = packets[last].nanos - packets[first].nanos;
                i128::from(bytes) * 1_000_000_000 - i128::from(span) * 1000
            });
            let most = most.max().expect("packets");
            assert_eq!(i128::from(depth(&packets, 1000)), (most + 999_999_999) / 1_000_000_000);
            depth(&packets, 1000)
        };
        const SECOND: u64 = 1_000_000_000;
        assert_eq!(trace(&[(0, 1500)]), 1500);
        assert_eq!(trace(&[(0, 1000), (SECOND, 1000), (2 * SECOND, 1000)]), 1000);
        assert_eq!(trace(&[(0, 1000), (SECOND / 2, 1000), (9 * SECOND, 400)]), 1500);
        assert_eq!(trace(&[(5, 10), (5, 10), (5 + SECOND, 500), (5 + SECOND, 700)]), 1200);
    }
}
