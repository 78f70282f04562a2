//! Tokens that released buckets still owe.
//!
//! A reservation that is released and made again would start with a full bucket each time, so that its source could
//! send the bucket over and over. What was taken from a released bucket is therefore owed until the bucket would have
//! been refilled, and the buckets that are made meanwhile take the debt over: they start with that much less.
//!
//! Exact to a byte-nanosecond; every rounding makes the debt larger or its refill slower. Nothing here reads a clock.

use core::time::Duration;

use crate::units::{Bytes, Rate};

/// The tokens that released buckets owe, and how fast they are refilled.
///
/// The debts of several buckets are one: refilled by the time at which the last of them would have been, which is no
/// faster than all their rates together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TokenDebt {
    /// Byte-nanoseconds.
    owed: u128,
    /// Zero only where nothing is owed.
    rate: Rate,
}

/// Byte-nanoseconds in a byte.
const SCALE: u128 = 1_000_000_000;

impl TokenDebt {
    /// The tokens that are owed, rounded up to whole bytes.
    pub fn owed(&self) -> Bytes {
        Bytes::new(u64::try_from(self.owed.div_ceil(SCALE)).unwrap_or(u64::MAX))
    }

    /// How fast the debt is refilled, rounded down to at least a byte per second; zero where nothing is owed.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether nothing is owed.
    pub const fn is_paid(&self) -> bool {
        self.owed == 0
    }

    /// Refills for a time that has passed, at [`rate`](Self::rate) or at `most`, whichever is less.
    pub fn pass(&mut self, elapsed: Duration, most: Rate) {
        let rate = u128::from(self.rate.min(most).get());
        let nanos = u128::from(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        self.set(self.owed.saturating_sub(rate * nanos), self.rate);
    }

    /// A bucket of this rate is released with `missing` tokens less than its depth.
    pub fn owe(&mut self, missing: Bytes, rate: Rate) {
        let added = u128::from(missing.get()) * SCALE;
        if added == 0 {
            return;
        }
        let rate = rate.max(Rate::new(1));
        let nanos = |owed: u128, rate: Rate| owed.div_ceil(u128::from(rate.get().max(1)));
        let last = nanos(self.owed, self.rate).max(nanos(added, rate));
        let owed = self.owed.saturating_add(added);
        self.set(owed, Rate::new(u64::try_from(owed / last).unwrap_or(u64::MAX)));
    }

    /// A bucket of this depth is made: the tokens by which it starts below its depth, which are not owed here any more.
    ///
    /// The rest is refilled by the same time as before.
    pub fn take_over(&mut self, depth: Bytes) -> Bytes {
        let taken = self.owed().min(depth);
        let before = self.owed;
        let after = before.saturating_sub(u128::from(taken.get()) * SCALE);
        if before > 0 {
            let nanos = before.div_ceil(u128::from(self.rate.get().max(1)));
            self.set(after, Rate::new(u64::try_from(after / nanos).unwrap_or(u64::MAX)));
        }
        taken
    }

    /// Asserts what holds after every call, in debug builds: there is a rate where something is owed, and only there.
    pub fn invariants(&self) {
        debug_assert_eq!(self.owed == 0, self.rate == Rate::ZERO, "{self:?}");
    }

    fn set(&mut self, owed: u128, rate: Rate) {
        self.owed = owed;
        self.rate = if owed == 0 { Rate::ZERO } else { rate.max(Rate::new(1)) };
        self.invariants();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn debt(owed: u64, rate: u64) -> TokenDebt {
        let mut debt = TokenDebt::default();
        debt.owe(Bytes::new(owed), Rate::new(rate));
        debt
    }

    const SECOND: Duration = Duration::from_secs(1);
    const ANY: Rate = Rate::new(u64::MAX);

    #[test]
    fn a_debt_is_refilled_at_the_rate_of_its_bucket() {
        let mut debt = debt(3000, 1000);
        debt.pass(SECOND, ANY);
        assert_eq!((debt.owed(), debt.rate()), (Bytes::new(2000), Rate::new(1000)));
        debt.pass(SECOND, Rate::new(500));
        assert_eq!(debt.owed(), Bytes::new(1500), "no faster than it may");
        debt.pass(2 * SECOND, ANY);
        assert!(debt.is_paid());
        assert_eq!(debt.rate(), Rate::ZERO);
    }

    #[test]
    fn debts_end_when_the_last_of_them_would() {
        let mut debt = debt(3000, 1000);
        debt.owe(Bytes::new(100), Rate::new(1_000_000));
        assert_eq!(debt.rate(), Rate::new(1033), "3100 bytes in three seconds");
        debt.pass(3 * SECOND - Duration::from_nanos(1), ANY);
        assert!(!debt.is_paid());
        debt.owe(Bytes::ZERO, ANY);
        assert!(!debt.is_paid(), "a full bucket refills nothing");
    }

    #[test]
    fn a_bucket_takes_over_no_more_than_its_depth() {
        let mut debt = debt(3000, 1000);
        assert_eq!(debt.take_over(Bytes::new(1000)), Bytes::new(1000));
        assert_eq!((debt.owed(), debt.rate()), (Bytes::new(2000), Rate::new(666)), "by the same time");
        assert_eq!(debt.take_over(Bytes::new(5000)), Bytes::new(2000));
        assert_eq!(debt.take_over(Bytes::new(5000)), Bytes::ZERO);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut debt = debt(u64::MAX, 0);
        debt.owe(Bytes::MAX, ANY);
        debt.pass(Duration::MAX, ANY);
        assert_eq!(debt.take_over(Bytes::MAX), Bytes::MAX);
    }

    proptest! {
        /// No order of releases and take-overs refills faster than the buckets that were released.
        #[test]
        fn a_debt_is_refilled_no_faster_than_its_buckets(
            owed in prop::collection::vec((1u64..100_000, 1u64..1_000_000), 1..8)
        ) {
            let mut debt = TokenDebt::default();
            let (mut sum, mut last) = (0, Duration::ZERO);
            for (missing, rate) in owed {
                debt.owe(Bytes::new(missing), Rate::new(rate));
                sum += rate;
                last = last.max(Duration::from_nanos(missing * 1_000_000_000 / rate));
                prop_assert!(debt.rate() <= Rate::new(sum));
            }
            debt.pass(last.saturating_sub(Duration::from_nanos(1)), ANY);
            prop_assert!(!debt.is_paid());
        }
    }
}
