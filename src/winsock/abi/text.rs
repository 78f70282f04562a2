//! Addresses as text, and back.

use std::net::{IpAddr, SocketAddr};

use flowspec::Wsa;

use super::super::Result;
use super::super::provider::running;
use super::address::{self, AF_INET, AF_INET6};
use super::{SOCKET_ERROR, api, memory, spi};

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
    let characters = written.bytes().chain([0]);
    let bytes: Vec<u8> = match wide {
        true => characters.flat_map(|character| u16::from(character).to_ne_bytes()).collect(),
        false => characters.collect(),
    };
    memory::write(text, &bytes).map(|()| 0)
}

fn to_address(text: usize, family: i32, place: usize, length: usize, wide: bool) -> Result<i32> {
    running()?;
    let mut read = String::new();
    for index in 0.. {
        let character = match wide {
            true => u16::from_ne_bytes(memory::bytes(text.wrapping_add(index * 2))?),
            false => u16::from(memory::bytes::<1>(text.wrapping_add(index))?[0]),
        };
        match u8::try_from(character) {
            Ok(0) => break,
            Ok(byte) if byte.is_ascii() && index < LONGEST => read.push(char::from(byte)),
            _ => return Err(Wsa::Einval),
        }
    }
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
