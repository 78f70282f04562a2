//! Sockets of the caller's: adopted connections, listeners with options, and a datagram socket with several destinations.

use std::net::SocketAddr;
use std::time::Duration;

use flowspec::{Direction, Rate};
use gqos::connect::{AcceptError, Ask, Host, ListenOptions};
use gqos::lab::{CLIENT_V4, CLIENT_V6, SERVER_V4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::common::{lab, policy};
use super::{POLICY, classes, mbit, reserved, sink, until};

/// What a flow's class has sent, link headers included.
async fn sent(host: &Host, flow: &str) -> u64 {
    let report = host.report().await.unwrap().remove(0);
    report.classes.iter().find(|class| class.flow == flow).map_or(0, |class| class.sent_bytes)
}

/// Waits until a flow's class has sent at least so many bytes.
async fn until_sent(host: &Host, flow: &str, bytes: u64) {
    for _ in 0..3000 {
        if sent(host, flow).await >= bytes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after 30 s: {flow} has not sent {bytes} bytes: {:#?}", host.report().await.unwrap());
}

#[test]
fn an_adopted_connection_reserves_as_one_of_the_host_does() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let of_tokio = host.adopt(TcpStream::connect(peer).await.unwrap()).unwrap();
        let of_std = host.adopt(std::net::TcpStream::connect(peer).unwrap()).unwrap();
        for (id, mut connection) in [("tokio", of_tokio), ("std", of_std)] {
            assert_eq!((connection.peer(), connection.decision()), (peer, None));
            let decision = connection.flow().reserve(&Ask::template("video").id(id)).await.unwrap();
            assert_eq!(decision.charged().sending, Rate::from_mbit(6));
            assert_eq!(connection.flow().rendition().as_deref(), Some("video"));
            connection.write_all(&[0; 100_000]).await.unwrap();
            connection.shutdown().await.unwrap();
            until_sent(&host, id, 100_001).await;
        }
        until(&host, Rate::ZERO, 2).await;
        let udp = UdpSocket::bind((SERVER_V4, 0)).await.unwrap();
        let error = host.adopt(udp).err().unwrap();
        assert!(error.to_string().contains("getpeername"), "{error}");
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_listener_of_the_caller_accepts_and_a_refusal_owns_its_stream() {
    let Some(network) = lab(100) else { return };
    let viewers = network.client.runtime().clone();
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let of_std = std::net::TcpListener::bind((SERVER_V4, 8000)).unwrap();
        let listener = host.listen_on(of_std, Ask::qos(mbit(50))).unwrap();
        let connect = || {
            viewers.spawn(async {
                let mut stream = TcpStream::connect((SERVER_V4, 8000)).await.unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                text
            })
        };
        let first = connect();
        let mut accepted = listener.accept().await.unwrap();
        accepted.write_all(b"admitted").await.unwrap();
        let second = connect();
        let error = listener.accept().await.err().unwrap();
        assert!(error.is_refused() && error.decision().is_some_and(|decision| !decision.is_ok()));
        let AcceptError::Refused { mut stream, .. } = error else { panic!("{error}") };
        stream.write_all(b"refused").await.unwrap();
        drop((stream, accepted));
        assert_eq!((first.await.unwrap(), second.await.unwrap()), ("admitted".into(), "refused".into()));
        until(&host, Rate::ZERO, 2).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn listeners_share_a_port_where_their_options_say_so() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let listen = |options| host.listen_with((SERVER_V4, 8000).into(), Ask::default(), options);
        let alone = listen(ListenOptions::default()).unwrap();
        let second = listen(ListenOptions::default()).err().unwrap();
        assert!(second.to_string().contains("EADDRINUSE"), "{second}");
        drop(alone);
        let shared = ListenOptions { reuse_port: true, backlog: 1, ..ListenOptions::default() };
        let (first, second) = (listen(shared).unwrap(), listen(shared).unwrap());
        assert_eq!(first.local_addr().unwrap(), second.local_addr().unwrap());
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn each_destination_of_a_datagram_socket_has_its_own_class() {
    let Some(network) = lab(100) else { return };
    for (address, any) in
        [(SocketAddr::from((CLIENT_V4, 5000)), "0.0.0.0:0"), (SocketAddr::from((CLIENT_V6, 5000)), "[::]:0")]
    {
        let peer = sink(&network, address);
        let [first, second, third] = [0, 1, 2].map(|port| SocketAddr::new(peer.ip(), 6000 + port));
        let work = async move {
            let host = Host::start(policy(POLICY)).await.unwrap();
            let socket = host.bind_udp(any.parse().unwrap()).await.unwrap();
            let ask = |id: &str| Ask::template("voice").class("viewer").id(id);
            let one = socket.reserve(first, &ask("one")).await.unwrap();
            let two = socket.reserve(second, &ask("two")).await.unwrap();
            let again = socket.reserve(second, &ask("again")).await.err().unwrap();
            assert!(again.to_string().contains("holds a reservation already"), "{again}");
            assert_eq!(
                one.flow().decision().unwrap().enforced().map(|enforced| enforced.sending),
                Some(true)
            );
            for _ in 0..20 {
                one.send(&[0; 100]).await.unwrap();
                two.send(&[0; 200]).await.unwrap();
                socket.send_to(&[0; 50], third).await.unwrap();
                socket.send_to(&[0; 300], second).await.unwrap();
            }
            assert!(one.send(&[0; 400]).await.is_err(), "above max_sdu_size");
            let header: u64 = if any.starts_with('[') { 40 } else { 20 };
            let of = |payload: u64| 20 * (payload + 8 + header + 14);
            // The first packets wait for the neighbour's address.
            for (flow, bytes) in [("one", of(100)), ("two", of(200) + of(300)), ("default", of(50))] {
                until_sent(&host, flow, bytes).await;
            }
            assert_eq!((sent(&host, "one").await, sent(&host, "two").await), (of(100), of(200) + of(300)));
            assert!(sent(&host, "default").await >= of(50), "no reservation: best effort");
            assert_eq!(one.flow().control().stats(Direction::Sending).bytes, 20 * 100);
            drop((one, two));
            until(&host, Rate::ZERO, 2).await;
            let two = socket.reserve(second, &ask("two")).await.unwrap();
            two.flow().release().unwrap();
            until(&host, Rate::ZERO, 2).await;
            assert_eq!(two.send(&[0; 1000]).await.unwrap(), 1000, "best effort has no max_sdu_size");
            host.stop().await;
        };
        network.server.run(work).unwrap();
    }
}

#[test]
fn a_reservation_is_renegotiated_while_it_runs() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let text = format!(
            "{POLICY}\n[template.film]\nsending = {{ service_type = \"guaranteed\", token_rate = \"70 Mbit/s\" }}\n"
        );
        let host = Host::start(policy(&text)).await.unwrap();
        let tcp = host.connector().connect(peer, &Ask::template("video").id("tcp")).await.unwrap();
        let udp = host.connector().connect_udp(peer, &Ask::template("voice").id("udp")).await.unwrap();
        let rate = |megabits| Rate::from_mbit(megabits);
        // The other flow leaves 79 Mbit/s.
        let larger = tcp.flow().renegotiate(&Ask::template("film")).await.unwrap();
        assert_eq!((larger.charged().sending, reserved(&host).await), (rate(70), rate(71)));
        assert_eq!(tcp.flow().rendition().as_deref(), Some("film"));
        let plan = tcp.flow().control().plan(Direction::Sending).unwrap();
        assert_eq!(plan.sustained.rate, rate(70), "the socket follows");
        // Of a ladder, the first that fits; the request for the flow's own id changes nothing of it.
        let ladder = Ask::first_of(["film", "video"]).id("other");
        let decision = udp.flow().renegotiate(&ladder).await.unwrap();
        assert_eq!((decision.id(), udp.flow().rendition().as_deref()), (Some("udp"), Some("video")));
        // A refusal keeps what is reserved.
        let error = udp.flow().renegotiate(&Ask::qos(mbit(11))).await.err().unwrap();
        assert!(error.is_refused(), "{error}");
        let unknown = udp.flow().renegotiate(&Ask::template("absent")).await.err().unwrap();
        assert!(unknown.is_refused() && unknown.to_string().contains("absent"), "{unknown}");
        assert_eq!(reserved(&host).await, rate(76));
        udp.flow().renegotiate(&Ask::qos(mbit(10))).await.unwrap();
        assert_eq!((reserved(&host).await, udp.flow().rendition()), (rate(80), None));
        udp.release().unwrap();
        let released = udp.flow().renegotiate(&Ask::template("voice")).await.err().unwrap();
        assert_eq!(released.to_string(), "the flow holds no reservation");
        drop(tcp);
        until(&host, Rate::ZERO, 2).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn soft_state_lasts_as_long_as_it_is_refreshed_and_a_booking_until_its_end() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let connector = host.connector();
        // A refresh comes after half of it, however late a busy machine wakes this task.
        let life = Duration::from_secs(2);
        let soft = connector.connect(peer, &Ask::template("video").time_to_live(life)).await.unwrap();
        for _ in 0..4 {
            tokio::time::sleep(life / 2).await;
            soft.flow().refresh(life).await.unwrap();
        }
        assert_eq!(soft.flow().lost(), None);
        let lost = tokio::time::timeout(life * 10, soft.flow().until_lost()).await.expect("it expires");
        assert_eq!(lost.why, gqos::connect::Loss::Expired);
        assert!(soft.flow().refresh(life).await.is_err());
        let end = std::time::Instant::now() + life;
        let booked = connector.connect_udp(peer, &Ask::template("voice").ending_at(end)).await.unwrap();
        let lost = tokio::time::timeout(life * 10, booked.until_lost()).await.expect("its time is over");
        assert_eq!(lost.why, gqos::connect::Loss::Expired);
        assert_eq!(reserved(&host).await, Rate::ZERO);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_request_states_its_own_priorities() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let host = Host::start(policy(&format!("preemption = true\n{POLICY}"))).await.unwrap();
        let connect = |ask: Ask| {
            let connector = host.connector();
            async move { connector.connect(peer, &ask).await }
        };
        let low = connect(Ask::qos(mbit(50)).setup_priority(6).holding_priority(6)).await.unwrap();
        let same = connect(Ask::qos(mbit(50)).setup_priority(6)).await.err().unwrap();
        assert!(same.is_refused(), "{same}");
        let reversed = connect(Ask::qos(mbit(5)).setup_priority(1).holding_priority(2)).await.err().unwrap();
        assert!(reversed.is_refused(), "{reversed}");
        let high = connect(Ask::qos(mbit(50)).setup_priority(2).holding_priority(2)).await.unwrap();
        let lost = low.flow().until_lost().await;
        assert_eq!(high.flow().decision().unwrap().preempted(), [lost.id]);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_reservation_that_was_made_ahead_has_its_class_from_its_start() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let start = std::time::Instant::now() + Duration::from_secs(3);
        let ahead = Ask::qos(mbit(60)).starting_at(start).id("ahead");
        let mut ahead = host.connector().connect(peer, &ahead).await.unwrap();
        // Before its start it is best effort, and what it reserves is free until then.
        assert_eq!((classes(&host).await, reserved(&host).await), (2, Rate::ZERO));
        assert_eq!(ahead.flow().control().plan(Direction::Sending), None);
        let ask = Ask::qos(mbit(40));
        let refused = host.connector().connect(peer, &ask).await.err().unwrap();
        assert!(refused.is_refused(), "it would meet the reservation ahead: {refused}");
        let before = host.connector().connect(peer, &ask.ending_at(start)).await.unwrap();
        until(&host, Rate::from_mbit(60), 3).await;
        assert_eq!(before.flow().lost().map(|lost| lost.why), Some(gqos::connect::Loss::Expired));
        let plan = ahead.flow().control().plan(Direction::Sending).unwrap();
        assert_eq!(plan.sustained.rate, Rate::from_mbit(60));
        ahead.write_all(&[0; 100_000]).await.unwrap();
        until_sent(&host, "ahead", 100_001).await;
        // One that is dropped before its start leaves nothing to begin.
        let later = std::time::Instant::now() + Duration::from_millis(200);
        let voice = Ask::template("voice").starting_at(later);
        drop(host.connector().connect_udp(peer, &voice).await.unwrap());
        tokio::time::sleep(Duration::from_millis(400)).await;
        drop(ahead);
        until(&host, Rate::ZERO, 2).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
}
