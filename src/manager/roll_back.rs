//! What a change that the kernel refuses undoes in the ledger and in the tree.
//!
//! The kernel has rolled the change back, so that it has each class as it was before that change. Where changes of the
//! same class were sent since, they set it to what was sent last. In both cases the class may differ from what its
//! flows need now; one more change corrects it.

use flowspec::{Both, Flowspec, ServiceType};

use super::flow::{FlowPhase, ManagedFlow, framed};
use super::message::Loss;
use super::pending::{DisplacedFlow, PendingAdmission, Purpose, ReplacedFlow};
use super::record::record_interface;
use super::state::Manager;
use super::turn::Turn;
use crate::admission::{Ladder, NotProgrammed, Operation};
use crate::failure::KernelFailure;
use crate::policy::Enforcement;
use crate::tc::Change;
use crate::telemetry::audit::AuditFact;
use crate::telemetry::event::{Event, FlowReleased};

/// A change that the kernel has rolled back.
#[derive(Debug)]
pub(super) struct RolledBack {
    pub(super) interface: String,
    pub(super) replaced: Vec<ReplacedFlow>,
    /// The operation that failed.
    pub(super) failure: KernelFailure,
}

/// A flow that has its reservation again, since the flow that preempted it was not admitted.
#[derive(Debug)]
pub(super) struct Reinstated {
    id: String,
    /// Its phase before it was preempted; `None` where it is not known to the manager.
    phase: Option<FlowPhase>,
    held: crate::admission::Holding,
    /// It has ended since it was preempted, and gets nothing.
    has_ended: bool,
    /// Its capacity was taken meanwhile: it has lost its reservation after all.
    is_lost: bool,
}

impl Manager {
    /// The kernel has refused a flow's class: the one place where a new flow's reservation is taken back, and where
    /// the flows that it would have preempted get theirs again.
    pub(super) fn admission_refused(
        &mut self,
        turn: &mut Turn,
        id: &str,
        admission: PendingAdmission,
        rolled_back: RolledBack,
    ) {
        let PendingAdmission { reply, displaced, .. } = admission;
        let Some(mut flow) = self.flows.remove(id) else { return };
        let asked = Ladder::from(self.request_on(id, &flow, (turn, &rolled_back.interface)));
        self.end_claim(id, &flow);
        self.count_debt(&mut flow, Both::default());
        let (ManagedFlow { class, .. }, now) = (flow, self.owed.now());
        self.take_back(turn, id);
        let reinstated = self.reinstate(displaced);
        audit_reinstated(turn, id, &reinstated);
        for Reinstated { id, phase, .. } in &reinstated {
            let Some(phase @ (FlowPhase::Provisional | FlowPhase::Established)) = phase else { continue };
            let Some(flow) = self.flows.get_mut(id) else { continue };
            flow.phase = *phase;
            self.resume(turn, id);
            self.join_again(id);
        }
        if let (Some(interface), Some(class)) = (self.interfaces.get_mut(&rolled_back.interface), class) {
            interface.leave(id, class);
            interface.free(class, now);
        }
        self.realign_classes(turn, &rolled_back);
        self.end_or_keep(turn, id, reinstated);
        self.refuse_admission(turn, reply, &asked, rolled_back.failure.into());
    }

    /// The kernel has refused a change. Where that is for a lost privilege, and the policy lets user space enforce alone,
    /// further flows of the interface get no class.
    pub(super) fn leave_to_user_space(&mut self, turn: &mut Turn, name: &str, failure: &KernelFailure) {
        let policy = self.ledger.policy().interface(name);
        let is_left = policy.is_some_and(|policy| policy.enforcement == Enforcement::Auto);
        let Some(interface) = self.interfaces.get_mut(name).filter(|_| is_left && failure.is_permission())
        else {
            return;
        };
        if interface.forbid(failure) {
            record_interface(turn, name, interface.index, interface.not_programmed());
            self.set_programmed(turn, name, false);
        }
    }

    /// Whether a flow whose class the kernel has refused is enforced in user space alone: on an interface that is left to
    /// user space, unless its delay bound was proven from the tree.
    pub(super) fn keeps_without_class(&self, id: &str, failure: &KernelFailure) -> bool {
        let Some(flow) = self.flows.get(id) else { return false };
        let is_left = match self.kernel(&flow.interface) {
            Err(NotProgrammed::Kernel(_) | NotProgrammed::Repairing { .. } | NotProgrammed::Gone) => {
                !failure.is_not_expressible()
            }
            _ => false,
        };
        let policy = self.ledger.policy().interface(&flow.interface);
        let Some(policy) = policy.filter(|policy| is_left && policy.enforcement == Enforcement::Auto) else {
            return false;
        };
        let Flowspec { service_type, latency, delay_variation, .. } = flow.qos.sending;
        let has_target = service_type == ServiceType::Guaranteed && latency.or(delay_variation).is_some();
        !(has_target && policy.delay && policy.error_terms.is_none())
    }

    /// Admits a flow whose class the kernel has rolled back. The classes of the flows that it displaces stay as well: no
    /// number is used again, since no further flow gets a class.
    pub(super) fn admitted_without_class(&mut self, turn: &mut Turn, id: &str, admission: PendingAdmission) {
        let now = self.owed.now();
        if let Some(flow) = self.flows.get_mut(id)
            && let Some(class) = flow.class.take()
            && let Some(interface) = self.interfaces.get_mut(&flow.interface)
        {
            // The kernel has the class as it was before.
            drop(interface.remove(id, class));
            interface.free(class, now);
        }
        self.admitted(turn, id, admission);
    }

    /// Gives flows the reservations again that they had before they were preempted, but not those that have ended since.
    pub(super) fn reinstate(&mut self, displaced: Vec<DisplacedFlow>) -> Vec<Reinstated> {
        let (mut reinstated, mut in_ledger) = (Vec::new(), Vec::new());
        for DisplacedFlow { displaced, held, phase } in displaced {
            let has_ended = phase.is_some_and(|before| self.has_ended(&displaced.id, before));
            reinstated.push(Reinstated { id: displaced.id.clone(), phase, held, has_ended, is_lost: false });
            if !has_ended {
                in_ledger.push(displaced);
            }
        }
        let lost = self.ledger.reinstate(in_ledger);
        for flow in &mut reinstated {
            flow.is_lost = lost.contains(&flow.id);
        }
        reinstated
    }

    /// Whether a flow has ended that was in a phase when it was preempted.
    fn has_ended(&self, id: &str, before: FlowPhase) -> bool {
        let Some(flow) = self.flows.get(id) else { return true };
        match before {
            FlowPhase::Provisional | FlowPhase::Established | FlowPhase::Releasing => false,
            // Its id may be that of a new flow.
            FlowPhase::Applying => flow.phase != FlowPhase::Applying,
            FlowPhase::Displaced => true,
        }
    }

    /// Ends the flows that were reinstated for which nothing uses the reservation any more, and those that could not
    /// be reinstated. Then flows that wait for capacity are notified.
    pub(super) fn end_or_keep(&mut self, turn: &mut Turn, by: &str, reinstated: Vec<Reinstated>) {
        let why = || Loss::Preempted { by: by.to_owned() };
        for Reinstated { id, phase, held, has_ended, is_lost } in reinstated {
            if has_ended {
                if phase == Some(FlowPhase::Releasing) {
                    turn.record(|| Event::FlowReleased(FlowReleased { flow: held }));
                }
                continue;
            }
            let now = self.flows.get_mut(&id);
            match (phase, now) {
                (None, _) if is_lost => turn.notify_lost(held, why()),
                (None, _) => {}
                (Some(FlowPhase::Provisional | FlowPhase::Established), _) if is_lost => {
                    self.lose(turn, held, why());
                }
                (Some(FlowPhase::Provisional | FlowPhase::Established), Some(flow)) => {
                    if flow.closed {
                        self.close(turn, &id, None);
                    }
                }
                // The kernel has not answered about it: its admission stands again.
                (Some(_), Some(flow)) if flow.phase == FlowPhase::Applying && !is_lost => flow.lost = None,
                (Some(FlowPhase::Releasing), Some(_)) if is_lost => turn.record_lost(|| held, &why()),
                (Some(FlowPhase::Releasing), Some(_)) => {}
                (Some(_), Some(flow)) if flow.phase == FlowPhase::Applying => {}
                // It has ended while the others were reinstated.
                (Some(phase), _) => {
                    self.take_back(turn, &id);
                    if phase == FlowPhase::Releasing {
                        turn.record(|| Event::FlowReleased(FlowReleased { flow: held }));
                    }
                }
            }
        }
        self.consult(turn, &Operation::Tick);
    }

    /// Makes a flow a member of its class again, as it is granted now.
    pub(super) fn join_again(&mut self, id: &str) {
        let Some(flow) = self.flows.get(id) else { return };
        if let (Some(interface), Some(class), Some(framed)) =
            (self.interfaces.get_mut(&flow.interface), flow.class, framed(&flow.grant))
        {
            interface.join(id, class, framed);
        }
    }

    /// Sends the kernel new rates for the classes of a change that was rolled back, where its own are not those that the
    /// flows in them need.
    pub(super) fn realign_classes(&mut self, turn: &mut Turn, rolled_back: &RolledBack) {
        let name = &rolled_back.interface;
        let mut correction = Change::default();
        for ReplacedFlow { class, before } in &rolled_back.replaced {
            // Every change that is pending was sent later.
            let is_replaced = self.pending.values().any(|pending| pending.changes(name, *class));
            let kernel = (!is_replaced).then_some(*before);
            if let Some(interface) = self.interfaces.get_mut(name) {
                correction.ops.extend(interface.realign_class(*class, kernel).ops);
            }
        }
        if !correction.ops.is_empty() {
            self.apply(turn, name, correction, Purpose::Realign);
        }
    }
}

/// The audit trail says which flows have their reservations again.
pub(super) fn audit_reinstated(turn: &mut Turn, by: &str, reinstated: &[Reinstated]) {
    let back = || reinstated.iter().filter(|flow| !flow.has_ended && !flow.is_lost);
    if back().next().is_some() {
        let ids = back().map(|flow| flow.id.clone()).collect();
        turn.audit(|| AuditFact::Reinstated { by: by.to_owned(), ids });
    }
}
