//! The host: what this process may do, and the state of the interfaces.

use flowspec::{Bytes, Rate};

use super::facts::{InterfaceFacts, Privileges};
use super::finding::{Finding, FindingState, Remedy};
use crate::linux::{FoundFilter, Ingress, ReportedSpeed};
use crate::tc::{Filter, HtbRoot, Redirect, Target, receiver_name};

/// What this process may do.
pub(super) fn privileges(privileges: Privileges) -> Vec<Finding> {
    let Privileges { net_admin, net_raw, namespaces } = privileges;
    let one = |subject: &str, has: bool, state: FindingState, lack: Remedy<'_>| {
        let finding = Finding::ok("privileges", subject, if has { "yes" } else { "no" });
        if has { finding } else { finding.with(state, lack) }
    };
    vec![
        one(
            "CAP_NET_ADMIN",
            net_admin,
            FindingState::Lacking,
            Remedy {
                costs: "no tree can be programmed: reservations are enforced in user space alone, and other traffic of the link takes what is reserved",
                mend: "run as root, or setcap cap_net_admin+ep PROGRAM (systemd: AmbientCapabilities=CAP_NET_ADMIN)",
            },
        ),
        one(
            "CAP_NET_RAW",
            net_raw,
            FindingState::Note,
            Remedy {
                costs: "nothing if the process has CAP_NET_ADMIN; gqos test --lab cannot capture packets",
                mend: "run as root, or setcap cap_net_raw+ep PROGRAM",
            },
        ),
        one(
            "network namespaces",
            namespaces,
            FindingState::Note,
            Remedy {
                costs: "gqos demo and gqos test --lab cannot run, and kernel features cannot be tried",
                mend: "run as root, or allow user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone",
            },
        ),
    ]
}

pub(super) fn interfaces(interfaces: &[InterfaceFacts]) -> Vec<Finding> {
    let mut findings: Vec<_> = interfaces.iter().flat_map(|facts| interface(facts, interfaces)).collect();
    if !interfaces.iter().any(|facts| facts.link.is_up && facts.link.has_carrier) {
        let finding = Finding::ok("interfaces", "an interface that is up", "there is none");
        findings.push(finding.with(
            FindingState::Lacking,
            Remedy {
                costs: "no interface can send, so no flow is admitted",
                mend: "ip link set INTERFACE up, and connect its other end",
            },
        ));
    }
    findings
}

fn interface(facts: &InterfaceFacts, all: &[InterfaceFacts]) -> Vec<Finding> {
    let link = &facts.link;
    let topic = link.name.as_str();
    let state = match (link.is_up, link.has_carrier) {
        (true, true) => Finding::ok(topic, "state", "up"),
        (true, false) => Finding::ok(topic, "state", "up, no carrier").with(
            FindingState::Note,
            Remedy {
                costs: "nothing is admitted on it while its other end is not connected",
                mend: "connect its other end",
            },
        ),
        // Nothing else matters of an interface that is down.
        (false, _) => {
            return vec![Finding::ok(topic, "state", "down").with(
                FindingState::Note,
                Remedy { costs: "nothing is admitted on it", mend: &format!("ip link set {topic} up") },
            )];
        }
    };
    if link.kind.as_deref() == Some("vrf") {
        let remedy = Remedy {
            costs: "flows of sockets in it are reserved on the interfaces in it, by which their packets leave",
            mend: "define these interfaces in the policy, and not the VRF",
        };
        return vec![state, Finding::ok(topic, "kind", "VRF").with(FindingState::Note, remedy)];
    }
    let mtu = Finding::ok(topic, "MTU", format!("{} B", link.mtu.get()));
    let (speed, rate) = speed(topic, facts.speed);
    let mut findings =
        vec![state, mtu, speed, root(topic, facts), ingress(topic, facts), offloads(facts, rate)];
    findings.extend(shared_wire(topic, facts, all));
    findings.extend(facts.filters.iter().map(|found| filter(topic, found)));
    findings
}

/// Another interface on the same wire.
fn shared_wire(topic: &str, facts: &InterfaceFacts, all: &[InterfaceFacts]) -> Option<Finding> {
    let other = facts.link.shares_wire_with?;
    let other = all.iter().find(|facts| facts.link.index == other)?.link.name.as_str();
    let costs = format!(
        "without a parent in the policy, budgets are counted apart: what is reserved on {topic} is not kept free on {other}"
    );
    let mend = format!(
        "state it in the policy: parent = {other:?} for {topic}; where {other} is a bridge or a bond, parent = {topic:?} for {other}"
    );
    let remedy = Remedy { costs: &costs, mend: &mend };
    Some(Finding::ok(topic, "wire", format!("shared with {other}")).with(FindingState::Note, remedy))
}

fn speed(topic: &str, reported: Option<ReportedSpeed>) -> (Finding, Option<Rate>) {
    let finding = |found: String| Finding::ok(topic, "speed", found);
    let state_it = "state the capacity in the policy: capacity = \"1 Gbit/s\"";
    match reported {
        Some(ReportedSpeed { speed: Some(rate), is_virtual: false }) => {
            (finding(format!("{rate}, from the driver")), Some(rate))
        }
        Some(ReportedSpeed { speed: Some(rate), is_virtual: true }) => {
            let costs = "capacity = \"auto\" promises what the link may not carry";
            let found = finding(format!("{rate}, a constant of a virtual driver"));
            (found.with(FindingState::Note, Remedy { costs, mend: state_it }), None)
        }
        Some(ReportedSpeed { speed: None, .. }) | None => {
            let costs = "capacity = \"auto\" has no value: every reservation is refused as unknown_capacity";
            (
                finding("not reported".to_owned()).with(FindingState::Note, Remedy { costs, mend: state_it }),
                None,
            )
        }
    }
}

fn root(topic: &str, facts: &InterfaceFacts) -> Finding {
    let finding = |found: String| Finding::ok(topic, "root qdisc", found);
    let own = facts.root.clone().own().and_then(|root| root.map(HtbRoot::own).transpose());
    match (own, &facts.holder) {
        (Ok(None), None) => finding("the kernel's default".to_owned()),
        (Ok(None), Some(holder)) => finding(format!("the kernel's default; claimed by {holder}")),
        (Ok(Some(root)), Some(holder)) => finding(format!("gqos's, htb {}, of {holder}", root.handle)),
        (Ok(Some(root)), None) => {
            finding(format!("gqos's, htb {}, of no process", root.handle)).with(FindingState::Note, Remedy {
                costs: "traffic is shaped by classes that no process manages, until gqos starts here again",
                mend: &format!("gqos clean --interface {topic}"),
            })
        }
        (Err(foreign), _) => finding(format!("{foreign}, of another program")).with(FindingState::Lacking, Remedy {
            costs: "it is left alone: reservations on this interface are enforced in user space alone, and refused under enforcement = \"kernel\"",
            mend: &format!("tc qdisc del dev {topic} root, if nothing needs it"),
        }),
    }
}

/// What has the packets that an interface receives.
fn ingress(topic: &str, facts: &InterfaceFacts) -> Finding {
    let finding = |found: String| Finding::ok(topic, "ingress qdisc", found);
    let ifb = receiver_name(facts.link.index);
    match (&facts.ingress, &facts.holder) {
        (Ingress::Absent, _) => finding("none".to_owned()),
        (Ingress::Own, Some(holder)) => finding(format!("gqos's, redirected to {ifb}, of {holder}")),
        (Ingress::Own, None) => {
            finding(format!("gqos's, redirected to {ifb}, of no process")).with(FindingState::Note, Remedy {
                costs: "what is received is shaped by classes that no process manages, until gqos starts here again",
                mend: &format!("gqos clean --interface {topic}"),
            })
        }
        (Ingress::Foreign(foreign), _) => {
            finding(format!("{}, of another program", foreign.kind)).with(FindingState::Lacking, Remedy {
                costs: "it is left alone: what is reserved for receiving is held by reading slowly alone, and other traffic that arrives may take its place",
                mend: &format!("tc qdisc del dev {topic} {}, if nothing needs it", foreign.kind),
            })
        }
    }
}

fn filter(topic: &str, FoundFilter { kind, filter }: &FoundFilter) -> Finding {
    let finding = |found: String| Finding::ok(topic, "egress filter", found);
    let remove =
        format!("tc filter del dev {topic} egress, or del dev {topic} parent QDISC:, if nothing needs it");
    match filter.as_ref().map(Filter::target) {
        None => finding(format!("{kind}, not read")).with(
            FindingState::Unknown,
            Remedy {
                costs: "it may drop, mark or redirect packets before they reach their class",
                mend: &remove,
            },
        ),
        Some(Target { redirect: Some(Redirect { index }), .. }) => finding(format!(
            "{kind}: packets that match go to interface {index}"
        ))
        .with(
            FindingState::Note,
            Remedy {
                costs: "what is reserved for them here has no effect: they pass no class of this interface",
                mend: &remove,
            },
        ),
        Some(Target { class: Some(class), .. }) => finding(format!("{kind}: class {class}")),
        Some(_) => finding(format!("{kind}: no class")),
    }
}

/// An aggregate that takes longer than this to send is noticed by flows with small buckets, in microseconds.
const LONG_WAIT: u64 = 1_000;

fn offloads(facts: &InterfaceFacts, rate: Option<Rate>) -> Finding {
    let link = &facts.link;
    let shown =
        |name: &str, on: Option<bool>| on.map(|on| format!("{name} {}", if on { "on" } else { "off" }));
    let offloads = link.offloads;
    let parts = [shown("GSO", offloads.gso), shown("TSO", offloads.tso), shown("GRO", offloads.gro)];
    let mut parts: Vec<_> = parts.into_iter().flatten().collect();
    let largest = link.gso_max_size.unwrap_or(Bytes::new(64 << 10));
    let aggregates = offloads.gso != Some(false) || offloads.tso != Some(false);
    if aggregates {
        parts.push(format!("aggregates up to {} B", largest.get()));
    }
    let finding = Finding::ok(
        &link.name,
        "offloads",
        if parts.is_empty() { "not known".to_owned() } else { parts.join(", ") },
    );
    let wait = rate.filter(|rate| *rate > Rate::ZERO && aggregates);
    let wait = wait.map(|rate| u128::from(largest.get()) * 1_000_000 / u128::from(rate.get()));
    match wait.filter(|micros| *micros > u128::from(LONG_WAIT)) {
        None => finding,
        Some(micros) => finding.with(
            FindingState::Note,
            Remedy {
                costs: &format!(
                    "a reserved packet waits up to {micros} us for an aggregate of other traffic"
                ),
                mend: &format!("ip link set {} gso_max_size 16384", link.name),
            },
        ),
    }
}
