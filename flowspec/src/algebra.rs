//! Operations on several TSpecs: order, merge, bounds, sum.
//!
//! The order is partial: two TSpecs may be incomparable, so there is no `Ord`.
//!
//! Source: RFC 2215 section 3.6, RFC 2216, RFC 2212 and 2211 ("Ordering and Merging").

use std::cmp::Ordering;

use crate::peak::Peak;
use crate::tspec::TSpec;
use crate::units::{Bytes, Rate};

impl TSpec {
    /// Whether a reservation for this TSpec also serves the other: r, b, p and M are at least as large, m at most as
    /// large.
    pub fn covers(&self, other: &Self) -> bool {
        self.token_rate() >= other.token_rate()
            && self.token_bucket_size() >= other.token_bucket_size()
            && at_least(self.peak_bandwidth(), other.peak_bandwidth())
            && self.max_sdu_size() >= other.max_sdu_size()
            && self.minimum_policed_size() <= other.minimum_policed_size()
    }

    /// The order of two TSpecs; `None` where neither covers the other.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }

    /// The merged TSpec that is sent upstream: the largest r, b and p, the smallest m, and the **smallest M**, so that
    /// no branch gets a packet that it cannot carry.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let bound = self.least_upper_bound(other);
        Self { max_sdu_size: self.max_sdu_size().min(other.max_sdu_size()), ..bound }
    }

    /// The least TSpec that covers both: as [`merge`](Self::merge), but with the **largest M**.
    #[must_use]
    pub fn least_upper_bound(&self, other: &Self) -> Self {
        Self {
            token_rate: self.token_rate().max(other.token_rate()),
            token_bucket_size: self.token_bucket_size().max(other.token_bucket_size()),
            peak_bandwidth: larger(self.peak_bandwidth(), other.peak_bandwidth()),
            minimum_policed_size: self.minimum_policed_size().min(other.minimum_policed_size()),
            max_sdu_size: self.max_sdu_size().max(other.max_sdu_size()),
        }
    }

    /// The greatest TSpec that both cover: the smallest r, b, p and M, the largest m. `None` where that m is above that
    /// M: then no TSpec is covered by both.
    pub fn greatest_lower_bound(&self, other: &Self) -> Option<Self> {
        let bound = Self {
            token_rate: self.token_rate().min(other.token_rate()),
            token_bucket_size: self.token_bucket_size().min(other.token_bucket_size()),
            peak_bandwidth: smaller(self.peak_bandwidth(), other.peak_bandwidth()),
            minimum_policed_size: self.minimum_policed_size().max(other.minimum_policed_size()),
            max_sdu_size: self.max_sdu_size().min(other.max_sdu_size()),
        };
        (bound.minimum_policed_size <= bound.max_sdu_size).then_some(bound)
    }

    /// The traffic of two sources together: r, b and p added, the smaller m, the larger M. `None` where a sum does not
    /// fit 64 bits.
    ///
    /// With two finite peaks the curve of the sum may start below the sum of the two curves, by the smaller M, since both
    /// sources may send a packet at once. The curve of [`sum_for_delay`](Self::sum_for_delay) is never below.
    pub fn sum(&self, other: &Self) -> Option<Self> {
        let added = |a: Bytes, b: Bytes| a.get().checked_add(b.get()).map(Bytes::new);
        Some(Self {
            token_rate: self.token_rate().checked_add(other.token_rate())?,
            token_bucket_size: added(self.token_bucket_size(), other.token_bucket_size())?,
            peak_bandwidth: match (self.peak_bandwidth(), other.peak_bandwidth()) {
                (Peak::Finite(a), Peak::Finite(b)) => Peak::Finite(a.checked_add(b)?),
                (Peak::Infinite, _) | (_, Peak::Infinite) => Peak::Infinite,
            },
            minimum_policed_size: self.minimum_policed_size().min(other.minimum_policed_size()),
            max_sdu_size: self.max_sdu_size().max(other.max_sdu_size()),
        })
    }

    /// The sum, with both M added: its curve is never below the sum of the two curves, so that a delay bound computed
    /// from it holds.
    pub fn sum_for_delay(&self, other: &Self) -> Option<Self> {
        let together = self.max_sdu_size().get().checked_add(other.max_sdu_size().get())?;
        Some(Self { max_sdu_size: Bytes::new(together), ..self.sum(other)? })
    }

    /// The minimum of two unordered TSpecs, as RFC 2211 and 2212 define it for reports: the smaller r, the **larger** b,
    /// the smaller p, the smaller m, the smaller M. It is no bound of either.
    #[must_use]
    pub fn minimum(&self, other: &Self) -> Self {
        Self {
            token_rate: self.token_rate().min(other.token_rate()),
            token_bucket_size: self.token_bucket_size().max(other.token_bucket_size()),
            peak_bandwidth: smaller(self.peak_bandwidth(), other.peak_bandwidth()),
            minimum_policed_size: self.minimum_policed_size().min(other.minimum_policed_size()),
            max_sdu_size: self.max_sdu_size().min(other.max_sdu_size()),
        }
    }
}

fn at_least(a: Peak, b: Peak) -> bool {
    larger(a, b) == a
}

fn larger(a: Peak, b: Peak) -> Peak {
    pick(a, b, Rate::max, Peak::Infinite)
}

fn smaller(a: Peak, b: Peak) -> Peak {
    match (a, b) {
        (Peak::Infinite, only) | (only, Peak::Infinite) => only,
        (Peak::Finite(_), Peak::Finite(_)) => pick(a, b, Rate::min, a),
    }
}

/// `choose` of two finite peaks, otherwise `otherwise`.
fn pick(a: Peak, b: Peak, choose: fn(Rate, Rate) -> Rate, otherwise: Peak) -> Peak {
    match (a, b) {
        (Peak::Finite(a), Peak::Finite(b)) => Peak::Finite(choose(a, b)),
        (Peak::Infinite, _) | (_, Peak::Infinite) => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Flowspec, Micros};
    use proptest::prelude::*;

    /// Small numbers, so that equal and comparable TSpecs are common.
    fn any_tspec() -> impl Strategy<Value = TSpec> {
        (1u64..4, 0u64..4, prop::option::of(0u64..4), 1u64..4, 0u64..4).prop_map(|(r, b, p, m, more)| {
            let mut spec = Flowspec::guaranteed(Rate::new(r * 1000), Bytes::new(100 * (m + more + b)));
            spec.peak_bandwidth = p.map(|extra| Peak::Finite(Rate::new((r + extra) * 1000)));
            spec.minimum_policed_size = Some(Bytes::new(100 * m));
            spec.max_sdu_size = Some(Bytes::new(100 * (m + more)));
            let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500));
            tspec.expect("valid").expect("guaranteed")
        })
    }

    /// The invariants of [`TSpec::new`], which the operations do not call.
    fn is_valid(tspec: &TSpec) -> bool {
        tspec.minimum_policed_size() <= tspec.max_sdu_size()
            && tspec.max_sdu_size() <= tspec.token_bucket_size()
            && at_least(tspec.peak_bandwidth(), Peak::Finite(tspec.token_rate()))
    }

    proptest! {
        #[test]
        fn the_order_is_partial(a in any_tspec(), b in any_tspec(), c in any_tspec()) {
            prop_assert!(a.covers(&a));
            prop_assert_eq!(a.covers(&b) && b.covers(&a), a == b, "antisymmetric");
            prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c), "transitive");
            prop_assert_eq!(a.compare(&b), b.compare(&a).map(Ordering::reverse));
        }

        #[test]
        fn the_least_upper_bound_is_least(a in any_tspec(), b in any_tspec(), other in any_tspec()) {
            let bound = a.least_upper_bound(&b);
            prop_assert!(is_valid(&bound) && bound.covers(&a) && bound.covers(&b));
            prop_assert!(!(other.covers(&a) && other.covers(&b)) || other.covers(&bound));
            prop_assert_eq!(bound, b.least_upper_bound(&a));
        }

        #[test]
        fn the_greatest_lower_bound_is_greatest(a in any_tspec(), b in any_tspec(), other in any_tspec()) {
            let below = a.covers(&other) && b.covers(&other);
            match a.greatest_lower_bound(&b) {
                None => prop_assert!(!below),
                Some(bound) => {
                    prop_assert!(is_valid(&bound) && a.covers(&bound) && b.covers(&bound));
                    prop_assert!(!below || bound.covers(&other));
                }
            }
        }

        #[test]
        fn a_merge_is_the_bound_with_the_smaller_packet(a in any_tspec(), b in any_tspec(), c in any_tspec()) {
            let merged = a.merge(&b);
            prop_assert!(is_valid(&merged));
            prop_assert_eq!(merged.max_sdu_size(), a.max_sdu_size().min(b.max_sdu_size()));
            prop_assert_eq!(merged.merge(&c), a.merge(&b.merge(&c)), "associative");
            prop_assert_eq!(a.merge(&a), a, "idempotent");
        }

        /// Two sources that keep to their curves keep together to the curve of the sum.
        #[test]
        fn the_sum_bounds_the_sum_of_the_curves(a in any_tspec(), b in any_tspec(), at in 0u64..10_000_000) {
            let time = Micros::new(at);
            let both = a.arrival_bound(time).saturating_add(b.arrival_bound(time));
            let sum = a.sum(&b).expect("no overflow");
            let for_delay = a.sum_for_delay(&b).expect("no overflow");
            // Each curve drops a fraction of a byte.
            prop_assert!(for_delay.arrival_bound(time).saturating_add(Bytes::new(1)) >= both);
            let short = a.max_sdu_size().min(b.max_sdu_size()).saturating_add(Bytes::new(1));
            prop_assert!(sum.arrival_bound(time).saturating_add(short) >= both, "short by the smaller M at most");
            prop_assert!(is_valid(&sum) && sum.covers(&a) && sum.covers(&b));
        }

        #[test]
        fn the_minimum_is_valid(a in any_tspec(), b in any_tspec()) {
            prop_assert!(is_valid(&a.minimum(&b)));
            prop_assert_eq!(a.minimum(&b), b.minimum(&a));
        }
    }
}
