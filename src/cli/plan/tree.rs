//! Qdiscs, classes and changes of a plan, as values for text and JSON.

use flowspec::{Bytes, Micros, Rate};
use gqos::tc::{ClassQueue, DEFAULT_CLASS, Desired, HtbClass, HtbRoot, ObservedTree, QueueKind, diff};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Qdisc {
    pub(super) handle: Option<String>,
    pub(super) parent: String,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<String>,
    /// Packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) direct_qlen: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interval: Option<Micros>,
}

#[derive(Serialize)]
pub(super) struct PlannedClass {
    pub(super) handle: String,
    pub(super) parent: String,
    pub(super) kind: &'static str,
    pub(super) rate: Rate,
    pub(super) ceil: Rate,
    pub(super) burst: Bytes,
    pub(super) cburst: Bytes,
    pub(super) quantum: Bytes,
    pub(super) prio: u32,
}

/// How the kernel's tree differs.
#[derive(Serialize)]
pub(super) struct TreeDifference {
    /// Whether the kernel's tree is another one.
    pub(super) differs: bool,
    pub(super) changes: Vec<PlanStep>,
    /// Classes of a running manager's flows, which are not compared.
    pub(super) flow_classes: usize,
}

#[derive(Serialize)]
pub(super) struct PlanStep {
    pub(super) command: String,
    /// What a change replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<String>,
}

impl From<&HtbClass> for PlannedClass {
    fn from(class: &HtbClass) -> Self {
        let HtbClass { handle, parent, rate, ceil, burst, cburst, quantum, prio } = *class;
        let (handle, parent) = (handle.to_string(), parent.to_string());
        Self { handle, parent, kind: HtbRoot::KIND, rate, ceil, burst, cburst, quantum, prio }
    }
}

/// The commands that make a tree on a device, where the kernel offers this queue.
pub(super) fn commands((device, queue): (&str, QueueKind), tree: &Desired) -> Vec<String> {
    diff(tree, &ObservedTree::default()).ops.iter().map(|op| op.command(device, queue)).collect()
}

pub(super) fn qdiscs(tree: &Desired, kind: QueueKind) -> Vec<Qdisc> {
    let HtbRoot { handle, default, direct_queue } = tree.root();
    let root = Qdisc {
        handle: Some(handle.to_string()),
        parent: "root".to_owned(),
        kind: HtbRoot::KIND,
        default: Some(handle.class(default).to_string()),
        direct_qlen: Some(direct_queue),
        limit: None,
        target: None,
        interval: None,
    };
    let ClassQueue { fq_codel, bfifo } = tree.shape().default_queue();
    let fq_codel = (kind == QueueKind::FqCodel).then_some(fq_codel);
    let bfifo = (kind == QueueKind::Bfifo).then_some(bfifo);
    let queue = Qdisc {
        handle: None,
        parent: DEFAULT_CLASS.to_string(),
        kind: kind.name(),
        default: None,
        direct_qlen: None,
        limit: bfifo.map(|bfifo| bfifo.limit),
        target: fq_codel.map(|fq_codel| fq_codel.target),
        interval: fq_codel.map(|fq_codel| fq_codel.interval),
    };
    vec![root, queue]
}
