//! Every operation, decided in the ledger's time; a reservation from its renditions to what is booked for it.
//!
//! The other operations are in [`operations`](super::operations).

use std::sync::Arc;

use flowspec::Moment;

use super::client::ClientUse;
use super::group::Member;
use super::measurement::Measurement;
use super::operations::Answered;
use super::prepare::{Described, Prepared, Wanted};
use super::state::{Ledger, MOST_FLOWS, client_of};
use crate::admission::account::entry::Entry;
use crate::admission::account::rank::LAST_ORDER;
use crate::admission::decision::{Decision, Outcome};
use crate::admission::ended::EndedIds;
use crate::admission::limits::ClientLimit;
use crate::admission::operation::{Ladder, Operation, RefusedRequest, RequestKind};
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, Request};
use crate::admission::response::{AdmittedFlow, Refused, RefusedRendition, Response};

/// What became of the renditions of a request.
struct TriedRenditions {
    /// The grant, or the refusal of the best rendition.
    result: Result<Grant, Refusal>,
    /// Which rendition was admitted, where that is not the best one.
    rendition: Option<String>,
    /// Why each rendition was refused that was tried, best first; empty where there is only one rendition.
    refused: Vec<RefusedRendition>,
    /// Whether the best rendition was refused for what others hold alone, where the request would wait for that.
    may_wait: bool,
}

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
        if std::mem::take(&mut self.risen) || frees || decision.ended_any() {
            decision.notified = self.notify_waiting();
        }
    }

    fn decide_reserve(&mut self, ladder: &Ladder, grant: &mut Option<Grant>) -> Answered {
        let request = &ladder.request;
        let Request { id, interface, .. } = request;
        let was_notified = self.waiting.is_settled && self.waiting.was_notified_of(request, self.now);
        let TriedRenditions { result, rendition, refused: refused_renditions, may_wait } = self.climb(ladder);
        let took_all = was_notified && result.is_ok() && rendition.is_none();
        let waiting = match &result {
            // The renditions were not tried: the flow waits as before.
            Err(Refusal::DuplicateId { .. } | Refusal::Client { limit: ClientLimit::Requests(_), .. }) => {
                self.waiting.has(id)
            }
            // The flow waits for its best rendition, whether or not it got a lower one.
            _ if may_wait && self.wait(request) => true,
            // The capacity of which it was notified, and which it did not take, is free for the flows behind it.
            _ => {
                self.risen |= self.waiting.leave(id) && !took_all;
                false
            }
        };
        if let Ok(Grant { preempted, .. }) = &result {
            // Each of these can keep a waiting flow from what it was notified of, or delays others for: that is free then.
            let takes_from_notified = !took_all && self.waiting.notified() > 0;
            self.risen |= !preempted.is_empty() || takes_from_notified || self.waiting.competes(request);
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

    /// Admits the best rendition that fits. Renditions are tried until one fits, unless the refusal is the same for each.
    fn climb(&mut self, ladder: &Ladder) -> TriedRenditions {
        let Ladder { request, first, renditions } = ladder;
        let counted = self.count_request(request.client.as_deref());
        let tried = counted.and_then(|()| self.admit_counted(request));
        let may_wait = request.wait && matches!(&tried, Err(refusal) if self.may_fit_later(request, refusal));
        let best = match tried {
            Err(refusal) if !renditions.is_empty() && refusal.depends_on_rendition() => refusal,
            result => return TriedRenditions { result, rendition: None, refused: Vec::new(), may_wait },
        };
        let mut refused = vec![RefusedRendition { name: first.clone(), refusal: best.clone() }];
        for (name, qos) in renditions {
            match self.admit_counted(&Request { qos: *qos, ..request.clone() }) {
                Ok(grant) => {
                    return TriedRenditions {
                        result: Ok(grant),
                        rendition: Some(name.clone()),
                        refused,
                        may_wait,
                    };
                }
                Err(refusal) => refused.push(RefusedRendition { name: Some(name.clone()), refusal }),
            }
        }
        TriedRenditions { result: Err(best), rendition: None, refused, may_wait }
    }

    /// Reserves both directions of a request that its client has been counted for, or neither.
    pub(crate) fn admit_counted(&mut self, request: &Request) -> Result<Grant, Refusal> {
        let Prepared { mut wanted, member, mut grant, setup } = self.prepare(request)?;
        if let Err(refusal) = self.check_wanted(&wanted) {
            let displaced = self.preempt_for(&wanted, setup, refusal);
            grant.preempted = displaced.map_err(|refusal| self.explained(refusal, &wanted, request))?;
        }
        self.admitted += 1;
        self.book_new(&request.id, &mut wanted.entry, member);
        if self.admitted >= LAST_ORDER {
            self.renumber();
        }
        self.debug_check();
        Ok(grant)
    }

    /// What a valid request would book. Whether it fits its interface is [checked](Self::check_wanted) apart.
    #[inline]
    pub(crate) fn prepare(&mut self, request: &Request) -> Result<Prepared, Refusal> {
        let id = &request.id;
        if self.flows.slot(id).is_some() {
            return Err(Refusal::DuplicateId { id: id.clone() });
        }
        if self.flows.len() >= MOST_FLOWS {
            return Err(Refusal::TooManyFlows { flows: self.flows.len() });
        }
        let Described { entry, charge, setup, dscp } = self.describe(request)?;
        let member = Member::of(&entry, &charge);
        self.check_member(&entry, member.as_deref(), None)?;
        let timeouts = self.timeouts(&entry);
        let grant =
            Grant { charged: charge.rate, tspec: charge.tspec, dscp, timeouts, preempted: Vec::new() };
        let wanted = self.wanted(entry, member.as_deref());
        Ok(Prepared { wanted, member, grant, setup })
    }

    /// Checks the limits of the interface and of the class.
    pub(crate) fn check_wanted(&mut self, wanted: &Wanted) -> Result<(), Refusal> {
        self.without_group(wanted, |ledger| ledger.fits(wanted))
    }

    /// Books a new flow that is known to fit, and gives its slot.
    pub(crate) fn book_new(&mut self, id: &str, entry: &mut Entry, member: Option<Box<Member>>) -> u32 {
        self.flows.insert(id, entry, self.now);
        self.book(entry, member);
        entry.footprint.slot
    }

    /// Books what a flow takes, which is known to fit; `member` is for its group, if it has one.
    pub(crate) fn book(&mut self, entry: &Entry, member: Option<Box<Member>>) {
        let (now, footprint) = (self.now, &entry.footprint);
        self.bookings += 1;
        self.each_account(footprint.interface, |account, _| account.book(footprint, now));
        if let Some((name, limits)) = client_of(&self.policy, entry.client.as_deref()) {
            let client = self.clients.entry(name.to_owned()).or_insert_with(|| ClientUse::new(limits, now));
            client.book(entry.rate(), footprint.window, now);
        }
        if let (Some(name), Some(member)) = (&entry.group, member) {
            self.change_group(name, |group| group.join(footprint.slot, *member, now));
        }
        if let Some(at) = entry.ending() {
            self.endings.insert((at, footprint.rank()));
        }
    }
}
