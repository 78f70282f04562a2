//! Flows that have ended: what they owe is read, and their classes are deleted once their queued data has left.

use std::sync::Arc;

use flowspec::{Both, Bytes};

use super::drain::{Drained, DrainingFlow, EndedReservation, drain};
use super::driver::{Driver, Returned};
use super::lingering::Lingering;
use super::patience::{PATIENCE, in_time};
use super::queues::EngineCommand;
use super::reservation::Usage;
use crate::manager::Input;

impl Driver {
    /// A flow has ended: its class is deleted once its queued data has left.
    pub(super) fn close(&mut self, id: String, lingering: Lingering, usage: Usage) {
        let (class, is_own, of) = {
            let core = self.core();
            let of = EndedReservation::new(&id, core.reservations.get(&id));
            (core.manager.class(&of.id), core.manager.has_own_class(&of.id), of)
        };
        let before = class.and_then(|class| self.counts.get(&class)).copied().unwrap_or_default();
        let ended = DrainingFlow { class, is_own, usage, before };
        match class {
            None if matches!(lingering, Lingering::Nothing) => self.core().close(of.id, usage.missing),
            // The next flow of the interface starts without what this one has sent past its bucket in user space.
            Some((index, class)) if is_own && !self.queues.is_busy(index) && !self.is_suspended(index) => {
                self.queues.call(index);
                let state = in_time(index, PATIENCE, self.kernel.class(index, class));
                self.calls.push(Box::pin(async move {
                    let state = state.await;
                    Returned::Ended { index, of, ended, lingering, state }
                }));
            }
            _ => self.report_spent(of, ended, (usage.missing, lingering)),
        }
    }

    /// What a flow that has ended owes is known, as long as nothing more leaves: its reservation is released then.
    pub(super) fn report_spent(
        &self,
        of: EndedReservation,
        ended: DrainingFlow,
        (missing, lingering): (Both<Option<Bytes>>, Lingering),
    ) {
        if !self.has_its_id(&of) {
            return;
        }
        self.core().feed(Input::Spent { id: of.id.clone(), missing });
        let Some(commands) = self.commands.upgrade() else { return };
        let kernel = Arc::clone(&self.kernel);
        tokio::spawn(async move {
            let drained = drain(kernel, ended, lingering).await;
            commands.send(EngineCommand::Drained { of, drained });
        });
    }

    /// The data of a flow that has ended has left: its class is deleted.
    pub(super) fn drained(&mut self, of: EndedReservation, drained: Drained) {
        if !self.has_its_id(&of) {
            return;
        }
        let EndedReservation { id, .. } = of;
        let Drained { sent, missing, full_in } = drained;
        let measured = self.core().manager.measured_class(&id);
        if let Some((interface, class, handle)) = measured
            && let Some(meter) = self.meters.get_mut(&interface)
        {
            meter.ended(&class, handle, sent);
        }
        if let Some(full_in) = full_in {
            self.core().feed(Input::Drained { id: id.clone(), full_in });
        }
        self.core().close(id, Both { sending: missing, receiving: None });
    }

    fn has_its_id(&self, of: &EndedReservation) -> bool {
        of.has_its_id(self.core().reservations.get(&of.id))
    }
}
