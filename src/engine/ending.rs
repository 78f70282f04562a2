//! Flows that have ended: what they owe is read, and their classes are deleted once their queued data has left.

use std::sync::Arc;

use flowspec::{Both, Bytes};

use super::drain::{DrainingFlow, drain};
use super::driver::{Driver, Returned};
use super::lingering::Lingering;
use super::patience::{PATIENCE, in_time};
use super::queues::EngineCommand;
use super::reservation::Usage;
use crate::manager::Input;

impl Driver {
    /// A flow has ended: its class is deleted once its queued data has left.
    pub(super) fn close(&mut self, id: String, lingering: Lingering, usage: Usage) {
        let (class, is_own) = {
            let core = self.core();
            (core.manager.class(&id), core.manager.has_own_class(&id))
        };
        let before = class.and_then(|class| self.counts.get(&class)).copied().unwrap_or_default();
        let ended = DrainingFlow { class, is_own, usage, before };
        match class {
            None if matches!(lingering, Lingering::Nothing) => self.core().close(id, usage.missing),
            // The next flow of the interface starts without what this one has sent past its bucket in user space.
            Some((index, class)) if is_own && !self.queues.is_busy(index) && !self.is_suspended(index) => {
                self.queues.call(index);
                let state = in_time(index, PATIENCE, self.kernel.class(index, class));
                self.calls.push(Box::pin(async move {
                    let state = state.await;
                    Returned::Ended { index, id, ended, lingering, state }
                }));
            }
            _ => self.report_spent(id, ended, (usage.missing, lingering)),
        }
    }

    /// What a flow that has ended owes is known, as long as nothing more leaves: its reservation is released then.
    pub(super) fn report_spent(
        &self,
        id: String,
        ended: DrainingFlow,
        (missing, lingering): (Both<Option<Bytes>>, Lingering),
    ) {
        self.core().feed(Input::Spent { id: id.clone(), missing });
        let Some(commands) = self.commands.upgrade() else { return };
        let kernel = Arc::clone(&self.kernel);
        tokio::spawn(async move {
            let drained = drain(kernel, ended, lingering).await;
            commands.send(EngineCommand::Drained { id, drained });
        });
    }
}
