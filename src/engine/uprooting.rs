//! Interfaces that are managed no more although their links are there: the policy does not have them, or they have other
//! names. Their trees are deleted once all changes before are applied, and what was taken over is restored.

use std::sync::Arc;
use std::time::Duration;

use flowspec::Errno;

use super::driver::{Driver, Returned, STOP_PATIENCE};
use super::kernel::Kernel;
use super::left_interface::{LeftInterface, TakenOver, Uprooted, UprootedInterface};
use super::patience::in_time;
use super::queues::Job;
use crate::failure::KernelFailure;
use crate::linux::KeptRoot;
use crate::tc::{Change, HtbRoot, Op};
use crate::telemetry::event::{Event, InterfaceReleased};

/// How often the deletion of a tree is tried that the kernel refuses, and the pause in between.
const ATTEMPTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(50);

impl Driver {
    /// The policy does not have an interface any more, and its last flow has ended.
    pub(super) fn leave_interface(&mut self, left: LeftInterface) {
        self.down.remove(&left.interface);
        self.meters.remove(&left.interface);
        self.upkeep.trees.forget(&left.index);
        self.upkeep.looks.forget(&left.interface);
        self.uproot(left);
    }

    /// Deletes the tree of an interface that is managed no more, after what its queue holds.
    pub(super) fn uproot(&mut self, left: LeftInterface) {
        let index = left.index;
        match self.queues.is_busy(index) {
            true => self.queues.defer(index, Job::Uproot(left)),
            false => self.uproot_now(left),
        }
    }

    /// The same where the interface waits for no call.
    pub(super) fn uproot_now(&mut self, left: LeftInterface) {
        let LeftInterface { index, interface, root } = left;
        let (taken_over, claim) = (self.taken_over.remove(&index), self.claims.remove(&index));
        self.upkeep.receivers.forget(&index);
        let has_ifb = self.receivers.remove(&index).is_some();
        let kernel = Arc::clone(&self.kernel);
        self.queues.call(index);
        self.calls.push(Box::pin(async move {
            let call = async {
                if has_ifb {
                    // What is left is deleted by the next engine.
                    let _ = kernel.tear_down_receiving(index).await;
                }
                uprooted(&*kernel, (index, root), taken_over).await
            };
            let outcome = in_time(index, STOP_PATIENCE, call).await;
            // Held until then, so that no other engine begins.
            drop(claim);
            Returned::Uprooted(UprootedInterface { index, interface, outcome })
        }));
    }

    /// The tree of an interface that is managed no more is deleted, or could not be.
    pub(super) fn interface_uprooted(&mut self, uprooted: UprootedInterface) {
        let UprootedInterface { index, interface, outcome } = uprooted;
        self.queues.returned(index);
        let failure = match outcome {
            Ok(Uprooted::LinkGone) => return self.kernel.forget_saved(index),
            Ok(Uprooted::Deleted(kept)) => {
                self.report_kept(interface.clone(), kept);
                None
            }
            Err(failure) => Some(failure),
        };
        self.core().record(|| Event::InterfaceReleased(InterfaceReleased { interface, failure }));
    }
}

async fn uprooted(
    kernel: &dyn Kernel,
    (index, root): (u32, Option<HtbRoot>),
    taken_over: Option<TakenOver>,
) -> Result<Uprooted, KernelFailure> {
    if let Some(root) = root
        && let Some(gone) = delete(kernel, (index, root)).await?
    {
        return Ok(gone);
    }
    let Some(TakenOver { saved, .. }) = taken_over else { return Ok(Uprooted::Deleted(KeptRoot::Absent)) };
    let root = saved.root.clone();
    Ok(Uprooted::Deleted(match kernel.restore(index, saved).await {
        Ok(()) => KeptRoot::Restored(root),
        Err(failure) if failure.errno() == Some(Errno::ENODEV) => return Ok(Uprooted::LinkGone),
        Err(failure) => KeptRoot::NotRestored { root, failure },
    }))
}

/// Deletes a tree. [`Uprooted::LinkGone`] where its link is gone.
async fn delete(
    kernel: &dyn Kernel,
    (index, root): (u32, HtbRoot),
) -> Result<Option<Uprooted>, KernelFailure> {
    let mut attempts = ATTEMPTS;
    loop {
        let deleted = kernel.apply(index, Change { ops: vec![Op::DeleteRoot(root)] }).await;
        attempts -= 1;
        match deleted.map_err(|failure| (failure.errno(), failure)) {
            Ok(_) => return Ok(None),
            Err((Some(Errno::ENODEV), _)) => return Ok(Some(Uprooted::LinkGone)),
            // Another program has deleted it, or has its own there.
            Err((Some(Errno::ENOENT | Errno::EINVAL), _)) => return Ok(None),
            Err((_, failure)) if attempts == 0 || failure.is_permission() => return Err(failure),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
