//! What a host receives: the ifb with its tree, flows with a class there, and what is left when the host has ended.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::admission::{Lack, NotProgrammed};
use gqos::connect::{Ask, Connection, Host};
use gqos::lab::{CLIENT_V4, CLIENT_V6, LabNetwork, Site};
use nix::sys::socket::{setsockopt, sockopt::TcpCongestion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::common::{inside, lab_with, policy};

const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    ingress = { capacity = "100 Mbit/s", reservable = "80%" }
    [class.viewer]
    dead_after = "10 min"
"#;

fn receiving(megabits: u64) -> Qos {
    let spec = Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(256 * 1024));
    Qos { sending: Flowspec::BEST_EFFORT, receiving: spec }
}

/// Sends without end to everything that connects in the client's namespace, with cubic.
pub(super) fn source(network: &LabNetwork, address: SocketAddr) -> SocketAddr {
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind(address).await.unwrap();
        setsockopt(&listener, TcpCongestion, &"cubic".into()).unwrap();
        send.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move { while stream.write_all(&[0; 65536]).await.is_ok() {} });
        }
    });
    receive.recv().unwrap()
}

/// The most megabits that arrive in a second, of the mean of two: reads until they are as many as these, for at most so
/// long. The senders need some seconds to find their rates.
async fn received(connection: &mut Connection, enough: u64, most: Duration) -> u64 {
    let mut buf = vec![0; 65536];
    let (begin, mut best) = (Instant::now(), 0);
    while best < enough && begin.elapsed() < most {
        let (window, mut count) = (Instant::now(), 0);
        while window.elapsed() < Duration::from_secs(2) {
            count += connection.read(&mut buf).await.unwrap() as u128;
        }
        let rate = count * 8 * 1000 / window.elapsed().as_micros().max(1) / 1000;
        best = best.max(u64::try_from(rate).unwrap());
    }
    best
}

/// The names of the links. Their state and the qdisc that they send by change meanwhile.
pub(super) fn links(site: &Site) -> Vec<String> {
    let shown = inside(site, &["ip", "-o", "link"]);
    shown.lines().filter_map(|line| line.split(": ").nth(1)).map(str::to_owned).collect()
}

pub(super) fn qdiscs(site: &Site) -> String {
    inside(site, &["tc", "qdisc", "show"])
}

/// Connects with a reservation for receiving, in the server's namespace.
pub(super) async fn connected(host: &Host, peer: SocketAddr, id: &str) -> Connection {
    let ask = Ask::qos(receiving(40)).class("viewer").id(id);
    host.connector().connect(peer, &ask).await.unwrap()
}

/// Starts a host and a connection that receives. The host is leaked unless it is stopped.
pub(super) fn host_with_flow(network: &LabNetwork, peer: SocketAddr) -> (Host, Connection) {
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let connection = connected(&host, peer, "v1").await;
        (host, connection)
    };
    network.server.run(work).unwrap()
}

#[test]
fn a_connection_receives_its_rate_beside_downloads_and_stop_leaves_nothing() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    for address in [SocketAddr::from((CLIENT_V4, 5000)), SocketAddr::from((CLIENT_V6, 5000))] {
        let peer = source(&network, address);
        let before = (links(&network.server), qdiscs(&network.server));
        let downloads = network.server.runtime().spawn(async move {
            let mut downloads = Vec::new();
            for _ in 0..8 {
                let mut download = TcpStream::connect(peer).await.unwrap();
                downloads.push(tokio::spawn(async move {
                    let mut buf = vec![0; 65536];
                    while download.read(&mut buf).await.is_ok_and(|came| came > 0) {}
                }));
            }
            downloads
        });
        let (host, mut connection) = host_with_flow(&network, peer);
        let enforced = connection.decision().unwrap().enforced().cloned().unwrap();
        assert!(enforced.lacking.is_empty(), "{enforced:?}");
        let class = enforced.receiving_class.unwrap();
        assert!(class.to_string().starts_with("6771:100 dev gqi"), "{class}");
        let ifb = class.device;
        // 40 Mbit/s of IP are 38.6 of payload. Without a class it gets a ninth of the link, 11.
        let work = async move {
            let best = received(&mut connection, 33, Duration::from_secs(40)).await;
            (connection, best)
        };
        let (connection, best) = network.server.run(work).unwrap();
        let shown = inside(&network.server, &["tc", "-s", "class", "show", "dev", &ifb]);
        assert!((33..=44).contains(&best), "{best} Mbit/s over {address}: {shown}");
        let work = async move {
            drop(connection);
            host.stop().await;
            for download in downloads.await.unwrap() {
                download.abort();
            }
        };
        network.server.run(work).unwrap();
        assert_eq!((links(&network.server), qdiscs(&network.server)), before);
    }
}

#[test]
fn the_datagrams_of_a_flow_are_in_its_class_and_those_of_others_are_not() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    for address in [SocketAddr::from((CLIENT_V4, 5000)), SocketAddr::from((CLIENT_V6, 5000))] {
        let work = async move { UdpSocket::bind(address).await.unwrap() };
        let far = network.client.run(work).unwrap();
        let peer = far.local_addr().unwrap();
        let work = async move {
            let host = Host::start(policy(POLICY)).await.unwrap();
            let ask = Ask::qos(receiving(1)).class("viewer").id("connected");
            let flow = host.connector().connect_udp(peer, &ask).await.unwrap();
            flow.send(b"hello").await.unwrap();
            let any: SocketAddr = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
            let other = UdpSocket::bind(any).await.unwrap();
            other.send_to(b"hello", peer).await.unwrap();
            (host, flow, other)
        };
        let (host, flow, other) = network.server.run(work).unwrap();
        let enforced = flow.decision().unwrap().enforced().cloned().unwrap();
        assert!(enforced.lacking.is_empty() && !enforced.receiving, "{enforced:?}");
        let class = enforced.receiving_class.unwrap();
        let work = async move {
            for _ in 0..2 {
                let (_, to) = far.recv_from(&mut [0; 16]).await.unwrap();
                for _ in 0..7 {
                    far.send_to(&[0; 1000], to).await.unwrap();
                }
            }
        };
        network.client.run(work).unwrap();
        let work = async move {
            let mut buf = [0; 2000];
            for _ in 0..7 {
                assert_eq!(flow.recv(&mut buf).await.unwrap(), 1000);
                other.recv_from(&mut buf).await.unwrap();
            }
            (host, flow)
        };
        let (host, flow) = network.server.run(work).unwrap();
        let (class, ifb) = (class.handle.to_string(), class.device);
        let shown = inside(&network.server, &["tc", "-s", "class", "show", "dev", &ifb, "classid", &class]);
        let header = if peer.is_ipv4() { 20 } else { 40 };
        let sent = format!("Sent {} bytes 7 pkt", 7 * (1000 + 8 + header + 14));
        assert!(shown.contains(&sent), "{sent}: {shown}");
        // The class goes with the flow, and the filter with it.
        let ifb = ifb.to_owned();
        network.server.run(async move { drop(flow) }).unwrap();
        let gone = (0..500).any(|_| {
            network.server.run(async { tokio::time::sleep(Duration::from_millis(10)).await }).unwrap();
            !inside(&network.server, &["tc", "class", "show", "dev", &ifb]).contains("6771:100")
        });
        let filters = inside(&network.server, &["tc", "filter", "show", "dev", &ifb]);
        assert!(gone && !filters.contains("flowid"), "{filters}");
        network.server.run(async move { host.stop().await }).unwrap();
    }
}

/// The tree of the ifb follows each change of the link, not the one before.
#[test]
fn the_ifb_follows_the_mtu_of_its_interface() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let site = &network.server;
    let peer = source(&network, SocketAddr::from((CLIENT_V4, 5000)));
    let (host, connection) = host_with_flow(&network, peer);
    let ifb = connection.decision().unwrap().enforced().unwrap().receiving_class.clone().unwrap().device;
    let burst_of_link = |mtu: &str| {
        inside(site, &["ip", "link", "set", "eth0", "mtu", mtu]);
        let shown = || inside(site, &["tc", "class", "show", "dev", &ifb, "classid", "6771:1"]);
        let burst = || {
            let shown = shown();
            let number = shown.split(" burst ").nth(1).and_then(|rest| rest.split("b ").next());
            number.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("{shown}"))
        };
        // Two packets or a millisecond of the rate, whichever is more; `tc` shows it with the precision of the kernel's ticks.
        let expected = (2 * (mtu.parse::<u64>().unwrap() + 14)).max(94_050_000 / 8 / 1000);
        let begun = Instant::now();
        while burst().abs_diff(expected) > 16 {
            assert!(begun.elapsed() < Duration::from_secs(3), "{mtu}: {} is not {expected}", burst());
        }
    };
    for mtu in ["9000", "1500", "9000", "4000", "1500"] {
        burst_of_link(mtu);
    }
    site.run(async move {
        drop(connection);
        host.stop().await;
    })
    .unwrap();
}

#[test]
fn another_programs_ingress_qdisc_is_left_alone_and_the_decision_says_so() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let peer = source(&network, SocketAddr::from((CLIENT_V4, 5000)));
    for kind in ["ingress", "clsact"] {
        inside(&network.server, &["tc", "qdisc", "add", "dev", "eth0", kind]);
        let before = qdiscs(&network.server);
        let (host, connection) = host_with_flow(&network, peer);
        let enforced = connection.decision().unwrap().enforced().cloned().unwrap();
        let why = NotProgrammed::ForeignIngress { kind: kind.into() };
        assert_eq!((enforced.lacking, enforced.receiving_class), (vec![Lack::ReceivingClass(why)], None));
        assert!(enforced.receiving, "user space delays reads");
        let links = links(&network.server);
        assert!(!links.iter().any(|link| link.starts_with("gqi")), "{links:?}");
        let work = async move {
            drop(connection);
            host.stop().await;
        };
        network.server.run(work).unwrap();
        assert!(qdiscs(&network.server).contains(kind), "{before}");
        inside(&network.server, &["tc", "qdisc", "del", "dev", "eth0", kind]);
    }
}

#[test]
#[cfg(feature = "cli")]
fn what_a_killed_process_leaves_is_removed_by_the_next_start_and_by_clean() {
    use super::plan::gqos;
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let peer = source(&network, SocketAddr::from((CLIENT_V4, 5000)));
    let leave = |index: u32| {
        let ifb = format!("gqi{index}");
        for command in [
            format!("ip link add {ifb} type ifb"),
            format!("tc qdisc add dev {ifb} root handle 6771: htb default 2 direct_qlen 0"),
            "tc qdisc add dev eth0 ingress".into(),
            format!(
                "tc filter add dev eth0 parent ffff: prio 26481 u32 match u32 0 0 action mirred egress redirect dev {ifb}"
            ),
        ] {
            inside(&network.server, &command.split(' ').collect::<Vec<_>>());
        }
    };
    let number = inside(&network.server, &["ip", "-o", "link", "show", "eth0"]);
    let index = number.split(':').next().unwrap().parse().unwrap();
    let (links_before, qdiscs_before) = (links(&network.server), qdiscs(&network.server));
    leave(index);
    let output = gqos(&network.server, &["clean"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("eth0: removed the ifb of what it receives"), "{said}");
    assert_eq!(
        (links(&network.server), qdiscs(&network.server)),
        (links_before.clone(), qdiscs_before.clone())
    );
    leave(index);
    let host = network.server.run(async { Host::start(policy(POLICY)).await.unwrap() }).unwrap();
    assert_eq!(links(&network.server), links_before, "no flow receives yet");
    // With a flow there is an ifb of a living manager, which stays.
    let work = async move {
        let connection = connected(&host, peer, "v1").await;
        (host, connection)
    };
    let (host, connection) = network.server.run(work).unwrap();
    let output = gqos(&network.server, &["clean"]);
    assert_eq!(output.status.code(), Some(1), "eth0 is managed");
    let class = connection.decision().unwrap().enforced().cloned().unwrap().receiving_class.unwrap();
    let shown = inside(&network.server, &["tc", "class", "show", "dev", &class.device]);
    assert!(shown.contains(&class.handle.to_string()), "{class}: {shown}");
    let work = async move {
        drop(connection);
        host.stop().await;
    };
    network.server.run(work).unwrap();
    assert_eq!((links(&network.server), qdiscs(&network.server)), (links_before, qdiscs_before));
}

#[test]
fn a_slow_stream_receives_its_rate() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let peer = source(&network, SocketAddr::from((CLIENT_V4, 5000)));
    for enforcement in ["auto", "user-space"] {
        let text = POLICY.replace("egress", &format!("enforcement = \"{enforcement}\"\negress"));
        let work = async move {
            let host = Host::start(policy(&text)).await.unwrap();
            // 8000 B/s. Its bucket holds less than three segments.
            let spec = Flowspec::guaranteed(Rate::new(8000), Bytes::new(4096));
            let ask = Ask::qos(Qos { sending: Flowspec::BEST_EFFORT, receiving: spec }).class("viewer");
            let mut connection = host.connector().connect(peer, &ask).await.unwrap();
            let (mut buf, mut count) = (vec![0; 65536], 0);
            let end = tokio::time::Instant::now() + Duration::from_secs(12);
            while let Ok(Ok(came)) = tokio::time::timeout_at(end, connection.read(&mut buf)).await {
                count += came;
            }
            host.stop().await;
            count
        };
        let count = network.server.run(work).unwrap();
        // 12 s of payload are 92 kB, and a bucket more.
        assert!((70_000..100_000).contains(&count), "{enforcement}: {count} bytes in 12 s");
    }
}
