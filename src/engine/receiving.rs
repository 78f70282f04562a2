//! The classes of what flows receive: set up with the first flow of an interface that has one, and deleted at the stop.
//!
//! A flow gets its class once its addresses are known. Until then, and where the kernel cannot have one, its receiving
//! side is enforced in user space alone.

use super::driver::{Driver, Returned};
use super::queues::Job;
use super::receiver::{ChangedIfb, ReceiveReply, Receiver};
use crate::admission::NotProgrammed;
use crate::failure::KernelFailure;
use crate::linux::ReceivingLinks;
use crate::tc::{Arriving, ForeignRoot, ReceivingChange, receiver_name};

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
            let Some(shape) = shape.filter(|shape| *shape != wanted && !self.queues.is_busy(index)) else {
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
        if self.queues.is_busy(index) {
            return self.queues.defer(index, Job::Leave(id.to_owned()));
        }
        self.leave_now(id);
    }

    /// The same where the interface waits for no call: its queue may still hold other jobs.
    pub(super) fn leave_now(&mut self, id: &str) {
        let Some(index) = self.received_on(id) else { return };
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
        match self.queues.is_busy(index) {
            true => self.queues.defer(index, Job::RestoreReceiver),
            false => self.restore_receiver(index),
        }
    }

    fn set_up_receiver(&mut self, index: u32, mut receiver: Receiver, joins: Option<(String, ReceiveReply)>) {
        let call = self.kernel.set_up_receiving(index, receiver.tree.clone(), receiver.filters());
        self.queues.call(index);
        self.calls.push(Box::pin(async move {
            let result = match call.await {
                Ok(Ok(ifb)) => {
                    receiver.ifb = ifb;
                    Ok(receiver)
                }
                Ok(Err(ForeignRoot { kind, .. })) => Err(NotProgrammed::ForeignIngress { kind }),
                Err(failure) => Err(failure.into()),
            };
            Returned::IfbChanged(ChangedIfb { index, result, is_new: true, joins })
        }));
    }

    fn change_receiver(
        &mut self,
        index: u32,
        (receiver, change): (Receiver, ReceivingChange),
        joins: Option<(String, ReceiveReply)>,
    ) {
        let call = self.kernel.apply_receiving(receiver.ifb, change);
        self.queues.call(index);
        self.calls.push(Box::pin(async move {
            let result = call.await.map(|()| receiver).map_err(KernelFailure::into);
            Returned::IfbChanged(ChangedIfb { index, result, is_new: false, joins })
        }));
    }

    /// The kernel has answered a change of an ifb.
    pub(super) fn ifb_changed(&mut self, changed: ChangedIfb) {
        let ChangedIfb { index, result, is_new, joins } = changed;
        self.queues.returned(index);
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
        for (interface, receiver) in std::mem::take(&mut self.receivers) {
            self.kernel.tear_down_receiving_at_exit(ReceivingLinks { interface, ifb: receiver.ifb });
        }
    }
}
