//! The whole path on the real kernel: two hosts and a wire, real sockets, real classes.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{inside, lab, lab_with, policy};
use flowspec::{Bytes, Direction, Errno, Flowspec, Micros, Qos, Rate, Ratio, Wsa};
use gqos::admission::{Operation, Reason};
use gqos::connect::{AcceptError, Ask, ConnectError, Host};
use gqos::failure::Cause;
use gqos::lab::{CLIENT_V4, CLIENT_V6, Network};
use gqos::linux::{Netlink, NewQdisc, RootState};
use gqos::tc::{
    Bfifo, Change, Desired, Framed, Handle, HtbClass, LinkRates, Observed, Op, Shape, diff, flow_class,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [template.video]
    sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB" }
    [template.voice]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", token_bucket_size = "4 KiB", max_sdu_size = "400 B", minimum_policed_size = "200 B" }
    [class.viewer]
    dscp = "AF41"
"#;

fn mbit(megabits: u64) -> Qos {
    Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536)))
}

/// Accepts connections in the client's namespace and reads them to their end, and reads datagrams.
fn sink(network: &Network, address: SocketAddr) -> SocketAddr {
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind(address).await.unwrap();
        let datagrams = UdpSocket::bind(address).await.unwrap();
        tokio::spawn(async move { while datagrams.recv(&mut [0; 2048]).await.is_ok() {} });
        send.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buf = vec![0; 65536];
                while stream.read(&mut buf).await.is_ok_and(|came| came > 0) {}
            });
        }
    });
    receive.recv().unwrap()
}

/// Waits until this rate is reserved and there are this many classes: the manager works in a task of its own.
async fn until(host: &Host, rate: Rate, count: usize) {
    for _ in 0..500 {
        if reserved(host).await == rate && classes(host).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after 5 s: {:#?}", host.report().await.unwrap());
}

async fn reserved(host: &Host) -> Rate {
    host.report().await.unwrap()[0].status.totals.sending.reserved
}

async fn classes(host: &Host) -> usize {
    host.report().await.unwrap()[0].classes.len()
}

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
            assert_eq!(decision.enforced().cloned().unwrap().class.as_deref(), Some("6771:100 dev eth0"));
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
        let work = async move {
            let host = Host::start(policy(POLICY)).await.unwrap();
            let mut tcp = host.connector().connect(peer, &Ask::template("video").id("tcp")).await.unwrap();
            tcp.write_all(&vec![0; 100_000]).await.unwrap();
            let udp = host.connector().connect_udp(peer, &Ask::template("voice").id("udp")).await.unwrap();
            for _ in 0..20 {
                udp.send(&[0; 200]).await.unwrap();
            }
            assert!(udp.send(&[0; 400]).await.is_err(), "above max_sdu_size");
            tokio::time::sleep(Duration::from_millis(300)).await;
            let report = host.report().await.unwrap().remove(0);
            host.stop().await;
            report
        };
        let report = network.server.run(work).unwrap();
        assert_eq!(report.direct_packets, 0, "no packet leaves without a class");
        let sent = |flow: &str| report.classes.iter().find(|class| class.flow == flow).unwrap().sent_bytes;
        let header = if version.is_ipv6() { 40 } else { 20 };
        assert_eq!(sent("udp"), 20 * (200 + 8 + header + 14), "{report:?}");
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
fn a_foreign_root_qdisc_is_not_changed() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    inside(&network.server, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]);
    for (enforcement, admitted) in [("auto", true), ("user-space", true), ("kernel", false)] {
        let text = POLICY.replacen("egress", &format!("enforcement = \"{enforcement}\"\n    egress"), 1);
        let work = async move {
            let host = Host::start(policy(&text)).await.unwrap();
            match host.connector().connect(peer, &Ask::template("video")).await {
                Ok(connection) => {
                    let enforced = connection.decision().unwrap().enforced().cloned().unwrap();
                    assert!(enforced.sending && enforced.class.is_none(), "{enforced:?}");
                    assert!(
                        !enforced.lacking.is_empty(),
                        "the decision says what is not enforced: {enforced:?}"
                    );
                    true
                }
                Err(error) => {
                    assert!(error.to_string().contains("left alone"), "{error}");
                    false
                }
            }
        };
        assert_eq!(network.server.run(work).unwrap(), admitted, "{enforcement}");
        let root = inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0"]);
        assert!(root.contains("qdisc htb 1: root"), "{root}");
    }
}

#[test]
fn a_tree_of_a_killed_manager_is_replaced_and_one_of_a_running_manager_is_not() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    for command in [
        "tc qdisc add dev eth0 root handle 6771: htb default 2",
        "tc class add dev eth0 parent 6771: classid 6771:1 htb rate 1mbit",
        "tc class add dev eth0 parent 6771:1 classid 6771:107 htb rate 1mbit",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let work = async move {
        let first = Host::start(policy(POLICY)).await.unwrap();
        assert_eq!(classes(&first).await, 2, "the stale class is gone");
        let second = Host::start(policy(POLICY)).await.unwrap();
        let connection = second.connector().connect(peer, &Ask::template("video")).await.unwrap();
        let lacking = connection.decision().unwrap().enforced().cloned().unwrap().lacking_text().unwrap();
        assert!(lacking.contains("another gqos"), "{lacking}");
        second.stop().await;
        assert_eq!(classes(&first).await, 2, "the tree of the first manager stays");
        first.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_manager_that_programs_nothing_claims_nothing() {
    let Some(network) = lab(100) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let work = async move {
        let user_space = POLICY.replacen("egress", "enforcement = \"user-space\"\n    egress", 1);
        let first = Host::start(policy(&user_space)).await.unwrap();
        // Best effort on an interface that the policy does not name.
        let elsewhere = Host::start(policy(&POLICY.replace("eth0", "eth9"))).await.unwrap();
        let free = elsewhere.connector().connect(peer, &Ask::qos(Qos::BEST_EFFORT)).await.unwrap();
        let second = Host::start(policy(POLICY)).await.unwrap();
        let connection = second.connector().connect(peer, &Ask::template("video")).await.unwrap();
        let enforced = connection.decision().unwrap().enforced().cloned().unwrap();
        assert_eq!((enforced.class.as_deref(), &*enforced.lacking), (Some("6771:100 dev eth0"), &[][..]));
        drop((connection, free));
        for host in [first, elsewhere, second] {
            host.stop().await;
        }
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
fn loopback_with_its_large_packets_can_be_programmed() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let host = Host::start(policy(&POLICY.replace("eth0", "lo"))).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:5000").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let (connector, ask) = (host.connector(), Ask::qos(mbit(60)));
        let (connected, accepted) = tokio::join!(connector.connect(peer, &ask), listener.accept());
        let (mut connection, mut stream) = (connected.unwrap(), accepted.unwrap().0);
        connection.write_all(&[1; 60_000]).await.unwrap();
        stream.read_exact(&mut [0; 60_000]).await.unwrap();
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn tc_and_gqos_read_each_others_classes() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let class = HtbClass {
        handle: Handle::qdisc(1).class(0x10),
        parent: Handle::qdisc(1).class(1),
        rate: Rate::from_mbit(10),
        ceil: Rate::from_mbit(100),
        burst: Bytes::new(15_000),
        cburst: Bytes::new(1_600),
        quantum: Bytes::new(3_000),
        prio: 2,
    };
    for command in [
        "tc qdisc add dev eth0 root handle 1: htb default 10",
        "tc class add dev eth0 parent 1: classid 1:1 htb rate 100mbit",
        "tc class add dev eth0 parent 1:1 classid 1:10 htb rate 10mbit ceil 100mbit burst 15000b cburst 1600b quantum 3000 prio 2",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let theirs = network.server.run(async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let theirs = netlink.class(index, class.handle).await.unwrap().unwrap().class;
        let ours = HtbClass { handle: Handle::qdisc(1).class(0x11), ..class };
        netlink.apply(index, &Change { ops: vec![Op::AddClass(ours)] }).await.unwrap();
        theirs
    });
    assert_eq!(Ok(theirs.unwrap()), class.as_kept(), "gqos reads what tc made");
    let shown = inside(&network.server, &["tc", "class", "show", "dev", "eth0"]);
    let of = |handle: &str| {
        let line = shown.lines().find(|line| line.contains(handle)).unwrap_or_else(|| panic!("{shown}"));
        line.replace(handle, "").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("1:10"), of("1:11"), "tc shows both alike");
}

#[test]
fn a_change_that_fails_is_undone() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let shape = Shape {
            rates: LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) },
            mtu: Bytes::new(1500),
            wait: Micros::new(0),
        };
        let mut change = diff(&Desired::new(shape), &Observed::default());
        // The class exists already.
        change.ops.push(change.ops[1]);
        let error = netlink.apply(index, &change).await.unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EEXIST), ": {error}");
        assert!(
            error.to_string().contains("RTM_NEWTCLASS (tc class add parent 6771: classid 6771:1"),
            "{error}"
        );
        netlink.root(index).await.unwrap()
    };
    assert_eq!(network.server.run(work).unwrap(), RootState::default(), "nothing of it is left");
}

/// The tree of a link with this rate, four fifths of which may be reserved, with one leaf.
fn tree(capacity: Rate) -> Desired {
    let rates = LinkRates { capacity, budget: capacity.scale_down(Ratio::percent(80)) };
    let mut tree = Desired::new(Shape { rates, mtu: Bytes::new(1500), wait: Micros::new(0) });
    let (rate, packet) = (Rate::new(125_000), Bytes::new(1514));
    tree.set_leaf(flow_class(0), Some(Framed { rate, peak: None, bucket: Bytes::new(10_000), packet }));
    tree
}

#[test]
fn a_tree_that_another_program_changed_is_repaired_in_place() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let tree = tree(Rate::from_mbit(100));
    let observe = || async {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let observed = netlink.observe(index).await.unwrap().expect("a tree of gqos");
        (netlink, index, observed)
    };
    let set_up = tree.clone();
    let work = async move {
        let (netlink, index, observed) = observe().await;
        assert_eq!(observed, Observed::default());
        netlink.apply(index, &diff(&set_up, &observed)).await.unwrap();
        let (.., observed) = observe().await;
        assert_eq!(diff(&set_up, &observed), Change::default(), "the kernel has the desired tree");
    };
    network.server.run(work).unwrap();
    for command in [
        "tc class change dev eth0 parent 6771:1 classid 6771:100 htb rate 5mbit ceil 7mbit",
        "tc class add dev eth0 parent 6771:1 classid 6771:5 htb rate 1mbit",
        "tc class add dev eth0 parent 6771:5 classid 6771:6 htb rate 1mbit",
        "tc qdisc change dev eth0 parent 6771:2 bfifo limit 1000",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let work = async move {
        let (netlink, index, observed) = observe().await;
        let repair = diff(&tree, &observed);
        let commands: Vec<_> = repair.ops.iter().map(Op::to_string).collect();
        assert_eq!(commands[0], "qdisc change parent 6771:2 bfifo limit 625000");
        assert!(commands[1].starts_with("class change parent 6771:1 classid 6771:100"), "{commands:?}");
        assert_eq!(commands[2..], ["class del classid 6771:6", "class del classid 6771:5"]);
        netlink.apply(index, &repair).await.unwrap();
        let (_, _, repaired) = observe().await;
        assert_eq!(diff(&tree, &repaired), Change::default());
        netlink.apply(index, &repair.undo()).await.unwrap();
        let (.., undone) = observe().await;
        assert_eq!(undone, observed, "the undo restores what was observed");
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_slower_link_changes_a_trunk_with_leaves() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let mut tree = tree(Rate::from_mbit(100));
        netlink.apply(index, &diff(&tree, &Observed::default())).await.unwrap();
        // The kernel keeps the quantum of a class with children, which a slower link would make smaller.
        for megabits in [10, 1000] {
            let capacity = Rate::from_mbit(megabits);
            let rates = LinkRates { capacity, budget: capacity.scale_down(Ratio::percent(50)) };
            let change = tree.reshape(Shape { rates, ..*tree.shape() });
            assert!(!change.ops.is_empty());
            netlink.apply(index, &change).await.unwrap();
            let observed = netlink.observe(index).await.unwrap().unwrap();
            assert_eq!(diff(&tree, &observed), Change::default(), "{megabits} Mbit/s");
        }
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_host_follows_a_link_that_gets_much_slower() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let (interface, direction) = ("eth0".to_owned(), Direction::Sending);
        let slower = Operation::Capacity { interface, direction, capacity: Rate::from_mbit(10) };
        let decision = host.submit(slower).await.unwrap();
        assert!(decision.is_ok(), "{}", decision.message());
        let report = host.report().await.unwrap().remove(0);
        assert_eq!(report.status.totals.sending.budget, Rate::from_mbit(8));
        let link = report.classes.iter().find(|class| class.flow == "link").unwrap();
        assert_eq!(link.rate, Rate::from_mbit(10).scale_down(Ratio::percent(99)));
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn the_state_of_every_link_can_be_read() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let states = || async {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let states = netlink.link_states().await.unwrap();
        states.iter().find(|state| state.index == index).map(|state| state.carries)
    };
    assert_eq!(network.server.run(states()).unwrap(), Some(true));
    inside(&network.server, &["ip", "link", "set", "eth0", "down"]);
    assert_eq!(network.server.run(states()).unwrap(), Some(false));
}

#[test]
fn a_foreign_tree_is_observed_as_foreign() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    inside(&network.server, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]);
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        netlink.observe(index).await.unwrap().unwrap_err().to_string()
    };
    assert_eq!(network.server.run(work).unwrap(), "htb 1:");
}

#[test]
fn a_refused_request_carries_the_kernels_explanation() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let handle = Handle::qdisc(1);
        let qdisc = NewQdisc { parent: Handle::ROOT, handle, kind: Bfifo::KIND, options: vec![0, 0, 1, 0] };
        netlink.add_qdisc(index, qdisc.clone()).await.unwrap();
        netlink.add_qdisc(index, qdisc).await.unwrap_err()
    };
    let failure = network.server.run(work).unwrap();
    assert_eq!(failure.call, "RTM_NEWQDISC");
    let extended_ack = Some("Exclusivity flag on, cannot modify".to_owned());
    assert_eq!(failure.cause, Cause::Errno { errno: Errno::EEXIST, extended_ack }, "{failure}");
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
        let last = flows.last().unwrap().decision().enforced().cloned().unwrap();
        assert_eq!(last.class.as_deref(), Some("6771:11 dev eth0"));
        assert!(last.shared, "the decision says so");
        let report = host.report().await.unwrap().remove(0);
        let shared = report.classes.iter().find(|class| class.class == "6771:11").unwrap();
        assert_eq!(shared.rate, Rate::new(3 * 1219), "three flows with their headers");
        flows.clear();
        until(&host, Rate::ZERO, 2).await;
        assert_eq!(classes(&host).await, 2);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}
