//! sockaddr_in and sockaddr_in6 of a Winsock program, in which AF_INET6 is 23.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use flowspec::Wsa;

use super::{Address, memory};
use crate::Result;
use crate::protocol::Family;

pub(super) const AF_UNSPEC: u16 = 0;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 23;

/// Sizes of sockaddr_in and sockaddr_in6.
pub(super) const SOCKADDR_IN: usize = 16;
pub(super) const SOCKADDR_IN6: usize = 28;

const fn size_of_family(family: Family) -> usize {
    match family {
        Family::Inet => SOCKADDR_IN,
        Family::Inet6 => SOCKADDR_IN6,
    }
}

/// Reads an address for a socket of this family.
///
/// - **Errors**: WSAEFAULT for NULL or a short length; WSAEAFNOSUPPORT for another family.
pub(super) fn read(name: Address, length: i32, family: Family) -> Result<SocketAddr> {
    let size = size_of_family(family);
    if name.is_null() || usize::try_from(length).map_or(true, |length| length < size) {
        return Err(Wsa::Efault);
    }
    let mut bytes = [0; SOCKADDR_IN6];
    memory::read(name, &mut bytes[..size])?;
    parse(&bytes[..size], family)
}

/// Reads an address of either family.
///
/// - **Errors**: WSAEFAULT for NULL or a short length; WSAEAFNOSUPPORT for an unknown family.
pub(super) fn read_any(name: Address, length: u32) -> Result<SocketAddr> {
    let family = match u16::from_ne_bytes(memory::read_bytes(name)?) {
        AF_INET => Family::Inet,
        AF_INET6 => Family::Inet6,
        _ => return Err(Wsa::Eafnosupport),
    };
    read(name, i32::try_from(length).map_err(|_| Wsa::Efault)?, family)
}

fn parse(bytes: &[u8], family: Family) -> Result<SocketAddr> {
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    match (u16::from_ne_bytes([bytes[0], bytes[1]]), family) {
        (AF_INET, Family::Inet) => Ok((Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]), port).into()),
        (AF_INET6, Family::Inet6) => {
            let mut address = [0; 16];
            address.copy_from_slice(&bytes[8..24]);
            let word =
                |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            Ok(SocketAddrV6::new(Ipv6Addr::from(address), port, word(4), word(24)).into())
        }
        // An address of all zeroes removes a datagram socket's peer; its family may be AF_UNSPEC.
        (AF_UNSPEC, Family::Inet) if bytes[2..].iter().all(|&byte| byte == 0) => {
            Ok((Ipv4Addr::UNSPECIFIED, 0).into())
        }
        (AF_UNSPEC, Family::Inet6) if bytes[2..].iter().all(|&byte| byte == 0) => {
            Ok((Ipv6Addr::UNSPECIFIED, 0).into())
        }
        _ => Err(Wsa::Eafnosupport),
    }
}

pub(super) fn bytes_of(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SOCKADDR_IN6);
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend(AF_INET.to_ne_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend(AF_INET6.to_ne_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_ne_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// Where a call writes an address: the structure, and a length that the call reads and replaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameBuffer {
    pub(super) name: Address,
    pub(super) length: Address,
}

impl NameBuffer {
    fn is_absent(self) -> bool {
        self.name.is_null() && self.length.is_null()
    }

    /// Checks that the buffer holds an address of a family, before a call takes something that would be lost.
    ///
    /// - **Errors**: WSAEFAULT.
    pub(super) fn check(self, family: Family) -> Result<()> {
        if self.is_absent() {
            return Ok(());
        }
        let capacity = memory::read_u32(self.length)? as usize;
        if self.name.is_null() || capacity < size_of_family(family) { Err(Wsa::Efault) } else { Ok(()) }
    }

    /// Writes an address, unless both pointers are NULL.
    ///
    /// - **Errors**: WSAEFAULT.
    pub(super) fn write(self, address: SocketAddr) -> Result<()> {
        if self.is_absent() {
            return Ok(());
        }
        let bytes = bytes_of(address);
        let capacity = memory::read_u32(self.length)? as usize;
        if capacity < bytes.len() {
            return Err(Wsa::Efault);
        }
        memory::write(self.name, &bytes)?;
        memory::write_u32(self.length, memory::length_u32(bytes.len())?)
    }
}
