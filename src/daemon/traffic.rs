//! What the kernel's classes have counted, from one reading to the next: rates, and times below the promise.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use flowspec::{Micros, Rate, Timestamp};

use crate::control::TrafficRecord;
use crate::engine::{ClassReport, InterfaceReport};

/// The classes of all interfaces as they were read last.
#[derive(Debug, Default)]
pub(super) struct MeasuredTraffic {
    /// By interface and class: as many as the kernel has.
    interfaces: BTreeMap<String, HashMap<String, ClassTraffic>>,
}

/// A class, by the last two readings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ClassTraffic {
    /// The flow that it carries; one of them where it carries several.
    flow: String,
    /// Its rate, link headers included.
    rate: Rate,
    at: Timestamp,
    sent_bytes: u64,
    delayed: u32,
    dropped: u32,
    queued: u32,
    /// What has passed since the reading before; `None` after the first one.
    lately: Option<Lately>,
    below: Duration,
    watched: Duration,
}

/// What a class did between two readings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Lately {
    sent: Rate,
    dropped: u32,
    /// Packets waited at both readings.
    is_queued: bool,
}

/// Whether a flow gets what its class is to carry, by what the kernel counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Promise {
    /// No packet was dropped, and none waited at both readings.
    Kept,
    /// Packets are dropped or wait, and it sends at its rate: it would send more than it has reserved.
    Exceeded,
    /// Packets are dropped or wait although it sends less than it has reserved.
    NotKept,
    /// The kernel counts nothing of it.
    Unknown,
}

/// The longest time between two readings whose promise is judged: over a longer one, a mean says little.
const MOST_INTERVAL: Duration = Duration::from_secs(60);

/// The part of its rate in percent that a class sends at least where its promise is kept: a reading may begin within a burst.
const KEPT_PERCENT: u128 = 95;

impl MeasuredTraffic {
    /// Takes another report, made at a time. Classes that it does not have are forgotten.
    pub(super) fn read(&mut self, reports: &[InterfaceReport], at: Timestamp) {
        let before = std::mem::take(&mut self.interfaces);
        for report in reports {
            let before = before.get(&report.interface);
            let classes = report.classes.iter().map(|class| {
                let before = before.and_then(|classes| classes.get(&class.class));
                (class.class.clone(), ClassTraffic::read(before, class, at))
            });
            self.interfaces.insert(report.interface.clone(), classes.collect());
        }
    }

    /// What a class of an interface did, as `tc` writes it.
    pub(super) fn of(&self, interface: &str, class: &str) -> Option<&ClassTraffic> {
        self.interfaces.get(interface)?.get(class)
    }
}

impl ClassTraffic {
    fn read(before: Option<&Self>, class: &ClassReport, at: Timestamp) -> Self {
        let now = Self {
            flow: class.flow.clone(),
            rate: class.rate,
            at,
            sent_bytes: class.sent_bytes,
            delayed: class.delayed,
            dropped: class.dropped,
            queued: class.queued,
            lately: None,
            below: Duration::ZERO,
            watched: Duration::ZERO,
        };
        // A class may become another flow's, and its counters begin anew then.
        let Some(before) = before.filter(|b| b.flow == now.flow && b.sent_bytes <= now.sent_bytes) else {
            return now;
        };
        let lately = Lately {
            sent: rate((before.at, before.sent_bytes), (at, now.sent_bytes)),
            dropped: now.dropped.wrapping_sub(before.dropped),
            is_queued: before.queued > 0 && now.queued > 0,
        };
        let passed = at.saturating_since(before.at);
        let now = Self { lately: Some(lately), below: before.below, watched: before.watched, ..now };
        if passed > MOST_INTERVAL {
            return now;
        }
        let below = if now.promise() == Promise::NotKept { passed } else { Duration::ZERO };
        Self {
            below: before.below.saturating_add(below),
            watched: before.watched.saturating_add(passed),
            ..now
        }
    }

    /// Whether it has sent what it is to carry, between the last two readings.
    pub(super) fn promise(&self) -> Promise {
        match self.lately {
            None => Promise::Unknown,
            Some(Lately { dropped: 0, is_queued: false, .. }) => Promise::Kept,
            Some(Lately { sent, .. })
                if u128::from(sent.get()) * 100 >= u128::from(self.rate.get()) * KEPT_PERCENT =>
            {
                Promise::Exceeded
            }
            Some(_) => Promise::NotKept,
        }
    }

    /// Packets that its queue has dropped between the last two readings.
    #[cfg(feature = "cli")]
    pub(super) fn dropped_lately(&self) -> u32 {
        self.lately.map_or(0, |lately| lately.dropped)
    }

    /// The record of this many flows that share it.
    pub(super) fn record(&self, flows: usize) -> TrafficRecord {
        TrafficRecord {
            flows,
            used: self.lately.map(|lately| lately.sent),
            delayed: self.delayed.into(),
            dropped: self.dropped.into(),
            below_promise_us: micros(self.below),
            watched_us: micros(self.watched),
        }
    }
}

/// Adds what other flows have sent to a sum.
pub(super) fn add(sum: &mut TrafficRecord, other: &TrafficRecord) {
    let TrafficRecord { flows, used, delayed, dropped, below_promise_us, watched_us } = *other;
    sum.flows = sum.flows.saturating_add(flows);
    sum.used = match (sum.used, used) {
        (Some(sum), Some(used)) => Some(Rate::new(sum.get().saturating_add(used.get()))),
        (sum, used) => sum.or(used),
    };
    sum.delayed = sum.delayed.saturating_add(delayed);
    sum.dropped = sum.dropped.saturating_add(dropped);
    sum.below_promise_us = Micros::new(sum.below_promise_us.get().saturating_add(below_promise_us.get()));
    sum.watched_us = Micros::new(sum.watched_us.get().saturating_add(watched_us.get()));
}

/// Rounded down: less is not claimed to have been watched than was.
fn micros(time: Duration) -> Micros {
    Micros::new(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// The mean rate between two readings, rounded down; a counter that has begun anew has carried nothing.
pub(super) fn rate((before, bytes_before): (Timestamp, u64), (now, bytes): (Timestamp, u64)) -> Rate {
    let nanos = u128::from(now.as_nanos().saturating_sub(before.as_nanos())).max(1);
    let bytes = u128::from(bytes.saturating_sub(bytes_before));
    Rate::new(u64::try_from(bytes * 1_000_000_000 / nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A class of 1000 bytes per second.
    fn class(flow: &str, sent_bytes: u64, dropped: u32, queued: u32) -> ClassReport {
        ClassReport {
            class: "6771:100".into(),
            flow: flow.into(),
            rate: Rate::new(1000),
            sent_bytes,
            dropped,
            delayed: dropped * 2,
            queued,
        }
    }

    /// Readings a second apart of what was sent, dropped and queued.
    #[track_caller]
    fn check(readings: &[(u64, u32, u32)], expected: Promise, below_s: u64) {
        let mut last = None;
        for (second, (sent, dropped, queued)) in (1_u64..).zip(readings) {
            let at = Timestamp::from_micros(second * 1_000_000);
            last = Some(ClassTraffic::read(last.as_ref(), &class("v", *sent, *dropped, *queued), at));
        }
        let last = last.unwrap();
        assert_eq!((last.promise(), last.below), (expected, Duration::from_secs(below_s)), "{readings:?}");
        assert_eq!(last.watched, Duration::from_secs(readings.len() as u64 - 1));
    }

    #[test]
    fn a_promise_is_judged_by_what_the_kernel_counts() {
        check(&[(500, 0, 0)], Promise::Unknown, 0);
        check(&[(500, 0, 0), (600, 0, 0)], Promise::Kept, 0);
        check(&[(500, 0, 0), (600, 0, 9)], Promise::Kept, 0);
        check(&[(0, 0, 9), (950, 0, 9)], Promise::Exceeded, 0);
        check(&[(0, 0, 9), (949, 0, 9)], Promise::NotKept, 1);
        check(&[(0, 0, 0), (950, 3, 0)], Promise::Exceeded, 0);
        check(&[(0, 0, 0), (949, 3, 0), (1000, 4, 0), (1900, 4, 0)], Promise::Kept, 2);
    }

    #[test]
    fn a_long_time_between_two_readings_is_not_judged() {
        let [first, later] = [1_u64, 62].map(|second| Timestamp::from_micros(second * 1_000_000));
        let before = ClassTraffic::read(None, &class("v", 0, 0, 5), first);
        let now = ClassTraffic::read(Some(&before), &class("v", 100, 1, 5), later);
        assert_eq!(
            (now.promise(), now.below, now.watched),
            (Promise::NotKept, Duration::ZERO, Duration::ZERO)
        );
    }

    #[test]
    fn the_next_flow_of_a_class_begins_anew() {
        let [first, later] = [1_u64, 2].map(|second| Timestamp::from_micros(second * 1_000_000));
        let before = ClassTraffic::read(None, &class("v", 5000, 9, 0), first);
        for next in [class("w", 6000, 9, 0), class("v", 10, 0, 0)] {
            let now = ClassTraffic::read(Some(&before), &next, later);
            assert_eq!((now.promise(), now.record(1).used), (Promise::Unknown, None));
        }
    }

    #[test]
    fn sums_have_the_rates_that_are_known() {
        let at = [1_u64, 2].map(|second| Timestamp::from_micros(second * 1_000_000));
        let first = ClassTraffic::read(None, &class("v", 0, 1, 0), at[0]);
        let second = ClassTraffic::read(Some(&first), &class("v", 700, 3, 0), at[1]);
        let mut sum = first.record(1);
        assert_eq!(sum.used, None);
        add(&mut sum, &second.record(2));
        let expected = TrafficRecord {
            flows: 3,
            used: Some(Rate::new(700)),
            delayed: 8,
            dropped: 4,
            below_promise_us: Micros::new(1_000_000),
            watched_us: Micros::new(1_000_000),
        };
        assert_eq!(sum, expected);
    }
}
