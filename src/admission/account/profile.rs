//! How much of something is taken, now and at every later moment.
//!
//! A booking takes an amount over a half-open interval; only the largest sum inside an interval
//! matters. What is taken now is a number; what changes later is a B-tree of changes, ordered by time, each
//! branch with its sum and its largest prefix sum. Booking, ending and asking cost
//! O(log n) in the number of changes to come, whatever the intervals' lengths, and O(1) where nothing
//! is booked ahead.

/// A moment without end.
pub const FOREVER: u64 = u64::MAX;

/// From a moment on, up to another that is not part of it; microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// The first moment.
    pub start: u64,
    /// The first moment after it; [`FOREVER`] where there is none.
    pub end: u64,
}

/// An amount over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    /// What is taken now. More than any one amount can be: what nothing limits adds up.
    current: u128,
    /// What changes later.
    later: Later,
    /// At least what all changes come to, whatever their signs.
    turnover: u128,
}

/// Changes to come, in numbers that have room for their sums.
#[derive(Clone, Debug, Default)]
enum Later {
    #[default]
    Nothing,
    /// As nearly always.
    Usual(Changes<i64>),
    /// Amounts may be as large as a number can be, and there may be many of them.
    Large(Changes<i128>),
}

/// A signed number that sums are made of.
trait Amount: Copy + Default + Ord + std::iter::Sum + std::ops::Add<Output = Self> + std::ops::AddAssign {
    /// What is more than it has room for is the largest it has.
    fn of(delta: i128) -> Self;
    fn wide(self) -> i128;
}

/// Changes in the order of their times, in a B-tree whose branches know the sum and the largest prefix
/// sum of what is below them.
#[derive(Clone, Debug)]
enum Changes<A> {
    Leaf(Vec<Change<A>>),
    Branch(Vec<Child<A>>),
}

#[derive(Clone, Copy, Debug)]
struct Change<A> {
    at: u64,
    delta: A,
}

#[derive(Clone, Debug)]
struct Child<A> {
    /// No later than the first change below.
    first: u64,
    below: Below<A>,
    node: Changes<A>,
}

/// What there is below a node.
#[derive(Clone, Copy, Debug)]
struct Below<A> {
    sum: A,
    /// The largest sum up to and including one of the changes.
    highest: A,
}

/// The most entries of a node: few enough that going through them costs as much as finding the next node.
const WIDEST: usize = 16;

impl Window {
    /// From a moment on, for ever.
    pub const fn from(start: u64) -> Self {
        Self { start, end: FOREVER }
    }

    /// Whether two windows have a moment in common.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl Profile {
    /// What is taken now; the largest number where it is more.
    pub(crate) fn current(&self) -> u64 {
        u64::try_from(self.current).unwrap_or(u64::MAX)
    }

    /// The most that is taken at any moment of a window that begins at or after now.
    pub(crate) fn highest(&self, window: Window, now: u64) -> u64 {
        let highest = match &self.later {
            Later::Nothing => return self.current(),
            Later::Usual(changes) => changes.highest(window, now).wide(),
            Later::Large(changes) => changes.highest(window, now),
        };
        u64::try_from(shifted(self.current, highest)).unwrap_or(u64::MAX)
    }

    /// Whether so much more fits a limit at every moment from now on, whatever the window: found out without
    /// going down the tree. Where it does not, it may still fit a window.
    pub(crate) fn has_room_always(&self, amount: u64, limit: u64) -> bool {
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

    /// Takes an amount over a window.
    pub(crate) fn book(&mut self, amount: u64, window: Window, now: u64) {
        self.change(i128::from(amount), window, now);
    }

    /// Gives back what was taken over the same window. What of it is past has been given back already.
    pub(crate) fn unbook(&mut self, amount: u64, window: Window, now: u64) {
        self.change(-i128::from(amount), window, now);
    }

    /// Time passes: what has begun or ended by now is counted.
    pub(crate) fn advance(&mut self, now: u64) {
        while let Some((at, delta)) = self.later.first()
            && at <= now
        {
            self.later(at, -delta);
            self.current = shifted(self.current, delta);
        }
    }

    /// The moments after now at which it changes, in order.
    pub(crate) fn moments(&self) -> Vec<u64> {
        let mut moments = Vec::new();
        self.later.each(&mut |at, _| moments.push(at));
        moments
    }

    /// Whether nothing is taken, now or later.
    pub(crate) const fn is_empty(&self) -> bool {
        self.current == 0 && matches!(self.later, Later::Nothing)
    }

    fn change(&mut self, delta: i128, window: Window, now: u64) {
        if delta == 0 || window.end <= now {
            return;
        }
        if window.start <= now {
            self.current = shifted(self.current, delta);
        } else {
            self.later(window.start, delta);
        }
        if window.end != FOREVER {
            self.later(window.end, -delta);
        }
    }

    fn later(&mut self, at: u64, delta: i128) {
        self.turnover = self.turnover.saturating_add(delta.unsigned_abs());
        if self.turnover > MOST_USUAL && !matches!(self.later, Later::Large(_)) {
            self.measure(delta);
        }
        let ends = match &mut self.later {
            Later::Large(changes) => changes.grow(at, delta),
            Later::Usual(changes) => changes.grow(at, i64::of(delta)),
            Later::Nothing if self.turnover > MOST_USUAL => {
                self.later = Later::Large(Changes::of(at, delta));
                false
            }
            Later::Nothing => {
                self.later = Later::Usual(Changes::of(at, i64::of(delta)));
                false
            }
        };
        if ends {
            (self.later, self.turnover) = (Later::Nothing, 0);
        }
    }

    /// Finds out what the changes come to with one more, and takes larger numbers for them if need be.
    fn measure(&mut self, delta: i128) {
        let mut sum = delta.unsigned_abs();
        self.later.each(&mut |_, delta| sum = sum.saturating_add(delta.unsigned_abs()));
        if sum <= MOST_USUAL / 2 {
            self.turnover = sum;
        } else if let Later::Usual(usual) = &self.later {
            let mut large = Changes::Leaf(Vec::new());
            usual.each(&mut |at, delta| {
                large.grow(at, delta);
            });
            self.later = Later::Large(large);
        }
    }
}

/// The most that all changes may come to in usual numbers: half of what these have room for.
const MOST_USUAL: u128 = 1 << 62;

impl Later {
    /// The first change.
    fn first(&self) -> Option<(u64, i128)> {
        match self {
            Self::Nothing => None,
            Self::Usual(changes) => changes.first().map(|change| (change.at, change.delta.wide())),
            Self::Large(changes) => changes.first().map(|change| (change.at, change.delta)),
        }
    }

    fn each(&self, visit: &mut impl FnMut(u64, i128)) {
        match self {
            Self::Nothing => {}
            Self::Usual(changes) => changes.each(visit),
            Self::Large(changes) => changes.each(visit),
        }
    }
}

impl Amount for i64 {
    fn of(delta: i128) -> Self {
        Self::try_from(delta).unwrap_or(if delta < 0 { Self::MIN } else { Self::MAX })
    }

    fn wide(self) -> i128 {
        i128::from(self)
    }
}

impl Amount for i128 {
    fn of(delta: i128) -> Self {
        delta
    }

    fn wide(self) -> i128 {
        self
    }
}

fn shifted(amount: u128, delta: i128) -> u128 {
    let sum = amount.checked_add_signed(delta);
    sum.unwrap_or_else(|| panic!("{amount} changed by {delta} is no amount"))
}

impl<A: Amount> Changes<A> {
    /// One change.
    fn of(at: u64, delta: A) -> Self {
        Self::Leaf(vec![Change { at, delta }])
    }

    /// Adds to the change at a moment. Says whether there are no changes any more.
    fn grow(&mut self, at: u64, delta: A) -> bool {
        if let Some(second) = self.add(at, delta) {
            // The root was too wide: it becomes the first of two branches.
            let first = std::mem::replace(self, Self::Branch(Vec::with_capacity(WIDEST + 1)));
            if let Self::Branch(children) = self {
                children.push(Child::new(first));
                children.push(Child::new(second));
            }
        }
        // A branch with one child is that child.
        while let Self::Branch(children) = self
            && children.len() == 1
            && let Some(only) = children.pop()
        {
            *self = only.node;
        }
        self.is_empty()
    }

    /// The largest sum of changes inside a window that begins at or after now, nothing more among them.
    fn highest(&self, window: Window, now: u64) -> A {
        let at_start = if window.start <= now { A::default() } else { self.sum_until(window.start) };
        let mut sum = A::default();
        let later = self.highest_between(window.start.max(now), window.end, &mut sum);
        later.map_or(at_start, |later| later.max(at_start))
    }

    /// Adds to the change at a moment; one that comes to nothing is taken out. What is too much for the
    /// node is returned, to come after it.
    fn add(&mut self, at: u64, delta: A) -> Option<Self> {
        match self {
            Self::Leaf(changes) => {
                match changes.binary_search_by_key(&at, |change| change.at) {
                    Ok(here) => {
                        changes[here].delta += delta;
                        if changes[here].delta == A::default() {
                            changes.remove(here);
                        }
                    }
                    Err(here) => changes.insert(here, Change { at, delta }),
                }
                (changes.len() > WIDEST).then(|| Self::Leaf(changes.split_off(WIDEST / 2)))
            }
            Self::Branch(children) => {
                let here = children.partition_point(|child| child.first <= at).saturating_sub(1);
                let child = &mut children[here];
                let second = child.node.add(at, delta);
                child.first = child.first.min(at);
                if child.node.is_empty() {
                    children.remove(here);
                } else {
                    child.below = child.node.below();
                }
                if let Some(second) = second {
                    children.insert(here + 1, Child::new(second));
                }
                (children.len() > WIDEST).then(|| Self::Branch(children.split_off(WIDEST / 2)))
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(changes) => changes.is_empty(),
            Self::Branch(children) => children.is_empty(),
        }
    }

    fn first(&self) -> Option<Change<A>> {
        match self {
            Self::Leaf(changes) => changes.first().copied(),
            Self::Branch(children) => children.first()?.node.first(),
        }
    }

    fn below(&self) -> Below<A> {
        let mut below = Below { sum: A::default(), highest: A::of(i128::MIN) };
        match self {
            Self::Leaf(changes) => {
                for change in changes {
                    below.sum += change.delta;
                    below.highest = below.highest.max(below.sum);
                }
            }
            Self::Branch(children) => {
                for child in children {
                    below.highest = below.highest.max(below.sum + child.below.highest);
                    below.sum += child.below.sum;
                }
            }
        }
        below
    }

    /// The sum of the changes up to and including a moment.
    fn sum_until(&self, at: u64) -> A {
        match self {
            Self::Leaf(changes) => {
                changes.iter().take_while(|change| change.at <= at).map(|change| change.delta).sum()
            }
            Self::Branch(children) => {
                let here = children.partition_point(|child| child.first <= at);
                let Some((last, before)) = children[..here].split_last() else { return A::default() };
                before.iter().map(|child| child.below.sum).sum::<A>() + last.node.sum_until(at)
            }
        }
    }

    /// The largest sum up to a change between two moments, neither included; `sum` is what comes before the
    /// node, and then what comes before its end or before `until`.
    fn highest_between(&self, after: u64, until: u64, sum: &mut A) -> Option<A> {
        let mut highest = None;
        match self {
            Self::Leaf(changes) => {
                for change in changes.iter().take_while(|change| change.at < until) {
                    *sum += change.delta;
                    if change.at > after {
                        highest = highest.max(Some(*sum));
                    }
                }
            }
            Self::Branch(children) => {
                for (number, child) in children.iter().enumerate() {
                    if child.first >= until {
                        break;
                    }
                    // What is below comes before the next child's first.
                    let end = children.get(number + 1).map(|next| next.first);
                    if end.is_some_and(|end| end <= after) {
                        *sum += child.below.sum;
                    } else if child.first > after && end.is_some_and(|end| end <= until) {
                        highest = highest.max(Some(*sum + child.below.highest));
                        *sum += child.below.sum;
                    } else {
                        highest = highest.max(child.node.highest_between(after, until, sum));
                    }
                }
            }
        }
        highest
    }

    fn each(&self, visit: &mut impl FnMut(u64, i128)) {
        match self {
            Self::Leaf(changes) => changes.iter().for_each(|change| visit(change.at, change.delta.wide())),
            Self::Branch(children) => children.iter().for_each(|child| child.node.each(visit)),
        }
    }
}

impl<A: Amount> Child<A> {
    fn new(node: Changes<A>) -> Self {
        Self { first: node.first().map_or(0, |change| change.at), below: node.below(), node }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn window(start: u64, end: u64) -> Window {
        Window { start, end }
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let mut profile = Profile::default();
        profile.book(10, window(5, 10), 0);
        profile.book(20, window(10, 15), 0);
        assert_eq!(profile.current(), 0);
        let highest = |start, end| profile.highest(window(start, end), 0);
        assert_eq!(highest(0, 5), 0, "the end is not part of it");
        assert_eq!(highest(0, 6), 10);
        assert_eq!(highest(5, 10), 10);
        assert_eq!(highest(9, 11), 20);
        assert_eq!(highest(0, FOREVER), 20);
        assert_eq!(highest(15, FOREVER), 0);
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let mut profile = Profile::default();
        profile.book(7, window(0, 10), 0);
        profile.book(1, Window::from(3), 0);
        profile.advance(3);
        assert_eq!(profile.current(), 8);
        profile.advance(10);
        assert_eq!(profile.current(), 1);
        profile.unbook(7, window(0, 10), 10);
        assert_eq!(profile.current(), 1, "it has ended by itself");
        profile.unbook(1, Window::from(3), 10);
        assert_eq!((profile.current(), profile.is_empty()), (0, true));
    }

    fn slot(moment: u64, slots: usize) -> usize {
        usize::try_from(moment).map_or(slots, |moment| moment.min(slots))
    }

    proptest! {
        /// Against a table of every moment.
        #[test]
        fn agrees_with_a_table(
            steps in prop::collection::vec((0u64..90, 1u64..40, 0u64..100, any::<bool>(), 0u64..2), 1..300),
            // Amounts of which a few, or any number, fit usual numbers.
            unit in prop::sample::select(vec![1, 1 << 40, 1 << 52, 1 << 55]),
        ) {
            const SLOTS: usize = 256;
            let mut profile = Profile::default();
            let mut table = vec![0u128; SLOTS];
            let mut booked: Vec<(u64, Window)> = Vec::new();
            let mut now = 0;
            for (delay, length, amount, undo, pass) in steps {
                let amount = amount * unit;
                if undo && !booked.is_empty() {
                    let (amount, window) = booked.swap_remove(usize::try_from(length).unwrap_or(0) % booked.len());
                    profile.unbook(amount, window, now);
                    for slot in &mut table[slot(window.start, SLOTS)..slot(window.end, SLOTS)] {
                        *slot -= u128::from(amount);
                    }
                } else {
                    let end = if length > 38 { FOREVER } else { now + delay + length };
                    let window = window(now + delay, end);
                    profile.book(amount, window, now);
                    booked.push((amount, window));
                    for slot in &mut table[slot(window.start, SLOTS)..slot(window.end, SLOTS)] {
                        *slot += u128::from(amount);
                    }
                }
                now = (now + pass).min(100);
                profile.advance(now);
                let told = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
                prop_assert_eq!(profile.current(), told(table[slot(now, SLOTS)]));
                for (start, end) in [(now, now + 1), (now, SLOTS as u64), (now + delay, now + delay + length)] {
                    let expected = table[slot(start, SLOTS)..slot(end, SLOTS)].iter().max().copied().unwrap_or(0);
                    prop_assert_eq!(profile.highest(window(start, end), now), told(expected), "[{}, {})", start, end);
                }
            }
        }
    }
}
