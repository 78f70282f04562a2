//! Conformance: does a sequence of packets keep to a TSpec?
//!
//! The definition (RFC 2212): over every interval of length T, with both ends counted, the source sends at most
//! `M + min(p·T, r·T + b − M)` bytes. The implementation: two coupled token buckets, (r, b) and (p, M), full at the
//! start; a packet takes its size from both, or from neither. The tests hold the implementation against the
//! definition.
//!
//! - Types: [`TokenBucket`], one bucket; [`Policer`], both buckets of a TSpec; [`Excess`], by how much a packet
//!   does not conform.
//! - Order of calls: [`Policer::new`], then [`Policer::offer`] for each packet.
//!   [`Policer::first_excess`] does both for a trace.
//!
//! Exact: levels are counted in byte-nanoseconds, so that a rate times a time is a whole number. Time is a
//! [`Timestamp`] that the caller passes in; nothing here reads a clock.
//!
//! Source: RFC 2212, section "Policing"; RFC 2211 for controlled load.

use core::time::Duration;

use crate::peak::Peak;
use crate::timestamp::Timestamp;
use crate::tspec::TSpec;
use crate::units::{Bytes, Rate};

/// A token bucket: fills at a rate and never holds more than its depth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenBucket {
    rate: Rate,
    depth: Bytes,
    /// Byte-nanoseconds, at most the depth's.
    held: u128,
}

/// Decides for each packet whether it conforms to a TSpec. A packet that does not conform takes no tokens.
#[derive(Clone, Debug)]
pub struct Policer {
    tspec: TSpec,
    sustained: TokenBucket,
    peak: Option<TokenBucket>,
    /// Up to when both buckets have been filled.
    at: Timestamp,
}

/// A packet that does not conform: the limit that it exceeds, and by how many bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
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
    /// Holds its whole depth, as a source's bucket does at the start.
    pub fn full(rate: Rate, depth: Bytes) -> Self {
        Self { rate, depth, held: scaled(depth) }
    }

    /// Adds the tokens for a time that has passed, at most 584 years.
    pub fn pass(&mut self, elapsed: Duration) {
        self.add(u128::from(self.rate.get()) * u128::from(nanos(elapsed)));
    }

    /// How fast the bucket fills.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The most that the bucket holds.
    pub const fn depth(&self) -> Bytes {
        self.depth
    }

    /// The tokens in the bucket, in whole bytes.
    pub fn held(&self) -> Bytes {
        Bytes::new(u64::try_from(self.held / SCALE).unwrap_or(u64::MAX))
    }

    /// How many bytes of tokens are missing for a packet of this size, rounded up; zero where it conforms.
    pub fn missing(&self, size: Bytes) -> Bytes {
        let missing = scaled(size).saturating_sub(self.held).div_ceil(SCALE);
        Bytes::new(u64::try_from(missing).unwrap_or(u64::MAX))
    }

    /// Takes the tokens for a packet of this size.
    ///
    /// # Panics
    /// When the bucket holds fewer tokens; call [`missing`](Self::missing) first.
    pub fn take(&mut self, size: Bytes) {
        assert!(scaled(size) <= self.held, "{size} is taken from a bucket that holds {}", self.held());
        self.held -= scaled(size);
        self.invariants();
    }

    /// Returns tokens that were taken and not used; what exceeds the depth is lost.
    pub fn refund(&mut self, size: Bytes) {
        self.add(scaled(size));
    }

    /// How many tokens the bucket is below its depth, rounded up to whole bytes.
    pub fn deficit(&self) -> Bytes {
        self.missing(self.depth)
    }

    /// Takes tokens without a packet, as many as there are of this many.
    pub fn withdraw(&mut self, tokens: Bytes) {
        self.held = self.held.saturating_sub(scaled(tokens));
        self.invariants();
    }

    /// How long until the bucket holds the tokens for this size, rounded up to a nanosecond; `None` where it never
    /// will.
    pub fn wait(&self, size: Bytes) -> Option<Duration> {
        let needed = scaled(size);
        if needed <= self.held {
            return Some(Duration::ZERO);
        }
        let rate = u128::from(self.rate.get());
        if size > self.depth || rate == 0 {
            return None;
        }
        u64::try_from((needed - self.held).div_ceil(rate)).ok().map(Duration::from_nanos)
    }

    /// Sets another rate and depth. The bucket keeps its tokens, up to the new depth, and gets none on top.
    pub fn change(&mut self, rate: Rate, depth: Bytes) {
        (self.rate, self.depth) = (rate, depth);
        self.held = self.held.min(scaled(depth));
        self.invariants();
    }

    /// Asserts what holds after every call, in debug builds: the bucket holds at most its depth.
    pub fn invariants(&self) {
        debug_assert!(
            self.held <= scaled(self.depth),
            "a bucket of {} holds {} byte-nanoseconds",
            self.depth,
            self.held
        );
    }

    fn add(&mut self, amount: u128) {
        self.held = self.held.saturating_add(amount).min(scaled(self.depth));
        self.invariants();
    }
}

impl Policer {
    /// A policer whose buckets are full at this time.
    pub fn new(tspec: TSpec, now: Timestamp) -> Self {
        let sustained = TokenBucket::full(tspec.token_rate(), tspec.token_bucket_size());
        let peak = match tspec.peak_bandwidth() {
            Peak::Infinite => None,
            Peak::Finite(peak) => Some(TokenBucket::full(peak, tspec.max_sdu_size())),
        };
        Self { tspec, sustained, peak, at: now }
    }

    /// A packet of this many IP bytes passes at this time. A packet smaller than m is charged m.
    ///
    /// A timestamp before the last one counts as the last one.
    ///
    /// - **Errors**: the limit that the packet exceeds; the packet has then taken no tokens.
    pub fn offer(&mut self, now: Timestamp, size: Bytes) -> Result<(), Excess> {
        let elapsed = now.saturating_since(self.at);
        self.at = self.at.max(now);
        self.sustained.pass(elapsed);
        if let Some(peak) = &mut self.peak {
            peak.pass(elapsed);
        }
        let over = size.saturating_sub(self.tspec.max_sdu_size());
        if over > Bytes::ZERO {
            return Err(Excess::MaxSduSize(over));
        }
        let charged = size.max(self.tspec.minimum_policed_size());
        let sustained = self.sustained.missing(charged);
        let peak = self.peak.as_ref().map_or(Bytes::ZERO, |peak| peak.missing(charged));
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
        self.invariants();
        Ok(())
    }

    /// The first packet of a trace (time, IP bytes) that does not conform: its index, from 0, and its excess.
    pub fn first_excess(
        tspec: TSpec,
        trace: impl IntoIterator<Item = (Timestamp, Bytes)>,
    ) -> Option<(usize, Excess)> {
        let mut trace = trace.into_iter().enumerate().peekable();
        let start = trace.peek().map_or(Timestamp::default(), |&(_, (at, _))| at);
        let mut policer = Self::new(tspec, start);
        trace.find_map(|(index, (at, size))| policer.offer(at, size).err().map(|excess| (index, excess)))
    }

    /// Asserts what holds after every call, in debug builds: the invariants of each bucket, and that the buckets are
    /// those of the TSpec.
    pub fn invariants(&self) {
        self.sustained.invariants();
        debug_assert_eq!(self.sustained.rate, self.tspec.token_rate());
        debug_assert_eq!(self.sustained.depth, self.tspec.token_bucket_size());
        if let Some(peak) = &self.peak {
            peak.invariants();
            debug_assert_eq!(Peak::Finite(peak.rate), self.tspec.peak_bandwidth());
            debug_assert_eq!(peak.depth, self.tspec.max_sdu_size());
        }
    }
}

impl Excess {
    /// By how many bytes the packet exceeds the limit.
    pub const fn bytes(&self) -> Bytes {
        match *self {
            Self::MaxSduSize(bytes) | Self::TokenBucket(bytes) | Self::Peak(bytes) => bytes,
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
        let packets = trace.iter().map(|&(at, size)| (Timestamp::from_nanos(at), Bytes::new(size)));
        assert_eq!(Policer::first_excess(tspec, packets), expected, "{name}");
    }

    #[test]
    fn the_first_excess_is_reported_with_its_size() {
        let plain = tspec(1000, 3000, None, 100, 1500);
        let over = |index, bytes| Some((index, Excess::TokenBucket(Bytes::new(bytes))));
        check("an empty trace", plain, &[], None);
        check("the bucket at once", plain, &[(7, 1500), (7, 1500)], None);
        check("one packet more than the bucket", plain, &[(7, 1500), (7, 1500), (7, 100)], over(2, 100));
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
    fn a_packet_that_does_not_conform_takes_no_tokens() {
        let now = Timestamp::default();
        let mut policer = Policer::new(tspec(1000, 3000, Some(2000), 100, 1500), now);
        policer.offer(now, Bytes::new(1000)).expect("conforms");
        assert!(policer.offer(now, Bytes::new(600)).is_err());
        policer.offer(now, Bytes::new(500)).expect("the peak bucket still holds 500");
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
            let packets = trace.iter().map(|&(at, size)| (Timestamp::from_nanos(at), Bytes::new(size)));
            let found = Policer::first_excess(tspec, packets);
            let found = found.map(|(index, excess)| (index, excess.bytes().get()));
            let expected = oracle(&tspec, &trace);
            let expected = expected.map(|(index, scaled)| (index, u64::try_from(scaled.div_ceil(SCALE)).expect("small")));
            prop_assert_eq!(found, expected);
        }
    }
}
