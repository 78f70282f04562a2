//! One input being handled: the time, and what follows from the input so far.

use flowspec::{Both, Bytes, Moment};

use super::message::{Admitted, Answer, Effect, Loss, Lost, Notice, Output, RequestId};
use crate::admission::{Decision, Grant, Holding, Ladder, PeerLoss};
use crate::tc::Handle;
use crate::telemetry::Recorded;
use crate::telemetry::audit::{AuditFact, Audited};
use crate::telemetry::event::{
    Event, FlowAdmitted, FlowExpired, FlowLinkGone, FlowNotEnforced, FlowPreempted, FlowRerouted, FlowShed,
    FlowTimedOut,
};

/// What is recorded beside the effects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    pub(super) events: bool,
    pub(super) audit: bool,
}

/// Collects the effects and events of one input.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) now: Moment,
    effects: Vec<Effect>,
    /// `None` while nothing receives events: then none is built.
    events: Option<Vec<Recorded>>,
    /// `None` while no audit trail is kept.
    audit: Option<Vec<Audited>>,
}

/// A decision that a caller waits for.
#[derive(Debug)]
pub(super) struct DecisionReply {
    pub(super) request: RequestId,
    pub(super) decision: Decision,
}

/// What an admitted flow needs besides its grant; nothing on an interface that has not been seen.
#[derive(Debug, Default)]
pub(super) struct SetUp {
    pub(super) class: Option<Handle>,
    /// The tokens that its buckets start without.
    pub(super) owed: Both<Bytes>,
    /// When the reservation begins, if that is later.
    pub(super) begins: Option<Moment>,
}

impl Turn {
    pub(super) fn new(now: Moment, records: Records) -> Self {
        let Records { events, audit } = records;
        Self { now, effects: Vec::new(), events: events.then(Vec::new), audit: audit.then(Vec::new) }
    }

    pub(super) fn finish(self) -> Output {
        let (events, audit) = (self.events.unwrap_or_default(), self.audit.unwrap_or_default());
        Output { effects: self.effects, events, audit }
    }

    /// Adds a fact to the audit trail. The closure runs only where one is kept.
    pub(super) fn audit(&mut self, fact: impl FnOnce() -> AuditFact) {
        if let Some(audit) = &mut self.audit {
            audit.push(Audited { at: self.now, fact: fact() });
        }
    }

    /// Adds a refusal that is not the ledger's to the audit trail, with its request where that is known.
    pub(super) fn audit_refusal(&mut self, decision: &Decision, asked: Option<&Ladder>) {
        self.audit(|| AuditFact::Refused {
            request: asked.cloned().map(Box::new),
            decision: Box::new(decision.clone()),
        });
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn notify(&mut self, notice: Notice) {
        self.push(Effect::Notify(notice));
    }

    /// Answers with a decision after which the caller has nothing to set up.
    pub(super) fn answer(&mut self, DecisionReply { request: id, decision }: DecisionReply) {
        self.record_refusal(&decision);
        self.push(Effect::Answer { id, answer: Box::new(Answer { decision, admitted: None }) });
    }

    /// Answers that a flow has what it requested.
    pub(super) fn answer_granted(&mut self, reply: DecisionReply, grant: &Grant, set_up: SetUp) {
        let DecisionReply { request: id, decision } = reply;
        let SetUp { class, owed, begins } = set_up;
        let Grant { tspec, dscp, timeouts, .. } = *grant;
        let admitted = Some(Admitted { tspec, class, dscp, timeouts, owed, begins });
        self.push(Effect::Answer { id, answer: Box::new(Answer { decision, admitted }) });
    }

    /// Notifies a flow's owner of the loss of its reservation.
    pub(super) fn notify_lost(&mut self, held: Holding, why: Loss) {
        let (id, interface) = (held.id.clone(), held.interface.clone());
        self.record_lost(|| held, &why);
        self.notify(Notice::Lost(Lost { id, interface, why }));
    }

    pub(super) const fn records(&self) -> bool {
        self.events.is_some()
    }

    /// Adds an event. The closure runs only where something receives events.
    pub(super) fn record(&mut self, event: impl FnOnce() -> Event) {
        if let Some(events) = &mut self.events {
            events.push(Recorded { at: self.now, event: event() });
        }
    }

    pub(super) fn record_admitted(&mut self, event: Option<Box<FlowAdmitted>>, class: Option<Handle>) {
        if let Some(mut event) = event {
            event.kernel_class = class;
            self.record(|| Event::FlowAdmitted(*event));
        }
    }

    /// Records that a flow has lost its reservation.
    pub(super) fn record_lost(&mut self, held: impl FnOnce() -> Holding, why: &Loss) {
        let Some(events) = &mut self.events else { return };
        let event = match why {
            Loss::Preempted { by } => Event::FlowPreempted(FlowPreempted { flow: held(), by: by.clone() }),
            Loss::Shed => Event::FlowShed(FlowShed { flow: held() }),
            Loss::LinkGone => Event::FlowLinkGone(FlowLinkGone { flow: held() }),
            Loss::Expired => Event::FlowExpired(FlowExpired { flow: held() }),
            Loss::NotEnforced { cause } => {
                Event::FlowNotEnforced(FlowNotEnforced { flow: held(), why: cause.clone() })
            }
            Loss::Dead => Event::FlowTimedOut(FlowTimedOut { flow: held(), reason: PeerLoss::Dead }),
            Loss::Stalled => Event::FlowTimedOut(FlowTimedOut { flow: held(), reason: PeerLoss::Stalled }),
            Loss::NoRoute { .. } => Event::FlowRerouted(FlowRerouted { flow: held(), to: None }),
            Loss::Rerouted { to, reason: None } => {
                Event::FlowRerouted(FlowRerouted { flow: held(), to: Some(to.clone()) })
            }
            // Recorded when it was requested on the other interface. A manager that has ended records nothing.
            Loss::Rerouted { .. } | Loss::EngineGone | Loss::Unconfirmed { .. } => return,
        };
        events.push(Recorded { at: self.now, event });
    }

    fn record_refusal(&mut self, decision: &Decision) {
        if self.records()
            && let Some(event) = Event::of_refusal(decision)
        {
            self.record(|| event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admission::Operation;
    use crate::manager::DryRun;
    use crate::policy::{Policy, Source};

    #[test]
    fn the_event_of_a_refusal_names_what_is_known() {
        let text = "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n";
        let (policy, _) = Policy::parse(&[Source { name: "test", text }]).unwrap();
        let mut manager = DryRun::new(Arc::new(policy));
        manager.record_events();
        let mut refused = |operation| {
            assert!(!manager.decide(operation, Moment::START).is_ok());
            let [recorded] = &manager.take_events()[..] else { panic!("one event") };
            serde_json::to_value(recorded).unwrap()
        };
        let renegotiate = Operation::Renegotiate { id: "v".into(), flowspecs: Box::default() };
        let unknown = refused(renegotiate);
        assert_eq!((&unknown["event"], &unknown["id"]), (&"flow_refused".into(), &"v".into()), "{unknown}");
        assert!(unknown["interface"].is_null(), "there is no flow: {unknown}");
        let query = refused(Operation::Query { interface: "eth9".into(), request: None });
        assert_eq!(query["event"], "request_refused", "{query}");
        assert!(query["id"].is_null(), "a query is for no flow: {query}");
    }
}
