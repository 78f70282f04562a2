//! The times at which a stream releases data, where its plan has a period.
//!
//! Streams with one period release at whole milliseconds, so that one wake-up serves all that release then, and each
//! at its own offset in the period, so that streams that start together do not send together.

use std::sync::atomic::{AtomicU64, Ordering};

use flowspec::{Micros, Timestamp};

use crate::limiter::Due;

/// Releases of a stream are this far apart from those of another one, or at the same time.
const SLOT: Micros = Micros::new(5_000);

/// How many streams have had an offset: the next one's is as far as possible from those before.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// When a stream releases next.
#[derive(Debug, Default)]
pub(crate) struct Release {
    /// Where in its period the stream releases, in slots; `None` before its first wait.
    offset: Option<u64>,
    /// The stream waits for this time.
    next: Option<Timestamp>,
}

impl Release {
    /// When a stream may release: when `tokens` says so, and with a period, at the first of its times after that.
    ///
    /// A wait that has begun ends at the time that it began with.
    pub(crate) fn due(&mut self, now: Timestamp, period: Option<Micros>, tokens: Due) -> Due {
        let Some(period) = period else { return tokens };
        match (self.next, tokens) {
            (Some(next), _) if now < next => Due::At(next),
            (_, Due::At(at)) => {
                let next = self.first_from(at, period);
                self.next = Some(next);
                Due::At(next)
            }
            (_, tokens) => {
                self.next = None;
                tokens
            }
        }
    }

    /// The first time of a release that is not before `at`.
    fn first_from(&mut self, at: Timestamp, period: Micros) -> Timestamp {
        let slots = (period.get() / SLOT.get()).max(1);
        let offset = *self.offset.get_or_insert_with(|| spread(slots));
        let nanos = |micros: u64| micros.saturating_mul(1000);
        let (period, offset) = (nanos(period.get()), nanos(offset * SLOT.get()));
        // Rounded up: never before `at`.
        let periods = at.as_nanos().saturating_sub(offset).div_ceil(period);
        Timestamp::from_nanos(periods.saturating_mul(period).saturating_add(offset))
    }
}

/// The next of the slots of a period, as the van der Corput sequence has them: any number of streams one after
/// another is spread evenly.
fn spread(slots: u64) -> u64 {
    let reversed = STREAMS.fetch_add(1, Ordering::Relaxed).reverse_bits();
    // Rounded down: less than `slots`.
    let slot = (u128::from(reversed) * u128::from(slots)) >> 64;
    u64::try_from(slot).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Option<Micros> = Some(Micros::new(50_000));

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_nanos(micros * 1000)
    }

    #[test]
    fn releases_are_a_period_apart_however_late_each_is() {
        let mut release = Release::default();
        let Due::At(first) = release.due(at(0), PERIOD, Due::At(at(3_000))) else {
            panic!("tokens were missing")
        };
        assert_eq!(release.due(first, PERIOD, Due::Now), Due::Now);
        for (number, late) in [0, 900, 40_000, 1, 49_000].into_iter().enumerate() {
            let scheduled = first.as_nanos() + number as u64 * 50_000_000;
            let now = Timestamp::from_nanos(scheduled + late * 1000);
            let tokens = Timestamp::from_nanos(now.as_nanos() + 1000);
            let next = release.due(now, PERIOD, Due::At(tokens));
            assert_eq!(next, Due::At(Timestamp::from_nanos(scheduled + 50_000_000)), "{late} us late");
            let early = Timestamp::from_nanos(scheduled + 49_999_999);
            assert_eq!(release.due(early.max(now), PERIOD, Due::Now), next, "a wait that has begun is kept");
            let Due::At(next) = next else { panic!("it waits") };
            assert_eq!(release.due(next, PERIOD, Due::Now), Due::Now);
        }
    }

    #[test]
    fn without_a_period_tokens_alone_count() {
        let mut release = Release::default();
        for tokens in [Due::Now, Due::At(at(7)), Due::Never] {
            assert_eq!(release.due(at(5), None, tokens), tokens);
        }
    }

    #[test]
    fn streams_are_spread_over_the_slots_of_a_period() {
        let mut counts = [0_u32; 10];
        (0..1000).for_each(|_| counts[usize::try_from(spread(10)).expect("small")] += 1);
        assert!(counts.iter().all(|&count| (95..=105).contains(&count)), "{counts:?}");
    }
}
