//! The timing wheel against a sorted map, in virtual time.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use shaper::Timestamp;
use shaper::wheel::{SLOTS, Wheel};

const WIDTH: u64 = 62_500;
const TURN: u64 = WIDTH * SLOTS as u64;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn wheel(now: u64) -> Wheel {
    Wheel::new(Duration::from_nanos(WIDTH), at(now))
}

/// The keys that are due, in the order in which the wheel returns them.
fn due(wheel: &mut Wheel, now: u64) -> Vec<u32> {
    let keys = std::iter::from_fn(|| wheel.pop(at(now))).collect();
    wheel.invariants();
    keys
}

#[derive(Clone, Debug)]
enum Step {
    Set {
        key: u32,
        after: u64,
    },
    Cancel {
        key: u32,
    },
    Pass {
        time: u64,
    },
    /// Up to the time that the wheel gives.
    PassToNext,
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![0..4 * WIDTH, 0..TURN, 0..5 * TURN, Just(0), Just(TURN), Just(TURN - 1), Just(TURN + 1)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u32, time()).prop_map(|(key, after)| Step::Set { key, after }),
        2 => (0..40_u32).prop_map(|key| Step::Cancel { key }),
        2 => time().prop_map(|time| Step::Pass { time }),
        2 => Just(Step::PassToNext),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn the_wheel_returns_what_a_sorted_map_does(start in 0..10 * TURN, steps in prop::collection::vec(step(), 1..80)) {
        let (mut wheel, mut now) = (wheel(start), start);
        // By key, the step at which it is due, and the order in which it was set.
        let mut model: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
        for (order, step) in steps.into_iter().enumerate() {
            match step {
                Step::Set { key, after } => {
                    wheel.set(key, at(now + after));
                    model.insert(key, ((now + after).div_ceil(WIDTH), order));
                }
                Step::Cancel { key } => prop_assert_eq!(wheel.cancel(key), model.remove(&key).is_some()),
                Step::Pass { time } => now += time,
                Step::PassToNext => {
                    now = wheel.next_due().map_or(now, |next| next.as_nanos().max(now));
                }
            }
            wheel.invariants();
            let first = model.values().map(|(step, _)| step * WIDTH).min();
            let next = wheel.next_due().map(Timestamp::as_nanos);
            prop_assert_eq!(next.is_some(), first.is_some());
            prop_assert!(next <= first, "{:?} is after {:?}", next, first);
            let found = due(&mut wheel, now);
            let mut expected: Vec<_> =
                model.iter().filter(|(_, (step, _))| step * WIDTH <= now).map(|(key, (step, _))| (*step, *key)).collect();
            let steps: Vec<_> = found.iter().map(|key| model[key].0).collect();
            prop_assert!(steps.is_sorted(), "{:?}", steps);
            let mut returned: Vec<_> = found.iter().map(|key| (model[key].0, *key)).collect();
            returned.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(returned, expected);
            model.retain(|key, _| !found.contains(key));
            prop_assert_eq!(wheel.len(), model.len());
        }
    }

    #[test]
    fn waiting_until_the_next_time_finds_every_timer_within_a_step(times in prop::collection::vec(time(), 1..100)) {
        let mut wheel = wheel(0);
        for (key, time) in (0..).zip(&times) {
            wheel.set(key, at(*time));
        }
        let (mut left, mut wakes) = (times.len(), 0);
        while let Some(next) = wheel.next_due() {
            wakes += 1;
            for key in due(&mut wheel, next.as_nanos()) {
                let wanted = times[key as usize];
                prop_assert!((wanted..wanted + WIDTH).contains(&next.as_nanos()), "{wanted}: {next:?}");
                left -= 1;
            }
        }
        prop_assert_eq!(left, 0);
        prop_assert!(wakes <= times.len(), "{} wakes for {} timers", wakes, times.len());
    }
}

#[test]
fn timers_of_one_step_are_returned_in_the_order_in_which_they_were_set() {
    let mut wheel = wheel(0);
    for key in [7, 3, 9, 1] {
        wheel.set(key, at(WIDTH - u64::from(key)));
    }
    wheel.set(3, at(WIDTH));
    assert_eq!(due(&mut wheel, WIDTH - 1), []);
    assert_eq!(due(&mut wheel, WIDTH), [7, 9, 1, 3]);
}

#[test]
fn a_timer_in_the_past_is_due_at_once() {
    let mut wheel = wheel(10 * TURN);
    wheel.set(0, at(3));
    assert_eq!(wheel.next_due(), Some(at(10 * TURN)));
    assert_eq!(due(&mut wheel, 10 * TURN), [0]);
}

#[test]
fn a_clock_that_stands_or_goes_back_returns_nothing_early() {
    let mut wheel = wheel(TURN);
    wheel.set(0, at(TURN + WIDTH));
    for now in [TURN, 0, TURN, TURN + WIDTH - 1] {
        assert_eq!(due(&mut wheel, now), []);
    }
    assert_eq!(due(&mut wheel, TURN + WIDTH), [0]);
}

#[test]
fn the_last_time_of_all_does_not_overflow() {
    let mut wheel = wheel(0);
    wheel.set(0, at(u64::MAX));
    assert!(wheel.next_due().is_some());
    assert_eq!(due(&mut wheel, u64::MAX - WIDTH), []);
    assert!(wheel.cancel(0) && !wheel.cancel(0) && !wheel.cancel(1000));
    assert!(wheel.is_empty() && wheel.next_due().is_none());
}

#[test]
fn a_distant_timer_costs_no_wake_before_its_time() {
    let mut wheel = wheel(0);
    wheel.set(5, at(1000 * TURN));
    assert_eq!(wheel.next_due(), Some(at(1000 * TURN)));
    wheel.set(6, at(WIDTH));
    assert_eq!(due(&mut wheel, 999 * TURN), [6]);
    assert_eq!(wheel.next_due(), Some(at(1000 * TURN)));
    assert_eq!(due(&mut wheel, 1000 * TURN), [5]);
}
