//! Names of hosts and services: getaddrinfo with Winsock's layouts, by the C library's resolver.

use std::collections::HashMap;
use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use super::super::Result;
use super::super::provider::running;
use super::address::{self, AF_INET, AF_INET6, AF_UNSPEC};
use super::memory;

/// What getaddrinfo and getnameinfo answer, besides Winsock's usual codes.
const TYPE_NOT_FOUND: i32 = 10109;
const HOST_NOT_FOUND: i32 = 11001;

const AI_PASSIVE: i32 = 1;
const AI_CANONNAME: i32 = 2;
const AI_NUMERICHOST: i32 = 4;
const NI_NAMEREQD: i32 = 4;

/// One ADDRINFOA of a 64-bit program: flags and family, type and protocol, the address's length, name, address, next.
struct Node {
    words: Box<[u64; 6]>,
    _address: Box<[u8]>,
    _name: Option<CString>,
}

/// Every node that a program has, by its address.
static NODES: Mutex<Option<HashMap<usize, Node>>> = Mutex::new(None);

fn nodes() -> MutexGuard<'static, Option<HashMap<usize, Node>>> {
    // Whole between any two statements that can panic.
    NODES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a name means nothing: the number that the call returns.
struct Unknown(i32);

impl From<Wsa> for Unknown {
    fn from(wsa: Wsa) -> Self {
        Self(wsa.code().cast_signed())
    }
}

fn optional(text: usize) -> Result<Option<String>> {
    if text == 0 { Ok(None) } else { memory::text(text).map(Some) }
}

/// A port by number, or by the name that services(5) has.
fn port(service: &str, protocol: &str) -> core::result::Result<u16, Unknown> {
    if let Ok(port) = service.parse() {
        return Ok(port);
    }
    let known = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let found = known.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, place) = (words.next()?, words.next()?);
        let (port, of) = place.split_once('/')?;
        let same = name == service || words.any(|alias| alias == service);
        (same && (protocol.is_empty() || of == protocol)).then(|| port.parse().ok())?
    });
    found.ok_or(Unknown(TYPE_NOT_FOUND))
}

fn resolve(node: usize, service: usize, hints: usize, result: usize) -> core::result::Result<(), Unknown> {
    running()?;
    memory::write(result, &0_usize.to_ne_bytes())?;
    let (node, service) = (optional(node)?, optional(service)?);
    if node.is_none() && service.is_none() {
        return Err(Unknown(HOST_NOT_FOUND));
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
        return Err(Wsa::Eafnosupport.into());
    }
    let kinds: &[(i32, i32)] = match (kind, protocol) {
        (0, 0) => &[(1, 6), (2, 17)],
        (0 | 1, 0 | 6) => &[(1, 6)],
        (0 | 2, 0 | 17) => &[(2, 17)],
        _ => return Err(Wsa::Esocktnosupport.into()),
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
            Err(_) if flags & AI_NUMERICHOST != 0 => return Err(Unknown(HOST_NOT_FOUND)),
            Err(_) => {
                let found = (name.as_str(), port).to_socket_addrs();
                let mut found: Vec<_> = found.map_err(|_| Unknown(HOST_NOT_FOUND))?.collect();
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
            let name = name.and_then(|name| CString::new(name).ok());
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
        return Err(Unknown(HOST_NOT_FOUND));
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
) -> core::result::Result<(), Unknown> {
    running()?;
    let address = address::read_any(place, u32::try_from(length).map_err(|_| Wsa::Efault)?)?;
    if flags & NI_NAMEREQD != 0 {
        return Err(Unknown(HOST_NOT_FOUND));
    }
    let write = |text: String, to: usize, room: u32| -> Result<()> {
        if to == 0 || room == 0 {
            return Ok(());
        }
        let bytes: Vec<u8> = text.into_bytes().into_iter().chain([0]).collect();
        if bytes.len() > room as usize { Err(Wsa::Efault) } else { memory::write(to, &bytes) }
    };
    write(address.ip().to_string(), host, host_room)?;
    write(address.port().to_string(), service, service_room)?;
    Ok(())
}

fn answered(call: impl FnOnce() -> core::result::Result<(), Unknown>) -> i32 {
    let answer = super::guarded(|| Ok(call().map_or_else(|Unknown(code)| code, |()| 0)));
    let code = answer.unwrap_or_else(|wsa| wsa.code().cast_signed());
    if code != 0 {
        super::LAST_ERROR.set(code.cast_unsigned());
    }
    code
}

/// getaddrinfo: the error is the result.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getaddrinfo(node: usize, service: usize, hints: usize, result: usize) -> i32 {
    answered(|| resolve(node, service, hints, result))
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

/// getnameinfo, in numbers: there is nobody to ask for the names of addresses.
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
    answered(|| name((place, length), (host, host_room), (service, service_room), flags))
}
