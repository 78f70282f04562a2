//! The limiter on top of the `governor` crate, made exact by the clock it is given.
//!
//! governor counts time in whole nanoseconds per cell, which at a byte a cell is off by a percent at
//! 30 MB/s and stops at 1 GB/s. Given a clock whose unit is one byte of credit instead of one
//! nanosecond, a cell is always exactly one unit: the rate is exact at any speed and can be changed
//! while it runs, and bytes that were not sent are given back by moving the clock. Waiting times are
//! then bytes, so the moment something is due is computed here.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::limiter::{Due, Limiter, Moment};
use crate::plan::{Plan, Tokens};

/// governor's limiter for the rate and, where the peak is finite, a second one for the peak.
#[derive(Debug)]
pub struct Governed {
    sustained: Cells,
    peak: Option<Cells>,
    at: Moment,
}

/// Why governor cannot hold a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotGovernable {
    /// governor's burst is a 32-bit number of cells that is not zero.
    #[error("a bucket of {depth} bytes is outside governor's range of 1 to {}", u32::MAX)]
    Depth {
        /// The bucket's depth in bytes.
        depth: u64,
    },
}

impl Governed {
    /// Full buckets for this plan, at this moment.
    ///
    /// - **Errors**: a depth that governor cannot express.
    pub fn new(plan: &Plan, now: Moment) -> Result<Self, NotGovernable> {
        Ok(Self {
            sustained: Cells::new(plan.sustained)?,
            peak: plan.peak.map(Cells::new).transpose()?,
            at: now,
        })
    }

    fn advance(&mut self, now: Moment) {
        let nanos = now.since(self.at);
        if nanos > 0 {
            self.at = now;
            self.cells().for_each(|cells| cells.advance(nanos));
        }
    }

    fn cells(&mut self) -> impl Iterator<Item = &mut Cells> {
        std::iter::once(&mut self.sustained).chain(&mut self.peak)
    }
}

impl Limiter for Governed {
    fn due(&mut self, now: Moment, size: u64) -> Due {
        self.advance(now);
        let at = self.at;
        match self.cells().try_fold(0, |longest, cells| cells.wait(size).map(|wait| longest.max(wait))) {
            None => Due::Never,
            Some(0) => Due::Now,
            Some(wait) => Due::At(Moment::from_nanos(at.nanos().saturating_add(wait))),
        }
    }

    fn available(&mut self, now: Moment) -> u64 {
        self.advance(now);
        self.cells().map(|cells| cells.available()).min().unwrap_or(0)
    }

    fn take(&mut self, now: Moment, size: u64) -> bool {
        self.advance(now);
        if !self.sustained.take(size) {
            return false;
        }
        // Two limiters do not compose by themselves: what the first gave is given back exactly.
        let taken = self.peak.as_mut().is_none_or(|peak| peak.take(size));
        if !taken {
            self.sustained.refund(size);
        }
        taken
    }

    fn refund(&mut self, now: Moment, size: u64) {
        self.advance(now);
        self.cells().for_each(|cells| cells.refund(size));
    }

    fn replan(&mut self, now: Moment, plan: &Plan) {
        self.advance(now);
        self.sustained.retoken(plan.sustained);
        self.peak = match (self.peak.take(), plan.peak) {
            (_, None) => None,
            (Some(mut cells), Some(tokens)) => {
                cells.retoken(tokens);
                Some(cells)
            }
            (None, Some(tokens)) => Cells::new(tokens).ok(),
        };
    }
}

/// One governor limiter, a cell a byte, with its clock of bytes.
#[derive(Debug)]
struct Cells {
    tokens: Tokens,
    limiter: RateLimiter<NotKeyed, InMemoryState, ByteClock, NoOpMiddleware<Credit>>,
    clock: ByteClock,
    /// Byte-nanoseconds of credit that are not a whole byte yet.
    fraction: u128,
}

/// Credit granted so far, in bytes: governor's notion of time.
#[derive(Clone, Debug)]
struct ByteClock(Arc<AtomicU64>);

/// A reading of the byte clock.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Credit(u64);

const SCALE: u128 = 1_000_000_000;

impl Cells {
    fn new(tokens: Tokens) -> Result<Self, NotGovernable> {
        let clock = ByteClock(Arc::new(AtomicU64::new(0)));
        let limiter = RateLimiter::direct_with_clock(quota(tokens)?, clock.clone());
        Ok(Self { tokens, limiter, clock, fraction: 0 })
    }

    fn advance(&mut self, nanos: u64) {
        let credit = self.fraction + u128::from(self.tokens.rate.get()) * u128::from(nanos);
        self.fraction = credit % SCALE;
        self.clock.grant(u64::try_from(credit / SCALE).unwrap_or(u64::MAX));
    }

    fn take(&mut self, size: u64) -> bool {
        let Ok(size) = u32::try_from(size) else { return false };
        let Some(cells) = NonZeroU32::new(size) else { return true };
        matches!(self.limiter.check_n(cells), Ok(Ok(())))
    }

    fn refund(&mut self, size: u64) {
        self.clock.grant(size);
    }

    /// Nanoseconds until `size` bytes may leave, rounded up; nothing where they never may.
    fn wait(&mut self, size: u64) -> Option<u64> {
        let rate = u128::from(self.tokens.rate.get());
        if size > self.tokens.depth.get() {
            return None;
        }
        let missing = size.saturating_sub(self.available());
        if missing == 0 {
            return Some(0);
        }
        let needed = u128::from(missing) * SCALE - self.fraction;
        (rate > 0).then(|| u64::try_from(needed.div_ceil(rate)).ok())?
    }

    /// governor has no way to look: asking for the whole bucket tells by how much it falls short,
    /// and what was taken where it does not is given back.
    fn available(&mut self) -> u64 {
        let depth = self.tokens.depth.get();
        let Some(all) = u32::try_from(depth).ok().and_then(NonZeroU32::new) else { return 0 };
        match self.limiter.check_n(all) {
            Ok(Ok(())) => {
                self.refund(depth);
                depth
            }
            Ok(Err(not_until)) => {
                let short = not_until.wait_time_from(self.clock.now()).as_nanos();
                depth.saturating_sub(u64::try_from(short).unwrap_or(u64::MAX))
            }
            Err(_) => 0,
        }
    }

    /// The rate is the clock's and changes at once. A depth is governor's for life: a new limiter
    /// starts with the credit that the old one held.
    fn retoken(&mut self, tokens: Tokens) {
        let held = self.available();
        if tokens.depth != self.tokens.depth
            && let Ok(quota) = quota(tokens)
        {
            self.limiter = RateLimiter::direct_with_clock(quota, self.clock.clone());
            self.take(tokens.depth.get().saturating_sub(held));
        }
        self.tokens = tokens;
    }
}

fn quota(tokens: Tokens) -> Result<Quota, NotGovernable> {
    let depth = tokens.depth.get();
    let cells = u32::try_from(depth).ok().and_then(NonZeroU32::new);
    // One unit of the byte clock a cell; governor calls the unit a nanosecond.
    let quota = Quota::with_period(Duration::from_nanos(1));
    quota.zip(cells).map(|(quota, cells)| quota.allow_burst(cells)).ok_or(NotGovernable::Depth { depth })
}

impl ByteClock {
    fn grant(&self, bytes: u64) {
        // One writer: the limiter is used through `&mut`.
        let credit = self.0.load(Ordering::Relaxed);
        self.0.store(credit.saturating_add(bytes), Ordering::Relaxed);
    }
}

impl Clock for ByteClock {
    type Instant = Credit;

    fn now(&self) -> Credit {
        Credit(self.0.load(Ordering::Relaxed))
    }
}

impl std::ops::Add<Nanos> for Credit {
    type Output = Self;

    fn add(self, bytes: Nanos) -> Self {
        Self(self.0.saturating_add(bytes.as_u64()))
    }
}

impl Reference for Credit {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Nanos::from(self.0.saturating_sub(earlier.0))
    }

    fn saturating_sub(&self, bytes: Nanos) -> Self {
        Self(self.0.checked_sub(bytes.as_u64()).unwrap_or(self.0))
    }
}
