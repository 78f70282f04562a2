//! What the daemon counts of itself, for its status and its metrics: how long requests take, what was refused, and how
//! reloads went.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Timestamp;
use shaper::clock;

use crate::admission::Reason;
use crate::telemetry::metrics::LATENCY_BOUNDS;
#[cfg(feature = "cli")]
use crate::telemetry::metrics::{LatencyCounts, ReloadCounts};

/// What the daemon counts of itself.
#[derive(Debug, Default)]
pub(super) struct Observed {
    latency: Latency,
    reloads: Reloads,
    /// At most as many as there are reasons.
    refused: Mutex<BTreeMap<Reason, u64>>,
}

#[derive(Debug, Default)]
struct Latency {
    counts: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

#[derive(Debug, Default)]
struct Reloads {
    succeeded: AtomicU64,
    failed: AtomicU64,
    last_failed: AtomicBool,
}

impl Observed {
    /// Counts a request for a reservation that began at this time and is answered now.
    pub(super) fn answered(&self, began: Timestamp) {
        let took = clock::now().as_nanos().saturating_sub(began.as_nanos()).div_ceil(1000);
        let bucket = LATENCY_BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(LATENCY_BOUNDS.len());
        if let Some(count) = self.latency.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.latency.sum_us.fetch_add(took, Ordering::Relaxed);
    }

    /// How long requests took so far.
    #[cfg(feature = "cli")]
    pub(super) fn latency(&self) -> LatencyCounts {
        let mut counts = LatencyCounts::default();
        for (count, counted) in counts.counts.iter_mut().zip(&self.latency.counts) {
            *count = counted.load(Ordering::Relaxed);
        }
        counts.sum_us = self.latency.sum_us.load(Ordering::Relaxed);
        counts
    }

    /// Counts a request for a flow that was refused.
    pub(super) fn refused(&self, reason: Reason) {
        *self.refused_by_reason().entry(reason).or_default() += 1;
    }

    /// How many were refused so far.
    pub(super) fn refusals(&self) -> BTreeMap<Reason, u64> {
        self.refused_by_reason().clone()
    }

    fn refused_by_reason(&self) -> MutexGuard<'_, BTreeMap<Reason, u64>> {
        // The counts are whole between any two statements that can panic.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a reload.
    pub(super) fn reloaded(&self, succeeded: bool) {
        let count = if succeeded { &self.reloads.succeeded } else { &self.reloads.failed };
        count.fetch_add(1, Ordering::Relaxed);
        self.reloads.last_failed.store(!succeeded, Ordering::Relaxed);
    }

    /// How reloads went so far.
    #[cfg(feature = "cli")]
    pub(super) fn reloads(&self) -> ReloadCounts {
        let Reloads { succeeded, failed, last_failed } = &self.reloads;
        ReloadCounts {
            succeeded: succeeded.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            last_failed: last_failed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_by_how_long_they_took() {
        let observed = Observed::default();
        let began = clock::now();
        observed.answered(began);
        tokio::time::advance(Duration::from_micros(250)).await;
        observed.answered(began);
        tokio::time::advance(Duration::from_secs(2)).await;
        observed.answered(began);
        let LatencyCounts { counts, sum_us } = observed.latency();
        let last = counts.len() - 1;
        assert_eq!((counts[0], counts[1], counts[last]), (1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 3);
        assert!((2_000_500..2_000_510).contains(&sum_us), "{sum_us}");
    }

    #[test]
    fn the_last_reload_counts() {
        let observed = Observed::default();
        for succeeded in [true, false] {
            observed.reloaded(succeeded);
            assert_eq!(observed.reloads().last_failed, !succeeded);
        }
        assert_eq!(observed.reloads(), ReloadCounts { succeeded: 1, failed: 1, last_failed: true });
    }
}
