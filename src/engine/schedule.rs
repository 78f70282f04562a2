//! What is to be done again, and when: sooner at first, and less often the more often it is needed.

use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use crate::linux::LinkState;
use crate::ordered::{OrderedMap, OrderedSet};

/// What is compared and looked at next, and what the kernel has reported of links.
#[derive(Default)]
pub(super) struct Upkeep {
    /// Trees to be compared, by the number of the interface.
    pub(super) trees: Schedule<u32>,
    /// Ifbs to be compared, by the number of the interface.
    pub(super) receivers: Schedule<u32>,
    /// Interfaces to be looked at, by name.
    pub(super) looks: Schedule<String>,
    /// The look-up of the flows' routes.
    pub(super) routes: Schedule<()>,
    /// Links that carry nothing any more, by number: the flows that leave by others now go there before the rest is shed, after
    /// the next look-up of routes.
    pub(super) down: OrderedSet<u32>,
    /// The interfaces that are read while nothing else is asked of the kernel for them, by number.
    pub(super) beside: OrderedSet<u32>,
    /// The links as they were reported last, by number.
    pub(super) links: OrderedMap<u32, LinkState>,
}

/// What is due for each key.
pub(super) struct Schedule<K> {
    due: OrderedMap<K, Instant>,
    pauses: OrderedMap<K, Pause>,
}

/// The time between two occasions.
struct Pause {
    last: Instant,
    length: Duration,
}

/// The first pause. Each that follows within [`CALM`] is twice as long.
const FIRST: Duration = Duration::from_millis(20);

/// After this time without an occasion the pauses begin anew.
const CALM: Duration = Duration::from_secs(5);

impl Upkeep {
    pub(super) fn next(&self) -> Option<Instant> {
        let schedules = [self.trees.next(), self.receivers.next(), self.looks.next(), self.routes.next()];
        schedules.into_iter().flatten().min()
    }
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self { due: OrderedMap::new(), pauses: OrderedMap::new() }
    }
}

impl<K: Clone + Ord> Schedule<K> {
    /// Schedules a key after this time, and not before its pause is over, of which at most `most` counts. What is due
    /// earlier stays so.
    pub(super) fn add(&mut self, key: &K, after: Duration, most: Duration) {
        let mut at = clock::now() + after;
        if let Some(Pause { last, length }) = self.pauses.get(key) {
            at = at.max(*last + (*length).min(most));
        }
        let due = self.due.entry(key.clone()).or_insert_with(|| at);
        *due = at.min(*due);
    }

    /// It was needed now: the next pause is longer.
    pub(super) fn needed(&mut self, key: &K) {
        let now = clock::now();
        let pause = self.pauses.entry(key.clone()).or_insert_with(|| Pause { last: now, length: FIRST });
        pause.length = match now.duration_since(pause.last) > pause.length + CALM {
            true => FIRST,
            false => pause.length.saturating_mul(2).min(Duration::from_secs(60)),
        };
        pause.last = now;
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// Takes what is due.
    pub(super) fn take(&mut self) -> Vec<K> {
        let now = clock::now();
        let due: Vec<K> = self.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        self.due.retain(|_, at| *at > now);
        due
    }

    /// The key is of no use any more.
    pub(super) fn forget(&mut self, key: &K) {
        self.due.remove(key);
        self.pauses.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_as_long_as_they_are_needed() {
        let mut schedule = Schedule::default();
        let start = clock::now();
        let mut at = Vec::new();
        for _ in 0..4 {
            schedule.add(&1, Duration::ZERO, LONG);
            tokio::time::sleep_until(schedule.next().unwrap()).await;
            assert_eq!(schedule.take(), [1]);
            schedule.needed(&1);
            at.push(clock::now().duration_since(start).as_millis());
        }
        assert_eq!(at, [0, 40, 120, 280]);
        schedule.add(&1, Duration::ZERO, Duration::from_millis(10));
        schedule.add(&2, Duration::ZERO, LONG);
        assert_eq!(schedule.take(), [2], "another key has pauses of its own");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(schedule.take(), [1], "at most so much of the pause counts");
        tokio::time::sleep(Duration::from_secs(9)).await;
        schedule.needed(&1);
        schedule.add(&1, Duration::ZERO, LONG);
        tokio::time::sleep(FIRST).await;
        assert_eq!(schedule.take(), [1], "after a calm the pauses begin anew");
    }
}
