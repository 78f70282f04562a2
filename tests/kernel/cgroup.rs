//! Programs that know nothing of gqos: the class of what their control group sends.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use flowspec::{Bytes, Micros, Rate};
use gqos::lab::{CLIENT_V4, CLIENT_V6, LabNetwork};
use gqos::linux::{Netlink, classify_cgroup, release_cgroup};
use gqos::tc::{
    DEFAULT_CLASS, Desired, Framed, Leaving, LinkRates, LinkShape, ObservedTree, diff, flow_class,
};

use tokio::net::UdpSocket;

use super::common::{lab_with, skip};
use super::sink;

/// A control group of the test, which is removed with it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|words| words[2] == "cgroup2");
        let Some(mount) = mount else {
            skip("no cgroup2 file system is mounted");
            return None;
        };
        let path = Path::new(mount[1]).join(format!("gqos-test-{name}-{}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                skip(&format!("a control group cannot be made: {error}"));
                None
            }
        }
    }

    /// Sends so many datagrams from a shell in the group, in the namespace of the server.
    fn send(&self, network: &LabNetwork, datagrams: usize) {
        let script = format!(
            "echo $$ > {}/cgroup.procs && exec 3<>/dev/udp/{CLIENT_V4}/5000 && for n in $(seq {datagrams}); do echo >&3; done",
            self.0.display()
        );
        let net = format!("--net={}", network.server.namespace_path());
        let status = Command::new("nsenter").arg(net).args(["bash", "-c", &script]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Cgroup {
    #[expect(clippy::disallowed_methods, reason = "no runtime runs here")]
    fn drop(&mut self) {
        // A process that is just ending is still in it.
        for _ in 0..1000 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Makes a tree with one class for a flow.
fn make_tree(network: &LabNetwork) {
    let work = async {
        let kernel = Netlink::open().unwrap();
        let index = kernel.link_by_name("eth0").await.unwrap().index;
        let rates = LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) };
        let mut tree = Desired::new(LinkShape { rates, mtu: Bytes::new(1500), wait: Micros::new(0) });
        let rate = Rate::from_mbit(1);
        let (bucket, packet) = (Bytes::new(16_384), Bytes::new(1514));
        tree.set_leaf(flow_class(0), Some(Framed { rate, charged: rate, peak: None, bucket, packet }));
        kernel.apply(index, &diff(&tree, &ObservedTree::default())).await.unwrap();
    };
    network.server.run(work).unwrap();
}

/// How many packets the class of the flow has sent.
fn sent(network: &LabNetwork) -> u32 {
    let work = async {
        let kernel = Netlink::open().unwrap();
        let index = kernel.link_by_name("eth0").await.unwrap().index;
        kernel.class(index, flow_class(0)).await.unwrap().unwrap().sent_packets
    };
    network.server.run(work).unwrap()
}

#[test]
fn a_program_in_a_control_group_sends_through_its_class() {
    let Some(network) = lab_with(100, &["bash", "nsenter", "seq"]) else { return };
    let Some(group) = Cgroup::new("class") else { return };
    sink(&network, (CLIENT_V4, 5000).into());
    make_tree(&network);
    group.send(&network, 10);
    assert_eq!(sent(&network), 0, "the group has no class");
    let class = classify_cgroup(&group.0, flow_class(0)).unwrap();
    group.send(&network, 10);
    assert_eq!(sent(&network), 10);
    drop(class);
    group.send(&network, 10);
    assert_eq!(sent(&network), 10, "the class is undone");
    // A process that is killed leaves its program.
    std::mem::forget(classify_cgroup(&group.0, flow_class(0)).unwrap());
    group.send(&network, 10);
    assert_eq!(sent(&network), 20);
    assert_eq!(release_cgroup(&group.0), Ok(1));
    group.send(&network, 10);
    assert_eq!((sent(&network), release_cgroup(&group.0)), (20, Ok(0)));
    let missing = classify_cgroup(&group.0.join("missing"), flow_class(0)).unwrap_err();
    assert!(missing.is_absent(), "{missing}");
}

/// Sends a datagram from this port, by a socket without options.
async fn send_from(local: SocketAddr, peer: SocketAddr) {
    let socket = loop {
        match UdpSocket::bind(local).await {
            // A program that another test starts has a copy of the last socket until it runs.
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            bound => break bound.unwrap(),
        }
    };
    socket.send_to(&[0; 100], peer).await.unwrap();
}

#[test]
fn a_flow_of_another_program_is_led_to_its_class_by_its_addresses_and_ports() {
    let Some(network) = lab_with(100, &["nsenter"]) else { return };
    make_tree(&network);
    let work = async {
        let kernel = Netlink::open().unwrap();
        let index = kernel.link_by_name("eth0").await.unwrap().index;
        kernel.prepare_flow_filters(index).await.unwrap();
        let sent = async || kernel.class(index, flow_class(0)).await.unwrap().unwrap().sent_packets;
        let (mut expected, udp) = (0, 17);
        for (any, client) in [("0.0.0.0", IpAddr::V4(CLIENT_V4)), ("::", IpAddr::V6(CLIENT_V6))] {
            let (from, to) =
                (|port| SocketAddr::new(any.parse().unwrap(), port), SocketAddr::new(client, 5000));
            let flow = Leaving { protocol: udp, local_port: 7777, peer: to };
            kernel.classify_flow(index, flow, flow_class(0)).await.unwrap();
            send_from(from(7777), to).await;
            expected += 1;
            // It leaves once the neighbour is known.
            for _ in 0..3000 {
                if sent().await == expected {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            assert_eq!(sent().await, expected, "{to}");
            // Another local port in the same bucket, and another peer port.
            send_from(from(7777 + 256), to).await;
            send_from(from(7777), SocketAddr::new(client, 5001)).await;
            assert_eq!(sent().await, expected, "{to}");
            kernel.release_flow(index, flow, flow_class(0)).await.unwrap();
            send_from(from(7777), to).await;
            assert_eq!(sent().await, expected, "{to}");
        }
        let flow = Leaving { protocol: udp, local_port: 1, peer: SocketAddr::from((CLIENT_V4, 1)) };
        assert!(
            kernel
                .classify_flow(index, flow, DEFAULT_CLASS)
                .await
                .is_err_and(|error| error.is_not_expressible())
        );
    };
    network.server.run(work).unwrap();
}
