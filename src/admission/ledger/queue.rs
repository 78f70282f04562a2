//! Those who were refused for lack of room, or got less than they asked for, and wait to be told of some.
//!
//! In the order in which they were refused: on an interface nobody is told before one who has waited longer
//! there, and nobody is told of room that one before him has been told of. To be told is not to be
//! promised: whoever asks first gets it. One who does not ask within [`GRACE`] has lost his place.

use std::collections::BTreeMap;

use flowspec::{Micros, Moment};

use crate::admission::request::Request;

/// How long one who was told may take to ask again.
pub const GRACE: Micros = Micros::new(5_000_000);

/// The most who may wait at once.
const MOST_WAITING: usize = 10_000;

/// Who waits, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) queue: BTreeMap<u64, Waiter>,
    /// Where each stands.
    pub(crate) places: BTreeMap<String, u64>,
    next: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) request: Request,
    /// When he was told, until when he may ask.
    pub(crate) told_until: Option<Moment>,
}

impl Waiting {
    /// One waits from now on, or goes on waiting in his place. Says whether there was a place.
    pub(crate) fn join(&mut self, request: &Request) -> bool {
        let waiter = Waiter { request: request.clone(), told_until: None };
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

    /// One waits no longer. Says whether he did.
    pub(crate) fn leave(&mut self, id: &str) -> bool {
        match self.places.remove(id) {
            None => false,
            Some(place) => self.queue.remove(&place).is_some(),
        }
    }
}
