//! Datagrams: a session for each client.

use gqos::proxy::ConnectionEnd;
use tokio::net::UdpSocket;

use super::world::{POLICY, World, soon};

/// A client of the proxy, and what it has sent.
async fn client(world: &World, text: &[u8]) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(world.proxy).await.unwrap();
    client.send(text).await.unwrap();
    client
}

async fn received(socket: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buffer = vec![0; 2048];
    let (length, from) = soon(socket.recv_from(&mut buffer)).await.unwrap();
    buffer.truncate(length);
    (buffer, from)
}

async fn world(table: &str) -> (World, UdpSocket) {
    let origin = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = origin.local_addr().unwrap().to_string();
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (World::with_origin(&format!("protocol = \"udp\"\n{table}"), unused, &to).await, origin)
}

#[tokio::test]
async fn each_client_has_a_session_with_a_reservation_and_a_refused_client_gets_no_answer() {
    let table =
        "template = [\"hd\", \"sd\"]\nretry_after = \"1 h\"\nlimits = { idle = \"1 h\", drain = \"0 s\" }";
    let (world, origin) = world(table).await;
    let first = client(&world, b"one").await;
    let (text, session_one) = received(&origin).await;
    assert_eq!(text, b"one");
    let second = client(&world, b"two").await;
    let (text, session_two) = received(&origin).await;
    assert_eq!(text, b"two");
    assert_ne!(session_one, session_two);
    for (session, client, text) in [(session_two, &second, &b"to the second"[..]), (session_one, &first, b"")]
    {
        origin.send_to(text, session).await.unwrap();
        assert_eq!(received(client).await, (text.to_vec(), world.proxy));
    }
    let third = client(&world, b"three").await;
    let refused = world.records(1).await.remove(0);
    assert_eq!((refused.end, refused.reason.as_deref()), (ConnectionEnd::Refused, Some("interface_budget")));
    assert_eq!(refused.peer, third.local_addr().unwrap());
    // Neither its first datagram nor the next ones reach the origin.
    third.send(b"again").await.unwrap();
    first.send(b"last").await.unwrap();
    assert_eq!(received(&origin).await, (b"last".to_vec(), session_one));
    let mut records = world.drain().await;
    records.sort_by_key(|record| record.received_bytes);
    let renditions: Vec<_> = records.iter().map(|record| record.rendition.as_deref()).collect();
    assert_eq!(renditions, [None, Some("sd"), Some("hd")], "{records:?}");
    assert_eq!(records[1].sent_bytes, 13);
}

#[tokio::test]
async fn an_idle_session_ends_and_a_client_that_comes_back_has_a_new_one() {
    let (world, origin) = world("template = \"hd\"\nlimits = { idle = \"50 ms\", connections = 1 }").await;
    let first = client(&world, b"one").await;
    let (_, before) = received(&origin).await;
    let record = world.records(1).await.remove(0);
    assert_eq!((record.end, record.rendition.as_deref()), (ConnectionEnd::Idle, Some("hd")));
    let after = loop {
        // The session that has ended may still be known.
        first.send(b"again").await.unwrap();
        let mut buffer = [0; 16];
        let answered =
            tokio::time::timeout(std::time::Duration::from_millis(200), origin.recv_from(&mut buffer));
        if let Ok(answered) = answered.await {
            break answered.unwrap().1;
        }
    };
    assert_ne!(before, after);
    world.drain().await;
}

/// A burst within the bucket is passed on whole; what is beyond the bucket is counted, and so is what cannot conform.
#[tokio::test]
async fn a_burst_within_the_bucket_is_not_lost_and_what_is_lost_is_counted() {
    let (world, origin) = world("template = \"hd\"\nlimits = { idle = \"1 s\" }").await;
    let client = client(&world, b"first").await;
    let (_, session) = received(&origin).await;
    client.send(b"second").await.unwrap();
    received(&origin).await;
    // The bucket has 1 MiB.
    let datagram = [7; 1316];
    for _ in 0..700 {
        origin.send_to(&datagram, session).await.unwrap();
    }
    for number in 0..700 {
        assert_eq!(received(&client).await.0.len(), datagram.len(), "{number}");
    }
    // Faster than the rate, and more than waits.
    let mut sent: u64 = 700;
    for _ in 0..4000 {
        origin.send_to(&datagram, session).await.unwrap();
        sent += 1;
    }
    let record = world.records(1).await.remove(0);
    assert_eq!((record.end, record.received_bytes), (ConnectionEnd::Idle, 11), "{record}");
    let passed = record.sent_bytes / u64::try_from(datagram.len()).unwrap();
    assert!(record.lost_datagrams > 0 && record.waits > 0, "{record}");
    assert_eq!(passed + record.lost_datagrams, sent, "{record}");
    assert!(record.to_string().contains(&format!("; {} datagrams lost", record.lost_datagrams)), "{record}");
    world.drain().await;
}

#[tokio::test]
async fn a_datagram_above_max_sdu_size_is_counted() {
    let policy = format!(
        "{POLICY}[template.small]\nsending = {{ service_type = \"guaranteed\", token_rate = \"1 Mbit/s\", \
         token_bucket_size = \"10 kB\", max_sdu_size = \"1000 B\" }}\n"
    );
    let origin = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = origin.local_addr().unwrap().to_string();
    let world = World::of_origin(
        &policy,
        "protocol = \"udp\"\ntemplate = \"small\"\nlimits = { idle = \"1 s\" }",
        &to,
    )
    .await;
    let client = client(&world, b"first").await;
    let (_, session) = received(&origin).await;
    for length in [1200, 900] {
        origin.send_to(&vec![1; length], session).await.unwrap();
    }
    assert_eq!(received(&client).await.0.len(), 900);
    let record = world.records(1).await.remove(0);
    assert_eq!(
        (record.too_large_datagrams, record.lost_datagrams, record.sent_bytes),
        (1, 0, 900),
        "{record}"
    );
    assert!(!record.lacking.is_empty(), "user space alone: {record}");
    world.drain().await;
}
