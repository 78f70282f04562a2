//! Changes that the kernel has not answered: what each is for, and what its roll-back restores.

use flowspec::Qos;

use super::flow::FlowPhase;
use super::message::RequestId;
use super::turn::DecisionReply;
use crate::admission::{Displaced, EndedIds, Grant, Holding, Operation, Renegotiation};
use crate::failure::KernelFailure;
use crate::tc::{Change, Handle, HtbClass, Op, flow_number, is_shared_class};
use crate::telemetry::event::FlowAdmitted;

/// A change that the kernel has not answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) interface: String,
    pub(super) operations: usize,
    /// The classes of flows that it changes.
    pub(super) replaced: Vec<ReplacedFlow>,
    pub(super) purpose: Purpose,
}

/// A class that a change replaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplacedFlow {
    pub(super) class: Handle,
    /// The class before the change, which a roll-back restores; `None` where there was none.
    pub(super) before: Option<HtbClass>,
}

/// A request that waits until the kernel has answered about its interface's tree.
#[derive(Debug)]
pub(super) struct Deferred {
    pub(super) request: RequestId,
    pub(super) operation: Box<Operation>,
    /// A process that was killed had admitted it, with this class if it had one.
    pub(super) adopted: Option<Option<Handle>>,
}

#[derive(Debug)]
pub(super) enum Purpose {
    /// An interface's tree.
    SetUp,
    /// The end of an interface's tree.
    TearDown,
    /// What makes the kernel's tree the desired one again.
    Repair,
    /// The link carries another rate; `None` where no request waits for it.
    Trunk { reply: Option<Box<DecisionReply>> },
    /// The class of a new flow, with the end of the classes of those that it preempts.
    Admit { id: String, admission: Box<PendingAdmission> },
    /// The class of a flow whose reservation begins.
    Begin { id: String },
    /// Another rate for a flow's class.
    Renegotiate { id: String, renegotiation: Box<PendingRenegotiation> },
    /// The end of a flow's class.
    Release { id: String, requester: Option<Requester> },
    /// The end of the class of a flow that has lost its reservation.
    Lose { class: Handle },
    /// The rate of a class that a roll-back left with another one than its flows have.
    Realign,
}

/// A flow that the ledger has granted.
#[derive(Debug)]
pub(super) struct PendingAdmission {
    pub(super) reply: DecisionReply,
    pub(super) displaced: Vec<DisplacedFlow>,
    /// To be recorded once the kernel agrees.
    pub(super) event: Option<Box<FlowAdmitted>>,
}

/// A flow that is preempted once the kernel agrees.
#[derive(Debug)]
pub(super) struct DisplacedFlow {
    pub(super) displaced: Displaced,
    /// What it held, by the last event about it.
    pub(super) held: Holding,
    /// Its phase before; `None` where it was admitted before its interface was seen.
    pub(super) phase: Option<FlowPhase>,
}

/// Another reservation for a flow, which the ledger has granted.
#[derive(Debug)]
pub(super) struct PendingRenegotiation {
    pub(super) request: RequestId,
    pub(super) renegotiation: Renegotiation,
    /// The flow's request and grant from then on.
    pub(super) qos: Qos,
    pub(super) grant: Grant,
}

/// A request, with the flows that had ended when it was made.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) request: RequestId,
    pub(super) ended: EndedIds,
}

/// A renegotiation with the kernel's answer. While its flow is displaced, it waits for the kernel's answer to that as
/// well.
#[derive(Debug)]
pub(super) struct AppliedRenegotiation {
    pub(super) id: String,
    pub(super) renegotiation: PendingRenegotiation,
    pub(super) result: Result<(), KernelFailure>,
}

impl ReplacedFlow {
    /// The class that an operation replaces, if it replaces one.
    fn of(op: &Op) -> Option<Self> {
        match op {
            Op::AddClass(class) => Some(Self { class: class.handle, before: None }),
            Op::ChangeClass { to, from } => Some(Self { class: to.handle, before: Some(*from) }),
            Op::DeleteClass(class) => Some(Self { class: class.handle, before: Some(*class) }),
            Op::AddRoot(_)
            | Op::DeleteRoot(_)
            | Op::AddQueue { .. }
            | Op::ChangeQueue { .. }
            | Op::DeleteQueue { .. }
            | Op::DeleteForeignQueue { .. }
            | Op::DeleteFilter(_) => None,
        }
    }
}

impl Pending {
    pub(super) fn new(interface: &str, change: &Change, purpose: Purpose) -> Self {
        let mut replaced: Vec<ReplacedFlow> = Vec::new();
        for op in &change.ops {
            // A class that an earlier operation of the change has made or changed is restored by its undo.
            let Some(of) = ReplacedFlow::of(op) else { continue };
            if is_flows(of.class) && replaced.iter().all(|earlier| earlier.class != of.class) {
                replaced.push(of);
            }
        }
        let (interface, operations) = (interface.to_owned(), change.ops.len());
        Self { interface, operations, replaced, purpose }
    }

    pub(super) fn changes(&self, interface: &str, class: Handle) -> bool {
        self.interface == interface && self.replaced.iter().any(|replaced| replaced.class == class)
    }
}

fn is_flows(class: Handle) -> bool {
    flow_number(class).is_some() || is_shared_class(class)
}
