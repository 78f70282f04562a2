//! The classes of what flows receive: set up with the first flow of an interface that has one, and deleted at the stop.
//!
//! A flow gets its class once its addresses are known. Until then, and where the kernel cannot have one, its receiving
//! side is enforced in user space alone.

use std::sync::Arc;
use std::time::Duration;

use super::driver::{Driver, Returned};
use super::patience::in_time;
use super::queues::Job;
use super::receiver::{ChangedIfb, NoReceiver, ReceiveReply, Receiver, ReceiverChange};
use crate::admission::NotProgrammed;
use crate::kernel::KernelClass;
use crate::linux::ReceivingLinks;
use crate::tc::{Arriving, Framed, ReceivingChange, receiver_name};

/// The longest pause before an ifb is compared that could not be changed.
const REPAIR: Duration = Duration::from_millis(800);

impl Driver {
    /// Gives a flow a class for what it receives, with its present rate.
    pub(super) fn receive(&mut self, id: String, arriving: Arriving, reply: ReceiveReply) {
        match self.joined(&id, arriving) {
            // The caller may have gone.
            Err(why) => {
                let _ = reply.send(Err(why));
                self.leave(&id);
            }
            Ok((index, change)) => {
                self.core().receiving.insert(id.clone());
                match change.receiver.lacking.clone() {
                    None => self.change_receiver(index, change, Some((id, reply))),
                    // It gets its class with the others.
                    Some(why) => {
                        self.receivers.insert(index, change.receiver);
                        let _ = reply.send(Err(why));
                    }
                }
            }
        }
    }

    /// The interface of a flow, and the change that gives the flow a class there.
    ///
    /// - **Errors**: why the flow has no class.
    fn joined(&self, id: &str, arriving: Arriving) -> Result<(u32, ReceiverChange), NotProgrammed> {
        let (index, framed) = {
            let core = self.core();
            let manager = &core.manager;
            let (interface, ..) = manager.ledger().flow(id).ok_or(NotProgrammed::NotSeen)?;
            manager.status(interface).ok_or(NotProgrammed::NotSeen)?.kernel?;
            (manager.index(interface).ok_or(NotProgrammed::Gone)?, manager.receives(id)?)
        };
        Ok((index, self.receiver_change(index, (id.to_owned(), framed), Some(arriving))?))
    }

    /// The change that gives a flow a class on the ifb of its interface.
    ///
    /// - **Errors**: why the flow has no class.
    pub(super) fn receiver_change(
        &self,
        index: u32,
        (flow, framed): (String, Framed),
        arriving: Option<Arriving>,
    ) -> Result<ReceiverChange, NotProgrammed> {
        let interface = self.name(index).ok_or(NotProgrammed::Gone)?;
        let shape = self.core().manager.receiving_shape(&interface).ok_or(NotProgrammed::CapacityUnknown)?;
        let known = self.receivers.get(&index).cloned();
        let is_new = known.is_none();
        let mut receiver = known.unwrap_or_else(|| Receiver::new(shape));
        receiver.wanted = shape;
        let mut tree = receiver.tree.reshape(shape);
        let change = receiver.join(&flow, framed, arriving)?;
        tree.ops.extend(change.tree.ops);
        Ok(ReceiverChange { flow, receiver, change: ReceivingChange { tree, ..change }, is_new })
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
            let change = ReceivingChange { tree, ..ReceivingChange::default() };
            match receiver.lacking {
                None => self.change_receiver(index, receiver.changed(change), None),
                Some(_) => drop(self.receivers.insert(index, receiver)),
            }
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
        let Some(change) = receiver.leave(id) else { return };
        match receiver.lacking.clone() {
            None => self.change_receiver(index, receiver.changed(change), None),
            Some(why) => {
                self.receivers.insert(index, receiver);
                self.lack_receiver(index, why);
            }
        }
    }

    /// The interface on which a flow has a class, or is being given one.
    fn received_on(&self, id: &str) -> Option<u32> {
        let receivers = self.receivers.iter();
        let mut having =
            receivers.filter(|(_, receiver)| receiver.flows.contains_key(id)).map(|(index, _)| *index);
        let first = having.next()?;
        // Where it has been admitted on another interface, the class on the one before goes first.
        let present = {
            let core = self.core();
            core.manager.ledger().flow(id).and_then(|(interface, _)| core.manager.index(interface))
        };
        Some(if present == Some(first) { having.next().unwrap_or(first) } else { first })
    }

    /// An interface needs no ifb any more: what there is of it is deleted.
    pub(super) fn remove_receiver(&mut self, index: u32) {
        self.upkeep.receivers.forget(&index);
        if self.receivers.remove(&index).is_some() {
            let deleted = self.kernel.tear_down_receiving(index);
            self.calls.push(Box::pin(async move {
                // What is left is deleted by the next engine.
                let _ = deleted.await;
                Returned::Collected
            }));
        }
    }

    /// A link is gone: an interface, whose ifb is of no use any more, or an ifb.
    pub(super) fn receiver_gone(&mut self, gone: u32) {
        self.remove_receiver(gone);
        let interface = self.receivers.iter().find(|(_, receiver)| receiver.ifb == gone);
        let Some((index, _)) = interface.map(|(index, receiver)| (*index, receiver.ifb)) else { return };
        match self.queues.is_busy(index) {
            true => self.queues.defer(index, Job::CompareReceiver),
            false => self.restore_receiver(index),
        }
    }

    /// Changes the ifb of an interface, or sets it up.
    pub(super) fn change_receiver(
        &mut self,
        index: u32,
        change: ReceiverChange,
        joins: Option<(String, ReceiveReply)>,
    ) {
        let (kernel, is_new) = (Arc::clone(&self.kernel), change.is_new);
        let wanted = change.receiver.clone();
        let call = in_time(index, change.receiver.patience(change.operations()), async move {
            Ok(change.carry_out(&*kernel, index).await)
        });
        self.queues.call(index);
        self.calls.push(Box::pin(async move {
            let result = call.await.unwrap_or_else(|failure| Err(NoReceiver::Failed(failure)));
            let result = result.map_err(NotProgrammed::from);
            Returned::IfbChanged(Box::new(ChangedIfb { index, result, wanted, is_new, joins }))
        }));
    }

    /// The ifb of an interface is known.
    pub(super) fn keep_receiver(&mut self, index: u32, receiver: Receiver) {
        self.receivers.insert(index, receiver);
        if self.name(index).is_none() {
            // The interface has gone meanwhile.
            self.receiver_gone(index);
        }
    }

    /// The kernel has answered a change of an ifb.
    pub(super) fn ifb_changed(&mut self, changed: ChangedIfb) {
        let ChangedIfb { index, result, mut wanted, is_new, joins } = changed;
        self.queues.returned(index);
        if let Err(NotProgrammed::Kernel(failure)) = &result {
            self.call_failed(index, failure);
        }
        match &result {
            Ok(receiver) => self.keep_receiver(index, receiver.clone()),
            Err(why) if is_new => {
                wanted.not_set_up(why);
                self.keep_receiver(index, wanted);
                self.lack_receiver(index, why.clone());
            }
            // What the kernel has of it is in doubt: it is compared with what it is to be.
            Err(_) => {
                if joins.is_none() {
                    self.keep_receiver(index, wanted);
                }
                self.upkeep.receivers.add(&index, Duration::ZERO, REPAIR);
            }
        }
        let Some((id, reply)) = joins else { return };
        let class = result.and_then(|receiver| {
            let handle = receiver.flows.get(&id).map(|flow| flow.class).ok_or(NotProgrammed::NotSeen)?;
            Ok(KernelClass { handle, device: receiver_name(index) })
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
        for (index, _) in std::mem::take(&mut self.receivers) {
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
