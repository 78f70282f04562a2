//! Addresses as texts: WSAAddressToString, WSAStringToAddress, inet_ntop and inet_pton.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use flowspec::Wsa;

use super::memory::{self, Encoding};
use super::sockaddr::{self, AF_INET, AF_INET6, NameBuffer};
use super::{Address, NULL, SOCKET_ERROR};
use crate::Result;
use crate::provider::check_started;

/// The longest text of an address, with its zero.
const MAX_ADDRESS_TEXT: usize = 128;

/// The text of an address, with its port unless that is 0: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn text_of(address: SocketAddr) -> String {
    match (address, address.port()) {
        (SocketAddr::V6(v6), 0) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        (_, 0) => address.ip().to_string(),
        _ => address.to_string(),
    }
}

/// - **Errors**: WSAEINVAL for a text that is not an address of this family.
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

/// Where a text is written: the buffer, and a length in characters that the call reads and replaces.
struct TextBuffer {
    text: Address,
    length: Address,
    encoding: Encoding,
}

impl TextBuffer {
    /// WSAAddressToString.
    fn write_address(&self, name: Address, name_length: u32) -> Result<i32> {
        check_started()?;
        let address = sockaddr::read_any(name, name_length).map_err(|wsa| match wsa {
            Wsa::Eafnosupport => Wsa::Einval,
            wsa => wsa,
        })?;
        let text = text_of(address);
        let size = text.len() + 1;
        let capacity = memory::read_u32(self.length)? as usize;
        memory::write_u32(self.length, memory::length_u32(size)?)?;
        if capacity < size {
            return Err(Wsa::Efault);
        }
        memory::write(self.text, &memory::encoded(&text, self.encoding)).map(|()| 0)
    }
}

/// Reads the text of an address.
///
/// - **Errors**: WSAEFAULT; WSAEINVAL for one that is too long for an address, or not ASCII.
fn read_address_text(text: Address, encoding: Encoding) -> Result<String> {
    let text = memory::read_text(text, encoding)?;
    if text.is_ascii() && text.len() < MAX_ADDRESS_TEXT { Ok(text) } else { Err(Wsa::Einval) }
}

/// WSAStringToAddress.
fn string_to_address(text: Address, encoding: Encoding, family: i32, to: NameBuffer) -> Result<i32> {
    check_started()?;
    let text = read_address_text(text, encoding)?;
    if to.name.is_null() || to.length.is_null() {
        return Err(Wsa::Efault);
    }
    to.write(parse(&text, family)?).map(|()| 0)
}

/// inet_pton: writes the bytes of an address. Returns 1, or 0 for a text that is not an address of this family.
fn inet_pton(family: i32, text: Address, encoding: Encoding, to: Address) -> Result<i32> {
    let ip = match (u16::try_from(family), read_address_text(text, encoding)) {
        (Ok(AF_INET), Ok(text)) => text.parse().map(|ip: Ipv4Addr| ip.octets().to_vec()),
        (Ok(AF_INET6), Ok(text)) => text.parse().map(|ip: Ipv6Addr| ip.octets().to_vec()),
        (Ok(AF_INET | AF_INET6), Err(Wsa::Einval)) => return Ok(0),
        (Ok(AF_INET | AF_INET6), Err(wsa)) => return Err(wsa),
        _ => return Err(Wsa::Eafnosupport),
    };
    ip.map_or(Ok(0), |bytes| memory::write(to, &bytes).map(|()| 1))
}

/// inet_ntop: writes the text of an address and returns its buffer, of `capacity` characters.
fn inet_ntop(family: i32, ip: Address, text: Address, capacity: usize, encoding: Encoding) -> Result<usize> {
    let ip: IpAddr = match u16::try_from(family) {
        Ok(AF_INET) => memory::read_bytes::<4>(ip)?.into(),
        Ok(AF_INET6) => memory::read_bytes::<16>(ip)?.into(),
        _ => return Err(Wsa::Eafnosupport),
    };
    let written = ip.to_string();
    if written.len() >= capacity {
        return Err(Wsa::InvalidParameter);
    }
    memory::write(text, &memory::encoded(&written, encoding)).map(|()| text.get())
}

c_functions! {
    /// WSAAddressToStringA.
    api gqos_WSAAddressToStringA(name: Address, namelen: u32, _info: Address, text: Address, length: Address)
        -> i32, or SOCKET_ERROR
        => TextBuffer { text, length, encoding: Encoding::Narrow }.write_address(name, namelen);
    /// WSAAddressToStringW, WSPAddressToString.
    both gqos_WSAAddressToStringW, gqos_WSPAddressToString(
        name: Address, namelen: u32, _info: Address, text: Address, length: Address,
    ) -> i32, or SOCKET_ERROR
        => TextBuffer { text, length, encoding: Encoding::Wide }.write_address(name, namelen);
    /// WSAStringToAddressA.
    api gqos_WSAStringToAddressA(text: Address, family: i32, _info: Address, name: Address, namelen: Address)
        -> i32, or SOCKET_ERROR
        => string_to_address(text, Encoding::Narrow, family, NameBuffer { name, length: namelen });
    /// WSAStringToAddressW, WSPStringToAddress.
    both gqos_WSAStringToAddressW, gqos_WSPStringToAddress(
        text: Address, family: i32, _info: Address, name: Address, namelen: Address,
    ) -> i32, or SOCKET_ERROR
        => string_to_address(text, Encoding::Wide, family, NameBuffer { name, length: namelen });
    /// inet_pton, InetPtonA.
    api gqos_inet_pton(family: i32, text: Address, ip: Address) -> i32, or SOCKET_ERROR
        => inet_pton(family, text, Encoding::Narrow, ip);
    /// InetPtonW.
    api gqos_InetPtonW(family: i32, text: Address, ip: Address) -> i32, or SOCKET_ERROR
        => inet_pton(family, text, Encoding::Wide, ip);
    /// inet_ntop, InetNtopA.
    api gqos_inet_ntop(family: i32, ip: Address, text: Address, capacity: usize) -> usize, or NULL
        => inet_ntop(family, ip, text, capacity, Encoding::Narrow);
    /// InetNtopW.
    api gqos_InetNtopW(family: i32, ip: Address, text: Address, capacity: usize) -> usize, or NULL
        => inet_ntop(family, ip, text, capacity, Encoding::Wide);
}
