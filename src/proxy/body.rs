//! Where the body of a request ends.

/// What is left of the body of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Body {
    /// Nothing.
    Done,
    /// This many bytes.
    Length(u64),
    Chunked(Chunk),
    /// The rest of the connection.
    Tunnel,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chunk {
    /// Digits of a size.
    Size { digits: u8, size: u64 },
    /// The rest of the line with the size.
    Extension { size: u64, length: u16 },
    /// The line feed after the size.
    SizeEnd { size: u64 },
    /// This many bytes of data.
    Data(u64),
    /// The carriage return, and then the line feed, after the data.
    DataEnd { line_feed: bool },
    /// The start of a line of trailers, after this many bytes of them.
    Trailer { before: u16, started: bool },
    /// The line feed after a line of trailers; the last one where the line was empty.
    TrailerEnd { before: u16, last: bool },
}

/// The most bytes of the extensions of a chunk, and of all trailers.
const MOST: u16 = 8192;

/// A body whose framing can be read in two ways, or not at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a chunk that can be read in two ways")]
pub(super) struct Malformed;

impl Body {
    pub(super) const CHUNKED: Self = Self::Chunked(Chunk::Size { digits: 0, size: 0 });

    /// How many of these bytes belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let available = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self {
            Self::Done => Ok(0),
            Self::Tunnel => Ok(bytes.len()),
            Self::Length(left) => {
                let taken = available.min(*left);
                *self = if taken == *left { Self::Done } else { Self::Length(*left - taken) };
                Ok(usize::try_from(taken).unwrap_or(bytes.len()))
            }
            Self::Chunked(_) => self.take_chunks(bytes),
        }
    }

    fn take_chunks(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while let (Self::Chunked(chunk), Some(&byte)) = (*self, bytes.get(at)) {
            if let Chunk::Data(left) = chunk {
                let taken = left.min(u64::try_from(bytes.len() - at).unwrap_or(u64::MAX));
                at += usize::try_from(taken).unwrap_or(0);
                let left = left - taken;
                let end = Chunk::DataEnd { line_feed: false };
                *self = Self::Chunked(if left == 0 { end } else { Chunk::Data(left) });
            } else {
                at += 1;
                *self = chunk.next(byte)?.map_or(Self::Done, Self::Chunked);
            }
        }
        Ok(at)
    }
}

impl Chunk {
    /// The state after a byte of the framing between the data; `None` at the end of the body.
    fn next(self, byte: u8) -> Result<Option<Self>, Malformed> {
        let next = match (self, byte) {
            (Self::Size { digits, size }, digit) if digit.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(digit).to_digit(16).unwrap_or(0);
                Self::Size { digits: digits + 1, size: size << 4 | u64::from(digit) }
            }
            (Self::Size { digits: 1.., size }, b';') => Self::Extension { size, length: 0 },
            (Self::Size { digits: 1.., size } | Self::Extension { size, .. }, b'\r') => {
                Self::SizeEnd { size }
            }
            (Self::Extension { size, length }, byte) if byte != b'\n' && length < MOST => {
                Self::Extension { size, length: length + 1 }
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { before: 0, started: false },
            (Self::SizeEnd { size }, b'\n') => Self::Data(size),
            (Self::DataEnd { line_feed: false }, b'\r') => Self::DataEnd { line_feed: true },
            (Self::DataEnd { line_feed: true }, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::Trailer { before, started }, b'\r') => Self::TrailerEnd { before, last: !started },
            // A line that begins with a space would continue the one before.
            (Self::Trailer { started: false, .. }, b' ' | b'\t') => return Err(Malformed),
            (Self::Trailer { before, .. }, byte) if byte != b'\n' && before < MOST => {
                Self::Trailer { before: before + 1, started: true }
            }
            (Self::TrailerEnd { last: true, .. }, b'\n') => return Ok(None),
            (Self::TrailerEnd { before, .. }, b'\n') => Self::Trailer { before, started: false },
            _ => return Err(Malformed),
        };
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a chunked body after these bytes, however they are cut, and how many of them belong to it.
    #[track_caller]
    fn check(bytes: &str, expected: Result<(usize, bool), Malformed>) {
        for piece in [1, 2, 3, 7, bytes.len()] {
            let (mut body, mut taken, mut result) = (Body::CHUNKED, 0, Ok(()));
            for part in bytes.as_bytes().chunks(piece) {
                match body.take(part) {
                    Ok(count) => taken += count,
                    Err(Malformed) => result = Err(Malformed),
                }
                if result.is_err() || body == Body::Done {
                    break;
                }
            }
            assert_eq!(
                result.map(|()| (taken, body == Body::Done)),
                expected,
                "{bytes:?} in pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_chunked_body_ends_with_its_trailers() {
        check("0\r\n\r\n", Ok((5, true)));
        check("5\r\nhello\r\n0\r\n\r\nGET", Ok((15, true)));
        check("A;name=\"v\"\r\n0123456789\r\n00\r\nX: y\r\n\r\n", Ok((36, true)));
        check("5\r\nhel", Ok((6, false)));
        check("0\r\n", Ok((3, false)));
        check("ffffffffffffffff\r\nx", Ok((19, false)));
    }

    #[test]
    fn chunks_that_origins_read_in_different_ways_are_malformed() {
        for text in [
            "\r\n",
            "g\r\n",
            "0x5\r\n",
            "+5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\n",
            "5;a\nb\r\n",
            "5\rX",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nX: y\n\r\n",
            "10000000000000000\r\n",
        ] {
            check(text, Err(Malformed));
        }
    }

    #[test]
    fn a_body_of_a_length_ends_after_it() {
        let mut body = Body::Length(5);
        assert_eq!((body.take(b"hel"), body), (Ok(3), Body::Length(2)));
        assert_eq!(body.take(b"loGET"), Ok(2));
        assert_eq!((body.take(b"GET"), body), (Ok(0), Body::Done));
    }
}
