//! The queue of flows that wait for capacity: they were refused for lack of it, or got a lower rendition.
//!
//! Flows are notified in the order in which they were refused: on an interface, no flow is notified before one that has
//! waited longer there, and none of capacity that an earlier flow was notified of. A notification reserves nothing: the
//! first request gets the capacity. A flow that does not request it again within [`GRACE`] loses its place.

use std::collections::BTreeMap;

use flowspec::{Micros, Moment};

use crate::admission::request::Request;

/// How long a notified flow may take to request again.
pub const GRACE: Micros = Micros::new(5_000_000);

/// The most flows that may wait at once.
const MOST_WAITING: usize = 10_000;

/// The flows that wait, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) queue: BTreeMap<u64, Waiter>,
    /// The place of each flow in the queue.
    pub(crate) places: BTreeMap<String, u64>,
    next: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) request: Request,
    /// Once it is notified: until when it may request again.
    pub(crate) notified_until: Option<Moment>,
}

impl Waiting {
    /// Adds a flow to the queue, or keeps it in its place. Returns whether it waits.
    pub(crate) fn join(&mut self, request: &Request) -> bool {
        let waiter = Waiter { request: request.clone(), notified_until: None };
        if let Some(place) = self.places.get(&request.id) {
            self.queue.insert(*place, waiter);
            return true;
        }
        if self.queue.len() >= MOST_WAITING {
            return false;
        }
        self.places.insert(request.id.clone(), self.next);
        self.queue.insert(self.next, waiter);
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
    }

    /// Removes a flow from the queue. Returns whether it waited.
    pub(crate) fn leave(&mut self, id: &str) -> bool {
        match self.places.remove(id) {
            None => false,
            Some(place) => self.queue.remove(&place).is_some(),
        }
    }
}
