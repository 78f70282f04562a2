//! Flows that were reserved ahead: each gets its class when its reservation begins.

use flowspec::Both;

use super::flow::{FlowDebt, FlowPhase};
use super::message::{Loss, Notice};
use super::owed::Debtor;
use super::pending::Purpose;
use super::roll_back::RolledBack;
use super::state::Manager;
use super::turn::Turn;
use crate::admission::{NotProgrammed, Operation};
use crate::policy::Enforcement;

impl Manager {
    /// Begins the reservations whose time has come.
    pub(super) fn begin_due(&mut self, turn: &mut Turn) {
        for id in self.beginnings.take(turn.now) {
            self.begin(turn, &id);
        }
    }

    fn begin(&mut self, turn: &mut Turn, id: &str) {
        let Some(flow) = self.flows.get(id) else { return };
        let before = flow.phase;
        match before {
            FlowPhase::Provisional | FlowPhase::Established => {}
            // It may be reinstated.
            FlowPhase::Applying | FlowPhase::Displaced => {
                self.beginnings.hold_up(id);
                return;
            }
            FlowPhase::Releasing => return,
        }
        match self.lacks_required_tree(&flow.interface, &flow.grant) {
            None => {}
            Some(NotProgrammed::Preparing) => {
                self.beginnings.hold_up(id);
                return;
            }
            Some(cause) => return self.end_unenforced(turn, id, cause),
        }
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.begins = None;
        let debtor =
            Debtor { interface: &flow.interface, class: &flow.counted_class, tspec: &flow.grant.tspec };
        let missing = self.owed.take_over(debtor, Both::default());
        flow.debt = FlowDebt { at: turn.now, missing, is_counted: false };
        let interface = flow.interface.clone();
        let Some((class, change)) = self.assign_class(id) else { return self.tell_begun(turn, id) };
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.class = Some(class);
        if change.ops.is_empty() {
            return self.tell_begun(turn, id);
        }
        flow.phase = FlowPhase::Applying;
        flow.before_class = Some(before);
        self.apply(turn, &interface, change, Purpose::Begin { id: id.to_owned() });
    }

    /// The kernel has a flow's class, or has refused it: then its owner shapes it in user space alone, or loses it where
    /// the policy wants the kernel to enforce.
    pub(super) fn begun(&mut self, turn: &mut Turn, id: &str, rolled_back: Option<RolledBack>) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.phase = flow.before_class.take().unwrap_or(FlowPhase::Provisional);
        if let Some(rolled_back) = rolled_back {
            let (class, now) = (flow.class.take(), self.owed.now());
            if let (Some(interface), Some(class)) = (self.interfaces.get_mut(&rolled_back.interface), class) {
                interface.leave(id, class);
                interface.free(class, now);
            }
            self.realign_classes(turn, &rolled_back);
            let policy = self.ledger.policy().interface(&rolled_back.interface);
            if policy.is_some_and(|policy| policy.enforcement == Enforcement::Kernel) {
                return self.end_unenforced(turn, id, rolled_back.failure.into());
            }
        }
        self.tell_begun(turn, id);
        self.end_if_due(turn, id);
    }

    /// The kernel does not enforce a flow whose reservation begins, and the policy demands it: the reservation is lost.
    fn end_unenforced(&mut self, turn: &mut Turn, id: &str, cause: NotProgrammed) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.begins = None;
        // A flow that has ended meanwhile ends as it would have.
        if !flow.closed && flow.lost.is_none() {
            flow.lost = Some(Loss::NotEnforced { cause });
            self.take_back(turn, id);
        }
        self.end_if_due(turn, id);
        // What it had is free for flows that wait.
        self.consult(turn, &Operation::Tick);
    }

    fn tell_begun(&self, turn: &mut Turn, id: &str) {
        let Some(flow) = self.flows.get(id) else { return };
        let admitted = Box::new(flow.admitted(flow.missing(turn.now)));
        turn.notify(Notice::Begun { id: id.to_owned(), admitted });
    }
}
