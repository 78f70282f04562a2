//! The end of a flow: by its owner, or since it has lost its reservation.

use flowspec::{Both, Bytes, Micros};

use super::flow::{FlowDebt, FlowPhase, Lapsed, ManagedFlow};
use super::message::{Loss, Notice};
use super::pending::{Purpose, Requester};
use super::state::Manager;
use super::turn::{DecisionReply, Turn};
use crate::admission::{Holding, Operation, Refusal, RefusedRequest, ReleasedFlow, RequestKind, Response};
use crate::tc::Handle;

impl Manager {
    /// A flow ends, or a waiting request is withdrawn. A requester is answered once that is done.
    pub(super) fn close(&mut self, turn: &mut Turn, id: &str, requester: Option<Requester>) {
        let Some(flow) = self.flows.get_mut(id) else {
            return self.released(turn, id, requester, true);
        };
        match flow.phase {
            FlowPhase::Applying | FlowPhase::Displaced => {
                flow.closed = true;
                return self.refuse_release(turn, id, requester);
            }
            FlowPhase::Releasing => return self.refuse_release(turn, id, requester),
            FlowPhase::Provisional | FlowPhase::Established => flow.phase = FlowPhase::Releasing,
        }
        // The kernel first, then the budget: nothing is reserved twice that a class still has.
        let (name, class, full_in) = (flow.interface.clone(), flow.class, flow.full_in);
        let change = match (self.interfaces.get_mut(&name), class) {
            (Some(interface), Some(class)) => interface.remove_drained(id, class, full_in),
            _ => Default::default(),
        };
        if change.ops.is_empty() {
            return self.released(turn, id, requester, true);
        }
        self.apply(turn, &name, change, Purpose::Release { id: id.to_owned(), requester });
    }

    /// A flow's owner no longer uses its buckets.
    pub(super) fn spent(&mut self, id: &str, missing: Both<Option<Bytes>>) {
        if let Some(Lapsed { mut flow, why }) = self.lapsed.remove(id) {
            self.count_debt(&mut flow, missing);
            if let Loss::Preempted { by } = why {
                self.take_over_more(&by);
            }
        } else if let Some(mut flow) = self.flows.remove(id) {
            self.count_debt(&mut flow, missing);
            self.flows.insert(id.to_owned(), flow);
        }
    }

    /// No packets of the flow are left in its class.
    pub(super) fn drained(&mut self, id: &str, full_in: Micros) {
        if let Some(flow) = self.flows.get_mut(id) {
            flow.full_in = Some(full_in);
        }
    }

    /// A flow was admitted just now, and what the flows that it preempted have taken is known since. Its class in the
    /// kernel may have been made with more tokens; its buckets in user space are made without these.
    fn take_over_more(&mut self, id: &str) {
        let now = self.owed.now();
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.phase == FlowPhase::Provisional && flow.begins.is_none() && !flow.debt.is_counted {
            let missing = self.owed.take_over(flow.debtor(), flow.missing(now));
            flow.debt = FlowDebt { at: now, missing, is_counted: false };
        }
    }

    /// A flow ends: what is missing from its buckets is owed by its class.
    pub(super) fn count_debt(&mut self, flow: &mut ManagedFlow, missing: Both<Option<Bytes>>) {
        let added = flow.settle(self.owed.now(), missing);
        self.owed.owe(flow.debtor(), added);
    }

    /// The kernel has answered about a flow that ends as soon as that is so.
    pub(super) fn end_if_due(&mut self, turn: &mut Turn, id: &str) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        let is_closed = flow.closed;
        match flow.lost.take() {
            Some(why) => {
                turn.notify_lost(flow.holding(id), why);
                self.close(turn, id, None);
            }
            None if is_closed => self.close(turn, id, None),
            None => {}
        }
    }

    /// The ledger has taken a flow's reservation back, though its owner has not ended it.
    pub(super) fn lose(&mut self, turn: &mut Turn, held: Holding, why: Loss) {
        let Some(flow) = self.flows.get_mut(&held.id) else { return turn.record_lost(|| held, &why) };
        // While the kernel works on another rate, the ledger charges more than the flow was granted.
        let held = flow.holding(&held.id);
        match flow.phase {
            // It is notified once the kernel has answered, and ends then.
            FlowPhase::Applying => flow.lost = Some(why),
            FlowPhase::Displaced => flow.closed = true,
            // Its owner does not need it any more.
            FlowPhase::Releasing => turn.record_lost(|| held, &why),
            FlowPhase::Provisional | FlowPhase::Established => {
                let Some(mut flow) = self.take_flow(&held.id) else { return };
                self.count_debt(&mut flow, Both::default());
                let (id, name, class) = (held.id.clone(), flow.interface.clone(), flow.class);
                self.lapse(turn, (held, flow), why);
                let now = self.owed.now();
                let (Some(interface), Some(class)) = (self.interfaces.get_mut(&name), class) else { return };
                let change = interface.remove(&id, class);
                if change.ops.is_empty() {
                    return interface.free(class, now);
                }
                self.apply(turn, &name, change, Purpose::Lose { class });
            }
        }
    }

    /// Notifies the owner of a flow of the loss of its reservation. [`Input::Spent`](super::Input::Spent) may report next what it has taken from its buckets.
    pub(super) fn lapse(&mut self, turn: &mut Turn, (held, flow): (Holding, ManagedFlow), why: Loss) {
        self.lapsed.insert(held.id.clone(), Lapsed { flow, why: why.clone() });
        turn.notify_lost(held, why);
    }

    /// A flow's class is deleted, or could not be: the flow has ended.
    pub(super) fn released(
        &mut self,
        turn: &mut Turn,
        id: &str,
        requester: Option<Requester>,
        is_class_deleted: bool,
    ) {
        let flow = self.forget(id, is_class_deleted);
        let mut decision = self.consult(turn, &Operation::Release { id: id.to_owned() }).decision;
        match (requester, flow) {
            (Some(Requester { request, mut ended }), _) => {
                ended.append(decision.take_ended());
                decision.set_ended(ended);
                turn.answer(DecisionReply { request, decision });
            }
            (None, _) if decision.is_ok() => turn.notify(Notice::Ended(Box::new(decision))),
            // The ledger had taken the reservation back before.
            (None, Some(flow)) => {
                let released = ReleasedFlow::Flow { interface: flow.interface.clone(), charged: None };
                let response = Response::Release { id: id.to_owned(), result: Ok(released) };
                let decision = self.ledger.respond(response, &flow.interface);
                turn.notify(Notice::Ended(Box::new(decision)));
            }
            // It had ended before.
            (None, None) => {}
        }
    }

    /// Removes a flow, and frees its class's number if the kernel has deleted the class.
    pub(super) fn forget(&mut self, id: &str, is_class_deleted: bool) -> Option<ManagedFlow> {
        let mut flow = self.take_flow(id)?;
        self.count_debt(&mut flow, Both::default());
        if is_class_deleted {
            self.free(&flow.interface, flow.class);
        }
        Some(flow)
    }

    /// Takes a flow out for good.
    pub(super) fn take_flow(&mut self, id: &str) -> Option<ManagedFlow> {
        let flow = self.flows.remove(id)?;
        if let Some(at) = flow.begins {
            self.beginnings.remove(at, id);
        }
        self.end_claim(id, &flow);
        Some(flow)
    }

    /// The number of the class to which the socket of an adopted flow sent may be given to another flow.
    pub(super) fn end_claim(&mut self, id: &str, flow: &ManagedFlow) {
        if flow.claimed.is_some()
            && let Some(interface) = self.interfaces.get_mut(&flow.interface)
        {
            interface.end_claim(id, flow.class, self.owed.now());
        }
    }

    pub(super) fn free(&mut self, interface: &str, class: Option<Handle>) {
        let now = self.owed.now();
        if let (Some(interface), Some(class)) = (self.interfaces.get_mut(interface), class) {
            interface.free(class, now);
        }
    }

    /// Refuses to release a flow that the kernel still works on. It ends as soon as the kernel has answered.
    fn refuse_release(&mut self, turn: &mut Turn, id: &str, requester: Option<Requester>) {
        let Some(Requester { request, .. }) = requester else { return };
        let (id, refusal) = (id.to_owned(), Refusal::InProgress { id: id.to_owned() });
        let refused = RefusedRequest { kind: RequestKind::Release { id }, interface: None, refusal };
        self.refuse(turn, request, refused);
    }
}
