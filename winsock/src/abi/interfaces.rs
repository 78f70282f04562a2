//! SIO_ADDRESS_LIST_QUERY and SIO_ROUTING_INTERFACE_QUERY.

use std::net::{IpAddr, SocketAddr};

use flowspec::{Errno, Wsa};

use super::sockaddr::{self, bytes_of};
use super::{Address, memory};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::protocol::{Family, SocketType};
use crate::sys;

pub(super) const SIO_ROUTING_INTERFACE_QUERY: u32 = 0xC800_0014;
pub(super) const SIO_ADDRESS_LIST_QUERY: u32 = 0x4800_0016;

/// The buffers of such a query, and where the size of its answer is written.
pub(super) struct Query {
    pub(super) input: Address,
    pub(super) input_length: u32,
    pub(super) output: Address,
    pub(super) output_length: u32,
    pub(super) returned: Address,
}

impl Query {
    /// Writes the addresses of the socket's family as a SOCKET_ADDRESS_LIST: a count, for each a pointer and a length, then
    /// the addresses themselves.
    ///
    /// - **Errors**: WSAEFAULT where the output is too short, with the size that is needed.
    pub(super) fn address_list(&self, endpoint: &Endpoint) -> Result<i32> {
        let is_ipv6 = endpoint.family == Family::Inet6;
        let found = sys::interface_addresses().map_err(Errno::wsa)?;
        let own: Vec<_> =
            found.into_iter().filter(|address| address.is_ipv6() == is_ipv6).map(bytes_of).collect();
        let entries = 8 + own.len() * 16;
        let size = entries + own.iter().map(Vec::len).sum::<usize>();
        self.check_output(size)?;
        let mut bytes = (own.len() as u64).to_ne_bytes().to_vec();
        let mut place = entries;
        for address in &own {
            bytes.extend(self.output.offset(place).get().to_ne_bytes());
            bytes.extend((address.len() as u64).to_ne_bytes());
            place += address.len();
        }
        bytes.extend(own.concat());
        memory::write(self.output, &bytes).map(|()| 0)
    }

    /// Writes the local address that the routing table selects for a destination.
    ///
    /// - **Errors**: WSAEFAULT as for [`address_list`](Self::address_list); WSAENETUNREACH.
    pub(super) fn routing_interface(&self, endpoint: &Endpoint) -> Result<i32> {
        let length = i32::try_from(self.input_length).map_err(|_| Wsa::Efault)?;
        let mut destination = sockaddr::read(self.input, length, endpoint.family)?;
        if destination.port() == 0 {
            // The kernel does not care which.
            destination.set_port(9);
        }
        let bytes = bytes_of(SocketAddr::new(local_address_for(destination).map_err(Errno::wsa)?, 0));
        self.check_output(bytes.len())?;
        memory::write(self.output, &bytes).map(|()| 0)
    }

    fn check_output(&self, size: usize) -> Result<()> {
        let size = memory::length_u32(size)?;
        if !self.returned.is_null() {
            memory::write_u32(self.returned, size)?;
        }
        if self.output.is_null() || self.output_length < size { Err(Wsa::Efault) } else { Ok(()) }
    }
}

/// Asks the kernel by a datagram socket that sends nothing.
fn local_address_for(destination: SocketAddr) -> core::result::Result<IpAddr, Errno> {
    let family = if destination.is_ipv6() { Family::Inet6 } else { Family::Inet };
    let probe = sys::open(family, SocketType::Datagram)?;
    sys::connect(&probe, destination)?;
    Ok(sys::local_address(&probe)?.ip())
}
