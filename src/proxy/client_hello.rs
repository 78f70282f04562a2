//! The server name in the ClientHello of TLS (RFC 8446, RFC 6066). Nothing is decrypted.

use super::http::compared_host;

/// Why the start of a connection is not a ClientHello.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NotAClientHello {
    #[error("the connection does not begin with a ClientHello of TLS")]
    Malformed,
    #[error("the ClientHello is too large")]
    TooLarge,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// The most bytes of a plaintext record.
const LONGEST_RECORD: usize = 1 << 14;

/// The server name, in lower case, of the ClientHello at the start of these bytes; `None` where it is not complete, and
/// `Some(None)` where it names none.
pub(super) fn server_name(bytes: &[u8], most: usize) -> Result<Option<Option<String>>, NotAClientHello> {
    let Some(message) = message(bytes, most)? else { return Ok(None) };
    let mut hello = Reader(&message);
    let name = read_name(&mut hello).ok_or(NotAClientHello::Malformed)?;
    Ok(Some(name))
}

/// The handshake message in the first records.
fn message(bytes: &[u8], most: usize) -> Result<Option<Vec<u8>>, NotAClientHello> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let is_handshake = |start: &[u8]| [HANDSHAKE, 3].starts_with(start.get(..2).unwrap_or(start));
        if !is_handshake(rest) {
            return Err(NotAClientHello::Malformed);
        }
        let incomplete = if bytes.len() > most { Err(NotAClientHello::TooLarge) } else { Ok(None) };
        let &[_, _, _, high, low, ref after @ ..] = rest else { return incomplete };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > LONGEST_RECORD {
            return Err(NotAClientHello::Malformed);
        }
        message.extend_from_slice(&after[..length.min(after.len())]);
        if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
            return Err(NotAClientHello::Malformed);
        }
        if let [_, a, b, c, body @ ..] = &message[..] {
            let whole = u32::from_be_bytes([0, *a, *b, *c]);
            let whole = usize::try_from(whole).unwrap_or(usize::MAX);
            if whole > most {
                return Err(NotAClientHello::TooLarge);
            }
            if body.len() >= whole {
                return Ok(Some(body[..whole].to_vec()));
            }
        }
        if after.len() < length {
            return incomplete;
        }
        rest = &after[length..];
    }
}

/// The name in a ClientHello; `None` where it cannot be read.
fn read_name(hello: &mut Reader<'_>) -> Option<Option<String>> {
    hello.take(2 + 32)?;
    for length_of_length in [1, 2, 1] {
        hello.vector(length_of_length)?;
    }
    if hello.0.is_empty() {
        return Some(None);
    }
    let mut extensions = hello.vector(2)?;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2)?;
        let mut extension = extensions.vector(2)?;
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        let mut names = extension.vector(2)?;
        while !names.0.is_empty() {
            let kind = names.number(1)?;
            let name = names.vector(2)?.0;
            if kind == usize::from(HOST_NAME) {
                let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
                let valid = !name.is_empty() && name.iter().all(is_name);
                let name = valid.then(|| compared_host(&String::from_utf8_lossy(name)))?;
                return Some(Some(name));
            }
        }
    }
    Some(None)
}

/// Reads numbers and vectors, and never beyond the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn vector(&mut self, bytes_of_length: usize) -> Option<Self> {
        let length = self.number(bytes_of_length)?;
        self.take(length).map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(bytes_of_length: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - bytes_of_length..], content].concat()
    }

    /// A ClientHello in records of this many bytes.
    fn hello(name: Option<&[u8]>, record: usize) -> Vec<u8> {
        let mut extensions = [&[0, 10][..], &vector(2, &[0, 2, 0, 29])].concat();
        if let Some(name) = name {
            let names = vector(2, &[&[HOST_NAME][..], &vector(2, name)].concat());
            extensions.extend_from_slice(&[&[0, 0][..], &vector(2, &names)].concat());
        }
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[1; 32]),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, &extensions),
        ]
        .concat();
        let message = [&[CLIENT_HELLO][..], &vector(3, &body)].concat();
        message.chunks(record).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat()).collect()
    }

    #[test]
    fn the_name_is_found_in_any_records() {
        for record in [1, 2, 5, 50, 16_000] {
            let bytes = hello(Some(b"A.Example"), record);
            assert_eq!(server_name(&bytes, 16_384), Ok(Some(Some("a.example".into()))), "{record}");
            for end in 0..bytes.len() {
                assert_eq!(server_name(&bytes[..end], 16_384), Ok(None), "{record}, {end}");
            }
        }
        assert_eq!(server_name(&hello(None, 100), 16_384), Ok(Some(None)));
    }

    #[test]
    fn other_starts_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x02",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x00\x02\x02\x00",
        ] {
            assert_eq!(server_name(bytes, 16_384), Err(NotAClientHello::Malformed), "{bytes:?}");
        }
        for name in [&b"a b"[..], b"", b"\xff"] {
            assert_eq!(server_name(&hello(Some(name), 100), 16_384), Err(NotAClientHello::Malformed));
        }
        assert_eq!(
            server_name(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff", 16_384),
            Err(NotAClientHello::TooLarge)
        );
        let mut cut = hello(Some(b"a.example"), 16_000);
        // The extensions are longer than the message.
        let at = 5 + 4 + 34 + 33 + 4 + 2;
        cut[at] = 0xff;
        assert_eq!(server_name(&cut, 16_384), Err(NotAClientHello::Malformed));
    }
}
