//! Reservations that change while connections stand, on the real kernel: preemption, a link that goes down, groups,
//! waiting for capacity, and measured admission.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{inside, lab, lab_with, policy};
use flowspec::{Bytes, Direction, Flowspec, Qos, Rate, Ratio, ServiceType};
use gqos::admission::{GroupRequest, Operation, Reason};
use gqos::connect::{Ask, ConnectError, DatagramConnection, Host};
use gqos::manager::Loss;
use gqos::policy::GroupMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn mbit(megabits: u64) -> Qos {
    Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536)))
}

async fn reserved(host: &Host) -> Rate {
    host.report().await.unwrap()[0].status.totals.sending.reserved
}

/// Waits until a condition holds: the engine's task works beside the test.
macro_rules! until {
    ($what:literal, $holds:expr) => {{
        let mut left = 3000;
        while !$holds {
            assert!(left > 0, "after 30 s: {}", $what);
            left -= 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }};
}

const PREEMPTION: &str = r#"
version = 1
preemption = true
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[class.viewer]
setup_priority = 6
holding_priority = 6
dscp = "AF41"
[class.studio]
setup_priority = 1
holding_priority = 1
"#;

#[test]
fn a_preempted_flow_is_notified_and_continues_as_best_effort() {
    let Some(network) = lab(100) else { return };
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind((gqos::lab::CLIENT_V4, 5000)).await.unwrap();
        send.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(
                async move { while stream.read(&mut [0; 65536]).await.is_ok_and(|came| came > 0) {} },
            );
        }
    });
    let peer = receive.recv().unwrap();
    network
        .server
        .run(async move {
            let host = Host::start(policy(PREEMPTION)).await.unwrap();
            let connector = host.connector();
            let viewer = Ask::qos(mbit(40)).class("viewer");
            let stays = connector.connect(peer, &viewer.clone().id("stays")).await.unwrap();
            let mut goes = connector.connect(peer, &viewer.clone().id("goes")).await.unwrap();
            let datagrams = connector.connect_udp(peer, &Ask::qos(mbit(30)).class("studio")).await.unwrap();
            assert_eq!(datagrams.decision().unwrap().preempted(), ["goes"]);
            let lost = goes.flow().until_lost().await;
            assert!(matches!(lost.why, Loss::Preempted { .. }), "{lost}");
            assert_eq!((goes.decision(), stays.flow().lost()), (None, None));
            assert_eq!(reserved(&host).await, Rate::from_mbit(70));
            // It has no class and no shaping any more: the data of half a second at 40 Mbit/s leaves at once.
            goes.write_all(&vec![0; 2_000_000]).await.unwrap();
            let report = &host.report().await.unwrap()[0];
            let flows: Vec<_> = report.classes.iter().map(|class| class.flow.as_str()).collect();
            assert_eq!(flows, ["link", "default", "stays", "flow-1"]);
            let default = &report.classes[1];
            assert!(default.sent_bytes > 1_000_000, "{default:?}");
            // Its end releases nothing of another flow; its id is free.
            let again =
                connector.connect(peer, &Ask::qos(mbit(10)).class("viewer").id("goes")).await.unwrap();
            drop(goes);
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(reserved(&host).await, Rate::from_mbit(80));
            drop((stays, datagrams, again));
            host.stop().await;
        })
        .unwrap();
}

/// A veth pair with an address: datagrams leave although nothing receives them.
fn pair(network: &gqos::lab::LabNetwork) {
    for command in [
        "ip link add gqos-a type veth peer name gqos-b",
        "ip addr add 10.99.0.1/24 dev gqos-a",
        "ip link set gqos-a up",
        "ip link set gqos-b up",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
}

const SHED: &str = r#"
version = 1
[interface.gqos-a]
on_capacity_drop = "shed"
egress = { capacity = "100 Mbit/s", reservable = "80%" }
"#;

async fn datagrams(host: &Host, ask: &Ask) -> Result<DatagramConnection, ConnectError> {
    host.connector().connect_udp("10.99.0.2:9".parse().unwrap(), ask).await
}

#[test]
fn a_link_that_goes_down_loses_its_reservations_and_notifies_a_waiter_when_it_is_up() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    pair(&network);
    let set = |state: &str| inside(&network.server, &["ip", "link", "set", "gqos-b", state]);
    let (step, mut steps) = tokio::sync::mpsc::channel::<()>(1);
    let (done, reached) = std::sync::mpsc::channel();
    let task = network.server.runtime().spawn(async move {
        let host = Host::start(policy(SHED)).await.unwrap();
        let flow = datagrams(&host, &Ask::qos(mbit(50))).await.unwrap();
        done.send(()).unwrap();
        until!("the link is lost", flow.lost().is_some());
        assert_eq!(flow.lost().unwrap().why, Loss::Shed);
        assert_eq!(reserved(&host).await, Rate::ZERO);
        // Nothing is admitted while the link is down; a waiting flow is notified when it is up again.
        let asked = Ask::qos(mbit(50)).waiting_as("waits");
        let refused = datagrams(&host, &asked).await;
        assert!(matches!(&refused, Err(ConnectError::Refused(decision)) if decision.is_waiting()));
        assert!(host.wait_for_capacity("unknown").await.is_err());
        done.send(()).unwrap();
        steps.recv().await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), host.wait_for_capacity("waits"))
            .await
            .expect("told")
            .unwrap();
        let again = datagrams(&host, &asked).await.unwrap();
        // A capacity that is submitted counts as well.
        let (interface, direction) = ("gqos-a".to_owned(), Direction::Sending);
        let less = Operation::Capacity { interface, direction, capacity: Rate::from_mbit(50) };
        assert_eq!(host.submit(less).await.unwrap().shed(), ["waits"]);
        assert!(again.lost().is_some());
        let report = &host.report().await.unwrap()[0];
        assert_eq!(
            report.classes[0].rate,
            Rate::from_mbit(50).scale_down(Ratio::percent(99)),
            "the trunk follows"
        );
        host.stop_waiting("waits");
        host.stop().await;
    });
    reached.recv().unwrap();
    set("down");
    reached.recv().unwrap();
    set("up");
    step.blocking_send(()).unwrap();
    network.server.run(async { task.await.unwrap() }).unwrap();
}

#[test]
fn the_members_of_a_group_share_its_reservation() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    pair(&network);
    network
        .server
        .run(async move {
            let host = Host::start(policy(SHED)).await.unwrap();
            let group = |id: &str, mode| {
                let (id, interface) = (id.to_owned(), "gqos-a".to_owned());
                Operation::Group(Box::new(GroupRequest { id, interface, class: None, mode, qos: mbit(20) }))
            };
            assert!(host.submit(group("call", GroupMode::Shared)).await.unwrap().is_ok());
            assert!(host.submit(group("film", GroupMode::Envelope)).await.unwrap().is_ok());
            let member = |group: &str| Ask::qos(mbit(20)).group(group);
            let first = datagrams(&host, &member("call")).await.unwrap();
            let second = datagrams(&host, &member("call")).await.unwrap();
            let class = |flow: &DatagramConnection| flow.decision().unwrap().enforced().cloned().unwrap();
            assert_eq!(class(&first), class(&second), "one class for both");
            assert!(class(&first).shared);
            // An envelope is the sum of its members.
            let alone = datagrams(&host, &member("film")).await.unwrap();
            assert!(!class(&alone).shared);
            let refused = datagrams(&host, &member("film")).await;
            assert!(matches!(refused, Err(ConnectError::Refused(decision)) if decision.reason() == Some(Reason::GroupBudget)));
            assert_eq!(reserved(&host).await, Rate::from_mbit(40));
            drop((first, second, alone));
            until!("all classes are gone", host.report().await.unwrap()[0].classes.len() == 2);
            host.stop().await;
        })
        .unwrap();
}

const MEASURED: &str = r#"
version = 1
[interface.gqos-a]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[class.vbr]
admission = "measured"
overbooking = 2
"#;

#[test]
fn flows_that_send_less_than_they_declare_leave_capacity() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    pair(&network);
    network
        .server
        .run(async move {
            let host = Host::start(policy(MEASURED)).await.unwrap();
            let mut spec = Flowspec::guaranteed(Rate::from_mbit(8), Bytes::new(3_000));
            spec.service_type = ServiceType::ControlledLoad;
            spec.peak_bandwidth = Some(flowspec::Peak::Finite(Rate::from_mbit(10)));
            let ask = Ask::qos(Qos::sending(spec)).class("vbr");
            let mut flows = Vec::new();
            let refused = loop {
                match datagrams(&host, &ask).await {
                    Ok(flow) => flows.push(flow),
                    Err(ConnectError::Refused(decision)) => break decision,
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!((flows.len(), refused.reason()), (10, Some(Reason::InterfaceBudget)), "by the sum");
            // They send a little each; it is measured every second.
            let mut more = None;
            for _ in 0..80 {
                for flow in &flows {
                    flow.send(&[0; 1000]).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Ok(flow) = datagrams(&host, &ask).await {
                    more = Some(flow);
                    break;
                }
            }
            assert!(more.is_some(), "{:?}", host.report().await.unwrap());
            host.stop().await;
        })
        .unwrap();
}
