//! The queue of flows that wait for capacity: they were refused for lack of it, or got a lower rendition.
//!
//! Flows are notified in the order in which they were refused: no flow is notified of something, such as a budget or a
//! class's share, for which a flow with a window in common has waited longer, and what one flow was notified of is not
//! offered to another. A notification reserves nothing: the first request gets the capacity. A notified flow that does not request
//! again within [`GRACE`] loses its place, and so does a flow whose reservation would have ended by then. At most
//! [`MOST_NOTIFIED`] flows of one [kind](LaneKind) are notified at once: the others follow as these request again. A flow
//! that is to begin later waits for its window, and from its start on for what is free then.

use std::collections::BTreeMap;

use flowspec::{Micros, Moment};

use crate::admission::account::resource::Resource;
use crate::admission::account::window::Window;
use crate::admission::request::Request;
use crate::ordered::{OrderedMap, OrderedSet};

/// How long a notified flow may take to request again.
pub const GRACE: Micros = Micros::new(5_000_000);

/// How many flows of one lane are notified at once: each is tried again whenever others are looked for.
pub(crate) const MOST_NOTIFIED: usize = 16;

/// The most flows that may wait at once.
const MOST_WAITING: usize = 10_000;

/// The flows that wait, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitingQueue {
    pub(crate) queue: BTreeMap<u64, WaitingRequest>,
    /// The place of each flow in the queue.
    places: OrderedMap<String, u64>,
    /// The places of the flows that compete for the same.
    lanes: OrderedMap<Lane, OrderedSet<u64>>,
    /// When flows lose their places, with the places.
    due: OrderedSet<(Moment, u64)>,
    /// When flows begin that wait for a later window, with the places.
    beginnings: OrderedSet<(Moment, u64)>,
    /// Whose limits the flows count against.
    waiting_of: WaitingOf,
    /// How many flows were notified.
    notified: usize,
    /// Whether every notified flow still fitted when flows were last notified, and no flow was left
    /// out because of a limit: then nothing is free for others where a notified flow takes what it was notified of.
    pub(crate) is_settled: bool,
    next: u64,
}

/// How many flows of each client and of each group wait.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct WaitingOf {
    clients: OrderedMap<String, usize>,
    groups: OrderedMap<String, usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct WaitingRequest {
    pub(crate) request: Request,
    pub(crate) lane: Lane,
    /// Once it is notified: until when it may request again.
    pub(crate) notified_until: Option<Moment>,
}

/// The resources of which a flow takes some, and when: flows of one lane compete for the same on the same interface.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Lane {
    /// The interface's number.
    pub(crate) interface: u32,
    pub(crate) resources: Vec<Resource>,
    pub(crate) time: LaneTime,
}

/// When the flows of a lane are to have what they wait for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum LaneTime {
    /// From now on, all of them without an end, or each until its own.
    Now { is_endless: bool },
    /// In a window that has not begun.
    Later { start: Moment, end: Option<Moment> },
}

impl LaneTime {
    pub(crate) fn of(window: &Window, now: Moment) -> Self {
        match *window {
            Window { start, end } if start > now => Self::Later { start, end },
            Window { end, .. } => Self::Now { is_endless: end.is_none() },
        }
    }

    /// The start of a window that has not begun.
    pub(crate) const fn later_start(self) -> Option<Moment> {
        match self {
            Self::Later { start, .. } => Some(start),
            Self::Now { .. } => None,
        }
    }
}

/// The lanes of the flows that compete for the same on the same interface now, or in some later windows.
pub(crate) type LaneKind<'a> = (u32, &'a [Resource], bool);

impl Lane {
    pub(crate) fn kind(&self) -> LaneKind<'_> {
        (self.interface, &self.resources, self.time.later_start().is_some())
    }
}

/// The places of the flows that may be notified, in order: those of a lane until it is blocked.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The next place of each lane that is not blocked.
    heads: OrderedSet<u64>,
}

impl Walk {
    /// Before the first place.
    pub(crate) fn begin(queue: &WaitingQueue) -> Self {
        Self { heads: queue.lanes.values().filter_map(|places| places.first().copied()).collect() }
    }

    /// The next flow with its place. Without [`go_on`](Self::go_on) its lane is blocked.
    pub(crate) fn next<'a>(&mut self, queue: &'a WaitingQueue) -> Option<(u64, &'a WaitingRequest)> {
        let place = self.heads.pop_first()?;
        queue.queue.get(&place).map(|waiter| (place, waiter))
    }

    /// The lane of the flow at a place is not blocked: the flows behind it there may be notified as well.
    pub(crate) fn go_on(&mut self, queue: &WaitingQueue, place: u64) {
        let lane = queue.queue.get(&place).map(|waiter| &waiter.lane);
        let places = lane.and_then(|lane| queue.lanes.get(lane));
        let behind = places.and_then(|places| places.range(place + 1..).next());
        self.heads.extend(behind);
    }
}

impl WaitingRequest {
    /// When it loses its place: once it has been notified for long enough, and once its reservation would be over.
    fn due(&self) -> Option<Moment> {
        self.notified_until.into_iter().chain(self.request.end).min()
    }
}

impl WaitingOf {
    fn add(&mut self, request: &Request) {
        let count = |counts: &mut OrderedMap<String, usize>, name: &Option<String>| {
            if let Some(name) = name {
                *counts.entry(name.clone()).or_default() += 1;
            }
        };
        count(&mut self.clients, &request.client);
        count(&mut self.groups, &request.group);
    }

    fn remove(&mut self, request: &Request) {
        let discount = |counts: &mut OrderedMap<String, usize>, name: &Option<String>| {
            let Some(name) = name else { return };
            if let Some(count) = counts.get_mut(name) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(name);
                }
            }
        };
        discount(&mut self.clients, &request.client);
        discount(&mut self.groups, &request.group);
    }

    /// Whether a flow among them has its client or its group in common with a request.
    fn shares_limits_with(&self, request: &Request) -> bool {
        let is_among = |counts: &OrderedMap<String, usize>, name: &Option<String>| {
            name.as_ref().is_some_and(|name| counts.contains_key(name))
        };
        is_among(&self.clients, &request.client) || is_among(&self.groups, &request.group)
    }
}

impl WaitingQueue {
    /// When the next flow loses its place, or the next window begins for which a flow waits.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.due.first().into_iter().chain(self.beginnings.first()).map(|(at, _)| *at).min()
    }

    /// Removes the flows that have lost their places by then. Those whose windows have begun wait to begin now. Returns
    /// whether there were any.
    pub(crate) fn pass(&mut self, now: Moment) -> bool {
        let mut has_changed = false;
        while let Some((_, place)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.remove(place);
            has_changed = true;
        }
        while let Some((_, place)) = self.beginnings.first().copied().filter(|(at, _)| *at <= now) {
            if let Some(mut waiter) = self.remove(place) {
                waiter.lane.time = LaneTime::of(&waiter.request.window(now), now);
                self.insert(place, waiter);
            }
            has_changed = true;
        }
        has_changed
    }

    /// The flow at a place is notified, and loses the place at a moment unless it requests again.
    pub(crate) fn set_notified(&mut self, place: u64, until: Moment) {
        if let Some(mut waiter) = self.remove(place) {
            waiter.notified_until = Some(until);
            self.insert(place, waiter);
        }
    }

    fn insert(&mut self, place: u64, waiter: WaitingRequest) {
        self.due.extend(waiter.due().map(|at| (at, place)));
        self.beginnings.extend(waiter.lane.time.later_start().map(|at| (at, place)));
        self.notified += usize::from(waiter.notified_until.is_some());
        self.waiting_of.add(&waiter.request);
        self.places.insert(waiter.request.id.clone(), place);
        self.lanes.entry(waiter.lane.clone()).or_default().insert(place);
        self.queue.insert(place, waiter);
    }

    fn remove(&mut self, place: u64) -> Option<WaitingRequest> {
        let waiter = self.queue.remove(&place)?;
        self.places.remove(&waiter.request.id);
        if let Some(places) = self.lanes.get_mut(&waiter.lane) {
            places.remove(&place);
            if places.is_empty() {
                self.lanes.remove(&waiter.lane);
            }
        }
        if let Some(at) = waiter.due() {
            self.due.remove(&(at, place));
        }
        if let Some(at) = waiter.lane.time.later_start() {
            self.beginnings.remove(&(at, place));
        }
        self.notified -= usize::from(waiter.notified_until.is_some());
        self.waiting_of.remove(&waiter.request);
        Some(waiter)
    }

    /// Whether a flow waits.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    /// Whether an admitted flow shares the limits of its client or of its group with a flow that waits: one that these
    /// limits refuse delays no other any more.
    pub(crate) fn competes(&self, admitted: &Request) -> bool {
        self.waiting_of.shares_limits_with(admitted)
    }

    /// Whether a flow of a group waits.
    pub(crate) fn has_of_group(&self, group: &str) -> bool {
        self.waiting_of.groups.contains_key(group)
    }

    /// How many flows were notified, and have not requested again.
    pub(crate) const fn notified(&self) -> usize {
        self.notified
    }

    /// Whether a flow waits for just this in this lane, and was not notified.
    pub(crate) fn has_request(&self, request: &Request, lane: &Lane) -> bool {
        let waiter = self.places.get(&request.id).and_then(|place| self.queue.get(place));
        waiter.is_some_and(|waiter| {
            waiter.notified_until.is_none() && waiter.request == *request && waiter.lane == *lane
        })
    }

    /// Whether a flow was notified of just what it requests now. Where it gets that, the other flows can be notified of no
    /// more than before.
    pub(crate) fn was_notified_of(&self, request: &Request, now: Moment) -> bool {
        let waiter = self.places.get(&request.id).and_then(|place| self.queue.get(place));
        waiter.is_some_and(|waiter| {
            let time = LaneTime::of(&request.window(now), now);
            let Request { start, wait, .. } = waiter.request;
            let as_requested = Request { start, wait, ..request.clone() };
            waiter.notified_until.is_some() && time == waiter.lane.time && as_requested == waiter.request
        })
    }

    /// Adds a flow to the queue, or keeps it in its place. Returns whether it waits.
    pub(crate) fn join(&mut self, request: &Request, lane: Lane) -> bool {
        let waiter = WaitingRequest { request: request.clone(), lane, notified_until: None };
        if let Some(place) = self.places.get(&request.id).copied() {
            self.remove(place);
            self.insert(place, waiter);
            return true;
        }
        if self.queue.len() >= MOST_WAITING {
            return false;
        }
        self.insert(self.next, waiter);
        self.next += 1;
        true
    }

    /// Puts each flow in the lane that `lane_of` gives.
    pub(crate) fn relane(&mut self, mut lane_of: impl FnMut(&Request) -> Lane) {
        self.lanes.clear();
        self.beginnings.clear();
        for (place, waiter) in &mut self.queue {
            waiter.lane = lane_of(&waiter.request);
            self.beginnings.extend(waiter.lane.time.later_start().map(|at| (at, *place)));
            self.lanes.entry(waiter.lane.clone()).or_default().insert(*place);
        }
    }

    /// Asserts that the queue and its index agree, and that it is within its limit.
    pub(crate) fn invariants(&self) {
        assert!(self.queue.len() <= MOST_WAITING, "{} flows wait", self.queue.len());
        assert_eq!(self.queue.len(), self.places.len(), "the waiting queue and its index");
        for (place, waiter) in &self.queue {
            let id = &waiter.request.id;
            assert_eq!(self.places.get(id), Some(place), "{id}: its place in the waiting queue");
            assert!(*place < self.next, "{id}: its place is not given out");
        }
        let mut lanes: OrderedMap<Lane, OrderedSet<u64>> = OrderedMap::new();
        for (place, waiter) in &self.queue {
            lanes.entry(waiter.lane.clone()).or_default().insert(*place);
        }
        assert_eq!(self.lanes, lanes, "the places of the flows that compete for the same");
        let due = self.queue.iter().filter_map(|(place, waiter)| Some((waiter.due()?, *place)));
        assert_eq!(self.due, due.collect(), "when the flows that wait lose their places");
        let begin =
            self.queue.iter().filter_map(|(place, waiter)| Some((waiter.lane.time.later_start()?, *place)));
        assert_eq!(self.beginnings, begin.collect(), "when the windows begin for which flows wait");
        let notified = self.queue.values().filter(|waiter| waiter.notified_until.is_some());
        assert_eq!(self.notified, notified.count(), "the notified flows");
        let mut waiting_of = WaitingOf::default();
        self.queue.values().for_each(|waiter| waiting_of.add(&waiter.request));
        assert_eq!(self.waiting_of, waiting_of, "the clients and the groups of the flows that wait");
    }

    /// Removes a flow from the queue. Returns whether it waited.
    pub(crate) fn leave(&mut self, id: &str) -> bool {
        self.places.get(id).copied().is_some_and(|place| self.remove(place).is_some())
    }
}

#[cfg(test)]
mod tests {
    use flowspec::Qos;

    use super::*;
    use crate::admission::request::NewFlow;

    fn lane(interface: u32) -> Lane {
        Lane { interface, resources: vec![Resource::Flows], time: LaneTime::Now { is_endless: true } }
    }

    /// The places that a walk over the whole queue tries, passing over those of lanes that are blocked.
    fn tried_one_by_one(queue: &WaitingQueue, is_blocked_after: impl Fn(u64) -> bool) -> Vec<u64> {
        let (mut blocked, mut tried) = (OrderedSet::new(), Vec::new());
        for (place, waiter) in &queue.queue {
            if blocked.contains(&waiter.lane) {
                continue;
            }
            tried.push(*place);
            if is_blocked_after(*place) {
                blocked.insert(&waiter.lane);
            }
        }
        tried
    }

    fn tried(queue: &WaitingQueue, is_blocked_after: impl Fn(u64) -> bool) -> Vec<u64> {
        let (mut walk, mut tried) = (Walk::begin(queue), Vec::new());
        while let Some((place, _)) = walk.next(queue) {
            tried.push(place);
            if !is_blocked_after(place) {
                walk.go_on(queue, place);
            }
        }
        tried
    }

    proptest::proptest! {
        #[test]
        fn a_walk_tries_the_flows_that_a_walk_over_the_whole_queue_tries_in_the_same_order(
            changes in proptest::collection::vec((0_u8..40, 0_u32..5, 0_u8..4), 0..80),
            blocked in proptest::collection::vec(proptest::bool::weighted(0.3), 80),
        ) {
            let mut queue = WaitingQueue::default();
            for (id, interface, kind) in changes {
                let id = format!("f{id}");
                if kind == 0 {
                    queue.leave(&id);
                } else {
                    let request = Request::new(NewFlow { id: &id, interface: "eth0" }, Qos::BEST_EFFORT);
                    queue.join(&request, lane(interface));
                }
                queue.invariants();
            }
            let is_blocked_after = |place: u64| blocked[usize::try_from(place).unwrap_or(0)];
            proptest::prop_assert_eq!(tried(&queue, is_blocked_after), tried_one_by_one(&queue, is_blocked_after));
        }
    }

    /// Whether a waiting flow has its client or its group in common with a request, found by a walk over the queue.
    fn competes_one_by_one(queue: &WaitingQueue, admitted: &Request) -> bool {
        queue.queue.values().any(|WaitingRequest { request, .. }| {
            let of_client = request.client.is_some() && request.client == admitted.client;
            of_client || request.group.is_some() && request.group == admitted.group
        })
    }

    proptest::proptest! {
        #[test]
        fn a_flow_competes_with_the_waiting_flows_of_its_client_and_of_its_group(
            changes in proptest::collection::vec((0_u8..12, 0_u8..4, 0_u8..4, 0_u8..5, 0_u64..40), 0..60),
        ) {
            let mut queue = WaitingQueue::default();
            let name = |kind: &str, number: u8| (number > 0).then(|| format!("{kind}{number}"));
            let mut now = Moment::START;
            for (id, client, group, kind, time) in changes {
                let id = format!("f{id}");
                let request = Request {
                    client: name("c", client),
                    group: name("g", group),
                    ..Request::new(NewFlow { id: &id, interface: "eth0" }, Qos::BEST_EFFORT)
                };
                match kind {
                    0 => drop(queue.leave(&id)),
                    1 => {
                        now = now.saturating_add(Micros::new(time));
                        queue.pass(now);
                    }
                    2 => if let Some(place) = queue.places.get(&id).copied() {
                        queue.set_notified(place, now.saturating_add(Micros::new(time)));
                    },
                    _ => drop(queue.join(&request, lane(0))),
                }
                queue.invariants();
                for (client, group) in (0..4).flat_map(|client| (0..4).map(move |group| (client, group))) {
                    let admitted = Request { client: name("c", client), group: name("g", group), ..request.clone() };
                    proptest::prop_assert_eq!(queue.competes(&admitted), competes_one_by_one(&queue, &admitted));
                }
            }
        }
    }

    #[test]
    fn a_walk_ends_at_the_first_flow_that_keeps_its_place() {
        let mut queue = WaitingQueue::default();
        for number in 0..1000 {
            let id = format!("f{number}");
            let request = Request::new(NewFlow { id: &id, interface: "eth0" }, Qos::BEST_EFFORT);
            queue.join(&request, lane(number % 2));
        }
        assert_eq!(tried(&queue, |_| true), [0, 1]);
        assert_eq!(tried(&queue, |place| place != 1), [0, 1, 3]);
    }
}
