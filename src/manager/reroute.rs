//! Flows whose packets leave by another interface than before: each is requested there, and has nothing on the interface
//! before.
//!
//! Its packets have left the interface before already, so that nothing is kept there where the other one refuses it.

use flowspec::Micros;

use super::flow::ManagedFlow;
use super::message::{Loss, RequestId};
use super::pending::Purpose;
use super::state::Manager;
use super::turn::Turn;
use crate::admission::{Ladder, NewFlow, Operation, Refusal, RefusedRequest, Request, RequestKind};
use crate::telemetry::event::{Event, FlowRerouted};

impl Manager {
    /// Requests a flow on another interface as it is.
    pub(super) fn reroute(&mut self, turn: &mut Turn, request: RequestId, id: &str, to: &str) {
        let known = self.flows.get(id).filter(|_| self.may_reroute(NewFlow { id, interface: to }));
        let Some((phase, asked)) = known.map(|flow| (flow.phase, self.request_on(id, flow, (turn, to))))
        else {
            let refusal = Refusal::InProgress { id: id.to_owned() };
            let kind = RequestKind::Reserve { id: id.to_owned() };
            let interface = Some(to.to_owned());
            return self.refuse(turn, request, RefusedRequest { kind, interface, refusal });
        };
        self.leave_interface(turn, id, to);
        self.rerouting = Some(phase);
        self.carry_out(turn, request, &Operation::Reserve(Box::new(Ladder::from(asked))));
        self.rerouting = None;
        // What it had before is free for flows that wait.
        self.consult(turn, &Operation::Tick);
    }

    /// Whether a flow may be requested on another interface now: the kernel has nothing to answer about either.
    pub fn may_reroute(&self, flow: NewFlow<'_>) -> bool {
        let NewFlow { id, interface: to } = flow;
        let is_elsewhere = self.flows.get(id).is_some_and(|flow| flow.interface != to);
        let is_concluded = self.renegotiations_to_conclude.iter().all(|applied| applied.id != id);
        is_elsewhere && is_concluded && !self.is_in_flight(id) && !self.is_preparing(to)
    }

    /// The packets of a flow do not leave by its interface any more. Nothing changes while the kernel works on the flow.
    pub(super) fn lose_route(&mut self, turn: &mut Turn, id: &str, why: Loss) {
        let known = self.flows.contains_key(id) && !self.is_in_flight(id);
        if let Some(held) = self.ledger.holding_of(id).filter(|_| known) {
            self.take_back(turn, id);
            self.lose(turn, held, why);
            self.consult(turn, &Operation::Tick);
        }
    }

    /// What a flow has, as a request for an interface.
    pub(super) fn request_on(&self, id: &str, flow: &ManagedFlow, (turn, to): (&Turn, &str)) -> Request {
        let requester = &flow.requester;
        let (end, expires) = self.ledger.times_of(id).unwrap_or_default();
        let left = expires.map(|expires| expires.saturating_since(turn.now).max(Micros::new(1)));
        Request {
            id: id.to_owned(),
            interface: to.to_owned(),
            class: flow.policy_class.clone(),
            group: flow.group.clone(),
            client: requester.client.clone(),
            owner: requester.owner.clone(),
            qos: flow.qos,
            start: flow.begins,
            end,
            time_to_live: left,
            wait: false,
            setup_priority: requester.setup_priority,
            holding_priority: requester.holding_priority,
        }
    }

    /// A flow has nothing any more on its interface. What its buckets owe stays with them.
    fn leave_interface(&mut self, turn: &mut Turn, id: &str, to: &str) {
        let Some(flow) = self.take_flow(id) else { return };
        let rerouted = || FlowRerouted { flow: flow.holding(id), to: Some(to.to_owned()) };
        turn.record(|| Event::FlowRerouted(rerouted()));
        self.take_back(turn, id);
        let now = self.owed.now();
        let (Some(interface), Some(class)) = (self.interfaces.get_mut(&flow.interface), flow.class) else {
            return;
        };
        let change = interface.remove(id, class);
        match change.ops.is_empty() {
            true => interface.free(class, now),
            false => drop(self.apply(turn, &flow.interface, change, Purpose::Lose { class })),
        }
    }
}
