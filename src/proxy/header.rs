//! The header of the PROXY protocol, versions 1 and 2: the addresses of a connection before it was proxied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::policy::HeaderVersion;

/// Both ends of a connection as its client sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Addresses {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// The start of a connection is not a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the connection does not begin with a PROXY protocol header")]
pub(super) struct NotAHeader;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const LONGEST_LINE: usize = 107;
/// The most bytes after the fixed part: addresses and what load balancers add to them.
const LONGEST_REST: usize = 4096;
/// The command for a connection that was proxied; the other one is for those of the load balancer itself.
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;

/// The header at the start of these bytes, and its length; `None` where it is not complete. A header may state no
/// addresses.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Option<Addresses>, usize)>, NotAHeader> {
    if bytes.starts_with(&SIGNATURE) {
        return parse_v2(bytes);
    }
    if SIGNATURE.starts_with(bytes) {
        return Ok(None);
    }
    let start = b"PROXY ";
    if !start.starts_with(&bytes[..bytes.len().min(start.len())]) {
        return Err(NotAHeader);
    }
    let line = &bytes[..bytes.len().min(LONGEST_LINE)];
    match line.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => {
            let text = std::str::from_utf8(&line[..end]).map_err(|_| NotAHeader)?;
            Ok(Some((parse_v1(text)?, end + 2)))
        }
        None if bytes.len() < LONGEST_LINE => Ok(None),
        None => Err(NotAHeader),
    }
}

fn parse_v1(text: &str) -> Result<Option<Addresses>, NotAHeader> {
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), client, server, client_port, server_port] => {
            let address =
                |text: &str| text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (family == "TCP4"));
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text);
            let end = |ip, number| Some(SocketAddr::new(address(ip)?, port(number)?));
            let client = end(client, client_port).ok_or(NotAHeader)?;
            let server = end(server, server_port).ok_or(NotAHeader)?;
            Ok(Some(Addresses { client, server }))
        }
        _ => Err(NotAHeader),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(Option<Addresses>, usize)>, NotAHeader> {
    let Some(fixed) = bytes.get(SIGNATURE.len()..16) else { return Ok(None) };
    let (command, family) = (fixed[0], fixed[1]);
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if !matches!(command, PROXY | LOCAL) || length > LONGEST_REST {
        return Err(NotAHeader);
    }
    let Some(rest) = bytes.get(16..16 + length) else { return Ok(None) };
    let port = |at: usize| rest.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let addresses = match (command, family) {
        (LOCAL, _) => None,
        (_, 0x11 | 0x12) => {
            let ip = |at: usize| {
                let bytes: Option<[u8; 4]> = rest.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                bytes.map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)))
            };
            Some((ip(0), ip(4), port(8), port(10)))
        }
        (_, 0x21 | 0x22) => {
            let ip = |at: usize| {
                let bytes: Option<[u8; 16]> = rest.get(at..at + 16).and_then(|bytes| bytes.try_into().ok());
                bytes.map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))
            };
            Some((ip(0), ip(16), port(32), port(34)))
        }
        // A family without addresses and ports.
        _ => None,
    };
    let addresses = match addresses {
        None => None,
        Some((Some(client), Some(server), Some(client_port), Some(server_port))) => Some(Addresses {
            client: SocketAddr::new(client, client_port),
            server: SocketAddr::new(server, server_port),
        }),
        Some(_) => return Err(NotAHeader),
    };
    Ok(Some((addresses, 16 + length)))
}

impl Addresses {
    /// The header that tells them.
    pub(super) fn header(&self, version: HeaderVersion) -> Vec<u8> {
        let client = SocketAddr::new(self.client.ip().to_canonical(), self.client.port());
        let server = SocketAddr::new(self.server.ip().to_canonical(), self.server.port());
        match version {
            HeaderVersion::V1 => {
                let family = match (client.ip(), server.ip()) {
                    (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
                    (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
                    _ => return b"PROXY UNKNOWN\r\n".to_vec(),
                };
                let (client_port, server_port) = (client.port(), server.port());
                format!("PROXY {family} {} {} {client_port} {server_port}\r\n", client.ip(), server.ip())
                    .into_bytes()
            }
            HeaderVersion::V2 => {
                let (family, length, ips) = match (client.ip(), server.ip()) {
                    (IpAddr::V4(client), IpAddr::V4(server)) => {
                        (0x11, 12_u16, [&client.octets()[..], &server.octets()].concat())
                    }
                    (client, server) => {
                        let octets = |ip: IpAddr| match ip {
                            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                            IpAddr::V6(ip) => ip.octets(),
                        };
                        (0x21, 36, [octets(client), octets(server)].concat())
                    }
                };
                let mut header = SIGNATURE.to_vec();
                header.extend_from_slice(&[PROXY, family]);
                header.extend_from_slice(&length.to_be_bytes());
                header.extend_from_slice(&ips);
                header.extend_from_slice(&client.port().to_be_bytes());
                header.extend_from_slice(&server.port().to_be_bytes());
                header
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for (client, server) in
            [("192.0.2.1:4000", "198.51.100.2:80"), ("[2001:db8::1]:4000", "[2001:db8::2]:80")]
        {
            let addresses = Addresses {
                client: client.parse().expect("client"),
                server: server.parse().expect("server"),
            };
            for version in [HeaderVersion::V1, HeaderVersion::V2] {
                let mut bytes = addresses.header(version);
                let length = bytes.len();
                bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
                assert_eq!(parse(&bytes), Ok(Some((Some(addresses), length))));
                for end in 0..length {
                    assert_eq!(parse(&bytes[..end]), Ok(None), "{end} of {length}");
                }
            }
        }
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x0f\xa0\x00\x50";
        let addresses = Addresses {
            client: "192.0.2.1:4000".parse().expect("client"),
            server: "198.51.100.2:80".parse().expect("server"),
        };
        assert_eq!(addresses.header(HeaderVersion::V2), header);
        assert_eq!(addresses.header(HeaderVersion::V1), b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 80\r\n");
    }

    #[test]
    fn headers_without_addresses_keep_those_of_the_connection() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\nx"), Ok(Some((None, 15))));
        assert_eq!(parse(b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n"), Ok(Some((None, 41))));
        assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00x"), Ok(Some((None, 16))));
        assert_eq!(parse(b"\r\n\r\n\0\r\nQUIT\n\x20\x11\x00\x02ab"), Ok(Some((None, 18))));
    }

    #[test]
    fn other_starts_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.2 4000\r\n",
            b"PROXY TCP4 2001:db8::1 198.51.100.2 4000 80\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 04000 80\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 80000\r\n",
            b"PROXY  TCP4 192.0.2.1 198.51.100.2 4000 80\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x0c",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x02ab",
        ] {
            assert_eq!(parse(bytes), Err(NotAHeader), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(&[b"PROXY ".as_slice(), &[b'a'; 110]].concat()), Err(NotAHeader));
    }
}
