//! Capture at a device: which packets passed it and when, as the kernel's tap sees them.

use std::fmt;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use flowspec::{Bytes, Rate};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};
use serde::Serialize;

use crate::failure::{KernelCall, KernelFailure};

/// A packet of the captured flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet {
    /// When it passed, since 1970 on the kernel's clock.
    pub at: Duration,
    /// The size of its IP datagram. Of an aggregate, the sum over its segments.
    pub size: Bytes,
}

/// Packets that match all of these fields are counted, all others are not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CaptureFilter {
    /// Packets of other transports are not captured.
    pub transport: Transport,
    /// The port at either end.
    pub port: u16,
    /// The payload of a full TCP segment, by which the headers of an aggregate are counted.
    pub segment: Bytes,
}

/// A transport protocol. JSON: `"tcp"` or `"udp"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP, by IP's number 6.
    Tcp,
    /// UDP, by IP's number 17.
    Udp,
}

/// A tap on all interfaces of a network namespace.
pub struct Tap(OwnedFd);

/// The bytes that are captured of each packet: enough for its headers.
const SNAP: usize = 128;

/// The size of an Ethernet header.
const ETHERNET: usize = 14;

/// The size of the kernel's buffer for captured packets.
const BUFFER: usize = 64 << 20;

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Transport {
    /// The protocol number in IP's header.
    const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl Tap {
    /// Opens a tap on all interfaces of the calling thread's namespace.
    ///
    /// - **Errors**: `socket`, which needs CAP_NET_RAW, and `setsockopt`.
    pub fn open() -> Result<Self, KernelFailure> {
        let failed = |call| move |errno: Errno| KernelCall(call).failed("AF_PACKET", errno);
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )
        .map_err(failed("socket"))?;
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true).map_err(failed("setsockopt(SO_TIMESTAMPNS)"))?;
        setsockopt(&fd, sockopt::RcvBufForce, &BUFFER).map_err(failed("setsockopt(SO_RCVBUFFORCE)"))?;
        Ok(Self(fd))
    }

    /// Takes the packets that have been captured since the last call.
    ///
    /// - **Errors**: `recvmsg`.
    pub fn take(&self, filter: CaptureFilter) -> Result<Vec<Packet>, KernelFailure> {
        let mut packets = Vec::new();
        let mut buffer = [0u8; SNAP];
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_TRUNC;
            let received = recvmsg::<LinkAddr>(self.0.as_raw_fd(), &mut slices, Some(&mut control), flags);
            let (length, at) = match received {
                Err(Errno::EAGAIN) => return Ok(packets),
                Err(errno) => return Err(KernelCall("recvmsg").failed("AF_PACKET", errno)),
                // With MSG_TRUNC the length is that of the whole packet.
                Ok(message) => (message.bytes, time_stamp(message.cmsgs().ok().into_iter().flatten())),
            };
            // The rest of the buffer is of an earlier packet.
            let captured = &buffer[..length.min(SNAP)];
            if let Some(size) = filter.datagram_size(captured, length) {
                packets.push(Packet { at, size });
            }
        }
    }
}

/// The time stamp among control messages; 1970 where there is none.
fn time_stamp(mut messages: impl Iterator<Item = ControlMessageOwned>) -> Duration {
    let stamp = messages.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
        _ => None,
    });
    stamp.unwrap_or_default()
}

impl CaptureFilter {
    /// The size of the IP datagrams in a frame of this length; `None` for a frame of another flow.
    fn datagram_size(&self, captured: &[u8], length: usize) -> Option<Bytes> {
        let ip = captured.get(ETHERNET..)?;
        let (header, transport) = match ip.first()? >> 4 {
            4 => (usize::from(ip[0] & 0xF) * 4, *ip.get(9)?),
            6 => (40, *ip.get(6)?),
            _ => return None,
        };
        let ports = ip.get(header..header + 4)?;
        let is_ours = ports.chunks_exact(2).any(|port| *port == self.port.to_be_bytes());
        if transport != self.transport.number() || !is_ours {
            return None;
        }
        let total = length.checked_sub(ETHERNET)? as u64;
        if self.transport == Transport::Udp {
            return Some(Bytes::new(total));
        }
        let headers = header as u64 + u64::from(ip.get(header + 12)? >> 4) * 4;
        let payload = total.checked_sub(headers)?;
        let more_segments = payload.div_ceil(self.segment.get().max(1)).saturating_sub(1);
        Some(Bytes::new(total + more_segments * headers))
    }
}

/// The empirical bucket depth: the largest excess of bytes over rate × time, over all windows. Rounded up.
///
/// It is the largest level of a leaky bucket that drains at `rate` and takes each packet as it passes.
pub fn depth(packets: &[Packet], rate: Rate) -> Bytes {
    const SCALE: u128 = 1_000_000_000;
    let (mut level, mut most, mut last) = (0u128, 0u128, Duration::ZERO);
    for packet in packets {
        let drained = u128::from(rate.get()).saturating_mul(packet.at.saturating_sub(last).as_nanos());
        level = level.saturating_sub(drained) + u128::from(packet.size.get()) * SCALE;
        most = most.max(level);
        last = packet.at;
    }
    Bytes::new(u64::try_from(most.div_ceil(SCALE)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets as pairs of (nanoseconds, bytes).
    fn trace(packets: &[(u64, u64)]) -> Vec<Packet> {
        let packet = |&(nanos, size)| Packet { at: Duration::from_nanos(nanos), size: Bytes::new(size) };
        packets.iter().map(packet).collect()
    }

    /// The depth by its definition.
    fn by_windows(packets: &[(u64, u64)], rate: i128) -> i128 {
        let windows =
            (0..packets.len()).flat_map(|first| (first..packets.len()).map(move |last| (first, last)));
        let excess = windows.map(|(first, last)| {
            let bytes: u64 = packets[first..=last].iter().map(|(_, size)| size).sum();
            let span = packets[last].0 - packets[first].0;
            i128::from(bytes) * 1_000_000_000 - i128::from(span) * rate
        });
        let most = excess.max().unwrap_or_default();
        (most + 999_999_999) / 1_000_000_000
    }

    #[test]
    fn depth_is_the_largest_excess_over_all_windows() {
        const SECOND: u64 = 1_000_000_000;
        for (packets, expected) in [
            (&[(0, 1500)][..], 1500),
            (&[(0, 1000), (SECOND, 1000), (2 * SECOND, 1000)], 1000),
            (&[(0, 1000), (SECOND / 2, 1000), (9 * SECOND, 400)], 1500),
            (&[(5, 10), (5, 10), (5 + SECOND, 500), (5 + SECOND, 700)], 1200),
        ] {
            let found = depth(&trace(packets), Rate::new(1000));
            assert_eq!(found.get(), expected, "{packets:?}");
            assert_eq!(i128::from(found.get()), by_windows(packets, 1000), "{packets:?}");
        }
        assert_eq!(depth(&[], Rate::new(1000)), Bytes::ZERO);
    }

    /// A frame with IP's header and the first bytes of the transport's.
    fn frame(ip: &[u8], transport: &[u8]) -> Vec<u8> {
        [&[0; ETHERNET], ip, transport].concat()
    }

    #[test]
    fn frames_of_the_flow_count_with_the_headers_of_all_segments() {
        let mut v4 = [0; 20];
        (v4[0], v4[9]) = (0x45, 6);
        let mut v6 = [0; 40];
        (v6[0], v6[6]) = (0x60, 17);
        let mut tcp = [0; 20];
        tcp[2..4].copy_from_slice(&5000u16.to_be_bytes());
        tcp[12] = 0x50;
        let stream = CaptureFilter { transport: Transport::Tcp, port: 5000, segment: Bytes::new(1000) };
        let datagrams = CaptureFilter { transport: Transport::Udp, ..stream };
        let check = |filter: CaptureFilter, captured: &[u8], length: usize, expected: Option<u64>| {
            let found = filter.datagram_size(captured, length).map(Bytes::get);
            assert_eq!(found, expected, "{filter:?} {captured:?}");
        };
        let segment = frame(&v4, &tcp);
        check(stream, &segment, 14 + 40 + 1000, Some(1040));
        check(stream, &segment, 14 + 40 + 1001, Some(1041 + 40));
        check(stream, &segment, 14 + 40, Some(40));
        check(datagrams, &segment, 14 + 1040, None);
        check(CaptureFilter { port: 5001, ..stream }, &segment, 14 + 1040, None);
        check(datagrams, &frame(&v6, &tcp), 14 + 48, Some(48));
        for end in 0..segment.len() - 7 {
            check(stream, &segment[..end], end, None);
        }
    }
}
