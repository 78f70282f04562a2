//! The counters and the last refusals, kept up to date with the engine's events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::Moment;

use crate::admission::{Reason, Refused};
use crate::engine::Events;
use crate::telemetry::{Counters, Event, Recorded};

/// What the events since the endpoint's start add up to.
#[derive(Debug, Default)]
pub(super) struct CountedEvents(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    counters: Counters,
    /// Events that the engine has dropped, and which the counters lack.
    dropped: u64,
    /// The last refusals, oldest first.
    refusals: VecDeque<CountedRefusal>,
}

#[derive(Clone, Debug)]
struct CountedRefusal {
    at: Moment,
    id: String,
    reason: Reason,
    refused: Box<Refused>,
}

/// A flow that was refused.
#[derive(Clone, Debug)]
pub(super) struct SeenRefusal {
    /// By the engine's clock.
    pub(super) at: Moment,
    pub(super) id: String,
    pub(super) reason: Reason,
    /// The sum that decided.
    pub(super) message: String,
}

/// How many refusals are kept.
const MOST_REFUSALS: usize = 30;

impl CountedEvents {
    /// Counts events until the engine ends.
    pub(super) async fn follow(counted: Arc<Self>, mut events: Events) {
        while let Some(first) = events.next().await {
            let mut sums = counted.sums();
            sums.record(first);
            while let Some(more) = events.try_next() {
                sums.record(more);
            }
            sums.dropped = events.dropped();
        }
    }

    /// The counters now, and how many events they lack.
    pub(super) fn now(&self) -> (Counters, u64) {
        let sums = self.sums();
        (sums.counters.clone(), sums.dropped)
    }

    /// The last refusals, oldest first.
    pub(super) fn refusals(&self) -> Vec<SeenRefusal> {
        let refusals = self.sums().refusals.clone();
        let seen = refusals.into_iter().map(|CountedRefusal { at, id, reason, refused }| SeenRefusal {
            at,
            id,
            reason,
            message: refused.to_string(),
        });
        seen.collect()
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        // The sums are whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn record(&mut self, Recorded { at, event }: Recorded) {
        self.counters.record(&event);
        if let Event::FlowRefused(refused) = event {
            if self.refusals.len() >= MOST_REFUSALS {
                self.refusals.pop_front();
            }
            let (id, reason, refused) = (refused.id, refused.reason, refused.refused);
            self.refusals.push_back(CountedRefusal { at, id, reason, refused });
        }
    }
}
