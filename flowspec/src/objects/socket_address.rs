//! Socket addresses in Winsock's layout.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::abi::le_u32;
use crate::invalid::ValueProblem;

/// Winsock's address families; that of IPv6 differs from Linux's.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 23;

/// `sockaddr_in` or `sockaddr_in6`, by its family and length.
pub(super) fn socket_address(bytes: &[u8]) -> Result<SocketAddr, ValueProblem> {
    let &[f0, f1, p0, p1, ..] = bytes else {
        return Err(ValueProblem::SocketAddressLength);
    };
    let port = u16::from_be_bytes([p0, p1]);
    match (u16::from_le_bytes([f0, f1]), bytes.len()) {
        (AF_INET, 16) => {
            let address = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
            Ok(SocketAddr::new(IpAddr::V4(address), port))
        }
        (AF_INET6, 28) => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&bytes[8..24]);
            let flow = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            Ok(SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, le_u32(bytes, 24)).into())
        }
        _ => Err(ValueProblem::SocketAddressFamily),
    }
}

/// The bytes of a socket address in Winsock's layout.
pub(super) fn socket_address_bytes(address: &SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend(AF_INET.to_le_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend(AF_INET6.to_le_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_le_bytes());
        }
    }
    bytes
}
