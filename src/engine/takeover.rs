//! Foreign root qdiscs that were taken over: they return when the engine stops, or manages their interfaces no more.

use super::driver::{Driver, STOP_PATIENCE};
use super::left_interface::TakenOver;
use super::patience::in_time;
use crate::failure::KernelFailure;
use crate::linux::{KeptRoot, Link, SavedTree};
use crate::tc::ForeignRoot;
use crate::telemetry::event::{Event, RootFileFailed, RootNotRestored, RootRestored, RootTakenOver};

impl Driver {
    /// An interface was looked at, and its root was taken over, now or by a process that was killed.
    pub(super) fn note_taken_over(
        &mut self,
        link: &Link,
        saved: Option<SavedTree>,
        file_failure: Option<KernelFailure>,
    ) {
        let interface = || link.name.clone();
        if let Some(saved) = saved {
            let (ForeignRoot { kind, handle }, earlier) = (saved.root.clone(), saved.is_earlier);
            let before = self.taken_over.insert(link.index, TakenOver { interface: interface(), saved });
            if before.is_none() {
                let event = RootTakenOver { interface: interface(), kind, handle, earlier };
                self.core().record_found(Event::RootTakenOver(event));
            }
        }
        if let Some(failure) = file_failure {
            let event = RootFileFailed { interface: interface(), failure };
            self.core().record_found(Event::RootFileFailed(event));
        }
    }

    /// Restores what was taken over, once the trees of gqos are deleted.
    pub(super) async fn restore_all(&mut self) {
        for (index, TakenOver { interface, saved }) in std::mem::take(&mut self.taken_over) {
            // Where a tree of gqos is left, or another program was faster, nothing is restored.
            let root = saved.root.clone();
            let kept = match in_time(index, STOP_PATIENCE, self.kernel.restore(index, saved)).await {
                Ok(()) => KeptRoot::Restored(root),
                Err(failure) => KeptRoot::NotRestored { root, failure },
            };
            self.report_kept(interface, kept);
        }
    }

    /// The same when the runtime has ended.
    pub(super) fn restore_all_at_exit(&self) {
        for (index, TakenOver { saved, .. }) in &self.taken_over {
            self.kernel.restore_at_exit(*index, saved);
        }
    }

    /// What became of a root that was taken over.
    pub(super) fn report_kept(&self, interface: String, kept: KeptRoot) {
        let event = match kept {
            KeptRoot::Absent => return,
            KeptRoot::Restored(ForeignRoot { kind, handle }) => {
                Event::RootRestored(RootRestored { interface, kind, handle })
            }
            KeptRoot::NotRestored { root: ForeignRoot { kind, handle }, failure } => {
                Event::RootNotRestored(RootNotRestored { interface, kind, handle, failure })
            }
            KeptRoot::Unusable(failure) => Event::RootFileFailed(RootFileFailed { interface, failure }),
        };
        self.core().record_found(event);
    }
}
