//! WSASendMsg and WSARecvMsg: WSAMSG and control data of a 64-bit program.

use std::net::{IpAddr, Ipv4Addr};

use flowspec::{Direction, Wsa};

use super::handle::endpoint;
use super::memory::{self, WSABUF_SIZE};
use super::overlapped::{self, Routine};
use super::sockaddr;
use super::transfer::{gather, message_flags, read_buffers, scatter, total_length};
use super::{Address, SOCKET_ERROR};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::operations::Attempt;
use crate::protocol::{Family, LARGEST_DATAGRAM};
use crate::sys::{ControlItem, ForeignMemory, ReceivedMessage};
use std::sync::Arc;

// Fields of WSAMSG: the address and its length, the buffers and their number, the control data, flags.
const NAME: usize = 0;
const NAME_LENGTH: usize = 8;
const BUFFERS: usize = 16;
const BUFFER_COUNT: usize = 24;
const CONTROL: usize = 32;
const FLAGS: usize = CONTROL + WSABUF_SIZE;

/// The size of WSACMSGHDR: the length with the header (8 bytes), level, type.
const HEADER: usize = 16;

/// The most control data of a message.
const MAX_CONTROL: usize = 4096;

const IPPROTO_IP: u32 = 0;
const IPPROTO_IPV6: u32 = 41;

// Types of control data.
const TOS: u32 = 3;
const TTL: u32 = 4;
const PACKET_INFO: u32 = 19;
const HOP_LIMIT: u32 = 21;
const TRAFFIC_CLASS: u32 = 39;
const RECEIVED_TRAFFIC_CLASS: u32 = 40;
const ECN: u32 = 50;

// Flags of a received message.
const MSG_TRUNC: u32 = 0x100;
const MSG_CTRUNC: u32 = 0x200;
const MSG_BCAST: u32 = 0x400;
const MSG_MCAST: u32 = 0x800;

/// Reads the control data of a message to send.
///
/// - **Errors**: WSAEFAULT; WSAEINVAL for an item that is malformed or not supported.
fn read_control(message: Address) -> Result<Vec<ControlItem>> {
    let control = memory::read_wsabuf(message.offset(CONTROL))?;
    if control.len() > MAX_CONTROL {
        return Err(Wsa::Einval);
    }
    let mut bytes = vec![0; control.len()];
    memory::read(control.address(), &mut bytes)?;
    let mut items = Vec::new();
    let mut rest = &bytes[..];
    while let Some((header, after)) = rest.split_first_chunk::<HEADER>() {
        let length = usize::try_from(u64_at(header, 0)).map_err(|_| Wsa::Einval)?;
        let data = length.checked_sub(HEADER).and_then(|length| after.get(..length)).ok_or(Wsa::Einval)?;
        items.push(read_item(u32_at(header, 8), u32_at(header, 12), data).ok_or(Wsa::Einval)?);
        rest = after.get(data.len().next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(items)
}

fn read_item(level: u32, kind: u32, data: &[u8]) -> Option<ControlItem> {
    match (level, kind) {
        (IPPROTO_IP, PACKET_INFO) if data.len() >= 8 => Some(ControlItem::PacketInfo {
            address: Ipv4Addr::new(data[0], data[1], data[2], data[3]).into(),
            interface: u32_at(data, 4),
        }),
        (IPPROTO_IPV6, PACKET_INFO) if data.len() >= 20 => {
            let address = data.first_chunk::<16>()?;
            Some(ControlItem::PacketInfo { address: IpAddr::from(*address), interface: u32_at(data, 16) })
        }
        (IPPROTO_IP | IPPROTO_IPV6, HOP_LIMIT | TTL) if data.len() >= 4 => {
            Some(ControlItem::HopLimit(u32_at(data, 0)))
        }
        (IPPROTO_IP | IPPROTO_IPV6, TOS | TRAFFIC_CLASS | RECEIVED_TRAFFIC_CLASS | ECN)
            if data.len() >= 4 =>
        {
            Some(ControlItem::TrafficClass(u32_at(data, 0)))
        }
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The control data of a received message, as far as it fits into the capacity; `false` where something did not.
fn control_bytes(items: &[ControlItem], family: Family, capacity: usize) -> (Vec<u8>, bool) {
    let level = if family == Family::Inet { IPPROTO_IP } else { IPPROTO_IPV6 };
    let mut bytes: Vec<u8> = Vec::new();
    for item in items {
        let (kind, data) = match *item {
            ControlItem::PacketInfo { address, interface } => {
                let mut data = match address {
                    IpAddr::V4(v4) => v4.octets().to_vec(),
                    IpAddr::V6(v6) => v6.octets().to_vec(),
                };
                data.extend(interface.to_ne_bytes());
                (PACKET_INFO, data)
            }
            ControlItem::HopLimit(limit) => (HOP_LIMIT, limit.to_ne_bytes().to_vec()),
            ControlItem::TrafficClass(class) => (RECEIVED_TRAFFIC_CLASS, class.to_ne_bytes().to_vec()),
        };
        let length = HEADER + data.len();
        if bytes.len() + length > capacity {
            return (bytes, false);
        }
        bytes.extend((length as u64).to_ne_bytes());
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8).min(capacity), 0);
    }
    (bytes, true)
}

/// The parameters that both calls have.
struct MessageCall {
    s: usize,
    message: Address,
    /// Where the length of a call that is not overlapped is written.
    transferred: Address,
    overlapped: Address,
    routine: Option<Routine>,
}

impl MessageCall {
    fn buffers(&self) -> Result<Vec<ForeignMemory>> {
        let list = memory::read_address(self.message.offset(BUFFERS))?;
        let count = memory::read_u32(self.message.offset(BUFFER_COUNT))?;
        Ok(read_buffers(list, count)?.into_owned())
    }

    fn send(&self, bits: u32) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        let buffers = self.buffers()?;
        if total_length(&buffers) > LARGEST_DATAGRAM as usize {
            return Err(Wsa::Emsgsize);
        }
        let name = memory::read_address(self.message.offset(NAME))?;
        let length = memory::read_u32(self.message.offset(NAME_LENGTH))?.cast_signed();
        let to = if name.is_null() { None } else { Some(sockaddr::read(name, length, endpoint.family)?) };
        let control = read_control(self.message)?;
        let flags = message_flags(bits)?;
        let attempt = move |endpoint: &Arc<Endpoint>| {
            let data = gather(&buffers, 0, usize::MAX)?;
            memory::length_u32(endpoint.send_message(data[..].into(), flags, to, &control)?)
        };
        self.complete(&endpoint, Direction::Sending, attempt)
    }

    fn receive(&self) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        let buffers = self.buffers()?;
        let flags = message_flags(memory::read_u32(self.message.offset(FLAGS))?)?;
        let message = self.message;
        let attempt = move |endpoint: &Arc<Endpoint>| {
            let mut data = vec![0; total_length(&buffers).min(LARGEST_DATAGRAM as usize)];
            let received = endpoint.receive_message((&mut data[..]).into(), flags)?;
            scatter(&data[..received.received.length], &buffers, 0)?;
            write_message(message, endpoint.family, &received)
        };
        self.complete(&endpoint, Direction::Receiving, attempt)
    }

    /// Performs the call now, or starts it where it has an OVERLAPPED.
    fn complete(
        &self,
        endpoint: &Arc<Endpoint>,
        direction: Direction,
        mut attempt: impl FnMut(&Arc<Endpoint>) -> Result<u32> + Send + 'static,
    ) -> Result<i32> {
        if self.overlapped.is_null() {
            let transferred = attempt(endpoint)?;
            return if self.transferred.is_null() {
                Ok(0)
            } else {
                memory::write_u32(self.transferred, transferred).map(|()| 0)
            };
        }
        let attempt: Attempt<Endpoint> = Box::new(attempt);
        let completion = overlapped::begin(self.overlapped, self.routine)?;
        endpoint.start_operation(direction, attempt, completion)?;
        Err(Wsa::IoPending)
    }
}

/// Writes what belongs to a received message into its WSAMSG, and returns the length of its data.
///
/// - **Errors**: WSAEFAULT; WSAEMSGSIZE where the datagram was longer than the buffers, with MSG_TRUNC set.
fn write_message(message: Address, family: Family, received: &ReceivedMessage) -> Result<u32> {
    let name = memory::read_address(message.offset(NAME))?;
    let mut flags = 0;
    if let (Some(from), false) = (received.received.from, name.is_null()) {
        let length = message.offset(NAME_LENGTH);
        sockaddr::NameBuffer { name, length }.write(from)?;
    }
    let control = memory::read_wsabuf(message.offset(CONTROL))?;
    let capacity = if control.address().is_null() { 0 } else { control.len() };
    let (bytes, fits) = control_bytes(&received.control, family, capacity);
    memory::write(control.address(), &bytes)?;
    memory::write_u32(message.offset(CONTROL), memory::length_u32(bytes.len())?)?;
    if !fits {
        flags |= MSG_CTRUNC;
    }
    for item in &received.control {
        match item {
            ControlItem::PacketInfo { address, .. } if address.is_multicast() => flags |= MSG_MCAST,
            ControlItem::PacketInfo { address: IpAddr::V4(v4), .. } if v4.is_broadcast() => {
                flags |= MSG_BCAST
            }
            _ => {}
        }
    }
    if received.received.truncated {
        memory::write_u32(message.offset(FLAGS), flags | MSG_TRUNC)?;
        return Err(Wsa::Emsgsize);
    }
    memory::write_u32(message.offset(FLAGS), flags)?;
    memory::length_u32(received.received.length)
}

c_functions! {
    /// WSASendMsg, of datagrams.
    api gqos_WSASendMsg(
        s: usize, message: Address, flags: u32, sent: Address, overlapped: Address, routine: Option<Routine>,
    ) -> i32, or SOCKET_ERROR
        => MessageCall { s, message, transferred: sent, overlapped, routine }.send(flags);
    /// WSARecvMsg, of datagrams.
    api gqos_WSARecvMsg(
        s: usize, message: Address, received: Address, overlapped: Address, routine: Option<Routine>,
    ) -> i32, or SOCKET_ERROR
        => MessageCall { s, message, transferred: received, overlapped, routine }.receive();
}
