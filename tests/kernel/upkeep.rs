//! Links and trees that change while an engine runs: other programs' edits, links that go, return and are renamed.

use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::admission::{NotProgrammed, Reason};
use gqos::engine::{
    Ask, Engine, EngineError, Events, Granted, InterfaceReport, LocalEngine, Loss, ReservationRequest,
};
use gqos::linux::Netlink;
use gqos::policy::{Protocol, Subject};
use gqos::tc::{DEFAULT_CLASS, flow_class, flow_number};

use super::common::{lab_with, policy, run};

pub(super) const POLICY: &str = r#"
    version = 1
    [interface.d0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
"#;

/// A link d0 with an address, whose other end is d1.
pub(super) fn add_link() {
    run("ip link add d0 type veth peer name d1");
    set_up("d0");
}

pub(super) fn set_up(name: &str) {
    run("ip link set d1 up");
    run(&format!("ip addr replace 10.99.0.1/24 dev {name}"));
    run(&format!("ip link set {name} up"));
}

pub(super) struct Host {
    pub(super) engine: Arc<LocalEngine>,
    pub(super) events: Events,
    pub(super) kernel: Netlink,
}

impl Host {
    pub(super) async fn start(text: &str) -> Self {
        let engine = LocalEngine::start(policy(text)).await.unwrap();
        Self { events: engine.events(), engine, kernel: Netlink::open().unwrap() }
    }

    pub(super) async fn reserve(&self, id: &str, megabits: u64) -> Result<Granted, EngineError> {
        let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(16_384)));
        let peer = IpAddr::from([10, 99, 0, 2]);
        let subject = Subject { protocol: Protocol::Udp, local_port: 0, peer };
        self.engine.reserve(ReservationRequest::new(Ask::qos(qos).id(id), subject)).await
    }

    pub(super) async fn report(&self) -> InterfaceReport {
        self.engine.report().await.unwrap().into_iter().find(|report| report.interface == "d0").unwrap()
    }

    /// How many classes of flows the link with this name has; `None` where it has no tree of gqos.
    pub(super) async fn leaves(&self, name: &str) -> Option<usize> {
        let index = self.kernel.link_by_name(name).await.ok()?.index;
        let observed = self.kernel.observe(index).await.unwrap().ok()?;
        let flows = observed.classes().filter(|class| flow_number(class.handle).is_some()).count();
        observed.root().map(|_| flows)
    }

    /// Waits until the link has so many classes of flows, and the report says that it has a tree.
    #[track_caller]
    pub(super) fn until_repaired(&self, leaves: usize) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let begun = Instant::now();
            loop {
                let found = self.leaves("d0").await;
                let kernel = self.report().await.status.kernel;
                if (found, &kernel) == (Some(leaves), &Ok(())) {
                    return;
                }
                assert!(begun.elapsed() < PATIENCE, "{at}: {found:?} {kernel:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Waits until there are neither filters nor this class in the tree of d0.
    #[track_caller]
    pub(super) fn until_clean(&self, class: &str) -> impl Future<Output = ()> {
        let (at, class) = (std::panic::Location::caller(), format!(" {class} "));
        async move {
            let begun = Instant::now();
            loop {
                let shown = ["class show dev d0", "filter show dev d0", "filter show dev d0 parent 6771:100"]
                    .map(|command| shown(&format!("tc {command}")));
                if !shown[0].contains(&class) && shown[1..].iter().all(|filters| filters.trim().is_empty()) {
                    return;
                }
                assert!(begun.elapsed() < PATIENCE, "{at}: {shown:#?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Waits for an event whose JSON has these words.
    #[track_caller]
    pub(super) fn until_event(&mut self, words: &[&str]) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let (begun, mut events) = (Instant::now(), Vec::new());
            loop {
                let new = self.events();
                if new.iter().any(|event| words.iter().all(|word| event.contains(word))) {
                    return;
                }
                events.extend(new);
                assert!(begun.elapsed() < PATIENCE, "{at}: {words:?} is not in {events:#?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// The events there are by now, as JSON.
    pub(super) fn events(&mut self) -> Vec<String> {
        let events = std::iter::from_fn(|| self.events.try_next());
        events.map(|event| serde_json::to_string(&event).unwrap()).collect()
    }
}

/// What a command prints.
pub(super) fn shown(command: &str) -> String {
    let words: Vec<_> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

/// How long a busy machine may take for what an idle one does within a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_another_program_deletes_is_repaired() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let work = async {
        add_link();
        let mut host = Host::start(POLICY).await;
        let (_one, _two) = (host.reserve("one", 10).await.unwrap(), host.reserve("two", 10).await.unwrap());
        host.until_repaired(2).await;
        host.events();
        for (edit, found) in [
            ("tc class del dev d0 classid 6771:100", "class 6771:100 is missing"),
            ("tc qdisc del dev d0 root", "the root qdisc is missing"),
            (
                "tc class add dev d0 parent 6771:1 classid 6771:777 htb rate 1mbit",
                "class 6771:777 was added by another program",
            ),
            (
                "tc class change dev d0 parent 6771:1 classid 6771:101 htb rate 1mbit",
                "class 6771:101 has another rate or bucket",
            ),
            ("tc qdisc add dev d0 parent 6771:101 pfifo limit 1", "class 6771:101 has another queue"),
            (
                "tc qdisc replace dev d0 parent 6771:2 handle 7: pfifo limit 1",
                "class 6771:2 has another queue",
            ),
            (
                "tc filter add dev d0 parent 6771: protocol ip prio 1 u32 match u32 0 0 flowid 6771:101",
                "a filter below 6771: was added by another program",
            ),
            (
                "tc filter add dev d0 parent 6771:1 protocol all prio 3 chain 5 u32 match u32 0 0 flowid 6771:2",
                "a filter below 6771:1 was added by another program",
            ),
        ] {
            run(edit);
            host.until_event(&["tree_changed", found]).await;
            host.until_repaired(2).await;
        }
        let _three = host.reserve("three", 60).await.unwrap();
        host.until_repaired(3).await;
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}

/// The kernel does not delete a class to which a filter leads.
#[test]
fn a_foreign_class_with_filters_is_removed_and_the_tree_of_the_flows_stays() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let work = async {
        add_link();
        let mut host = Host::start(POLICY).await;
        let _one = host.reserve("one", 10).await.unwrap();
        host.until_repaired(1).await;
        host.events();
        for filters in [
            &["tc filter add dev d0 parent 6771: protocol ip prio 1 u32 match u32 0 0 flowid 6771:8000"][..],
            &[
                "tc filter add dev d0 parent 6771:100 protocol ip prio 9 u32 match u32 1 1 flowid 6771:8000",
                "tc filter add dev d0 parent 6771:8000 protocol all prio 9 u32 match u32 0 0 flowid 6771:100",
                "tc filter add dev d0 parent 6771: protocol ipv6 prio 5 u32 match u32 0 0 flowid 6771:8000",
            ],
        ] {
            run("tc class add dev d0 parent 6771:1 classid 6771:8000 htb rate 90mbit prio 0");
            filters.iter().for_each(|filter| run(filter));
            host.until_clean("6771:8000").await;
        }
        let events = host.events();
        let is_left = |event: &String| event.contains("interface_left") || event.contains("tree_rolled_back");
        assert!(!events.iter().any(is_left), "{events:#?}");
        let deleted: Vec<_> = events.iter().filter(|event| event.contains("the root qdisc")).collect();
        assert!(deleted.is_empty(), "the tree is not replaced: {deleted:?}");
        assert_eq!(host.leaves("d0").await, Some(1));
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_foreign_class_in_the_way_refuses_no_flow() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let work = async {
        add_link();
        let host = Host::start(POLICY).await;
        run("tc class add dev d0 parent 6771:1 classid 6771:100 htb rate 1mbit");
        // At once, before the edit is noticed, and after it.
        let _first = host.reserve("first", 10).await.unwrap();
        host.until_repaired(1).await;
        let second = host.reserve("second", 10).await.unwrap();
        assert_eq!(second.decision.enforced().unwrap().lacking, []);
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_fight_is_not_joined() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let work = async {
        add_link();
        let mut host = Host::start(POLICY).await;
        let (begun, mut repairs) = (Instant::now(), 0);
        while begun.elapsed() < 3 * SECOND || repairs < 3 {
            assert!(begun.elapsed() < PATIENCE, "{repairs} repairs");
            let _ = Command::new("tc").args(["qdisc", "del", "dev", "d0", "root"]).output();
            tokio::time::sleep(Duration::from_millis(10)).await;
            repairs += host.events().iter().filter(|event| event.contains("tree_changed")).count() as u64;
        }
        let seconds = begun.elapsed().as_secs();
        assert!(repairs <= 4 * seconds, "{repairs} repairs in {seconds} s");
        tokio::time::sleep(SECOND).await;
        host.until_repaired(0).await;
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_root_of_another_program_is_left_alone_until_it_is_gone() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let work = async {
        add_link();
        let host = Host::start(POLICY).await;
        let _before = host.reserve("before", 10).await.unwrap();
        run("tc qdisc replace dev d0 root handle 1: pfifo");
        let begun = Instant::now();
        loop {
            let kernel = host.report().await.status.kernel;
            if matches!(kernel, Err(NotProgrammed::ForeignRoot { .. })) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{kernel:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let meanwhile = host.reserve("meanwhile", 10).await.unwrap();
        let lacking = meanwhile.decision.enforced().unwrap().lacking_text().unwrap();
        assert!(lacking.contains("pfifo 1:"), "{lacking}");
        run("tc qdisc del dev d0 root");
        host.until_repaired(2).await;
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}

/// Reserves a flow, does something to its link and undoes it: the flow is released and told, and the link has a tree
/// for the next one.
async fn check_return(host: &mut Host, go: impl Fn(), come_back: impl Fn()) {
    let flow = host.reserve("before", 60).await.unwrap();
    host.until_repaired(1).await;
    go();
    host.until_event(&["flow_link_gone"]).await;
    let begun = Instant::now();
    let lost = loop {
        if let Some(lost) = flow.reservation.state().lost() {
            break lost;
        }
        assert!(begun.elapsed() < PATIENCE, "the flow is told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(lost.why, Loss::LinkGone);
    assert!(host.reserve("during", 10).await.is_err(), "there is no route");
    come_back();
    host.until_repaired(0).await;
    assert_eq!(host.report().await.status.totals.sending.reserved, Rate::ZERO);
    let after = host.reserve("after", 80).await.unwrap();
    assert_eq!(after.decision.enforced().unwrap().lacking, []);
    host.until_repaired(1).await;
    drop((flow, after));
    host.until_repaired(0).await;
}

#[test]
fn a_link_that_returns_has_a_tree_again() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let elsewhere = network.client.namespace_path();
    // The thread of the other host: `/proc/PROCESS/task/THREAD/ns/net`.
    let away = format!("ip link set d0 netns {}", elsewhere.split('/').nth(4).unwrap());
    let work = async move {
        add_link();
        let mut host = Host::start(POLICY).await;
        check_return(&mut host, || run("ip link del d0"), add_link).await;
        let here = gqos::linux::namespace::thread_id();
        let back = format!("nsenter --net={elsewhere} ip link set d0 netns {here}");
        check_return(
            &mut host,
            || run(&away),
            || {
                run(&back);
                set_up("d0");
            },
        )
        .await;
        // More changes than the kernel keeps for the engine, which does not read them meanwhile.
        let flood = || {
            for _ in 0..40 {
                for name in ["f0", "f1", "f2", "f3"] {
                    run(&format!("ip link add {name} type veth"));
                    run(&format!("ip link del {name}"));
                }
            }
        };
        check_return(
            &mut host,
            || {
                flood();
                run("ip link del d0");
                flood();
            },
            || {
                flood();
                add_link();
                flood();
            },
        )
        .await;
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_link_that_is_renamed_keeps_one_budget() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        add_link();
        let host = Host::start(&POLICY.replace("interface.d0", "interface.\"*\"")).await;
        let _first = host.reserve("first", 60).await.unwrap();
        for command in ["ip link set d0 down", "ip link set d0 name d9", "ip link set d9 up"] {
            run(command);
        }
        tokio::time::sleep(2 * SECOND).await;
        let refused = host.reserve("second", 60).await.err().expect("80 are promised in all");
        let EngineError::Refused(decision) = refused else { panic!("{refused}") };
        assert_eq!(decision.reason(), Some(Reason::InterfaceBudget));
        let third = host.reserve("third", 20).await.unwrap();
        assert_eq!(third.decision.enforced().unwrap().lacking, []);
        assert_eq!(host.leaves("d9").await, Some(2));
        // Another link with the old name has a budget of its own; the flows of the first are released.
        run("ip link add d0 type veth peer name d2");
        host.engine.stop().await;
        assert_eq!(host.leaves("d9").await, None);
    };
    network.server.run(work).unwrap();
}

#[test]
fn another_mtu_takes_effect() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        add_link();
        let host = Host::start(POLICY).await;
        let _flow = host.reserve("flow", 10).await.unwrap();
        let index = host.kernel.link_by_name("d0").await.unwrap().index;
        let burst = || async { host.kernel.class(index, DEFAULT_CLASS).await.unwrap().unwrap().class.burst };
        let before = burst().await;
        run("ip link set d0 mtu 9000");
        let begun = Instant::now();
        while burst().await == before {
            assert!(begun.elapsed() < PATIENCE, "the tree is built for the old MTU");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(burst().await, Bytes::new(2 * 9014));
        assert!(host.kernel.class(index, flow_class(0)).await.unwrap().is_some());
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_link_without_a_carrier_at_the_start_has_no_budget_until_it_carries() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        // Named by the policy, and seen with its first flow.
        for name in ["interface.d0", "interface.\"*\""] {
            add_link();
            run("ip link set d1 down");
            let host = Host::start(&POLICY.replace("interface.d0", name)).await;
            let refused = host.reserve("before", 10).await.err().expect("the wire is cut");
            let EngineError::Refused(decision) = refused else { panic!("{refused}") };
            assert_eq!(decision.reason(), Some(Reason::InterfaceBudget), "{}", decision.message());
            assert_eq!(host.report().await.status.totals.sending.budget, Rate::ZERO, "{name}");
            run("ip link set d1 up");
            let begun = Instant::now();
            while host.report().await.status.totals.sending.budget != Rate::from_mbit(80) {
                assert!(begun.elapsed() < PATIENCE, "{name}: {:?}", host.report().await.status);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(host.reserve("after", 80).await.is_ok(), "{name}");
            host.engine.stop().await;
            run("ip link del d0");
        }
    };
    network.server.run(work).unwrap();
}

#[test]
fn an_interface_has_its_budget_under_the_alternative_name_that_the_policy_has_for_it() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let work = async {
        add_link();
        run("ip link property add dev d0 altname uplink");
        let host = Host::start(&POLICY.replace("d0", "uplink")).await;
        let granted = host.reserve("one", 10).await.unwrap();
        let reserved = |report: Vec<InterfaceReport>| {
            let reports = report.into_iter();
            reports
                .map(|report| (report.interface, report.status.totals.sending.reserved))
                .collect::<Vec<_>>()
        };
        let budgets = reserved(host.engine.report().await.unwrap());
        assert_eq!(budgets, [("uplink".to_owned(), Rate::from_mbit(10))]);
        assert_eq!(host.leaves("d0").await, Some(1));
        drop(granted);
        host.engine.stop().await;
        assert_eq!(host.leaves("d0").await, None);
    };
    network.server.run(work).unwrap();
}
