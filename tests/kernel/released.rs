//! Interfaces that are managed no more: those that a reload drops, and those that have another name.

use std::time::{Duration, Instant};

use flowspec::Rate;
use gqos::engine::Engine;

use super::common::{lab_with, policy, run};
use super::upkeep::{Host, PATIENCE, POLICY, add_link, set_up, shown};

/// Waits until the link has no qdisc of gqos.
#[track_caller]
fn until_bare(link: &str) -> impl Future<Output = ()> {
    let (at, command) = (std::panic::Location::caller(), format!("tc qdisc show dev {link}"));
    async move {
        let begun = Instant::now();
        while shown(&command).contains("6771:") {
            assert!(begun.elapsed() < PATIENCE, "{at}: {}", shown(&command));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// How often a link is renamed; `GQOS_RENAMES` for more.
fn renames() -> usize {
    std::env::var("GQOS_RENAMES").ok().and_then(|count| count.parse().ok()).unwrap_or(6)
}

#[test]
fn a_link_with_a_name_that_the_policy_does_not_have_loses_its_tree() {
    let Some(network) = lab_with(100, &["ip", "tc"]) else { return };
    let work = async {
        add_link();
        let mut host = Host::start(POLICY).await;
        for round in 0..renames() {
            let mut flows = Vec::new();
            for id in ["one", "two", "three"] {
                flows.push(host.reserve(id, 10).await.unwrap());
            }
            host.until_repaired(3).await;
            // The interface is looked at when the link is set down, by the name that it has until then.
            let pause = Duration::from_millis(2 * (round as u64 % 6));
            run("ip link set d0 down");
            tokio::time::sleep(pause).await;
            run("ip link set d0 name d9");
            run("ip link set d9 up");
            until_bare("d9").await;
            host.until_event(&["flow_link_gone", "three"]).await;
            drop(flows);
            run("ip link set d9 down");
            run("ip link set d9 name d0");
            set_up("d0");
            host.until_repaired(0).await;
        }
        host.engine.stop().await;
        until_bare("d0").await;
    };
    network.server.run(work).unwrap();
}

/// A policy of another interface.
const OTHER: &str = r#"
    version = 1
    [interface.d5]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
"#;

#[test]
fn an_interface_that_a_reload_drops_keeps_its_tree_until_its_last_flow_ends() {
    let Some(network) = lab_with(100, &["ip", "tc"]) else { return };
    let work = async {
        add_link();
        let mut host = Host::start(POLICY).await;
        // Without a flow.
        host.until_repaired(0).await;
        assert_eq!(host.engine.reload(policy(OTHER)).unwrap().orphans, [""; 0]);
        until_bare("d0").await;
        host.until_event(&["interface_released", "d0"]).await;
        assert!(host.engine.report().await.unwrap().is_empty(), "it is not listed any more");
        assert!(host.reserve("during", 10).await.is_err(), "the policy does not have it");
        // The policy has it again: it is prepared with its first flow.
        host.engine.reload(policy(POLICY)).unwrap();
        let [one, two] = [host.reserve("one", 10).await.unwrap(), host.reserve("two", 20).await.unwrap()];
        assert_eq!(one.decision.enforced().unwrap().lacking, []);
        host.until_repaired(2).await;
        // With flows, of which one ends.
        assert_eq!(host.engine.reload(policy(OTHER)).unwrap().orphans, ["one", "two"]);
        drop(one);
        let begun = Instant::now();
        while host.leaves("d0").await != Some(1) {
            assert!(begun.elapsed() < PATIENCE, "the class of the first flow stays");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = host.report().await.status;
        assert!(status.dropped && status.kernel.is_ok(), "{status:?}");
        assert_eq!((status.totals.sending.reserved, status.flows), (Rate::from_mbit(20), 1));
        assert_eq!(status.totals.sending.budget, Rate::ZERO);
        drop(two);
        until_bare("d0").await;
        host.until_event(&["interface_released", "d0"]).await;
        assert!(host.engine.report().await.unwrap().is_empty());
        host.engine.stop().await;
    };
    network.server.run(work).unwrap();
}
