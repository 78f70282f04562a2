//! By which link a flow leaves: what the kernel decides by beside the peer's address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use gqos::connect::{Ask, Host};
use gqos::linux::{Netlink, RouteQuery, RouteSelectors};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;

use super::common::{lab_with, policy, run};

const POLICY: &str = r#"
    version = 1
    [interface.a0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [interface.b0]
    egress = { capacity = "10 Mbit/s", reservable = "80%" }
    [template.voice]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", token_bucket_size = "4 KiB" }
"#;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 1));

/// Two links in the namespace of the calling thread. What has no other rule leaves by a0; b0 has a table of its own.
fn add_links() {
    for (name, other, address) in [("a0", "a1", "10.71.0.1/24"), ("b0", "b1", "10.72.0.1/24")] {
        run(&format!("ip link add {name} type veth peer name {other}"));
        run(&format!("ip addr add {address} dev {name}"));
        run(&format!("ip link set {name} up"));
        run(&format!("ip link set {other} up"));
    }
    run("ip route add 10.77.0.0/24 via 10.71.0.2");
    run("ip route add 10.77.0.0/24 via 10.72.0.2 table 100");
}

/// Reserves for a bound or marked socket that is connected, and gives the interface on which that counts.
async fn reserved_on(host: &Host, socket: UdpSocket, peer: SocketAddr) -> String {
    socket.connect(peer).await.unwrap();
    let flow = host.adopt(socket).unwrap();
    flow.flow().reserve(&Ask::template("voice")).await.unwrap();
    let class = flow.decision().unwrap().enforced().unwrap().class.clone().expect("a class");
    class.device
}

async fn bound(address: &str) -> UdpSocket {
    UdpSocket::bind((address, 0)).await.unwrap()
}

#[test]
fn a_flow_is_reserved_where_its_socket_sends() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        add_links();
        run("ip rule add from 10.72.0.1 table 100");
        run("ip rule add fwmark 7 table 100");
        let host = Host::start(policy(POLICY)).await.unwrap();
        let peer = (PEER, 5004).into();
        let b0 = Netlink::open().unwrap().link_by_name("b0").await.unwrap().index;

        assert_eq!(reserved_on(&host, bound("0.0.0.0").await, peer).await, "a0");
        assert_eq!(reserved_on(&host, bound("10.72.0.1").await, peer).await, "b0", "a bound source");
        let marked = bound("0.0.0.0").await;
        setsockopt(&marked, sockopt::Mark, &7).unwrap();
        assert_eq!(reserved_on(&host, marked, peer).await, "b0", "a mark");
        let device = bound("0.0.0.0").await;
        run("ip route add 10.77.0.0/24 dev b0 metric 500");
        device.bind_device(Some(b"b0")).unwrap();
        assert_eq!(reserved_on(&host, device, peer).await, "b0", "a bound device");
        let mapped = UdpSocket::bind("[::ffff:10.72.0.1]:0").await.unwrap();
        let mapped_peer = "[::ffff:10.77.0.1]:5004".parse().unwrap();
        assert_eq!(reserved_on(&host, mapped, mapped_peer).await, "b0", "a mapped source");
        assert_eq!(
            reserved_on(&host, bound("0.0.0.0").await, peer).await,
            "a0",
            "the answers are kept apart"
        );

        let selectors = RouteSelectors { device: b0, ..RouteSelectors::default() };
        let query = RouteQuery { peer: PEER, selectors };
        assert_eq!(host.interface(query).await.unwrap(), "b0");
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_link_local_peer_is_reached_by_the_link_of_its_scope_id() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        add_links();
        let host = Host::start(policy(POLICY)).await.unwrap();
        let kernel = Netlink::open().unwrap();
        for name in ["a0", "b0", "a0"] {
            let scope = kernel.link_by_name(name).await.unwrap().index;
            run(&format!("ip -6 addr replace fe80::1/64 dev {name} nodad"));
            let peer = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9), 5004, 0, scope);
            let flow = host.connector().connect_udp(peer.into(), &Ask::template("voice")).await.unwrap();
            let class = flow.decision().unwrap().enforced().unwrap().class.clone().unwrap();
            assert_eq!(class.device, name);
            let again = reserved_on(&host, UdpSocket::bind("[::]:0").await.unwrap(), peer.into()).await;
            assert_eq!(again, name, "an adopted socket");
        }
        host.stop().await;
    };
    network.server.run(work).unwrap();
}
