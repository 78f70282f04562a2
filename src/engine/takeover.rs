//! Foreign root qdiscs that were taken over: they return when the engine stops.

use super::driver::{Driver, STOP_PATIENCE};
use tokio::time::timeout;

impl Driver {
    /// Restores what was taken over, once the trees of gqos are deleted.
    pub(super) async fn restore_all(&mut self) {
        for (index, saved) in std::mem::take(&mut self.taken_over) {
            // Where a tree of gqos is left, or another program was faster, nothing is restored.
            let _ = timeout(STOP_PATIENCE, self.kernel.restore(index, saved)).await;
        }
    }

    /// The same when the runtime has ended.
    pub(super) fn restore_all_at_exit(&self) {
        for (index, saved) in &self.taken_over {
            self.kernel.restore_at_exit(*index, saved);
        }
    }
}
