//! Both limiters against each other and against the definition, in virtual time.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use flowspec::{Bytes, Direction, Flowspec, Peak, Rate, TSpec};
use proptest::prelude::*;
use shaper::{Bucket, Deficit, Due, Framing, Governed, Limiter, Plan, Timestamp};

const SECOND: u64 = 1_000_000_000;
const UDP: Framing = Framing::Datagram { header: 28 };

fn plan(rate: u64, depth: u64, peak: Option<u64>) -> Plan {
    let mut spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(depth));
    spec.peak_bandwidth = peak.map(|peak| Peak::Finite(Rate::new(peak)));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    Plan::new(&tspec, UDP).unwrap()
}

/// A limiter whose sizes are plain numbers, and whose invariants hold after every call.
struct Checked(Box<dyn Limiter>);

impl Checked {
    fn due(&mut self, now: Timestamp, size: u64) -> Due {
        self.check(|limiter| limiter.due(now, Bytes::new(size)))
    }

    fn available(&mut self, now: Timestamp) -> u64 {
        self.check(|limiter| limiter.available(now)).get()
    }

    fn take(&mut self, now: Timestamp, size: u64) -> bool {
        self.check(|limiter| limiter.take(now, Bytes::new(size)))
    }

    fn refund(&mut self, now: Timestamp, size: u64) {
        self.check(|limiter| limiter.refund(now, Bytes::new(size)));
    }

    fn set_plan(&mut self, now: Timestamp, plan: &Plan) {
        self.check(|limiter| limiter.set_plan(now, plan));
    }

    fn deficit(&mut self, now: Timestamp) -> (u64, u64) {
        let Deficit { sustained, peak } = self.check(|limiter| limiter.deficit(now));
        (sustained.get(), peak.get())
    }

    fn withdraw(&mut self, now: Timestamp, sustained: u64, peak: u64) {
        let tokens = Deficit { sustained: Bytes::new(sustained), peak: Bytes::new(peak) };
        self.check(|limiter| limiter.withdraw(now, tokens));
    }

    fn check<T>(&mut self, call: impl FnOnce(&mut dyn Limiter) -> T) -> T {
        let answer = call(&mut *self.0);
        self.0.invariants();
        answer
    }
}

fn both(plan: &Plan) -> [Checked; 2] {
    let exact: Box<dyn Limiter> = Box::new(Bucket::new(plan, Timestamp::default()));
    let governed: Box<dyn Limiter> = Box::new(Governed::new(plan, Timestamp::default()).unwrap());
    [exact, governed].map(Checked)
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

#[test]
fn a_bucket_starts_full_and_never_holds_more() {
    for mut limiter in both(&plan(1000, 3000, None)) {
        assert_eq!(limiter.available(at(0)), 3000);
        assert_eq!(limiter.available(at(100 * SECOND)), 3000);
        assert!(limiter.take(at(100 * SECOND), 3000));
        assert!(!limiter.take(at(100 * SECOND), 1));
        assert_eq!(limiter.due(at(100 * SECOND), 3001), Due::Never);
        assert!(limiter.take(at(100 * SECOND), 0), "a packet of no bytes always conforms");
    }
}

#[test]
fn tokens_that_are_withdrawn_are_missing_until_they_are_refilled() {
    for mut limiter in both(&plan(1000, 3000, Some(2000))) {
        assert_eq!(limiter.deficit(at(0)), (0, 0));
        limiter.withdraw(at(0), 2500, 100);
        assert_eq!((limiter.available(at(0)), limiter.deficit(at(0))), (500, (2500, 100)));
        limiter.withdraw(at(0), 700, 0);
        assert_eq!(limiter.deficit(at(0)), (3000, 100), "no more than there are");
        assert_eq!(limiter.deficit(at(SECOND)), (2000, 0));
    }
}

#[test]
fn a_packet_is_due_at_the_first_nanosecond_with_enough_tokens() {
    for mut limiter in both(&plan(3, 1500, None)) {
        assert!(limiter.take(at(0), 1500));
        // One byte at three a second: a third of a second, rounded up.
        assert_eq!(limiter.due(at(0), 1), Due::At(at(333_333_334)));
        assert!(!limiter.take(at(333_333_333), 1));
        assert!(limiter.take(at(333_333_334), 1));
        assert_eq!(limiter.due(at(333_333_334), 2), Due::At(at(SECOND)));
    }
}

#[test]
fn a_wait_is_never_zero() {
    for mut limiter in both(&plan(40_000_000_000, 1500, None)) {
        assert!(limiter.take(at(5), 1500));
        assert_eq!(limiter.due(at(5), 1), Due::At(at(6)), "less than a nanosecond is rounded up to one");
    }
}

#[test]
fn a_packet_takes_from_both_buckets_or_from_none() {
    // b = 3000 at 1 kB/s, M = 1500 at 2 kB/s (and two milliseconds of it: 4 bytes).
    for mut limiter in both(&plan(1000, 3000, Some(2000))) {
        assert!(limiter.take(at(0), 1504));
        assert!(!limiter.take(at(0), 1), "the peak bucket is empty");
        assert_eq!(limiter.due(at(0), 1000), Due::At(at(SECOND / 2)), "the peak bucket takes longer");
        assert!(limiter.take(at(SECOND), 1504));
        // 3000 - 1504 + 1000 - 1504 = 992 left of b.
        assert_eq!(limiter.available(at(SECOND)), 0);
        assert_eq!(limiter.due(at(SECOND), 1200), Due::At(at(SECOND + SECOND * 6 / 10)));
        assert_eq!(limiter.available(at(SECOND + SECOND / 2)), 1000);
    }
}

#[test]
fn a_refund_undoes_a_take() {
    for mut limiter in both(&plan(1000, 3000, Some(2000))) {
        assert!(limiter.take(at(0), 1000));
        limiter.refund(at(0), 400);
        assert_eq!(limiter.available(at(0)), 904);
        limiter.refund(at(0), 1_000_000);
        assert_eq!(limiter.available(at(0)), 1504, "never above the depth");
    }
}

#[test]
fn a_new_plan_keeps_the_tokens_and_adds_none() {
    for mut limiter in both(&plan(1_000_000, 10_000, None)) {
        assert!(limiter.take(at(0), 9_000));
        limiter.set_plan(at(0), &plan(7_000_000, 20_000, None));
        assert_eq!(limiter.available(at(0)), 1_000);
        assert_eq!(limiter.available(at(SECOND / 1000)), 8_000, "a millisecond at the new rate");
        limiter.set_plan(at(SECOND / 1000), &plan(300_000, 2_000, None));
        assert_eq!(limiter.available(at(SECOND / 1000)), 2_000, "at most the new depth");
        assert!(limiter.take(at(SECOND / 1000), 2_000));
        assert_eq!(limiter.available(at(2 * SECOND / 1000)), 300);
    }
}

#[test]
fn time_that_runs_backwards_adds_no_tokens() {
    for mut limiter in both(&plan(1000, 1500, None)) {
        assert!(limiter.take(at(SECOND), 1500));
        assert_eq!(limiter.available(at(0)), 0);
        assert_eq!(limiter.available(at(SECOND)), 0);
        assert_eq!(limiter.available(at(2 * SECOND)), 1000);
    }
}

#[test]
fn the_rate_is_exact_at_any_speed() {
    // The rates at which a nanosecond clock makes governor wrong by up to 67 %.
    for rate in [1, 3_000_000, 30_000_000, 300_000_000, 600_000_000, 1_250_000_000, 10_000_000_000] {
        let plan = plan(rate, 1 << 30, None);
        for mut limiter in both(&plan) {
            assert!(limiter.take(at(0), 1 << 30));
            let mut passed = 0;
            for step in 1..=100 {
                let now = at(step * SECOND / 100);
                let available = limiter.available(now);
                assert!(limiter.take(now, available));
                passed += available;
            }
            assert_eq!(passed, rate, "{rate} B/s over a second");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Take(u64),
    Refund(u64),
    SetPlan { rate: u64, depth: u64, extra: Option<u64> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (1u64..2_000_000_000, 1500u64..100_000, prop::option::of(0u64..1_000_000_000));
    let step = prop_oneof![
        8 => (0u64..5_000_000).prop_map(Step::Wait),
        8 => (0u64..4000).prop_map(Step::Take),
        4 => (0u64..500).prop_map(Step::Refund),
        1 => change.prop_map(|(rate, depth, extra)| Step::SetPlan { rate, depth, extra }),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    /// governor with the byte clock is the exact bucket, to within the fraction of a byte that the exact bucket drops
    /// when it is full. Each change of plan may drop another fraction.
    #[test]
    fn governor_agrees_with_the_exact_bucket_to_a_byte(
        rate in 1u64..2_000_000_000, depth in 1500u64..100_000, peak in prop::option::of(0u64..1_000_000_000), steps in steps()
    ) {
        let first = plan(rate, depth, peak.map(|extra| rate + extra));
        let [mut exact, mut governed] = both(&first);
        let (mut now, mut tolerance) = (0, 1);
        for step in steps {
            match step {
                Step::Wait(nanos) => now += nanos,
                Step::Take(size) => {
                    let size = size.min(exact.available(at(now))).min(governed.available(at(now)));
                    prop_assert!(exact.take(at(now), size) && governed.take(at(now), size));
                }
                Step::Refund(size) => {
                    exact.refund(at(now), size);
                    governed.refund(at(now), size);
                }
                Step::SetPlan { rate, depth, extra } => {
                    let changed = plan(rate, depth, extra.map(|extra| rate + extra));
                    exact.set_plan(at(now), &changed);
                    governed.set_plan(at(now), &changed);
                    tolerance += 1;
                }
            }
            let (a, b) = (exact.available(at(now)), governed.available(at(now)));
            prop_assert!(a.abs_diff(b) <= tolerance, "exact {a}, governor {b} at {now} ns");
        }
    }

    /// Over every window of time, the bytes that pass are within both curves: the definition, by brute force.
    #[test]
    fn every_window_of_time_conforms(
        rate in 1u64..10_000_000, depth in 1500u64..20_000, extra in 0u64..10_000_000, wanted in prop::collection::vec((0u64..3_000_000, 1u64..1500), 1..60)
    ) {
        let plan = plan(rate, depth, Some(rate + extra));
        let peak = plan.peak.unwrap();
        for mut limiter in both(&plan) {
            let mut now = 0;
            let mut sent: Vec<(u64, u64)> = Vec::new();
            for &(pause, size) in &wanted {
                now += pause;
                if let Due::At(due) = limiter.due(at(now), size) {
                    prop_assert!(due > at(now));
                    now = due.as_nanos();
                }
                prop_assert!(limiter.take(at(now), size), "a packet that is due may leave");
                sent.push((now, size));
            }
            for (first, &(start, _)) in sent.iter().enumerate() {
                let mut total = 0u128;
                for &(end, size) in &sent[first..] {
                    total += u128::from(size);
                    let scaled = |rate: u64| u128::from(rate) * u128::from(end - start) / u128::from(SECOND) + 1;
                    prop_assert!(total <= u128::from(depth) + scaled(rate));
                    prop_assert!(total <= u128::from(peak.depth.get()) + scaled(peak.rate.get()));
                }
            }
        }
    }
}
