//! WSAPROTOCOL_INFO of a 64-bit program.

use super::memory::Encoding;
use super::sockaddr::{AF_INET, AF_INET6, SOCKADDR_IN, SOCKADDR_IN6};
use crate::protocol::{Family, ProtocolInfo, SocketType};

/// IPPROTO_TCP and IPPROTO_UDP.
pub(super) const TCP: i32 = 6;
pub(super) const UDP: i32 = 17;

/// Sizes of WSAPROTOCOL_INFOA and WSAPROTOCOL_INFOW.
const INFO_A: usize = 372;
const INFO_W: usize = 628;

// Offsets of the fields.
const SERVICE_FLAGS: usize = 0;
const PROVIDER_ID: usize = 20;
pub(super) const CATALOG_ENTRY: usize = 36;
const CHAIN_LENGTH: usize = 40;
const VERSION: usize = 72;
pub(super) const ADDRESS_FAMILY: usize = 76;
const MAX_SOCKADDR: usize = 80;
const MIN_SOCKADDR: usize = 84;
pub(super) const SOCKET_TYPE: usize = 88;
pub(super) const PROTOCOL: usize = 92;
const MESSAGE_SIZE: usize = 108;
const NAME: usize = 116;

const GUID: [u8; 16] = *b"gqos-provider-01";

pub(super) const fn protocol_number(socket_type: SocketType) -> i32 {
    match socket_type {
        SocketType::Stream => TCP,
        SocketType::Datagram => UDP,
    }
}

/// The WSAPROTOCOL_INFO of a catalogue entry.
pub(super) fn bytes_of(entry: &ProtocolInfo, encoding: Encoding) -> Vec<u8> {
    let (size, character_size) = match encoding {
        Encoding::Narrow => (INFO_A, 1),
        Encoding::Wide => (INFO_W, 2),
    };
    let (family, sockaddr_size) = match entry.family {
        Family::Inet => (AF_INET, SOCKADDR_IN),
        Family::Inet6 => (AF_INET6, SOCKADDR_IN6),
    };
    let sockaddr_size = u32::try_from(sockaddr_size).unwrap_or(u32::MAX);
    // SOCK_STREAM and SOCK_DGRAM.
    let socket_type = if entry.socket_type == SocketType::Stream { 1 } else { 2 };
    let mut bytes = vec![0; size];
    for (offset, value) in [
        (SERVICE_FLAGS, entry.service_flags),
        (CATALOG_ENTRY, entry.catalog_entry),
        (CHAIN_LENGTH, 1),
        (VERSION, 2),
        (ADDRESS_FAMILY, u32::from(family)),
        (MAX_SOCKADDR, sockaddr_size),
        (MIN_SOCKADDR, sockaddr_size),
        (SOCKET_TYPE, socket_type),
        (PROTOCOL, protocol_number(entry.socket_type).cast_unsigned()),
        (MESSAGE_SIZE, entry.message_size),
    ] {
        bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes[PROVIDER_ID..PROVIDER_ID + 16].copy_from_slice(&GUID);
    // Names are ASCII.
    for (index, character) in entry.name.bytes().enumerate() {
        bytes[NAME + index * character_size] = character;
    }
    bytes
}
