//! How much of something is taken, now and at every later moment.
//!
//! A booking takes an amount over a window; a check needs the largest sum inside a window. What is taken now is a
//! number; what changes later is a B-tree of changes. Booking, ending and checking cost O(log n) in the number of
//! changes to come, whatever the windows' lengths, and O(1) where nothing is booked ahead.

use flowspec::Moment;

use super::changes::{DeltaTree, Summand};
use super::window::Window;

/// An amount over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    /// What is taken now: wider than an amount, since a sum that nothing limits may exceed 64 bits.
    current: u128,
    later: Later,
    /// At least the sum of all changes' magnitudes.
    turnover: u128,
}

/// An amount that is to be taken where no more than a limit may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) amount: u64,
    pub(crate) limit: u64,
}

/// Changes to come, in a type that can hold their sums.
#[derive(Clone, Debug, Default)]
enum Later {
    #[default]
    Nothing,
    /// The sums fit 64 bits, as they nearly always do.
    Usual(DeltaTree<i64>),
    /// The sums may exceed 64 bits.
    Large(DeltaTree<i128>),
}

impl Profile {
    /// What is taken now; the largest number where it is more.
    pub(crate) fn current(&self) -> u64 {
        u64::try_from(self.current).unwrap_or(u64::MAX)
    }

    /// The most that is taken at any moment of a window that begins at or after now.
    pub(crate) fn highest(&self, window: Window, now: Moment) -> u64 {
        match &self.later {
            Later::Nothing => self.current(),
            _ => u64::try_from(self.highest_sum(window, now)).unwrap_or(u64::MAX),
        }
    }

    /// The same, however large it is.
    pub(crate) fn highest_sum(&self, window: Window, now: Moment) -> u128 {
        let highest = match &self.later {
            Later::Nothing => 0,
            Later::Usual(changes) => changes.highest(window, now).wide(),
            Later::Large(changes) => changes.highest(window, now),
        };
        shifted(self.current, highest)
    }

    /// Whether an amount fits a limit at every moment from now on, found without descending the tree. Where it does
    /// not, it may still fit inside a window.
    pub(crate) fn fits_always(&self, Demand { amount, limit }: Demand) -> bool {
        let highest = match &self.later {
            Later::Nothing => 0,
            Later::Usual(changes) => changes.below().highest.wide(),
            Later::Large(changes) => changes.below().highest,
        };
        let taken = self.current.checked_add_signed(highest.max(0));
        taken
            .and_then(|taken| taken.checked_add(u128::from(amount)))
            .is_some_and(|sum| sum <= u128::from(limit))
    }

    /// The first moment of a window, which begins at or after now, at which an amount is more than what a limit leaves;
    /// `None` where that is its start, where it never is, and where the amount alone is above the limit.
    pub(crate) fn first_without(&self, demand: Demand, window: Window, now: Moment) -> Option<Moment> {
        let above =
            i128::from(demand.limit.checked_sub(demand.amount)?).checked_sub_unsigned(self.current)?;
        match &self.later {
            Later::Nothing => None,
            Later::Usual(changes) => changes.first_above(i64::of(above), window, now),
            Later::Large(changes) => changes.first_above(above, window, now),
        }
    }

    /// What is taken at most in a window, and the first moment at which that is so; `None` where that is its start or now.
    pub(crate) fn first_highest(&self, window: Window, now: Moment) -> (u64, Option<Moment>) {
        let highest = self.highest(window, now);
        // Anything more than nothing is too much beside the largest sum alone.
        let first = self.first_without(Demand { amount: 1, limit: highest }, window, now);
        (highest, first.filter(|first| *first > window.start.max(now)))
    }

    /// A moment before which an amount does not fit in a window as long as this one that begins at or after its start: the
    /// end of the last part of the window in which it is more than what a limit leaves; `None` where none is known.
    pub(crate) fn next_try(&self, demand: Demand, window: Window, now: Moment) -> Option<Moment> {
        // More than the limit fits at no time.
        let Some(most) = demand.limit.checked_sub(demand.amount) else { return Some(Moment::LAST) };
        let above = i128::from(most).checked_sub_unsigned(self.current)?;
        match &self.later {
            Later::Nothing => None,
            Later::Usual(changes) => changes.end_of_last_above(i64::of(above), window, now),
            Later::Large(changes) => changes.end_of_last_above(above, window, now),
        }
    }

    /// The parts of a window, which begins at or after now, in which more than an amount is taken.
    pub(crate) fn runs_above(&self, amount: u64, window: Window, now: Moment) -> Vec<Window> {
        let start = window.start.max(now);
        let (mut runs, mut run, mut taken) = (Vec::new(), None, self.current);
        let mut since = start;
        let mut passes = |taken: u128, since: Moment| {
            if taken > u128::from(amount) {
                run.get_or_insert(since);
            } else if let Some(start) = run.take() {
                runs.push(Window { start, end: Some(since) });
            }
        };
        self.later.each(&mut |at, delta| {
            if window.ends_after(at) {
                if at > start {
                    passes(taken, since);
                    since = at;
                }
                taken = shifted(taken, delta);
            }
        });
        passes(taken, since);
        runs.extend(run.map(|start| Window { start, end: window.end }));
        runs
    }

    /// Takes an amount over a window.
    pub(crate) fn book(&mut self, amount: u64, window: Window, now: Moment) {
        self.change(i128::from(amount), window, now);
    }

    /// Returns what was taken over the same window; the part that is past has been returned already.
    pub(crate) fn unbook(&mut self, amount: u64, window: Window, now: Moment) {
        self.change(-i128::from(amount), window, now);
    }

    /// Time passes: what has begun or ended by now is counted.
    pub(crate) fn advance(&mut self, now: Moment) {
        while let Some((at, delta)) = self.later.first()
            && at <= now
        {
            self.later(at, -delta);
            self.current = shifted(self.current, delta);
        }
    }

    /// The first moment after this one, which is not before now, at which it changes.
    pub(crate) fn next_change(&self, moment: Moment) -> Option<Moment> {
        match &self.later {
            Later::Nothing => None,
            Later::Usual(changes) => changes.after(moment),
            Later::Large(changes) => changes.after(moment),
        }
    }

    /// Whether both take the same, now and at every later moment.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.later, &other.later) {
            (Later::Nothing, Later::Nothing) => self.current == other.current,
            _ => self.over_time() == other.over_time(),
        }
    }

    /// What is taken now, and every change to come.
    pub(crate) fn over_time(&self) -> (u128, Vec<(Moment, i128)>) {
        let mut changes = Vec::new();
        self.later.each(&mut |at, delta| changes.push((at, delta)));
        (self.current, changes)
    }

    /// Whether nothing is taken, now or later.
    pub(crate) const fn is_empty(&self) -> bool {
        self.current == 0 && matches!(self.later, Later::Nothing)
    }

    #[inline]
    fn change(&mut self, delta: i128, window: Window, now: Moment) {
        // Most flows have begun, and last until they are released.
        if window.start <= now && window.end.is_none() {
            self.current = shifted(self.current, delta);
        } else {
            self.change_later(delta, window, now);
        }
    }

    fn change_later(&mut self, delta: i128, window: Window, now: Moment) {
        if delta == 0 || !window.ends_after(now) {
            return;
        }
        if window.start <= now {
            self.current = shifted(self.current, delta);
        } else {
            self.later(window.start, delta);
        }
        if let Some(end) = window.end {
            self.later(end, -delta);
        }
    }

    fn later(&mut self, at: Moment, delta: i128) {
        self.turnover = self.turnover.saturating_add(delta.unsigned_abs());
        if self.turnover > MOST_USUAL && !matches!(self.later, Later::Large(_)) {
            self.measure(delta);
        }
        let ends = match &mut self.later {
            Later::Large(changes) => changes.grow(at, delta),
            Later::Usual(changes) => changes.grow(at, i64::of(delta)),
            Later::Nothing if self.turnover > MOST_USUAL => {
                self.later = Later::Large(DeltaTree::of(at, delta));
                false
            }
            Later::Nothing => {
                self.later = Later::Usual(DeltaTree::of(at, i64::of(delta)));
                false
            }
        };
        if ends {
            (self.later, self.turnover) = (Later::Nothing, 0);
        }
    }

    /// Recounts the changes' magnitudes with one more, and changes to the larger type if they exceed it.
    fn measure(&mut self, delta: i128) {
        let mut sum = delta.unsigned_abs();
        self.later.each(&mut |_, delta| sum = sum.saturating_add(delta.unsigned_abs()));
        if sum <= MOST_USUAL / 2 {
            self.turnover = sum;
        } else if let Later::Usual(usual) = &self.later {
            let mut large = DeltaTree::Leaf(Vec::new());
            usual.each(&mut |at, delta| {
                large.grow(at, delta);
            });
            self.later = Later::Large(large);
        }
    }
}

/// The most that the changes' magnitudes may sum to in 64 bits: half of what the type can hold.
const MOST_USUAL: u128 = 1 << 62;

impl Later {
    fn first(&self) -> Option<(Moment, i128)> {
        match self {
            Self::Nothing => None,
            Self::Usual(changes) => changes.first().map(|change| (change.at, change.delta.wide())),
            Self::Large(changes) => changes.first().map(|change| (change.at, change.delta)),
        }
    }

    fn each(&self, visit: &mut impl FnMut(Moment, i128)) {
        match self {
            Self::Nothing => {}
            Self::Usual(changes) => changes.each(visit),
            Self::Large(changes) => changes.each(visit),
        }
    }
}

fn shifted(amount: u128, delta: i128) -> u128 {
    let sum = amount.checked_add_signed(delta);
    sum.unwrap_or_else(|| panic!("{amount} changed by {delta} is no amount"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(micros: u64) -> Moment {
        Moment::from_micros(micros)
    }

    fn window(start: u64, end: impl Into<Option<u64>>) -> Window {
        Window { start: at(start), end: end.into().map(at) }
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let mut profile = Profile::default();
        profile.book(10, window(5, 10), at(0));
        profile.book(20, window(10, 15), at(0));
        assert_eq!(profile.current(), 0);
        let highest = |start, end: Option<u64>| profile.highest(window(start, end), at(0));
        assert_eq!(highest(0, Some(5)), 0, "the end is not part of it");
        assert_eq!(highest(0, Some(6)), 10);
        assert_eq!(highest(5, Some(10)), 10);
        assert_eq!(highest(9, Some(11)), 20);
        assert_eq!(highest(0, None), 20);
        assert_eq!(highest(15, None), 0);
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let mut profile = Profile::default();
        profile.book(7, window(0, 10), at(0));
        profile.book(1, Window::from(at(3)), at(0));
        profile.advance(at(3));
        assert_eq!(profile.current(), 8);
        profile.advance(at(10));
        assert_eq!(profile.current(), 1);
        profile.unbook(7, window(0, 10), at(10));
        assert_eq!(profile.current(), 1, "it has ended by itself");
        profile.unbook(1, Window::from(at(3)), at(10));
        assert_eq!((profile.current(), profile.is_empty()), (0, true));
    }

    #[test]
    fn the_last_moment_is_not_for_ever() {
        let mut profile = Profile::default();
        profile.book(7, Window { start: at(0), end: Some(Moment::LAST) }, at(0));
        profile.book(1, Window::from(Moment::LAST), at(0));
        assert_eq!(profile.highest(Window::from(at(0)), at(0)), 7);
        assert_eq!(
            profile.highest(Window::from(Moment::LAST), at(0)),
            1,
            "a window without end has it in it"
        );
        assert_eq!(profile.highest(window(5, u64::MAX), at(0)), 7, "one that ends there has not");
        profile.advance(Moment::LAST);
        assert_eq!(profile.current(), 1);
    }

    fn slot(moment: Moment, slots: usize) -> usize {
        usize::try_from(moment.as_micros()).map_or(slots, |moment| moment.min(slots))
    }

    fn slots(window: Window, slots: usize) -> std::ops::Range<usize> {
        slot(window.start, slots)..window.end.map_or(slots, |end| slot(end, slots))
    }

    proptest! {
        /// Against a table of every moment.
        #[test]
        fn agrees_with_a_table(
            steps in prop::collection::vec((0u64..90, 1u64..40, 0u64..100, any::<bool>(), 0u64..2), 1..300),
            // Amounts of which any number, or only a few, fit 64 bits.
            unit in prop::sample::select(vec![1, 1 << 40, 1 << 52, 1 << 55]),
        ) {
            const SLOTS: usize = 256;
            let demand = Demand { amount: unit, limit: 21 * unit };
            let mut profile = Profile::default();
            let mut table = vec![0u128; SLOTS];
            let mut booked: Vec<(u64, Window)> = Vec::new();
            let mut now = 0;
            for (delay, length, amount, undo, pass) in steps {
                let amount = amount * unit;
                if undo && !booked.is_empty() {
                    let (amount, window) = booked.swap_remove(usize::try_from(length).unwrap_or(0) % booked.len());
                    profile.unbook(amount, window, at(now));
                    for slot in &mut table[slots(window, SLOTS)] {
                        *slot -= u128::from(amount);
                    }
                } else {
                    let end = (length <= 38).then_some(now + delay + length);
                    let window = window(now + delay, end);
                    profile.book(amount, window, at(now));
                    booked.push((amount, window));
                    for slot in &mut table[slots(window, SLOTS)] {
                        *slot += u128::from(amount);
                    }
                }
                now = (now + pass).min(100);
                profile.advance(at(now));
                let told = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
                prop_assert_eq!(profile.current(), told(table[slot(at(now), SLOTS)]));
                for (start, end) in [(now, now + 1), (now, SLOTS as u64), (now + delay, now + delay + length)] {
                    let expected = table[slots(window(start, end), SLOTS)].iter().max().copied().unwrap_or(0);
                    prop_assert_eq!(profile.highest(window(start, end), at(now)), told(expected), "[{}, {})", start, end);
                    let highest = slots(window(start, end), SLOTS).find(|slot| table[*slot] == expected);
                    let highest = highest.filter(|highest| *highest != slot(at(start), SLOTS) && expected > 0);
                    let (_, first) = profile.first_highest(window(start, end), at(now));
                    if expected < u128::from(u64::MAX) {
                        prop_assert_eq!(first.map(|first| slot(first, SLOTS)), highest);
                    }
                    let first = profile.first_without(demand, window(start, end), at(now));
                    let mut slots_of = slots(window(start, end), SLOTS);
                    let above = slots_of.find(|slot| table[*slot] > 20 * u128::from(unit));
                    let above = above.filter(|above| *above != slot(at(start), SLOTS));
                    prop_assert_eq!(first.map(|first| slot(first, SLOTS)), above);
                    if let Some(next) = profile.next_try(demand, window(start, end), at(now)) {
                        // Every earlier start has a moment in its window at which the amount does not fit.
                        let length = end - start;
                        for earlier in start..next.as_micros().min(130) {
                            let highest = profile.highest(window(earlier, earlier + length), at(now));
                            prop_assert!(highest > 20 * unit || 20 * unit > u64::MAX / 2, "from {}", earlier);
                        }
                    }
                    let runs = profile.runs_above(20 * unit, window(start, end), at(now));
                    for slot in usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0) {
                        let inside = runs.iter().filter(|run| slots(**run, SLOTS).contains(&slot)).count();
                        let above = table.get(slot).is_some_and(|taken| *taken > 20 * u128::from(unit));
                        prop_assert_eq!(inside, usize::from(above), "moment {}", slot);
                    }
                }
            }
        }
    }
}
