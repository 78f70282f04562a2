//! VRFs: a flow is reserved on the interface in the VRF by which its packets leave, and the VRF has no tree of its own.
//!
//! `tests/second_kernel.sh` runs these tests on a kernel that has VRFs.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use gqos::admission::NotProgrammed;
use gqos::connect::{Ask, DatagramConnection, Host};
use gqos::engine::Loss;
use gqos::kernel::KernelClass;
use gqos::lab::{CLIENT_V4, LabNetwork, SERVER_V4};
use gqos::linux::Netlink;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::common::{for_second_kernel, inside, lab_with, policy, run};

const POLICY: &str = r#"
    version = 1
    [interface.vrf0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [interface."*"]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [template.voice]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", token_bucket_size = "4 KiB" }
    [template.low]
    sending = { service_type = "guaranteed", token_rate = "200 kbit/s", token_bucket_size = "4 KiB" }
"#;

/// How long a busy machine may take for what an idle one does within a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab on a kernel that has VRFs.
fn lab_with_vrfs() -> Option<LabNetwork> {
    let network = lab_with(100, &["ip", "tc"])?;
    let made = inside(&network.server, &["sh", "-c", "ip link add vrf0 type vrf table 50 2>&1; true"]);
    if made.contains("Unknown device type") {
        for_second_kernel("this kernel has no VRFs");
        return None;
    }
    assert_eq!(made, "", "a kernel with VRFs adds one");
    Some(network)
}

/// Two links in the VRF and one outside, in the namespace of the calling thread; their other ends answer nothing.
fn add_links() {
    run("ip link set vrf0 up");
    for (name, other, net) in [("a0", "a1", 71), ("b0", "b1", 72), ("c0", "c1", 73)] {
        run(&format!("ip link add {name} type veth peer name {other}"));
        if name != "a0" {
            run(&format!("ip link set {name} master vrf0"));
        }
        run(&format!("ip addr add 10.{net}.0.1/24 dev {name}"));
        run(&format!("ip addr add fd{net}::1/64 dev {name} nodad"));
        run(&format!("ip link set {name} up"));
        run(&format!("ip link set {other} up"));
        for peer in [format!("10.{net}.0.2"), format!("fd{net}::2")] {
            run(&format!("ip neigh add {peer} lladdr 02:00:00:00:00:01 dev {name}"));
        }
    }
    run("ip route add 10.77.0.0/24 via 10.71.0.2");
    run("ip route add 10.77.0.0/24 via 10.72.0.2 table 50");
}

/// A datagram socket that is bound to a device and to an address, with a reservation.
async fn flow(host: &Host, device: &str, from: IpAddr, ask: (&str, &str)) -> DatagramConnection {
    let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(family, SockType::Datagram, flags, None).unwrap();
    // First, since the address may be one of the VRF.
    setsockopt(&socket, sockopt::BindToDevice, &device.into()).unwrap();
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0))).unwrap();
    let socket = UdpSocket::from_std(socket.into()).unwrap();
    let peer = if from.is_ipv4() { "10.77.0.1:5004" } else { "[fd77::1]:5004" };
    socket.connect(peer.parse::<SocketAddr>().unwrap()).await.unwrap();
    let flow = host.adopt(socket).unwrap();
    let (template, id) = ask;
    flow.flow().reserve(&Ask::template(template).id(id)).await.unwrap();
    flow
}

fn class(flow: &DatagramConnection) -> KernelClass {
    flow.decision().unwrap().enforced().unwrap().class.clone().expect("a class")
}

/// Waits until the kernel counts the datagrams of a flow in its class on this interface.
#[track_caller]
fn until_sent_by(name: &str, flow: &DatagramConnection) -> impl Future<Output = ()> {
    let (at, begun, name) = (std::panic::Location::caller(), Instant::now(), name.to_owned());
    async move {
        let kernel = Netlink::open().unwrap();
        let index = kernel.link_by_name(&name).await.unwrap().index;
        loop {
            // Without a route nothing is sent.
            let _ = flow.send(&[0; 500]).await;
            let class = class(flow);
            if class.device == name {
                let sent = kernel.class(index, class.handle).await.unwrap();
                if sent.is_some_and(|state| state.sent_bytes > 0) {
                    return;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{at}: {class} sends nothing by {name}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

#[test]
fn a_flow_in_a_vrf_is_reserved_on_the_interface_that_sends_it() {
    let Some(network) = lab_with_vrfs() else { return };
    let work = async {
        add_links();
        let host = Host::start(policy(POLICY)).await.unwrap();
        for device in ["vrf0", "b0"] {
            let flow = flow(&host, device, ANY, ("voice", device)).await;
            until_sent_by("b0", &flow).await;
        }
        let (peer, ask) = ("10.77.0.1:5004".parse().unwrap(), Ask::template("voice"));
        let outside = host.connector().connect_udp(peer, &ask).await.unwrap();
        until_sent_by("a0", &outside).await;

        // Its route goes elsewhere, and then it has none.
        let moved = flow(&host, "vrf0", ANY, ("voice", "moved")).await;
        run("ip route replace 10.77.0.0/24 via 10.73.0.2 table 50");
        until_sent_by("c0", &moved).await;
        run("ip link del vrf0");
        let lost = tokio::time::timeout(PATIENCE, moved.until_lost()).await.expect("it is lost");
        assert!(matches!(lost.why, Loss::NoRoute { .. }), "{lost:?}");
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_vrf_has_no_tree_and_its_interfaces_share_no_wire() {
    let Some(network) = lab_with_vrfs() else { return };
    let work = async {
        add_links();
        // What passes the VRF's own qdisc is in the class of no flow.
        run("ip addr add 10.74.0.1/32 dev vrf0");
        let host = Host::start(policy(POLICY)).await.unwrap();
        let within = flow(&host, "vrf0", ANY, ("voice", "within")).await;
        until_sent_by("b0", &within).await;
        let root = std::process::Command::new("tc").args(["qdisc", "show", "dev", "vrf0"]).output().unwrap();
        let root = String::from_utf8_lossy(&root.stdout).into_owned();
        assert!(!root.contains("6771:"), "{root}");
        let report = host.report().await.unwrap();
        let of = |name: &str| report.iter().find(|report| report.interface == name).unwrap().status.clone();
        assert_eq!(of("vrf0").kernel, Err(NotProgrammed::Vrf));
        assert_eq!((of("b0").kernel, of("b0").shares_wire_with), (Ok(()), None));

        // To an address of this host, packets go by the VRF itself.
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.bind_device(Some(b"vrf0")).unwrap();
        socket.connect("10.74.0.1:5004").await.unwrap();
        let local = host.adopt(socket).unwrap();
        let decision = local.flow().reserve(&Ask::template("voice").id("local")).await.unwrap();
        let enforced = decision.enforced().cloned().unwrap();
        assert_eq!((enforced.class, enforced.sending), (None, true), "{:?}", enforced.lacking);
        assert!(format!("{:?}", enforced.lacking).contains("Vrf"), "{:?}", enforced.lacking);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn multipath_in_a_vrf_is_predicted_with_the_address_of_the_socket() {
    let Some(network) = lab_with_vrfs() else { return };
    let work = async {
        add_links();
        run("ip -6 route add fd77::/64 table 50 nexthop via fd72::2 dev b0 nexthop via fd73::2 dev c0");
        let host = Host::start(policy(POLICY)).await.unwrap();
        let mut on_b0 = 0;
        for number in 0..12 {
            let from = format!("fd80::{number}");
            run(&format!("ip addr add {from}/128 dev b0 nodad"));
            let socket = flow(&host, "vrf0", from.parse().unwrap(), ("low", &from)).await;
            let device = class(&socket).device;
            until_sent_by(&device, &socket).await;
            on_b0 += usize::from(device == "b0");
        }
        assert!((1..12).contains(&on_b0), "{on_b0} of 12 by b0: both paths are used");
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn an_accepted_connection_in_a_vrf_is_reserved_on_its_interface() {
    let Some(network) = lab_with_vrfs() else { return };
    let default = inside(&network.server, &["ip", "route", "show", "default"]);
    inside(&network.server, &["ip", "link", "set", "vrf0", "up"]);
    inside(&network.server, &["ip", "link", "set", "eth0", "master", "vrf0"]);
    // The kernel has moved the routes of its addresses, and deleted this one.
    let again = format!("ip route add {} table 50", default.trim());
    inside(&network.server, &again.split(' ').collect::<Vec<_>>());
    // A listener outside the VRF takes its connections, which are bound to the VRF.
    let accepts = "echo 1 >/proc/sys/net/ipv4/tcp_l3mdev_accept";
    inside(&network.server, &["sh", "-c", accepts]);
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        // The server may not listen yet.
        while TcpStream::connect((SERVER_V4, 5000)).await.map(|stream| send.send(stream)).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let work = async {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let listener = TcpListener::bind((SERVER_V4, 5000)).await;
        let listener = match listener {
            Ok(listener) => listener,
            // Its address is one of the VRF.
            Err(_) => TcpListener::bind("0.0.0.0:5000").await.unwrap(),
        };
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        let (stream, peer) = accepted.expect("the client connects").unwrap();
        assert_eq!(peer.ip(), IpAddr::from(CLIENT_V4));
        let accepted = host.adopt(stream).unwrap();
        accepted.flow().reserve(&Ask::template("voice").id("accepted")).await.unwrap();
        let class = accepted.decision().unwrap().enforced().unwrap().class.clone().expect("a class");
        assert_eq!(class.device, "eth0");
        host.stop().await;
    };
    network.server.run(work).unwrap();
    drop(receive);
}
