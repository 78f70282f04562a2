//! A limiter on the `governor` crate, made exact by the clock that governor is given.
//!
//! governor counts whole nanoseconds for each cell. With a byte for a cell its rate is off by one percent at 30 MB/s,
//! and above 1 GB/s it cannot count at all. [`Governed`] gives it a clock whose unit is one byte of credit instead of
//! one nanosecond, so that a cell is always one unit: the rate is exact at any speed and can be changed at any time,
//! and bytes that were not sent are refunded by advancing the clock. governor's waiting times are then bytes; the time
//! at which a packet is due is computed here.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowspec::{Bytes, Timestamp};
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::coupled::{Coupled, Store};
use crate::plan::{Plan, Tokens};

/// One of governor's limiters for the rate and, where the peak is finite, another for the peak.
pub type Governed = Coupled<Cells>;

/// Why governor cannot enforce a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotGovernable {
    /// governor's burst is a 32-bit number of cells that is not zero.
    #[error("a bucket of {} bytes is outside governor's range of 1 to {}", depth.get(), u32::MAX)]
    Depth {
        /// The bucket's depth.
        depth: Bytes,
    },
}

impl Governed {
    /// Full buckets for this plan, at this time.
    ///
    /// - **Errors**: a depth that governor cannot express.
    pub fn new(plan: &Plan, now: Timestamp) -> Result<Self, NotGovernable> {
        Ok(Self {
            sustained: Cells::new(plan.sustained)?,
            peak: plan.peak.map(Cells::new).transpose()?,
            at: now,
        })
    }
}

/// One of governor's limiters, a cell for a byte, with its clock of bytes.
#[derive(Debug)]
pub struct Cells {
    tokens: Tokens,
    limiter: RateLimiter<NotKeyed, InMemoryState, ByteClock, NoOpMiddleware<ByteReading>>,
    clock: ByteClock,
    /// Byte-nanoseconds of credit, less than a byte.
    fraction: u128,
}

/// Credit granted so far, in bytes: governor's notion of time.
#[derive(Clone, Debug)]
struct ByteClock(Arc<AtomicU64>);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ByteReading(u64);

/// Byte-nanoseconds in a byte.
const SCALE: u128 = 1_000_000_000;

impl Cells {
    fn new(tokens: Tokens) -> Result<Self, NotGovernable> {
        let clock = ByteClock(Arc::new(AtomicU64::new(0)));
        let limiter = RateLimiter::direct_with_clock(quota(tokens)?, clock.clone());
        Ok(Self { tokens, limiter, clock, fraction: 0 })
    }
}

impl Store for Cells {
    fn full(tokens: Tokens) -> Option<Self> {
        Self::new(tokens).ok()
    }

    /// The rate is the clock's and changes at once. A limiter's depth is fixed: another depth takes another limiter,
    /// which starts with the credit of the old one.
    fn set_tokens(&mut self, tokens: Tokens) {
        let held = self.available();
        if tokens.depth != self.tokens.depth
            && let Ok(quota) = quota(tokens)
        {
            self.limiter = RateLimiter::direct_with_clock(quota, self.clock.clone());
            self.take(tokens.depth.saturating_sub(held));
        }
        self.tokens = tokens;
    }

    fn pass(&mut self, elapsed: Duration) {
        let credit = self.fraction + u128::from(self.tokens.rate.get()) * elapsed.as_nanos();
        self.fraction = credit % SCALE;
        self.clock.grant(u64::try_from(credit / SCALE).unwrap_or(u64::MAX));
    }

    /// governor cannot report its level. A request for the whole bucket either fails, and reports how many bytes
    /// are missing, or succeeds, and is refunded.
    fn available(&self) -> Bytes {
        let depth = self.tokens.depth;
        let Some(all) = u32::try_from(depth.get()).ok().and_then(NonZeroU32::new) else { return Bytes::ZERO };
        match self.limiter.check_n(all) {
            Ok(Ok(())) => {
                self.clock.grant(depth.get());
                depth
            }
            Ok(Err(not_until)) => {
                let missing = not_until.wait_time_from(self.clock.now()).as_nanos();
                depth.saturating_sub(Bytes::new(u64::try_from(missing).unwrap_or(u64::MAX)))
            }
            Err(_) => Bytes::ZERO,
        }
    }

    fn wait(&self, size: Bytes) -> Option<Duration> {
        if size > self.tokens.depth {
            return None;
        }
        let missing = size.saturating_sub(self.available());
        if missing == Bytes::ZERO {
            return Some(Duration::ZERO);
        }
        let needed = u128::from(missing.get()) * SCALE - self.fraction;
        let rate = u128::from(self.tokens.rate.get());
        (rate > 0).then(|| u64::try_from(needed.div_ceil(rate)).ok().map(Duration::from_nanos))?
    }

    fn take(&mut self, size: Bytes) -> bool {
        let Ok(size) = u32::try_from(size.get()) else { return false };
        let Some(cells) = NonZeroU32::new(size) else { return true };
        matches!(self.limiter.check_n(cells), Ok(Ok(())))
    }

    fn refund(&mut self, size: Bytes) {
        self.clock.grant(size.get());
    }

    fn deficit(&self) -> Bytes {
        self.tokens.depth.saturating_sub(self.available())
    }

    fn withdraw(&mut self, tokens: Bytes) {
        self.take(tokens.min(self.available()));
    }

    fn invariants(&self) {
        debug_assert!(
            self.fraction < SCALE,
            "{} byte-nanoseconds are not a fraction of a byte",
            self.fraction
        );
        debug_assert!(self.available() <= self.tokens.depth, "more than the bucket's depth is available");
    }
}

fn quota(tokens: Tokens) -> Result<Quota, NotGovernable> {
    let depth = tokens.depth;
    let cells = u32::try_from(depth.get()).ok().and_then(NonZeroU32::new);
    // A period of one unit of the byte clock for each cell; governor calls the unit a nanosecond.
    let quota = Quota::with_period(Duration::from_nanos(1));
    quota.zip(cells).map(|(quota, cells)| quota.allow_burst(cells)).ok_or(NotGovernable::Depth { depth })
}

impl ByteClock {
    fn grant(&self, bytes: u64) {
        // Only one thread writes: `Limiter` is `Send` and not shared.
        let credit = self.0.load(Ordering::Relaxed);
        self.0.store(credit.saturating_add(bytes), Ordering::Relaxed);
    }
}

impl Clock for ByteClock {
    type Instant = ByteReading;

    fn now(&self) -> ByteReading {
        ByteReading(self.0.load(Ordering::Relaxed))
    }
}

impl std::ops::Add<Nanos> for ByteReading {
    type Output = Self;

    fn add(self, bytes: Nanos) -> Self {
        Self(self.0.saturating_add(bytes.as_u64()))
    }
}

impl Reference for ByteReading {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Nanos::from(self.0.saturating_sub(earlier.0))
    }

    fn saturating_sub(&self, bytes: Nanos) -> Self {
        Self(self.0.checked_sub(bytes.as_u64()).unwrap_or(self.0))
    }
}
