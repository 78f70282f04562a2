//! gethostbyname and its like: structures that stay until the thread's next such call.

use std::cell::RefCell;
use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use flowspec::Wsa;

use super::address::{AF_INET, AF_INET6};
use super::services::{self, PROTOCOLS, Service};
use super::{SOCKET_ERROR, api, memory};
use crate::Result;
use crate::provider::running;
use crate::sys::{host_name, name_of};

/// A hostent, servent or protoent of a 64-bit program, with what it leads to.
#[derive(Default)]
struct Answer {
    texts: Vec<CString>,
    lists: Vec<Box<[usize]>>,
    bytes: Vec<Box<[u8]>>,
    words: Box<[usize]>,
}

thread_local! {
    static ANSWERS: RefCell<[Answer; 3]> = RefCell::default();
}

/// Which of the thread's structures: one of each kind stays, as with Winsock.
#[derive(Clone, Copy)]
enum Kind {
    Host,
    Service,
    Protocol,
}

impl Answer {
    /// A text of it: where that lies. One with a zero inside is nobody's name, and is empty.
    fn text(&mut self, text: &str) -> usize {
        let text = CString::new(text).unwrap_or_default();
        let place = text.as_ptr().expose_provenance();
        self.texts.push(text);
        place
    }

    /// A list of it, ended by a null: where that lies.
    fn list(&mut self, places: impl IntoIterator<Item = usize>) -> usize {
        let list: Box<[usize]> = places.into_iter().chain([0]).collect();
        let place = list.as_ptr().expose_provenance();
        self.lists.push(list);
        place
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a String>) -> usize {
        let places: Vec<_> = texts.into_iter().map(|text| self.text(text)).collect();
        self.list(places)
    }

    /// Keeps it in place of what the thread was told before: where the structure lies.
    fn keep(mut self, kind: Kind, words: impl Into<Box<[usize]>>) -> usize {
        self.words = words.into();
        let place = self.words.as_ptr().expose_provenance();
        ANSWERS.with_borrow_mut(|answers| answers[kind as usize] = self);
        place
    }
}

/// hostent: name, aliases, type and length of the addresses in one word, the addresses.
fn host(name: &str, addresses: &[IpAddr]) -> usize {
    let mut answer = Answer::default();
    let name = answer.text(name);
    let aliases = answer.list([]);
    let (family, length) = match addresses.first() {
        Some(IpAddr::V6(_)) => (AF_INET6, 16),
        _ => (AF_INET, 4),
    };
    let mut places = Vec::new();
    for address in addresses {
        let bytes: Box<[u8]> = match address {
            IpAddr::V4(v4) => v4.octets().into(),
            IpAddr::V6(v6) => v6.octets().into(),
        };
        places.push(bytes.as_ptr().expose_provenance());
        answer.bytes.push(bytes);
    }
    let list = answer.list(places);
    answer.keep(Kind::Host, [name, aliases, usize::from(family) | length << 16, list])
}

fn by_name(name: usize) -> Result<usize> {
    running()?;
    let name = if name == 0 { String::new() } else { memory::text(name)? };
    // Nobody's name is this host's.
    let name = if name.is_empty() { host_name().map_err(|_| Wsa::NoData)? } else { name };
    if let Ok(ip) = name.parse::<Ipv4Addr>() {
        return Ok(host(&name, &[ip.into()]));
    }
    let found = (name.as_str(), 0).to_socket_addrs().map_err(|_| Wsa::HostNotFound)?;
    let mut addresses: Vec<IpAddr> = found.map(|found| found.ip()).filter(IpAddr::is_ipv4).collect();
    addresses.dedup();
    if addresses.is_empty() { Err(Wsa::NoData) } else { Ok(host(&name, &addresses)) }
}

fn by_address(address: usize, length: i32, family: i32) -> Result<usize> {
    running()?;
    let ip: IpAddr = match (u16::try_from(family), length) {
        (Ok(AF_INET), 4) => IpAddr::from(memory::bytes::<4>(address)?),
        (Ok(AF_INET6), 16) => IpAddr::from(memory::bytes::<16>(address)?),
        (Ok(AF_INET | AF_INET6), _) => return Err(Wsa::Efault),
        _ => return Err(Wsa::Eafnosupport),
    };
    let name = name_of(ip).ok_or(Wsa::HostNotFound)?;
    Ok(host(&name, &[ip]))
}

fn name(place: usize, room: i32) -> Result<i32> {
    running()?;
    let name = host_name().map_err(|_| Wsa::Enetdown)?;
    let bytes: Vec<u8> = name.into_bytes().into_iter().chain([0]).collect();
    if usize::try_from(room).map_or(true, |room| room < bytes.len()) {
        return Err(Wsa::Efault);
    }
    memory::write(place, &bytes).map(|()| 0)
}

fn optional(text: usize) -> Result<String> {
    if text == 0 { Ok(String::new()) } else { memory::text(text) }
}

/// servent: name, aliases, protocol, and the port in network order.
fn service(found: Option<Service>) -> Result<usize> {
    let Service { name, aliases, port, protocol } = found.ok_or(Wsa::NoData)?;
    let mut answer = Answer::default();
    let words = [
        answer.text(&name),
        answer.texts(&aliases),
        answer.text(&protocol),
        usize::from(u16::from_ne_bytes(port.to_be_bytes())),
    ];
    Ok(answer.keep(Kind::Service, words))
}

/// protoent: name, aliases, and the number.
fn protocol(wanted: impl Fn(&str, i16) -> bool) -> Result<usize> {
    running()?;
    let (name, number) =
        PROTOCOLS.into_iter().find(|(name, number)| wanted(name, *number)).ok_or(Wsa::NoData)?;
    let mut answer = Answer::default();
    let words =
        [answer.text(name), answer.texts([&name.to_uppercase()]), usize::from(number.cast_unsigned())];
    Ok(answer.keep(Kind::Protocol, words))
}

/// gethostbyname: the addresses of IPv4.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_gethostbyname(name: usize) -> usize {
    api(0, || by_name(name))
}

/// gethostbyaddr.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_gethostbyaddr(address: usize, length: i32, family: i32) -> usize {
    api(0, || by_address(address, length, family))
}

/// gethostname.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_gethostname(place: usize, room: i32) -> i32 {
    api(SOCKET_ERROR, || name(place, room))
}

/// getservbyname.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getservbyname(name: usize, of: usize) -> usize {
    api(0, || {
        running()?;
        let (name, of) = (memory::text(name)?, optional(of)?);
        service(services::find(|service| service.is(&name, &of)))
    })
}

/// getservbyport: the port is in network order.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getservbyport(port: i32, of: usize) -> usize {
    api(0, || {
        running()?;
        let of = optional(of)?;
        let [low, high, ..] = port.to_ne_bytes();
        let port = u16::from_be_bytes([low, high]);
        service(services::find(|service| service.port == port && service.is_of(&of)))
    })
}

/// getprotobyname.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getprotobyname(name: usize) -> usize {
    api(0, || {
        let asked = memory::text(name)?;
        protocol(|name, _| name.eq_ignore_ascii_case(&asked))
    })
}

/// getprotobynumber.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_getprotobynumber(number: i32) -> usize {
    api(0, || protocol(|_, known| i32::from(known) == number))
}
