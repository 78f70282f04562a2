//! The reducer: from an input to the ledger's decision, and from there to the kernel and the callers.

use std::sync::Arc;

use flowspec::{Both, Moment};

use super::audit::audit_ended;
use super::flow::{FlowPhase, ManagedFlow};
use super::message::{ChangeId, Effect, Input, Notice, Output, RequestId};
use super::pending::{AppliedRenegotiation, Deferred, Pending, Purpose, Requester};
use super::record::{record_applied, record_interface};
use super::roll_back::RolledBack;
use super::state::Manager;
use super::turn::{DecisionReply, SetUp, Turn};
use crate::admission::{
    Decision, EndedFlow, EndedIds, Enforced, Lack, Ladder, Operation, Outcome, Refusal, RefusedRequest,
    RequestKind,
};
use crate::failure::KernelFailure;
use crate::kernel::KernelClass;
use crate::policy::Policy;
use crate::tc::{self, Change};
use crate::telemetry::audit::AuditFact;
use crate::telemetry::event::{CapacityAvailable, Event, PolicyReloaded, RequestDeferred};

/// The most requests that wait for an interface's tree.
const MOST_DEFERRED: usize = 4096;

impl Manager {
    /// What follows from an input that happens now. Time does not go back: an earlier moment counts as the latest.
    pub fn handle(&mut self, input: Input, now: Moment) -> Output {
        let mut turn = Turn::new(now, self.records());
        self.owed.advance(now);
        if !matches!(input, Input::Spent { .. }) {
            self.lapsed.clear();
        }
        // The answer to a request names the flows that have ended by then.
        if !matches!(input, Input::Request { .. } | Input::Adopt { .. }) {
            self.pass(&mut turn);
        }
        match input {
            Input::Seen(seen) => self.seen(&mut turn, &seen),
            Input::Request { id, operation } => self.request(&mut turn, id, operation),
            Input::Observed { interface, observed } => self.observed(&mut turn, &interface, *observed),
            Input::Unanswered { interface, failure } => self.unanswered(&mut turn, &interface, failure),
            Input::Gone { interface } => self.gone(&mut turn, &interface),
            Input::Policy(policy) => drop(self.reload(&mut turn, policy)),
            Input::Applied { id, result } => self.applied(&mut turn, id, result),
            Input::Connected { id } => self.connected(&id),
            Input::Spent { id, missing } => self.spent(&id, missing),
            Input::Drained { id, full_in } => self.drained(&id, full_in),
            Input::Closed { id } => self.close(&mut turn, &id, None),
            Input::Adopt { id, operation, class } => self.adopt(&mut turn, id, *operation, class),
            Input::SocketMarked { socket, class, flow } => {
                self.socket_marked(socket, class, flow.as_deref());
            }
            Input::SocketUnmarked { socket, class } => self.socket_unmarked(socket, class),
            Input::Reroute { id, flow, to } => self.reroute(&mut turn, id, &flow, &to),
            Input::RouteLost { id, why } => self.lose_route(&mut turn, &id, why),
            Input::Stop => self.stop(&mut turn),
        }
        self.finish_turn(turn)
    }

    /// Time passes without anything else: the flows that it has ended by then.
    pub(super) fn advance(&mut self, now: Moment) -> (EndedIds, Output) {
        let mut turn = Turn::new(now, self.records());
        let ended = self.expire(&mut turn);
        (ended, self.finish_turn(turn))
    }

    /// Another policy from now on: the decision of the tick that follows, with the flows that had ended before.
    pub(super) fn replace_policy(&mut self, policy: Arc<Policy>, now: Moment) -> (Decision, Output) {
        let mut turn = Turn::new(now, self.records());
        self.owed.advance(now);
        let mut ended = self.expire(&mut turn);
        let mut decision = self.reload(&mut turn, policy);
        ended.append(decision.take_ended());
        decision.set_ended(ended);
        (decision, self.finish_turn(turn))
    }

    fn finish_turn(&mut self, mut turn: Turn) -> Output {
        self.begin_due(&mut turn);
        self.copy_classes(&mut turn);
        self.leave_dropped(&mut turn);
        self.follow_capacities(&mut turn);
        let ledger = &self.ledger;
        self.owed.set_refill_rates(|interface| {
            ledger
                .totals(interface)
                .map_or_else(Both::default, |totals| totals.map(|total| total.available()))
        });
        if let Some(groups) = &mut self.recorded {
            groups.record_changes(&self.ledger, &mut turn);
        }
        #[cfg(debug_assertions)]
        self.check_sometimes();
        turn.finish()
    }

    fn pass(&mut self, turn: &mut Turn) {
        if !self.expire(turn).is_empty() {
            // What they held is free for flows that wait for capacity.
            self.consult(turn, &Operation::Tick);
        }
    }

    /// Ends the flows whose time is over, or that were without their peers for too long.
    fn expire(&mut self, turn: &mut Turn) -> EndedIds {
        let ended = self.ledger.advance(turn.now);
        let ids = EndedIds::of(&ended);
        audit_ended(turn, &ended);
        self.lose_ended(turn, ended);
        ids
    }

    fn connected(&mut self, id: &str) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        match (flow.phase, &mut flow.before_class) {
            (FlowPhase::Provisional, _) => flow.phase = FlowPhase::Established,
            (FlowPhase::Applying, Some(before)) => *before = FlowPhase::Established,
            _ => {}
        }
    }

    fn reload(&mut self, turn: &mut Turn, policy: Arc<Policy>) -> Decision {
        let sources = policy.sources.clone();
        turn.audit(|| AuditFact::Reloaded(Arc::clone(&policy)));
        let reload = self.ledger.reload(policy);
        turn.record(|| Event::PolicyReloaded(PolicyReloaded { sources, reload }));
        self.note_dropped();
        self.recopy(turn);
        // What the new policy leaves free is free for flows that wait.
        self.consult(turn, &Operation::Tick).decision
    }

    pub(super) fn request(&mut self, turn: &mut Turn, request: RequestId, operation: Box<Operation>) {
        match &*operation {
            Operation::Reserve(ladder) if self.is_preparing(&ladder.request.interface) => {
                self.defer(turn, request, operation);
            }
            // The name of a flow is taken until the kernel has answered.
            Operation::Reserve(ladder) if self.is_in_flight(&ladder.request.id) => {
                let (id, interface) = (ladder.request.id.clone(), Some(ladder.request.interface.clone()));
                let refusal = Refusal::InProgress { id: id.clone() };
                let refused = RefusedRequest { kind: RequestKind::Reserve { id }, interface, refusal };
                self.refuse_asked(turn, request, (refused, Some(ladder)));
            }
            Operation::Renegotiate { id, .. } if self.is_in_flight(id) => {
                let refusal = Refusal::InProgress { id: id.clone() };
                let kind = RequestKind::Renegotiate { id: id.clone() };
                self.refuse(turn, request, RefusedRequest { kind, interface: None, refusal });
            }
            Operation::Renegotiate { id, flowspecs } if self.class(id).is_some() => {
                self.renegotiate(turn, request, id, flowspecs);
            }
            Operation::Release { id } if self.flows.contains_key(id) => {
                let ended = self.expire(turn);
                self.close(turn, id, Some(Requester { request, ended }));
            }
            _ => self.carry_out(turn, request, &operation),
        }
    }

    /// Whether the kernel still works on a flow's admission, preemption, end or other rate.
    pub(super) fn is_in_flight(&self, id: &str) -> bool {
        self.flows.get(id).is_some_and(|flow| flow.is_in_flight() || flow.changing.is_some())
    }

    /// Lets a request wait until the kernel has answered about its interface's tree.
    fn defer(&mut self, turn: &mut Turn, request: RequestId, operation: Box<Operation>) {
        let Operation::Reserve(ladder) = &*operation else { return };
        let (id, interface) = (ladder.request.id.clone(), ladder.request.interface.clone());
        let waiting = self.deferred.len();
        if waiting < MOST_DEFERRED {
            turn.record(|| Event::RequestDeferred(RequestDeferred { id, interface }));
            return self.deferred.push(Deferred { request, operation, adopted: None });
        }
        let refusal = Refusal::TooManyRequests { waiting, limit: MOST_DEFERRED };
        let (kind, interface) = (RequestKind::Reserve { id }, Some(interface));
        self.refuse_asked(turn, request, (RefusedRequest { kind, interface, refusal }, Some(ladder)));
    }

    /// Lets the ledger decide, and the kernel follow.
    pub(super) fn carry_out(&mut self, turn: &mut Turn, request: RequestId, operation: &Operation) {
        let Outcome { decision, grant, .. } = self.consult(turn, operation);
        let reply = DecisionReply { request, decision };
        match (operation, grant) {
            (Operation::Reserve(ladder), Some(grant)) => self.admit(turn, reply, ladder, grant),
            (Operation::Renegotiate { id, flowspecs }, Some(grant)) => {
                self.renegotiated(turn, reply, (id, flowspecs), &grant);
            }
            (Operation::Capacity { interface, .. }, _) => self.capacity_changed(turn, interface, reply),
            _ => turn.answer(reply),
        }
    }

    fn applied(&mut self, turn: &mut Turn, change: ChangeId, result: Result<(), KernelFailure>) {
        let Some(pending) = self.pending.remove(&change) else { return };
        record_applied(turn, &pending, &result);
        let Pending { interface, replaced, purpose, .. } = pending;
        if let Err(failure) = &result {
            self.leave_to_user_space(turn, &interface, failure);
            self.doubt(&interface, failure);
        }
        let roll_back = |failure| RolledBack { interface: interface.clone(), replaced, failure };
        match (purpose, result) {
            (Purpose::Realign, _) => {}
            (Purpose::TearDown, result) => {
                let is_gone = result.as_ref().err().is_none_or(KernelFailure::is_absent);
                if let Some(interface) = self.interfaces.get_mut(&interface) {
                    interface.is_torn_down = is_gone;
                }
            }
            (Purpose::Repair, result) => self.repaired(turn, &interface, result),
            (Purpose::SetUp, result) => self.prepared(turn, &interface, result),
            (Purpose::Trunk { reply }, result) => {
                let Some(mut reply) = reply else { return };
                if let Err(failure) = result {
                    reply.decision.set_not_programmed(failure.into());
                }
                turn.answer(*reply);
            }
            (Purpose::Admit { id, admission }, Ok(())) => self.admitted(turn, &id, *admission),
            (Purpose::Admit { id, admission }, Err(failure)) if self.keeps_without_class(&id, &failure) => {
                match failure.is_permission() {
                    true => self.admitted_without_class(turn, &id, *admission),
                    // It has its class once the tree is repaired.
                    false => self.admitted(turn, &id, *admission),
                }
            }
            (Purpose::Admit { id, admission }, Err(failure)) => {
                self.admission_refused(turn, &id, *admission, roll_back(failure));
            }
            (Purpose::Begin { id }, result) => self.begun(turn, &id, result.err().map(roll_back)),
            (Purpose::Renegotiate { id, renegotiation }, result) => {
                let rolled_back = result.as_ref().err().cloned().map(roll_back);
                let applied = AppliedRenegotiation { id, renegotiation: *renegotiation, result };
                self.renegotiation_applied(turn, change, applied, rolled_back);
            }
            // A class that is still there is deleted by the repair.
            (Purpose::Release { id, requester }, _) => self.released(turn, &id, requester, true),
            (Purpose::Lose { class }, _) => self.free(&interface, Some(class)),
        }
    }

    /// The kernel has answered about an interface's tree: the requests that waited for it are handled.
    fn prepared(&mut self, turn: &mut Turn, name: &str, result: Result<(), KernelFailure>) {
        self.set_programmed(turn, name, result.is_ok());
        if let Some(interface) = self.interfaces.get_mut(name) {
            interface.prepared(result);
            let why = interface.not_programmed();
            record_interface(turn, name, interface.index, why);
        }
        self.add_copies(turn, name);
        for Deferred { request, operation, adopted } in std::mem::take(&mut self.deferred) {
            match adopted {
                Some(class) => self.adopt(turn, request, *operation, class),
                None => self.request(turn, request, operation),
            }
        }
    }

    /// Lets the ledger decide, and notifies those that the decision concerns.
    pub(super) fn consult(&mut self, turn: &mut Turn, operation: &Operation) -> Outcome {
        let held = match operation {
            Operation::Release { id } | Operation::Renegotiate { id, .. } if turn.records() => {
                self.ledger.holding_of(id)
            }
            _ => None,
        };
        let mut outcome = self.ledger.decide(turn.now, operation);
        turn.audit(|| {
            let (operation, decision) = (Box::new(operation.clone()), Box::new(outcome.decision.clone()));
            let is_held = matches!(*operation, Operation::Reserve(_) | Operation::Group(_));
            match is_held && self.ledger.is_keeping() {
                true => AuditFact::Adopted { operation, decision },
                false => AuditFact::Decided { operation, decision },
            }
        });
        self.apply_outcome(turn, &mut outcome);
        if turn.records() {
            self.record_decision(turn, &outcome, held);
        }
        outcome
    }

    /// Answers with a refusal that is not the ledger's.
    pub(super) fn refuse(&mut self, turn: &mut Turn, request: RequestId, refused: RefusedRequest) {
        self.refuse_asked(turn, request, (refused, None));
    }

    /// The same where the request for the flow is known.
    pub(super) fn refuse_asked(
        &mut self,
        turn: &mut Turn,
        request: RequestId,
        (refused, asked): (RefusedRequest, Option<&Ladder>),
    ) {
        let mut outcome = self.ledger.refuse(turn.now, refused);
        turn.audit_refusal(&outcome.decision, asked);
        self.apply_outcome(turn, &mut outcome);
        turn.answer(DecisionReply { request, decision: outcome.decision });
    }

    /// Ends the flows that have lost their reservation by a decision, and notifies those that wait and fit now.
    pub(super) fn apply_outcome(&mut self, turn: &mut Turn, outcome: &mut Outcome) {
        self.lose_ended(turn, std::mem::take(&mut outcome.ended));
        for id in &outcome.decision.notified {
            turn.record(|| Event::CapacityAvailable(CapacityAvailable { id: id.clone() }));
            turn.notify(Notice::CapacityAvailable { id: id.clone() });
        }
    }

    pub(super) fn lose_ended(&mut self, turn: &mut Turn, ended: Vec<EndedFlow>) {
        for EndedFlow { held, cause } in ended {
            self.lose(turn, held, cause.into());
        }
    }

    /// Answers that a flow is admitted or renegotiated, with what enforces it.
    pub(super) fn answer_flow(&self, turn: &mut Turn, id: &str, mut reply: DecisionReply) {
        let Some(flow) = self.flows.get(id) else { return turn.answer(reply) };
        reply.decision.set_enforced(self.enforced(flow));
        let owed = match flow.phase {
            // Its buckets are made with this answer.
            FlowPhase::Provisional => flow.missing(turn.now),
            _ => Both::default(),
        };
        turn.answer_granted(reply, &flow.grant, SetUp { class: flow.class, owed, begins: flow.begins });
    }

    /// Sends the kernel a change of an interface.
    pub(super) fn apply(
        &mut self,
        turn: &mut Turn,
        name: &str,
        change: Change,
        purpose: Purpose,
    ) -> ChangeId {
        self.last_change += 1;
        let id = ChangeId(self.last_change);
        let index = self.interfaces.get(name).map_or(0, |interface| interface.index);
        self.pending.insert(id, Pending::new(name, &change, purpose));
        turn.push(Effect::Apply { id, index, change });
        id
    }

    pub(super) fn enforced(&self, flow: &ManagedFlow) -> Enforced {
        let ManagedFlow { interface, class, grant, .. } = flow;
        let known = self.interfaces.get(interface);
        let lacking = match (&grant.tspec.sending, self.kernel(interface)) {
            (Some(_), Err(why)) => vec![Lack::KernelClass(why)],
            _ => Vec::new(),
        };
        let class = class.filter(|_| lacking.is_empty());
        Enforced {
            class: class.map(|handle| KernelClass { handle, device: interface.clone() }),
            shared: class.is_some_and(|class| {
                tc::is_shared_class(class) || known.is_some_and(|known| known.is_of_a_group(class))
            }),
            sending: grant.tspec.sending.is_some(),
            receiving: grant.tspec.receiving.is_some(),
            receiving_class: None,
            lacking,
            slice: None,
        }
    }
}
