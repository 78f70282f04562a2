//! The manager with the callers that wait for its answers: what the engine's task and its callers share.
//!
//! The holder of the lock feeds the manager and hands out its answers. Nothing blocks while the lock is held, so that
//! a request that needs no kernel change completes on the caller's thread. What needs the kernel, or may block a
//! callback, goes to the outbox and from there to the engine's task.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::{Both, Bytes, Moment};
use tokio::sync::{Notify, oneshot};

use super::audit::{AuditSink, MakeAuditSink};
use super::clock::ManagerClock;
use super::error::EngineError;
use super::events::{Events, Subscribers};
use super::flow_routes::{FlowRoutes, RerouteReply};
use super::guard::{Fault, Guard};
use super::handle::OnOvercommitment;
use super::left_interface::LeftInterface;
use super::reservation::{Granted, Reservation, ReservationBackend, ReservationState, ReserveReply};
use super::waiters::WaitingFlows;
use super::watches::{PeerReport, Watches};
use crate::admission::{Decision, Operation, PeerState, Refusal};
use crate::linux::RouteQuery;
use crate::manager::{Admitted, Answer, ChangeId, Effect, Input, Lost, Manager, Notice, Output, RequestId};
use crate::ordered::OrderedMap;
use crate::policy::Policy;
use crate::tc::{Change, Handle};
use crate::telemetry::Recorded;
use crate::telemetry::audit::{AuditFact, Audited};
use crate::telemetry::event::{Event, ManagerFaulted};

/// The manager, its callers, and what the engine's task has to do.
pub(super) struct Core {
    pub(super) manager: Manager,
    guard: Guard,
    pub(super) clock: ManagerClock,
    pub(super) callers: OrderedMap<RequestId, Caller>,
    pub(super) last_request: u64,
    pub(super) reservations: HashMap<String, Weak<ReservationState>>,
    waiters: WaitingFlows,
    /// The flows that may have a class for what they receive.
    pub(super) receiving: HashSet<String>,
    /// The sockets of the reservations.
    pub(super) watches: Watches,
    on_overcommitment: Vec<OnOvercommitment>,
    subscribers: Subscribers,
    /// What was found of foreign root qdiscs before the first subscription.
    found: Vec<Recorded>,
    audit: Option<Box<dyn AuditSink>>,
    /// The engine that reservations are released to.
    engine: Weak<dyn ReservationBackend>,
    pub(super) outbox: Outbox,
    /// The packets of the flows, whose routes may change.
    pub(super) flow_routes: FlowRoutes,
    /// Wakes the engine's task.
    wake: Arc<Notify>,
    /// When the engine's task wakes by itself.
    wakes_at: Option<Moment>,
    stopped: bool,
}

/// A caller that waits for an answer.
pub(super) enum Caller {
    Reserve {
        id: String,
        /// The packets whose route is followed, where the kernel chooses one.
        route: Option<RouteQuery>,
        reply: oneshot::Sender<ReserveReply>,
    },
    /// A flow is requested on another interface.
    Reroute {
        id: String,
        from: String,
        to: String,
        reply: Option<RerouteReply>,
    },
    Submit(oneshot::Sender<Result<Answer, EngineError>>),
    /// The engine itself, which needs no answer.
    Engine,
}

/// What the engine's task has to do. Bounded: the manager has one change under way for each flow and interface, and a
/// flow begins and is lost once.
#[derive(Default)]
pub(super) struct Outbox {
    /// Changes for the kernel, oldest first, with the numbers of their interfaces.
    pub(super) changes: Vec<(u32, ChangeId, Change)>,
    pub(super) notifications: Vec<CallerNotification>,
    /// Flows that have ended and may have a class for what they received.
    pub(super) left: Vec<String>,
    /// Interfaces that are managed no more: each once.
    pub(super) uprooted: Vec<LeftInterface>,
}

/// The most facts that are kept for the first subscription: some for each interface of a large host.
const MOST_FOUND: usize = 256;

/// A callback that is due. It may take locks that a caller holds, and so comes from the engine's task.
#[must_use]
pub(super) enum CallerNotification {
    Lost { state: Arc<ReservationState>, lost: Lost, watches: Watches },
    Begun { state: Arc<ReservationState>, admitted: Box<Admitted> },
    Moved { state: Arc<ReservationState>, answer: Box<Answer> },
    Overcommitment { notify: Vec<OnOvercommitment>, interface: String, over: bool },
}

impl CallerNotification {
    pub(super) fn call(self) {
        match self {
            Self::Lost { state, lost, watches } => {
                let why = lost.why.clone();
                state.lose(lost);
                // After it is lost, so that a client that watches it just now finds one or the other.
                watches.lost(&state, &why);
            }
            Self::Begun { state, admitted } => state.begin(*admitted),
            Self::Moved { state, answer } => state.moved(*answer),
            Self::Overcommitment { notify, interface, over } => {
                notify.iter().for_each(|notify| notify(&interface, over));
            }
        }
    }
}

/// The lock on the core, which is whole between any two statements that can panic.
pub(super) fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(super) fn new(
        policy: &Arc<Policy>,
        waiters: WaitingFlows,
        wake: Arc<Notify>,
        engine: Weak<dyn ReservationBackend>,
    ) -> Self {
        Self {
            manager: Manager::new(Arc::clone(policy)),
            guard: Guard::new(Manager::handle),
            clock: ManagerClock::start(),
            callers: OrderedMap::new(),
            last_request: 0,
            reservations: HashMap::new(),
            waiters,
            receiving: HashSet::new(),
            watches: Watches::new(Arc::clone(&wake)),
            on_overcommitment: Vec::new(),
            subscribers: Subscribers::default(),
            found: Vec::new(),
            audit: None,
            engine,
            outbox: Outbox::default(),
            flow_routes: FlowRoutes::default(),
            wake,
            wakes_at: None,
            stopped: false,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Whether a request for this interface can be answered on the caller's thread: the kernel has no part in it, and
    /// no change waits that was ordered before.
    pub(super) fn answers_here(&self, interface: &str) -> bool {
        !self.stopped && self.outbox.changes.is_empty() && self.manager.is_in_user_space(interface)
    }

    /// The same for an input about a flow that was admitted.
    pub(super) fn takes_here(&self, id: &str) -> bool {
        self.outbox.changes.is_empty() && self.manager.class(id).is_none()
    }

    /// Feeds the manager an input and does what follows, but for what goes to the outbox.
    pub(super) fn feed(&mut self, input: Input) {
        let now = self.now();
        let request = match &input {
            Input::Request { id, .. } | Input::Adopt { id, .. } => Some(*id),
            _ => None,
        };
        match self.guard.handle(&mut self.manager, input, now) {
            Ok(output) => self.carry_out(output),
            Err(fault) => self.failed(request, fault, now),
        }
    }

    fn carry_out(&mut self, output: Output) {
        let Output { effects, events, audit } = output;
        self.publish(&events);
        self.audit(audit);
        for effect in effects {
            match effect {
                Effect::Answer { id, answer } => self.answer(id, *answer),
                Effect::Notify(notice) => self.notice(notice),
                Effect::Apply { id, index, change } => self.outbox.changes.push((index, id, change)),
                Effect::Leave { index, interface, root } => {
                    self.outbox.uprooted.push(LeftInterface { index, interface, root });
                }
            }
        }
    }

    /// Keeps an audit trail from now on, which is to be before the first input.
    pub(super) fn start_audit(&mut self, make: MakeAuditSink) {
        self.manager.record_audit();
        self.audit = Some(make(self.clock.epoch()));
    }

    /// When the clock began, from 1970 on.
    pub(super) fn began(&self) -> Moment {
        self.clock.epoch()
    }

    /// Hands facts to the audit trail, where there is one.
    pub(super) fn audit(&mut self, facts: Vec<Audited>) {
        if let Some(audit) = self.audit.as_mut().filter(|_| !facts.is_empty()) {
            audit.record(facts, self.manager.ledger());
        }
    }

    /// Whether there is an audit trail.
    pub(super) const fn is_audited(&self) -> bool {
        self.audit.is_some()
    }

    /// Adds an event that is not the manager's. The closure runs only where something receives events.
    pub(super) fn record(&mut self, event: impl FnOnce() -> Event) {
        if self.manager.records_events() {
            let at = self.now();
            self.publish(&[Recorded { at, event: event() }]);
        }
    }

    /// The same for a fact about a foreign root qdisc, which may be found before anything receives events: the first
    /// subscription then begins with it.
    pub(super) fn record_found(&mut self, event: Event) {
        if self.manager.records_events() {
            self.record(|| event);
        } else if self.found.len() < MOST_FOUND {
            let at = self.now();
            self.found.push(Recorded { at, event });
        }
    }

    /// Adds the event of a request that the manager has not refused itself.
    pub(super) fn record_refused(&mut self, decision: &Decision) {
        if self.manager.records_events()
            && let Some(event) = Event::of_refusal(decision)
        {
            self.publish(&[Recorded { at: decision.at, event }]);
        }
    }

    fn publish(&mut self, events: &[Recorded]) {
        if !events.is_empty() && !self.subscribers.publish(events) {
            self.manager.stop_recording_events();
        }
    }

    /// The manager has not handled an input: its caller learns it, and all callers where admission has stopped.
    fn failed(&mut self, request: Option<RequestId>, fault: Fault, at: Moment) {
        let Fault { text, is_stopped, is_new } = fault;
        if is_new && self.manager.records_events() {
            let faulted = ManagerFaulted { fault: text.clone(), admission_stopped: is_stopped };
            self.publish(&[Recorded { at, event: Event::ManagerFaulted(faulted) }]);
        }
        if is_new && is_stopped {
            // No capacity becomes free any more: a flow that waits would wait for ever.
            self.waiters.notify_all();
        }
        let refusal = Refusal::ManagerFault { fault: text, admission_stopped: is_stopped };
        let waiting = if is_stopped { std::mem::take(&mut self.callers) } else { OrderedMap::new() };
        let caller = request.and_then(|request| self.callers.remove(&request));
        for caller in caller.into_iter().chain(waiting.into_values()) {
            match caller {
                Caller::Engine => {}
                Caller::Reroute { reply, .. } => {
                    if let Some(reply) = reply {
                        // A caller that has gone needs no answer.
                        let _ = reply.send(Err(EngineError::Faulted(refusal.clone())));
                    }
                }
                // A caller that has gone needs no answer.
                Caller::Submit(caller) => drop(caller.send(Err(EngineError::Faulted(refusal.clone())))),
                Caller::Reserve { id, reply, .. } => {
                    let decision = Decision::without_totals(at, id, refusal.clone());
                    let fact = AuditFact::Refused { request: None, decision: Box::new(decision.clone()) };
                    self.audit(vec![Audited { at, fact }]);
                    self.record_refused(&decision);
                    drop(reply.send(Err(Box::new(decision))));
                }
            }
        }
    }

    /// A flow has ended, with these tokens missing from its buckets as far as that is known.
    pub(super) fn close(&mut self, id: String, missing: Both<Option<Bytes>>) {
        self.feed(Input::Spent { id: id.clone(), missing });
        self.feed(Input::Closed { id });
    }

    pub(super) fn submit(&mut self, operation: Box<Operation>, caller: Caller) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.callers.insert(id, caller);
        self.feed(Input::Request { id, operation });
    }

    /// Submits what an engine that has ended had granted.
    pub(super) fn adopt(&mut self, operation: Operation, class: Option<Handle>, caller: Caller) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.callers.insert(id, caller);
        self.feed(Input::Adopt { id, operation: Box::new(operation), class });
    }

    /// What was seen of a flow's peer, unless the flow has ended meanwhile.
    pub(super) fn report_peer(&mut self, report: PeerReport) {
        let PeerReport { id, state, reports, timeouts: _ } = report;
        for (seen, since) in reports {
            if self.reservations.get(&id).is_some_and(|held| held.ptr_eq(&state)) {
                self.submit(Box::new(Operation::Peer { id: id.clone(), state: seen, since }), Caller::Engine);
            }
        }
    }

    /// A flow's peer is gone, and nothing holds its reservation.
    pub(super) fn peer_gone(&mut self, id: String) {
        if self.manager.ledger().flow(&id).is_some() {
            let (state, since) = (PeerState::Gone, None);
            self.submit(Box::new(Operation::Peer { id, state, since }), Caller::Engine);
        }
    }

    /// The manager's events from now on.
    pub(super) fn events(&mut self) -> Events {
        self.manager.record_events();
        let events = self.subscribers.subscribe();
        let found = std::mem::take(&mut self.found);
        self.publish(&found);
        events
    }

    pub(super) fn subscribe(&mut self, notify: OnOvercommitment) {
        self.on_overcommitment.push(notify);
    }

    /// What the engine's task has to do now.
    pub(super) fn take_outbox(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    /// When the engine's task has to wake by itself, which it is about to wait for.
    pub(super) fn next_wake(&mut self) -> Option<Moment> {
        self.wakes_at = self.due();
        self.wakes_at
    }

    /// When time alone changes something next. Once admission has stopped, time changes nothing.
    fn due(&self) -> Option<Moment> {
        self.manager.due().filter(|_| !self.guard.is_stopped())
    }

    /// Wakes the engine's task if there is something for it to do, or earlier than it wakes by itself.
    pub(super) fn wake(&self) {
        let earlier = match (self.due(), self.wakes_at) {
            (Some(due), Some(wakes)) => due < wakes,
            (due, _) => due.is_some(),
        };
        let Outbox { changes, notifications, left, uprooted } = &self.outbox;
        let has_work = !changes.is_empty() || !notifications.is_empty() || !left.is_empty();
        if earlier || has_work || !uprooted.is_empty() {
            self.wake.notify_one();
        }
    }

    /// The engine has stopped: callers without an answer learn it, and nothing is admitted any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.callers.clear();
        self.audit = None;
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        match self.callers.remove(&id) {
            None | Some(Caller::Engine) => {}
            // A caller that has gone needs no answer, and the operation is done all the same.
            Some(Caller::Submit(caller)) => {
                // It has ended, or is renegotiated to receive nothing.
                let receives = answer.admitted.as_ref().is_none_or(|flow| flow.tspec.receiving.is_some());
                if let Some(id) = answer.decision.id().map(str::to_owned)
                    && (!receives || self.manager.ledger().flow(&id).is_none())
                {
                    self.receives_no_more(&id);
                }
                drop(caller.send(Ok(answer)));
            }
            Some(Caller::Reroute { id, from, to, reply }) => self.rerouted(answer, (id, from, to), reply),
            Some(Caller::Reserve { reply: caller, route, .. }) => {
                let Answer { decision, admitted } = answer;
                let reply = match admitted {
                    None => Err(Box::new(decision)),
                    Some(admitted) => match self.grant(admitted, decision) {
                        Some(granted) => {
                            if let Some(route) = route {
                                self.flow_routes.follow(granted.reservation.id(), route);
                            }
                            Ok(granted)
                        }
                        None => return,
                    },
                };
                // If the caller has gone, now or before it looks, the reservation is dropped, which releases it.
                drop(caller.send(reply));
            }
        }
    }

    /// The reservation of a flow that was admitted; `None` where the engine has no handle any more.
    fn grant(&mut self, mut admitted: Admitted, decision: Decision) -> Option<Granted> {
        let engine = self.engine.upgrade()?;
        let state: Arc<ReservationState> = Arc::default();
        let id = decision.id()?.to_owned();
        admitted.owed = self.manager.missing(&id);
        self.reservations.insert(id.clone(), Arc::downgrade(&state));
        let reservation = Reservation::new(engine, id, state);
        Some(Granted { admitted, decision, reservation })
    }

    pub(super) fn receives_no_more(&mut self, id: &str) {
        self.outbox.left.extend(self.receiving.take(id));
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Ended(decision) => {
                if let Some(id) = decision.id() {
                    self.reservations.remove(id);
                    self.flow_routes.forget(id);
                    self.receives_no_more(id);
                }
            }
            Notice::Lost(lost) => {
                self.receives_no_more(&lost.id);
                self.flow_routes.forget(&lost.id);
                let state = self.reservations.remove(&lost.id).and_then(|state| state.upgrade());
                let missing = state.as_ref().map(|state| state.usage().missing);
                // Before the answer of a flow that has preempted it, which starts without these tokens.
                self.feed(Input::Spent { id: lost.id.clone(), missing: missing.unwrap_or_default() });
                let watches = self.watches.clone();
                let lost = state.map(|state| CallerNotification::Lost { state, lost, watches });
                self.outbox.notifications.extend(lost);
            }
            Notice::Begun { id, admitted } => {
                let state = self.reservations.get(&id).and_then(Weak::upgrade);
                let begun = state.map(|state| CallerNotification::Begun { state, admitted });
                self.outbox.notifications.extend(begun);
            }
            Notice::Overcommitted { interface, over } => {
                let notify = self.on_overcommitment.clone();
                self.outbox.notifications.push(CallerNotification::Overcommitment {
                    notify,
                    interface,
                    over,
                });
            }
            Notice::CapacityAvailable { id } => {
                if let Some(waiter) = self.waiters.get(&id) {
                    waiter.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
