//! Properties of the proxy's parsers: what they read does not depend on how it is cut, and is read again as the same.

use core::fmt::Debug;
use std::net::SocketAddr;

#[path = "../src/proxy/body.rs"]
mod body;
#[path = "../src/proxy/client_hello.rs"]
mod client_hello;
#[path = "../src/proxy/header.rs"]
mod header;
#[path = "../src/proxy/http.rs"]
mod http;
#[path = "../src/proxy/rtsp.rs"]
mod rtsp;

use body::{Body, Malformed};
use gqos::policy::HeaderVersion;
use header::Addresses;
use http::{Head, Upgrade};
use rtsp::RtspHead;

/// The most bytes of a head: small, so that a fuzzer reaches it.
const MOST: usize = 512;

/// Every longer input is refused as this one is, or is found at the same place with the same meaning: a client cannot
/// change what was read by what it sends after it.
fn is_stable<T: Clone + Debug + PartialEq, E: Debug>(
    input: &[u8],
    parse: impl Fn(&[u8]) -> Result<Option<T>, E>,
) -> Option<T> {
    let mut known: Option<Result<T, String>> = None;
    for end in 1..=input.len() {
        let seen = match parse(&input[..end]) {
            Ok(None) => None,
            Ok(Some(found)) => Some(Ok(found)),
            Err(error) => Some(Err(format!("{error:?}"))),
        };
        match (&known, &seen) {
            (None, _) => known = seen,
            (Some(Ok(before)), Some(Ok(found))) => assert_eq!(before, found, "at {end}"),
            // Which of its faults is named first may change.
            (Some(Err(_)), Some(Err(_))) => {}
            _ => panic!("{known:?} became {seen:?} at {end}"),
        }
    }
    known?.ok()
}

/// The head of an HTTP request: stable, and the origin gets a head that reads as the same.
pub(crate) fn http_head(input: &[u8]) {
    let Some((head, length)) = is_stable(input, |bytes| Head::parse(bytes, MOST)) else { return };
    assert!(length <= input.len() && length <= MOST, "{length}");
    let renditions = [None, Some("hd"), Some("a\r\nb: c")];
    for (rendition, upgrade) in
        renditions.into_iter().flat_map(|name| [(name, Upgrade::Allowed), (name, Upgrade::Removed)])
    {
        let passed = head.with_rendition(rendition, upgrade);
        let lines: Vec<_> = passed.split_inclusive(|&byte| byte == b'\n').collect();
        assert!(lines.iter().all(|line| line.ends_with(b"\r\n")), "a bare line feed");
        let returns = passed.iter().filter(|&&byte| byte == b'\r').count();
        assert_eq!(returns, lines.len(), "a bare carriage return");
        assert_eq!(lines.iter().position(|line| *line == b"\r\n"), Some(lines.len() - 1), "two heads");
        let ours = lines.iter().filter(|line| line.to_ascii_lowercase().starts_with(b"x-gqos-rendition"));
        assert_eq!(ours.count(), usize::from(rendition == Some("hd")), "{rendition:?}");
        let proposes = lines.iter().any(|line| line.to_ascii_lowercase().starts_with(b"upgrade:"));
        assert_eq!(proposes, head.upgrades && upgrade == Upgrade::Allowed, "{upgrade:?}");
        let (again, whole) = Head::parse(&passed, usize::MAX).expect("it was read before").expect("whole");
        assert_eq!(whole, passed.len());
        let shown = |head: &Head| (head.method.clone(), head.host.clone(), head.path.clone(), head.body);
        assert_eq!(shown(&again), shown(&head));
    }
}

/// A chunked body: it ends where a reader of lines finds its end, however it is cut.
pub(crate) fn chunks(input: &[u8]) {
    let Some((&step, input)) = input.split_first() else { return };
    let take = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut body, mut taken) = (Body::CHUNKED, 0);
        for piece in pieces {
            match body.take(piece) {
                Ok(count) => taken += count,
                Err(Malformed) => return Err(Malformed),
            }
            if body == Body::Done {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    };
    let whole = take(&mut std::iter::once(input));
    assert_eq!(take(&mut input.chunks(usize::from(step).max(1))), whole, "cut in pieces of {step}");
    assert_eq!(take(&mut input.chunks(1)), whole, "cut in bytes");
    if let Ok((taken, true)) = whole {
        assert_eq!(by_lines(input), Some(taken), "another reader finds another end");
    }
}

/// Where a chunked body ends, read line by line. Source: RFC 9112, 7.1.
fn by_lines(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    let line = |at: &mut usize| {
        let rest = input.get(*at..)?;
        let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
        *at += length + 2;
        Some(&rest[..length])
    };
    loop {
        let size = line(&mut at)?;
        let digits = size.split(|&byte| byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            while !line(&mut at)?.is_empty() {}
            return Some(at);
        }
        at = at.checked_add(size)?;
        if !line(&mut at)?.is_empty() {
            return None;
        }
    }
}

/// A ClientHello: stable, and its name is one of a host.
pub(crate) fn client_hello(input: &[u8]) {
    if let Some(Some(name)) = is_stable(input, |bytes| client_hello::server_name(bytes, MOST)) {
        let is_name =
            |byte: u8| byte.is_ascii_alphanumeric() && !byte.is_ascii_uppercase() || b".-_".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(is_name), "{name}");
    }
}

/// A PROXY protocol header: stable, and its addresses are read again from the headers that tell them.
pub(crate) fn proxy_header(input: &[u8]) {
    let Some((addresses, length)) = is_stable(input, header::parse) else { return };
    assert!(length <= input.len(), "{length}");
    let Some(addresses) = addresses else { return };
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let client = canonical(addresses.client);
    for version in [HeaderVersion::V1, HeaderVersion::V2] {
        let written = addresses.header(version);
        let again = header::parse(&written).expect("it was written here").expect("whole");
        assert_eq!(again.1, written.len());
        match again.0 {
            Some(Addresses { client: read, .. }) => assert_eq!(canonical(read), client),
            // One end has an address of IPv4 and the other of IPv6.
            None => assert_eq!(version, HeaderVersion::V1),
        }
    }
}

/// The head of an RTSP request: stable.
pub(crate) fn rtsp_head(input: &[u8]) {
    if let Some(head) = is_stable(input, |bytes| RtspHead::parse(bytes, MOST)) {
        assert!(head.host.is_none_or(|host| !host.is_empty() && host == host.to_ascii_lowercase()));
        assert!(!head.path.is_empty() && !head.method.is_empty());
    }
}
