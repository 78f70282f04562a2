//! The reducer: every transition of every flow.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowspec::{Both, Direction, ErrorTerms, Micros, Qos, Rate};

use super::interface::{Interface, State};
use super::message::{Admitted, Answer, Effect, Input, Seen, Ticket};
use crate::admission::{Decision, Enforced, Grant, Ledger, Provable, Refusal, Request, Totals};
use crate::policy::{Enforcement, Policy};
use crate::tc::{self, Change, Framed, Handle, Shape, Tree};

/// The most requests that wait for an interface's tree at once.
const MOST_WAITING: usize = 4096;

/// Everything gqos knows, as a value.
#[derive(Debug)]
pub struct Manager {
    ledger: Ledger,
    interfaces: BTreeMap<String, Interface>,
    flows: BTreeMap<String, Flow>,
    /// What each change in the kernel's hands is for.
    pending: BTreeMap<Ticket, Pending>,
    /// Requests for interfaces whose tree is being set up, in the order they came.
    waiting: Vec<(Ticket, Request)>,
    next_ticket: u64,
}

/// Where a flow stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Admitted; the kernel has not answered.
    Applying,
    /// The kernel has said yes; the peer has not answered.
    Provisional,
    /// Connected.
    Established,
    /// Ended; the kernel has not taken its class away yet.
    Releasing,
}

#[derive(Debug)]
struct Flow {
    interface: String,
    phase: Phase,
    class: Option<Handle>,
    /// What it asked for.
    qos: Qos,
    grant: Grant,
    /// Its caller gave up while the kernel was working.
    closed: bool,
}

#[derive(Debug)]
enum Pending {
    SetUp { interface: String },
    TearDown,
    Admit { id: String, caller: Ticket },
    Change { id: String, caller: Ticket, before: Box<Before> },
    Release { id: String },
}

/// What a flow had before it was given something else.
#[derive(Debug)]
struct Before {
    qos: Qos,
    grant: Grant,
}

/// An interface's state, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Both directions: budget and reserved.
    pub totals: Both<Totals>,
    /// The tree in the kernel, or why there is none.
    pub kernel: Result<(), String>,
    /// How many flows there are.
    pub flows: usize,
}

/// What the tree proves that is programmed for an interface: C and D for the most flows there may be.
///
/// Nothing where the policy limits neither the flows nor their buckets.
pub fn prove(link: &Provable) -> Option<ErrorTerms> {
    tc::error_terms(link.capacity, link.budget, link.max_flows?, link.buffer?)
}

impl Manager {
    /// A manager without flows, under this policy.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            ledger: Ledger::proving(policy, prove),
            interfaces: BTreeMap::new(),
            flows: BTreeMap::new(),
            pending: BTreeMap::new(),
            waiting: Vec::new(),
            next_ticket: 0,
        }
    }

    /// What to do about an input, now: microseconds since the manager's start.
    pub fn handle(&mut self, input: Input, now_us: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for id in self.ledger.advance(now_us) {
            self.closed(&id, now_us, &mut effects);
        }
        match input {
            Input::Seen(seen) => self.seen(&seen, &mut effects),
            Input::Reserve { ticket, request } => self.reserve(ticket, *request, now_us, &mut effects),
            Input::Renegotiate { ticket, id, qos } => {
                self.renegotiate(ticket, &id, *qos, now_us, &mut effects);
            }
            Input::Applied { ticket, result } => self.applied(ticket, result, now_us, &mut effects),
            Input::Connected { id } => {
                if let Some(flow) = self.flows.get_mut(&id)
                    && flow.phase == Phase::Provisional
                {
                    flow.phase = Phase::Established;
                }
            }
            Input::Closed { id } => self.closed(&id, now_us, &mut effects),
            Input::Stop => self.stop(&mut effects),
        }
        effects
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where a flow stands.
    pub fn phase(&self, id: &str) -> Option<Phase> {
        self.flows.get(id).map(|flow| flow.phase)
    }

    /// The class of a flow in the kernel, and the interface's number.
    pub fn class(&self, id: &str) -> Option<(u32, Handle)> {
        let flow = self.flows.get(id)?;
        let interface = self.interfaces.get(&flow.interface)?;
        flow.class.map(|class| (interface.index, class))
    }

    /// Which flow each class carries, for classes of one flow.
    pub fn classes(&self, interface: &str) -> BTreeMap<Handle, String> {
        let flows = self.flows.iter().filter(|(_, flow)| flow.interface == interface);
        flows.filter_map(|(id, flow)| Some((flow.class?, id.clone()))).collect()
    }

    /// The interfaces that have been seen, with their numbers.
    pub fn interfaces(&self) -> Vec<(String, u32)> {
        self.interfaces.iter().map(|(name, interface)| (name.clone(), interface.index)).collect()
    }

    /// Whether an interface has been seen.
    pub fn knows(&self, interface: &str) -> bool {
        self.interfaces.contains_key(interface)
    }

    /// How an interface stands.
    pub fn status(&self, interface: &str) -> Option<Status> {
        let totals = self.ledger.totals(interface)?;
        let kernel = match self.interfaces.get(interface).map(|interface| &interface.state) {
            Some(State::Programmed(_)) => Ok(()),
            Some(State::UserSpace(why)) => Err(why.clone()),
            Some(State::Preparing(_)) => Err("the tree is being set up".into()),
            None => Err("the interface has not been seen".into()),
        };
        let flows = self.flows.values().filter(|flow| flow.interface == interface).count();
        Some(Status { totals, kernel, flows })
    }

    fn seen(&mut self, seen: &Seen, effects: &mut Vec<Effect>) {
        self.ledger.see(&seen.interface, seen.mtu, seen.speed);
        let policy = Arc::clone(self.ledger.policy());
        let Some(interface_policy) = policy.interface(&seen.interface) else { return };
        if self.interfaces.contains_key(&seen.interface) {
            return;
        }
        let capacity = self.ledger.capacity(&seen.interface, Direction::Sending);
        let tree = capacity.filter(|&capacity| capacity > Rate::ZERO).map(|capacity| {
            let budget = interface_policy.budget(Direction::Sending).reservable_of(capacity);
            let wait = self.ledger.proven(&seen.interface).map_or(Micros::new(0), |terms| terms.d);
            Tree::new(Shape { capacity, budget, mtu: seen.mtu, wait })
        });
        let (interface, change) = Interface::new(seen, interface_policy.enforcement, tree);
        if let Some(change) = change {
            let ticket = self.ticket();
            self.pending.insert(ticket, Pending::SetUp { interface: seen.interface.clone() });
            effects.push(Effect::Apply { ticket, index: seen.index, change });
        }
        if let State::UserSpace(_) = interface.state {
            self.ledger.unprogrammed(&seen.interface);
        }
        self.interfaces.insert(seen.interface.clone(), interface);
    }

    fn reserve(&mut self, ticket: Ticket, request: Request, now_us: u64, effects: &mut Vec<Effect>) {
        let interface = self.interfaces.get(&request.interface);
        if let Some(State::Preparing(_)) = interface.map(|interface| &interface.state) {
            if self.waiting.len() < MOST_WAITING {
                self.waiting.push((ticket, request));
            } else {
                let refusal = Refusal::TooManyFlows { flows: self.waiting.len() };
                effects.push(self.refuse(ticket, &request.id, &request.interface, &refusal, now_us));
            }
            return;
        }
        match self.admit(ticket, &request, effects) {
            Ok(None) => {}
            Ok(Some(answered)) => effects.push(self.answer(answered, &request.id, now_us)),
            Err(refusal) => {
                effects.push(self.refuse(ticket, &request.id, &request.interface, &refusal, now_us));
            }
        }
    }

    /// Books a flow and asks the kernel for its class. The caller's ticket comes back where no answer
    /// of the kernel has to be awaited.
    fn admit(
        &mut self,
        caller: Ticket,
        request: &Request,
        effects: &mut Vec<Effect>,
    ) -> Result<Option<Ticket>, Refusal> {
        let policy = Arc::clone(self.ledger.policy());
        let grant = self.ledger.consider(request)?;
        let enforcement = policy.interface(&request.interface).map(|interface| interface.enforcement);
        if enforcement == Some(Enforcement::Kernel)
            && grant.tspec.sending.is_some()
            && let Some(State::UserSpace(cause)) =
                self.interfaces.get(&request.interface).map(|known| &known.state)
        {
            let cause = cause.clone();
            return Err(Refusal::TrafficControl { interface: request.interface.clone(), cause });
        }
        let reserved = grant.charged.sending;
        let framed = grant.tspec.sending.as_ref().map(|tspec| Framed::new(tspec, reserved));
        let grant = self.ledger.admit(request)?;
        let class_number = request.class.as_ref().map_or(0, |name| {
            // Class 0 is for flows that name none.
            1 + policy.classes.keys().take_while(|known| *known < name).count()
        });
        let placed = match (self.interfaces.get_mut(&request.interface), framed) {
            (Some(interface), Some(framed)) => {
                let index = interface.index;
                interface
                    .place(&request.id, class_number, framed)
                    .map(|(handle, change)| (index, handle, change))
            }
            _ => None,
        };
        let mut flow = Flow {
            interface: request.interface.clone(),
            phase: Phase::Provisional,
            class: None,
            qos: request.qos,
            grant,
            closed: false,
        };
        let Some((index, handle, change)) = placed else {
            self.flows.insert(request.id.clone(), flow);
            return Ok(Some(caller));
        };
        (flow.phase, flow.class) = (Phase::Applying, Some(handle));
        self.flows.insert(request.id.clone(), flow);
        let ticket = self.ticket();
        self.pending.insert(ticket, Pending::Admit { id: request.id.clone(), caller });
        effects.push(Effect::Apply { ticket, index, change });
        Ok(None)
    }

    fn applied(
        &mut self,
        ticket: Ticket,
        result: Result<(), String>,
        now_us: u64,
        effects: &mut Vec<Effect>,
    ) {
        match self.pending.remove(&ticket) {
            None | Some(Pending::TearDown) => {}
            Some(Pending::SetUp { interface: name }) => {
                if result.is_err() {
                    self.ledger.unprogrammed(&name);
                }
                if let Some(interface) = self.interfaces.get_mut(&name) {
                    interface.prepared(result);
                }
                for (caller, request) in std::mem::take(&mut self.waiting) {
                    self.reserve(caller, request, now_us, effects);
                }
            }
            Some(Pending::Admit { id, caller }) => match result {
                Ok(()) => self.kernel_agreed(&id, caller, now_us, effects),
                Err(cause) => self.kernel_refused(&id, caller, cause, now_us, effects),
            },
            Some(Pending::Change { id, caller, before }) => match result {
                // It may have ended meanwhile.
                Ok(()) if self.flows.contains_key(&id) => effects.push(self.answer(caller, &id, now_us)),
                Ok(()) => {
                    let refusal = Refusal::UnknownId { id: id.clone() };
                    effects.push(self.refuse(caller, &id, "", &refusal, now_us));
                }
                Err(cause) => self.change_refused(&id, caller, *before, cause, now_us, effects),
            },
            Some(Pending::Release { id }) => self.released(&id, result.is_ok(), now_us, effects),
        }
    }

    fn kernel_agreed(&mut self, id: &str, caller: Ticket, now_us: u64, effects: &mut Vec<Effect>) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.phase = Phase::Provisional;
        let closed = flow.closed;
        effects.push(self.answer(caller, id, now_us));
        if closed {
            self.closed(id, now_us, effects);
        }
    }

    /// The one place where a flow that the kernel would not take gives everything back.
    fn kernel_refused(
        &mut self,
        id: &str,
        caller: Ticket,
        cause: String,
        now_us: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Flow { interface: name, class, .. }) = self.flows.remove(id) else { return };
        if let (Some(interface), Some(class)) = (self.interfaces.get_mut(&name), class) {
            // The change was undone in the kernel: the tree goes back as well, and nothing is sent.
            interface.displace(id, class);
            interface.free(class);
        }
        self.ledger.release(id);
        let refusal = Refusal::TrafficControl { interface: name.clone(), cause };
        effects.push(self.refuse(caller, id, &name, &refusal, now_us));
    }

    /// Another reservation in place of the one a flow has: first in the ledger, then in the kernel, and in
    /// neither where one of them refuses.
    fn renegotiate(&mut self, caller: Ticket, id: &str, qos: Qos, now_us: u64, effects: &mut Vec<Effect>) {
        let known =
            self.flows.get(id).filter(|flow| matches!(flow.phase, Phase::Provisional | Phase::Established));
        let Some(flow) = known else {
            let refusal = Refusal::UnknownId { id: id.to_owned() };
            return effects.push(self.refuse(caller, id, "", &refusal, now_us));
        };
        let name = flow.interface.clone();
        let grant = match self.ledger.renegotiate(id, Some(qos.sending), Some(qos.receiving)) {
            Ok(grant) => grant,
            Err(refusal) => return effects.push(self.refuse(caller, id, &name, &refusal, now_us)),
        };
        let framed = grant.tspec.sending.as_ref().map(|tspec| Framed::new(tspec, grant.charged.sending));
        let Some(flow) = self.flows.get_mut(id) else { return };
        let before = Before {
            qos: std::mem::replace(&mut flow.qos, qos),
            grant: std::mem::replace(&mut flow.grant, grant),
        };
        let change = match (self.interfaces.get_mut(&name), flow.class, framed) {
            (Some(interface), Some(class), Some(framed)) => {
                Some((interface.index, interface.adjust(id, class, framed)))
            }
            // What sends nothing any more keeps its class until it ends: an empty one takes nothing.
            _ => None,
        };
        match change {
            Some((index, change)) if !change.ops.is_empty() => {
                let ticket = self.ticket();
                let pending = Pending::Change { id: id.to_owned(), caller, before: Box::new(before) };
                self.pending.insert(ticket, pending);
                effects.push(Effect::Apply { ticket, index, change });
            }
            _ => effects.push(self.answer(caller, id, now_us)),
        }
    }

    /// The kernel would not have the change: the flow has what it had before.
    fn change_refused(
        &mut self,
        id: &str,
        caller: Ticket,
        before: Before,
        cause: String,
        now_us: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Before { qos, grant } = before;
        let Some(flow) = self.flows.get_mut(id) else {
            let refusal = Refusal::UnknownId { id: id.to_owned() };
            return effects.push(self.refuse(caller, id, "", &refusal, now_us));
        };
        let name = flow.interface.clone();
        let framed = grant.tspec.sending.as_ref().map(|tspec| Framed::new(tspec, grant.charged.sending));
        if let (Some(interface), Some(class), Some(framed)) =
            (self.interfaces.get_mut(&name), flow.class, framed)
        {
            // The change was undone in the kernel: the tree goes back as well, and nothing is sent.
            interface.adjust(id, class, framed);
        }
        // What was more before may have been promised to somebody else meanwhile: then the flow keeps less.
        if self.ledger.renegotiate(id, Some(qos.sending), Some(qos.receiving)).is_ok() {
            (flow.qos, flow.grant) = (qos, grant);
        }
        let refusal = Refusal::TrafficControl { interface: name.clone(), cause };
        effects.push(self.refuse(caller, id, &name, &refusal, now_us));
    }

    fn closed(&mut self, id: &str, now_us: u64, effects: &mut Vec<Effect>) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        match flow.phase {
            Phase::Applying => {
                flow.closed = true;
                return;
            }
            Phase::Releasing => return,
            Phase::Provisional | Phase::Established => flow.phase = Phase::Releasing,
        }
        let (name, class) = (flow.interface.clone(), flow.class);
        let change = match (self.interfaces.get_mut(&name), class) {
            (Some(interface), Some(class)) => Some((interface.index, interface.displace(id, class))),
            _ => None,
        };
        // The kernel first, then the budget: nobody is promised what a class still takes.
        match change {
            Some((index, change)) if !change.ops.is_empty() => {
                let ticket = self.ticket();
                self.pending.insert(ticket, Pending::Release { id: id.to_owned() });
                effects.push(Effect::Apply { ticket, index, change });
            }
            _ => self.released(id, true, now_us, effects),
        }
    }

    fn released(&mut self, id: &str, class_is_gone: bool, now_us: u64, effects: &mut Vec<Effect>) {
        let Some(flow) = self.flows.remove(id) else { return };
        if class_is_gone
            && let (Some(interface), Some(class)) = (self.interfaces.get_mut(&flow.interface), flow.class)
        {
            interface.free(class);
        }
        self.ledger.release(id);
        effects.push(Effect::Tell(Decision::released(now_us, id, &flow.interface, &self.ledger)));
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        let trees = self.interfaces.values().filter_map(|interface| match &interface.state {
            State::Programmed(tree) => Some((interface.index, Change::tear_down(tree))),
            State::Preparing(_) | State::UserSpace(_) => None,
        });
        for (index, change) in trees.collect::<Vec<_>>() {
            let ticket = self.ticket();
            self.pending.insert(ticket, Pending::TearDown);
            effects.push(Effect::Apply { ticket, index, change });
        }
    }

    fn answer(&self, ticket: Ticket, id: &str, now_us: u64) -> Effect {
        let flow = &self.flows[id];
        let Grant { charged, tspec, dscp, .. } = flow.grant.clone();
        let mut decision = Decision::admitted(now_us, id, &flow.interface, charged, &self.ledger);
        decision.enforced = Some(self.enforced(flow));
        let admitted = Some(Admitted { tspec, class: flow.class, dscp });
        Effect::Answer { ticket, answer: Answer { decision, admitted } }
    }

    fn enforced(&self, flow: &Flow) -> Enforced {
        let Flow { interface, class, grant, .. } = flow;
        let kernel = self.status(interface).map(|status| status.kernel);
        let lacking = match (&grant.tspec.sending, class, kernel) {
            (Some(_), None, Some(Err(why))) => Some(format!("no class in the kernel: {why}")),
            _ => None,
        };
        Enforced {
            class: class.map(|class| format!("{class} dev {interface}")),
            shared: class.is_some_and(|class| class.minor() < tc::FLOWS),
            sending: grant.tspec.sending.is_some(),
            receiving: grant.tspec.receiving.is_some(),
            lacking,
        }
    }

    fn refuse(&self, ticket: Ticket, id: &str, interface: &str, refusal: &Refusal, now_us: u64) -> Effect {
        let decision = Decision::refused(now_us, id, interface, refusal, &self.ledger);
        Effect::Answer { ticket, answer: Answer { decision, admitted: None } }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
}
