//! The classes of one interface's ifb, as the engine knows them.

use std::time::Duration;

use flowspec::Errno;
use tokio::sync::oneshot;

use super::kernel::Kernel;
use super::patience::patience;
use crate::admission::NotProgrammed;
use crate::failure::KernelFailure;
use crate::kernel::KernelClass;
use crate::linux::{ClassState, ReceivingLinks};
use crate::ordered::OrderedMap;
use crate::tc::{
    Arriving, Desired, ForeignRoot, Framed, Handle, LARGEST_FLOW_CLASSES, LinkShape, PlacedFilter,
    ReceivingChange, flow_class,
};

/// The ifb of an interface as the kernel has it.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// Its ifindex.
    pub(super) ifb: u32,
    pub(super) tree: Desired,
    /// The link that the tree was last to be built for.
    pub(super) wanted: LinkShape,
    /// Why the kernel does not have it at present.
    pub(super) lacking: Option<NotProgrammed>,
    /// The flows with a class.
    pub(super) flows: OrderedMap<String, ReceivingFlow>,
    /// How often its time was doubled, since the kernel was too slow to set it up.
    late: u32,
}

/// How often the time is doubled: 24 seconds are then the least.
const MOST_LATE: u32 = 3;

/// The class of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct ReceivingFlow {
    pub(super) class: Handle,
    /// The flow's packets; `None` until its addresses are known: then nothing is in the class.
    pub(super) arriving: Option<Arriving>,
}

/// An interface's ifb after a change, and the change.
pub(super) struct ReceiverChange {
    /// The flow that is given a class.
    pub(super) flow: String,
    pub(super) receiver: Receiver,
    pub(super) change: ReceivingChange,
    /// There is no ifb yet.
    pub(super) is_new: bool,
}

/// Where a flow's class is reported.
pub(super) type ReceiveReply = oneshot::Sender<Result<KernelClass, NotProgrammed>>;

/// What became of a change of an interface's ifb.
pub(super) struct ChangedIfb {
    pub(super) index: u32,
    /// The ifb after the change, or why the kernel has not made it.
    pub(super) result: Result<Receiver, NotProgrammed>,
    /// The ifb as it was to be.
    pub(super) wanted: Receiver,
    /// The ifb was to be set up.
    pub(super) is_new: bool,
    /// The flow that is given a class, and where that is reported.
    pub(super) joins: Option<(String, ReceiveReply)>,
}

impl Receiver {
    pub(super) fn new(shape: LinkShape) -> Self {
        let tree = Desired::new(shape);
        Self { ifb: 0, tree, wanted: shape, lacking: None, flows: OrderedMap::new(), late: 0 }
    }

    /// How long the kernel may take for this many operations on it. What is given up begins anew: a kernel that is too slow
    /// once would be each time.
    pub(super) fn patience(&self, operations: usize) -> Duration {
        patience(operations).saturating_mul(1 << self.late)
    }

    /// It could not be set up.
    pub(super) fn not_set_up(&mut self, why: &NotProgrammed) {
        if matches!(why, NotProgrammed::Kernel(failure) if failure.is_timeout()) {
            self.late = MOST_LATE.min(self.late + 1);
        }
    }

    /// Gives a flow a class, or changes the one that it has: the change to apply.
    ///
    /// - **Errors**: every class is in use.
    pub(super) fn join(
        &mut self,
        id: &str,
        framed: Framed,
        arriving: Option<Arriving>,
    ) -> Result<ReceivingChange, NotProgrammed> {
        let before = self.flows.get(id).copied();
        let free =
            || (0..LARGEST_FLOW_CLASSES).map(flow_class).find(|class| self.tree.leaf(*class).is_none());
        let class = before.map(|before| before.class).or_else(free);
        let class = class.ok_or(NotProgrammed::ClassesInUse { limit: LARGEST_FLOW_CLASSES })?;
        let mut change =
            ReceivingChange { tree: self.tree.set_leaf(class, Some(framed)), ..ReceivingChange::default() };
        let after = ReceivingFlow { class, arriving: arriving.or(before.and_then(|before| before.arriving)) };
        if before != Some(after) {
            change.without.extend(before.and_then(ReceivingFlow::filter));
            change.with.extend(after.filter());
        }
        self.flows.insert(id.to_owned(), after);
        Ok(change)
    }

    /// Takes a flow's class: the change to apply, if it has one.
    pub(super) fn leave(&mut self, id: &str) -> Option<ReceivingChange> {
        let flow = self.flows.remove(id)?;
        let without = flow.filter().into_iter().collect();
        Some(ReceivingChange { without, tree: self.tree.set_leaf(flow.class, None), with: Vec::new() })
    }

    /// The ifb after a change that concerns no flow's admission.
    pub(super) const fn changed(self, change: ReceivingChange) -> ReceiverChange {
        ReceiverChange { flow: String::new(), receiver: self, change, is_new: false }
    }

    /// The ifb as it is set up, with everything that is in it.
    pub(super) fn set_up(self) -> ReceiverChange {
        let change = ReceivingChange::default();
        ReceiverChange { flow: String::new(), receiver: self, change, is_new: true }
    }

    pub(super) fn filters(&self) -> Vec<PlacedFilter> {
        self.flows.values().copied().filter_map(ReceivingFlow::filter).collect()
    }
}

impl ReceivingFlow {
    /// The filter of the flow. It has fewer keys than the kernel takes.
    fn filter(self) -> Option<PlacedFilter> {
        self.arriving?.filter(self.class)?.ok()
    }
}

impl ReceiverChange {
    /// How many requests it takes, about.
    pub(super) fn operations(&self) -> usize {
        let Self { receiver, change, is_new, .. } = self;
        match is_new {
            true => receiver.tree.leaves().count() + receiver.flows.len(),
            false => change.tree.ops.len() + change.with.len() + change.without.len(),
        }
    }

    /// Changes the ifb of an interface: all of it or nothing. The ifb after that.
    ///
    /// - **Errors**: why the kernel does not have it.
    pub(super) async fn carry_out(self, kernel: &dyn Kernel, index: u32) -> Result<Receiver, NoReceiver> {
        let Self { mut receiver, change, is_new, .. } = self;
        if !is_new {
            return match kernel.apply_receiving(receiver.ifb, change).await {
                Ok(()) => Ok(receiver),
                Err(failure) => Err(NoReceiver::Failed(failure)),
            };
        }
        let links = ReceivingLinks { interface: index, ifb: receiver.ifb };
        match kernel.set_up_receiving(links, receiver.tree.clone(), receiver.filters()).await {
            Ok(Ok(ifb)) => {
                (receiver.ifb, receiver.lacking) = (ifb, None);
                receiver.late = receiver.late.saturating_sub(1);
                Ok(receiver)
            }
            Ok(Err(ForeignRoot { kind, .. })) => {
                Err(NoReceiver::Lacking(NotProgrammed::ForeignIngress { kind }))
            }
            Err(failure) if is_lack(&failure) => Err(NoReceiver::Lacking(failure.into())),
            Err(failure) => Err(NoReceiver::Failed(failure)),
        }
    }
}

/// A change of an interface's tree that the kernel has made.
pub(super) struct AppliedChange {
    /// The classes that were added and changed.
    pub(super) states: Vec<ClassState>,
    /// The ifb, where the change concerned it.
    pub(super) receiver: Option<Receiver>,
}

/// Why an interface has no ifb, or the ifb was not changed.
#[derive(Clone, Debug)]
pub(super) enum NoReceiver {
    /// The kernel cannot have it.
    Lacking(NotProgrammed),
    /// A request has failed, and everything was undone.
    Failed(KernelFailure),
}

impl NoReceiver {
    /// The request that has failed.
    pub(super) fn failure(self) -> Option<KernelFailure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Lacking(_) => None,
        }
    }
}

impl From<NoReceiver> for NotProgrammed {
    fn from(why: NoReceiver) -> Self {
        match why {
            NoReceiver::Lacking(why) => why,
            NoReceiver::Failed(failure) => failure.into(),
        }
    }
}

/// Whether a failure of a first set-up says what the kernel does not offer: a kind of link, qdisc, filter or action that it
/// has no module for.
fn is_lack(failure: &KernelFailure) -> bool {
    let lacks = [Errno::EOPNOTSUPP, Errno::ENOENT, Errno::EAFNOSUPPORT];
    let is_known = failure.errno().is_none() && !failure.is_timeout();
    is_known || failure.is_permission() || failure.errno().is_some_and(|errno| lacks.contains(&errno))
}
