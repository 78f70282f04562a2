//! Flows: from the ledger's yes to the kernel's, and back.

use std::sync::Arc;

use flowspec::{Both, Direction, Flowspec, Moment, ServiceType};

use super::interface::State;
use super::message::{Admitted, Answer, Effect, Loss, Notice, RequestId};
use super::reducer::{Asker, DisplacedFlow, Flow, Manager, Pending, Phase, PreviousGrant, answer, lost};
use crate::admission::{
    Decision, Displaced, Enforced, Grant, Lack, Ladder, NotProgrammed, Operation, Refusal, RequestKind,
};
use crate::failure::KernelFailure;
use crate::policy::{Admission, Enforcement, GroupMode};
use crate::tc::{self, Change, Framed};

impl Manager {
    /// The ledger has a flow: now the kernel is asked for its class, and those who had to go lose theirs in the
    /// same change, so that nobody goes for a flow that does not come.
    pub(super) fn granted(
        &mut self,
        caller: RequestId,
        ladder: &Ladder,
        mut grant: Grant,
        decision: Decision,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let request = &ladder.request;
        let displaced = std::mem::take(&mut grant.preempted);
        let policy = Arc::clone(self.ledger.policy());
        let enforcement = policy.interface(&request.interface).map(|interface| interface.enforcement);
        let lower = ladder.renditions.iter().find(|(name, _)| Some(name.as_str()) == decision.rendition());
        let qos = lower.map_or(request.qos, |(_, qos)| *qos);
        let group =
            request.group.as_deref().filter(|group| self.ledger.group_mode(group) == Some(GroupMode::Shared));
        let class_number = request.class.as_ref().map_or(0, |name| {
            // Class 0 is for flows that name none.
            1 + policy.classes.keys().take_while(|known| *known < name).count()
        });
        let measured = request.class.clone().filter(|name| {
            policy.classes.get(name).is_some_and(|class| class.admission == Admission::Measured)
        });
        let framed = framed(&grant);
        let Some(interface) = self.interfaces.get_mut(&request.interface) else {
            for displaced in displaced {
                effects.push(lost(
                    &displaced.id,
                    &request.interface,
                    Loss::Preempted { by: request.id.clone() },
                ));
            }
            let admitted = Admitted { tspec: grant.tspec, class: None, dscp: grant.dscp };
            return effects.push(Effect::Answer {
                id: caller,
                answer: Box::new(Answer { decision, admitted: Some(admitted) }),
            });
        };
        if enforcement == Some(Enforcement::Kernel)
            && framed.is_some()
            && let State::UserSpace(cause) = &interface.state
        {
            let cause = cause.clone();
            return self.undo((&request.id, &request.interface), caller, displaced, cause, now, effects);
        }
        let index = interface.index;
        let placed = framed.and_then(|framed| interface.place(&request.id, class_number, group, framed));
        let (class, mut change) = placed.unzip();
        let flow = Flow {
            interface: request.interface.clone(),
            phase: Phase::Provisional,
            class,
            qos,
            grant,
            measured,
            closed: false,
            lost: None,
        };
        self.flows.insert(request.id.clone(), flow);
        let displaced = self.displace(&request.id, displaced, &mut change);
        match change.filter(|change| !change.ops.is_empty()) {
            None => self.kernel_agreed(&request.id, caller, decision, displaced, now, effects),
            Some(change) => {
                if let Some(flow) = self.flows.get_mut(&request.id) {
                    flow.phase = Phase::Applying;
                }
                let (id, decision) = (request.id.clone(), Box::new(decision));
                effects.push(self.apply(index, change, Pending::Admit { id, caller, decision, displaced }));
            }
        }
    }

    /// Takes those who have to go out of their classes.
    fn displace(
        &mut self,
        by: &str,
        displaced: Vec<Displaced>,
        change: &mut Option<Change>,
    ) -> Vec<DisplacedFlow> {
        let mut standing = Vec::new();
        for displaced in displaced {
            let mut phase = None;
            if let Some(flow) = self.flows.get_mut(&displaced.id) {
                match flow.phase {
                    // The kernel still works on it: it ends as soon as that has answered.
                    Phase::Applying => {
                        (flow.closed, flow.lost) = (true, Some(Loss::Preempted { by: by.to_owned() }));
                    }
                    Phase::Displaced | Phase::Releasing => {}
                    Phase::Provisional | Phase::Established => {
                        phase = Some(std::mem::replace(&mut flow.phase, Phase::Displaced));
                        if let (Some(interface), Some(class)) =
                            (self.interfaces.get_mut(&flow.interface), flow.class)
                        {
                            let gone = interface.displace(&displaced.id, class);
                            change.get_or_insert_default().ops.extend(gone.ops);
                        }
                    }
                }
            }
            standing.push(DisplacedFlow { displaced, phase });
        }
        standing
    }

    pub(super) fn kernel_agreed(
        &mut self,
        id: &str,
        caller: RequestId,
        decision: Decision,
        displaced: Vec<DisplacedFlow>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        for DisplacedFlow { displaced, phase } in displaced {
            // Of the others one is told already, or will be once the kernel has answered.
            if phase.is_some()
                && let Some(interface) = self.forget(&displaced.id, true)
            {
                effects.push(lost(&displaced.id, &interface, Loss::Preempted { by: id.to_owned() }));
            }
        }
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.phase = Phase::Provisional;
        let (closed, why, interface) = (flow.closed, flow.lost.take(), flow.interface.clone());
        effects.push(self.admission(caller, id, decision));
        effects.extend(why.map(|why| lost(id, &interface, why)));
        if closed {
            self.close(id, None, now, effects);
        }
    }

    /// The one place where a flow that the kernel would not take gives everything back, to those as well who were
    /// to go for it.
    pub(super) fn kernel_refused(
        &mut self,
        id: &str,
        caller: RequestId,
        displaced: Vec<DisplacedFlow>,
        cause: KernelFailure,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Flow { interface: name, class, .. }) = self.flows.remove(id) else { return };
        if let (Some(interface), Some(class)) = (self.interfaces.get_mut(&name), class) {
            // The change was undone in the kernel: the tree goes back as well, and nothing is sent.
            interface.displace(id, class);
            interface.free(class);
        }
        for DisplacedFlow { displaced, phase } in &displaced {
            let Some(phase) = phase else { continue };
            let Some(flow) = self.flows.get_mut(&displaced.id) else { continue };
            flow.phase = *phase;
            if let (Some(interface), Some(class), Some(framed)) =
                (self.interfaces.get_mut(&flow.interface), flow.class, framed(&flow.grant))
            {
                interface.adjust(&displaced.id, class, framed);
            }
        }
        let displaced = displaced.into_iter().map(|standing| standing.displaced).collect();
        self.undo((id, &name), caller, displaced, cause.into(), now, effects);
    }

    /// What the ledger had granted is taken back for what the kernel says.
    fn undo(
        &mut self,
        (id, interface): (&str, &str),
        caller: RequestId,
        displaced: Vec<Displaced>,
        cause: NotProgrammed,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.ledger.release(id);
        let were: Vec<_> = displaced.iter().map(|displaced| displaced.id.clone()).collect();
        for gone in self.ledger.reinstate(displaced) {
            self.lose(&gone, Loss::Preempted { by: id.to_owned() }, effects);
        }
        // Who has ended meanwhile is not there to have it back.
        for back in were {
            if self.flows.get(&back).is_none_or(|flow| flow.closed) {
                self.close(&back, None, now, effects);
            }
        }
        let refusal = Refusal::TrafficControl { interface: interface.to_owned(), cause };
        self.refuse(caller, RequestKind::Reserve, (id, interface), refusal, now, effects);
    }

    /// The ledger has given a flow another reservation: now the kernel is asked for it.
    pub(super) fn changed(
        &mut self,
        caller: RequestId,
        id: &str,
        asked: &Both<Option<Flowspec>>,
        grant: Grant,
        decision: Decision,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flow) = self.flows.get_mut(id) else {
            let admitted = Admitted { tspec: grant.tspec, class: None, dscp: grant.dscp };
            return effects.push(Effect::Answer {
                id: caller,
                answer: Box::new(Answer { decision, admitted: Some(admitted) }),
            });
        };
        let before = PreviousGrant { qos: flow.qos, grant: flow.grant.clone() };
        let kept = flow.grant.tspec;
        flow.grant = grant;
        for direction in Direction::BOTH {
            match asked.get(direction).filter(|spec| spec.service_type != ServiceType::NoChange) {
                Some(spec) => *flow.qos.get_mut(direction) = spec,
                None => *flow.grant.tspec.get_mut(direction) = *kept.get(direction),
            }
        }
        let change = match (self.interfaces.get_mut(&flow.interface), flow.class, framed(&flow.grant)) {
            (Some(interface), Some(class), Some(framed)) => {
                Some((interface.index, interface.adjust(id, class, framed)))
            }
            // What sends nothing any more keeps its class until it ends: an empty one takes nothing.
            _ => None,
        };
        match change {
            Some((index, change)) if !change.ops.is_empty() => {
                let (id, decision, before) = (id.to_owned(), Box::new(decision), Box::new(before));
                effects.push(self.apply(index, change, Pending::Change { id, caller, decision, before }));
            }
            _ => effects.push(self.admission(caller, id, decision)),
        }
    }

    /// The kernel would not have the change: the flow has what it had before.
    pub(super) fn change_refused(
        &mut self,
        id: &str,
        caller: RequestId,
        before: PreviousGrant,
        cause: KernelFailure,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let PreviousGrant { qos, grant } = before;
        let Some(flow) = self.flows.get_mut(id) else {
            let refusal = Refusal::UnknownId { id: id.to_owned() };
            return self.refuse(caller, RequestKind::Renegotiate, (id, ""), refusal, now, effects);
        };
        let name = flow.interface.clone();
        if let (Some(interface), Some(class), Some(framed)) =
            (self.interfaces.get_mut(&name), flow.class, framed(&grant))
        {
            // The change was undone in the kernel: the tree goes back as well, and nothing is sent.
            interface.adjust(id, class, framed);
        }
        // What was more before may have been promised to somebody else meanwhile: then the flow keeps less.
        if self.ledger.renegotiate(id, Some(qos.sending), Some(qos.receiving)).is_ok() {
            (flow.qos, flow.grant) = (qos, grant);
        }
        let refusal = Refusal::TrafficControl { interface: name.clone(), cause: cause.into() };
        self.refuse(caller, RequestKind::Renegotiate, (id, &name), refusal, now, effects);
    }

    /// A flow ends, or one who waits gives up; whoever asked for that is told when it is done.
    pub(super) fn close(&mut self, id: &str, asker: Option<Asker>, now: Moment, effects: &mut Vec<Effect>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return self.released(id, asker, true, now, effects);
        };
        match flow.phase {
            Phase::Applying | Phase::Displaced => {
                flow.closed = true;
                return self.already_ending(id, asker, now, effects);
            }
            Phase::Releasing => return self.already_ending(id, asker, now, effects),
            Phase::Provisional | Phase::Established => flow.phase = Phase::Releasing,
        }
        self.take_class(id, asker, now, effects);
    }

    fn already_ending(&mut self, id: &str, asker: Option<Asker>, now: Moment, effects: &mut Vec<Effect>) {
        let Some(Asker { request, .. }) = asker else { return };
        let refusal = Refusal::UnknownId { id: id.to_owned() };
        self.refuse(request, RequestKind::Release, (id, ""), refusal, now, effects);
    }

    /// A flow has nothing any more in the ledger, though it has not ended: it loses its class as well.
    pub(super) fn lose(&mut self, id: &str, why: Loss, effects: &mut Vec<Effect>) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        match flow.phase {
            // It is told once the kernel has answered, and ends then.
            Phase::Applying => (flow.closed, flow.lost) = (true, Some(why)),
            Phase::Displaced => flow.closed = true,
            Phase::Releasing => {}
            Phase::Provisional | Phase::Established => {
                let Some(Flow { interface: name, class, .. }) = self.flows.remove(id) else { return };
                effects.push(lost(id, &name, why));
                let (Some(interface), Some(class)) = (self.interfaces.get_mut(&name), class) else { return };
                let (index, change) = (interface.index, interface.displace(id, class));
                if change.ops.is_empty() {
                    return interface.free(class);
                }
                effects.push(self.apply(index, change, Pending::Lost { interface: name, class }));
            }
        }
    }

    /// The kernel first, then the budget: nobody is promised what a class still takes.
    fn take_class(&mut self, id: &str, asker: Option<Asker>, now: Moment, effects: &mut Vec<Effect>) {
        let Some(flow) = self.flows.get(id) else { return };
        let change = match (self.interfaces.get_mut(&flow.interface), flow.class) {
            (Some(interface), Some(class)) => Some((interface.index, interface.displace(id, class))),
            _ => None,
        };
        match change {
            Some((index, change)) if !change.ops.is_empty() => {
                effects.push(self.apply(index, change, Pending::Release { id: id.to_owned(), asker }));
            }
            _ => self.released(id, asker, true, now, effects),
        }
    }

    pub(super) fn released(
        &mut self,
        id: &str,
        asker: Option<Asker>,
        class_is_gone: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let interface = self.forget(id, class_is_gone);
        let operation = Operation::Release { id: id.to_owned() };
        let mut decision = self.consult(&operation, now, effects).decision;
        match (asker, interface) {
            (Some(Asker { request, mut expired }), _) => {
                expired.append(&mut decision.expired);
                decision.expired = expired;
                effects.push(answer(request, decision));
            }
            (None, _) if decision.is_ok() => effects.push(Effect::Tell(Notice::Ended(Box::new(decision)))),
            // The ledger had given it up before.
            (None, Some(interface)) => {
                let decision = self.ledger.released_before(id, &interface);
                effects.push(Effect::Tell(Notice::Ended(Box::new(decision))));
            }
            // It was over already.
            (None, None) => {}
        }
    }

    /// A flow is none any more: the interface it was on.
    fn forget(&mut self, id: &str, class_is_gone: bool) -> Option<String> {
        let flow = self.flows.remove(id)?;
        if class_is_gone
            && let (Some(interface), Some(class)) = (self.interfaces.get_mut(&flow.interface), flow.class)
        {
            interface.free(class);
        }
        Some(flow.interface)
    }

    /// The answer that a flow is admitted, with what holds it to its promise.
    pub(super) fn admission(&self, request: RequestId, id: &str, mut decision: Decision) -> Effect {
        let flow = &self.flows[id];
        decision.set_enforced(self.enforced(flow));
        let Grant { tspec, dscp, .. } = flow.grant;
        let admitted = Some(Admitted { tspec, class: flow.class, dscp });
        Effect::Answer { id: request, answer: Box::new(Answer { decision, admitted }) }
    }

    fn enforced(&self, flow: &Flow) -> Enforced {
        let Flow { interface, class, grant, .. } = flow;
        let known = self.interfaces.get(interface);
        let lacking = match (&grant.tspec.sending, class, self.kernel(interface)) {
            (Some(_), None, Err(why)) => vec![Lack::KernelClass(why)],
            _ => Vec::new(),
        };
        Enforced {
            class: class.map(|class| format!("{class} dev {interface}")),
            shared: class.is_some_and(|class| {
                tc::is_shared_class(class) || known.is_some_and(|known| known.is_of_a_group(class))
            }),
            sending: grant.tspec.sending.is_some(),
            receiving: grant.tspec.receiving.is_some(),
            lacking,
        }
    }
}

/// What a flow's class has to carry; nothing where it sends nothing that is reserved.
fn framed(grant: &Grant) -> Option<Framed> {
    grant.tspec.sending.as_ref().map(|tspec| Framed::new(tspec, grant.charged.sending))
}
