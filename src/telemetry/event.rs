//! Facts: what has happened, one struct for each kind.

use flowspec::{Both, Direction, Moment, Rate, Wsa};
use serde::Serialize;

use crate::admission::{Holding, NotProgrammed, OperationKind, PeerLoss, Reason, Reload};
use crate::failure::KernelFailure;
use crate::policy::GroupMode;
use crate::tc::Handle;

/// A fact and its time.
///
/// - **JSON**: one flat object: `{"at_us":3,"event":"flow_released","id":"v1","interface":"eth0",…}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    /// When the manager handled the input that led to it.
    #[serde(rename = "at_us")]
    pub at: Moment,
    /// The fact.
    #[serde(flatten)]
    pub event: Event,
}

/// A fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is named for its struct, which is documented")]
pub enum Event {
    FlowAdmitted(FlowAdmitted),
    FlowRefused(FlowRefused),
    FlowRenegotiated(FlowRenegotiated),
    FlowReleased(FlowReleased),
    FlowPreempted(FlowPreempted),
    FlowShed(FlowShed),
    FlowLinkGone(FlowLinkGone),
    FlowExpired(FlowExpired),
    FlowTimedOut(FlowTimedOut),
    FlowNotEnforced(FlowNotEnforced),
    RequestRefused(RequestRefused),
    RequestDeferred(RequestDeferred),
    RequestQueued(RequestQueued),
    GroupMade(GroupMade),
    GroupCharged(GroupCharged),
    GroupEnded(GroupEnded),
    CapacityChanged(CapacityChanged),
    CapacityAvailable(CapacityAvailable),
    InterfaceOvercommitted(InterfaceOvercommitted),
    InterfaceWithinBudget(InterfaceWithinBudget),
    InterfacePrepared(InterfacePrepared),
    InterfaceLeftToUserSpace(InterfaceLeftToUserSpace),
    InterfaceGone(InterfaceGone),
    TreeChanged(TreeChanged),
    TreeApplied(TreeApplied),
    TreeRolledBack(TreeRolledBack),
    ClassMeasured(ClassMeasured),
    PolicyReloaded(PolicyReloaded),
    ManagerFaulted(ManagerFaulted),
}

/// A flow is admitted: its rate is reserved and, where the interface has a tree, its class is programmed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowAdmitted {
    /// The flow and what it is charged.
    #[serde(flatten)]
    pub flow: Holding,
    /// Its class in the policy, where the request names one.
    pub class: Option<String>,
    /// The rendition it got, where its request names one.
    pub rendition: Option<String>,
    /// Its class in the kernel; `None` where it is enforced in user space alone.
    pub kernel_class: Option<Handle>,
}

/// A flow's request for a reservation, new or changed, is refused. A flow that has one keeps it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowRefused {
    /// [`OperationKind::Reserve`] or [`OperationKind::Renegotiate`].
    #[serde(rename = "op")]
    pub operation: OperationKind,
    /// The flow.
    pub id: String,
    /// Its interface; `None` where no such flow is known.
    pub interface: Option<String>,
    /// The kind of refusal.
    pub reason: Reason,
    /// The Winsock error.
    pub error: Wsa,
    /// The refusal in a sentence, with the sum that decided.
    pub message: String,
}

/// A flow has another reservation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowRenegotiated {
    /// The flow and what it is charged now.
    #[serde(flatten)]
    pub flow: Holding,
    /// What it was charged before.
    pub previously: Both<Rate>,
}

/// A flow has ended as its owner asked; what it was charged is free.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowReleased {
    /// The flow and what it was charged.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation to a more important one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowPreempted {
    /// The flow and what it was charged.
    #[serde(flatten)]
    pub flow: Holding,
    /// The flow that preempted it.
    pub by: String,
}

/// A flow has lost its reservation since its link carries less than before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowShed {
    /// The flow and what it was charged.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation since its interface is gone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowLinkGone {
    /// The flow and what it was charged.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation since its time is over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowExpired {
    /// The flow and what it was charged.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation since it is without its peer for too long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowTimedOut {
    /// The flow and what it was charged.
    #[serde(flatten)]
    pub flow: Holding,
    /// Which timeout of the policy has ended it.
    pub reason: PeerLoss,
}

/// A flow that was reserved ahead has lost its reservation at its start: the kernel does not enforce it, and the policy
/// demands it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowNotEnforced {
    /// The flow and what it was charged.
    #[serde(flatten)]
    pub flow: Holding,
    /// Why.
    pub why: NotProgrammed,
}

/// A request that is not for a flow's reservation is refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestRefused {
    /// What was requested.
    #[serde(rename = "op")]
    pub operation: OperationKind,
    /// The flow or group; `None` where it is for neither.
    pub id: Option<String>,
    /// The kind of refusal.
    pub reason: Reason,
    /// The Winsock error.
    pub error: Wsa,
}

/// A request waits until the kernel has set up its interface's tree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RequestDeferred {
    /// The flow.
    pub id: String,
    /// Its interface.
    pub interface: String,
}

/// A flow that got nothing, or less than its best rendition, waits for capacity.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RequestQueued {
    /// The flow.
    pub id: String,
    /// Its interface.
    pub interface: String,
}

/// There is a group that there was not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupMade {
    /// The group.
    pub id: String,
    /// Its interface.
    pub interface: String,
    /// How it is charged.
    pub mode: GroupMode,
    /// What its interface charges for it.
    pub charged: Both<Rate>,
}

/// A group is charged more or less than before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupCharged {
    /// The group.
    pub id: String,
    /// Its interface.
    pub interface: String,
    /// What its interface charges for it.
    pub charged: Both<Rate>,
    /// What it was charged before.
    pub previously: Both<Rate>,
}

/// A group is gone; what it was charged is free.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupEnded {
    /// The group.
    pub id: String,
    /// Its interface.
    pub interface: String,
    /// What its interface charged for it.
    pub charged: Both<Rate>,
}

/// A link carries another rate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CapacityChanged {
    /// The interface.
    pub interface: String,
    /// Which way.
    pub direction: Direction,
    /// What the link carries.
    pub capacity: Rate,
    /// When a larger capacity counts, where the policy has a hysteresis; `None` where it counts now.
    #[serde(rename = "counts_from_us", skip_serializing_if = "Option::is_none")]
    pub counts_from: Option<Moment>,
}

/// A flow that waits for capacity is notified: its request would fit now.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CapacityAvailable {
    /// The flow.
    pub id: String,
}

/// More is reserved on an interface than it carries now, and what is reserved cannot be shed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InterfaceOvercommitted {
    /// The interface.
    pub interface: String,
    /// What is reserved.
    pub reserved: Both<Rate>,
    /// What may be reserved.
    pub budget: Both<Rate>,
}

/// What is reserved on an interface is within its budget again.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceWithinBudget {
    /// The interface.
    pub interface: String,
}

/// The kernel has an interface's tree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfacePrepared {
    /// The interface.
    pub interface: String,
    /// Its number.
    pub index: u32,
}

/// The kernel has no tree for an interface: its reservations are enforced in user space alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceLeftToUserSpace {
    /// The interface.
    pub interface: String,
    /// Why.
    pub why: NotProgrammed,
}

/// An interface is gone: deleted, or moved to another network namespace.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceGone {
    /// The interface.
    pub interface: String,
}

/// The kernel's tree of an interface is not as it was programmed. It is being repaired.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TreeChanged {
    /// The interface.
    pub interface: String,
    /// What was found.
    pub found: String,
}

/// The kernel has carried out a change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TreeApplied {
    /// The interface.
    pub interface: String,
    /// How many operations the change has.
    pub operations: usize,
}

/// The kernel has refused an operation of a change, and none of the change is in force.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TreeRolledBack {
    /// The interface.
    pub interface: String,
    /// How many operations the change has.
    pub operations: usize,
    /// The operation that failed.
    pub failure: KernelFailure,
}

/// The ledger counts the flows of a class as they were measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassMeasured {
    /// The interface.
    pub interface: String,
    /// The class.
    pub class: String,
    /// What its flows sent, on average.
    pub rate: Both<Rate>,
}

/// Another policy holds for what is requested from now on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PolicyReloaded {
    /// The files it was read from.
    pub sources: Vec<String>,
    /// What it changes, and where the ledger differs from one that starts under it.
    #[serde(flatten)]
    pub reload: Reload,
}

/// The manager has panicked. The request that it handled is refused.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ManagerFaulted {
    /// What the panic says.
    pub fault: String,
    /// Whether nothing is admitted any more, since the state is in doubt. Admitted flows keep what they have.
    pub admission_stopped: bool,
}
