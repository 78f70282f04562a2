//! Names of hosts and services: getaddrinfo with Winsock's layouts, by the C library's resolver.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use super::address::{self, AF_INET, AF_INET6, AF_UNSPEC};
use super::{memory, services};
use crate::Result;
use crate::provider::running;
use crate::sys::name_of;

const AI_PASSIVE: i32 = 1;
const AI_CANONNAME: i32 = 2;
const AI_NUMERICHOST: i32 = 4;
const NI_NUMERICHOST: i32 = 2;
const NI_NAMEREQD: i32 = 4;
const NI_NUMERICSERV: i32 = 8;
const NI_DGRAM: i32 = 16;

/// One ADDRINFOA of a 64-bit program: flags and family, type and protocol, the address's length, name, address, next.
struct Node {
    words: Box<[u64; 6]>,
    _address: Box<[u8]>,
    _name: Option<Box<[u8]>>,
}

/// Every node that a program has, by its address.
static NODES: Mutex<Option<HashMap<usize, Node>>> = Mutex::new(None);

fn nodes() -> MutexGuard<'static, Option<HashMap<usize, Node>>> {
    // Whole between any two statements that can panic.
    NODES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn optional(text: usize, wide: bool) -> Result<Option<String>> {
    match (text, wide) {
        (0, _) => Ok(None),
        (text, false) => memory::text(text).map(Some),
        (text, true) => memory::wide_text(text).map(Some),
    }
}

/// A port by number, or by the name that services(5) has.
fn port(service: &str, protocol: &str) -> Result<u16> {
    if let Ok(port) = service.parse() {
        return Ok(port);
    }
    let found = services::find(|known| known.is(service, protocol));
    found.map(|found| found.port).ok_or(Wsa::TypeNotFound)
}

fn resolve(node: usize, service: usize, hints: usize, result: usize, wide: bool) -> Result<()> {
    running()?;
    memory::write(result, &0_usize.to_ne_bytes())?;
    let (node, service) = (optional(node, wide)?, optional(service, wide)?);
    if node.is_none() && service.is_none() {
        return Err(Wsa::HostNotFound);
    }
    let mut hint = [0_i32; 4];
    if hints != 0 {
        for (index, hint) in hint.iter_mut().enumerate() {
            *hint = memory::u32_at(hints.wrapping_add(index * 4))?.cast_signed();
        }
    }
    let [flags, family, kind, protocol] = hint;
    let wanted = |address: &SocketAddr| match u16::try_from(family) {
        Ok(AF_UNSPEC) => true,
        Ok(AF_INET) => address.is_ipv4(),
        Ok(AF_INET6) => address.is_ipv6(),
        _ => false,
    };
    if !matches!(u16::try_from(family), Ok(AF_UNSPEC | AF_INET | AF_INET6)) {
        return Err(Wsa::Eafnosupport);
    }
    let kinds: &[(i32, i32)] = match (kind, protocol) {
        (0, 0) => &[(1, 6), (2, 17)],
        (0 | 1, 0 | 6) => &[(1, 6)],
        (0 | 2, 0 | 17) => &[(2, 17)],
        _ => return Err(Wsa::Esocktnosupport),
    };
    let of = if kinds.len() > 1 {
        ""
    } else if kinds[0].0 == 1 {
        "tcp"
    } else {
        "udp"
    };
    let port = service.map_or(Ok(0), |service| port(&service, of))?;
    let addresses: Vec<SocketAddr> = match &node {
        None if flags & AI_PASSIVE != 0 => {
            vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
        }
        None => vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()],
        Some(name) => match name.parse::<IpAddr>() {
            Ok(ip) => vec![(ip, port).into()],
            Err(_) if flags & AI_NUMERICHOST != 0 => return Err(Wsa::HostNotFound),
            Err(_) => {
                let found = (name.as_str(), port).to_socket_addrs();
                let mut found: Vec<_> = found.map_err(|_| Wsa::HostNotFound)?.collect();
                found.dedup();
                found
            }
        },
    };
    let mut made: Vec<Node> = Vec::new();
    for address in addresses.iter().filter(|address| wanted(address)) {
        for (kind, protocol) in kinds {
            let bytes = address::bytes_of(*address).into_boxed_slice();
            let name = node.as_deref().filter(|_| flags & AI_CANONNAME != 0 && made.is_empty());
            let name = name.map(|name| memory::characters(name, wide).into_boxed_slice());
            let family = u64::from(if address.is_ipv4() { AF_INET } else { AF_INET6 });
            let words = Box::new([
                family << 32,
                u64::from(protocol.cast_unsigned()) << 32 | u64::from(kind.cast_unsigned()),
                bytes.len() as u64,
                name.as_ref().map_or(0, |name| name.as_ptr().addr() as u64),
                bytes.as_ptr().addr() as u64,
                0,
            ]);
            if let Some(before) = made.last_mut() {
                before.words[5] = words.as_ptr().addr() as u64;
            }
            made.push(Node { words, _address: bytes, _name: name });
        }
    }
    let Some(first) = made.first().map(|node| node.words.as_ptr().addr()) else {
        return Err(Wsa::HostNotFound);
    };
    let mut nodes = nodes();
    let known = nodes.get_or_insert_default();
    known.extend(made.into_iter().map(|node| (node.words.as_ptr().addr(), node)));
    memory::write(result, &first.to_ne_bytes())?;
    Ok(())
}

fn name(
    (place, length): (usize, i32),
    (host, host_room): (usize, u32),
    (service, service_room): (usize, u32),
    flags: i32,
    wide: bool,
) -> Result<()> {
    running()?;
    let address = address::read_any(place, u32::try_from(length).map_err(|_| Wsa::Efault)?)?;
    let named = match flags & NI_NUMERICHOST {
        0 if host != 0 => name_of(address.ip()),
        _ => None,
    };
    if named.is_none() && host != 0 && flags & NI_NAMEREQD != 0 {
        return Err(Wsa::HostNotFound);
    }
    let of = if flags & NI_DGRAM == 0 { "tcp" } else { "udp" };
    let known = match flags & NI_NUMERICSERV {
        0 if service != 0 => services::find(|known| known.port == address.port() && known.is_of(of)),
        _ => None,
    };
    let write = |text: &str, to: usize, room: u32| -> Result<()> {
        if to == 0 || room == 0 {
            return Ok(());
        }
        let bytes = memory::characters(text, wide);
        let needed = if wide { bytes.len() / 2 } else { bytes.len() };
        if needed > room as usize { Err(Wsa::Efault) } else { memory::write(to, &bytes) }
    };
    write(&named.unwrap_or_else(|| address.ip().to_string()), host, host_room)?;
    let service_name = known.map_or_else(|| address.port().to_string(), |known| known.name);
    write(&service_name, service, service_room)?;
    Ok(())
}

/// The error is the result, and the thread's as well.
fn answered(call: impl FnOnce() -> Result<()>) -> i32 {
    match super::guarded(call) {
        Ok(()) => 0,
        Err(wsa) => {
            super::LAST_ERROR.set(wsa.code());
            wsa.code().cast_signed()
        }
    }
}

/// getaddrinfo: the error is the result.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getaddrinfo(node: usize, service: usize, hints: usize, result: usize) -> i32 {
    answered(|| resolve(node, service, hints, result, false))
}

/// freeaddrinfo: what did not come from getaddrinfo is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_freeaddrinfo(first: usize) {
    let mut nodes = nodes();
    let Some(known) = nodes.as_mut() else { return };
    let mut next = first;
    while let Some(node) = known.remove(&next) {
        next = usize::try_from(node.words[5]).unwrap_or(0);
    }
}

/// getnameinfo: in numbers where nobody knows a name.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getnameinfo(
    place: usize,
    length: i32,
    host: usize,
    host_room: u32,
    service: usize,
    service_room: u32,
    flags: i32,
) -> i32 {
    answered(|| name((place, length), (host, host_room), (service, service_room), flags, false))
}

/// GetAddrInfoW; what it gives goes by [`gqos_freeaddrinfo`] as well.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_GetAddrInfoW(node: usize, service: usize, hints: usize, result: usize) -> i32 {
    answered(|| resolve(node, service, hints, result, true))
}

/// GetNameInfoW: the sizes are in characters.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_GetNameInfoW(
    place: usize,
    length: i32,
    host: usize,
    host_room: u32,
    service: usize,
    service_room: u32,
    flags: i32,
) -> i32 {
    answered(|| name((place, length), (host, host_room), (service, service_room), flags, true))
}
