//! Addresses as text, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use flowspec::Wsa;

use super::address::{self, AF_INET, AF_INET6};
use super::{SOCKET_ERROR, api, memory, spi};
use crate::Result;
use crate::provider::running;

/// The longest text of an address, its zero included.
const LONGEST: usize = 128;

/// An address and, where it has one, its port: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn text_of(address: SocketAddr) -> String {
    match (address, address.port()) {
        (SocketAddr::V6(v6), 0) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        (_, 0) => address.ip().to_string(),
        _ => address.to_string(),
    }
}

fn parse(text: &str, family: i32) -> Result<SocketAddr> {
    let address: SocketAddr = text
        .parse()
        .or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)))
        .or_else(|_| format!("[{text}]:0").parse())
        .map_err(|_| Wsa::Einval)?;
    match (u16::try_from(family), address) {
        (Ok(AF_INET), SocketAddr::V4(_)) | (Ok(AF_INET6), SocketAddr::V6(_)) => Ok(address),
        _ => Err(Wsa::Einval),
    }
}

fn to_string(place: usize, length: u32, text: usize, room: usize, wide: bool) -> Result<i32> {
    running()?;
    let address = address::read_any(place, length).map_err(|wsa| match wsa {
        Wsa::Eafnosupport => Wsa::Einval,
        wsa => wsa,
    })?;
    let written = text_of(address);
    let size = written.len() + 1;
    let given = memory::u32_at(room)?;
    memory::write_u32(room, u32::try_from(size).map_err(|_| Wsa::Efault)?)?;
    if (given as usize) < size {
        return Err(Wsa::Efault);
    }
    memory::write(text, &memory::characters(&written, wide)).map(|()| 0)
}

/// A text of an address: one that is too long for that is none.
fn text_at(text: usize, wide: bool) -> Result<String> {
    let read = if wide { memory::wide_text(text)? } else { memory::text(text)? };
    if read.is_ascii() && read.len() < LONGEST { Ok(read) } else { Err(Wsa::Einval) }
}

/// inet_pton: whether the text is an address of this family, which then lies at `place`.
fn number_of(family: i32, text: usize, place: usize, wide: bool) -> Result<i32> {
    let ip = match (u16::try_from(family), text_at(text, wide)) {
        (Ok(AF_INET), Ok(text)) => text.parse().map(|ip: Ipv4Addr| ip.octets().to_vec()),
        (Ok(AF_INET6), Ok(text)) => text.parse().map(|ip: Ipv6Addr| ip.octets().to_vec()),
        (Ok(AF_INET | AF_INET6), Err(Wsa::Einval)) => return Ok(0),
        (Ok(AF_INET | AF_INET6), Err(wsa)) => return Err(wsa),
        _ => return Err(Wsa::Eafnosupport),
    };
    ip.map_or(Ok(0), |bytes| memory::write(place, &bytes).map(|()| 1))
}

/// inet_ntop: where the text lies, which is where it was wanted.
fn text_for(family: i32, place: usize, text: usize, room: usize, wide: bool) -> Result<usize> {
    let ip: IpAddr = match u16::try_from(family) {
        Ok(AF_INET) => memory::bytes::<4>(place)?.into(),
        Ok(AF_INET6) => memory::bytes::<16>(place)?.into(),
        _ => return Err(Wsa::Eafnosupport),
    };
    let written = ip.to_string();
    if written.len() >= room {
        return Err(Wsa::InvalidParameter);
    }
    memory::write(text, &memory::characters(&written, wide)).map(|()| text)
}

fn to_address(text: usize, family: i32, place: usize, length: usize, wide: bool) -> Result<i32> {
    running()?;
    let read = text_at(text, wide)?;
    if place == 0 || length == 0 {
        return Err(Wsa::Efault);
    }
    address::write(parse(&read, family)?, place, length).map(|()| 0)
}

exported! {
    /// WSAAddressToStringW, WSPAddressToString.
    gqos_WSAAddressToStringW, gqos_WSPAddressToString(
        address: usize, length: u32, _info: usize, text: usize, room: usize
    ) -> i32, SOCKET_ERROR => to_string(address, length, text, room, true);
    /// WSAStringToAddressW, WSPStringToAddress.
    gqos_WSAStringToAddressW, gqos_WSPStringToAddress(
        text: usize, family: i32, _info: usize, address: usize, length: usize
    ) -> i32, SOCKET_ERROR => to_address(text, family, address, length, true);
}

/// WSAAddressToStringA.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAAddressToStringA(
    address: usize,
    length: u32,
    _info: usize,
    text: usize,
    room: usize,
) -> i32 {
    api(SOCKET_ERROR, || to_string(address, length, text, room, false))
}

/// WSAStringToAddressA.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAStringToAddressA(
    text: usize,
    family: i32,
    _info: usize,
    address: usize,
    length: usize,
) -> i32 {
    api(SOCKET_ERROR, || to_address(text, family, address, length, false))
}

/// inet_pton, InetPtonA.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_inet_pton(family: i32, text: usize, place: usize) -> i32 {
    api(SOCKET_ERROR, || number_of(family, text, place, false))
}

/// InetPtonW.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_InetPtonW(family: i32, text: usize, place: usize) -> i32 {
    api(SOCKET_ERROR, || number_of(family, text, place, true))
}

/// inet_ntop, InetNtopA.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_inet_ntop(family: i32, place: usize, text: usize, room: usize) -> usize {
    api(0, || text_for(family, place, text, room, false))
}

/// InetNtopW.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_InetNtopW(family: i32, place: usize, text: usize, room: usize) -> usize {
    api(0, || text_for(family, place, text, room, true))
}
