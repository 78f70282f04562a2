//! What the manager would program on an interface, as values for text and JSON.

use std::sync::Arc;

use flowspec::{Bytes, Direction, Moment, Rate};
use gqos::admission::NotProgrammed;
use gqos::kernel::ClaimHolder;
use gqos::manager::{Input, Manager, Root, Seen};
use gqos::policy::{Capacity, Policy};
use gqos::tc::{Change, Desired, ForeignRoot, ObservedTree, Op, diff, shell_word};
use serde::Serialize;

use super::found::Found;
use super::receiving::PlannedReceiving;
use super::tree::{PlanStep, PlannedClass, Qdisc, TreeDifference, commands, qdiscs};

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
    /// What the first flow that reserves for receiving adds; `None` where the policy has no budget for that.
    pub(super) receiving: Option<PlannedReceiving>,
    /// The process that manages the interface now.
    pub(super) managed_by: Option<String>,
    /// Present with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<TreeDifference>,
}

/// What a link is taken to carry that this machine lacks: Ethernet's.
const USUAL_MTU: Bytes = Bytes::new(1500);

impl Planned {
    /// Lets a manager see the interface, and keeps what it would program.
    pub(super) fn new(policy: &Arc<Policy>, found: &Found, compares: bool) -> Self {
        let Found { name, present, .. } = found;
        let link = present.as_ref().map(|(link, ..)| link);
        let foreign = foreign_root(found);
        let takes_over = policy.interface(name).is_some_and(|interface| interface.takeover);
        let root = match foreign {
            Some(ForeignRoot { kind, handle }) if !takes_over => {
                Root::Foreign { kind: kind.clone(), handle: *handle }
            }
            // The manager replaces what is left of another one, and what it may take over.
            _ => Root::Default,
        };
        let mtu = link.map_or(USUAL_MTU, |link| link.mtu);
        let speed = link.and_then(|link| link.speed);
        let mut manager = Manager::new(Arc::clone(policy));
        let index = link.map_or(0, |link| link.index);
        let interface = name.clone();
        let seen = Seen { interface, index, mtu, speed, shares_wire_with: None, root };
        manager.handle(Input::Seen(seen), Moment::START);
        let tree = manager.desired(name);
        let why = manager.status(name).and_then(|status| status.kernel.err());
        let budget = policy.interface(name).map(|interface| *interface.budget(Direction::Sending));
        let capacity = manager.ledger().capacity(name, Direction::Sending);
        let mut commands = tree.map(|tree| commands((name.as_str(), found.queue), tree)).unwrap_or_default();
        if foreign.is_some() && tree.is_some() {
            commands.insert(0, removal(found));
        }
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
            commands,
            receiving: PlannedReceiving::new(&manager, found, compares),
            managed_by: present.as_ref().and_then(|(.., holder)| holder.as_ref()).map(ClaimHolder::to_string),
            difference: compares.then(|| {
                difference(found, tree, manager.status(name).and_then(|status| status.kernel.err()))
            }),
        }
    }

    /// Whether the kernel's tree was compared and is another one.
    pub(super) fn differs(&self) -> bool {
        let differs = self.difference.as_ref().is_some_and(|difference| difference.differs);
        differs || self.receiving.as_ref().is_some_and(PlannedReceiving::differs)
    }
}

/// How the kernel differs from a tree.
fn difference(found: &Found, tree: Option<&Desired>, why: Option<NotProgrammed>) -> TreeDifference {
    // A foreign root is left alone: the tree that the policy asks for cannot be there.
    let is_foreign = matches!(why, Some(NotProgrammed::ForeignRoot { .. }));
    let (observed, flow_classes) = match (&found.present, tree) {
        (Some((_, Ok(observed), Some(_))), Some(tree)) => observed.clone().without_flows(tree.shape()),
        (Some((_, Ok(observed), _)), _) => (observed.clone(), 0),
        (Some((_, Err(_), _)) | None, _) => (ObservedTree::default(), 0),
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
    let taken_over = foreign_root(found).filter(|_| tree.is_some()).map(|foreign| PlanStep {
        command: removal(found),
        replaces: Some(format!("{foreign}, which the host restores when it stops, if it can save it")),
    });
    let changes: Vec<_> = taken_over.into_iter().chain(change.ops.iter().map(step)).collect();
    TreeDifference { differs: is_foreign || !changes.is_empty(), changes, flow_classes }
}

/// The qdisc of another program at the root of an interface.
fn foreign_root(found: &Found) -> Option<&ForeignRoot> {
    found.present.as_ref().and_then(|(_, observed, _)| observed.as_ref().err())
}

/// The command that deletes whatever is at the root.
fn removal(found: &Found) -> String {
    format!("tc qdisc del dev {} root", shell_word(&found.name))
}
