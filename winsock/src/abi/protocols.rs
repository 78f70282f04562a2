//! The catalogue of protocols: WSAEnumProtocols, and what WSCEnumProtocols reads before WSAStartup too.

use flowspec::Wsa;

use super::memory::{self, Encoding};
use super::protocol_info::{bytes_of, protocol_number};
use super::{Address, SOCKET_ERROR};
use crate::Result;
use crate::protocol::{PROTOCOLS, ProtocolInfo};
use crate::provider::check_started;

/// The most protocols of a request's list.
const MAX_REQUESTED: usize = 64;

/// Writes the catalogue's entries of the requested protocols, of all of them where the list is NULL, and returns how
/// many.
pub(super) fn enumerate(
    protocols: Address,
    buffer: Address,
    length: Address,
    encoding: Encoding,
) -> Result<i32> {
    let mut requested = Vec::new();
    if !protocols.is_null() {
        for index in 0..MAX_REQUESTED {
            match memory::read_u32(protocols.offset(index * 4))?.cast_signed() {
                0 => break,
                protocol => requested.push(protocol),
            }
        }
    }
    let is_requested = |entry: &&ProtocolInfo| {
        requested.is_empty() || requested.contains(&protocol_number(entry.socket_type))
    };
    let entries: Vec<_> = PROTOCOLS.iter().filter(is_requested).collect();
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| bytes_of(entry, encoding)).collect();
    let capacity = memory::read_u32(length)?;
    let needed = memory::length_u32(bytes.len())?;
    if capacity < needed || buffer.is_null() {
        memory::write_u32(length, needed)?;
        return Err(Wsa::Enobufs);
    }
    memory::write(buffer, &bytes)?;
    i32::try_from(entries.len()).map_err(|_| Wsa::Enobufs)
}

c_functions! {
    /// WSAEnumProtocolsA.
    api gqos_WSAEnumProtocolsA(protocols: Address, buffer: Address, length: Address) -> i32, or SOCKET_ERROR
        => check_started().and_then(|()| enumerate(protocols, buffer, length, Encoding::Narrow));
    /// WSAEnumProtocolsW.
    api gqos_WSAEnumProtocolsW(protocols: Address, buffer: Address, length: Address) -> i32, or SOCKET_ERROR
        => check_started().and_then(|()| enumerate(protocols, buffer, length, Encoding::Wide));
}
