//! The flows that wait for capacity.

use gqos::admission::Request;

use crate::FOREVER;
use crate::fit::Limit;
use crate::recount::Recount;

/// How long a notified flow may take to request again, in microseconds.
const GRACE: u64 = 5_000_000;

/// What an interface lacks for a flow that waits, with the start and the end of its window.
struct Lacked {
    link: usize,
    limit: Limit,
    window: (u64, u64),
}

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

    /// Notifies the flows that fit in their windows, each beside what those before it were notified of; none that competes
    /// with an earlier one for what that lacks, or is kept from by one before it, where their windows have a moment in
    /// common. What is notified of is not reserved.
    pub(crate) fn notify(&mut self) -> Vec<String> {
        let now = self.now;
        let mut notified = Vec::new();
        if self.waiting.is_empty() {
            return notified;
        }
        let mut tried = self.clone();
        tried.variant.preemption = false;
        let mut lacked = Vec::new();
        // Of the flows that wait for the same from now on, or for the same window, the first that stays counts.
        let mut stays = Vec::new();
        for waiter in &mut self.waiting {
            let request = &waiter.request;
            let window @ (start, end) = tried.window(request);
            let kind = (
                tried.demands(request),
                if start > now { (start, end) } else { (now, end.max(FOREVER - 1)) },
            );
            if stays.contains(&kind) {
                continue;
            }
            let of_flow = tried.competes_for(&kind.0, window, &lacked);
            if !of_flow.is_empty() {
                stays.push(kind);
                lacked.extend(of_flow.into_iter().map(|(link, limit)| Lacked { link, limit, window }));
                continue;
            }
            match tried.try_waiter(request) {
                Ok(()) if waiter.until.is_none() => {
                    waiter.until = Some(now + GRACE);
                    notified.push(request.id.clone());
                }
                Ok(()) => {}
                Err(refused) if refused.may_fit_later => {
                    let of_flow = tried.lacks(request);
                    stays.push(kind);
                    lacked.extend(of_flow.into_iter().map(|(link, limit)| Lacked { link, limit, window }));
                }
                Err(_) => {}
            }
        }
        notified
    }

    /// Which of the limits that a flow demands those before it lack. What a class above its share may use is less than what
    /// the others may use, and these do not compete for it.
    fn competes_for(
        &self,
        demands: &[(usize, Limit)],
        (start, end): (u64, u64),
        lacked: &[Lacked],
    ) -> Vec<(usize, Limit)> {
        let is_lacked = |link: usize, limit: &Limit| {
            let mut lacked = lacked.iter().filter(|lacked| lacked.link == link && lacked.limit == *limit);
            lacked.any(|Lacked { window, .. }| window.0 < end && start < window.1)
        };
        let competes = |(link, limit): &(usize, Limit)| match limit {
            limit if is_lacked(*link, limit) => Some((*link, limit.clone())),
            Limit::Share(class, direction) => {
                let threshold = Limit::BelowThreshold(*direction);
                let binds = is_lacked(*link, &threshold) && self.on(*link).is_above_share(class, *direction);
                binds.then_some((*link, threshold))
            }
            _ => None,
        };
        demands.iter().filter_map(competes).collect()
    }
}
