//! Devices on top of each other: the packets of the upper one pass the tree of the lower one.

use gqos::admission::Refusal;
use gqos::connect::{Ask, ConnectError, DatagramConnection, Host};
use gqos::linux::Netlink;
use gqos::tc::Handle;

use super::common::{lab_with, policy, run};

const POLICY: &str = r#"
    version = 1
    [interface.a0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [interface.m0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [template.voice]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", token_bucket_size = "4 KiB" }
"#;

fn class_of(flow: &DatagramConnection) -> Handle {
    flow.decision().unwrap().enforced().unwrap().class.clone().unwrap().handle
}

#[test]
fn packets_of_an_upper_device_get_into_no_class_of_a_flow_below() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        run("ip link add a0 type veth peer name a1");
        run("ip link add link a0 name m0 type macvlan mode bridge");
        for (name, address) in [("a0", "10.71.0.1/24"), ("m0", "10.72.0.1/24"), ("a1", "10.73.0.1/24")] {
            run(&format!("ip addr add {address} dev {name}"));
            run(&format!("ip link set {name} up"));
        }
        run("ip neigh add 10.72.0.2 lladdr 02:00:00:00:00:02 dev m0");
        let host = Host::start(policy(POLICY)).await.unwrap();
        let connector = host.connector();
        let ask = Ask::template("voice");
        let below = connector.connect_udp("10.71.0.2:5004".parse().unwrap(), &ask).await.unwrap();
        let above = connector.connect_udp("10.72.0.2:5004".parse().unwrap(), &ask).await.unwrap();
        for _ in 0..10 {
            above.send(&[0; 200]).await.unwrap();
        }
        let kernel = Netlink::open().unwrap();
        let sent = async |name: &str, handle: Handle| {
            let index = kernel.link_by_name(name).await.unwrap().index;
            kernel.class(index, handle).await.unwrap().unwrap().sent_bytes
        };
        assert!(sent("m0", class_of(&above)).await >= 10 * 228, "the class of the upper device counts them");
        assert!(sent("a0", gqos::tc::DEFAULT_CLASS).await >= 10 * 228, "they pass the lower device");
        assert_eq!(sent("a0", class_of(&below)).await, 0, "in no other flow's class");
        let report = host.report().await.unwrap();
        let shared = report.into_iter().map(|report| (report.interface, report.status.shares_wire_with));
        assert_eq!(shared.collect::<Vec<_>>(), [("a0".into(), None), ("m0".into(), Some("a0".into()))]);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

const PARENTS: &str = r#"
    version = 1
    [interface.a0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [interface.m0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    parent = "a0"
    [interface.b0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    parent = "p0"
    [interface.p0]
    egress = { capacity = "50 Mbit/s", reservable = "80%" }
    [template.voice]
    sending = { service_type = "guaranteed", token_rate = "2 Mbit/s", token_bucket_size = "4 KiB" }
    [template.bulk]
    sending = { service_type = "guaranteed", token_rate = "79 Mbit/s", token_bucket_size = "64 KiB" }
"#;

/// The interface that a refusal names.
#[track_caller]
fn lacking(refused: &ConnectError) -> String {
    match refused.decision().and_then(|decision| decision.refusal()) {
        Some(Refusal::InterfaceBudget { interface, .. }) => interface.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flow_of_an_upper_device_has_its_class_in_the_tree_of_its_parent() {
    let Some(network) = lab_with(100, &["ip", "tc"]) else { return };
    let work = async {
        run("ip link add a0 type veth peer name a1");
        run("ip link add link a0 name m0 type macvlan mode bridge");
        run("ip link add p0 type veth peer name p1");
        run("ip link add b0 type bridge");
        run("ip link set p0 master b0");
        for (name, address) in [("a0", "10.71.0.1/24"), ("m0", "10.72.0.1/24"), ("b0", "10.73.0.1/24")] {
            run(&format!("ip addr add {address} dev {name}"));
        }
        for name in ["a0", "a1", "m0", "p0", "p1", "b0"] {
            run(&format!("ip link set {name} up"));
        }
        run("ip neigh add 10.72.0.2 lladdr 02:00:00:00:00:02 dev m0");
        run("ip neigh add 10.73.0.2 lladdr 02:00:00:00:00:03 dev b0");
        let host = Host::start(policy(PARENTS)).await.unwrap();
        let connector = host.connector();
        let (voice, bulk) = (Ask::template("voice"), Ask::template("bulk"));
        let kernel = Netlink::open().unwrap();
        // Whether the tree of an interface has a class, and what it has sent; once that is as wanted.
        let sent = async |name: &str, handle: Handle, is_wanted: &(dyn Fn(Option<u64>) -> bool + Sync)| {
            let index = kernel.link_by_name(name).await.unwrap().index;
            for _ in 0..1000 {
                let sent = kernel.class(index, handle).await.unwrap().map(|class| class.sent_bytes);
                if is_wanted(sent) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            panic!("{name} {handle}: {:?}", kernel.class(index, handle).await);
        };
        let below = connector.connect_udp("10.71.0.2:5004".parse().unwrap(), &voice).await.unwrap();
        for (peer, upper, lower) in [("10.72.0.2:5004", "m0", "a0"), ("10.73.0.2:5004", "b0", "p0")] {
            let refused = connector.connect_udp(peer.parse().unwrap(), &bulk).await.unwrap_err();
            assert_eq!(lacking(&refused), lower, "{upper} has enough");
            let above = connector.connect_udp(peer.parse().unwrap(), &voice).await.unwrap();
            let handle = class_of(&above);
            sent(upper, handle, &|sent| sent.is_some()).await;
            sent(lower, handle, &|sent| sent.is_some()).await;
            for _ in 0..10 {
                above.send(&[0; 200]).await.unwrap();
            }
            sent(lower, handle, &|sent| sent >= Some(10 * 228)).await;
            // What another program deletes of it is repaired.
            run(&format!("tc class del dev {lower} classid {handle}"));
            sent(lower, handle, &|sent| sent == Some(0)).await;
            drop(above);
            sent(lower, handle, &|sent| sent.is_none()).await;
        }
        drop(below);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn what_shares_a_wire_is_what_the_kernel_has_stacked() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        for command in [
            "ip link add a0 type veth peer name a1",
            "ip link add link a0 name m0 type macvlan mode bridge",
            "ip link add b0 type bridge",
            "ip link set a1 master b0",
        ] {
            run(command);
        }
        let links = Netlink::open().unwrap().link_details().await.unwrap();
        let name = |index| links.iter().find(|link| link.index == index).map(|link| link.name.as_str());
        let wire =
            |of: &str| links.iter().find(|link| link.name == of).unwrap().shares_wire_with.and_then(name);
        assert_eq!(["a0", "a1", "m0", "b0"].map(wire), [None, Some("b0"), Some("a0"), None]);
    };
    network.server.run(work).unwrap();
}
