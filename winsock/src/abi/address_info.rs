//! getaddrinfo, getnameinfo and their wide forms, by the C library's resolver.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use super::memory::{self, Encoding};
use super::protocol_info::{TCP, UDP};
use super::sockaddr::{self, AF_INET, AF_INET6, AF_UNSPEC};
use super::{Address, services};
use crate::Result;
use crate::provider::check_started;
use crate::sys::name_of;

const AI_PASSIVE: i32 = 1;
const AI_CANONNAME: i32 = 2;
const AI_NUMERICHOST: i32 = 4;
const NI_NUMERICHOST: i32 = 2;
const NI_NAMEREQD: i32 = 4;
const NI_NUMERICSERV: i32 = 8;
const NI_DGRAM: i32 = 16;

/// SOCK_STREAM and SOCK_DGRAM.
const STREAM: i32 = 1;
const DATAGRAM: i32 = 2;

/// An ADDRINFO of a 64-bit program with what it points to: flags and family, type and protocol, the length of the
/// address, the canonical name, the address, the next ADDRINFO.
struct AddrInfoNode {
    words: Box<[u64; 6]>,
    _sockaddr: Box<[u8]>,
    _name: Option<Box<[u8]>>,
}

/// The index of the next ADDRINFO's pointer.
const NEXT: usize = 5;

impl AddrInfoNode {
    fn pointer(&self) -> usize {
        self.words.as_ptr().expose_provenance()
    }
}

/// The nodes that the program has not freed, by their addresses.
static NODES: Mutex<Option<HashMap<usize, AddrInfoNode>>> = Mutex::new(None);

fn nodes() -> MutexGuard<'static, Option<HashMap<usize, AddrInfoNode>>> {
    // The map is consistent between any two statements that can panic.
    NODES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hints of getaddrinfo, checked.
struct Hints {
    flags: i32,
    /// `None` for both families.
    is_ipv4: Option<bool>,
    /// Types and protocols of the results.
    kinds: &'static [(i32, i32)],
}

impl Hints {
    /// - **Errors**: WSAEFAULT; WSAEAFNOSUPPORT; WSAESOCKTNOSUPPORT.
    fn read(hints: Address) -> Result<Self> {
        let mut fields = [0_i32; 4];
        if !hints.is_null() {
            for (index, field) in fields.iter_mut().enumerate() {
                *field = memory::read_u32(hints.offset(index * 4))?.cast_signed();
            }
        }
        let [flags, family, socket_type, protocol] = fields;
        let is_ipv4 = match u16::try_from(family) {
            Ok(AF_UNSPEC) => None,
            Ok(AF_INET) => Some(true),
            Ok(AF_INET6) => Some(false),
            _ => return Err(Wsa::Eafnosupport),
        };
        let kinds: &[_] = match (socket_type, protocol) {
            (0, 0) => &[(STREAM, TCP), (DATAGRAM, UDP)],
            (0 | STREAM, 0 | TCP) => &[(STREAM, TCP)],
            (0 | DATAGRAM, 0 | UDP) => &[(DATAGRAM, UDP)],
            _ => return Err(Wsa::Esocktnosupport),
        };
        Ok(Self { flags, is_ipv4, kinds })
    }

    /// The protocol in which a service is looked up; empty for any.
    fn service_protocol(&self) -> &'static str {
        match self.kinds {
            [(STREAM, _)] => "tcp",
            [(DATAGRAM, _)] => "udp",
            _ => "",
        }
    }

    /// The addresses of a host, or the wildcard or loopback addresses without one.
    ///
    /// - **Errors**: WSAHOST_NOT_FOUND.
    fn addresses(&self, host: Option<&str>, port: u16) -> Result<Vec<SocketAddr>> {
        let addresses = match host {
            None if self.flags & AI_PASSIVE != 0 => {
                vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
            }
            None => vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()],
            Some(host) => match host.parse::<IpAddr>() {
                Ok(ip) => vec![(ip, port).into()],
                Err(_) if self.flags & AI_NUMERICHOST != 0 => return Err(Wsa::HostNotFound),
                Err(_) => {
                    let mut found: Vec<SocketAddr> =
                        (host, port).to_socket_addrs().map_err(|_| Wsa::HostNotFound)?.collect();
                    found.dedup();
                    found
                }
            },
        };
        let is_wanted = |address: &SocketAddr| self.is_ipv4.is_none_or(|ipv4| address.is_ipv4() == ipv4);
        Ok(addresses.into_iter().filter(is_wanted).collect())
    }
}

/// The addresses of a host and a service of TCP.
///
/// - **Errors**: WSAHOST_NOT_FOUND, WSATYPE_NOT_FOUND.
pub(super) fn addresses_of(host: &str, service: &str) -> Result<Vec<SocketAddr>> {
    check_started()?;
    let hints = Hints { flags: 0, is_ipv4: None, kinds: &[(STREAM, TCP)] };
    hints.addresses(Some(host), port_of(service, hints.service_protocol())?)
}

/// The port of a number or of a service's name.
///
/// - **Errors**: WSATYPE_NOT_FOUND.
fn port_of(service: &str, protocol: &str) -> Result<u16> {
    if let Ok(port) = service.parse() {
        return Ok(port);
    }
    let found = services::find(|known| known.is_named(service, protocol));
    found.map(|found| found.port).ok_or(Wsa::TypeNotFound)
}

/// A list of ADDRINFOs, linked. The first has the canonical name.
fn make_nodes(
    addresses: &[SocketAddr],
    kinds: &[(i32, i32)],
    mut name: Option<Vec<u8>>,
) -> Vec<AddrInfoNode> {
    let mut nodes: Vec<AddrInfoNode> = Vec::new();
    for address in addresses {
        for (socket_type, protocol) in kinds {
            let sockaddr = sockaddr::bytes_of(*address).into_boxed_slice();
            let name = name.take().map(Vec::into_boxed_slice);
            let family = u64::from(if address.is_ipv4() { AF_INET } else { AF_INET6 });
            let words = Box::new([
                family << 32,
                u64::from(protocol.cast_unsigned()) << 32 | u64::from(socket_type.cast_unsigned()),
                sockaddr.len() as u64,
                name.as_ref().map_or(0, |name| name.as_ptr().expose_provenance() as u64),
                sockaddr.as_ptr().expose_provenance() as u64,
                0,
            ]);
            let node = AddrInfoNode { words, _sockaddr: sockaddr, _name: name };
            if let Some(previous) = nodes.last_mut() {
                previous.words[NEXT] = node.pointer() as u64;
            }
            nodes.push(node);
        }
    }
    nodes
}

/// The parameters of getaddrinfo.
pub(super) struct AddressQuery {
    pub(super) host: Address,
    pub(super) service: Address,
    pub(super) hints: Address,
    pub(super) result: Address,
    pub(super) encoding: Encoding,
}

impl AddressQuery {
    fn run(&self) -> Result<()> {
        let FoundAddresses { addresses, kinds, name } = self.look_up()?;
        let made = make_nodes(&addresses, kinds, name);
        let first = made.first().map(AddrInfoNode::pointer).ok_or(Wsa::HostNotFound)?;
        nodes().get_or_insert_default().extend(made.into_iter().map(|node| (node.pointer(), node)));
        memory::write(self.result, &first.to_ne_bytes())
    }

    /// Sets the result to NULL, then looks the names up.
    ///
    /// - **Errors**: WSAHOST_NOT_FOUND, WSATYPE_NOT_FOUND, WSAEAFNOSUPPORT, WSAESOCKTNOSUPPORT, WSAEFAULT.
    pub(super) fn look_up(&self) -> Result<FoundAddresses> {
        check_started()?;
        memory::write(self.result, &0_usize.to_ne_bytes())?;
        let host = memory::read_optional_text(self.host, self.encoding)?;
        let service = memory::read_optional_text(self.service, self.encoding)?;
        if host.is_none() && service.is_none() {
            return Err(Wsa::HostNotFound);
        }
        let hints = Hints::read(self.hints)?;
        let port = service.map_or(Ok(0), |service| port_of(&service, hints.service_protocol()))?;
        let addresses = hints.addresses(host.as_deref(), port)?;
        let name = host.filter(|_| hints.flags & AI_CANONNAME != 0);
        let name = name.map(|name| memory::encoded(&name, self.encoding));
        Ok(FoundAddresses { addresses, kinds: hints.kinds, name })
    }
}

/// The answer of a query.
pub(super) struct FoundAddresses {
    pub(super) addresses: Vec<SocketAddr>,
    /// Types and protocols, each of which every address is returned for.
    pub(super) kinds: &'static [(i32, i32)],
    /// The canonical name, where it was asked for.
    pub(super) name: Option<Vec<u8>>,
}

/// A buffer for a text, with its size in characters.
struct CountedTextBuffer(Address, u32);

impl CountedTextBuffer {
    fn is_absent(&self) -> bool {
        self.0.is_null() || self.1 == 0
    }

    /// - **Errors**: WSAEFAULT where the text does not fit.
    fn write(&self, text: &str, encoding: Encoding) -> Result<()> {
        if self.is_absent() {
            return Ok(());
        }
        // With the zero. A UTF-16 text is no longer than the UTF-8 one.
        let bytes = memory::encoded(text, encoding);
        let characters = match encoding {
            Encoding::Narrow => bytes.len(),
            Encoding::Wide => bytes.len() / 2,
        };
        if characters > self.1 as usize { Err(Wsa::Efault) } else { memory::write(self.0, &bytes) }
    }
}

/// The parameters of getnameinfo, without the buffers of its results.
struct NameQuery {
    name: Address,
    length: i32,
    flags: i32,
    encoding: Encoding,
}

impl NameQuery {
    /// Writes the names of the host and of the service.
    fn run(&self, to_host: CountedTextBuffer, to_service: CountedTextBuffer) -> Result<()> {
        check_started()?;
        let length = u32::try_from(self.length).map_err(|_| Wsa::Efault)?;
        let address = sockaddr::read_any(self.name, length)?;
        let wants_host = !to_host.0.is_null();
        let host = (wants_host && self.flags & NI_NUMERICHOST == 0).then(|| name_of(address.ip())).flatten();
        if host.is_none() && wants_host && self.flags & NI_NAMEREQD != 0 {
            return Err(Wsa::HostNotFound);
        }
        let protocol = if self.flags & NI_DGRAM == 0 { "tcp" } else { "udp" };
        let service = match self.flags & NI_NUMERICSERV {
            0 if !to_service.0.is_null() => {
                services::find(|known| known.port == address.port() && known.has_protocol(protocol))
            }
            _ => None,
        };
        to_host.write(&host.unwrap_or_else(|| address.ip().to_string()), self.encoding)?;
        let service = service.map_or_else(|| address.port().to_string(), |known| known.name);
        to_service.write(&service, self.encoding)
    }
}

c_functions! {
    /// getaddrinfo.
    code gqos_getaddrinfo(host: Address, service: Address, hints: Address, result: Address)
        => AddressQuery { host, service, hints, result, encoding: Encoding::Narrow }.run();
    /// GetAddrInfoW. [`gqos_freeaddrinfo`] frees its result too.
    code gqos_GetAddrInfoW(host: Address, service: Address, hints: Address, result: Address)
        => AddressQuery { host, service, hints, result, encoding: Encoding::Wide }.run();
    /// getnameinfo: numbers where no name is known.
    code gqos_getnameinfo(
        name: Address, namelen: i32, host: Address, hostlen: u32, service: Address, servlen: u32, flags: i32,
    ) => NameQuery { name, length: namelen, flags, encoding: Encoding::Narrow }
        .run(CountedTextBuffer(host, hostlen), CountedTextBuffer(service, servlen));
    /// GetNameInfoW.
    code gqos_GetNameInfoW(
        name: Address, namelen: i32, host: Address, hostlen: u32, service: Address, servlen: u32, flags: i32,
    ) => NameQuery { name, length: namelen, flags, encoding: Encoding::Wide }
        .run(CountedTextBuffer(host, hostlen), CountedTextBuffer(service, servlen));
}

/// freeaddrinfo. A pointer that is not a result of getaddrinfo is ignored.
///
/// # Safety
///
/// See [`abi`](crate::abi#safety). The program does not use the list any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gqos_freeaddrinfo(first: Address) {
    let mut nodes = nodes();
    let Some(known) = nodes.as_mut() else { return };
    let mut next = first.get();
    while let Some(node) = known.remove(&next) {
        next = usize::try_from(node.words[NEXT]).unwrap_or(0);
    }
}
