//! Those who were refused for lack of room, or got less than they asked for, and wait to be told of some.
//!
//! In the order in which they were refused: on an interface nobody is told before one who has waited longer
//! there, and nobody is told of room that one before him has been told of. To be told is not to be
//! promised: whoever asks first gets it. One who does not ask within [`GRACE`] has lost his place.

use std::collections::BTreeMap;

use flowspec::Micros;

use super::state::{Before, Ledger};
use crate::admission::request::Request;

/// How long one who was told may take to ask again.
pub const GRACE: Micros = Micros::new(5_000_000);

/// The most who may wait at once.
const MOST_WAITING: usize = 10_000;

/// Takes back what was only tried.
type Undo = Box<dyn FnOnce(&mut Ledger)>;

/// Who waits, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    queue: BTreeMap<u64, Waiter>,
    /// Where each stands.
    places: BTreeMap<String, u64>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Waiter {
    request: Request,
    /// When he was told, until when he may ask.
    told_until: Option<u64>,
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

    /// One waits no longer. Says whether he did.
    pub(crate) fn leave(&mut self, id: &str) -> bool {
        match self.places.remove(id) {
            None => false,
            Some(place) => self.queue.remove(&place).is_some(),
        }
    }
}

impl Ledger {
    /// Tells those who wait that their room is there: who is told now, in order.
    pub(crate) fn tell_waiting(&mut self) -> Vec<String> {
        if self.waiting.queue.is_empty() {
            return Vec::new();
        }
        let now = self.now;
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.queue.retain(|_, waiter| {
            let kept = waiter.told_until.is_none_or(|until| now < until);
            if !kept {
                waiting.places.remove(&waiter.request.id);
            }
            kept
        });
        let mut told = Vec::new();
        // What those before have been told of counts as taken while the others are looked at.
        let mut taken: Vec<Undo> = Vec::new();
        let mut full = std::collections::BTreeSet::new();
        for waiter in waiting.queue.values_mut() {
            if full.contains(&waiter.request.interface) {
                continue;
            }
            let request = Request { start: None, ..waiter.request.clone() };
            let tried = if self.flows.slot(&request.id).is_some() {
                let better = self.exchange(&request.id, request.qos.map(Some));
                better.map(|(_, before): (_, Before)| {
                    Box::new(move |ledger: &mut Ledger| ledger.restore(before)) as Undo
                })
            } else {
                let new = self.try_out(&request);
                new.map(|slot| {
                    Box::new(move |ledger: &mut Ledger| {
                        ledger.end(slot);
                    }) as Undo
                })
            };
            match tried {
                Ok(undo) => taken.push(undo),
                Err(refusal) => {
                    // One who lacks something else, or more than there is at all, is in nobody's way.
                    if refusal.may_pass() {
                        full.insert(request.interface);
                    }
                    continue;
                }
            }
            if waiter.told_until.is_none() {
                waiter.told_until = Some(now.saturating_add(GRACE.get()));
                told.push(request.id);
            }
        }
        for undo in taken.into_iter().rev() {
            undo(self);
        }
        self.waiting = waiting;
        told
    }
}
