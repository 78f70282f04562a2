//! The flows that wait for capacity.

use gqos::admission::Request;

use crate::fit::Limit;
use crate::recount::Recount;

/// How long a notified flow may take to request again, in microseconds.
const GRACE: u64 = 5_000_000;

/// A flow that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    request: Request,
    /// Once it is notified: until when it may request again.
    until: Option<u64>,
}

impl Recount {
    /// A flow waits from now on, or keeps its place.
    pub(crate) fn wait(&mut self, request: &Request) {
        let waiter = Waiter { request: request.clone(), until: None };
        match self.waiting.iter_mut().find(|other| other.request.id == request.id) {
            Some(earlier) => *earlier = waiter,
            None => self.waiting.push(waiter),
        }
    }

    pub(crate) fn is_waiting(&self, id: &str) -> bool {
        self.waiting.iter().any(|waiter| waiter.request.id == id)
    }

    /// A flow waits no longer. Returns whether it did.
    pub(crate) fn leave(&mut self, id: &str) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiter| waiter.request.id != id);
        self.waiting.len() < before
    }

    /// Flows that have not requested in time, or whose reservations would be over, lose their places.
    pub(crate) fn end_waits(&mut self) {
        let now = self.now;
        let is_over = |waiter: &Waiter| {
            let ends = waiter.request.end.is_some_and(|end| end.as_micros() <= now);
            ends || waiter.until.is_some_and(|until| until <= now)
        };
        self.waiting.retain(|waiter| !is_over(waiter));
    }

    /// Notifies the flows that fit now, each beside what those before it were notified of; none that competes for what an
    /// earlier one lacks. What is notified of is not reserved.
    pub(crate) fn notify(&mut self) -> Vec<String> {
        let now = self.now;
        let mut notified = Vec::new();
        if self.waiting.is_empty() {
            return notified;
        }
        let mut tried = self.clone();
        tried.variant.preemption = false;
        let mut lacked = Vec::new();
        for waiter in &mut self.waiting {
            let request = Request { start: None, ..waiter.request.clone() };
            if tried.competes(&request, &lacked) {
                continue;
            }
            match tried.try_waiter(&request) {
                Ok(()) if waiter.until.is_none() => {
                    waiter.until = Some(now + GRACE);
                    notified.push(request.id);
                }
                Ok(()) => {}
                Err(refused) if refused.may_fit_later => lacked.extend(tried.lacks(&request)),
                Err(_) => {}
            }
        }
        notified
    }

    /// Whether a flow that waits takes some of what those before it lack. What a class above its share may use is less than
    /// what the others may use, and these do not compete for it.
    fn competes(&self, request: &Request, lacked: &[(usize, Limit)]) -> bool {
        self.demands(request).into_iter().any(|(link, limit)| {
            let is_lacked = |limit| lacked.contains(&(link, limit));
            is_lacked(limit.clone())
                || matches!(&limit, Limit::Share(class, direction)
                    if is_lacked(Limit::BelowThreshold(*direction)) && self.on(link).is_above_share(class, *direction))
        })
    }
}
