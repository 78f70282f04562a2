//! The state of interfaces, with what the kernel counts.

use std::collections::BTreeMap;

use flowspec::{Bytes, Rate};
use serde::Serialize;

use super::drain::KernelClassCounters;
use crate::admission::NotProgrammed;
use crate::linux::ClassState;
use crate::manager::{FlowsOfClass, Status};
use crate::ordered::OrderedMap;
use crate::tc::{DEFAULT_CLASS, Handle, LINK_CLASS, LINK_HEADER, is_idle};

/// The state of an interface, with what the kernel counts.
///
/// ```no_run
/// use gqos::connect::{ConnectError, Host, InterfaceReport};
///
/// async fn print(host: &Host) -> Result<(), ConnectError> {
///     for InterfaceReport { interface, status, classes, .. } in host.report().await? {
///         println!("{interface}: {} reserved for sending", status.totals.sending.reserved);
///         for class in classes {
///             println!("  {} {}: {} bytes sent, {} packets dropped", class.class, class.flow, class.sent_bytes, class.dropped);
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct InterfaceReport {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// Budget, reserved, and whether a tree is programmed.
    pub status: Status,
    /// The ifb that carries what the interface receives, or why the kernel has none at present; `None` while no flow
    /// reserves for receiving.
    pub receiving: Option<Result<String, NotProgrammed>>,
    /// Packets that bypassed every class.
    pub direct_packets: u32,
    /// The kernel's classes.
    pub classes: Vec<ClassReport>,
}

impl InterfaceReport {
    /// The report of an interface whose classes are not read.
    pub(super) const fn without_tree(interface: String, status: Status) -> Self {
        Self { interface, status, receiving: None, direct_packets: 0, classes: Vec::new() }
    }
}

/// A leaf of an interface's tree, with the kernel's counters.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// As `tc` writes it.
    pub class: String,
    /// The flow it carries, or the group whose members share it; `link` and `default` for the trunk, `idle` for a class that is kept
    /// for the next flow.
    pub flow: String,
    /// Whether `flow` is a group. Not in the demo's JSON, whose fields are fixed.
    #[serde(skip)]
    pub is_group: bool,
    /// The group of its flows; `None` where they have none, or several. Not in the demo's JSON either.
    #[serde(skip)]
    pub group: Option<String>,
    /// The class of the policy that its flows have; `None` where they have none, or several. Not in the demo's JSON either.
    #[serde(skip)]
    pub policy_class: Option<String>,
    /// Its rate, link headers included.
    pub rate: Rate,
    /// What the kernel counted since the flow began, link headers included.
    pub sent_bytes: u64,
    /// Packets that its queue dropped since then.
    pub dropped: u32,
    /// How often it has run out of tokens since then, so that the packets that followed waited. Not in the demo's JSON either.
    #[serde(skip)]
    pub delayed: u32,
    /// Packets that wait in its queue. Not in the demo's JSON either.
    #[serde(skip)]
    pub queued: u32,
    /// The bytes of these packets, link headers included. Not in the demo's JSON either.
    #[serde(skip)]
    pub queued_bytes: u32,
    /// What its flows have reserved, and what it sent of that, without link headers: `None` where it is not known. Not in
    /// the demo's JSON either.
    #[serde(skip)]
    pub reserved: Option<SentOfReserved>,
}

/// What a class is to send, and what it has sent, in bytes of IP datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SentOfReserved {
    /// The sum of r of its flows.
    pub rate: Rate,
    /// Since its flow began.
    pub sent: Bytes,
}

/// What the kernel counts of an interface.
pub(super) struct Counts {
    pub(super) direct_packets: u32,
    pub(super) states: Vec<ClassState>,
}

/// What the engine knew of an interface when the kernel was asked for a report.
pub(super) struct ReportPart {
    pub(super) interface: String,
    pub(super) status: Status,
    /// The flows of its classes.
    pub(super) flows: BTreeMap<Handle, FlowsOfClass>,
    /// What the classes had counted when they became a flow's.
    pub(super) before: OrderedMap<Handle, KernelClassCounters>,
}

impl ReportPart {
    pub(super) fn class_reports(&self, states: &[ClassState]) -> Vec<ClassReport> {
        let before = |state: &ClassState| self.before.get(&state.class.handle).copied().unwrap_or_default();
        states.iter().map(|state| class_report(state, &self.flows, before(state))).collect()
    }
}

/// The report of a class, whose flow began with `before` on the kernel's counters.
fn class_report(
    state: &ClassState,
    flows: &BTreeMap<Handle, FlowsOfClass>,
    before: KernelClassCounters,
) -> ClassReport {
    let counts = KernelClassCounters::of(state).since(before);
    let handle = state.class.handle;
    let flow = match handle {
        LINK_CLASS => "link".to_owned(),
        DEFAULT_CLASS => "default".to_owned(),
        _ if is_idle(&state.class) => "idle".to_owned(),
        _ => flows.get(&handle).map(|flows| flows.name().to_owned()).unwrap_or_default(),
    };
    let is_group = !is_idle(&state.class) && flows.get(&handle).is_some_and(|flows| flows.is_of_group);
    let headers = LINK_HEADER.get().saturating_mul(u64::from(counts.sent_packets));
    let reserved = flows.get(&handle).map(|flows| SentOfReserved {
        // A group may have reserved less than its members may use.
        rate: flows.rate.min(state.class.rate),
        sent: Bytes::new(counts.sent_bytes.saturating_sub(headers)),
    });
    ClassReport {
        class: handle.to_string(),
        flow,
        is_group,
        group: flows.get(&handle).and_then(|flows| flows.group.clone()),
        policy_class: flows.get(&handle).and_then(|flows| flows.policy_class.clone()),
        rate: state.class.rate,
        sent_bytes: counts.sent_bytes,
        dropped: counts.dropped,
        delayed: counts.delayed,
        queued: state.queued,
        queued_bytes: state.queued_bytes,
        reserved,
    }
}
