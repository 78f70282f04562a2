//! Notifies flows that wait once there is enough capacity for them.

use super::queue::GRACE;
use super::renegotiation::PreviousReservation;
use super::state::Ledger;
use crate::admission::request::Request;

/// Unbooks what was only tried.
type Undo = Box<dyn FnOnce(&mut Ledger)>;

impl Ledger {
    /// Notifies the flows that wait and fit now, in order, and gives them.
    pub(crate) fn notify_waiting(&mut self) -> Vec<String> {
        if self.waiting.queue.is_empty() {
            return Vec::new();
        }
        let now = self.now;
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.queue.retain(|_, waiter| {
            let kept = waiter.notified_until.is_none_or(|until| now < until);
            if !kept {
                waiting.places.remove(&waiter.request.id);
            }
            kept
        });
        let mut notified = Vec::new();
        // What earlier flows are notified of counts as taken while the later ones are tried.
        let mut taken: Vec<Undo> = Vec::new();
        let mut full = std::collections::BTreeSet::new();
        for waiter in waiting.queue.values_mut() {
            if full.contains(&waiter.request.interface) {
                continue;
            }
            let request = Request { start: None, ..waiter.request.clone() };
            let tried = if self.flows.slot(&request.id).is_some() {
                let better = self.exchange(&request.id, request.qos.map(Some));
                better.map(|(_, before): (_, PreviousReservation)| {
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
                    // A flow that lacks something else, or more than the whole budget, does not block the others.
                    if refusal.may_fit_later() {
                        full.insert(request.interface);
                    }
                    continue;
                }
            }
            if waiter.notified_until.is_none() {
                waiter.notified_until = Some(now.saturating_add(GRACE));
                notified.push(request.id);
            }
        }
        for undo in taken.into_iter().rev() {
            undo(self);
        }
        self.waiting = waiting;
        notified
    }
}
