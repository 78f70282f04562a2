//! Routes that change under flows: a flow goes to the interface by which its packets leave, or loses its reservation.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use flowspec::Rate;
use gqos::admission::Reason;
use gqos::connect::{Ask, DatagramConnection, Host};
use gqos::engine::{Events, Loss};
use gqos::kernel::KernelClass;
use gqos::tc::Handle;
use nix::sys::socket::{getsockopt, sockopt};

use super::common::{lab_with, policy, run};

const POLICY: &str = r#"
    version = 1
    [interface.a0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    ingress = { capacity = "100 Mbit/s", reservable = "80%" }
    [interface.b0]
    egress = { capacity = "10 Mbit/s", reservable = "80%" }
    ingress = { capacity = "100 Mbit/s", reservable = "80%" }
    [template.voice]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", token_bucket_size = "4 KiB" }
    [template.two-way]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", token_bucket_size = "4 KiB" }
    receiving = { service_type = "guaranteed", token_rate = "2 Mbit/s", token_bucket_size = "4 KiB" }
    [template.low]
    sending = { service_type = "guaranteed", token_rate = "200 kbit/s", token_bucket_size = "4 KiB" }
    [template.film]
    sending = { service_type = "guaranteed", token_rate = "9 Mbit/s", token_bucket_size = "64 KiB" }
"#;

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 5004);

/// How long a busy machine may take for what an idle one does within a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three links in the namespace of the calling thread, whose other ends answer nothing. 10.77.0.0/24 leaves by a0.
fn add_links() {
    for (name, other, net) in [("a0", "a1", 71), ("b0", "b1", 72), ("c0", "c1", 73)] {
        run(&format!("ip link add {name} type veth peer name {other}"));
        run(&format!("ip addr add 10.{net}.0.1/24 dev {name}"));
        run(&format!("ip link set {name} up"));
        run(&format!("ip link set {other} up"));
        // What is sent leaves at once.
        run(&format!("ip neigh add 10.{net}.0.2 lladdr 02:00:00:00:00:01 dev {name}"));
    }
    // What has no other route has none.
    run("ip route del default");
    run("ip route add 10.77.0.0/24 via 10.71.0.2");
}

struct Tried {
    host: Host,
    events: Events,
}

impl Tried {
    async fn start() -> Self {
        add_links();
        let host = Host::start(policy(POLICY)).await.unwrap();
        Self { events: host.events(), host }
    }

    async fn connect(&self, template: &str) -> DatagramConnection {
        self.host.connector().connect_udp(PEER, &Ask::template(template).id(template)).await.unwrap()
    }

    async fn reserved(&self, interface: &str) -> Rate {
        let reports = self.host.report().await.unwrap();
        let report = reports.iter().find(|report| report.interface == interface);
        report.map_or(Rate::ZERO, |report| report.status.totals.sending.reserved)
    }

    /// What the kernel has counted of the class of a flow on an interface; `None` where it has none there.
    async fn sent(&self, interface: &str, flow: &str) -> Option<u64> {
        let reports = self.host.report().await.unwrap();
        let report = reports.iter().find(|report| report.interface == interface)?;
        report.classes.iter().find(|class| class.flow == flow).map(|class| class.sent_bytes)
    }

    /// Waits until a flow's datagrams are counted in its class on this interface and on no other one.
    #[track_caller]
    fn until_sent_by(&self, interface: &str, flow: (&str, &DatagramConnection)) -> impl Future<Output = ()> {
        let (at, begun) = (std::panic::Location::caller(), Instant::now());
        let (id, connection) = flow;
        async move {
            let other = if interface == "a0" { "b0" } else { "a0" };
            loop {
                // Without a route nothing is sent.
                let _ = connection.send(&[0; 500]).await;
                let sent = self.sent(interface, id).await;
                let elsewhere = self.sent(other, id).await;
                if sent.is_some_and(|bytes| bytes > 0) && elsewhere.is_none() {
                    return;
                }
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{at}: {sent:?} on {interface}, {elsewhere:?} on {other}"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// The events there are by now that concern flows, as their kinds.
    fn flow_events(&mut self) -> Vec<String> {
        let events = std::iter::from_fn(|| self.events.try_next());
        let kinds =
            events.map(|event| serde_json::to_value(&event).unwrap()["event"].as_str().unwrap().to_owned());
        kinds.filter(|kind| kind.starts_with("flow_")).collect()
    }
}

fn class(connection: &DatagramConnection) -> KernelClass {
    connection.decision().unwrap().enforced().unwrap().class.clone().unwrap()
}

async fn until_lost(connection: &DatagramConnection) -> Loss {
    let lost = tokio::time::timeout(PATIENCE, connection.until_lost()).await.expect("it is lost");
    let priority = getsockopt(connection.socket(), sockopt::Priority).unwrap();
    assert_eq!(priority, 0, "its packets are in no class");
    lost.why
}

#[test]
fn a_flow_follows_its_route_to_another_interface_and_back() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        let mut tried = Tried::start().await;
        let voice = tried.connect("voice").await;
        tried.until_sent_by("a0", ("voice", &voice)).await;
        assert!(class(&voice).device == "a0");
        tried.flow_events();

        run("ip route replace 10.77.0.0/24 via 10.72.0.2");
        tried.until_sent_by("b0", ("voice", &voice)).await;
        let named = class(&voice);
        assert_eq!(named.device, "b0");
        let priority = getsockopt(voice.socket(), sockopt::Priority).unwrap().cast_unsigned();
        assert_eq!(Handle::from_u32(priority), named.handle);
        assert_eq!(tried.reserved("a0").await, Rate::ZERO);
        assert_eq!(tried.reserved("b0").await, Rate::from_mbit(1));
        assert_eq!(tried.flow_events(), ["flow_rerouted", "flow_admitted"]);
        assert_eq!(voice.flow().id().as_deref(), Some("voice"));

        // By a rule, and by the end of the rule.
        run("ip route add 10.77.0.0/24 via 10.71.0.2 table 100");
        run("ip rule add to 10.77.0.0/24 table 100");
        tried.until_sent_by("a0", ("voice", &voice)).await;
        run("ip rule del to 10.77.0.0/24 table 100");
        tried.until_sent_by("b0", ("voice", &voice)).await;

        // It is a flow like any other afterwards.
        voice.flow().renegotiate(&Ask::template("two-way")).await.unwrap();
        drop(voice);
        let begun = Instant::now();
        while tried.reserved("b0").await != Rate::ZERO {
            assert!(begun.elapsed() < PATIENCE, "its reservation is released");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(tried.sent("b0", "voice").await, None);
        tried.host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_flow_that_does_not_fit_where_its_route_goes_loses_its_reservation() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        let mut tried = Tried::start().await;
        let (film, voice) = (tried.connect("film").await, tried.connect("voice").await);
        tried.flow_events();
        run("ip route replace 10.77.0.0/24 via 10.72.0.2");
        let to = "b0".to_owned();
        assert_eq!(until_lost(&film).await, Loss::Rerouted { to, reason: Some(Reason::InterfaceBudget) });
        tried.until_sent_by("b0", ("voice", &voice)).await;
        let mut events = tried.flow_events();
        events.sort();
        assert_eq!(events, ["flow_admitted", "flow_refused", "flow_rerouted", "flow_rerouted"]);
        assert_eq!(tried.reserved("a0").await, Rate::ZERO);

        // An interface that the policy does not have.
        run("ip route replace 10.77.0.0/24 via 10.73.0.2");
        let to = "c0".to_owned();
        assert_eq!(until_lost(&voice).await, Loss::Rerouted { to, reason: Some(Reason::UnknownInterface) });
        assert_eq!(tried.reserved("b0").await, Rate::ZERO);
        // What is free is for others.
        run("ip route replace 10.77.0.0/24 via 10.71.0.2");
        let film = tried.connect("film").await;
        assert!(class(&film).device == "a0");
        tried.host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_flow_keeps_its_reservation_for_a_moment_without_a_route() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        let tried = Tried::start().await;
        let voice = tried.connect("voice").await;
        run("ip route del 10.77.0.0/24");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(voice.lost().is_none(), "routes are set again at once");
        run("ip route add 10.77.0.0/24 via 10.71.0.2");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(voice.lost().is_none(), "it has a route again");
        tried.until_sent_by("a0", ("voice", &voice)).await;

        run("ip addr del 10.71.0.1/24 dev a0");
        let lost = until_lost(&voice).await;
        assert!(matches!(lost, Loss::NoRoute { .. }), "{lost:?}");
        assert_eq!(tried.reserved("a0").await, Rate::ZERO);
        tried.host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn what_a_flow_receives_follows_its_route_as_well() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        let tried = Tried::start().await;
        let call = tried.connect("two-way").await;
        let receiving = |call: &DatagramConnection| {
            call.decision().and_then(|decision| decision.enforced()?.receiving_class.clone())
        };
        let before = receiving(&call).expect("a class");
        run("ip route replace 10.77.0.0/24 via 10.72.0.2");
        let begun = Instant::now();
        while receiving(&call).is_none_or(|class| class.device == before.device) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", receiving(&call));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(class(&call).device == "b0");
        tried.host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn flows_are_reserved_where_a_multipath_route_sends_them() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        let tried = Tried::start().await;
        // By addresses and ports; of this thread's namespace.
        std::fs::write("/proc/sys/net/ipv4/fib_multipath_hash_policy", "1").unwrap();
        run("ip route replace 10.77.0.0/24 nexthop via 10.71.0.2 nexthop via 10.72.0.2");
        let mut flows = Vec::new();
        for number in 0..24 {
            let (id, ask) = (format!("f{number}"), Ask::template("low"));
            let flow = tried.host.connector().connect_udp(PEER, &ask.id(&*id)).await.unwrap();
            flows.push((id, flow));
        }
        for (id, flow) in &flows {
            let interface = class(flow).device;
            tried.until_sent_by(&interface, (id, flow)).await;
        }
        let on_b0 = flows.iter().filter(|(_, flow)| class(flow).device == "b0").count();
        assert!(on_b0 > 0 && on_b0 < flows.len(), "{on_b0} of {} by b0", flows.len());
        // All by one path.
        run("ip route replace 10.77.0.0/24 via 10.71.0.2");
        for (id, flow) in &flows {
            tried.until_sent_by("a0", (id, flow)).await;
        }
        tried.host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn multipath_for_ipv6_is_predicted_with_the_protocol() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        let tried = Tried::start().await;
        for (name, net) in [("a0", 71), ("b0", 72)] {
            run(&format!("ip addr add fd{net}::1/64 dev {name} nodad"));
            run(&format!("ip neigh add fd{net}::2 lladdr 02:00:00:00:00:01 dev {name}"));
        }
        run("ip -6 route add fd77::/64 nexthop via fd71::2 dev a0 nexthop via fd72::2 dev b0");
        let peer: SocketAddr = "[fd77::1]:5004".parse().unwrap();
        let mut on_b0 = 0;
        for number in 0..12 {
            let from = format!("fd80::{number}");
            run(&format!("ip addr add {from}/128 dev a0 nodad"));
            let socket = tokio::net::UdpSocket::bind(format!("[{from}]:0")).await.unwrap();
            socket.connect(peer).await.unwrap();
            let flow = tried.host.adopt(socket).unwrap();
            flow.flow().reserve(&Ask::template("low").id(&*from)).await.unwrap();
            let interface = class(&flow).device;
            tried.until_sent_by(&interface, (&from, &flow)).await;
            on_b0 += usize::from(interface == "b0");
        }
        assert!((1..12).contains(&on_b0), "{on_b0} of 12 by b0: both paths are used");
        tried.host.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_flow_goes_to_the_other_route_when_its_link_goes_down() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        let mut tried = Tried::start().await;
        run("ip route add 10.77.0.0/24 via 10.72.0.2 metric 500");
        let (film, voice) = (tried.connect("film").await, tried.connect("voice").await);
        tried.flow_events();
        run("ip link set a0 down");
        tried.until_sent_by("b0", ("voice", &voice)).await;
        let to = "b0".to_owned();
        assert_eq!(until_lost(&film).await, Loss::Rerouted { to, reason: Some(Reason::InterfaceBudget) });
        tried.host.stop().await;
    };
    network.server.run(work).unwrap();
}
