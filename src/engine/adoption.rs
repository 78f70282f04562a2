//! The start of an engine with what another one has granted, which has ended without removing what it had programmed.
//!
//! The trees stay as they are until every reservation is granted again, each with the class that it had. Then they are
//! compared with what is desired: classes that nothing has any more are deleted, and the others are not touched.

use tokio::sync::oneshot;

use super::core::{Caller, Core};
use super::driver::Driver;
use super::kept::{Adoptions, KeptReservation, KeptReservations, NotAdopted};
use super::reservation::{Granted, ReserveReply};
use crate::admission::{Ladder, Operation};
use crate::failure::KernelFailure;
use crate::manager::Input;
use crate::ordered::OrderedSet;

impl Driver {
    /// Prepares the interfaces of these names, and those of the reservations: there trees that an ended process has left are
    /// kept, and on the interfaces on whose wires they send.
    ///
    /// - **Errors**: the kernel's. What was prepared before is taken back where there are no reservations.
    pub(super) async fn prepare_all(
        &mut self,
        mut names: OrderedSet<String>,
        kept: &KeptReservations,
    ) -> Result<(), KernelFailure> {
        self.keeps_trees = !kept.flows.is_empty();
        names.extend(kept.flows.iter().map(|flow| flow.interface.clone()));
        names.extend(kept.groups.iter().map(|group| group.interface.clone()));
        let mut prepared = OrderedSet::new();
        while let Some(name) = names.pop_first() {
            self.prepare(&name).await?;
            if self.keeps_trees {
                let wire = self.core().manager.ledger().wire_names(&name);
                names.extend(wire.into_iter().filter(|below| *below != name && !prepared.contains(below)));
            }
            prepared.insert(name);
        }
        self.keeps_trees = false;
        Ok(())
    }

    /// Grants again what an engine that has ended had granted, then brings the trees in line with that.
    pub(super) async fn adopt(&mut self, kept: &KeptReservations) -> Adoptions {
        let mut answers: Vec<_> = kept.flows.iter().map(|_| None).collect();
        {
            let mut core = self.core();
            for group in &kept.groups {
                core.adopt(Operation::Group(Box::new(group.clone())), None, Caller::Engine);
            }
            let clock = core.clock.beside_system(self.kernel.uptime());
            let flows = answers.iter_mut().zip(&kept.flows);
            let flows = flows.filter(|(_, flow)| core.manager.knows(&flow.interface));
            let (with_classes, others): (Vec<_>, Vec<_>) =
                flows.partition(|(_, flow)| flow.kernel_class.is_some());
            let adopt = |core: &mut Core, (answer, flow): (&mut Option<_>, &KeptReservation)| {
                let (reply, answered) = oneshot::channel();
                let ladder = Ladder::from(flow.request(clock));
                let caller = Caller::Reserve { id: flow.id.clone(), route: None, reply };
                core.adopt(Operation::Reserve(Box::new(ladder)), flow.kernel_class, caller);
                *answer = Some(answered);
            };
            with_classes.into_iter().for_each(|flow| adopt(&mut core, flow));
            for (socket, class) in &kept.marked {
                core.feed(Input::SocketMarked { socket: *socket, class: *class, flow: None });
            }
            // These get numbers that none of those before has, and that no socket sends to.
            others.into_iter().for_each(|flow| adopt(&mut core, flow));
        }
        // Where there was no tree to keep, one is being set up.
        self.idle().await;
        self.compare_kept().await;
        let granted = answers.into_iter().zip(&kept.flows).map(|(answer, flow)| self.adopted(answer, flow));
        granted.collect()
    }

    /// Brings the trees that were kept in line.
    async fn compare_kept(&mut self) {
        let kept: Vec<_> = {
            let core = self.core();
            let known = core.manager.interfaces();
            known
                .into_iter()
                .filter(|(name, _)| core.manager.is_suspended(name))
                .map(|(_, index)| index)
                .collect()
        };
        kept.into_iter().for_each(|index| self.compare(index));
        self.idle().await;
    }

    fn adopted(
        &self,
        answer: Option<oneshot::Receiver<ReserveReply>>,
        flow: &KeptReservation,
    ) -> Result<Granted, NotAdopted> {
        let Some(mut answer) = answer else {
            return Err(NotAdopted::NoInterface { interface: flow.interface.clone() });
        };
        let reply = answer.try_recv().map_err(|_| NotAdopted::Unanswered)?;
        let mut granted = reply.map_err(NotAdopted::Refused)?;
        let mut core = self.core();
        if flow.is_established {
            core.feed(Input::Connected { id: flow.id.clone() });
        }
        core.manager.update_enforced(&mut granted.decision);
        drop(core);
        Ok(granted)
    }
}
