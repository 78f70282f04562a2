//! Admission: from the ledger's grant to the kernel's class.

use flowspec::{Both, Qos};

use super::flow::{FlowDebt, FlowPhase, FlowRequester, ManagedFlow, framed};
use super::interface::LeafPlacement;
use super::message::Loss;
use super::owed::Debtor;
use super::pending::{DisplacedFlow, PendingAdmission, Purpose};
use super::roll_back::audit_reinstated;
use super::state::Manager;
use super::turn::{DecisionReply, SetUp, Turn};
use crate::admission::{
    Decision, Displaced, Grant, Holding, Ladder, NotProgrammed, Refusal, RefusedRequest, Request, RequestKind,
};
use crate::policy::{self, Enforcement, GroupMode, InterfacePolicy, Shared};
use crate::tc::{self, Change, Handle};
use crate::telemetry::event::FlowAdmitted;

impl Manager {
    /// The ledger has granted a flow. Its class, and the end of the classes of the flows that it preempts, are one
    /// change in the kernel: no flow is preempted for one that is not admitted.
    pub(super) fn admit(&mut self, turn: &mut Turn, reply: DecisionReply, ladder: &Ladder, mut grant: Grant) {
        let request = &ladder.request;
        let displaced = std::mem::take(&mut grant.preempted);
        let event = turn.records().then(|| event_of(ladder, &grant, &reply.decision));
        if !self.interfaces.contains_key(&request.interface) {
            for displaced in displaced {
                let why = Loss::Preempted { by: request.id.clone() };
                let held = self.ledger.held(&displaced);
                // It may be on another interface of the same wire.
                match self.flows.contains_key(&held.id) {
                    true => self.lose(turn, held, why),
                    false => turn.notify_lost(held, why),
                }
            }
            turn.record_admitted(event, None);
            return turn.answer_granted(reply, &grant, SetUp::default());
        }
        if let Some(why) = self.lacks_required_tree(&request.interface, &grant) {
            self.take_back(turn, &request.id);
            let displaced = self.as_they_are(displaced);
            let reinstated = self.reinstate(displaced);
            audit_reinstated(turn, &request.id, &reinstated);
            self.end_or_keep(turn, &request.id, reinstated);
            return self.refuse_admission(turn, reply, ladder, why);
        }
        let begins = request.start.filter(|start| *start > turn.now);
        let counted_class = self.ledger.flow_class(&request.id).map(str::to_owned);
        let without = match begins {
            // It takes debts over when it begins.
            Some(_) => Both::default(),
            None => {
                let (interface, class) = (&request.interface, &counted_class);
                self.owed.take_over(Debtor { interface, class, tspec: &grant.tspec }, Both::default())
            }
        };
        let debt = FlowDebt { at: turn.now, missing: without, is_counted: false };
        let flow = self.flow_of((ladder, counted_class), &reply.decision, grant);
        let flow = ManagedFlow { debt, begins, ..flow };
        self.flows.insert(request.id.clone(), flow);
        let placed = match begins {
            Some(at) => {
                self.beginnings.add(at, &request.id);
                None
            }
            None => self.assign_class(&request.id),
        };
        let (class, change) = placed.unzip();
        if let Some(flow) = self.flows.get_mut(&request.id) {
            flow.class = class;
        }
        let mut change = change.unwrap_or_default();
        let displaced = self.displace(&request.id, displaced, &mut change);
        let admission = PendingAdmission { reply, displaced, event };
        let receives = self.flows.get(&request.id).map(|flow| &flow.grant);
        let receives = receives.and_then(|grant| self.receiving_class(&request.id, grant)).is_some();
        if change.ops.is_empty() && !receives {
            return self.admitted(turn, &request.id, admission);
        }
        if let Some(flow) = self.flows.get_mut(&request.id) {
            flow.phase = FlowPhase::Applying;
        }
        let purpose = Purpose::Admit { id: request.id.clone(), admission: Box::new(admission) };
        self.apply(turn, &request.interface, change, purpose);
    }

    /// The kernel has a flow's class, or the flow needs none.
    pub(super) fn admitted(&mut self, turn: &mut Turn, id: &str, admission: PendingAdmission) {
        let PendingAdmission { reply, displaced, event } = admission;
        let interface = self.flows.get(id).map(|flow| flow.interface.clone());
        for DisplacedFlow { held, phase, .. } in displaced {
            let why = Loss::Preempted { by: id.to_owned() };
            match phase {
                // The change was of another interface of the same wire: the class of this one goes now.
                Some(phase @ (FlowPhase::Provisional | FlowPhase::Established))
                    if !self.is_flow_on(&held.id, interface.as_deref()) =>
                {
                    let displaced = held.id.clone();
                    if let Some(flow) = self.flows.get_mut(&displaced) {
                        flow.phase = phase;
                    }
                    self.lose(turn, held, why);
                    self.resume(turn, &displaced);
                }
                Some(FlowPhase::Provisional | FlowPhase::Established) => {
                    let displaced = held.id.clone();
                    match self.forget(&displaced, true) {
                        Some(flow) => self.lapse(turn, (held, flow), why),
                        None => turn.notify_lost(held, why),
                    }
                    self.resume(turn, &displaced);
                }
                // Its owner has ended it, and waits for the end of its class alone.
                Some(FlowPhase::Releasing) => turn.record_lost(|| held, &why),
                // It is notified once the kernel has answered about it.
                Some(FlowPhase::Applying | FlowPhase::Displaced) => {}
                None => turn.notify_lost(held, why),
            }
        }
        let is_programmed = self.flows.get(id).is_some_and(|flow| self.kernel(&flow.interface).is_ok());
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.phase = flow.before_class.take().unwrap_or(FlowPhase::Provisional);
        let class = flow.class.filter(|_| is_programmed);
        turn.record_admitted(event, class);
        self.answer_flow(turn, id, reply);
        self.end_if_due(turn, id);
    }

    /// Refuses a flow that the ledger had granted.
    pub(super) fn refuse_admission(
        &mut self,
        turn: &mut Turn,
        reply: DecisionReply,
        asked: &Ladder,
        cause: NotProgrammed,
    ) {
        let Request { id, interface, .. } = asked.request.clone();
        let refusal = Refusal::TrafficControl { interface: interface.clone(), cause };
        let refused =
            RefusedRequest { kind: RequestKind::Reserve { id }, interface: Some(interface), refusal };
        self.refuse_asked(turn, reply.request, (refused, Some(asked)));
    }

    /// Why an interface has no tree, where the policy wants the kernel to enforce and the flow needs a class.
    pub(super) fn lacks_required_tree(&self, interface: &str, grant: &Grant) -> Option<NotProgrammed> {
        let InterfacePolicy { enforcement, shared, .. } = self.ledger.policy().interface(interface)?;
        let why = self.interfaces.get(interface)?.has_no_tree()?;
        let is_refused = match &why {
            // The other manager reserves the same budget.
            NotProgrammed::Taken { .. } if *shared == Shared::Refuse && reserves(grant) => true,
            _ => *enforcement == Enforcement::Kernel && framed(grant).is_some(),
        };
        is_refused.then_some(why)
    }

    /// Gives a flow a class, whose bucket starts without the tokens that are missing; `None` where it needs none or there
    /// is no tree.
    pub(super) fn assign_class(&mut self, id: &str) -> Option<(Handle, Change)> {
        let flow = self.flows.get(id)?;
        let shares = |group: &&str| self.ledger.group_mode(group) == Some(GroupMode::Shared);
        let group = flow.group.as_deref().filter(shares);
        let tspec = flow.grant.tspec.sending.as_ref()?;
        let owed = tc::with_link_headers(tspec, flow.debt.missing.sending);
        let placement = LeafPlacement { id, framed: framed(&flow.grant)?, group, owed };
        let policy = self.ledger.policy();
        let class_number = || {
            // Class 0 is for flows that have none.
            let before = |name: &String| policy.classes.keys().take_while(|known| *known < name).count();
            flow.counted_class.as_ref().map_or(0, |name| 1 + before(name))
        };
        let now = self.owed.now();
        self.interfaces.get_mut(&flow.interface)?.assign_class(now, placement, class_number)
    }

    fn flow_of(
        &self,
        (ladder, counted_class): (&Ladder, Option<String>),
        decision: &Decision,
        grant: Grant,
    ) -> ManagedFlow {
        let request = &ladder.request;
        let measured = |name: &&String| {
            let class = self.ledger.policy().classes.get(*name);
            class.is_some_and(|class| class.admission == policy::Admission::Measured)
        };
        ManagedFlow {
            interface: request.interface.clone(),
            phase: FlowPhase::Provisional,
            class: None,
            claimed: None,
            qos: granted_qos(ladder, decision),
            grant,
            policy_class: request.class.clone(),
            measured: counted_class.as_ref().filter(measured).cloned(),
            counted_class,
            requester: FlowRequester::of(request),
            debt: FlowDebt { at: self.owed.now(), missing: Both::default(), is_counted: false },
            full_in: None,
            group: request.group.clone(),
            changing: None,
            begins: None,
            before_class: self.rerouting,
            closed: false,
            lost: None,
        }
    }

    /// Whether a flow is on an interface, as far as it is known to the manager.
    fn is_flow_on(&self, id: &str, interface: Option<&str>) -> bool {
        let Some(interface) = interface else { return true };
        self.flows.get(id).is_none_or(|flow| flow.interface == interface)
    }

    /// Takes the flows that a newcomer preempts out of their classes. Those on another interface keep their classes until
    /// the kernel has answered: a change is of one interface.
    fn displace(&mut self, by: &str, displaced: Vec<Displaced>, change: &mut Change) -> Vec<DisplacedFlow> {
        let displaced = self.as_they_are(displaced);
        let changed = self.flows.get(by).map(|flow| flow.interface.clone());
        for DisplacedFlow { displaced, .. } in &displaced {
            let Some(flow) = self.flows.get_mut(&displaced.id) else { continue };
            match flow.phase {
                // It ends as soon as the kernel has answered.
                FlowPhase::Applying => flow.lost = Some(Loss::Preempted { by: by.to_owned() }),
                FlowPhase::Displaced | FlowPhase::Releasing => {}
                FlowPhase::Provisional | FlowPhase::Established => {
                    flow.phase = FlowPhase::Displaced;
                    if let (Some(interface), Some(class)) =
                        (self.interfaces.get_mut(&flow.interface), flow.class)
                        && changed.as_ref() == Some(&flow.interface)
                    {
                        change.ops.extend(interface.remove(&displaced.id, class).ops);
                    }
                }
            }
        }
        displaced
    }

    /// Displaced flows with their phases.
    fn as_they_are(&self, displaced: Vec<Displaced>) -> Vec<DisplacedFlow> {
        let flow = |displaced: Displaced| {
            let known = self.flows.get(&displaced.id);
            let held = known.map_or_else(|| self.ledger.held(&displaced), |flow| flow.holding(&displaced.id));
            DisplacedFlow { held, phase: known.map(|flow| flow.phase), displaced }
        };
        displaced.into_iter().map(flow).collect()
    }
}

/// What a flow requested that it was granted: the rendition's flowspecs.
fn granted_qos(ladder: &Ladder, decision: &Decision) -> Qos {
    let rendition = decision.rendition().filter(|_| !decision.is_first_rendition());
    let lower = ladder.renditions.iter().find(|(name, _)| Some(name.as_str()) == rendition);
    lower.map_or(ladder.request.qos, |(_, qos)| *qos)
}

/// Whether anything is reserved.
const fn reserves(grant: &Grant) -> bool {
    grant.tspec.sending.is_some() || grant.tspec.receiving.is_some()
}

fn event_of(ladder: &Ladder, grant: &Grant, decision: &Decision) -> Box<FlowAdmitted> {
    let request = &ladder.request;
    let (id, interface) = (request.id.clone(), request.interface.clone());
    let flow = Holding { id, interface, charged: grant.charged, group: request.group.clone() };
    let (class, rendition) = (request.class.clone(), decision.rendition().map(str::to_owned));
    Box::new(FlowAdmitted { flow, class, rendition, kernel_class: None })
}
