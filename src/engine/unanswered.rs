//! A kernel that does not answer about an interface.
//!
//! The interface then has no tree that can be relied on: requests for it are decided without the kernel, and reading the
//! tree is tried again beside them until the kernel answers. What the kernel reports then is newer than every call that was
//! given up, since it handles the requests of a socket in their order.

use super::driver::Driver;
use crate::failure::KernelFailure;
use crate::manager::Input;

impl Driver {
    /// A call about an interface has failed: where the kernel has not answered, the interface's tree is relied on no more
    /// until the kernel answers.
    pub(super) fn call_failed(&mut self, index: u32, failure: &KernelFailure) {
        if !failure.is_timeout() {
            return;
        }
        let Some(interface) = self.name(index) else { return };
        self.core().feed(Input::Unanswered { interface: interface.clone(), failure: failure.clone() });
        self.schedule_upkeep(&interface);
    }

    /// Answers the changes that wait behind one that the kernel has not answered: it is not asked for them.
    pub(super) fn give_up_changes(&mut self, index: u32, failure: &KernelFailure) {
        for id in self.queues.take_changes(index) {
            self.core().feed(Input::Applied { id, result: Err(failure.clone()) });
        }
    }

    /// Whether the kernel's tree is not relied on at present: it is not asked for anything but the tree.
    pub(super) fn is_suspended(&self, index: u32) -> bool {
        let core = self.core();
        core.manager.interface(index).is_some_and(|interface| core.manager.is_suspended(interface))
    }
}
