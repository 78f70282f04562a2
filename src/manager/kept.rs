//! Flows that outlive the process that admitted them: what the next process needs to know of one, and how it admits it.

use flowspec::{Moment, Qos};

use super::flow::FlowPhase;
use super::message::RequestId;
use super::pending::{DisplacedFlow, Purpose};
use super::state::Manager;
use super::turn::Turn;
use crate::admission::{Decision, Operation};
use crate::tc::{ClassBlock, Handle};

/// What another process needs to admit a flow again, besides its id and what only its owner knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptFlow {
    /// The name of the link that it is charged on.
    pub interface: String,
    /// The class in the policy that it has asked for.
    pub policy_class: Option<String>,
    /// The group whose reservation it shares.
    pub group: Option<String>,
    /// What it was granted.
    pub qos: Qos,
    /// Its class in the kernel, or the one to which its socket sends since an earlier process.
    pub class: Option<Handle>,
    /// When its reservation begins, if that is later.
    pub begins: Option<Moment>,
    /// When its reservation ends by itself.
    pub ends: Option<Moment>,
    /// When its soft state ends.
    pub expires: Option<Moment>,
    /// Whether its peer has answered.
    pub is_established: bool,
}

impl Manager {
    /// What is to be known of a flow to admit it again.
    pub fn kept(&self, id: &str) -> Option<KeptFlow> {
        let flow = self.flows.get(id)?;
        // One that is preempted keeps its reservation until the kernel has answered about the other flow.
        let displaced = || self.displaced(id).filter(|_| flow.phase == FlowPhase::Displaced);
        let (ends, expires) =
            self.ledger.times_of(id).or_else(|| displaced().map(|flow| flow.displaced.times()))?;
        let phase = displaced().and_then(|displaced| displaced.phase).unwrap_or(flow.phase);
        Some(KeptFlow {
            interface: flow.interface.clone(),
            policy_class: flow.policy_class.clone(),
            group: flow.group.clone(),
            qos: flow.qos,
            class: flow.class.or(flow.claimed),
            begins: flow.begins,
            ends,
            expires,
            is_established: phase == FlowPhase::Established,
        })
    }

    fn displaced(&self, id: &str) -> Option<&DisplacedFlow> {
        self.pending.values().find_map(|pending| match &pending.purpose {
            Purpose::Admit { admission, .. } => {
                admission.displaced.iter().find(|displaced| displaced.displaced.id == id)
            }
            _ => None,
        })
    }

    /// Admits again what a process that was killed had admitted.
    pub(super) fn adopt(
        &mut self,
        turn: &mut Turn,
        request: RequestId,
        operation: Operation,
        class: Option<Handle>,
    ) {
        let adopted = match &operation {
            Operation::Reserve(ladder) => Some((ladder.request.interface.clone(), ladder.request.id.clone())),
            _ => None,
        };
        let adopted = adopted.filter(|(interface, _)| !self.is_preparing(interface));
        self.ledger.set_keeping(true);
        match adopted {
            Some((interface, id)) => {
                self.claim_class(&interface, &id, class);
                self.carry_out(turn, request, &operation);
                self.class_claimed(&interface, &id, class);
            }
            // It waits for its interface, or needs none.
            None => {
                let waiting = self.deferred.len();
                self.request(turn, request, Box::new(operation));
                let waiting = self.deferred.iter_mut().skip(waiting);
                waiting.for_each(|deferred| deferred.adopted = Some(class));
            }
        }
        self.ledger.set_keeping(false);
    }

    fn claim_class(&mut self, interface: &str, id: &str, class: Option<Handle>) {
        let (Some(interface), Some(class)) = (self.interfaces.get_mut(interface), class) else { return };
        // The numbers of its classes are those of the tree that is kept.
        if let Some(block) = ClassBlock::of(class)
            && !interface.has_numbers()
        {
            interface.block = block;
        }
        interface.claim(id, class);
        interface.keep_class(Some(class));
    }

    /// The flow is admitted, with this class or without, or it is refused.
    fn class_claimed(&mut self, interface: &str, id: &str, class: Option<Handle>) {
        let now = self.owed.now();
        let Some(interface) = self.interfaces.get_mut(interface) else { return };
        interface.keep_class(None);
        match self.flows.get_mut(id) {
            Some(flow) => flow.claimed = class,
            None => interface.end_claim(id, None, now),
        }
    }

    /// States in the decision about an adopted flow what enforces it, now that its tree was compared.
    pub fn update_enforced(&self, decision: &mut Decision) {
        let flow = decision.id().and_then(|id| self.flows.get(id));
        if let Some(flow) = flow {
            decision.set_enforced(self.enforced(flow));
        }
    }
}
