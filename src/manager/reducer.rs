//! The reducer: what comes in, and what it means for the ledger and for the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowspec::{Both, ErrorTerms, Moment, Qos};

use super::interface::{Interface, State};
use super::message::{Answer, ChangeId, Effect, Input, Loss, Lost, Notice, RequestId};
use crate::admission::{
    Decision, Displaced, Grant, Ledger, NotProgrammed, Operation, Outcome, Provable, Refusal, RefusedRequest,
    RequestKind, Totals,
};
use crate::failure::KernelFailure;
use crate::policy::Policy;
use crate::tc::{self, Handle};

/// Everything gqos knows, as a value.
#[derive(Debug)]
pub struct Manager {
    pub(super) ledger: Ledger,
    pub(super) interfaces: BTreeMap<String, Interface>,
    /// Those on interfaces that have been seen.
    pub(super) flows: BTreeMap<String, Flow>,
    /// What each change in the kernel's hands is for.
    pub(super) pending: BTreeMap<ChangeId, Pending>,
    /// Requests for interfaces whose tree is being set up, in the order they came.
    pub(super) waiting: Vec<(RequestId, Box<Operation>)>,
    last_change: u64,
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
    /// It has to go for another, about whom the kernel has not answered.
    Displaced,
    /// Ended; the kernel has not taken its class away yet.
    Releasing,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) interface: String,
    pub(super) phase: Phase,
    pub(super) class: Option<Handle>,
    /// What it asked for.
    pub(super) qos: Qos,
    pub(super) grant: Grant,
    /// Its class in the policy, where what that class sends is measured.
    pub(super) measured: Option<String>,
    /// It ends as soon as the kernel has answered.
    pub(super) closed: bool,
    /// It has lost what it asked for before the kernel has answered.
    pub(super) lost: Option<Loss>,
}

/// What a change is for that the kernel has been asked for.
#[derive(Debug)]
pub(super) enum Pending {
    SetUp {
        interface: String,
    },
    TearDown,
    /// The link carries something else.
    Trunk {
        /// The request that changed the capacity, and its decision.
        request: Option<(RequestId, Box<Decision>)>,
    },
    Admit {
        id: String,
        caller: RequestId,
        decision: Box<Decision>,
        displaced: Vec<DisplacedFlow>,
    },
    Change {
        id: String,
        caller: RequestId,
        decision: Box<Decision>,
        before: Box<PreviousGrant>,
    },
    Release {
        id: String,
        asker: Option<Asker>,
    },
    /// Of a flow that has nothing any more.
    Lost {
        interface: String,
        class: Handle,
    },
}

/// Who asked for a flow's end, and what he is told had ended by then.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) request: RequestId,
    pub(super) expired: Vec<String>,
}

/// One who has to go, and where he stood.
#[derive(Debug)]
pub(super) struct DisplacedFlow {
    pub(super) displaced: Displaced,
    /// Nothing where the kernel was not asked about him.
    pub(super) phase: Option<Phase>,
}

/// What a flow had before it was given something else.
#[derive(Debug)]
pub(super) struct PreviousGrant {
    pub(super) qos: Qos,
    pub(super) grant: Grant,
}

/// An interface's state, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Both directions: budget and reserved.
    pub totals: Both<Totals>,
    /// The tree in the kernel, or why there is none.
    pub kernel: Result<(), NotProgrammed>,
    /// How many flows there are.
    pub flows: usize,
}

/// What the tree proves that is programmed for an interface: C and D for the most flows there may be.
///
/// Nothing where the policy limits neither the flows nor their buckets.
pub fn prove(link: &Provable) -> Option<ErrorTerms> {
    let rates = tc::LinkRates { capacity: link.capacity, budget: link.budget };
    rates.error_terms(tc::Load { flows: link.max_flows?, buckets: link.buffer? })
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
            last_change: 0,
        }
    }

    /// What to do about an input, at this moment.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Who asks for something is told with the answer what has ended by then.
        if !matches!(input, Input::Request { .. }) {
            self.pass(now, &mut effects);
        }
        match input {
            Input::Seen(seen) => self.seen(&seen, &mut effects),
            Input::Request { id, operation } => self.request(id, operation, now, &mut effects),
            Input::Policy(policy) => self.ledger.reload(policy),
            Input::Applied { id, result } => self.applied(id, result, now, &mut effects),
            Input::Connected { id } => {
                if let Some(flow) = self.flows.get_mut(&id)
                    && flow.phase == Phase::Provisional
                {
                    flow.phase = Phase::Established;
                }
            }
            Input::Closed { id } => self.close(&id, None, now, &mut effects),
            Input::Stop => self.stop(&mut effects),
        }
        self.reshape(&mut effects);
        effects
    }

    /// Asks something, now, of which no kernel has to be asked: no interface has been seen. The same code as for
    /// everybody else, for tests and traces.
    ///
    /// # Panics
    /// Never, as long as no interface has been seen: then every question is answered at once.
    pub fn decide(&mut self, operation: Operation, now: Moment) -> Decision {
        assert!(self.interfaces.is_empty(), "the kernel is asked about interfaces that were seen");
        let (request, mut effects) = (RequestId(0), Vec::new());
        self.request(request, Box::new(operation), now, &mut effects);
        let answer = effects.into_iter().find_map(|effect| match effect {
            Effect::Answer { id, answer } if id == request => Some(answer.decision),
            _ => None,
        });
        answer.expect("whoever asks about no kernel is answered at once")
    }

    /// A refusal that was made before the request reached the manager, as a decision.
    pub fn decide_refused(&mut self, request: RefusedRequest, now: Moment) -> Decision {
        self.ledger.refuse(now, request)
    }

    /// Time passes: who has ended by himself by then.
    pub fn advance(&mut self, now: Moment) -> Vec<String> {
        self.ledger.advance(now)
    }

    fn pass(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !self.expire(now, effects).is_empty() {
            // What has ended by itself makes room as well.
            self.consult(&Operation::Tick, now, effects);
        }
    }

    fn expire(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Vec<String> {
        let expired = self.advance(now);
        for id in &expired {
            self.lose(id, Loss::Expired, effects);
        }
        expired
    }

    fn request(
        &mut self,
        request: RequestId,
        operation: Box<Operation>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        match &*operation {
            Operation::Reserve(ladder) if self.is_preparing(&ladder.request.interface) => {
                if self.waiting.len() < MOST_WAITING {
                    return self.waiting.push((request, operation));
                }
                let refusal = Refusal::TooManyRequests { waiting: self.waiting.len(), limit: MOST_WAITING };
                let about = (&*ladder.request.id, &*ladder.request.interface);
                self.refuse(request, RequestKind::Reserve, about, refusal, now, effects);
            }
            // What the kernel still works on has its name until that is done.
            Operation::Reserve(ladder) if self.is_in_flight(&ladder.request.id) => {
                let refusal = Refusal::DuplicateId { id: ladder.request.id.clone() };
                let about = (&*ladder.request.id, &*ladder.request.interface);
                self.refuse(request, RequestKind::Reserve, about, refusal, now, effects);
            }
            Operation::Renegotiate { id, .. } if self.is_in_flight(id) => {
                let refusal = Refusal::InProgress { id: id.clone() };
                self.refuse(request, RequestKind::Renegotiate, (id, ""), refusal, now, effects);
            }
            Operation::Release { id } if self.flows.contains_key(id) => {
                let expired = self.expire(now, effects);
                self.close(id, Some(Asker { request, expired }), now, effects);
            }
            _ => self.consult_and_apply(request, &operation, now, effects),
        }
    }

    fn is_in_flight(&self, id: &str) -> bool {
        let phase = self.phase(id);
        phase.is_some_and(|phase| !matches!(phase, Phase::Provisional | Phase::Established))
    }

    /// What the ledger decides, brought to the kernel.
    fn consult_and_apply(
        &mut self,
        request: RequestId,
        operation: &Operation,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Outcome { decision, grant } = self.consult(operation, now, effects);
        match (operation, grant) {
            (Operation::Reserve(ladder), Some(grant)) => {
                self.granted(request, ladder, grant, decision, now, effects);
            }
            (Operation::Renegotiate { id, asked }, Some(grant)) => {
                self.changed(request, id, asked, grant, decision, effects);
            }
            (Operation::Capacity { interface, .. }, _) => {
                self.capacity_changed(request, interface, decision, effects);
            }
            _ => effects.push(answer(request, decision)),
        }
    }

    /// The ledger.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where a flow stands, on an interface that has been seen.
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

    /// When the next flow expires or the next capacity begins to count.
    pub fn due(&self) -> Option<Moment> {
        self.ledger.due()
    }

    /// The kernel classes of the flows that are measured, by the policy's classes.
    pub fn measured(&self, interface: &str) -> BTreeMap<String, Vec<Handle>> {
        let mut measured: BTreeMap<String, Vec<Handle>> = BTreeMap::new();
        for flow in self.flows.values().filter(|flow| flow.interface == interface) {
            if let (Some(class), Some(handle)) = (&flow.measured, flow.class) {
                let handles = measured.entry(class.clone()).or_default();
                if !handles.contains(&handle) {
                    handles.push(handle);
                }
            }
        }
        measured
    }

    /// A flow's interface and classes, the policy's and the kernel's, where it is measured.
    pub fn measured_class(&self, id: &str) -> Option<(String, String, Handle)> {
        let flow = self.flows.get(id)?;
        Some((flow.interface.clone(), flow.measured.clone()?, flow.class?))
    }

    /// The interfaces that have been seen, with their numbers.
    pub fn interfaces(&self) -> Vec<(String, u32)> {
        self.interfaces.iter().map(|(name, interface)| (name.clone(), interface.index)).collect()
    }

    /// The number of an interface that has been seen.
    pub fn index(&self, interface: &str) -> Option<u32> {
        self.interfaces.get(interface).map(|interface| interface.index)
    }

    /// Whether an interface has been seen and is left to user space: nothing is asked of the kernel for its flows.
    pub fn is_in_user_space(&self, interface: &str) -> bool {
        let state = self.interfaces.get(interface).map(|interface| &interface.state);
        matches!(state, Some(State::UserSpace(_)))
    }

    /// Whether an interface has been seen.
    pub fn knows(&self, interface: &str) -> bool {
        self.interfaces.contains_key(interface)
    }

    /// How an interface stands.
    pub fn status(&self, interface: &str) -> Option<Status> {
        let totals = self.ledger.totals(interface)?;
        let flows = self.flows.values().filter(|flow| flow.interface == interface).count();
        Some(Status { totals, kernel: self.kernel(interface), flows })
    }

    /// The tree in the kernel, or why there is none.
    pub(super) fn kernel(&self, interface: &str) -> Result<(), NotProgrammed> {
        match self.interfaces.get(interface).map(|interface| &interface.state) {
            Some(State::Programmed(_)) => Ok(()),
            Some(State::UserSpace(why)) => Err(why.clone()),
            Some(State::Preparing(_)) => Err(NotProgrammed::Preparing),
            None => Err(NotProgrammed::NotSeen),
        }
    }

    fn applied(
        &mut self,
        id: ChangeId,
        result: Result<(), KernelFailure>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        match self.pending.remove(&id) {
            None | Some(Pending::TearDown) => {}
            Some(Pending::SetUp { interface: name }) => {
                if result.is_err() {
                    self.ledger.unprogrammed(&name);
                }
                if let Some(interface) = self.interfaces.get_mut(&name) {
                    interface.prepared(result);
                }
                for (caller, operation) in std::mem::take(&mut self.waiting) {
                    self.request(caller, operation, now, effects);
                }
            }
            Some(Pending::Trunk { request }) => {
                let Some((caller, mut decision)) = request else { return };
                if let Err(cause) = result {
                    decision.set_not_programmed(NotProgrammed::Kernel(cause));
                }
                effects.push(answer(caller, *decision));
            }
            Some(Pending::Admit { id, caller, decision, displaced }) => match result {
                Ok(()) => self.kernel_agreed(&id, caller, *decision, displaced, now, effects),
                Err(cause) => self.kernel_refused(&id, caller, displaced, cause, now, effects),
            },
            Some(Pending::Change { id, caller, decision, before }) => match result {
                // It may have ended meanwhile.
                Ok(()) if self.flows.contains_key(&id) => {
                    effects.push(self.admission(caller, &id, *decision));
                }
                Ok(()) => {
                    let refusal = Refusal::UnknownId { id: id.clone() };
                    self.refuse(caller, RequestKind::Renegotiate, (&id, ""), refusal, now, effects);
                }
                Err(cause) => self.change_refused(&id, caller, *before, cause, now, effects),
            },
            Some(Pending::Lost { interface, class }) => {
                if let (Ok(()), Some(interface)) = (result, self.interfaces.get_mut(&interface)) {
                    interface.free(class);
                }
            }
            Some(Pending::Release { id, asker }) => {
                self.released(&id, asker, result.is_ok(), now, effects);
            }
        }
    }

    /// Asks the ledger, and tells those who are touched by what it says.
    pub(super) fn consult(
        &mut self,
        operation: &Operation,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        let outcome = self.ledger.decide(now, operation);
        self.tell_of(&outcome.decision, effects);
        outcome
    }

    /// Tells the flows that a decision has ended, and those that wait and fit now.
    fn tell_of(&mut self, decision: &Decision, effects: &mut Vec<Effect>) {
        for id in &decision.expired {
            self.lose(id, Loss::Expired, effects);
        }
        for id in decision.shed() {
            self.lose(id, Loss::Shed, effects);
        }
        let rooms = decision.notified.iter().map(|id| Notice::CapacityAvailable { id: id.clone() });
        effects.extend(rooms.map(Effect::Tell));
    }

    /// A refusal that is not the ledger's.
    pub(super) fn refuse(
        &mut self,
        caller: RequestId,
        kind: RequestKind,
        (id, interface): (&str, &str),
        refusal: Refusal,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let (id, interface) = (id.to_owned(), Some(interface.to_owned()).filter(|name| !name.is_empty()));
        let request = RefusedRequest { kind, id, interface, refusal };
        let decision = self.ledger.refuse(now, request);
        self.tell_of(&decision, effects);
        effects.push(answer(caller, decision));
    }

    pub(super) fn next_change(&mut self) -> ChangeId {
        self.last_change += 1;
        ChangeId(self.last_change)
    }
}

/// The most requests that wait for an interface's tree at once.
const MOST_WAITING: usize = 4096;

/// An answer without anything that is to be set up.
pub(super) fn answer(request: RequestId, decision: Decision) -> Effect {
    Effect::Answer { id: request, answer: Box::new(Answer { decision, admitted: None }) }
}

/// The notice of a promise that is taken back.
pub(super) fn lost(id: &str, interface: &str, why: Loss) -> Effect {
    Effect::Tell(Notice::Lost(Lost { id: id.to_owned(), interface: interface.to_owned(), why }))
}
