//! The receiving half changed by other programs: it is repaired, and nothing is taken from them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gqos::admission::{Lack, NotProgrammed};
use gqos::connect::{Connection, Host};
use gqos::engine::Events;
use gqos::lab::{CLIENT_V4, LabNetwork};
use gqos::telemetry::Event;

use super::common::{inside, lab_with};
use super::receiving::{connected, host_with_flow, links, qdiscs, source};

/// How long a busy machine may take for what an idle one does within a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the interface receives has its tree in the kernel, with a class and a filter for the one flow and none of other programs.
fn is_whole(network: &LabNetwork, ifb: &str) -> bool {
    // What is being repaired may be gone for a moment.
    let run = |command: &str| inside(&network.server, &["sh", "-c", &format!("{command} 2>/dev/null; true")]);
    let is_up = links(&network.server).iter().any(|link| link == ifb)
        && run(&format!("ip -o link show {ifb}")).contains(",UP");
    is_up
        && run(&format!("tc class show dev {ifb}")).contains("6771:100 ")
        && !run(&format!("tc class show dev {ifb}")).contains("6771:8000 ")
        && run(&format!("tc filter show dev {ifb}")).contains("flowid 6771:100")
        && !run(&format!("tc filter show dev {ifb}; tc filter show dev {ifb} parent 6771:1"))
            .contains("flowid 6771:2")
        && run("tc filter show dev eth0 parent ffff:").contains(&format!("Redirect to device {ifb}"))
}

/// Waits until a condition holds: the engine repairs in a task of its own.
#[track_caller]
fn until(network: &LabNetwork, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}: {} {:?}",
            qdiscs(&network.server),
            links(&network.server)
        );
        network.server.run(async { tokio::time::sleep(Duration::from_millis(20)).await }).unwrap();
    }
}

/// What changes of trees were reported since the last call.
fn changes(events: &mut Events) -> Vec<String> {
    let events = std::iter::from_fn(|| events.try_next());
    let changes = events.filter_map(|recorded| match recorded.event {
        Event::TreeChanged(changed) => Some(format!("{}: {}", changed.interface, changed.found)),
        _ => None,
    });
    changes.collect()
}

fn ifb_of(connection: &Connection) -> String {
    connection.decision().unwrap().enforced().cloned().unwrap().receiving_class.unwrap().device
}

fn receiving(network: &LabNetwork, host: &Host) -> Option<Result<String, NotProgrammed>> {
    let host = host.clone();
    let work = async move { host.report().await.unwrap().remove(0).receiving };
    network.server.run(work).unwrap()
}

#[test]
fn what_another_program_changes_is_repaired_and_reported() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let peer = source(&network, SocketAddr::from((CLIENT_V4, 5000)));
    let before = (links(&network.server), qdiscs(&network.server));
    let (host, connection) = host_with_flow(&network, peer);
    let ifb = ifb_of(&connection);
    let mut events = host.events();
    assert!(is_whole(&network, &ifb));
    assert_eq!(receiving(&network, &host), Some(Ok(ifb.clone())));
    for (edit, found) in [
        ("tc qdisc del dev eth0 ingress", "the ingress qdisc is missing"),
        (
            "tc filter del dev eth0 parent ffff: protocol all prio 26481",
            "the redirect of what is received is missing",
        ),
        ("ip link del IFB", "the ifb is missing"),
        ("ip link set IFB down", "the ifb is down"),
        // A kernel before 6.2 renames a link that is down alone.
        ("ip link set IFB down; ip link set IFB name taken", "the ifb"),
        ("tc qdisc del dev IFB root", "the root qdisc is missing"),
        (
            "tc class change dev IFB parent 6771:1 classid 6771:100 htb rate 1mbit",
            "class 6771:100 has another",
        ),
        ("tc filter del dev IFB parent 6771: protocol ip prio 26481", "the filters of the ifb were changed"),
        ("tc qdisc add dev IFB parent 6771:100 pfifo limit 1", "class 6771:100 has another queue"),
        (
            "tc filter add dev IFB parent 6771: protocol ip prio 1 u32 match u32 0 0 flowid 6771:2",
            "the filters of the ifb were changed",
        ),
        // Before the filter that leads to the hash table, with its priority.
        (
            "tc filter add dev IFB parent 6771: protocol ip prio 26481 handle ::1 u32 match u32 0 0 flowid 6771:2",
            "a filter below 6771: was added by another program",
        ),
        // The kernel does not delete a class to which a filter leads.
        (
            "tc class add dev IFB parent 6771:1 classid 6771:8000 htb rate 9mbit; tc filter add dev IFB parent 6771: \
             protocol ip prio 26481 handle ::1 u32 match u32 0 0 flowid 6771:8000",
            "class 6771:8000 was added by another program",
        ),
        (
            "tc filter add dev IFB parent 6771:1 protocol ip prio 1 u32 match u32 0 0 flowid 6771:2",
            "a filter below 6771:1 was added by another program",
        ),
    ] {
        let edit = edit.replace("IFB", &ifb);
        inside(&network.server, &["sh", "-c", &edit]);
        let mut reported = Vec::new();
        until(&network, &edit, || {
            reported.extend(changes(&mut events));
            !reported.is_empty() && is_whole(&network, &ifb)
        });
        let is_named = reported.iter().any(|change| change.contains(found));
        assert!(
            is_named && reported.iter().all(|change| change.starts_with("eth0: ")),
            "{edit}: {reported:?}"
        );
        until(&network, &edit, || receiving(&network, &host) == Some(Ok(ifb.clone())));
    }
    let links_now = links(&network.server);
    assert!(!links_now.iter().any(|link| link == "taken"), "{links_now:?}");
    let work = async move {
        drop(connection);
        host.stop().await;
    };
    network.server.run(work).unwrap();
    assert_eq!((links(&network.server), qdiscs(&network.server)), before);
}

#[test]
fn another_programs_clsact_is_left_alone_and_the_class_returns_once_it_is_gone() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let peer = source(&network, SocketAddr::from((CLIENT_V4, 5000)));
    let (host, connection) = host_with_flow(&network, peer);
    let ifb = ifb_of(&connection);
    inside(&network.server, &["tc", "qdisc", "del", "dev", "eth0", "ingress"]);
    inside(&network.server, &["tc", "qdisc", "replace", "dev", "eth0", "clsact"]);
    let why = NotProgrammed::ForeignIngress { kind: "clsact".into() };
    // The engine may have restored its own in between, which `replace` then replaces.
    until(&network, "clsact", || receiving(&network, &host) == Some(Err(why.clone())));
    until(&network, "no ifb", || !links(&network.server).contains(&ifb));
    assert!(qdiscs(&network.server).contains("clsact"));
    let work = async move {
        let second = connected(&host, peer, "v2").await;
        (host, second)
    };
    let (host, second) = network.server.run(work).unwrap();
    let enforced = second.decision().unwrap().enforced().cloned().unwrap();
    assert_eq!((enforced.lacking, enforced.receiving_class), (vec![Lack::ReceivingClass(why)], None));
    inside(&network.server, &["tc", "qdisc", "del", "dev", "eth0", "clsact"]);
    until(&network, "both flows have a class", || {
        is_whole(&network, &ifb)
            && inside(&network.server, &["tc", "class", "show", "dev", &ifb]).contains("6771:101 ")
    });
    let work = async move {
        drop((connection, second));
        host.stop().await;
    };
    network.server.run(work).unwrap();
}
