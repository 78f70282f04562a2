//! Addresses as Winsock has them: AF_INET6 is 23.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use flowspec::Wsa;

use super::memory;
use crate::Result;
use crate::socket::Family;

/// AF_UNSPEC, AF_INET and AF_INET6.
pub(super) const AF_UNSPEC: u16 = 0;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 23;

/// Sizes of sockaddr_in and sockaddr_in6.
const IN: usize = 16;
const IN6: usize = 28;

/// Reads the name that a program gives for a socket of this family.
///
/// - **Errors**: WSAEFAULT where it is not there or too short; WSAEAFNOSUPPORT for another family.
pub(super) fn read(name: usize, length: i32, family: Family) -> Result<SocketAddr> {
    let needed = match family {
        Family::Inet => IN,
        Family::Inet6 => IN6,
    };
    if usize::try_from(length).is_ok_and(|length| length >= needed) && name != 0 {
        let mut bytes = [0; IN6];
        memory::read(name, &mut bytes[..needed])?;
        return parse(&bytes[..needed], family);
    }
    Err(Wsa::Efault)
}

/// The same of whatever family it says.
///
/// - **Errors**: WSAEFAULT where it is not there or too short; WSAEAFNOSUPPORT for a family that is not known.
pub(super) fn read_any(name: usize, length: u32) -> Result<SocketAddr> {
    let family = match u16::from_ne_bytes(memory::bytes(name)?) {
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
        // A name of zeroes takes a datagram socket's peer away, whatever its family.
        (AF_UNSPEC, Family::Inet) if bytes[2..].iter().all(|&byte| byte == 0) => {
            Ok((Ipv4Addr::UNSPECIFIED, 0).into())
        }
        (AF_UNSPEC, Family::Inet6) if bytes[2..].iter().all(|&byte| byte == 0) => {
            Ok((Ipv6Addr::UNSPECIFIED, 0).into())
        }
        _ => Err(Wsa::Eafnosupport),
    }
}

/// An address as bytes.
pub(super) fn bytes_of(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IN6);
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

/// Writes an address where a program wants it, if it wants it.
///
/// - **Errors**: WSAEFAULT where there is no room for it.
pub(super) fn write(address: SocketAddr, name: usize, length: usize) -> Result<()> {
    if name == 0 && length == 0 {
        return Ok(());
    }
    let bytes = bytes_of(address);
    let room = memory::u32_at(length)?;
    if usize::try_from(room).map_or(true, |room| room < bytes.len()) {
        return Err(Wsa::Efault);
    }
    memory::write(name, &bytes)?;
    memory::write_u32(length, u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

/// Whether there is room for an address, before something is taken that would be lost.
pub(super) fn check_room(family: Family, name: usize, length: usize) -> Result<()> {
    if name == 0 && length == 0 {
        return Ok(());
    }
    let needed = match family {
        Family::Inet => IN,
        Family::Inet6 => IN6,
    };
    let room = memory::u32_at(length)?;
    if name == 0 || usize::try_from(room).map_or(true, |room| room < needed) {
        Err(Wsa::Efault)
    } else {
        Ok(())
    }
}
