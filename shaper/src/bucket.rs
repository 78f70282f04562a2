//! The exact limiter: rate and peak as one structure, in integers.
//!
//! Levels are counted in byte-nanoseconds (bytes × 10⁹), so that `rate × nanoseconds` is whole and
//! nothing is ever rounded. A packet takes from both buckets or from neither; the two together are
//! RFC 2212's policer `min(M + p·T, b + r·T)`.

use crate::limiter::{Due, Limiter, Moment};
use crate::plan::{Plan, Tokens};

/// Two coupled token buckets, full at the start.
#[derive(Clone, Debug)]
pub struct Bucket {
    sustained: Level,
    peak: Option<Level>,
    at: Moment,
}

/// One bucket: what it holds, in byte-nanoseconds, never above its depth.
#[derive(Clone, Debug)]
struct Level {
    tokens: Tokens,
    held: u128,
}

/// Byte-nanoseconds in a byte.
const SCALE: u128 = 1_000_000_000;

impl Bucket {
    /// Full buckets for this plan, at this moment.
    pub fn new(plan: &Plan, now: Moment) -> Self {
        Self { sustained: Level::full(plan.sustained), peak: plan.peak.map(Level::full), at: now }
    }

    fn advance(&mut self, now: Moment) {
        let nanos = now.since(self.at);
        if nanos > 0 {
            self.at = now;
            self.levels().for_each(|level| level.refill(nanos));
        }
    }

    fn levels(&mut self) -> impl Iterator<Item = &mut Level> {
        std::iter::once(&mut self.sustained).chain(&mut self.peak)
    }
}

impl Limiter for Bucket {
    fn due(&mut self, now: Moment, size: u64) -> Due {
        self.advance(now);
        let at = self.at;
        match self.levels().try_fold(0, |longest, level| level.wait(size).map(|wait| longest.max(wait))) {
            None => Due::Never,
            Some(0) => Due::Now,
            Some(wait) => Due::At(Moment::from_nanos(at.nanos().saturating_add(wait))),
        }
    }

    fn available(&mut self, now: Moment) -> u64 {
        self.advance(now);
        self.levels().map(|level| level.whole()).min().unwrap_or(0)
    }

    fn take(&mut self, now: Moment, size: u64) -> bool {
        let fits = size <= self.available(now);
        if fits {
            self.levels().for_each(|level| level.held -= u128::from(size) * SCALE);
        }
        fits
    }

    fn refund(&mut self, now: Moment, size: u64) {
        self.advance(now);
        self.levels().for_each(|level| level.add(u128::from(size) * SCALE));
    }

    fn replan(&mut self, now: Moment, plan: &Plan) {
        self.advance(now);
        self.sustained.retoken(plan.sustained);
        self.peak = plan.peak.map(|tokens| match self.peak.take() {
            Some(mut level) => {
                level.retoken(tokens);
                level
            }
            None => Level::full(tokens),
        });
    }
}

impl Level {
    fn full(tokens: Tokens) -> Self {
        Self { tokens, held: cap(tokens) }
    }

    fn refill(&mut self, nanos: u64) {
        self.add(u128::from(self.tokens.rate.get()) * u128::from(nanos));
    }

    fn add(&mut self, amount: u128) {
        self.held = self.held.saturating_add(amount).min(cap(self.tokens));
    }

    fn retoken(&mut self, tokens: Tokens) {
        self.tokens = tokens;
        self.held = self.held.min(cap(tokens));
    }

    fn whole(&self) -> u64 {
        u64::try_from(self.held / SCALE).unwrap_or(u64::MAX)
    }

    /// Nanoseconds until `size` bytes are held, rounded up; nothing where they never will be.
    fn wait(&self, size: u64) -> Option<u64> {
        let needed = u128::from(size) * SCALE;
        if needed <= self.held {
            return Some(0);
        }
        let rate = u128::from(self.tokens.rate.get());
        if needed > cap(self.tokens) || rate == 0 {
            return None;
        }
        u64::try_from((needed - self.held).div_ceil(rate)).ok()
    }
}

fn cap(tokens: Tokens) -> u128 {
    u128::from(tokens.depth.get()) * SCALE
}
