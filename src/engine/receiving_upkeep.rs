//! What interfaces receive, changed by other programs: it is compared with what it is to be, and repaired.
//!
//! An ifb that the kernel does not have, or cannot have at present, is tried again. Its flows keep their places in the
//! tree meanwhile, and get their classes with it.

use std::time::Duration;

use super::driver::{Driver, Returned};
use super::patience::in_time;
use super::queues::Job;
use super::receiver::Receiver;
use crate::admission::NotProgrammed;
use crate::failure::KernelFailure;
use crate::kernel::{Difference, Differences};
use crate::linux::{LinkState, ReceivingLinks};
use crate::tc::{ReceivingState, receiver_name};
use crate::telemetry::event::{Event, TreeChanged};

/// The pauses are those of trees: see `upkeep`.
const STEPS: Duration = Duration::from_millis(5);
const REPAIR: Duration = Duration::from_millis(800);
const OCCUPIED: Duration = Duration::from_secs(1);
const REFUSED: Duration = Duration::from_secs(16);

impl Driver {
    /// Does what is due.
    pub(super) fn keep_receivers(&mut self) {
        for index in self.upkeep.receivers.take() {
            if self.is_suspended(index) {
                self.upkeep.receivers.add(&index, REPAIR, REPAIR);
            } else if self.queues.is_busy(index) {
                self.queues.defer(index, Job::CompareReceiver);
            } else {
                self.compare_receiver(index);
            }
        }
    }

    /// A qdisc, a class or a filter of a link was changed by another program: of an interface that receives, or of an ifb.
    pub(super) fn receiving_changed(&mut self, link: u32) {
        if let Some(index) = self.receiver_of(link) {
            self.upkeep.receivers.add(&index, STEPS, REPAIR);
        }
    }

    /// A link is reported as it is now, which may be an ifb.
    pub(super) fn ifb_is(&mut self, state: &LinkState) {
        let receiver = self.receivers.iter().find(|(_, receiver)| receiver.ifb == state.index);
        let Some(index) = receiver.map(|(index, _)| *index) else { return };
        if !state.carries || state.name != receiver_name(index) {
            self.upkeep.receivers.add(&index, STEPS, REPAIR);
        }
    }

    /// Every ifb is in doubt.
    pub(super) fn compare_receivers(&mut self) {
        for index in self.receivers.keys() {
            self.upkeep.receivers.add(index, STEPS, REPAIR);
        }
    }

    /// Compares what the kernel has of an interface's ifb, or tries again to set it up.
    pub(super) fn compare_receiver(&mut self, index: u32) {
        let Some(receiver) = self.receivers.get(&index).cloned() else { return };
        if receiver.lacking.is_some() {
            return self.change_receiver(index, receiver.set_up(), None);
        }
        let (tree, filters) = (receiver.tree.clone(), receiver.filters());
        let most = receiver.patience(tree.leaves().count() + filters.len());
        let links = ReceivingLinks { interface: index, ifb: receiver.ifb };
        let Some(state) = self.kernel.receiving_state(links, tree, filters) else { return };
        let state = in_time(index, most, state);
        self.queues.call(index);
        self.calls.push(Box::pin(async move { Returned::ReceiverObserved { index, state: state.await } }));
    }

    /// An ifb was compared.
    pub(super) fn receiver_observed(&mut self, index: u32, state: Result<ReceivingState, KernelFailure>) {
        self.queues.returned(index);
        let Some(receiver) = self.receivers.get(&index).cloned() else { return };
        match state {
            Ok(ReceivingState::Intact) => {}
            Ok(ReceivingState::Foreign(foreign)) => {
                self.report_receiver_changed(index, Differences::one(Difference::IngressForeign));
                self.lack_receiver(index, NotProgrammed::ForeignIngress { kind: foreign.kind });
                // What is left of gqos's own goes.
                if let Some(receiver) = self.receivers.get(&index).cloned() {
                    self.change_receiver(index, receiver.set_up(), None);
                }
            }
            Ok(ReceivingState::Changed(tree)) => {
                self.report_receiver_changed(index, tree.repaired());
                let change = crate::tc::ReceivingChange { tree, ..Default::default() };
                self.change_receiver(index, receiver.changed(change), None);
            }
            Ok(ReceivingState::Gone(found)) => {
                self.report_receiver_changed(index, found.clone());
                self.lack_receiver(index, NotProgrammed::Repairing { found });
                if let Some(receiver) = self.receivers.get(&index).cloned() {
                    self.change_receiver(index, receiver.set_up(), None);
                }
            }
            Err(failure) => {
                self.call_failed(index, &failure);
                self.upkeep.receivers.needed(&index);
                self.upkeep.receivers.add(&index, Duration::ZERO, REPAIR);
            }
        }
    }

    /// An ifb is gone with what was in it: it is set up again, and the redirect to it is deleted first.
    pub(super) fn restore_receiver(&mut self, index: u32) {
        if !self.receivers.contains_key(&index) {
            return;
        }
        let found = Differences::one(Difference::IfbMissing);
        self.report_receiver_changed(index, found.clone());
        self.lack_receiver(index, NotProgrammed::Repairing { found });
        self.upkeep.receivers.add(&index, Duration::ZERO, REPAIR);
    }

    /// The kernel does not have the ifb of an interface: it is tried again. An interface without flows needs none.
    pub(super) fn lack_receiver(&mut self, index: u32, why: NotProgrammed) {
        let Some(receiver) = self.receivers.get_mut(&index) else { return };
        if receiver.flows.is_empty() && !matches!(why, NotProgrammed::Repairing { .. }) {
            return self.remove_receiver(index);
        }
        let most = match why {
            NotProgrammed::ForeignIngress { .. } => OCCUPIED,
            NotProgrammed::Repairing { .. } => REPAIR,
            _ => REFUSED,
        };
        receiver.lacking = Some(why);
        self.upkeep.receivers.needed(&index);
        self.upkeep.receivers.add(&index, Duration::ZERO, most);
    }

    /// Why an interface has no ifb at present, with the name of the one that it has or is to have; `None` where no flow has
    /// reserved for receiving.
    pub(super) fn receiving_report(&self, index: u32) -> Option<Result<String, NotProgrammed>> {
        let Receiver { lacking, .. } = self.receivers.get(&index)?;
        Some(lacking.clone().map_or_else(|| Ok(receiver_name(index)), Err))
    }

    fn report_receiver_changed(&mut self, index: u32, found: Differences) {
        self.upkeep.receivers.needed(&index);
        let Some(interface) = self.name(index) else { return };
        self.core().record(|| Event::TreeChanged(TreeChanged { interface, found }));
    }

    /// The interface that a link is, or that it is the ifb of.
    fn receiver_of(&self, link: u32) -> Option<u32> {
        let mut receivers = self.receivers.iter();
        receivers.find(|(index, receiver)| **index == link || receiver.ifb == link).map(|(index, _)| *index)
    }
}
