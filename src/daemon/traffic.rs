//! What the kernel's classes have counted, from one reading to the next: rates, and times below the promise.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use flowspec::{Bytes, Micros, Rate, Timestamp};

use super::traffic_sums::TrafficSums;
use crate::control::TrafficRecord;
use crate::engine::{ClassReport, InterfaceReport, SentOfReserved};
use crate::telemetry::metrics::TrafficCounts;

/// The classes of all interfaces as they were read last.
#[derive(Debug, Default)]
pub(super) struct MeasuredTraffic {
    /// By interface and class: as many as the kernel has.
    interfaces: BTreeMap<String, HashMap<String, ClassTraffic>>,
    /// What they have counted so far, those that are gone included.
    sums: TrafficSums,
}

/// A class, by the last two readings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ClassTraffic {
    /// The flow that it carries, or the group whose members share it; one of them where it carries several.
    flow: String,
    is_group: bool,
    at: Timestamp,
    reserved: Option<SentOfReserved>,
    sent_bytes: u64,
    delayed: u32,
    dropped: u32,
    queued: u32,
    /// What a packet that waits has on average, rounded up.
    packet: u64,
    /// What has passed since the reading before; `None` after the first one.
    lately: Option<Lately>,
    /// When packets began to wait, and what had been sent then: since the last judgement.
    waiting: Option<(Timestamp, Bytes)>,
    promise: Promise,
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
    /// No packet was dropped, and none waited at both readings; or they have not waited for long enough to tell.
    Kept,
    /// Packets are dropped or wait, and it sends what it has reserved: it would send more.
    Exceeded,
    /// Packets are dropped or wait although it sends less than it has reserved.
    NotKept,
    /// The kernel counts nothing of it.
    Unknown,
}

/// The longest time between two readings whose promise is judged: over a longer one, a mean says little.
const MOST_INTERVAL: Duration = Duration::from_secs(60);

/// The part of its rate in percent that a class sends at least where its promise is kept.
const KEPT_PERCENT: u128 = 95;

/// A promise is judged over the time of at least so many packets: a packet is counted as a whole once it has left.
const JUDGED_PACKETS: u64 = 4;

impl MeasuredTraffic {
    /// Takes another report, made at a time. Classes that it does not have are forgotten.
    pub(super) fn read(&mut self, reports: &[InterfaceReport], at: Timestamp) {
        let before = std::mem::take(&mut self.interfaces);
        self.sums.begin();
        for report in reports {
            let before = before.get(&report.interface);
            let sums = &mut self.sums;
            let classes = report.classes.iter().map(|class| {
                let before = before.and_then(|classes| classes.get(&class.class));
                let now = ClassTraffic::read(before, class, at);
                if class.reserved.is_some() {
                    sums.add((&report.interface, class), &now.counted_since(before));
                }
                (class.class.clone(), now)
            });
            self.interfaces.insert(report.interface.clone(), classes.collect());
        }
        self.sums.bound();
    }

    /// What the classes have counted so far.
    #[cfg(feature = "cli")]
    pub(super) const fn sums(&self) -> &TrafficSums {
        &self.sums
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
            is_group: class.is_group,
            at,
            reserved: class.reserved,
            sent_bytes: class.sent_bytes,
            delayed: class.delayed,
            dropped: class.dropped,
            queued: class.queued,
            packet: u64::from(class.queued_bytes).div_ceil(u64::from(class.queued.max(1))),
            lately: None,
            waiting: None,
            promise: Promise::Unknown,
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
        Self { watched: before.watched.saturating_add(passed), ..now }.judged(before, lately)
    }

    /// With what the last two readings say of its promise.
    fn judged(self, before: &Self, lately: Lately) -> Self {
        let (Some(SentOfReserved { rate, sent }), Some(then)) = (self.reserved, before.reserved) else {
            return self;
        };
        if !lately.is_queued && lately.dropped == 0 {
            return Self { promise: Promise::Kept, ..self };
        }
        let (began, sent_before) = before.waiting.unwrap_or((before.at, then.sent));
        let passed = self.at.saturating_since(began);
        let packet = self.packet.max(before.packet);
        // Rounded down.
        let due = u128::from(rate.get()).saturating_mul(passed.as_nanos()) / 1_000_000_000;
        if due < u128::from(packet.saturating_mul(JUDGED_PACKETS)) {
            let promise = if before.promise == Promise::Unknown { Promise::Kept } else { before.promise };
            return Self { waiting: Some((began, sent_before)), promise, ..self };
        }
        // A part of one packet may have been sent, and is not counted.
        let got = u128::from(sent.saturating_sub(sent_before).get().saturating_add(packet));
        let waiting = Some((self.at, sent));
        match got.saturating_mul(100) >= due.saturating_mul(KEPT_PERCENT) {
            true => Self { waiting, promise: Promise::Exceeded, ..self },
            false => {
                Self { waiting, promise: Promise::NotKept, below: self.below.saturating_add(passed), ..self }
            }
        }
    }

    /// What was counted since the reading before. A counter that has fallen has begun anew.
    fn counted_since(&self, before: Option<&Self>) -> TrafficCounts {
        let since = |now: u32, then: fn(&Self) -> u32| {
            let then = before.map_or(0, then);
            u64::from(now.checked_sub(then).unwrap_or(now))
        };
        let time = |now: Duration, then: fn(&Self) -> Duration| {
            let then = before.map_or(Duration::ZERO, then);
            micros(now.checked_sub(then).unwrap_or(now)).get()
        };
        TrafficCounts {
            used: self.lately.map_or(Rate::ZERO, |lately| lately.sent),
            delayed: since(self.delayed, |before| before.delayed),
            dropped: since(self.dropped, |before| before.dropped),
            below_promise_us: time(self.below, |before| before.below),
            watched_us: time(self.watched, |before| before.watched),
            not_kept: u64::from(self.promise == Promise::NotKept),
        }
    }

    /// Whether the members of a group share it, also while the group has one.
    pub(super) const fn is_of_a_group(&self) -> bool {
        self.is_group
    }

    /// Whether it sends what it is to carry.
    #[cfg(any(test, feature = "cli"))]
    pub(super) const fn promise(&self) -> Promise {
        self.promise
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

    /// A class for 1000 bytes per second, whose packets have 100.
    fn class(flow: &str, sent: u64, dropped: u32, queued: u32) -> ClassReport {
        ClassReport {
            class: "6771:100".into(),
            flow: flow.into(),
            is_group: false,
            group: None,
            policy_class: None,
            rate: Rate::new(1200),
            sent_bytes: sent,
            dropped,
            delayed: dropped * 2,
            queued,
            queued_bytes: queued * 100,
            reserved: Some(SentOfReserved { rate: Rate::new(1000), sent: Bytes::new(sent) }),
        }
    }

    /// Readings a second apart.
    fn read(readings: impl IntoIterator<Item = ClassReport>) -> ClassTraffic {
        let mut last = None;
        for (second, reading) in (1_u64..).zip(readings) {
            let at = Timestamp::from_micros(second * 1_000_000);
            last = Some(ClassTraffic::read(last.as_ref(), &reading, at));
        }
        last.unwrap()
    }

    /// Readings a second apart of what was sent, dropped and queued.
    #[track_caller]
    fn check(readings: &[(u64, u32, u32)], expected: Promise, below_s: u64) {
        let last = read(readings.iter().map(|(sent, dropped, queued)| class("v", *sent, *dropped, *queued)));
        assert_eq!((last.promise(), last.below), (expected, Duration::from_secs(below_s)), "{readings:?}");
        assert_eq!(last.watched, Duration::from_secs(readings.len() as u64 - 1));
    }

    #[test]
    fn a_promise_is_judged_by_what_the_kernel_counts() {
        check(&[(500, 0, 0)], Promise::Unknown, 0);
        check(&[(500, 0, 0), (600, 0, 0)], Promise::Kept, 0);
        check(&[(500, 0, 0), (600, 0, 9)], Promise::Kept, 0);
        check(&[(0, 0, 9), (850, 0, 9)], Promise::Exceeded, 0);
        check(&[(0, 0, 9), (849, 0, 9)], Promise::NotKept, 1);
        check(&[(0, 0, 9), (849, 0, 9), (1849, 0, 9)], Promise::Exceeded, 1);
        check(&[(0, 0, 0), (950, 3, 0)], Promise::Exceeded, 0);
        check(&[(0, 0, 0), (949, 3, 0), (1000, 4, 0), (1900, 4, 0)], Promise::Kept, 2);
    }

    #[test]
    fn large_packets_are_judged_over_the_time_of_several() {
        // A second of the rate is one and a half of them, so that a reading has one or two.
        let reading = |packets: u64| ClassReport {
            queued_bytes: 2 * 68_130,
            reserved: Some(SentOfReserved { rate: Rate::new(100_000), sent: Bytes::new(packets * 68_130) }),
            ..class("v", packets * 68_130, 0, 2)
        };
        let at_its_rate = [0, 1, 2, 4, 5, 7, 8, 10, 11, 13];
        let last = read(at_its_rate.map(reading));
        assert_eq!((last.promise(), last.below), (Promise::Exceeded, Duration::ZERO));
        let at_half_of_it = [0, 1, 1, 2, 3, 4, 4, 5, 6, 7];
        let last = read(at_half_of_it.map(reading));
        assert_eq!((last.promise(), last.below), (Promise::NotKept, Duration::from_secs(9)));
    }

    #[test]
    fn what_is_not_known_to_be_reserved_is_not_judged() {
        let reading = |sent| ClassReport { reserved: None, ..class("v", sent, 0, 9) };
        let last = read([0, 1, 2].map(reading));
        assert_eq!((last.promise(), last.below), (Promise::Unknown, Duration::ZERO));
    }

    #[test]
    fn a_long_time_between_two_readings_is_not_judged() {
        let [first, later] = [1_u64, 62].map(|second| Timestamp::from_micros(second * 1_000_000));
        let before = ClassTraffic::read(None, &class("v", 0, 0, 5), first);
        let now = ClassTraffic::read(Some(&before), &class("v", 100, 1, 5), later);
        assert_eq!(
            (now.promise(), now.below, now.watched),
            (Promise::Unknown, Duration::ZERO, Duration::ZERO)
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
