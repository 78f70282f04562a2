//! WSAConnectByName and WSAConnectByList: each address in turn, until one connects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowspec::Wsa;

use super::address_info::addresses_of;
use super::handle::endpoint;
use super::memory::{self, Encoding};
use super::sockaddr::{self, NameBuffer};
use super::{Address, SOCKET_ERROR};
use crate::Result;
use crate::blocking::{deadline_after, now, without_blocking};
use crate::connect::ConnectRequest;
use crate::endpoint::Endpoint;
use crate::options::{OptionValue, SocketOption};
use crate::protocol::Family;
use crate::select::{PollEvents, poll};

/// The parameters that both calls have behind the addresses.
struct ConnectByCall {
    s: usize,
    local: NameBuffer,
    remote: NameBuffer,
    /// A timeval; NULL is no limit.
    timeout: Address,
    reserved: Address,
}

/// The most addresses of one call.
const MAX_ADDRESSES: usize = 256;

impl ConnectByCall {
    fn run(&self, addresses: &[SocketAddr]) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        if !self.reserved.is_null() {
            return Err(Wsa::Einval);
        }
        if !endpoint.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        let deadline = self.deadline()?;
        for buffer in [self.local, self.remote] {
            buffer.check(endpoint.family)?;
        }
        let mut latest = Wsa::Ehostunreach;
        for &peer in addresses {
            let Some(peer) = reachable(&endpoint, peer)? else { continue };
            match connect(&endpoint, peer, deadline) {
                Ok(()) => {
                    self.local.write(endpoint.local_address()?)?;
                    self.remote.write(endpoint.peer_address()?)?;
                    return Ok(1);
                }
                Err(code @ (Wsa::Etimedout | Wsa::Econnrefused | Wsa::Enetunreach | Wsa::Ehostunreach)) => {
                    latest = code;
                }
                Err(code) => return Err(code),
            }
            if deadline.is_some_and(|deadline| now() >= deadline) {
                return Err(Wsa::Etimedout);
            }
        }
        Err(latest)
    }

    /// - **Errors**: WSAEFAULT; WSAEINVAL for a negative time.
    fn deadline(&self) -> Result<Option<Instant>> {
        if self.timeout.is_null() {
            return Ok(None);
        }
        let part = |at| memory::read_bytes(self.timeout.offset(at)).map(i64::from_ne_bytes);
        let positive = |number: i64| u64::try_from(number).map_err(|_| Wsa::Einval);
        let (seconds, micros) = (positive(part(0)?)?, positive(part(8)?)?);
        Ok(Some(deadline_after(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))))
    }
}

/// The address as the socket's family has it: a socket of IPv6 without IPV6_V6ONLY reaches IPv4 as well. `None` where
/// the socket does not reach it.
fn reachable(endpoint: &Arc<Endpoint>, peer: SocketAddr) -> Result<Option<SocketAddr>> {
    Ok(match (endpoint.family, peer) {
        (Family::Inet, SocketAddr::V4(_)) | (Family::Inet6, SocketAddr::V6(_)) => Some(peer),
        (Family::Inet, SocketAddr::V6(_)) => None,
        (Family::Inet6, SocketAddr::V4(v4)) => {
            let is_dual = endpoint.option(SocketOption::Ipv6Only)? == OptionValue::Number(0);
            is_dual.then(|| (v4.ip().to_ipv6_mapped(), v4.port()).into())
        }
    })
}

/// Connects, at the latest by the deadline. An attempt that takes longer is given up: the socket is as new.
fn connect(endpoint: &Arc<Endpoint>, peer: SocketAddr, deadline: Option<Instant>) -> Result<()> {
    let request = ConnectRequest::default();
    let Some(deadline) = deadline else { return endpoint.connect(peer, &request).map(drop) };
    match without_blocking(|| endpoint.connect(peer, &request)).0 {
        Err(Wsa::Ewouldblock) => {}
        result => return result.map(drop),
    }
    let wanted = PollEvents { write: true, except: true, ..PollEvents::default() };
    let mut watched = [(Arc::clone(endpoint), wanted)];
    let left = deadline.saturating_duration_since(now());
    if poll(&mut watched, Some(left))? == 0 {
        endpoint.reopen()?;
        return Err(Wsa::Etimedout);
    }
    endpoint.connect_outcome()
}

/// Reads a SOCKET_ADDRESS_LIST: a count, then a pointer and a length for each.
fn read_list(list: Address) -> Result<Vec<SocketAddr>> {
    let count = memory::read_u32(list)? as usize;
    if count == 0 || count > MAX_ADDRESSES {
        return Err(Wsa::Einval);
    }
    let read = |index: usize| {
        let entry = list.offset(8 + index * 16);
        let pointer = memory::read_address(entry)?;
        sockaddr::read_any(pointer, memory::read_u32(entry.offset(8))?)
    };
    (0..count).map(read).collect()
}

fn addresses(node: Address, service: Address, encoding: Encoding) -> Result<Vec<SocketAddr>> {
    let node = memory::read_text(node, encoding)?;
    let service = memory::read_text(service, encoding)?;
    addresses_of(&node, &service)
}

c_functions! {
    /// WSAConnectByNameA.
    api gqos_WSAConnectByNameA(
        s: usize, node: Address, service: Address, local_length: Address, local: Address, remote_length: Address,
        remote: Address, timeout: Address, reserved: Address,
    ) -> i32, or 0 => {
        let (local, remote) = (NameBuffer { name: local, length: local_length }, NameBuffer { name: remote, length: remote_length });
        let addresses = addresses(node, service, Encoding::Narrow)?;
        ConnectByCall { s, local, remote, timeout, reserved }.run(&addresses)
    };
    /// WSAConnectByNameW.
    api gqos_WSAConnectByNameW(
        s: usize, node: Address, service: Address, local_length: Address, local: Address, remote_length: Address,
        remote: Address, timeout: Address, reserved: Address,
    ) -> i32, or 0 => {
        let (local, remote) = (NameBuffer { name: local, length: local_length }, NameBuffer { name: remote, length: remote_length });
        let addresses = addresses(node, service, Encoding::Wide)?;
        ConnectByCall { s, local, remote, timeout, reserved }.run(&addresses)
    };
    /// WSAConnectByList.
    api gqos_WSAConnectByList(
        s: usize, list: Address, local_length: Address, local: Address, remote_length: Address, remote: Address,
        timeout: Address, reserved: Address,
    ) -> i32, or 0 => {
        let (local, remote) = (NameBuffer { name: local, length: local_length }, NameBuffer { name: remote, length: remote_length });
        ConnectByCall { s, local, remote, timeout, reserved }.run(&read_list(list)?)
    };
    /// WSADuplicateSocketA, which is not supported: as [`gqos_WSPDuplicateSocket`](super::spi::gqos_WSPDuplicateSocket).
    api gqos_WSADuplicateSocketA(s: usize, _process: u32, _info: Address) -> i32, or SOCKET_ERROR
        => super::spi::duplicate(s);
    /// WSADuplicateSocketW, which is not supported: as [`gqos_WSPDuplicateSocket`](super::spi::gqos_WSPDuplicateSocket).
    api gqos_WSADuplicateSocketW(s: usize, _process: u32, _info: Address) -> i32, or SOCKET_ERROR
        => super::spi::duplicate(s);
}
