//! What is reserved at the end of a trail, as far as its lines say.

use std::collections::{BTreeMap, HashMap, VecDeque};

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Moment, Qos, Rate, ServiceType};

use super::fact::{AuditClient, AuditFact, Audited};
use crate::admission::{Decision, GroupRequest, Ladder, Operation};
use crate::ordered::{OrderedMap, OrderedSet};

/// How many recently preempted flows are remembered: the flow that preempted them may not be admitted after all.
const MOST_DISPLACED: usize = 1024;

/// The interfaces that are remembered without flows.
const MOST_LINKS: usize = 1024;

/// What is reserved, with the requests that led to it.
#[derive(Debug, Default)]
pub(super) struct LiveState {
    pub(super) links: OrderedMap<String, RecordedLink>,
    pub(super) capacities: OrderedMap<(String, Direction), Rate>,
    pub(super) measured: OrderedMap<(String, String), (Micros, Both<Rate>)>,
    /// The groups that were made.
    pub(super) groups: OrderedMap<String, LiveGroup>,
    /// In the order in which they were admitted.
    flows: BTreeMap<u64, LiveFlow>,
    places: HashMap<String, u64>,
    admitted: u64,
    displaced: VecDeque<(String, LiveFlow)>,
}

/// The kernel's parameters of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordedLink {
    pub(super) mtu: Bytes,
    pub(super) speed: Option<Rate>,
    pub(super) programmed: Option<bool>,
}

/// A group.
#[derive(Clone, Debug)]
pub(super) struct LiveGroup {
    pub(super) request: GroupRequest,
    /// The user that has made it; `None` for a group of the policy.
    pub(super) uid: Option<u32>,
    /// Whether it ends with its last member.
    pub(super) is_closing: bool,
}

/// A flow that holds a reservation.
#[derive(Clone, Debug)]
pub(super) struct LiveFlow {
    /// Its request for the rendition that it has.
    pub(super) ladder: Ladder,
    /// When it ends unless it is refreshed.
    pub(super) expires: Option<Moment>,
    pub(super) pid: Option<u32>,
}

impl LiveState {
    pub(super) fn flows(&self) -> impl Iterator<Item = &LiveFlow> {
        self.flows.values()
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The flow of an id.
    pub(super) fn flow(&self, id: &str) -> Option<&LiveFlow> {
        self.flows.get(self.places.get(id)?)
    }

    /// The user that a fact is about: the owner of the flow or of the group that it names.
    pub(super) fn uid(&self, fact: &AuditFact) -> Option<u32> {
        let of_flow = |id: &String| self.flow(id)?.ladder.request.owner.uid;
        let of_group = |id: &String| self.groups.get(id)?.uid;
        match fact {
            AuditFact::Decided { operation, .. } | AuditFact::Adopted { operation, .. } => match &**operation
            {
                Operation::Renegotiate { id, .. }
                | Operation::Refresh { id, .. }
                | Operation::Release { id }
                | Operation::Peer { id, .. } => of_flow(id),
                Operation::Group(request) => of_group(&request.id),
                Operation::Ungroup { id } => of_group(id),
                Operation::Reserve(_)
                | Operation::Capacity { .. }
                | Operation::Measure { .. }
                | Operation::Query { .. }
                | Operation::Tick => None,
            },
            AuditFact::Renegotiating { id, .. }
            | AuditFact::Renegotiated { id, .. }
            | AuditFact::TakenBack { id } => of_flow(id),
            AuditFact::Refused { .. }
            | AuditFact::Reinstated { .. }
            | AuditFact::Ended { .. }
            | AuditFact::Link { .. }
            | AuditFact::Programmed { .. }
            | AuditFact::Failed { .. }
            | AuditFact::Reloaded(_) => None,
        }
    }

    /// Only these flows hold a reservation: facts are missing.
    pub(super) fn keep(&mut self, is_live: impl Fn(&str) -> bool) {
        let gone: Vec<_> = self.places.keys().filter(|id| !is_live(id)).cloned().collect();
        gone.iter().for_each(|id| drop(self.end(id)));
    }

    pub(super) fn follow(&mut self, audited: &Audited, client: AuditClient) {
        match &audited.fact {
            AuditFact::Decided { operation, decision } | AuditFact::Adopted { operation, decision } => {
                self.end_those_of(decision);
                if decision.is_ok() {
                    self.decided(audited.at, (operation, decision), client);
                }
            }
            AuditFact::Refused { decision, .. } => self.end_those_of(decision),
            AuditFact::Renegotiating { .. } | AuditFact::Failed { .. } | AuditFact::Reloaded(_) => {}
            AuditFact::Renegotiated { id, flowspecs, decision } => {
                self.end_those_of(decision);
                if let Some(flowspecs) = flowspecs {
                    self.renegotiated(id, flowspecs);
                }
            }
            AuditFact::TakenBack { id } => drop(self.end(id)),
            AuditFact::Reinstated { by, ids } => self.reinstate(by, ids),
            AuditFact::Ended { ids } => ids.iter().for_each(|id| drop(self.end(id))),
            AuditFact::Link { interface, mtu, speed, again: _ } => {
                self.bound_links();
                let programmed = self.links.get(interface).and_then(|link| link.programmed);
                self.links.insert(interface.clone(), RecordedLink { mtu: *mtu, speed: *speed, programmed });
            }
            AuditFact::Programmed { interface, programmed } => {
                if let Some(link) = self.links.get_mut(interface) {
                    link.programmed = Some(*programmed);
                }
            }
        }
    }

    fn decided(&mut self, at: Moment, (operation, decision): (&Operation, &Decision), client: AuditClient) {
        let AuditClient { uid, pid } = client;
        match operation {
            Operation::Reserve(ladder) => {
                for id in decision.preempted() {
                    if let Some(flow) = self.end(id) {
                        self.displaced.push_back((ladder.request.id.clone(), flow));
                    }
                }
                while self.displaced.len() > MOST_DISPLACED {
                    self.displaced.pop_front();
                }
                let expires = ladder.request.time_to_live.map(|time| at.saturating_add(time));
                let flow = LiveFlow { ladder: granted(ladder, decision), expires, pid };
                self.insert(flow);
            }
            Operation::Renegotiate { id, flowspecs } => self.renegotiated(id, flowspecs),
            Operation::Refresh { id, time_to_live } => {
                let place = self.places.get(id);
                if let Some(flow) = place.and_then(|place| self.flows.get_mut(place)) {
                    flow.expires = Some(at.saturating_add(*time_to_live));
                }
            }
            Operation::Release { id } => drop(self.end(id)),
            Operation::Group(request) => {
                let group = LiveGroup { request: (**request).clone(), uid, is_closing: false };
                self.groups.insert(request.id.clone(), group);
            }
            Operation::Ungroup { id } => {
                let has_members = self.flows().any(|flow| flow.ladder.request.group.as_ref() == Some(id));
                match self.groups.get_mut(id).filter(|_| has_members) {
                    Some(group) => group.is_closing = true,
                    None => drop(self.groups.remove(id)),
                }
            }
            Operation::Capacity { interface, direction, capacity } => {
                self.capacities.insert((interface.clone(), *direction), *capacity);
            }
            Operation::Measure { interface, class, window, rate } => {
                self.measured.insert((interface.clone(), class.clone()), (*window, *rate));
            }
            Operation::Peer { .. } | Operation::Query { .. } | Operation::Tick => {}
        }
    }

    fn insert(&mut self, flow: LiveFlow) {
        self.admitted += 1;
        let id = flow.ladder.request.id.clone();
        drop(self.end(&id));
        self.places.insert(id, self.admitted);
        self.flows.insert(self.admitted, flow);
    }

    fn end(&mut self, id: &str) -> Option<LiveFlow> {
        let flow = self.flows.remove(&self.places.remove(id)?)?;
        if let Some(group) = &flow.ladder.request.group
            && self.groups.get(group).is_some_and(|group| group.is_closing)
            && !self.flows().any(|other| other.ladder.request.group.as_ref() == Some(group))
        {
            self.groups.remove(group);
        }
        Some(flow)
    }

    /// Flows that a decision says have ended.
    fn end_those_of(&mut self, decision: &Decision) {
        let Decision { expired, dead, stalled, .. } = decision;
        let ended = expired.iter().chain(dead).chain(stalled).chain(decision.shed());
        ended.for_each(|id| drop(self.end(id)));
    }

    fn renegotiated(&mut self, id: &str, flowspecs: &Both<Option<Flowspec>>) {
        let place = self.places.get(id);
        let Some(flow) = place.and_then(|place| self.flows.get_mut(place)) else { return };
        let Ladder { request, first, .. } = &mut flow.ladder;
        for direction in Direction::BOTH {
            let spec = flowspecs.get(direction).filter(|spec| spec.service_type != ServiceType::NoChange);
            if let Some(spec) = spec {
                *request.qos.get_mut(direction) = spec;
                *first = None;
            }
        }
    }

    fn reinstate(&mut self, by: &str, ids: &[String]) {
        let is_back = |flow: &(String, LiveFlow)| flow.0 == by && ids.contains(&flow.1.ladder.request.id);
        let (back, displaced): (VecDeque<_>, _) =
            std::mem::take(&mut self.displaced).into_iter().partition(is_back);
        self.displaced = displaced;
        back.into_iter().for_each(|(_, flow)| self.insert(flow));
    }

    /// Forgets links that no flow uses, where there are too many.
    fn bound_links(&mut self) {
        if self.links.len() < MOST_LINKS {
            return;
        }
        let used: OrderedSet<_> = self.flows().map(|flow| flow.ladder.request.interface.clone()).collect();
        self.links.retain(|name, _| used.contains(name));
        self.capacities.retain(|(name, _), _| used.contains(name));
        self.measured.retain(|(name, _), _| used.contains(name));
    }
}

/// A request for the rendition that was admitted, and no other.
fn granted(ladder: &Ladder, decision: &Decision) -> Ladder {
    let Ladder { request, first, renditions } = ladder;
    let rendition = decision.rendition().filter(|_| !decision.is_first_rendition());
    let lower = renditions.iter().find(|(name, _)| Some(name.as_str()) == rendition);
    let (first, qos): (Option<String>, Qos) = match lower {
        Some((name, qos)) => (Some(name.clone()), *qos),
        None => (first.clone(), request.qos),
    };
    let mut request = request.clone();
    (request.qos, request.wait) = (qos, false);
    Ladder { request, first, renditions: Vec::new() }
}
