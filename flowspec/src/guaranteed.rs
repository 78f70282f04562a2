//! Guaranteed service: the delay bound of a reserved rate, and the rate that a delay target needs.
//!
//! Exact integers: a bound is rounded up, a rate is the least whole one that meets its target. Sums are in 128 bits;
//! a function returns `None` where those overflow, which is far outside RFC 2210's ranges.
//!
//! Source: RFC 2212, whose letters the formulas use.

use serde::{Deserialize, Serialize};

use crate::peak::Peak;
use crate::tspec::TSpec;
use crate::units::{Bytes, Micros, Rate};

/// The deviation of a path's elements from the fluid model.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorTerms {
    /// C: the part that depends on the rate; an element delays by C ÷ R.
    pub c: Bytes,
    /// D: the part that does not.
    pub d: Micros,
}

/// Microseconds in a second.
const SECOND: u128 = 1_000_000;

impl TSpec {
    /// The largest queueing delay of a conforming packet at the reserved rate R.
    ///
    /// r ≤ R < p: `(b − M)/R · (p − R)/(p − r) + (M + C)/R + D`; p ≤ R: `(M + C)/R + D`; p infinite:
    /// `(b + C)/R + D`. `None` where R < r: then there is no bound.
    ///
    /// - **Units**: microseconds, rounded up. The path's fixed latency is not included.
    /// - **Source**: RFC 2212, "End-to-End Behavior".
    pub fn delay_bound(&self, reserved: Rate, terms: ErrorTerms) -> Option<Micros> {
        if reserved < self.token_rate() || reserved == Rate::ZERO {
            return None;
        }
        let Letters { b, p, r, m } = self.letters();
        let rate = u128::from(reserved.get());
        let (c, d) = (u128::from(terms.c.get()), u128::from(terms.d.get()));
        let queueing = match p {
            None => ((b + c) * SECOND).div_ceil(rate),
            Some(p) if p <= rate => ((m + c) * SECOND).div_ceil(rate),
            Some(p) => {
                let bytes = (b - m).checked_mul(p - rate)?.checked_add((m + c).checked_mul(p - r)?)?;
                bytes.checked_mul(SECOND)?.div_ceil(rate.checked_mul(p - r)?)
            }
        };
        u64::try_from(queueing + d).ok().map(Micros::new)
    }

    /// The least rate R at which no conforming packet queues longer than `target`: never below r, rounded up. `None`
    /// where no rate is enough.
    ///
    /// With `T = target − D` and `a = (b − M)/(p − r)`: p infinite, `(b + C)/T`; `(M + C)/T` where that
    /// is at least p; else `(a·p + M + C)/(T + a)`; p = r: `(M + C)/T`.
    ///
    /// - **Units**: bytes per second.
    /// - **Source**: RFC 2212, solved for R.
    pub fn least_rate(&self, target: Micros, terms: ErrorTerms) -> Option<Rate> {
        let Letters { b, p, r, m } = self.letters();
        let time = u128::from(target.get()).checked_sub(u128::from(terms.d.get()))?;
        if time == 0 {
            return None;
        }
        let c = u128::from(terms.c.get());
        let over_peak = ((m + c) * SECOND).div_ceil(time);
        let rate = match p {
            None => ((b + c) * SECOND).div_ceil(time),
            Some(p) if over_peak >= p || p == r => over_peak,
            Some(p) => {
                let bytes = (b - m).checked_mul(p)?.checked_add((m + c).checked_mul(p - r)?)?;
                let span = time.checked_mul(p - r)?.checked_add((b - m) * SECOND)?;
                bytes.checked_mul(SECOND)?.div_ceil(span)
            }
        };
        u64::try_from(rate.max(r)).ok().map(Rate::new)
    }

    /// The buffer that an element needs so that it drops no conforming packet, at the reserved rate R and with the sums of
    /// the terms since the last reshaping.
    ///
    /// p infinite: `b + C + D·R`. Else with `e = C/R + D`: `M + (b − M)(p − X)/(p − r) + e·X`, where X is
    /// r if `(b − M)/(p − r) < e`, else R if p > R, else p; p = r: `M + e·p`.
    ///
    /// - **Units**: bytes, rounded up. `None` where R < r.
    /// - **Source**: RFC 2212, section "Policing and Shaping".
    pub fn buffer(&self, reserved: Rate, terms: ErrorTerms) -> Option<Bytes> {
        if reserved < self.token_rate() || reserved == Rate::ZERO {
            return None;
        }
        let Letters { b, p, r, m } = self.letters();
        let rate = u128::from(reserved.get());
        let (c, d) = (u128::from(terms.c.get()), u128::from(terms.d.get()));
        let bytes = match p {
            None => b + c + (d * rate).div_ceil(SECOND),
            Some(p) => {
                // e in microseconds over R: e = error ÷ (R · 10⁶) seconds.
                let error = c * SECOND + d.checked_mul(rate)?;
                let slower = (b - m).checked_mul(SECOND)?.checked_mul(rate)? < error.checked_mul(p - r)?;
                let served = match () {
                    () if slower => r,
                    () if p > rate => rate,
                    () => p,
                };
                let burst = if p == r { 0 } else { (b - m).checked_mul(p - served)?.div_ceil(p - r) };
                m + burst + error.checked_mul(served)?.div_ceil(rate * SECOND)
            }
        };
        u64::try_from(bytes).ok().map(Bytes::new)
    }

    /// The buffer that a reshaper needs: `b + C + D·r`, with the sums of the terms since the last reshaping.
    ///
    /// - **Units**: bytes, rounded up.
    /// - **Source**: RFC 2212, section "Policing and Shaping".
    pub fn reshaper_buffer(&self, terms: ErrorTerms) -> Option<Bytes> {
        let Letters { b, r, .. } = self.letters();
        let drift = (u128::from(terms.d.get()) * r).div_ceil(SECOND);
        u64::try_from(b + u128::from(terms.c.get()) + drift).ok().map(Bytes::new)
    }

    /// S: the difference between the target and the delay at R = r; zero where the delay is longer.
    ///
    /// `target − (b/r + C/r + D)`, rounded down, so that the slack is never more than there is.
    ///
    /// - **Source**: RFC 2212, the slack term of the RSpec.
    pub fn slack(&self, target: Micros, terms: ErrorTerms) -> Micros {
        let Letters { b, r, .. } = self.letters();
        let delay = ((b + u128::from(terms.c.get())) * SECOND).div_ceil(r) + u128::from(terms.d.get());
        let left = u128::from(target.get()).saturating_sub(delay);
        Micros::new(u64::try_from(left).unwrap_or(u64::MAX))
    }

    fn letters(&self) -> Letters {
        Letters {
            b: u128::from(self.token_bucket_size().get()),
            p: match self.peak_bandwidth() {
                Peak::Infinite => None,
                Peak::Finite(peak) => Some(u128::from(peak.get())),
            },
            r: u128::from(self.token_rate().get()),
            m: u128::from(self.max_sdu_size().get()),
        }
    }
}

/// RFC 2212's letters in 128 bits: b, p (`None` where infinite), r, and M as `m`.
struct Letters {
    b: u128,
    p: Option<u128>,
    r: u128,
    m: u128,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Flowspec};
    use proptest::prelude::*;

    fn tspec(r: u64, b: u64, p: Option<u64>, m: u64) -> TSpec {
        let mut spec = Flowspec::guaranteed(Rate::new(r), Bytes::new(b));
        spec.peak_bandwidth = p.map(|p| Peak::Finite(Rate::new(p)));
        spec.max_sdu_size = Some(Bytes::new(m));
        TSpec::new(&spec, Direction::Sending, Bytes::new(65_535)).expect("valid").expect("guaranteed")
    }

    const NONE: ErrorTerms = ErrorTerms { c: Bytes::ZERO, d: Micros::new(0) };

    fn terms(c: u64, d: u64) -> ErrorTerms {
        ErrorTerms { c: Bytes::new(c), d: Micros::new(d) }
    }

    #[test]
    fn delay_bounds_agree_with_hand_computed_ones() {
        let bound = |tspec: TSpec, rate, terms| tspec.delay_bound(Rate::new(rate), terms).map(Micros::get);
        let infinite = tspec(1000, 10_000, None, 1000);
        assert_eq!(bound(infinite, 1000, NONE), Some(10_000_000), "b/R");
        assert_eq!(bound(infinite, 2000, terms(2000, 7)), Some(6_000_007), "(b + C)/R + D");
        assert_eq!(bound(infinite, 999, NONE), None, "R < r");
        let finite = tspec(1000, 10_000, Some(4000), 1000);
        // 9000/2000 · 2000/3000 + 1000/2000 = 3 + 0.5.
        assert_eq!(bound(finite, 2000, NONE), Some(3_500_000));
        assert_eq!(bound(finite, 4000, NONE), Some(250_000), "R = p: M/R");
        assert_eq!(bound(finite, 8000, NONE), Some(125_000), "R > p");
        assert_eq!(bound(tspec(1000, 10_000, Some(1000), 1000), 1000, NONE), Some(1_000_000), "p = r");
        assert_eq!(bound(tspec(1000, 1000, Some(4000), 1000), 2000, NONE), Some(500_000), "b = M");
        assert_eq!(bound(tspec(3, 10, None, 10), 3, NONE), Some(3_333_334), "rounded up");
    }

    #[test]
    fn buffers_agree_with_hand_computed_ones() {
        let need = |tspec: TSpec, rate, terms| tspec.buffer(Rate::new(rate), terms).map(Bytes::get);
        assert_eq!(need(tspec(1000, 10_000, None, 1000), 2000, terms(500, 1_000_000)), Some(12_500));
        let finite = tspec(1000, 10_000, Some(4000), 1000);
        // (b − M)/(p − r) = 3 s; e = 0.25 + 1 s: X = R. 1000 + 9000 · 2000/3000 + 1.25 · 2000.
        assert_eq!(need(finite, 2000, terms(500, 1_000_000)), Some(9500));
        // e = 4 s: X = r. 1000 + 9000 + 4 · 1000.
        assert_eq!(need(finite, 2000, terms(0, 4_000_000)), Some(14_000));
        // R ≥ p: X = p. 1000 + 0 + 1 · 4000.
        assert_eq!(need(finite, 5000, terms(0, 1_000_000)), Some(5000));
        assert_eq!(
            need(tspec(1000, 10_000, Some(1000), 1000), 1000, terms(0, 2_000_000)),
            Some(3000),
            "p = r"
        );
        assert_eq!(need(finite, 999, NONE), None);
        assert_eq!(finite.reshaper_buffer(terms(500, 1_000_000)), Some(Bytes::new(11_500)));
    }

    #[test]
    fn slack_is_the_target_less_the_delay() {
        let tspec = tspec(1000, 10_000, None, 1000);
        assert_eq!(tspec.slack(Micros::new(12_000_000), terms(1000, 5)), Micros::new(999_995));
        assert_eq!(tspec.slack(Micros::new(10_000_000), terms(1, 0)), Micros::new(0));
    }

    #[test]
    fn a_target_within_the_fixed_error_cannot_be_met() {
        let tspec = tspec(1000, 10_000, None, 1000);
        assert_eq!(tspec.least_rate(Micros::new(5), terms(0, 5)), None);
        assert_eq!(tspec.least_rate(Micros::new(5), terms(0, 6)), None);
        assert_eq!(tspec.least_rate(Micros::new(6), terms(0, 5)), Some(Rate::new(10_000_000_000)));
    }

    #[test]
    fn the_largest_values_of_rfc_2210_do_not_overflow() {
        let largest = tspec(1 << 45, 250_000_000_000, Some(40_000_000_000_000), 65_535);
        let terms = terms(1 << 28, 1 << 28);
        let target = Micros::new(1 << 29);
        let rate = largest.least_rate(target, terms).expect("an answer");
        assert!(largest.delay_bound(rate, terms).is_some_and(|bound| bound <= target));
        assert!(largest.buffer(rate, terms).is_some());
    }

    fn any_tspec() -> impl Strategy<Value = TSpec> {
        let peak = prop::option::of(0u64..1 << 32);
        (1u64..1 << 32, 1u64..65_535, 0u64..1 << 32, peak)
            .prop_map(|(r, m, more, peak)| tspec(r, m + more, peak.map(|extra| r + extra), m))
    }

    proptest! {
        /// The least rate meets its target, and one less does not.
        #[test]
        fn the_least_rate_is_least(
            tspec in any_tspec(), c in 0u64..1 << 24, d in 0u64..1 << 20, target in 1u64..1 << 32
        ) {
            let terms = terms(c, d);
            let target = Micros::new(target);
            match tspec.least_rate(target, terms) {
                None => prop_assert!(target.get() <= d),
                Some(rate) => {
                    prop_assert!(rate >= tspec.token_rate());
                    let bound = tspec.delay_bound(rate, terms).expect("R is at least r");
                    prop_assert!(bound <= target, "{bound} at {rate}");
                    if rate > tspec.token_rate() {
                        let less = Rate::new(rate.get() - 1);
                        let bound = tspec.delay_bound(less, terms).expect("still at least r");
                        prop_assert!(bound > target, "{bound} at {less}");
                    }
                }
            }
        }

        /// A higher rate never has a longer delay, also across R = p.
        #[test]
        fn delay_falls_with_the_rate(tspec in any_tspec(), c in 0u64..1 << 24, more in 0u64..1 << 32) {
            let terms = terms(c, 0);
            let low = tspec.delay_bound(tspec.token_rate(), terms).expect("R = r");
            let high = tspec.token_rate().checked_add(Rate::new(more)).expect("no overflow");
            prop_assert!(tspec.delay_bound(high, terms).expect("R ≥ r") <= low);
        }

        /// The bound is the time that the largest backlog takes: no point of the arrival curve waits longer.
        #[test]
        fn the_bound_covers_the_arrival_curve(tspec in any_tspec(), more in 0u64..1 << 32, at in 0u64..1 << 32) {
            let rate = tspec.token_rate().checked_add(Rate::new(more)).expect("no overflow");
            let bound = tspec.delay_bound(rate, NONE).expect("R ≥ r");
            let arrived = u128::from(tspec.arrival_bound(Micros::new(at)).get());
            let served = u128::from(rate.get()) * u128::from(at + bound.get()) / SECOND;
            prop_assert!(arrived <= served + 1, "{arrived} B by {at} us, {served} B served {bound} later");
        }
    }
}
