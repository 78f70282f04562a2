//! Conformance: does a sequence of packets keep to a TSpec?
//!
//! Two definitions that are one: over every interval of length T, both ends counted, at most
//! `M + min(p·T, r·T + b − M)` bytes; and two coupled token buckets, (r, b) and (p, M), full at the
//! start, of which a packet takes from both or from neither. The tests hold the second, which is what
//! runs, against the first. Source: RFC 2212, Policing; RFC 2211 for controlled load.
//!
//! Exact: levels are counted in byte-nanoseconds, so that rate times nanoseconds is whole. Times are
//! nanoseconds of any clock; nothing here reads one.

use crate::peak::Peak;
use crate::tspec::TSpec;
use crate::units::{Bytes, Rate};

/// A token bucket that is told how time passes. Never holds more than its depth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenBucket {
    rate: Rate,
    depth: Bytes,
    /// Byte-nanoseconds.
    held: u128,
}

/// Says of each packet whether it conforms. One that does not takes nothing.
#[derive(Clone, Debug)]
pub struct Policer {
    tspec: TSpec,
    sustained: TokenBucket,
    peak: Option<TokenBucket>,
    at_nanos: u64,
}

/// A packet that does not conform: what it exceeds, and by how many bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Excess {
    /// The packet is larger than M.
    #[error("{0} more than max_sdu_size")]
    MaxSduSize(Bytes),
    /// More than `b + r·T` over some interval.
    #[error("{0} more than the bucket and the token rate allow")]
    TokenBucket(Bytes),
    /// More than `M + p·T` over some interval.
    #[error("{0} more than the peak allows")]
    Peak(Bytes),
}

/// Byte-nanoseconds in a byte.
const SCALE: u128 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket.
    pub fn full(rate: Rate, depth: Bytes) -> Self {
        Self { rate, depth, held: scaled(depth) }
    }

    /// Time passes.
    pub fn pass(&mut self, nanos: u64) {
        self.add(u128::from(self.rate.get()) * u128::from(nanos));
    }

    /// Whole bytes that it holds.
    pub fn held(&self) -> Bytes {
        Bytes::new(u64::try_from(self.held / SCALE).unwrap_or(u64::MAX))
    }

    /// By how much it falls short of a size, rounded up; zero where it does not.
    pub fn short(&self, size: Bytes) -> Bytes {
        let missing = scaled(size).saturating_sub(self.held).div_ceil(SCALE);
        Bytes::new(u64::try_from(missing).unwrap_or(u64::MAX))
    }

    /// Takes a size that it holds.
    ///
    /// # Panics
    /// When it does not hold it: [`short`](Self::short) tells before.
    pub fn take(&mut self, size: Bytes) {
        assert!(scaled(size) <= self.held, "{size} is taken of {}", self.held());
        self.held -= scaled(size);
    }

    /// Gives back what was taken; what does not fit is lost.
    pub fn give_back(&mut self, size: Bytes) {
        self.add(scaled(size));
    }

    /// Nanoseconds until it holds a size, rounded up; nothing where it never will.
    pub fn wait(&self, size: Bytes) -> Option<u64> {
        let needed = scaled(size);
        if needed <= self.held {
            return Some(0);
        }
        let rate = u128::from(self.rate.get());
        if size > self.depth || rate == 0 {
            return None;
        }
        u64::try_from((needed - self.held).div_ceil(rate)).ok()
    }

    /// Another rate and depth: what it holds is kept, up to the new depth, and nothing is added.
    pub fn change(&mut self, rate: Rate, depth: Bytes) {
        (self.rate, self.depth) = (rate, depth);
        self.held = self.held.min(scaled(depth));
    }

    fn add(&mut self, amount: u128) {
        self.held = self.held.saturating_add(amount).min(scaled(self.depth));
    }
}

impl Policer {
    /// A policer with full buckets at this moment.
    pub fn new(tspec: TSpec, at_nanos: u64) -> Self {
        let sustained = TokenBucket::full(tspec.token_rate(), tspec.token_bucket_size());
        let peak = match tspec.peak_bandwidth() {
            Peak::Infinite => None,
            Peak::Finite(peak) => Some(TokenBucket::full(peak, tspec.max_sdu_size())),
        };
        Self { tspec, sustained, peak, at_nanos }
    }

    /// A packet of this many IP bytes passes at this moment; small ones count as m.
    ///
    /// A moment before the last one counts as the last one.
    ///
    /// - **Errors**: what it exceeds; then it has taken nothing.
    pub fn offer(&mut self, at_nanos: u64, size: Bytes) -> Result<(), Excess> {
        let passed = at_nanos.saturating_sub(self.at_nanos);
        self.at_nanos = self.at_nanos.max(at_nanos);
        self.sustained.pass(passed);
        if let Some(peak) = &mut self.peak {
            peak.pass(passed);
        }
        let over = size.saturating_sub(self.tspec.max_sdu_size());
        if over > Bytes::ZERO {
            return Err(Excess::MaxSduSize(over));
        }
        let charged = size.max(self.tspec.minimum_policed_size());
        let sustained = self.sustained.short(charged);
        let peak = self.peak.as_ref().map_or(Bytes::ZERO, |peak| peak.short(charged));
        if sustained > Bytes::ZERO && sustained >= peak {
            return Err(Excess::TokenBucket(sustained));
        }
        if peak > Bytes::ZERO {
            return Err(Excess::Peak(peak));
        }
        self.sustained.take(charged);
        if let Some(peak) = &mut self.peak {
            peak.take(charged);
        }
        Ok(())
    }

    /// The first packet of a trace (nanoseconds, IP bytes) that does not conform: its place, from 0,
    /// and by how much.
    pub fn first_excess(
        tspec: TSpec,
        trace: impl IntoIterator<Item = (u64, Bytes)>,
    ) -> Option<(usize, Excess)> {
        let mut trace = trace.into_iter().enumerate().peekable();
        let start = trace.peek().map_or(0, |&(_, (at, _))| at);
        let mut policer = Self::new(tspec, start);
        trace.find_map(|(index, (at, size))| policer.offer(at, size).err().map(|excess| (index, excess)))
    }
}

impl Excess {
    /// By how many bytes.
    pub const fn bytes(&self) -> Bytes {
        match *self {
            Self::MaxSduSize(bytes) | Self::TokenBucket(bytes) | Self::Peak(bytes) => bytes,
        }
    }
}

fn scaled(size: Bytes) -> u128 {
    u128::from(size.get()) * SCALE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Flowspec};
    use proptest::prelude::*;

    fn tspec(r: u64, b: u64, p: Option<u64>, m: u64, max: u64) -> TSpec {
        let mut spec = Flowspec::guaranteed(Rate::new(r), Bytes::new(b));
        spec.peak_bandwidth = p.map(|p| Peak::Finite(Rate::new(p)));
        spec.minimum_policed_size = Some(Bytes::new(m));
        spec.max_sdu_size = Some(Bytes::new(max));
        let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(65_535));
        tspec.expect("valid").expect("guaranteed")
    }

    const SECOND: u64 = 1_000_000_000;

    #[track_caller]
    fn check(name: &str, tspec: TSpec, trace: &[(u64, u64)], expected: Option<(usize, Excess)>) {
        let packets = trace.iter().map(|&(at, size)| (at, Bytes::new(size)));
        assert_eq!(Policer::first_excess(tspec, packets), expected, "{name}");
    }

    #[test]
    fn the_first_packet_too_many_and_by_how_much() {
        let plain = tspec(1000, 3000, None, 100, 1500);
        let over = |index, bytes| Some((index, Excess::TokenBucket(Bytes::new(bytes))));
        check("an empty trace", plain, &[], None);
        check("the bucket at once", plain, &[(7, 1500), (7, 1500)], None);
        check("a byte too many", plain, &[(7, 1500), (7, 1500), (7, 100)], over(2, 100));
        check("in time", plain, &[(0, 1500), (0, 1500), (SECOND, 1000)], None);
        check("a byte early", plain, &[(0, 1500), (0, 1500), (SECOND, 1001)], over(2, 1));
        check("a nanosecond early", plain, &[(0, 1500), (0, 1500), (SECOND - 1, 1000)], over(2, 1));
        check("small packets count as m", plain, &[(0, 1500), (0, 1450), (0, 1)], over(2, 50));
        check("too large", plain, &[(0, 1501)], Some((0, Excess::MaxSduSize(Bytes::new(1)))));
        let peaked = tspec(1000, 3000, Some(2000), 100, 1500);
        check("the peak", peaked, &[(0, 1500), (SECOND / 2, 1001)], Some((1, Excess::Peak(Bytes::new(1)))));
        check("at the peak", peaked, &[(0, 1500), (SECOND / 2, 1000), (SECOND, 1000)], None);
    }

    #[test]
    fn what_does_not_conform_takes_nothing() {
        let mut policer = Policer::new(tspec(1000, 3000, Some(2000), 100, 1500), 0);
        policer.offer(0, Bytes::new(1000)).expect("conforms");
        assert!(policer.offer(0, Bytes::new(600)).is_err());
        policer.offer(0, Bytes::new(500)).expect("the peak bucket still holds 500");
    }

    /// The definition, by brute force over every interval that ends with each packet: the first that
    /// does not fit, and its largest excess in byte-nanoseconds.
    fn oracle(tspec: &TSpec, trace: &[(u64, u64)]) -> Option<(usize, u128)> {
        let rate = i128::from(tspec.token_rate().get());
        let (b, max) = (i128::from(tspec.token_bucket_size().get()), i128::from(tspec.max_sdu_size().get()));
        for last in 0..trace.len() {
            if i128::from(trace[last].1) > max {
                return Some((last, u128::from(trace[last].1) * SCALE - max.unsigned_abs() * SCALE));
            }
            let excess = (0..=last).map(|first| {
                let sizes = trace[first..=last].iter();
                let bytes: u64 = sizes.map(|&(_, size)| size.max(tspec.minimum_policed_size().get())).sum();
                let span = i128::from(trace[last].0 - trace[first].0);
                let scale = 1_000_000_000;
                let sustained = b * scale + rate * span;
                let allowed = match tspec.peak_bandwidth() {
                    Peak::Infinite => sustained,
                    Peak::Finite(peak) => sustained.min(max * scale + i128::from(peak.get()) * span),
                };
                i128::from(bytes) * scale - allowed
            });
            let most = excess.max().expect("at least the packet alone");
            if most > 0 {
                return Some((last, most.unsigned_abs()));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn two_coupled_buckets_are_the_definition(
            r in 1u64..5000, more in 0u64..5000, peak in prop::option::of(0u64..10_000), m in 1u64..200,
            trace in prop::collection::vec((0u64..SECOND, 1u64..1600), 1..40)
        ) {
            let tspec = tspec(r, 1500 + more, peak.map(|extra| r + extra), m, 1500);
            let mut at = 0;
            let trace: Vec<_> = trace.into_iter().map(|(pause, size)| { at += pause; (at, size) }).collect();
            let found = Policer::first_excess(tspec, trace.iter().map(|&(at, size)| (at, Bytes::new(size))));
            let found = found.map(|(index, excess)| (index, excess.bytes().get()));
            let expected = oracle(&tspec, &trace);
            let expected = expected.map(|(index, scaled)| (index, u64::try_from(scaled.div_ceil(SCALE)).expect("small")));
            prop_assert_eq!(found, expected);
        }
    }
}
