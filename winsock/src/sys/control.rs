//! Datagrams with control data: the interface and the address of a packet, its hop limit and its traffic class.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::buffer::{ReceiveBuffer, SendBuffer};
use super::errno::{Result, check_length};
use super::message::{MessageFlags, Received, receive_with_control};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ControlItem {
    /// The packet's own address on this host and its interface's index; 0 is no interface.
    PacketInfo { address: IpAddr, interface: u32 },
    /// Time to live or hop limit.
    HopLimit(u32),
    /// Type of service or traffic class.
    TrafficClass(u32),
}

/// A datagram that was received with its control data.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedMessage {
    pub(crate) received: Received,
    pub(crate) control: Vec<ControlItem>,
}

/// A cmsghdr of a 64-bit process: its length with the header, level, type; the data follows.
const HEADER: usize = 16;

/// Capacity for every kind of item.
const CONTROL_WORDS: usize = 32;

/// Receives a datagram with its control data, without waiting.
///
/// - **Errors**: `recvmsg`; EAGAIN where there is nothing to receive.
pub(crate) fn receive_message(
    socket: &impl AsRawFd,
    buffer: ReceiveBuffer<'_>,
    flags: MessageFlags,
) -> Result<ReceivedMessage> {
    let mut control = [0_u64; CONTROL_WORDS];
    let (received, filled) = receive_with_control(socket, buffer, flags, &mut control)?;
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(ReceivedMessage { received, control: parse(&bytes[..filled.min(bytes.len())]) })
}

fn parse(mut bytes: &[u8]) -> Vec<ControlItem> {
    let mut items = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let length = word(header, 0) as usize;
        let Some(data) = length.checked_sub(HEADER).and_then(|length| rest.get(..length)) else { break };
        items.extend(item(word(header, 8).cast_signed(), word(header, 12).cast_signed(), data));
        bytes = rest.get(data.len().next_multiple_of(8)..).unwrap_or_default();
    }
    items
}

fn item(level: i32, kind: i32, data: &[u8]) -> Option<ControlItem> {
    Some(match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= 12 => ControlItem::PacketInfo {
            address: Ipv4Addr::new(data[8], data[9], data[10], data[11]).into(),
            interface: word(data, 0),
        },
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let (address, rest) = data.split_first_chunk::<16>()?;
            let interface = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?);
            ControlItem::PacketInfo { address: IpAddr::from(*address), interface }
        }
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
            ControlItem::HopLimit(number(data)?)
        }
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            ControlItem::TrafficClass(number(data)?)
        }
        _ => return None,
    })
}

/// A number of one byte or of four.
fn number(data: &[u8]) -> Option<u32> {
    match data.len() {
        0 => None,
        1..4 => Some(u32::from(data[0])),
        _ => Some(word(data, 0)),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Sends a datagram with control data, without waiting; to the peer, where there is no destination.
///
/// - **Errors**: `sendmsg`.
pub(crate) fn send_message(
    socket: &impl AsRawFd,
    data: SendBuffer<'_>,
    flags: MessageFlags,
    to: Option<SocketAddr>,
    control: &[ControlItem],
) -> Result<usize> {
    let mut control: Vec<u64> = control.iter().flat_map(encode).collect();
    let name = to.map(SockaddrStorage::from);
    let mut part = libc::iovec { iov_base: data.start().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: msghdr is made of integers and pointers, for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    if let Some(name) = &name {
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
    }
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !control.is_empty() {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control[..]);
    }
    // SAFETY: `header` names `name`, `part` and `control`, which live for the whole call and are only read. A buffer
    // that a program named may be absent, and the kernel then answers EFAULT.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags.nonblocking_bits()) };
    check_length(sent)
}

/// An item with its header, in words of 8 bytes. A number is of the family of the packet's address; the kernel ignores
/// items of the other family.
fn encode(item: &ControlItem) -> Vec<u64> {
    let mut encoded = Vec::new();
    match *item {
        ControlItem::PacketInfo { address: IpAddr::V4(address), interface } => {
            let mut data = interface.to_ne_bytes().to_vec();
            data.extend(address.octets());
            data.extend([0; 4]);
            append(&mut encoded, libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        }
        ControlItem::PacketInfo { address: IpAddr::V6(address), interface } => {
            let mut data = address.octets().to_vec();
            data.extend(interface.to_ne_bytes());
            append(&mut encoded, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
        }
        ControlItem::HopLimit(limit) => {
            append(&mut encoded, libc::IPPROTO_IP, libc::IP_TTL, &limit.to_ne_bytes());
            append(&mut encoded, libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &limit.to_ne_bytes());
        }
        ControlItem::TrafficClass(class) => {
            append(&mut encoded, libc::IPPROTO_IP, libc::IP_TOS, &class.to_ne_bytes());
            append(&mut encoded, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class.to_ne_bytes());
        }
    }
    encoded
}

fn append(to: &mut Vec<u64>, level: i32, kind: i32, data: &[u8]) {
    let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let words = bytes.chunks_exact(8);
    to.extend(words.map(|word| word.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))));
}
