//! The responses of an origin: where each of them ends, found before it is taken from the socket.

use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::body::{Body, Chunk};
use super::exchange::{Exchange, PendingRequest};

/// Follows the responses of one connection.
#[derive(Debug, Default)]
pub(super) struct Responses {
    place: Place,
    /// How many bytes of the source are known to belong to the current response.
    known: u64,
}

/// What comes next from the origin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Head,
    Body(Body),
    /// The last byte of a response is among those that are known.
    End,
    /// A response that lasts as long as the connection, another protocol, or something that cannot be followed.
    Rest,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// More of them are needed.
    Nothing,
    /// So many belong to the current response, behind which comes this.
    Part(u64, Place),
    /// The connection changes to another protocol.
    Switch,
    /// They are no response to the oldest request, or cannot be read in one way.
    Lost,
}

/// The most bytes of a head that are looked at.
const LARGEST_HEAD: usize = 16 << 10;

/// The most headers of a response.
const MOST_HEADERS: usize = 128;

impl Responses {
    /// How many bytes of the source may be passed on; waits where the next ones have not come. At the end of the source it
    /// is not zero.
    pub(super) async fn known(&mut self, from: &TcpStream, exchange: &Exchange) -> u64 {
        const FIRST_PAUSE: Duration = Duration::from_millis(1);
        const LONGEST_PAUSE: Duration = Duration::from_millis(50);
        let mut pause = FIRST_PAUSE;
        while self.known == 0 {
            let found = match self.place {
                Place::Rest => return u64::MAX,
                // The length is known, whatever comes.
                Place::Body(Body::Chunked(Chunk::Data(left))) => {
                    Found::Part(left, Place::Body(Body::Chunked(Chunk::DataEnd { line_feed: false })))
                }
                place => {
                    let Some((bytes, is_all)) = look(from).await else { return 1 };
                    match find(place, &bytes, exchange.oldest()) {
                        Found::Nothing if is_all || bytes.len() >= LARGEST_HEAD => Found::Lost,
                        found => found,
                    }
                }
            };
            match found {
                Found::Nothing => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Found::Part(length, next) => {
                    // An interim response is no answer yet.
                    if next != Place::Head {
                        exchange.begin();
                    }
                    (self.known, self.place) = (length, next);
                }
                Found::Switch => {
                    exchange.switch();
                    self.place = Place::Rest;
                }
                Found::Lost => {
                    exchange.lose();
                    self.place = Place::Rest;
                }
            }
        }
        self.known
    }

    /// So many bytes have passed.
    pub(super) fn passed(&mut self, bytes: usize, exchange: &Exchange) {
        if self.place == Place::Rest {
            return;
        }
        self.known = self.known.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.known == 0 && self.place == Place::End {
            exchange.answered();
            self.place = Place::Head;
        }
    }
}

/// What an origin has sent, without taking it, and whether nothing will follow; `None` at its end, and for an error, which
/// the next read gets as well.
async fn look(from: &TcpStream) -> Option<(Vec<u8>, bool)> {
    if from.peek(&mut [0]).await.ok()? == 0 {
        return None;
    }
    let is_all = from.ready(Interest::READABLE).await.ok()?.is_read_closed();
    let mut bytes = vec![0; LARGEST_HEAD];
    let length = from.peek(&mut bytes).await.ok()?;
    bytes.truncate(length);
    Some((bytes, is_all))
}

/// What these bytes are, at this place of the responses.
fn find(place: Place, bytes: &[u8], asked: Option<PendingRequest>) -> Found {
    let mut body = match place {
        Place::Head => return asked.map_or(Found::Lost, |asked| head(bytes, asked)),
        Place::Body(body) => body,
        Place::End | Place::Rest => return Found::Lost,
    };
    match body.take(bytes) {
        Ok(taken) => {
            let next = if body == Body::Done { Place::End } else { Place::Body(body) };
            Found::Part(u64::try_from(taken).unwrap_or(u64::MAX), next)
        }
        Err(_) => Found::Lost,
    }
}

/// The head of a response to this request.
///
/// - **Source**: RFC 9112, section 6.3.
fn head(bytes: &[u8], asked: PendingRequest) -> Found {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => u64::try_from(length).unwrap_or(u64::MAX),
        Ok(httparse::Status::Partial) => return Found::Nothing,
        Err(_) => return Found::Lost,
    };
    let has_no_body = match response.code {
        Some(101) => return if asked.upgrades { Found::Switch } else { Found::Lost },
        Some(100..=199) => return Found::Part(length, Place::Head),
        Some(204 | 304) => true,
        _ => asked.is_head,
    };
    if has_no_body {
        return Found::Part(length, Place::End);
    }
    let all = |name: &'static str| {
        let headers = response.headers.iter();
        headers
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.trim_ascii())
    };
    let (mut lengths, mut codings) = (all("content-length"), all("transfer-encoding"));
    let framing = (lengths.next(), codings.next());
    if lengths.next().is_some() || codings.next().is_some() {
        return Found::Lost;
    }
    match framing {
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
            Found::Part(length, Place::Body(Body::CHUNKED))
        }
        (Some(digits), None) if digits.iter().all(u8::is_ascii_digit) => {
            let body = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
            match body.and_then(|body| length.checked_add(body)) {
                Some(whole) => Found::Part(whole, Place::End),
                None => Found::Lost,
            }
        }
        // It lasts until the origin closes, or cannot be read in one way.
        _ => Found::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Option<PendingRequest> = Some(PendingRequest { is_head: false, upgrades: false });

    #[test]
    fn a_head_says_where_its_response_ends() {
        let check = |asked, text: &str, expected: Found| {
            assert_eq!(find(Place::Head, text.as_bytes(), asked), expected, "{text:?}");
            for end in 0..text.len() {
                let part = &text[..end];
                if !part.contains("\r\n\r\n") && expected != Found::Lost {
                    assert_eq!(find(Place::Head, part.as_bytes(), asked), Found::Nothing, "{part:?}");
                }
            }
        };
        let head = Some(PendingRequest { is_head: true, upgrades: false });
        let upgrade = Some(PendingRequest { is_head: false, upgrades: true });
        check(GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Found::Part(43, Place::End));
        check(GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Found::Part(38, Place::End));
        check(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Found::Part(38, Place::End));
        check(GET, "HTTP/1.1 204 No Content\r\n\r\n", Found::Part(27, Place::End));
        check(GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Found::Part(48, Place::End));
        check(GET, "HTTP/1.1 100 Continue\r\n\r\n", Found::Part(25, Place::Head));
        check(upgrade, "HTTP/1.1 101 Switching Protocols\r\n\r\n", Found::Switch);
        check(GET, "HTTP/1.1 101 Switching Protocols\r\n\r\n", Found::Lost);
        let chunked = Place::Body(Body::CHUNKED);
        check(GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Found::Part(47, chunked));
        // Until the end of the connection.
        check(GET, "HTTP/1.0 200 OK\r\n\r\n", Found::Lost);
        check(GET, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Found::Lost);
        check(GET, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Found::Lost);
        check(GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Found::Lost);
        check(GET, "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", Found::Lost);
        check(GET, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", Found::Lost);
        check(GET, "hello\r\n\r\n", Found::Lost);
        // Nothing was asked.
        check(None, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", Found::Lost);
    }

    #[test]
    fn a_chunked_response_ends_after_its_trailers() {
        let place = Place::Body(Body::CHUNKED);
        assert_eq!(find(place, b"0\r\n\r\nHTTP", GET), Found::Part(5, Place::End));
        let data = Place::Body(Body::Chunked(Chunk::Data(65_531)));
        assert_eq!(find(place, b"10000\r\nhello", GET), Found::Part(12, data));
        assert_eq!(find(place, b"x", GET), Found::Lost);
    }
}
