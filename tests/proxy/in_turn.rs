//! Clients that open one connection after another where the capacity is that of one: none is refused for the one before.

use gqos::proxy::ConnectionEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::streams::client_hello;
use super::world::{World, rest, soon};

const CONNECTIONS: usize = 200;

/// Of 20 Mbit/s, one viewer takes more than half.
const ONE_VIEWER: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "20 Mbit/s", reservable = "80%" }
enforcement = "user-space"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "1 MiB" }
[template.sd]
sending = { service_type = "guaranteed", token_rate = "4 Mbit/s", token_bucket_size = "1 MiB" }
"#;

/// Any number of viewers, of which a client has one.
const ONE_OF_A_CLIENT: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "1 Gbit/s" }
enforcement = "user-space"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "1 MiB" }
[client."127.0.0.*"]
max_flows = 1
"#;

/// An origin that answers each connection with this once it has had something, and closes it where it is to.
async fn answer(world: &World, answer: &'static [u8], closes: bool) {
    let mut clients = JoinSet::new();
    loop {
        let (mut client, _) = world.origin.accept().await.unwrap();
        clients.spawn(async move {
            let mut buffer = [0; 4096];
            while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                if client.write_all(answer).await.is_err() || closes {
                    return;
                }
            }
        });
    }
}

/// Opens one connection after another, each once the client has closed the one before.
async fn check(
    name: &str,
    (policy, table): (&str, &str),
    (request, expected): (&[u8], &'static [u8]),
    closes: bool,
) {
    let world = World::of_policy(policy, table).await;
    let viewer = async {
        for number in 0..CONNECTIONS {
            let mut client = TcpStream::connect(world.proxy).await.unwrap();
            client.write_all(request).await.unwrap();
            let mut got = vec![0; expected.len()];
            let read = soon(client.read_exact(&mut got)).await;
            assert!(read.is_ok() && got == expected, "{name}, {number}: {:?}", String::from_utf8_lossy(&got));
            if closes {
                assert_eq!(rest(&mut client).await.unwrap(), b"", "{name}, {number}");
            }
        }
    };
    tokio::select! {
        () = answer(&world, expected, closes) => {}
        () = viewer => {}
    }
    let records = world.records(CONNECTIONS).await;
    for record in &records {
        assert_eq!(
            (record.end, record.rendition.as_deref()),
            (ConnectionEnd::Closed, Some("hd")),
            "{name}: {record:?}"
        );
    }
    world.drain().await;
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const CLOSED: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_not_refused_for_the_one_before() {
    let http = "protocol = \"http\"\ntemplate = \"hd\"";
    check("the origin closes", (ONE_VIEWER, http), (GET, CLOSED), true).await;
    check("the client closes", (ONE_VIEWER, http), (GET, KEPT), false).await;
    let tcp = "protocol = \"tcp\"\ntemplate = \"hd\"";
    check("tcp, the origin closes", (ONE_VIEWER, tcp), (b"x", b"answer"), true).await;
    check("tcp, the client closes", (ONE_VIEWER, tcp), (b"x", b"answer"), false).await;
    let tls = "protocol = \"tls\"\ntemplate = \"hd\"";
    check("tls, the origin closes", (ONE_VIEWER, tls), (&client_hello(), b"answer"), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_the_client_counts_no_connection_that_has_ended() {
    let http = "protocol = \"http\"\ntemplate = \"hd\"";
    check("the origin closes", (ONE_OF_A_CLIENT, http), (GET, CLOSED), true).await;
    check("the client closes", (ONE_OF_A_CLIENT, http), (GET, KEPT), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_connection_gets_the_rendition_of_the_one_before() {
    let http = "protocol = \"http\"\ntemplate = [\"hd\", \"sd\"]";
    check("the client closes", (ONE_VIEWER, http), (GET, KEPT), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_refused_while_another_of_the_client_stands() {
    let world = World::of_policy(ONE_VIEWER, "protocol = \"http\"\ntemplate = \"hd\"").await;
    let _first = world.saying(GET).await;
    let _origin = world.accept().await;
    let mut second = world.saying(GET).await;
    let answer = rest(&mut second).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{:?}", String::from_utf8_lossy(&answer));
}
