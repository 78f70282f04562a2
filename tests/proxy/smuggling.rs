//! Requests that servers read in different ways, as the first of a connection and behind another one: what the origin gets
//! of each.

use gqos::proxy::ConnectionEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{World, rest, soon};

/// What becomes of a request.
enum Fate {
    /// It is answered with this status, and the origin gets nothing of it.
    Refused(u16),
    /// The origin gets these bytes, and the bytes of one that is refused behind it are not among them.
    Passed(&'static str),
}

use Fate::{Passed, Refused};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// The headers of a POST to `a`, and what follows them.
const TABLE: &[(&str, &str, Fate)] = &[
    ("CL.TE", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", Refused(400)),
    ("two lengths that differ", "Content-Length: 0\r\nContent-Length: 33\r\n\r\n", Refused(400)),
    ("two lengths that agree", "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", Refused(400)),
    ("a list of lengths", "Content-Length: 0, 0\r\n\r\n", Refused(400)),
    ("a signed length", "Content-Length: +0\r\n\r\n", Refused(400)),
    ("a negative length", "Content-Length: -1\r\n\r\n", Refused(400)),
    ("a length in hexadecimal", "Content-Length: 0x0\r\n\r\n", Refused(400)),
    ("an empty length", "Content-Length: \r\n\r\n", Refused(400)),
    ("a length beyond 64 bits", "Content-Length: 18446744073709551616\r\n\r\n", Refused(400)),
    ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refused(400)),
    ("identity, chunked", "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    (
        "chunked twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    ),
    ("chunked in one list", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("a quoted coding", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused(400)),
    ("a vertical tab in the coding", "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("a space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("a tab before the colon", "Content-Length\t: 33\r\n\r\n", Refused(400)),
    ("obs-fold", "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("obs-fold by a tab", "X: y\r\n\tContent-Length: 33\r\n\r\n", Refused(400)),
    ("a first header that is folded", " X: y\r\n\r\n", Refused(400)),
    ("a bare LF after a header", "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("a bare LF as the end of the head", "X: y\r\n\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a bare CR", "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("a NUL", "X: y\0\r\n\r\n", Refused(400)),
    ("a header without a colon", "Transfer-Encoding chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("a header without a name", ": y\r\n\r\n", Refused(400)),
    ("a second host", "Host: b\r\n\r\n", Refused(400)),
    (
        "trailing bytes after a chunk",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        Passed("1\r\na"),
    ),
    ("a chunk whose size ends in LF", "Transfer-Encoding: chunked\r\n\r\n1\nb\r\n0\r\n\r\n", Passed("")),
    ("a chunk size with a sign", "Transfer-Encoding: chunked\r\n\r\n+1\r\nb\r\n0\r\n\r\n", Passed("")),
    ("a chunk size with a prefix", "Transfer-Encoding: chunked\r\n\r\n0x1\r\nb\r\n0\r\n\r\n", Passed("")),
    ("a chunk size with a space", "Transfer-Encoding: chunked\r\n\r\n1 \r\nb\r\n0\r\n\r\n", Passed("")),
    ("a chunk size beyond 64 bits", "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\nb", Passed("")),
    ("a LF in an extension", "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nb\r\n0\r\n\r\n", Passed("")),
    ("a CR in an extension", "Transfer-Encoding: chunked\r\n\r\n1;a\rb\r\nb\r\n0\r\n\r\n", Passed("")),
    ("a folded trailer", "Transfer-Encoding: chunked\r\n\r\n0\r\n X: y\r\n\r\n", Passed("")),
    (
        "an extension",
        "Transfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\nb\r\n0\r\n\r\n",
        Passed("1;a=\"b\"\r\nb\r\n0\r\n\r\n"),
    ),
    ("trailers", "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", Passed("0\r\nX: y\r\n\r\n")),
    ("an upper-case coding", "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", Passed("0\r\n\r\n")),
    ("a length with zeros", "Content-Length: 0003\r\n\r\nabc", Passed("abc")),
];

/// Request lines and headers that are not a POST to `a`.
const STARTS: &[(&str, &str, Fate)] = &[
    ("absolute form", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Passed("")),
    ("absolute form of another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("absolute form of another scheme", "GET file:///etc HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("absolute form with a user", "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", Refused(400)),
    ("authority form", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", Refused(400)),
    ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("words after the version", "GET / HTTP/1.1 X\r\nHost: a\r\n\r\n", Refused(400)),
    ("no version", "GET /\r\nHost: a\r\n\r\n", Refused(400)),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused(505)),
    ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused(505)),
    ("chunked by HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused(400)),
    ("no host", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
    ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Refused(400)),
    ("a fragment", "GET /a.bin#.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
    ("an encoded NUL", "GET /a.bin%00.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
];

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

/// Sends `before`, the request and a hidden one behind it; both are seen by the origin only where the request's end is clear.
async fn check(before: &str, (name, start, rest_of, fate): (&str, &str, &str, &Fate)) {
    let world = World::new("protocol = \"http\"").await;
    let request = format!("{start}{rest_of}");
    let mut client = world.saying(format!("{before}{request}{HIDDEN}")).await;
    client.shutdown().await.unwrap();
    let see = async || {
        let mut origin = world.accept().await;
        let mut seen = vec![0; before.len()];
        origin.read_exact(&mut seen).await.unwrap();
        // What is not passed on is answered once this is.
        origin.write_all(if before.is_empty() { b"" } else { OK }).await.unwrap();
        seen.extend(rest(&mut origin).await.unwrap());
        String::from_utf8_lossy(&seen).into_owned()
    };
    let answered = async |client: &mut TcpStream| {
        let answer = String::from_utf8_lossy(&rest(client).await.unwrap()).into_owned();
        let ours = answer.strip_prefix(std::str::from_utf8(OK).unwrap()).unwrap_or(&answer);
        ours.get(9..12).and_then(|status| status.parse::<u16>().ok())
    };
    match fate {
        Refused(status) if before.is_empty() => {
            assert_eq!(answered(&mut client).await, Some(*status), "{name}");
        }
        Refused(status) => {
            let (seen, answer) = tokio::join!(soon(see()), answered(&mut client));
            assert_eq!((seen.as_str(), answer), (before, Some(*status)), "{name}");
        }
        Passed(body) => {
            let seen = soon(see()).await;
            let (head, after) = request.split_once("\r\n\r\n").unwrap();
            let whole = *body == after;
            let expected = format!(
                "{before}{head}\r\n\r\n{}",
                if whole { format!("{body}{HIDDEN}") } else { (*body).to_owned() }
            );
            assert!(expected.starts_with(&seen) && (!whole || seen == expected), "{name}: {seen:?}");
            // Of a body that cannot be read, nothing beyond its last clear byte has passed.
            assert!(seen.starts_with(&format!("{before}{head}\r\n\r\n")), "{name}: {seen:?}");
        }
    }
    let clear = matches!(fate, Passed(body) if request.split_once("\r\n\r\n").unwrap().1 == *body);
    let record = world.records(1).await.remove(0);
    assert_eq!(record.end == ConnectionEnd::BadRequest, !clear, "{name}: {record}");
    assert_eq!(record.reason.is_some(), !clear, "{name}: {record}");
    drop(client);
    world.drain().await;
}

#[tokio::test]
async fn every_request_of_the_table_is_read_in_one_way_or_not_at_all() {
    // A refusal behind another request is known after a second without an answer: all rows at once.
    let mut rows = Vec::new();
    for before in ["", "POST /before HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nok"] {
        let table = TABLE.iter().map(|(name, rest_of, fate)| (*name, POST, *rest_of, fate));
        let starts = STARTS.iter().map(|(name, start, fate)| (*name, *start, "", fate));
        rows.extend(table.chain(starts).map(|row| check(before, row)));
    }
    futures_util::future::join_all(rows).await;
}

const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";

const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn after_an_upgrade_that_the_origin_accepts_the_connection_is_a_tunnel() {
    let world = World::new("protocol = \"http\"").await;
    // What comes behind it is no request: it would be refused as one.
    let tunnelled = "\x01\x02 nonsense\n\n";
    let mut client = world.saying(format!("{UPGRADE}{tunnelled}")).await;
    client.shutdown().await.unwrap();
    let mut origin = world.accept().await;
    let mut proposal = vec![0; UPGRADE.len()];
    soon(origin.read_exact(&mut proposal)).await.unwrap();
    assert_eq!(proposal, UPGRADE.as_bytes());
    // In parts, of which none says what the status is.
    for part in [&SWITCHED[..4], &SWITCHED[4..11], &SWITCHED[11..]] {
        origin.write_all(part).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
    assert_eq!(rest(&mut origin).await.unwrap(), tunnelled.as_bytes());
    drop(origin);
    assert_eq!(rest(&mut client).await.unwrap(), SWITCHED);
    assert_eq!(world.records(1).await[0].requests, 1);
    world.drain().await;
}

/// The origin stays with HTTP: what follows is read as any request is.
#[tokio::test]
async fn after_an_upgrade_that_the_origin_ignores_requests_are_read_as_before() {
    let next = "GET /2 HTTP/1.1\r\nHost: a\r\nX-Gqos-Rendition: forged\r\n\r\n";
    let smuggled = "POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let world = World::new("protocol = \"http\"").await;
    let mut client = world.saying(format!("{UPGRADE}{next}{smuggled}")).await;
    let mut origin = world.accept().await;
    let mut seen = vec![0; UPGRADE.len()];
    soon(origin.read_exact(&mut seen)).await.unwrap();
    origin.write_all(OK).await.unwrap();
    let passed = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut seen = vec![0; passed.len()];
    soon(origin.read_exact(&mut seen)).await.unwrap();
    assert_eq!(seen, passed.as_bytes());
    origin.write_all(OK).await.unwrap();
    assert_eq!(rest(&mut origin).await.unwrap(), b"");
    let answers = rest(&mut client).await.unwrap();
    let refusal = answers.strip_prefix(&*[OK, OK].concat()).unwrap();
    assert!(refusal.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answers));
    let record = world.records(1).await.remove(0);
    assert_eq!((record.requests, record.reason.as_deref()), (2, Some("ambiguous_head")), "{record}");
    world.drain().await;
}

/// Its own answer counts, and not that to a request before it.
#[tokio::test]
async fn a_later_request_may_propose_another_protocol() {
    for (answers, is_tunnel) in [([OK, SWITCHED], true), ([OK, OK], false)] {
        let world = World::new("protocol = \"http\"").await;
        let first = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = world.saying(format!("{first}{UPGRADE}{HIDDEN}")).await;
        client.shutdown().await.unwrap();
        let mut origin = world.accept().await;
        let mut seen = vec![0; first.len() + UPGRADE.len()];
        soon(origin.read_exact(&mut seen)).await.unwrap();
        assert_eq!(seen, format!("{first}{UPGRADE}").as_bytes());
        for answer in answers {
            origin.write_all(answer).await.unwrap();
        }
        assert_eq!(rest(&mut origin).await.unwrap(), HIDDEN.as_bytes());
        drop((client, origin));
        assert_eq!(world.records(1).await[0].requests, if is_tunnel { 2 } else { 3 });
        world.drain().await;
    }
}

/// Before the origin has answered, the answer is clear; an interim response is none.
#[tokio::test]
async fn a_bad_chunk_of_the_only_request_is_answered() {
    const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let world = World::new("protocol = \"http\"").await;
    let mut client = world.saying(format!("{POST}Transfer-Encoding: chunked\r\n\r\n")).await;
    let mut origin = world.accept().await;
    origin.write_all(INTERIM).await.unwrap();
    let mut seen = [0; INTERIM.len()];
    soon(client.read_exact(&mut seen)).await.unwrap();
    client.write_all(b"3\nabc\n0\n\n").await.unwrap();
    let answer = String::from_utf8_lossy(&rest(&mut client).await.unwrap()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    drop(origin);
    let mut client = world.saying(format!("{POST}Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n")).await;
    let mut origin = world.accept().await;
    rest(&mut origin).await.unwrap();
    let answer = String::from_utf8_lossy(&rest(&mut client).await.unwrap()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    world.drain().await;
}
