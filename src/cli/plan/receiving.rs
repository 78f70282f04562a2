//! What would be programmed for what an interface receives, once a flow reserves for that.

use flowspec::{Direction, Rate};
use gqos::admission::NotProgrammed;
use gqos::linux::Ingress;
use gqos::manager::Manager;
use gqos::tc::{Desired, diff, receiver_name, receiving_commands, receiving_removal, redirect_commands};
use serde::Serialize;

use super::found::Found;
use super::tree::{PlanStep, PlannedClass, Qdisc, TreeDifference, commands, qdiscs};

/// The ifb of an interface.
#[derive(Serialize)]
pub(super) struct PlannedReceiving {
    pub(super) ifb: String,
    /// What the tree is built for: 95 % of what the link carries.
    pub(super) capacity: Rate,
    pub(super) reservable: Rate,
    /// Why there will be none; `None` where there will be.
    pub(super) not_programmed: Option<String>,
    pub(super) qdiscs: Vec<Qdisc>,
    pub(super) classes: Vec<PlannedClass>,
    pub(super) commands: Vec<String>,
    /// Present with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<TreeDifference>,
}

impl PlannedReceiving {
    /// The receiving half of an interface that a manager has seen; `None` where the policy has no budget for it, and where
    /// the machine has no such link.
    pub(super) fn new(manager: &Manager, found: &Found, compares: bool) -> Option<Self> {
        let (link, _, holder) = found.present.as_ref()?;
        let receiving = found.receiving.as_ref()?;
        let shape = manager.receiving_shape(&found.name)?;
        let is_user_space = manager.desired(&found.name).is_none();
        let foreign = match &receiving.ingress {
            Ingress::Foreign(foreign) => Some(NotProgrammed::ForeignIngress { kind: foreign.kind.clone() }),
            Ingress::Absent | Ingress::Own => None,
        };
        let why = match is_user_space {
            true => manager.status(&found.name).and_then(|status| status.kernel.err()),
            false => foreign,
        };
        let (ifb, tree) = (receiver_name(link.index), Desired::new(shape));
        let difference = compares.then(|| difference(found, (&tree, holder.is_some()), why.as_ref()));
        let all = || {
            let mut all = receiving_commands(link.index);
            all.splice(2..2, commands((ifb.as_str(), found.queue), &tree));
            all.extend(redirect_commands(&found.name, link.index));
            all
        };
        let capacity = manager.ledger().capacity(&found.name, Direction::Receiving)?;
        let budget = manager.ledger().policy().interface(&found.name)?.budget(Direction::Receiving);
        let is_planned = why.is_none();
        Some(Self {
            capacity: shape.rates.capacity,
            reservable: budget.reservable_of(capacity),
            qdiscs: if is_planned { qdiscs(&tree, found.queue) } else { Vec::new() },
            classes: tree.classes().filter(|_| is_planned).map(|class| PlannedClass::from(&class)).collect(),
            commands: if is_planned { all() } else { Vec::new() },
            not_programmed: why.map(|why| why.to_string()),
            difference,
            ifb,
        })
    }

    /// Whether the kernel was compared and has something else.
    pub(super) fn differs(&self) -> bool {
        self.difference.as_ref().is_some_and(|difference| difference.differs)
    }
}

/// How the kernel differs: a running manager's ifb from the tree, without the classes of its flows; where no manager runs,
/// what another one has left is to go, since a new one makes its ifb with the first flow.
fn difference(
    found: &Found,
    (tree, is_managed): (&Desired, bool),
    why: Option<&NotProgrammed>,
) -> TreeDifference {
    let is_foreign = matches!(why, Some(NotProgrammed::ForeignIngress { .. }));
    let none = TreeDifference { differs: is_foreign, changes: Vec::new(), flow_classes: 0 };
    let (Some((link, ..)), Some(receiving)) = (&found.present, &found.receiving) else { return none };
    match &receiving.tree {
        Some(observed) if is_managed => {
            let (observed, flow_classes) = observed.clone().without_flows(tree.shape());
            let ifb = receiver_name(link.index);
            let step = |op: &gqos::tc::Op| PlanStep {
                command: op.command(&ifb, found.queue),
                replaces: op.replaced(found.queue),
            };
            let changes: Vec<_> = diff(tree, &observed).ops.iter().map(step).collect();
            TreeDifference { differs: is_foreign || !changes.is_empty(), changes, flow_classes }
        }
        Some(_) => {
            let steps = receiving_removal(&found.name, link.index).into_iter();
            let changes = steps.map(|command| PlanStep { command, replaces: None }).collect();
            TreeDifference { differs: true, changes, flow_classes: 0 }
        }
        None => none,
    }
}
