//! The counters, kept up to date with the engine's events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Events;
use crate::telemetry::Counters;

/// What the events since the endpoint's start add up to.
#[derive(Debug, Default)]
pub(super) struct CountedEvents(Mutex<Sums>);

/// The sums at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) counters: Counters,
    /// Events that the engine has dropped, and which the counters lack.
    pub(super) dropped: u64,
}

impl CountedEvents {
    /// Counts events until the engine ends.
    pub(super) async fn follow(counted: Arc<Self>, mut events: Events) {
        while let Some(first) = events.next().await {
            let mut sums = counted.sums();
            sums.counters.record(&first.event);
            while let Some(more) = events.try_next() {
                sums.counters.record(&more.event);
            }
            sums.dropped = events.dropped();
        }
    }

    /// The sums now.
    pub(super) fn now(&self) -> Sums {
        self.sums().clone()
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        // The sums are whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
