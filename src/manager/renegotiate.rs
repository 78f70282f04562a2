//! Another reservation for a flow: the kernel first, then the budgets.

use flowspec::{Both, Direction, Flowspec, Qos, ServiceType};

use super::audit::audit_ended;
use super::flow::{FlowPhase, framed};
use super::message::{ChangeId, RequestId};
use super::pending::{AppliedRenegotiation, PendingRenegotiation, Purpose};
use super::roll_back::RolledBack;
use super::state::Manager;
use super::turn::{DecisionReply, SetUp, Turn};
use crate::admission::{BegunRenegotiation, Grant, Operation, Refusal, RefusedRequest, RequestKind};
use crate::tc::Change;
use crate::telemetry::audit::AuditFact;
use crate::telemetry::event::{Event, FlowRenegotiated};

impl Manager {
    /// A flow that has a class requests another reservation.
    ///
    /// The ledger charges the larger of both until the kernel has answered: a smaller reservation frees nothing that
    /// the class still has, and a larger one can always be taken back.
    pub(super) fn renegotiate(
        &mut self,
        turn: &mut Turn,
        request: RequestId,
        id: &str,
        flowspecs: &Both<Option<Flowspec>>,
    ) {
        let BegunRenegotiation { renegotiation, ended } =
            match self.ledger.begin_renegotiation(turn.now, id, flowspecs) {
                Ok(begun) => begun,
                Err(mut outcome) => {
                    turn.audit(|| AuditFact::Decided {
                        operation: Box::new(Operation::Renegotiate {
                            id: id.to_owned(),
                            flowspecs: Box::new(*flowspecs),
                        }),
                        decision: Box::new(outcome.decision.clone()),
                    });
                    self.apply_outcome(turn, &mut outcome);
                    return turn.answer(DecisionReply { request, decision: outcome.decision });
                }
            };
        turn.audit(|| AuditFact::Renegotiating { id: id.to_owned(), flowspecs: Box::new(*flowspecs) });
        audit_ended(turn, &ended);
        self.lose_ended(turn, ended);
        let Some(flow) = self.flows.get(id) else { return self.refuse_unknown(turn, request, id) };
        let (qos, grant) =
            renegotiated_reservation((&flow.qos, &flow.grant), flowspecs, renegotiation.grant());
        let name = flow.interface.clone();
        let change = match (self.interfaces.get_mut(&name), flow.class, framed(&grant)) {
            (Some(interface), Some(class), Some(framed)) => interface.adjust(id, class, framed),
            // A flow that reserves nothing for sending any more keeps its class until it ends.
            _ => Change::default(),
        };
        let renegotiation = PendingRenegotiation { request, renegotiation, qos, grant };
        if change.ops.is_empty() {
            return self
                .conclude(turn, AppliedRenegotiation { id: id.to_owned(), renegotiation, result: Ok(()) });
        }
        let purpose = Purpose::Renegotiate { id: id.to_owned(), renegotiation: Box::new(renegotiation) };
        let change = self.apply(turn, &name, change, purpose);
        if let Some(flow) = self.flows.get_mut(id) {
            flow.changing = Some(change);
        }
    }

    /// The ledger has given a flow without a class another reservation.
    pub(super) fn renegotiated(
        &mut self,
        turn: &mut Turn,
        reply: DecisionReply,
        (id, flowspecs): (&str, &Both<Option<Flowspec>>),
        grant: &Grant,
    ) {
        match self.flows.get_mut(id) {
            None => turn.answer_granted(reply, grant, SetUp::default()),
            Some(flow) => {
                (flow.qos, flow.grant) = renegotiated_reservation((&flow.qos, &flow.grant), flowspecs, grant);
                self.answer_flow(turn, id, reply);
            }
        }
    }

    /// The kernel has answered the change of a flow's class.
    pub(super) fn renegotiation_applied(
        &mut self,
        turn: &mut Turn,
        change: ChangeId,
        applied: AppliedRenegotiation,
        rolled_back: Option<RolledBack>,
    ) {
        let flow = self.flows.get_mut(&applied.id).filter(|flow| flow.changing == Some(change));
        let phase = flow.map(|flow| {
            flow.changing = None;
            flow.phase
        });
        if let Some(rolled_back) = rolled_back {
            if matches!(phase, Some(FlowPhase::Provisional | FlowPhase::Established)) {
                self.join_again(&applied.id);
            }
            self.realign_classes(turn, &rolled_back);
        }
        match phase {
            // It has ended, and another flow may have its name: the ledger has nothing of it any more.
            None => self.refuse_unknown(turn, applied.renegotiation.request, &applied.id),
            // Whether it is preempted is known once the kernel has answered about the other flow.
            Some(FlowPhase::Displaced) => self.renegotiations_to_conclude.push(applied),
            Some(_) => self.conclude(turn, applied),
        }
    }

    /// Concludes the renegotiations that the kernel answered while a flow was displaced.
    pub(super) fn resume(&mut self, turn: &mut Turn, id: &str) {
        while let Some(place) = self.renegotiations_to_conclude.iter().position(|applied| applied.id == id) {
            let applied = self.renegotiations_to_conclude.remove(place);
            self.conclude(turn, applied);
        }
    }

    fn refuse_unknown(&mut self, turn: &mut Turn, request: RequestId, id: &str) {
        let (id, refusal) = (id.to_owned(), Refusal::UnknownId { id: id.to_owned() });
        let refused = RefusedRequest { kind: RequestKind::Renegotiate { id }, interface: None, refusal };
        self.refuse(turn, request, refused);
    }

    /// The budgets follow the kernel, and the request is answered.
    fn conclude(&mut self, turn: &mut Turn, applied: AppliedRenegotiation) {
        let AppliedRenegotiation {
            id,
            renegotiation: PendingRenegotiation { request, renegotiation, qos, grant },
            result,
        } = applied;
        let mut outcome = match result {
            Ok(()) => self.ledger.finish_renegotiation(turn.now, renegotiation),
            Err(failure) => {
                let interface = self.flows.get(&id).map_or_else(String::new, |flow| flow.interface.clone());
                let refusal = Refusal::TrafficControl { interface, cause: failure.into() };
                self.ledger.abandon_renegotiation(turn.now, renegotiation, refusal)
            }
        };
        turn.audit(|| AuditFact::Renegotiated {
            id: id.clone(),
            flowspecs: outcome.decision.is_ok().then(|| Box::new(requested(&qos))),
            decision: Box::new(outcome.decision.clone()),
        });
        self.apply_outcome(turn, &mut outcome);
        let reply = DecisionReply { request, decision: outcome.decision };
        match self.flows.get_mut(&id) {
            Some(flow) if reply.decision.is_ok() => {
                let previously = flow.grant.charged;
                (flow.qos, flow.grant) = (qos, grant);
                let event = || FlowRenegotiated { flow: flow.holding(&id), previously };
                turn.record(|| Event::FlowRenegotiated(event()));
                self.answer_flow(turn, &id, reply);
            }
            _ => turn.answer(reply),
        }
    }
}

/// Both directions of what a flow requests.
const fn requested(qos: &Qos) -> Both<Option<Flowspec>> {
    Both { sending: Some(qos.sending), receiving: Some(qos.receiving) }
}

/// A flow's request and grant after a renegotiation: a direction that is not requested stays as it was.
fn renegotiated_reservation(
    (qos, kept): (&Qos, &Grant),
    flowspecs: &Both<Option<Flowspec>>,
    grant: &Grant,
) -> (Qos, Grant) {
    let (mut qos, mut grant) = (*qos, grant.clone());
    for direction in Direction::BOTH {
        match flowspecs.get(direction).filter(|spec| spec.service_type != ServiceType::NoChange) {
            Some(spec) => *qos.get_mut(direction) = spec,
            None => *grant.tspec.get_mut(direction) = *kept.tspec.get(direction),
        }
    }
    (qos, grant)
}
