//! What the flows of a class were measured to send, in place of what they have declared.
//!
//! Floyd's measured sum with Hoeffding's bound, in integers: the flows that were there for a whole window
//! take `ν + sqrt(ln(1/ε) · Σ p² / 2)`, ν being the highest of the latest means, but never more than they
//! have declared, and never less than that divided by the class's overbooking. Newer flows count as
//! declared. Where no measurement comes for three windows, all flows do again.
//!
//! ε is one in a thousand, and the exponent is taken twice: a target met with measured numbers in place of
//! true ones is missed by about the square root (Grossglauser and Tse), so that one in a million is aimed at.

use std::collections::VecDeque;

use flowspec::{Both, Direction, Micros, Moment, Peak, Rate, Ratio, TSpec};

use crate::ordered::OrderedMap;

use super::footprint::Footprint;
use super::rank::Rank;

/// The shortest window: over less time, a token bucket alone is a considerable rate.
pub const SHORTEST_MEASUREMENT: Micros = Micros::new(100_000);

/// The longest: a day.
pub const LONGEST_MEASUREMENT: Micros = Micros::new(86_400_000_000);

/// How many measurements are kept; the highest of them counts.
const SAMPLES: usize = 10;

/// For how many windows a measurement is valid.
const WINDOWS: u64 = 3;

/// `2 · ln(1/ε) / 2`, in millionths, rounded up: ln(10³) is 6.907755….
const TARGET_MILLIONTHS: u128 = 6_907_756;

/// The flows of one class on one interface, as they are measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct MeasuredFlows {
    /// Flows that have not lasted for a whole window, by start and rank: what each declares. Two flows that are tried
    /// at once have the same order and different slots.
    fresh: OrderedMap<(Moment, Rank), Both<Declared>>,
    /// Sums over the flows that have lasted for a whole window.
    known: Both<MeasuredSums>,
    /// The latest means, newest last.
    samples: VecDeque<Both<Rate>>,
    /// Flows that had begun by then are measured.
    since: Option<Moment>,
    good_until: Moment,
    /// The class's type, for the Russian dolls.
    pub(crate) class_type: u8,
    /// The class's overbooking in thousandths, which limits the relief.
    pub(crate) overbooking: u64,
}

/// What a class's flows sent on average.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    pub(crate) rate: Both<Rate>,
    /// The start of the measurement: it is of the flows that had begun by then.
    pub(crate) since: Moment,
    /// The class's overbooking in thousandths, as it is now.
    pub(crate) overbooking: u64,
}

/// What a flow declares in a direction.
#[derive(Clone, Copy, Debug, Default)]
struct Declared {
    rate: Rate,
    peak: Rate,
}

/// Flows that are measured, added up.
#[derive(Clone, Copy, Debug, Default)]
struct MeasuredSums {
    rate: u128,
    /// Of the peaks' squares, less the part that is counted in `overflows`.
    squares: u128,
    /// How often the sum of the squares has exceeded 128 bits.
    overflows: u64,
}

/// The most a flow sends as a mean over the shortest window: `min(p, r + b / T)`, rounded up.
pub(crate) fn peak_of(tspec: &TSpec) -> Rate {
    let in_bucket = Rate::new(tspec.token_bucket_size().get())
        .scale_up(Ratio { numerator: 1_000_000, denominator: SHORTEST_MEASUREMENT.get() });
    let peak = tspec.token_rate().checked_add(in_bucket).unwrap_or(Rate::new(u64::MAX));
    match tspec.peak_bandwidth() {
        Peak::Finite(declared) => peak.min(declared),
        Peak::Infinite => peak,
    }
}

impl MeasuredFlows {
    /// A flow of the class begins. One that ends by itself counts as declared for as long as it lasts.
    pub(crate) fn join(&mut self, footprint: &Footprint) {
        self.class_type = footprint.class_type;
        let Some(declared) = declared(footprint) else { return };
        if Some(footprint.window.start) <= self.since {
            // It was measured before, and was unbooked while another reservation was tried.
            self.count(declared, MeasuredSums::add);
        } else {
            self.fresh.insert((footprint.window.start, footprint.rank()), declared);
        }
    }

    /// A flow has ended.
    pub(crate) fn leave(&mut self, footprint: &Footprint) {
        let Some(declared) = declared(footprint) else { return };
        if self.fresh.remove(&(footprint.window.start, footprint.rank())).is_none() {
            self.count(declared, MeasuredSums::remove);
        }
    }

    fn count(&mut self, declared: Both<Declared>, change: fn(&mut MeasuredSums, Declared)) {
        for direction in Direction::BOTH {
            change(self.known.get_mut(direction), *declared.get(direction));
        }
    }

    /// What the class's flows sent until now.
    pub(crate) fn measure(&mut self, mean: Mean, now: Moment) {
        let Mean { rate, since, overbooking } = mean;
        self.overbooking = overbooking;
        let (known, fresh): (OrderedMap<_, _>, _) =
            std::mem::take(&mut self.fresh).into_iter().partition(|(begun, _)| *begun < (since, Rank::LAST));
        self.fresh = fresh;
        for declared in known.into_values() {
            self.count(declared, MeasuredSums::add);
        }
        self.since = self.since.max(Some(since));
        if now >= self.good_until {
            self.samples.clear();
        }
        self.samples.push_back(rate);
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        self.good_until =
            now.saturating_add(Micros::new(now.saturating_since(since).get().saturating_mul(WINDOWS)));
    }

    /// What the measured flows declare together, whether or not they were there for a whole window.
    pub(crate) fn declares(&self, direction: Direction) -> u128 {
        let fresh = self.fresh.values().map(|declared| u128::from(declared.get(direction).rate.get()));
        self.known.get(direction).rate + fresh.sum::<u128>()
    }

    /// Whether the last measurement stops counting after one moment and by another.
    pub(crate) fn ends_between(&self, before: Moment, now: Moment) -> bool {
        before < self.good_until && self.good_until <= now
    }

    /// By how much the flows take less than they have declared.
    pub(crate) fn relief(&self, direction: Direction, now: Moment) -> u64 {
        if now >= self.good_until {
            return 0;
        }
        let MeasuredSums { rate: declared, squares, overflows } = *self.known.get(direction);
        let mean = self.samples.iter().map(|sample| sample.get(direction).get()).max().unwrap_or(u64::MAX);
        // The least that the cap allows, rounded up.
        let least = declared.saturating_mul(1000).div_ceil(u128::from(self.overbooking.max(1000)));
        let product = if overflows == 0 { squares.checked_mul(TARGET_MILLIONTHS) } else { None };
        let taken = match product {
            Some(product) => u128::from(mean).saturating_add(root(product.div_ceil(1_000_000))),
            None => declared,
        };
        u64::try_from(declared - taken.clamp(least, declared)).unwrap_or(u64::MAX)
    }
}

impl MeasuredSums {
    const fn add(&mut self, declared: Declared) {
        let Declared { rate, peak } = declared;
        self.rate += rate.get() as u128;
        let (squares, overflows) = self.squares.overflowing_add(square(peak));
        (self.squares, self.overflows) = (squares, self.overflows + overflows as u64);
    }

    const fn remove(&mut self, declared: Declared) {
        let Declared { rate, peak } = declared;
        self.rate -= rate.get() as u128;
        let (squares, overflows) = self.squares.overflowing_sub(square(peak));
        (self.squares, self.overflows) = (squares, self.overflows - overflows as u64);
    }
}

/// Fits 128 bits, since a rate fits 64.
const fn square(rate: Rate) -> u128 {
    let rate = rate.get() as u128;
    rate * rate
}

/// What a footprint declares where it is measured; `None` where it ends by itself, or is not measured.
fn declared(footprint: &Footprint) -> Option<Both<Declared>> {
    let peaks = footprint.peak.as_deref()?;
    footprint.window.end.is_none().then(|| {
        let of = |direction| {
            let peak = *peaks.get(direction);
            let rate = if peak > Rate::ZERO { *footprint.charged.get(direction) } else { Rate::ZERO };
            Declared { rate, peak }
        };
        Both { sending: of(Direction::Sending), receiving: of(Direction::Receiving) }
    })
}

/// The square root, rounded up.
const fn root(square: u128) -> u128 {
    let root = square.isqrt();
    if root * root == square { root } else { root + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_whose_squares_exceed_the_type_are_counted_out_again() {
        let declared = |rate, peak| Declared { rate: Rate::new(rate), peak: Rate::new(peak) };
        let (largest, small) = (declared(u64::MAX, u64::MAX), declared(7, 3));
        let mut sums = MeasuredSums::default();
        for declared in [small, largest, largest, largest] {
            sums.add(declared);
        }
        assert!(sums.overflows > 0);
        for _ in 0..3 {
            sums.remove(largest);
        }
        assert_eq!((sums.rate, sums.squares, sums.overflows), (7, 9, 0));
    }
}
