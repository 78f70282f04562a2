//! Devices on top of each other: the packets of the upper one pass the tree of the lower one.

use gqos::connect::{Ask, Host};
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
        let class = |flow: &gqos::connect::DatagramConnection| {
            let class = flow.decision().unwrap().enforced().unwrap().class.clone().unwrap();
            let minor = class.split([':', ' ']).nth(1).unwrap();
            Handle::qdisc(0x6771).class(u16::from_str_radix(minor, 16).unwrap())
        };
        let kernel = Netlink::open().unwrap();
        let sent = async |name: &str, handle: Handle| {
            let index = kernel.link_by_name(name).await.unwrap().index;
            kernel.class(index, handle).await.unwrap().unwrap().sent_bytes
        };
        assert!(sent("m0", class(&above)).await >= 10 * 228, "the class of the upper device counts them");
        assert!(sent("a0", gqos::tc::DEFAULT_CLASS).await >= 10 * 228, "they pass the lower device");
        assert_eq!(sent("a0", class(&below)).await, 0, "in no other flow's class");
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
