//! Connections on a host: their classes, their refusals, and when their reservations end.

use std::net::SocketAddr;
use std::time::Duration;

use flowspec::{Bytes, Flowspec, Qos, Rate, Wsa};
use gqos::admission::Reason;
use gqos::connect::{AcceptError, Ask, ConnectError, Host};
use gqos::lab::{CLIENT_V4, CLIENT_V6};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::common::{inside, lab, lab_with, policy};
use super::{POLICY, classes, mbit, reserved, sink, until};

#[test]
fn a_connection_has_a_class_until_it_ends() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    for address in [SocketAddr::from((CLIENT_V4, 5000)), SocketAddr::from((CLIENT_V6, 5000))] {
        let peer = sink(&network, address);
        let (show, shown) = std::sync::mpsc::channel::<()>();
        let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
        let task = network.server.runtime().spawn(async move {
            let host = Host::start(policy(POLICY)).await.unwrap();
            let ask = Ask::template("video").class("viewer").id("v1");
            let mut connection = host.connector().connect(peer, &ask).await.unwrap();
            let decision = connection.decision().unwrap();
            assert_eq!(decision.charged().sending, Rate::from_mbit(6));
            assert_eq!(decision.enforced().cloned().unwrap().class.unwrap().to_string(), "6771:100 dev eth0");
            connection.write_all(&vec![0; 300_000]).await.unwrap();
            let report = &host.report().await.unwrap()[0];
            assert_eq!(report.status.totals.sending.reserved, Rate::from_mbit(6));
            show.send(()).unwrap();
            wait.await.unwrap();
            drop(connection);
            until(&host, Rate::ZERO, 2).await;
            assert_eq!(classes(&host).await, 2, "the link and the default remain");
            host.stop().await;
        });
        shown.recv().unwrap();
        let shown = inside(&network.server, &["tc", "-s", "class", "show", "dev", "eth0"]);
        assert!(shown.contains("class htb 6771:100 parent 6771:1"), "{shown}");
        go_on.send(()).unwrap();
        network.server.run(async { task.await.unwrap() }).unwrap();
        let after = inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0"]);
        assert!(after.contains("noqueue"), "the kernel's default is back: {after}");
    }
}

#[test]
fn every_packet_of_tcp_and_udp_over_both_ip_versions_is_in_its_class() {
    let Some(network) = lab(100) else { return };
    for version in [SocketAddr::from((CLIENT_V4, 5000)), SocketAddr::from((CLIENT_V6, 5000))] {
        let peer = sink(&network, version);
        let header = if version.is_ipv6() { 40 } else { 20 };
        let of_udp = 20 * (200 + 8 + header + 14);
        let work = async move {
            let host = Host::start(policy(POLICY)).await.unwrap();
            let mut tcp = host.connector().connect(peer, &Ask::template("video").id("tcp")).await.unwrap();
            tcp.write_all(&vec![0; 100_000]).await.unwrap();
            let udp = host.connector().connect_udp(peer, &Ask::template("voice").id("udp")).await.unwrap();
            for _ in 0..20 {
                udp.send(&[0; 200]).await.unwrap();
            }
            assert!(udp.send(&[0; 400]).await.is_err(), "above max_sdu_size");
            // The first packets wait for the neighbour's address, those of TCP for what their peer acknowledges.
            let mut left = 3000;
            let report = loop {
                let report = host.report().await.unwrap().remove(0);
                let sent = |flow: &str, bytes: u64| {
                    report.classes.iter().any(|class| class.flow == flow && class.sent_bytes >= bytes)
                };
                if left == 0 || sent("tcp", 100_000) && sent("udp", of_udp) {
                    break report;
                }
                left -= 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            host.stop().await;
            report
        };
        let report = network.server.run(work).unwrap();
        assert_eq!(report.direct_packets, 0, "no packet leaves without a class");
        let sent = |flow: &str| report.classes.iter().find(|class| class.flow == flow).unwrap().sent_bytes;
        assert_eq!(sent("udp"), of_udp, "{report:?}");
        assert!(sent("tcp") >= 100_000, "{report:?}");
        // Neighbour discovery has no socket; all other packets have a class.
        assert!(sent("default") < 2_000, "the SYN is in the class too: {report:?}");
    }
}

#[test]
fn the_budget_is_a_sum_and_a_refusal_shows_it() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let connector = host.connector();
        let first = connector.connect(peer, &Ask::qos(mbit(60)).id("first")).await.unwrap();
        let error = connector.connect(peer, &Ask::qos(mbit(21)).id("second")).await.err().unwrap();
        assert_eq!(error.wsa(), Wsa::Eopnotsupp);
        let ConnectError::Refused(decision) = error else { panic!("{error}") };
        assert_eq!((decision.code(), decision.reason()), (10045, Some(Reason::InterfaceBudget)));
        assert_eq!(
            decision.message(),
            "eth0 sending: 21 Mbit/s asked, 60 Mbit/s reserved of 80 Mbit/s, 20 Mbit/s available: 1 Mbit/s short; most is held by first (60 Mbit/s); at most 20 Mbit/s would fit"
        );
        assert_eq!(classes(&host).await, 3, "a refusal leaves no class");
        let exact = connector.connect(peer, &Ask::qos(mbit(20)).id("third")).await.unwrap();
        drop(first);
        until(&host, Rate::from_mbit(20), 3).await;
        drop(exact);
        until(&host, Rate::ZERO, 2).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_refused_and_an_abandoned_connect_release_their_reservation() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let connector = host.connector();
        let closed = SocketAddr::from((CLIENT_V4, 9));
        let error = connector.connect(closed, &Ask::template("video")).await.err().unwrap();
        assert_eq!(error.wsa(), Wsa::Econnrefused, "{error}");
        until(&host, Rate::ZERO, 2).await;
        // No host has this address.
        let silent = SocketAddr::from(([10, 71, 2, 99], 5000));
        let ask = Ask::template("video");
        let abandoned =
            tokio::time::timeout(Duration::from_millis(100), connector.connect(silent, &ask)).await;
        assert!(abandoned.is_err());
        until(&host, Rate::ZERO, 2).await;
        let unreachable = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, 5000));
        let error = connector.connect(unreachable, &ask).await.err().unwrap();
        assert_eq!(error.wsa(), Wsa::Eaddrnotavail, "{error}");
        until(&host, Rate::ZERO, 2).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn an_accepted_connection_is_admitted_or_refused() {
    let Some(network) = lab(100) else { return };
    let viewers = network.client.runtime().clone();
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let listener = host.listen("0.0.0.0:8000".parse().unwrap(), Ask::qos(mbit(50))).await.unwrap();
        let connect = || viewers.spawn(tokio::net::TcpStream::connect((gqos::lab::SERVER_V4, 8000)));
        let first = connect();
        let accepted = listener.accept().await.unwrap();
        let _first = first.await.unwrap().unwrap();
        let second = connect();
        let Err(AcceptError::Refused { decision, .. }) = listener.accept().await else { panic!("admitted") };
        assert_eq!(decision.would_fit(), Some(Rate::from_mbit(30)));
        let _second = second.await.unwrap().unwrap();
        // Dropped with nothing unread: the reservation ends at once.
        drop(accepted);
        until(&host, Rate::ZERO, 2).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn all_data_leaves_before_the_reservation_ends() {
    let Some(network) = lab(100) else { return };
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind((CLIENT_V4, 5000)).await.unwrap();
        send.send(None).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        send.send(Some(all.len())).unwrap();
    });
    receive.recv().unwrap();
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let peer = SocketAddr::from((CLIENT_V4, 5000));
        let mut connection = host.connector().connect(peer, &Ask::template("video")).await.unwrap();
        connection.write_all(&vec![1; 500_000]).await.unwrap();
        drop(connection);
        until(&host, Rate::ZERO, 2).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
    assert_eq!(receive.recv().unwrap(), Some(500_000));
}

#[test]
fn a_reset_releases_the_reservation_while_the_connection_is_still_open() {
    let Some(network) = lab(100) else { return };
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind((CLIENT_V4, 5000)).await.unwrap();
        send.send(()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // Closed with unread data: the kernel resets the connection.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(stream);
    });
    receive.recv().unwrap();
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let peer = SocketAddr::from((CLIENT_V4, 5000));
        let mut connection = host.connector().connect(peer, &Ask::template("video")).await.unwrap();
        let data = vec![1; 65536];
        while connection.write_all(&data).await.is_ok() {}
        until(&host, Rate::ZERO, 2).await;
        assert_eq!(connection.decision(), None, "the reservation is gone, the connection is not");
        drop(connection);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_flow_reserves_and_releases_while_its_connection_stays_open() {
    let Some(network) = lab(100) else { return };
    let viewers = network.client.runtime().clone();
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let listener = host.listen("0.0.0.0:8000".parse().unwrap(), Ask::default()).await.unwrap();
        let viewer = viewers.spawn(tokio::net::TcpStream::connect((gqos::lab::SERVER_V4, 8000)));
        let connection = listener.accept_free().await.unwrap();
        let _viewer = viewer.await.unwrap().unwrap();
        let flow = connection.flow();
        for _ in 0..3 {
            flow.reserve(&Ask::template("video")).await.unwrap();
            assert_eq!(reserved(&host).await, Rate::from_mbit(6));
            let again = flow.reserve(&Ask::template("video")).await.err().unwrap();
            assert_eq!(again.wsa(), Wsa::Einval, "{again}");
            flow.release().unwrap();
            flow.release().unwrap();
            until(&host, Rate::ZERO, 2).await;
        }
        assert!(flow.reserve(&Ask::qos(mbit(81))).await.is_err());
        flow.reserve(&Ask::qos(mbit(80))).await.unwrap();
        let flow = std::sync::Arc::clone(flow);
        drop(connection);
        until(&host, Rate::ZERO, 2).await;
        let ended = flow.reserve(&Ask::template("video")).await.err().unwrap();
        assert!(ended.to_string().contains("has ended"), "{ended}");
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn flows_beyond_the_bound_share_a_class() {
    let Some(network) = lab(1000) else { return };
    let count = u64::from(gqos::tc::LARGEST_FLOW_CLASSES) + 3;
    let work = async move {
        let text = POLICY.replace("100 Mbit/s", "1 Gbit/s");
        let host = Host::start(policy(&text)).await.unwrap();
        let peer = SocketAddr::from((CLIENT_V4, 5000));
        let qos = Qos::sending(Flowspec::guaranteed(Rate::new(1000), Bytes::new(10_000)));
        let mut flows = Vec::new();
        for _ in 0..count {
            flows.push(host.connector().connect_udp(peer, &Ask::qos(qos).class("viewer")).await.unwrap());
        }
        let last = flows.last().unwrap().decision().unwrap().enforced().cloned().unwrap();
        assert_eq!(last.class.unwrap().to_string(), "6771:11 dev eth0");
        assert!(last.shared, "the decision says so");
        let report = host.report().await.unwrap().remove(0);
        let shared = report.classes.iter().find(|class| class.class == "6771:11").unwrap();
        assert_eq!(shared.rate, Rate::new(3 * 1219), "three flows with their headers");
        flows.clear();
        // The trunk, and classes that are kept for the next flows.
        until(&host, Rate::ZERO, 2 + usize::from(gqos::tc::MOST_IDLE)).await;
        host.stop().await;
    };
    network.server.run(work).unwrap();
}
