//! Streams that are passed on: every byte in order, ends and resets as they came.

use std::io::ErrorKind;

use gqos::proxy::ConnectionEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{World, pattern, rest, soon};

#[tokio::test]
async fn every_byte_passes_and_the_end_of_one_direction_leaves_the_other_open() {
    let world = World::new("template = \"hd\"").await;
    let (sent, answer) = (pattern(700_000), pattern(900_000));
    let mut client = world.client().await;
    let mut origin = world.accept().await;
    let (mut read, mut write) = client.split();
    let upload = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    // The origin answers once it has everything: the other direction is open still.
    let serve = async {
        let received = rest(&mut origin).await.unwrap();
        assert_eq!(received.len(), sent.len());
        assert!(received == sent, "bytes were changed on the way to the origin");
        origin.write_all(&answer).await.unwrap();
        origin.shutdown().await.unwrap();
    };
    let download = async {
        let mut received = Vec::new();
        soon(read.read_to_end(&mut received)).await.unwrap();
        assert_eq!(received.len(), answer.len());
        assert!(received == answer, "bytes were changed on the way to the client");
    };
    tokio::join!(upload, serve, download);
    let record = &world.records(1).await[0];
    assert_eq!(
        (record.end, record.sent_bytes, record.received_bytes),
        (ConnectionEnd::Closed, 900_000, 700_000)
    );
    assert_eq!((record.rendition.as_deref(), record.requests), (Some("hd"), 0));
    world.drain().await;
}

#[tokio::test]
async fn a_ladder_gets_the_rendition_that_fits_and_then_a_refusal_closes_or_resets() {
    for (refuse, is_reset) in [("close", false), ("reset", true)] {
        let world = World::new(&format!("template = [\"hd\", \"sd\"]\nrefuse = \"{refuse}\"")).await;
        let first = world.client().await;
        let origin_first = world.accept().await;
        let second = world.client().await;
        let origin_second = world.accept().await;
        let mut third = world.client().await;
        match third.read(&mut [0; 1]).await {
            Ok(0) => assert!(!is_reset),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => assert!(is_reset),
            other => panic!("{other:?}"),
        }
        drop(third);
        let refused = world.records(1).await.remove(0);
        assert_eq!(
            (refused.end, refused.reason.as_deref()),
            (ConnectionEnd::Refused, Some("interface_budget"))
        );
        drop((first, origin_first, second, origin_second));
        let mut renditions: Vec<_> =
            world.records(3).await.into_iter().filter_map(|record| record.rendition).collect();
        renditions.sort();
        assert_eq!(renditions, ["hd", "sd"]);
        world.drain().await;
    }
}

#[tokio::test]
async fn a_reset_of_either_side_is_passed_on_as_one() {
    let world = World::new("template = \"sd\"").await;
    // The origin sends a part of what it owes and fails: the client must not take that for the whole.
    let mut client = world.client().await;
    let mut origin = world.accept().await;
    origin.write_all(&pattern(100_000)).await.unwrap();
    let mut received = vec![0; 100_000];
    soon(client.read_exact(&mut received)).await.unwrap();
    assert!(received == pattern(100_000));
    origin.set_zero_linger().unwrap();
    drop(origin);
    assert_eq!(rest(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.records(1).await[0].end, ConnectionEnd::OriginFailed);
    let client = world.client().await;
    let mut origin = world.accept().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(rest(&mut origin).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.records(2).await[1].end, ConnectionEnd::ClientFailed);
    world.drain().await;
}

#[tokio::test]
async fn an_origin_that_takes_no_more_still_answers() {
    let world = World::new("template = \"sd\"").await;
    let mut client = world.saying(b"a request").await;
    let mut origin = world.accept().await;
    // It closes with unread data, which resets its side once the answer is sent.
    origin.write_all(b"the whole answer").await.unwrap();
    let mut request = [0; 4];
    soon(origin.read_exact(&mut request)).await.unwrap();
    drop(origin);
    let mut answer = vec![0; 16];
    soon(client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"the whole answer");
    drop(client);
    world.drain().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_reset_until_others_end() {
    let world = World::new("template = \"free\"\nlimits = { connections = 2 }").await;
    let (first, first_origin) = (world.client().await, world.accept().await);
    let (second, second_origin) = (world.client().await, world.accept().await);
    let mut third = world.client().await;
    assert!(soon(third.read(&mut [0; 1])).await.is_err());
    assert_eq!(world.records(1).await[0].end, ConnectionEnd::TooManyConnections);
    drop((first, first_origin));
    world.records(2).await;
    let (fourth, fourth_origin) = (world.client().await, world.accept().await);
    drop((second, second_origin, fourth, fourth_origin));
    world.drain().await;
}

#[tokio::test]
async fn an_idle_connection_ends_and_an_origin_that_is_gone_resets() {
    let world = World::new("template = \"free\"\nlimits = { idle = \"50 ms\" }").await;
    let mut client = world.client().await;
    let _origin = world.accept().await;
    assert!(rest(&mut client).await.is_err());
    assert_eq!(world.records(1).await[0].end, ConnectionEnd::Idle);
    world.drain().await;
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        other.local_addr().unwrap().to_string()
    };
    let world = World::with_origin("template = \"hd\"", origin, &closed).await;
    let mut client = world.client().await;
    assert!(rest(&mut client).await.is_err());
    assert_eq!(world.records(1).await[0].end, ConnectionEnd::OriginUnreachable);
    // What was reserved for it is free again.
    let mut client = world.client().await;
    assert!(rest(&mut client).await.is_err());
    assert_eq!(world.records(2).await[1].end, ConnectionEnd::OriginUnreachable);
    world.drain().await;
}

#[tokio::test]
async fn proxy_headers_are_believed_from_load_balancers_alone() {
    const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 80\r\n";
    let table = "template = \"free\"\nproxy_protocol = { accept = \"127.0.0.1\", send = \"v2\" }\n\
                 [[proxy.p.rule]]\nmatch = { peer = \"192.0.2.0/24\", port = 80 }\ntemplate = \"sd\"";
    let world = World::new(table).await;
    let client = world.saying([V1, b"hello"].concat()).await;
    let mut origin = world.accept().await;
    let mut header = vec![0; 33];
    soon(origin.read_exact(&mut header)).await.unwrap();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x0f\xa0\x00\x50";
    assert_eq!(header, [&v2[..], b"hello"].concat());
    drop((client, origin));
    let record = world.records(1).await.remove(0);
    assert_eq!(record.client, Some("192.0.2.1:4000".parse().unwrap()));
    assert_eq!(record.rendition.as_deref(), Some("sd"));
    // A balancer has to send one.
    let mut client = world.saying(b"hello").await;
    assert!(rest(&mut client).await.is_err());
    assert_eq!(world.records(2).await[1].end, ConnectionEnd::BadRequest);
    world.drain().await;
    // Others may not: their bytes are data.
    let world =
        World::new("template = \"free\"\nproxy_protocol = { accept = \"10.0.0.0/8\", send = \"v1\" }").await;
    let client = world.saying(V1).await;
    let own = client.local_addr().unwrap();
    let mut origin = world.accept().await;
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), world.proxy.port());
    let mut received = vec![0; expected.len() + V1.len()];
    soon(origin.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, [expected.as_bytes(), V1].concat());
    drop((client, origin));
    world.drain().await;
}

/// A ClientHello for `a.example`, in two records.
pub(crate) fn client_hello() -> Vec<u8> {
    let name = b"a.example";
    let mut extension = vec![0, 0, 0, 14, 0, 12, 0, 0, 9];
    extension.extend_from_slice(name);
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 1, 1, 0, 0, u8::try_from(extension.len()).unwrap()]);
    body.extend_from_slice(&extension);
    let mut message = vec![1, 0, 0, u8::try_from(body.len()).unwrap()];
    message.extend_from_slice(&body);
    let (first, second) = message.split_at(40);
    let record = |part: &[u8]| [&[22, 3, 1, 0, u8::try_from(part.len()).unwrap()][..], part].concat();
    [record(first), record(second)].concat()
}

#[tokio::test]
async fn tls_passes_unchanged_and_its_server_name_chooses_the_template() {
    let table = "protocol = \"tls\"\ntemplate = \"hd\"\nlimits = { first_byte = \"100 ms\" }\n\
                 [[proxy.p.rule]]\nmatch = { sni = \"*.example\" }\ntemplate = \"sd\"";
    let world = World::new(table).await;
    let hello = client_hello();
    let mut client = world.saying(&hello[..20]).await;
    client.write_all(&hello[20..]).await.unwrap();
    client.write_all(b"more").await.unwrap();
    let mut origin = world.accept().await;
    let mut received = vec![0; hello.len() + 4];
    soon(origin.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, [&hello[..], b"more"].concat());
    drop((client, origin));
    let record = world.records(1).await.remove(0);
    assert_eq!((record.sni.as_deref(), record.rendition.as_deref()), (Some("a.example"), Some("sd")));
    // HTTP on a port of TLS, and silence.
    let mut client = world.saying(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(rest(&mut client).await.is_err());
    let mut silent = world.client().await;
    assert!(rest(&mut silent).await.is_err());
    let ends: Vec<_> = world.records(3).await.iter().map(|record| record.end).collect();
    assert_eq!(ends, [ConnectionEnd::Closed, ConnectionEnd::BadRequest, ConnectionEnd::TimedOut]);
    world.drain().await;
}

#[tokio::test]
async fn a_refused_rtsp_client_gets_453() {
    let world = World::new(
        "protocol = \"rtsp\"\n[[proxy.p.rule]]\nmatch = { path = \"/live/*\" }\ntemplate = \"hd\"",
    )
    .await;
    let request = b"OPTIONS rtsp://cam/live/1 RTSP/1.0\r\nCSeq: 7\r\n\r\n";
    let first = world.saying(request).await;
    let mut origin = world.accept().await;
    let mut received = vec![0; request.len()];
    soon(origin.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, request);
    let mut second = world.saying(request).await;
    let answer = String::from_utf8(rest(&mut second).await.unwrap()).unwrap();
    assert!(
        answer.starts_with("RTSP/1.0 453 Not Enough Bandwidth\r\nCSeq: 7\r\nRetry-After: 5\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\"reason\":\"interface_budget\""), "{answer}");
    drop((first, origin));
    world.drain().await;
}

#[tokio::test]
async fn a_draining_proxy_finishes_what_it_has_begun() {
    let world = World::new("template = \"hd\"").await;
    let address = world.proxy;
    let mut client = world.client().await;
    let mut origin = world.accept().await;
    origin.write_all(b"half").await.unwrap();
    let mut part = [0; 4];
    soon(client.read_exact(&mut part)).await.unwrap();
    let finish = async {
        // The listener is closed once the server drains.
        soon(async {
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        origin.write_all(b" and the rest").await.unwrap();
        drop(origin);
        assert_eq!(rest(&mut client).await.unwrap(), b" and the rest");
        drop(client);
    };
    let (records, ()) = tokio::join!(world.drain(), finish);
    assert!(
        records.iter().any(|record| record.end == ConnectionEnd::Closed && record.sent_bytes == 17),
        "{records:?}"
    );
}
