//! Datagrams: a session for each client.

use gqos::proxy::ConnectionEnd;
use tokio::net::UdpSocket;

use super::world::{World, soon};

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
