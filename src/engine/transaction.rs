//! A change of an interface's tree, together with the class for what its flow receives: the kernel has both or neither.
//!
//! Where the kernel has no ifb, or another program has what the interface receives, the change goes on without that class,
//! and the decision says so once the flow's addresses are known.

use std::sync::Arc;

use super::driver::{Driver, Returned};
use super::patience::{in_time, patience};
use super::receiver::{AppliedChange, ReceiverChange};
use crate::failure::KernelFailure;
use crate::manager::{ChangeId, Input};
use crate::tc::{Change, Handle};

impl Driver {
    /// Applies a change of the manager.
    pub(super) fn apply_change(&mut self, index: u32, id: ChangeId, change: Change) {
        let receiving = self.receiving_change(index, id);
        // One that the kernel cannot have gets the class once it can.
        let receiving = match receiving {
            Some(ReceiverChange { flow, receiver, .. }) if receiver.lacking.is_some() => {
                self.core().receiving.insert(flow);
                self.receivers.insert(index, receiver);
                None
            }
            receiving => receiving,
        };
        let operations = change.ops.len() + receiving.as_ref().map_or(0, ReceiverChange::operations);
        let flow = receiving.as_ref().map(|receiving| receiving.flow.clone());
        let begun = self.begun(index, &change);
        let kernel = Arc::clone(&self.kernel);
        let both = in_time(index, patience(operations), async move {
            let states = match change.ops.is_empty() {
                true => Vec::new(),
                false => kernel.apply(index, change.clone()).await?,
            };
            let Some(receiving) = receiving else { return Ok(AppliedChange { states, receiver: None }) };
            match receiving.carry_out(&*kernel, index).await {
                Ok(receiver) => Ok(AppliedChange { states, receiver: Some(receiver) }),
                Err(why) => match why.failure() {
                    // Its flow gets a class once the kernel can have one.
                    None => Ok(AppliedChange { states, receiver: None }),
                    Some(failure) => {
                        // What has failed first is the error.
                        let _ = kernel.apply(index, change.undo()).await;
                        Err(failure)
                    }
                },
            }
        });
        self.calls
            .push(Box::pin(async move { Returned::Applied { index, id, flow, begun, result: both.await } }));
    }

    /// The class that a change is to give its flow for what that receives, where there is one.
    fn receiving_change(&self, index: u32, id: ChangeId) -> Option<ReceiverChange> {
        let (flow, framed) = self.core().manager.receiving_part(id)?;
        self.receiver_change(index, (flow, framed), None).ok()
    }

    /// The kernel has answered a change.
    pub(super) fn change_applied(
        &mut self,
        (index, id): (u32, ChangeId),
        (flow, begun): (Option<String>, Vec<Handle>),
        result: Result<AppliedChange, KernelFailure>,
    ) {
        self.queues.returned(index);
        let result = result.map(|AppliedChange { states, receiver }| {
            self.count_from(index, &begun, &states);
            if let Some(receiver) = receiver {
                self.core().receiving.extend(flow);
                self.keep_receiver(index, receiver);
            }
        });
        let timed_out = result.as_ref().err().filter(|failure| failure.is_timeout()).cloned();
        if let Some(failure) = &timed_out {
            self.call_failed(index, failure);
        }
        if result.is_err() {
            self.receiving_changed(index);
        }
        self.core().feed(Input::Applied { id, result });
        if let Some(failure) = &timed_out {
            self.give_up_changes(index, failure);
        }
        if let Some(interface) = self.name(index) {
            self.schedule_upkeep(&interface);
        }
    }
}
