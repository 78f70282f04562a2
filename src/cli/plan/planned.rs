//! What the manager would program on an interface, as values for text and JSON.

use std::sync::Arc;

use flowspec::{Bytes, Direction, Micros, Moment, Rate};
use gqos::admission::NotProgrammed;
use gqos::linux::{ClaimHolder, Link};
use gqos::manager::{Input, Manager, Root, Seen};
use gqos::policy::{Capacity, Policy};
use gqos::tc::{
    Change, ClassQueue, DEFAULT_CLASS, Desired, ForeignRoot, HtbClass, HtbRoot, ObservedTree, Op, QueueKind,
    diff,
};
use serde::Serialize;

pub(super) struct Found {
    pub(super) name: String,
    /// Which queue the kernel offers.
    pub(super) queue: QueueKind,
    /// The link, its tree and the process that manages it; `None` where the machine has no such link.
    pub(super) present: Option<(Link, Result<ObservedTree, ForeignRoot>, Option<ClaimHolder>)>,
}

/// What would be programmed on an interface.
#[derive(Serialize)]
pub(super) struct Planned {
    pub(super) interface: String,
    /// Its number; `None` where the machine has no such link.
    pub(super) index: Option<u32>,
    pub(super) mtu: Bytes,
    pub(super) capacity: Option<Rate>,
    /// Whether the capacity is the speed that the kernel reports.
    pub(super) capacity_is_read: bool,
    pub(super) reservable: Option<Rate>,
    /// Why nothing would be programmed; `None` where something would.
    pub(super) not_programmed: Option<String>,
    pub(super) qdiscs: Vec<Qdisc>,
    pub(super) classes: Vec<PlannedClass>,
    /// Sockets choose their class by SO_PRIORITY: there are no filters.
    pub(super) filters: [(); 0],
    pub(super) commands: Vec<String>,
    /// The process that manages the interface now.
    pub(super) managed_by: Option<String>,
    /// Present with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<TreeDifference>,
}

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

/// What a link is taken to carry that this machine lacks: Ethernet's.
const USUAL_MTU: Bytes = Bytes::new(1500);

impl Planned {
    /// Lets a manager see the interface, and keeps what it would program.
    pub(super) fn new(policy: &Arc<Policy>, found: &Found, compares: bool) -> Self {
        let Found { name, present, .. } = found;
        let link = present.as_ref().map(|(link, ..)| link);
        let root = match present {
            Some((_, Err(ForeignRoot { kind, handle }), _)) => {
                Root::Foreign { kind: kind.clone(), handle: *handle }
            }
            // The manager replaces what is left of another one.
            Some((_, Ok(_), _)) | None => Root::Default,
        };
        let mtu = link.map_or(USUAL_MTU, |link| link.mtu);
        let speed = link.and_then(|link| link.speed);
        let mut manager = Manager::new(Arc::clone(policy));
        let index = link.map_or(0, |link| link.index);
        let seen = Seen { interface: name.clone(), index, mtu, speed, root };
        manager.handle(Input::Seen(seen), Moment::START);
        let tree = manager.desired(name);
        let why = manager.status(name).and_then(|status| status.kernel.err());
        let budget = policy.interface(name).map(|interface| *interface.budget(Direction::Sending));
        let capacity = manager.ledger().capacity(name, Direction::Sending);
        Self {
            interface: name.clone(),
            index: link.map(|link| link.index),
            mtu,
            capacity,
            capacity_is_read: budget.is_some_and(|budget| budget.capacity == Capacity::Auto),
            reservable: budget.zip(capacity).map(|(budget, capacity)| budget.reservable_of(capacity)),
            not_programmed: why.filter(|_| tree.is_none()).map(|why| why.to_string()),
            qdiscs: tree.map(|tree| qdiscs(tree, found.queue)).unwrap_or_default(),
            classes: tree
                .into_iter()
                .flat_map(Desired::classes)
                .map(|class| PlannedClass::from(&class))
                .collect(),
            filters: [],
            commands: tree.map(|tree| commands(found, tree)).unwrap_or_default(),
            managed_by: present.as_ref().and_then(|(.., holder)| holder.as_ref()).map(ClaimHolder::to_string),
            difference: compares.then(|| {
                TreeDifference::new(found, tree, manager.status(name).and_then(|status| status.kernel.err()))
            }),
        }
    }

    /// Whether the kernel's tree was compared and is another one.
    pub(super) fn differs(&self) -> bool {
        self.difference.as_ref().is_some_and(|difference| difference.differs)
    }
}

impl TreeDifference {
    fn new(found: &Found, tree: Option<&Desired>, why: Option<NotProgrammed>) -> Self {
        // A foreign root is left alone: the tree that the policy asks for cannot be there.
        let is_foreign = matches!(why, Some(NotProgrammed::ForeignRoot { .. }));
        let (observed, flow_classes) = match &found.present {
            Some((_, Ok(observed), Some(_))) => observed.clone().without_flows(),
            Some((_, Ok(observed), None)) => (observed.clone(), 0),
            Some((_, Err(_), _)) | None => (ObservedTree::default(), 0),
        };
        let change = match (tree, observed.root()) {
            (Some(tree), _) => diff(tree, &observed),
            (None, Some(root)) => Change { ops: vec![Op::DeleteRoot(root)] },
            (None, None) => Change::default(),
        };
        let step = |op: &Op| PlanStep {
            command: op.command(&found.name, found.queue),
            replaces: op.replaced(found.queue),
        };
        let changes: Vec<_> = change.ops.iter().map(step).collect();
        Self { differs: is_foreign || !changes.is_empty(), changes, flow_classes }
    }
}

impl From<&HtbClass> for PlannedClass {
    fn from(class: &HtbClass) -> Self {
        let HtbClass { handle, parent, rate, ceil, burst, cburst, quantum, prio } = *class;
        let (handle, parent) = (handle.to_string(), parent.to_string());
        Self { handle, parent, kind: HtbRoot::KIND, rate, ceil, burst, cburst, quantum, prio }
    }
}

fn commands(found: &Found, tree: &Desired) -> Vec<String> {
    diff(tree, &ObservedTree::default()).ops.iter().map(|op| op.command(&found.name, found.queue)).collect()
}

fn qdiscs(tree: &Desired, kind: QueueKind) -> Vec<Qdisc> {
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
