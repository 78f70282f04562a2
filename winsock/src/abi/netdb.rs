//! gethostbyname, getservbyname, getprotobyname and their like. Their structures are valid until the thread's next call
//! of the same kind.

use std::cell::RefCell;
use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use flowspec::Wsa;

use super::memory::{self, Encoding};
use super::services::{self, PROTOCOLS, ServiceEntry};
use super::sockaddr::{AF_INET, AF_INET6};
use super::{Address, NULL, SOCKET_ERROR};
use crate::Result;
use crate::provider::check_started;
use crate::sys::{host_name, name_of};

/// A hostent, servent or protoent of a 64-bit program, with what it points to.
#[derive(Default)]
struct Structure {
    texts: Vec<CString>,
    lists: Vec<Box<[usize]>>,
    addresses: Vec<Box<[u8]>>,
    words: Box<[usize]>,
}

/// The kinds of structures. A thread has one of each.
#[derive(Clone, Copy)]
enum StructureKind {
    Host,
    Service,
    Protocol,
}

thread_local! {
    static STRUCTURES: RefCell<[Structure; 3]> = RefCell::default();
}

impl Structure {
    /// Adds a text and returns its pointer. A text with a zero inside becomes empty.
    fn add_text(&mut self, text: &str) -> usize {
        let text = CString::new(text).unwrap_or_default();
        let pointer = text.as_ptr().expose_provenance();
        self.texts.push(text);
        pointer
    }

    /// Adds a list of pointers, which NULL ends, and returns its pointer.
    fn add_list(&mut self, pointers: impl IntoIterator<Item = usize>) -> usize {
        let list: Box<[usize]> = pointers.into_iter().chain([NULL]).collect();
        let pointer = list.as_ptr().expose_provenance();
        self.lists.push(list);
        pointer
    }

    fn add_texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a String>) -> usize {
        let pointers: Vec<_> = texts.into_iter().map(|text| self.add_text(text)).collect();
        self.add_list(pointers)
    }

    /// Completes the structure with its own words and returns its pointer. It replaces the thread's earlier structure of
    /// this kind, as Windows' does.
    fn keep(mut self, kind: StructureKind, words: impl Into<Box<[usize]>>) -> usize {
        self.words = words.into();
        let pointer = self.words.as_ptr().expose_provenance();
        STRUCTURES.with_borrow_mut(|structures| structures[kind as usize] = self);
        pointer
    }
}

/// Makes a hostent: name, aliases, family and length of an address in one word, addresses.
fn keep_host(name: &str, addresses: &[IpAddr]) -> usize {
    let mut structure = Structure::default();
    let name = structure.add_text(name);
    let aliases = structure.add_list([]);
    let (family, length) = match addresses.first() {
        Some(IpAddr::V6(_)) => (AF_INET6, 16),
        _ => (AF_INET, 4),
    };
    let mut pointers = Vec::new();
    for address in addresses {
        let bytes: Box<[u8]> = match address {
            IpAddr::V4(v4) => v4.octets().into(),
            IpAddr::V6(v6) => v6.octets().into(),
        };
        pointers.push(bytes.as_ptr().expose_provenance());
        structure.addresses.push(bytes);
    }
    let list = structure.add_list(pointers);
    structure.keep(StructureKind::Host, [name, aliases, usize::from(family) | length << 16, list])
}

fn host_by_name(name: Address) -> Result<usize> {
    check_started()?;
    // NULL and the empty name are this host.
    let name = match read_optional(name)? {
        name if name.is_empty() => host_name().map_err(|_| Wsa::NoData)?,
        name => name,
    };
    if let Ok(ip) = name.parse::<Ipv4Addr>() {
        return Ok(keep_host(&name, &[ip.into()]));
    }
    let found = (name.as_str(), 0).to_socket_addrs().map_err(|_| Wsa::HostNotFound)?;
    let mut addresses: Vec<IpAddr> = found.map(|found| found.ip()).filter(IpAddr::is_ipv4).collect();
    addresses.dedup();
    if addresses.is_empty() { Err(Wsa::NoData) } else { Ok(keep_host(&name, &addresses)) }
}

fn host_by_address(address: Address, length: i32, family: i32) -> Result<usize> {
    check_started()?;
    let ip: IpAddr = match (u16::try_from(family), length) {
        (Ok(AF_INET), 4) => IpAddr::from(memory::read_bytes::<4>(address)?),
        (Ok(AF_INET6), 16) => IpAddr::from(memory::read_bytes::<16>(address)?),
        (Ok(AF_INET | AF_INET6), _) => return Err(Wsa::Efault),
        _ => return Err(Wsa::Eafnosupport),
    };
    let name = name_of(ip).ok_or(Wsa::HostNotFound)?;
    Ok(keep_host(&name, &[ip]))
}

fn own_name(buffer: Address, capacity: i32, encoding: Encoding) -> Result<i32> {
    check_started()?;
    let name = host_name().map_err(|_| Wsa::Enetdown)?;
    let bytes = memory::encoded(&name, encoding);
    let characters = if encoding == Encoding::Wide { bytes.len() / 2 } else { bytes.len() };
    if usize::try_from(capacity).map_or(true, |capacity| capacity < characters) {
        return Err(Wsa::Efault);
    }
    memory::write(buffer, &bytes).map(|()| 0)
}

/// Reads a text; NULL is empty.
fn read_optional(text: Address) -> Result<String> {
    Ok(memory::read_optional_text(text, Encoding::Narrow)?.unwrap_or_default())
}

/// Makes a servent: name, aliases, protocol, and the port in network byte order.
fn keep_service(found: Option<ServiceEntry>) -> Result<usize> {
    let ServiceEntry { name, aliases, port, protocol } = found.ok_or(Wsa::NoData)?;
    let mut structure = Structure::default();
    let words = [
        structure.add_text(&name),
        structure.add_texts(&aliases),
        structure.add_text(&protocol),
        usize::from(u16::from_ne_bytes(port.to_be_bytes())),
    ];
    Ok(structure.keep(StructureKind::Service, words))
}

/// Makes a protoent: name, aliases, number.
fn keep_protocol(is_wanted: impl Fn(&str, i16) -> bool) -> Result<usize> {
    check_started()?;
    let found = PROTOCOLS.into_iter().find(|(name, number)| is_wanted(name, *number));
    let (name, number) = found.ok_or(Wsa::NoData)?;
    let mut structure = Structure::default();
    let alias = name.to_uppercase();
    let words =
        [structure.add_text(name), structure.add_texts([&alias]), usize::from(number.cast_unsigned())];
    Ok(structure.keep(StructureKind::Protocol, words))
}

c_functions! {
    /// gethostbyname: the host's IPv4 addresses.
    api gqos_gethostbyname(name: Address) -> usize, or NULL => host_by_name(name);
    /// gethostbyaddr.
    api gqos_gethostbyaddr(address: Address, length: i32, family: i32) -> usize, or NULL
        => host_by_address(address, length, family);
    /// gethostname.
    api gqos_gethostname(buffer: Address, capacity: i32) -> i32, or SOCKET_ERROR => own_name(buffer, capacity, Encoding::Narrow);
    /// GetHostNameW.
    api gqos_GetHostNameW(buffer: Address, capacity: i32) -> i32, or SOCKET_ERROR
        => own_name(buffer, capacity, Encoding::Wide);
    /// getservbyname.
    api gqos_getservbyname(name: Address, protocol: Address) -> usize, or NULL => {
        check_started()?;
        let (name, protocol) = (memory::read_text(name, Encoding::Narrow)?, read_optional(protocol)?);
        keep_service(services::find(|service| service.is_named(&name, &protocol)))
    };
    /// getservbyport: the port is in network byte order.
    api gqos_getservbyport(port: i32, protocol: Address) -> usize, or NULL => {
        check_started()?;
        let protocol = read_optional(protocol)?;
        let [low, high, ..] = port.to_ne_bytes();
        let port = u16::from_be_bytes([low, high]);
        keep_service(services::find(|service| service.port == port && service.has_protocol(&protocol)))
    };
    /// getprotobyname.
    api gqos_getprotobyname(name: Address) -> usize, or NULL => {
        let requested = memory::read_text(name, Encoding::Narrow)?;
        keep_protocol(|name, _| name.eq_ignore_ascii_case(&requested))
    };
    /// getprotobynumber.
    api gqos_getprotobynumber(number: i32) -> usize, or NULL
        => keep_protocol(|_, known| i32::from(known) == number);
}
