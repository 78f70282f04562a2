//! Every operation, decided in the ledger's time.

use std::sync::Arc;

use flowspec::{Both, Direction, Flowspec, Micros, Moment, Rate};

use super::admit::TriedRenditions;
use super::measurement::Measurement;
use super::state::Ledger;
use crate::admission::decision::{Decision, Outcome};
use crate::admission::ended::{EndCause, EndedFlow, EndedIds};
use crate::admission::limits::ClientLimit;
use crate::admission::operation::{Ladder, Operation, RefusedRequest, RequestKind};
use crate::admission::peer::PeerState;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, GroupRequest, Request};
use crate::admission::response::{
    AdmittedFlow, AdmittedGroup, ChangedCapacity, EndedGroup, Fits, FreeCapacity, MeasuredClass,
    RefreshedFlow, Refused, ReleasedFlow, RenegotiatedFlow, ReportedPeer, Response,
};
use crate::policy::Policy;

/// A response, with the interface whose totals belong to it.
type Answered = (Response, Option<String>);

impl Ledger {
    /// Lets time pass until a moment, then decides an operation. A moment before the ledger's time counts as that time.
    pub fn decide(&mut self, at: Moment, operation: &Operation) -> Outcome {
        let mut ended = self.advance(at);
        let mut grant = None;
        let (response, interface) = match operation {
            Operation::Reserve(ladder) => self.decide_reserve(ladder, &mut grant),
            Operation::Renegotiate { id, flowspecs } => self.decide_renegotiate(id, flowspecs, &mut grant),
            Operation::Refresh { id, time_to_live } => self.decide_refresh(id, *time_to_live),
            Operation::Release { id } => self.decide_release(id),
            Operation::Peer { id, state, since } => self.decide_peer(id, (*state, *since), &mut ended),
            Operation::Group(request) => self.decide_group(request),
            Operation::Ungroup { id } => self.decide_ungroup(id),
            Operation::Capacity { interface, direction, capacity } => {
                self.decide_capacity(interface, *direction, *capacity, &mut ended)
            }
            Operation::Measure { interface, class, window, rate } => {
                self.decide_measure(Measurement { interface, class, window: *window, rate: *rate })
            }
            Operation::Query { interface, request } => self.decide_query(interface, request.as_deref()),
            Operation::Tick => (Response::Tick { flows: self.flows() }, None),
        };
        // A waiting flow can fit only once capacity is free, or once a notified flow has lost its claim to some.
        let frees = match operation {
            // What a reservation frees, it has noted itself.
            Operation::Reserve(_) => false,
            // A peer's loss ends a wait as an expired flow does.
            Operation::Query { .. } | Operation::Refresh { .. } | Operation::Peer { .. } => false,
            Operation::Renegotiate { .. }
            | Operation::Release { .. }
            | Operation::Group(_)
            | Operation::Ungroup { .. }
            | Operation::Capacity { .. }
            | Operation::Measure { .. }
            | Operation::Tick => true,
        };
        self.risen |= frees || !ended.is_empty();
        if self.risen {
            self.retry_groups();
        }
        let mut decision = self.decision(response, EndedIds::of(&ended));
        match interface {
            Some(interface) => self.add_totals(&mut decision, &interface),
            None if *operation == Operation::Tick => {
                let policy = Arc::clone(&self.policy);
                policy.interfaces.keys().for_each(|interface| self.add_totals(&mut decision, interface));
            }
            None => {}
        }
        self.notify(&mut decision, frees);
        Outcome { decision, grant, ended }
    }

    /// Lets time pass until a moment; then a refusal that was made elsewhere becomes a decision, with the ledger's
    /// totals.
    pub fn refuse(&mut self, at: Moment, request: RefusedRequest) -> Outcome {
        let ended = self.advance(at);
        self.risen |= !ended.is_empty();
        if self.risen {
            self.retry_groups();
        }
        let mut decision = self.refused(self.now, request);
        decision.set_ended(EndedIds::of(&ended));
        self.notify(&mut decision, false);
        Outcome { decision, grant: None, ended }
    }

    /// A refusal that was made elsewhere, as a decision with the totals as they stand; no time passes.
    pub fn refused(&self, at: Moment, request: RefusedRequest) -> Decision {
        let RefusedRequest { kind, interface, refusal } = request;
        let refused = Refused::under(&self.policy, refusal);
        let response = match kind {
            RequestKind::Reserve { id } => Response::Reserve { id, result: Err(refused), waiting: false },
            RequestKind::Renegotiate { id } => Response::Renegotiate { id, result: Err(refused) },
            RequestKind::Release { id } => Response::Release { id, result: Err(refused) },
            RequestKind::Group { id } => Response::Group { id, result: Err(refused) },
            RequestKind::Query => Response::Query(Err(refused)),
        };
        let mut decision = self.decision(response, EndedIds::default());
        decision.at = at;
        if let Some(interface) = interface {
            self.add_totals(&mut decision, &interface);
        }
        decision
    }

    /// A response that changes nothing, as a decision with the totals of an interface.
    pub(crate) fn respond(&self, response: Response, interface: &str) -> Decision {
        let mut decision = self.decision(response, EndedIds::default());
        self.add_totals(&mut decision, interface);
        decision
    }

    pub(crate) fn decision(&self, response: Response, ended: EndedIds) -> Decision {
        let (at, EndedIds { expired, dead, stalled }) = (self.now, ended);
        Decision { at, response, totals: Default::default(), expired, dead, stalled, notified: Vec::new() }
    }

    pub(crate) fn add_totals(&self, decision: &mut Decision, interface: &str) {
        if let Some(totals) = self.totals(interface) {
            decision.totals.insert(interface.to_owned(), totals);
        }
    }

    /// Ends the waits of flows that are gone, and notifies those that fit now.
    pub(crate) fn notify(&mut self, decision: &mut Decision, frees: bool) {
        for gone in decision.preempted().iter().chain(decision.shed()) {
            self.waiting.leave(gone);
        }
        if frees || std::mem::take(&mut self.risen) || decision.ended_any() {
            decision.notified = self.notify_waiting();
        }
    }

    fn decide_reserve(&mut self, ladder: &Ladder, grant: &mut Option<Grant>) -> Answered {
        let request = &ladder.request;
        let Request { id, interface, .. } = request;
        let was_notified = self.waiting.was_notified_of(request);
        let TriedRenditions { result, rendition, refused: refused_renditions, may_wait } = self.climb(ladder);
        let took_all = was_notified && result.is_ok() && rendition.is_none();
        let waiting = match &result {
            // The renditions were not tried: the flow waits as before.
            Err(Refusal::DuplicateId { .. } | Refusal::Client { limit: ClientLimit::Requests(_), .. }) => {
                self.waiting.has(id)
            }
            // The flow waits for its best rendition, whether or not it got a lower one.
            _ if may_wait && self.waiting.join(request) => true,
            // The capacity of which it was notified, and which it did not take, is free for the flows behind it.
            _ => {
                self.risen |= self.waiting.leave(id) && !took_all;
                false
            }
        };
        if let Ok(Grant { preempted, .. }) = &result {
            // Either can take from a flow that was notified the right to what it was notified of.
            self.risen |= !preempted.is_empty() || !took_all && self.waiting.competes(request);
        }
        *grant = result.as_ref().ok().cloned();
        let rendition = rendition.or_else(|| ladder.first.clone());
        let result = match result {
            Ok(Grant { charged, preempted, .. }) => {
                let preempted = preempted.into_iter().map(|displaced| displaced.id).collect();
                let interface = interface.clone();
                let enforced = None;
                Ok(Box::new(AdmittedFlow {
                    interface,
                    charged,
                    preempted,
                    rendition,
                    refused_renditions,
                    enforced,
                }))
            }
            Err(refusal) => {
                let refused = Refused::under(&self.policy, refusal);
                Err(Box::new(Refused { refused_renditions, ..*refused }))
            }
        };
        (Response::Reserve { id: id.clone(), result, waiting }, Some(interface.clone()))
    }

    fn decide_renegotiate(
        &mut self,
        id: &str,
        flowspecs: &Both<Option<Flowspec>>,
        grant: &mut Option<Grant>,
    ) -> Answered {
        let result = self.renegotiate(id, flowspecs.sending, flowspecs.receiving);
        if result.is_ok() {
            self.waiting.leave(id);
        }
        let interface = self.interface_of(id);
        *grant = result.as_ref().ok().cloned();
        let result = result.and_then(|Grant { charged, .. }| {
            let interface = interface.clone()?;
            Ok(Box::new(RenegotiatedFlow { interface, charged, enforced: None }))
        });
        let result = refused(&self.policy, result);
        (Response::Renegotiate { id: id.to_owned(), result }, interface.ok())
    }

    fn decide_refresh(&mut self, id: &str, time_to_live: Micros) -> Answered {
        let refreshed = self.refresh(id, time_to_live);
        let interface = self.interface_of(id);
        let result =
            refreshed.and_then(|()| Ok(RefreshedFlow { interface: interface.clone()?, time_to_live }));
        let result = refused(&self.policy, result);
        (Response::Refresh { id: id.to_owned(), result }, interface.ok())
    }

    fn decide_peer(
        &mut self,
        id: &str,
        (state, since): (PeerState, Option<Moment>),
        ended: &mut Vec<EndedFlow>,
    ) -> Answered {
        let interface = self.interface_of(id);
        let result = self.report_peer(id, state, since).and_then(|lost| {
            let loss = lost.as_ref().and_then(EndedFlow::peer_loss);
            ended.extend(lost);
            Ok(ReportedPeer { interface: interface.clone()?, state, loss, ends: self.peer_end(id) })
        });
        let result = refused(&self.policy, result);
        (Response::Peer { id: id.to_owned(), result }, interface.ok())
    }

    fn decide_release(&mut self, id: &str) -> Answered {
        let interface = self.interface_of(id);
        let released = self.release(id);
        let waited = self.waiting.leave(id);
        let result = match released {
            Some(charged) => {
                interface.clone().map(|interface| ReleasedFlow::Flow { interface, charged: Some(charged) })
            }
            None if waited => Ok(ReleasedFlow::Waiting),
            None => Err(Refusal::UnknownId { id: id.to_owned() }),
        };
        let result = refused(&self.policy, result);
        (Response::Release { id: id.to_owned(), result }, interface.ok())
    }

    fn decide_group(&mut self, request: &GroupRequest) -> Answered {
        let GroupRequest { id, interface, .. } = request;
        let result = refused(&self.policy.clone(), self.group(request));
        let result =
            result.map(|Grant { charged, .. }| AdmittedGroup { interface: interface.clone(), charged });
        (Response::Group { id: id.clone(), result }, Some(interface.clone()))
    }

    fn decide_ungroup(&mut self, id: &str) -> Answered {
        let totals = self.group_totals(id);
        let interface = totals
            .map(|(interface, _)| interface.to_owned())
            .ok_or_else(|| Refusal::UnknownGroup { group: id.to_owned() });
        let ungrouped = self.ungroup(id);
        let result =
            ungrouped.and_then(|gone| Ok(EndedGroup { interface: interface.clone()?, has_members: !gone }));
        let result = refused(&self.policy, result);
        (Response::Ungroup { id: id.to_owned(), result }, interface.ok())
    }

    fn decide_capacity(
        &mut self,
        interface: &str,
        direction: Direction,
        capacity: Rate,
        ended: &mut Vec<EndedFlow>,
    ) -> Answered {
        let known = self.policy.interface(interface).is_some();
        let gone = self.set_capacity(interface, direction, capacity);
        let shed = gone.iter().map(|held| held.id.clone()).collect();
        ended.extend(gone.into_iter().map(|held| EndedFlow { held, cause: EndCause::Shed }));
        let result = if known {
            let counts_from = self.rises(interface, direction);
            let (interface, not_programmed) = (interface.to_owned(), None);
            Ok(Box::new(ChangedCapacity {
                interface,
                direction,
                capacity,
                counts_from,
                shed,
                not_programmed,
            }))
        } else {
            let refusal = Refusal::UnknownInterface { interface: interface.to_owned() };
            Err(Refused::under(&self.policy, refusal))
        };
        (Response::Capacity(result), Some(interface.to_owned()))
    }

    fn decide_measure(&mut self, measurement: Measurement<'_>) -> Answered {
        let Measurement { interface, class, rate, .. } = measurement;
        let result = refused(&self.policy.clone(), self.measure(measurement));
        let result = result.map(|()| {
            let relief = self.relief(interface);
            Box::new(MeasuredClass { interface: interface.to_owned(), class: class.to_owned(), rate, relief })
        });
        (Response::Measure(result), Some(interface.to_owned()))
    }

    fn decide_query(&mut self, interface: &str, request: Option<&Request>) -> Answered {
        let result = refused(&self.policy.clone(), self.query(interface, request));
        (Response::Query(result), Some(interface.to_owned()))
    }

    /// What is free of an interface and of its parents, and when a flow would fit first there.
    ///
    /// - **Errors**: the policy does not have the interface, or no ledger of this policy could admit the request at any
    ///   time, as it names something that does not exist or contradicts itself.
    fn query(&mut self, interface: &str, request: Option<&Request>) -> Result<FreeCapacity, Refusal> {
        let Some(totals) = self.totals(interface) else {
            return Err(Refusal::UnknownInterface { interface: interface.to_owned() });
        };
        let fits = match request {
            None => None,
            Some(request) => match self.prepare(request) {
                Err(refusal) if refusal.is_invalid_request() => return Err(refusal),
                _ => Some(self.earliest(request).map_or(Fits::Never, Fits::At)),
            },
        };
        let mut available = totals.map(|totals| totals.available());
        for parent in self.wire_names(interface).into_iter().filter_map(|parent| self.totals(&parent)) {
            for direction in Direction::BOTH {
                let least = available.get_mut(direction);
                *least = (*least).min(parent.get(direction).available());
            }
        }
        let preemption = self.policy.preemption;
        Ok(FreeCapacity { interface: interface.to_owned(), available, fits, preemption })
    }

    /// The interface of a flow that is admitted.
    fn interface_of(&self, id: &str) -> Result<String, Refusal> {
        let flow = self.flow(id);
        flow.map(|(interface, _)| interface.to_owned())
            .ok_or_else(|| Refusal::UnknownId { id: id.to_owned() })
    }
}

fn refused<T>(policy: &Policy, result: Result<T, Refusal>) -> Result<T, Box<Refused>> {
    result.map_err(|refusal| Refused::under(policy, refusal))
}
