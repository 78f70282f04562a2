//! The classes of one interface's ifb, as the engine knows them.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::admission::NotProgrammed;
use crate::tc::{
    Arriving, Desired, Framed, Handle, LARGEST_FLOW_CLASSES, LinkShape, PlacedFilter, ReceivingChange,
    flow_class,
};

/// The ifb of an interface as the kernel has it.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// Its ifindex.
    pub(super) ifb: u32,
    pub(super) tree: Desired,
    /// The link that the tree was last to be built for.
    pub(super) wanted: LinkShape,
    /// By flow id: its class on the ifb, and the packets that arrive in it.
    pub(super) flows: BTreeMap<String, (Handle, Arriving)>,
}

/// Where a flow's class is reported.
pub(super) type ReceiveReply = oneshot::Sender<Result<String, NotProgrammed>>;

/// What became of a change of an interface's ifb.
pub(super) struct ChangedIfb {
    pub(super) index: u32,
    /// The ifb after the change, or why the kernel does not have it.
    pub(super) result: Result<Receiver, NotProgrammed>,
    /// The ifb was to be set up.
    pub(super) is_new: bool,
    /// The flow that is given a class, and where that is reported.
    pub(super) joins: Option<(String, ReceiveReply)>,
}

impl Receiver {
    pub(super) fn new(shape: LinkShape) -> Self {
        Self { ifb: 0, tree: Desired::new(shape), wanted: shape, flows: BTreeMap::new() }
    }

    /// Gives a flow a class, or changes the one that it has: the change to apply.
    ///
    /// - **Errors**: every class is in use.
    pub(super) fn join(
        &mut self,
        id: &str,
        (framed, arriving): (Framed, Arriving),
    ) -> Result<ReceivingChange, NotProgrammed> {
        let before = self.flows.get(id).copied();
        let free =
            || (0..LARGEST_FLOW_CLASSES).map(flow_class).find(|class| self.tree.leaf(*class).is_none());
        let class = before.map(|(class, _)| class).or_else(free);
        let class = class.ok_or(NotProgrammed::ClassesInUse { limit: LARGEST_FLOW_CLASSES })?;
        let mut change =
            ReceivingChange { tree: self.tree.set_leaf(class, Some(framed)), ..ReceivingChange::default() };
        if before != Some((class, arriving)) {
            change.without.extend(before.and_then(|(class, arriving)| filter(class, &arriving)));
            change.with.extend(filter(class, &arriving));
        }
        self.flows.insert(id.to_owned(), (class, arriving));
        Ok(change)
    }

    /// Takes a flow's class: the change to apply, if it has one.
    pub(super) fn leave(&mut self, id: &str) -> Option<ReceivingChange> {
        let (class, arriving) = self.flows.remove(id)?;
        let without = filter(class, &arriving).into_iter().collect();
        Some(ReceivingChange { without, tree: self.tree.set_leaf(class, None), with: Vec::new() })
    }

    pub(super) fn filters(&self) -> Vec<PlacedFilter> {
        self.flows.values().filter_map(|(class, arriving)| filter(*class, arriving)).collect()
    }
}

/// The filter of a flow. It has fewer keys than the kernel takes.
fn filter(class: Handle, arriving: &Arriving) -> Option<PlacedFilter> {
    arriving.filter(class)?.ok()
}
