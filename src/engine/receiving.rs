//! The classes of what flows receive: set up with the first flow of an interface that has one, and deleted at the stop.
//!
//! A flow gets its class once its addresses are known. Until then, and where the kernel cannot have one, its receiving
//! side is enforced in user space alone.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::driver::{Driver, Returned};
use super::queues::Job;
use crate::admission::NotProgrammed;
use crate::failure::KernelFailure;
use crate::tc::{
    Arriving, Desired, ForeignRoot, Framed, Handle, LARGEST_FLOW_CLASSES, LinkShape, PlacedFilter,
    ReceivingChange, flow_class, receiver_name,
};

/// The ifb of an interface as the kernel has it.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// The number of the ifb.
    ifb: u32,
    tree: Desired,
    /// The link that the tree was last to be built for.
    wanted: LinkShape,
    /// The flows with a class.
    flows: BTreeMap<String, (Handle, Arriving)>,
}

/// Where a flow's class is reported.
type ReceiveReply = oneshot::Sender<Result<String, NotProgrammed>>;

/// What became of a change of an interface's ifb.
pub(super) struct Received {
    index: u32,
    /// The ifb after the change, or why the kernel does not have it.
    result: Result<Receiver, NotProgrammed>,
    /// The ifb was to be set up.
    is_new: bool,
    /// The flow that is given a class, and where that is reported.
    joins: Option<(String, ReceiveReply)>,
}

impl Receiver {
    fn new(shape: LinkShape) -> Self {
        Self { ifb: 0, tree: Desired::new(shape), wanted: shape, flows: BTreeMap::new() }
    }

    /// Gives a flow a class, or changes the one that it has: the change to apply.
    ///
    /// - **Errors**: every class is in use.
    fn join(
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
    fn leave(&mut self, id: &str) -> Option<ReceivingChange> {
        let (class, arriving) = self.flows.remove(id)?;
        let without = filter(class, &arriving).into_iter().collect();
        Some(ReceivingChange { without, tree: self.tree.set_leaf(class, None), with: Vec::new() })
    }

    fn filters(&self) -> Vec<PlacedFilter> {
        self.flows.values().filter_map(|(class, arriving)| filter(*class, arriving)).collect()
    }
}

/// The filter of a flow. It has fewer keys than the kernel takes.
fn filter(class: Handle, arriving: &Arriving) -> Option<PlacedFilter> {
    arriving.filter(class)?.ok()
}

impl Driver {
    /// Gives a flow a class for what it receives, with its present rate.
    pub(super) fn receive(&mut self, id: String, arriving: Arriving, reply: ReceiveReply) {
        match self.joined(&id, arriving) {
            // The caller may have gone.
            Err(why) => {
                let _ = reply.send(Err(why));
                self.leave(&id);
            }
            Ok((index, receiver, change)) => {
                self.core().receiving.insert(id.clone());
                let joins = Some((id, reply));
                match self.receivers.contains_key(&index) {
                    true => self.change_receiver(index, (receiver, change), joins),
                    false => self.set_up_receiver(index, receiver, joins),
                }
            }
        }
    }

    /// The ifb of a flow's interface as it is with the flow's class, and the change that makes it so.
    ///
    /// - **Errors**: why the flow has no class.
    fn joined(
        &self,
        id: &str,
        arriving: Arriving,
    ) -> Result<(u32, Receiver, ReceivingChange), NotProgrammed> {
        let (index, shape, framed) = {
            let core = self.core();
            let manager = &core.manager;
            let (interface, ..) = manager.ledger().flow(id).ok_or(NotProgrammed::NotSeen)?;
            manager.status(interface).ok_or(NotProgrammed::NotSeen)?.kernel?;
            let shape = manager.receiving_shape(interface).ok_or(NotProgrammed::CapacityUnknown)?;
            (manager.index(interface).ok_or(NotProgrammed::Gone)?, shape, manager.receives(id)?)
        };
        let mut receiver = self.receivers.get(&index).cloned().unwrap_or_else(|| Receiver::new(shape));
        receiver.wanted = shape;
        let mut tree = receiver.tree.reshape(shape);
        let change = receiver.join(id, (framed, arriving))?;
        tree.ops.extend(change.tree.ops);
        Ok((index, receiver, ReceivingChange { tree, ..change }))
    }

    /// Brings the trees in line with what the interfaces carry.
    pub(super) fn reshape_receivers(&mut self) {
        let known: Vec<_> =
            self.receivers.iter().map(|(index, receiver)| (*index, receiver.wanted)).collect();
        for (index, wanted) in known {
            let shape = self.name(index).and_then(|name| self.core().manager.receiving_shape(&name));
            let Some(shape) = shape.filter(|shape| *shape != wanted && !self.lanes.is_busy(index)) else {
                continue;
            };
            let Some(known) = self.receivers.get_mut(&index) else { continue };
            // A change that the kernel refuses is not tried again before the link changes again.
            known.wanted = shape;
            let mut receiver = known.clone();
            let tree = receiver.tree.reshape(shape);
            self.change_receiver(
                index,
                (receiver, ReceivingChange { tree, ..ReceivingChange::default() }),
                None,
            );
        }
    }

    /// A flow has ended: its class goes.
    pub(super) fn leave(&mut self, id: &str) {
        let Some(index) = self.received_on(id) else { return };
        if self.lanes.is_busy(index) {
            return self.lanes.defer(index, Job::Leave(id.to_owned()));
        }
        let Some(mut receiver) = self.receivers.get(&index).cloned() else { return };
        if let Some(change) = receiver.leave(id) {
            self.change_receiver(index, (receiver, change), None);
        }
    }

    /// The interface on which a flow has a class, or is being given one.
    fn received_on(&self, id: &str) -> Option<u32> {
        let mut receivers = self.receivers.iter();
        receivers.find(|(_, receiver)| receiver.flows.contains_key(id)).map(|(index, _)| *index)
    }

    /// An ifb is gone with what was in it: it is set up again, and the redirect to it is deleted first.
    pub(super) fn restore_receiver(&mut self, index: u32) {
        if let Some(receiver) = self.receivers.remove(&index) {
            self.set_up_receiver(index, receiver, None);
        }
    }

    /// A link is gone: an interface, whose ifb is of no use any more, or an ifb.
    pub(super) fn receiver_gone(&mut self, gone: u32) {
        if self.receivers.remove(&gone).is_some() {
            let deleted = self.kernel.tear_down_receiving(gone);
            self.calls.push(Box::pin(async move {
                // What is left is deleted by the next engine.
                let _ = deleted.await;
                Returned::Collected
            }));
        }
        let interface = self.receivers.iter().find(|(_, receiver)| receiver.ifb == gone);
        let Some((index, _)) = interface.map(|(index, receiver)| (*index, receiver.ifb)) else { return };
        match self.lanes.is_busy(index) {
            true => self.lanes.defer(index, Job::RestoreReceiver),
            false => self.restore_receiver(index),
        }
    }

    fn set_up_receiver(&mut self, index: u32, mut receiver: Receiver, joins: Option<(String, ReceiveReply)>) {
        let call = self.kernel.set_up_receiving(index, receiver.tree.clone(), receiver.filters());
        self.lanes.call(index);
        self.calls.push(Box::pin(async move {
            let result = match call.await {
                Ok(Ok(ifb)) => {
                    receiver.ifb = ifb;
                    Ok(receiver)
                }
                Ok(Err(ForeignRoot { kind, .. })) => Err(NotProgrammed::ForeignIngress { kind }),
                Err(failure) => Err(failure.into()),
            };
            Returned::Received(Received { index, result, is_new: true, joins })
        }));
    }

    fn change_receiver(
        &mut self,
        index: u32,
        (receiver, change): (Receiver, ReceivingChange),
        joins: Option<(String, ReceiveReply)>,
    ) {
        let call = self.kernel.apply_receiving(receiver.ifb, change);
        self.lanes.call(index);
        self.calls.push(Box::pin(async move {
            let result = call.await.map(|()| receiver).map_err(KernelFailure::into);
            Returned::Received(Received { index, result, is_new: false, joins })
        }));
    }

    /// The kernel has answered a change of an ifb.
    pub(super) fn received(&mut self, received: Received) {
        let Received { index, result, is_new, joins } = received;
        self.lanes.returned(index);
        let is_known = self.name(index).is_some();
        match (&result, is_known) {
            (Ok(receiver), true) => drop(self.receivers.insert(index, receiver.clone())),
            // The interface has gone meanwhile.
            (Ok(receiver), false) => {
                self.receivers.insert(index, receiver.clone());
                self.receiver_gone(index);
            }
            (Err(_), _) if is_new => drop(self.receivers.remove(&index)),
            (Err(_), _) => {}
        }
        let Some((id, reply)) = joins else { return };
        let class = result.and_then(|receiver| {
            let class = receiver.flows.get(&id).map(|(class, _)| *class).ok_or(NotProgrammed::NotSeen)?;
            Ok(format!("{class} dev {}", receiver_name(index)))
        });
        // The caller may have gone; then its reservation is released.
        let _ = reply.send(class);
        let has_ended = self.core().manager.ledger().flow(&id).is_none();
        if has_ended {
            self.core().receiving.remove(&id);
            self.leave(&id);
        }
    }

    /// Deletes every ifb.
    pub(super) async fn stop_receiving(&mut self) {
        for index in std::mem::take(&mut self.receivers).into_keys() {
            // One that the kernel keeps is deleted by the next engine.
            let _ = self.kernel.tear_down_receiving(index).await;
        }
    }

    /// The same where nothing awaits the kernel any more.
    pub(super) fn stop_receiving_at_exit(&mut self) {
        for (index, receiver) in std::mem::take(&mut self.receivers) {
            self.kernel.tear_down_receiving_at_exit(index, receiver.ifb);
        }
    }
}
