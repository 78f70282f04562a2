//! The properties of the limiters for every sequence of calls: run by the fuzz target on new inputs, and by
//! `shaper/tests/corpus.rs` on the corpus.

use std::time::Duration;

use flowspec::{Bytes, Direction, Flowspec, Peak, Rate, TSpec};
use shaper::{Bucket, Deficit, Due, Framing, Governed, Limiter, Plan, Timestamp};

/// Takes numbers from the input; zero once it has ended.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u64 {
        u64::from(u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]))
    }

    fn plan(&mut self) -> Plan {
        let (rate, depth, extra) = (self.number().max(1), 1500 + self.number() % (1 << 30), self.number());
        let mut spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(depth));
        spec.peak_bandwidth = (extra % 2 == 0).then_some(Peak::Finite(Rate::new(rate + extra)));
        let tspec =
            TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).expect("valid").expect("guaranteed");
        let framing = match extra % 3 {
            0 => Framing::Stream { header: 52, segment: 1448 },
            _ => Framing::Datagram { header: 28 },
        };
        Plan::new(&tspec, framing).expect("packets with payload")
    }
}

/// The exact limiter and governor agree to a byte, and to another for each change of plan, each withdrawal and each
/// limiter that takes another one's place; a packet that is due may leave, and one that is not may not; no tokens come
/// with a limiter that starts without what another one lacked; the invariants hold after each call.
pub(crate) fn limiters(input: &[u8]) {
    let mut numbers = Numbers(input);
    let mut plan = numbers.plan();
    let mut now = Timestamp::default();
    let mut exact = Bucket::new(&plan, now);
    let mut governed = Governed::new(&plan, now).expect("a depth within governor's range");
    let mut tolerance = 1;
    while !numbers.0.is_empty() {
        match numbers.byte() % 10 {
            0 => {
                plan = numbers.plan();
                exact.set_plan(now, &plan);
                governed.set_plan(now, &plan);
                tolerance += 1;
            }
            1 => {
                let size = Bytes::new(numbers.number() % 3000);
                exact.refund(now, size);
                governed.refund(now, size);
            }
            2 => {
                let tokens = Deficit {
                    sustained: Bytes::new(numbers.number() % 3000),
                    peak: Bytes::new(numbers.number() % 3000),
                };
                withdraw(&mut exact, now, tokens);
                withdraw(&mut governed, now, tokens);
                tolerance += 1;
            }
            3 => {
                exact = instead_of(&mut exact, Bucket::new(&plan, now), now);
                let full = Governed::new(&plan, now).expect("a depth within governor's range");
                governed = instead_of(&mut governed, full, now);
                tolerance += 1;
            }
            4..=6 => now = now.saturating_add(Duration::from_nanos(numbers.number() % 50_000_000)),
            _ => {
                let size = Bytes::new(numbers.number() % 3000).min(governed.available(now));
                let due = exact.due(now, size);
                if exact.take(now, size) {
                    assert_eq!(due, Due::Now);
                    assert!(governed.take(now, size));
                } else {
                    assert!(!matches!(due, Due::Now));
                    assert!(!matches!(due, Due::At(at) if at <= now), "{due:?} at {now:?}");
                }
            }
        }
        exact.invariants();
        governed.invariants();
        let (a, b) = (exact.available(now).get(), governed.available(now).get());
        assert!(a.abs_diff(b) <= tolerance, "exact {a}, governor {b}");
        let (a, b) = (exact.deficit(now), governed.deficit(now));
        let differences =
            [a.sustained.get().abs_diff(b.sustained.get()), a.peak.get().abs_diff(b.peak.get())];
        assert!(differences.into_iter().all(|bytes| bytes <= tolerance), "exact {a:?}, governor {b:?}");
    }
}

/// Takes tokens without a packet: no more are missing from a bucket than before and these, and none come.
fn withdraw(limiter: &mut impl Limiter, now: Timestamp, tokens: Deficit) {
    let (before, available) = (limiter.deficit(now), limiter.available(now));
    limiter.withdraw(now, tokens);
    let after = limiter.deficit(now);
    for (before, taken, after) in
        [(before.sustained, tokens.sustained, after.sustained), (before.peak, tokens.peak, after.peak)]
    {
        assert!((before..=before.saturating_add(taken)).contains(&after), "{before}, {taken} taken: {after}");
    }
    assert!(limiter.available(now) <= available, "tokens come: {available} before");
}

/// A full limiter of the same plan without what is missing from another one: it holds no more, and no byte less.
fn instead_of<L: Limiter>(limiter: &mut L, mut full: L, now: Timestamp) -> L {
    full.withdraw(now, limiter.deficit(now));
    let (before, after) = (limiter.available(now).get(), full.available(now).get());
    assert!(after <= before && before - after <= 1, "{before} B before, {after} B after");
    full
}
