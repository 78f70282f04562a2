//! Facts: what has happened, one struct for each kind.

use flowspec::{Both, Direction, Moment, Rate, Wsa};
use serde::{Serialize, Serializer};

use crate::admission::{Decision, Holding, NotProgrammed, OperationKind, PeerLoss, Reason, Refused, Reload};
use crate::failure::KernelFailure;
use crate::kernel::{Differences, Handle};
use crate::policy::GroupMode;

/// A fact and its time.
///
/// - **JSON**: one flat object: `{"at_us":3,"event":"flow_released","id":"v1","interface":"eth0",…}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recorded {
    /// When the manager handled the input that led to it.
    #[serde(rename = "at_us")]
    pub at: Moment,
    /// What has happened; its fields lie beside `at_us`.
    #[serde(flatten)]
    pub event: Event,
}

/// One thing that has happened, final when it is recorded: tagged in JSON by its variant, `flow_admitted`.
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
    FlowRerouted(FlowRerouted),
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
    InterfaceReleased(InterfaceReleased),
    InterfaceSharesWire(InterfaceSharesWire),
    RootTakenOver(RootTakenOver),
    RootRestored(RootRestored),
    RootNotRestored(RootNotRestored),
    RootFileFailed(RootFileFailed),
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
    /// What it is charged from now on.
    #[serde(flatten)]
    pub flow: Holding,
    /// Its class in the policy, where the request names one.
    pub class: Option<String>,
    /// The rendition it got, where its request names one.
    pub rendition: Option<String>,
    /// Its class in the kernel; `None` where it is enforced in user space alone.
    pub kernel_class: Option<Handle>,
}

impl Event {
    /// The name of each kind of event, as JSON has it.
    pub const KINDS: [&'static str; 36] = [
        "flow_admitted",
        "flow_refused",
        "flow_renegotiated",
        "flow_released",
        "flow_preempted",
        "flow_shed",
        "flow_link_gone",
        "flow_expired",
        "flow_timed_out",
        "flow_not_enforced",
        "flow_rerouted",
        "request_refused",
        "request_deferred",
        "request_queued",
        "group_made",
        "group_charged",
        "group_ended",
        "capacity_changed",
        "capacity_available",
        "interface_overcommitted",
        "interface_within_budget",
        "interface_prepared",
        "interface_left_to_user_space",
        "interface_gone",
        "interface_released",
        "root_taken_over",
        "root_restored",
        "root_not_restored",
        "root_file_failed",
        "interface_shares_wire",
        "tree_changed",
        "tree_applied",
        "tree_rolled_back",
        "class_measured",
        "policy_reloaded",
        "manager_faulted",
    ];

    /// The name of its kind: one of [`Self::KINDS`].
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::FlowAdmitted(_) => "flow_admitted",
            Self::FlowRefused(_) => "flow_refused",
            Self::FlowRenegotiated(_) => "flow_renegotiated",
            Self::FlowReleased(_) => "flow_released",
            Self::FlowPreempted(_) => "flow_preempted",
            Self::FlowShed(_) => "flow_shed",
            Self::FlowLinkGone(_) => "flow_link_gone",
            Self::FlowExpired(_) => "flow_expired",
            Self::FlowTimedOut(_) => "flow_timed_out",
            Self::FlowNotEnforced(_) => "flow_not_enforced",
            Self::FlowRerouted(_) => "flow_rerouted",
            Self::RequestRefused(_) => "request_refused",
            Self::RequestDeferred(_) => "request_deferred",
            Self::RequestQueued(_) => "request_queued",
            Self::GroupMade(_) => "group_made",
            Self::GroupCharged(_) => "group_charged",
            Self::GroupEnded(_) => "group_ended",
            Self::CapacityChanged(_) => "capacity_changed",
            Self::CapacityAvailable(_) => "capacity_available",
            Self::InterfaceOvercommitted(_) => "interface_overcommitted",
            Self::InterfaceWithinBudget(_) => "interface_within_budget",
            Self::InterfacePrepared(_) => "interface_prepared",
            Self::InterfaceLeftToUserSpace(_) => "interface_left_to_user_space",
            Self::InterfaceGone(_) => "interface_gone",
            Self::InterfaceReleased(_) => "interface_released",
            Self::RootTakenOver(_) => "root_taken_over",
            Self::RootRestored(_) => "root_restored",
            Self::RootNotRestored(_) => "root_not_restored",
            Self::RootFileFailed(_) => "root_file_failed",
            Self::InterfaceSharesWire(_) => "interface_shares_wire",
            Self::TreeChanged(_) => "tree_changed",
            Self::TreeApplied(_) => "tree_applied",
            Self::TreeRolledBack(_) => "tree_rolled_back",
            Self::ClassMeasured(_) => "class_measured",
            Self::PolicyReloaded(_) => "policy_reloaded",
            Self::ManagerFaulted(_) => "manager_faulted",
        }
    }

    /// The event of a decision that refuses; `None` for one that does not.
    pub fn of_refusal(decision: &Decision) -> Option<Self> {
        let refused = decision.refused()?;
        let (reason, error) = (refused.refusal.reason(), refused.refusal.wsa());
        let (operation, id) = (decision.operation(), decision.id().map(str::to_owned));
        Some(match (operation, id) {
            (OperationKind::Reserve | OperationKind::Renegotiate, Some(id)) => {
                let interface = decision.totals.keys().next().cloned();
                let refused = Box::new(refused.clone());
                Self::FlowRefused(FlowRefused { operation, id, interface, reason, error, refused })
            }
            (_, id) => Self::RequestRefused(RequestRefused { operation, id, reason, error }),
        })
    }
}

/// A flow's request for a reservation, new or changed, is refused. A flow that has one keeps it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowRefused {
    /// [`OperationKind::Reserve`] or [`OperationKind::Renegotiate`].
    #[serde(rename = "op")]
    pub operation: OperationKind,
    /// The id that the request gives the flow; no flow need have it.
    pub id: String,
    /// Its interface; `None` where no such flow is known.
    pub interface: Option<String>,
    /// The kind of refusal.
    pub reason: Reason,
    /// The code that the caller gets for `reason`. Source: WSPConnect, table of error codes.
    pub error: Wsa,
    /// The refusal with the sum that decided; in JSON its sentence, `message`.
    #[serde(rename = "message", serialize_with = "as_text")]
    pub refused: Box<Refused>,
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
    /// What it was charged, which is free now.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation to a more important one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowPreempted {
    /// What it was charged, which is free for `by` now.
    #[serde(flatten)]
    pub flow: Holding,
    /// The flow that preempted it.
    pub by: String,
}

/// A flow has lost its reservation since its link carries less than before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowShed {
    /// What it was charged, which is free now.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation since its interface is gone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowLinkGone {
    /// What it was charged on the interface that is gone.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation since its time is over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowExpired {
    /// What it was charged, which is free now.
    #[serde(flatten)]
    pub flow: Holding,
}

/// A flow has lost its reservation since it is without its peer for too long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowTimedOut {
    /// What it was charged, which is free now.
    #[serde(flatten)]
    pub flow: Holding,
    /// Which timeout of the policy has ended it.
    pub reason: PeerLoss,
}

/// A flow that was reserved ahead has lost its reservation at its start: the kernel does not enforce it, and the policy
/// demands it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowNotEnforced {
    /// What it was charged, which is free now.
    #[serde(flatten)]
    pub flow: Holding,
    /// Why the kernel has no class for it.
    pub why: NotProgrammed,
}

/// The kernel sends a flow's packets by another interface than before, or by none. Where its owner can send it to another
/// class, it is requested on the other interface, and [`FlowAdmitted`] or [`FlowRefused`] follows. Otherwise its reservation
/// is lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowRerouted {
    /// What it was charged on the interface before, which is free now.
    #[serde(flatten)]
    pub flow: Holding,
    /// The interface by which its packets leave now; `None` where the kernel has no route for them.
    pub to: Option<String>,
}

/// A request that is not for a flow's reservation is refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestRefused {
    /// Any but [`OperationKind::Reserve`] and [`OperationKind::Renegotiate`], which a [`FlowRefused`] reports.
    #[serde(rename = "op")]
    pub operation: OperationKind,
    /// The flow or group; `None` where it is for neither.
    pub id: Option<String>,
    /// The kind of refusal.
    pub reason: Reason,
    /// The code that the caller gets for `reason`. Source: WSPConnect, table of error codes.
    pub error: Wsa,
}

/// A request waits until the kernel has set up its interface's tree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RequestDeferred {
    /// The id that the request gives the flow.
    pub id: String,
    /// The interface whose tree is being set up.
    pub interface: String,
}

/// A flow that got nothing, or less than its best rendition, waits for capacity.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RequestQueued {
    /// The id that the request gives the flow.
    pub id: String,
    /// The interface whose capacity it waits for.
    pub interface: String,
}

/// There is a group that there was not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupMade {
    /// The id that the request or the policy gives the group.
    pub id: String,
    /// The one interface that all its members use.
    pub interface: String,
    /// What the interface charges for it: a budget of its own, or the largest member.
    pub mode: GroupMode,
    /// Bytes per second that its interface charges in place of its members' rates.
    pub charged: Both<Rate>,
}

/// A group is charged more or less than before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupCharged {
    /// The id that the request or the policy gave the group.
    pub id: String,
    /// The one interface that all its members use.
    pub interface: String,
    /// Bytes per second that its interface charges from now on, in place of its members' rates.
    pub charged: Both<Rate>,
    /// What it was charged before.
    pub previously: Both<Rate>,
}

/// A group is gone; what it was charged is free.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupEnded {
    /// The id that the request or the policy gave the group.
    pub id: String,
    /// The link that the group's charge was booked on.
    pub interface: String,
    /// Bytes per second that are free on its interface now.
    pub charged: Both<Rate>,
}

/// A link carries another rate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CapacityChanged {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The direction that the new rate is for; the other keeps its rate.
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
    /// The id under which it waits, which its request gives.
    pub id: String,
}

/// More is reserved on an interface than it carries now, and what is reserved cannot be shed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InterfaceOvercommitted {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The sum of what the interface charges, which is above `budget` in at least one direction.
    pub reserved: Both<Rate>,
    /// What may be reserved.
    pub budget: Both<Rate>,
}

/// What is reserved on an interface is within its budget again.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceWithinBudget {
    /// The name of the link: `eth0`.
    pub interface: String,
}

/// The kernel has an interface's tree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfacePrepared {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The kernel's ifindex.
    pub index: u32,
}

/// The kernel has no tree for an interface: its reservations are enforced in user space alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceLeftToUserSpace {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// What keeps the tree out of the kernel: the policy, a lack of privileges, another program, or a refusal of the
    /// kernel.
    pub why: NotProgrammed,
}

/// An interface is gone: deleted, or moved to another network namespace.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceGone {
    /// The name that the link had: `eth0`.
    pub interface: String,
}

/// An interface is managed no more, since the policy does not have it or its link has another name: the kernel has deleted its
/// tree, if it had one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceReleased {
    /// The name that the interface was managed under: `eth0`.
    pub interface: String,
    /// Why the kernel still has the tree; `None` where it has none.
    pub failure: Option<KernelFailure>,
}

/// Under `takeover = true` the root qdisc of another program was saved and deleted; it is restored once the interface is
/// managed no more.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RootTakenOver {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The kind of qdisc, as in `tc qdisc show`.
    pub kind: String,
    /// The number that it had.
    pub handle: Handle,
    /// Whether a process before this one has taken it over, which was killed.
    pub earlier: bool,
}

/// The root qdisc of another program that was taken over is there again, with its classes, queues and filters.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RootRestored {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The kind of qdisc, as in `tc qdisc show`.
    pub kind: String,
    /// The number that it has.
    pub handle: Handle,
}

/// The root qdisc of another program that was taken over could not be restored. What was made of it by then stays.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RootNotRestored {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The kind of qdisc, as in `tc qdisc show`.
    pub kind: String,
    /// The number that it had.
    pub handle: Handle,
    /// The request that failed.
    pub failure: KernelFailure,
}

/// The file of a root qdisc that was taken over could not be written, so that it is lost if this process is killed; or the
/// file of a process before this one is not to be trusted, and was not used.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RootFileFailed {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The call that failed, with the path of the file; for a file that was not used what is wrong with it.
    pub failure: KernelFailure,
}

/// Two interfaces send on one wire, and the policy names neither as the `parent` of the other: each has a budget, and
/// together these may exceed what the wire carries.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceSharesWire {
    /// The one above: `eth0.10`.
    pub interface: String,
    /// The one below: `eth0`; for a port of a bridge or a member of a bond, the bridge or the bond.
    pub with: String,
}

/// The kernel's tree of an interface is not as it was programmed. It is being repaired.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TreeChanged {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The differences from the tree that was programmed.
    pub found: Differences,
}

/// The kernel has carried out a change.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TreeApplied {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// How many operations the change has.
    pub operations: usize,
}

/// The kernel has refused an operation of a change, and none of the change is in force.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TreeRolledBack {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// How many operations the change has.
    pub operations: usize,
    /// The operation that failed.
    pub failure: KernelFailure,
}

/// The ledger counts the flows of a class as they were measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassMeasured {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The policy's class whose `admission` is measured.
    pub class: String,
    /// What its flows sent, on average.
    pub rate: Both<Rate>,
}

/// Another policy holds for what is requested from now on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PolicyReloaded {
    /// The files it was read from.
    pub sources: Vec<String>,
    /// What it changes, and where the ledger differs from a ledger that starts under the policy.
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

/// A fact as the text that a person reads.
fn as_text<T: ToString, S: Serializer>(fact: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&fact.to_string())
}
