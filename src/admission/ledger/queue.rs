//! The queue of flows that wait for capacity: they were refused for lack of it, or got a lower rendition.
//!
//! Flows are notified in the order in which they were refused: on an interface, no flow is notified before one that has
//! waited longer there, and none of capacity that an earlier flow was notified of. A notification reserves nothing: the
//! first request gets the capacity. A flow that does not request it again within [`GRACE`] loses its place, and so does
//! one whose reservation would be over.

use std::collections::{BTreeMap, BTreeSet};

use flowspec::{Micros, Moment};

use crate::admission::request::Request;

/// How long a notified flow may take to request again.
pub const GRACE: Micros = Micros::new(5_000_000);

/// The most flows that may wait at once.
const MOST_WAITING: usize = 10_000;

/// The flows that wait, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitingQueue {
    pub(crate) queue: BTreeMap<u64, WaitingRequest>,
    /// The place of each flow in the queue.
    places: BTreeMap<String, u64>,
    /// When flows lose their places, with the places.
    due: BTreeSet<(Moment, u64)>,
    next: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct WaitingRequest {
    pub(crate) request: Request,
    /// Once it is notified: until when it may request again.
    pub(crate) notified_until: Option<Moment>,
}

impl WaitingRequest {
    /// When it loses its place: once it has been notified for long enough, and once its reservation would be over.
    fn due(&self) -> Option<Moment> {
        self.notified_until.into_iter().chain(self.request.end).min()
    }
}

impl WaitingQueue {
    /// When the next flow loses its place.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Removes the flows that have lost their places by then. Returns whether there were any.
    pub(crate) fn pass(&mut self, now: Moment) -> bool {
        let mut lost = false;
        while let Some((_, place)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.remove(place);
            lost = true;
        }
        lost
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
        self.places.insert(waiter.request.id.clone(), place);
        self.queue.insert(place, waiter);
    }

    fn remove(&mut self, place: u64) -> Option<WaitingRequest> {
        let waiter = self.queue.remove(&place)?;
        self.places.remove(&waiter.request.id);
        if let Some(at) = waiter.due() {
            self.due.remove(&(at, place));
        }
        Some(waiter)
    }

    /// Whether a flow waits.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    /// Whether a flow was notified that has its client's limits or its group's in common with an admitted one.
    pub(crate) fn competes(&self, admitted: &Request) -> bool {
        let Request { client, group, .. } = admitted;
        let has_in_common = |WaitingRequest { request, notified_until }: &WaitingRequest| {
            let of_client = client.is_some() && request.client == *client;
            let of_group = group.is_some() && request.group == *group;
            notified_until.is_some() && (of_client || of_group)
        };
        (client.is_some() || group.is_some())
            && self.due.iter().any(|(_, place)| self.queue.get(place).is_some_and(has_in_common))
    }

    /// Adds a flow to the queue, or keeps it in its place. Returns whether it waits.
    pub(crate) fn join(&mut self, request: &Request) -> bool {
        let waiter = WaitingRequest { request: request.clone(), notified_until: None };
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

    /// Asserts that the queue and its index agree, and that it is within its limit.
    pub(crate) fn invariants(&self) {
        assert!(self.queue.len() <= MOST_WAITING, "{} flows wait", self.queue.len());
        assert_eq!(self.queue.len(), self.places.len(), "the waiting queue and its index");
        for (place, waiter) in &self.queue {
            let id = &waiter.request.id;
            assert_eq!(self.places.get(id), Some(place), "{id}: its place in the waiting queue");
            assert!(*place < self.next, "{id}: its place is not given out");
        }
        let due = self.queue.iter().filter_map(|(place, waiter)| Some((waiter.due()?, *place)));
        assert_eq!(self.due, due.collect(), "when the flows that wait lose their places");
    }

    /// Removes a flow from the queue. Returns whether it waited.
    pub(crate) fn leave(&mut self, id: &str) -> bool {
        self.places.get(id).copied().is_some_and(|place| self.remove(place).is_some())
    }
}
