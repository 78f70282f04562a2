//! A change of an interface's tree, together with the class for what its flow receives: the kernel has both or neither.
//!
//! Where the kernel has no ifb, or another program has what the interface receives, the change goes on without that class,
//! and the decision says so once the flow's addresses are known.

use super::driver::Driver;
use super::receiver::{AppliedChange, ReceiverChange};
use crate::failure::KernelFailure;
use crate::manager::{ChangeId, Input};
use crate::tc::Handle;

impl Driver {
    /// The class that a change is to give its flow for what that receives, where there is one.
    pub(super) fn receiving_change(&self, index: u32, id: ChangeId) -> Option<ReceiverChange> {
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
