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
pub(super) struct Profile {
    /// What is taken now. More than any one amount can be: what nothing limits adds up.
    current: u128,
    /// What changes later.
    changes: Option<Box<Changes>>,
}

/// Changes in the order of their times, in a B-tree whose branches know the sum and the largest prefix
/// sum of what is below them.
#[derive(Clone, Debug)]
enum Changes {
    Leaf(Vec<Change>),
    Branch(Vec<Child>),
}

#[derive(Clone, Copy, Debug)]
struct Change {
    at: u64,
    delta: i128,
}

#[derive(Clone, Debug)]
struct Child {
    /// No later than the first change below.
    first: u64,
    below: Below,
    node: Box<Changes>,
}

/// What there is below a node.
#[derive(Clone, Copy, Debug)]
struct Below {
    sum: i128,
    /// The largest sum up to and including one of the changes.
    highest: i128,
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
    pub(super) fn current(&self) -> u64 {
        u64::try_from(self.current).unwrap_or(u64::MAX)
    }

    /// The most that is taken at any moment of a window that begins at or after now.
    pub(super) fn highest(&self, window: Window, now: u64) -> u64 {
        let Some(changes) = &self.changes else { return self.current() };
        let at_start = if window.start <= now { 0 } else { changes.sum_until(window.start) };
        let mut sum = 0;
        let later = changes.highest_between(window.start.max(now), window.end, &mut sum);
        let highest = later.map_or(at_start, |later| later.max(at_start));
        u64::try_from(shifted(self.current, highest)).unwrap_or(u64::MAX)
    }

    /// Whether so much more fits a limit at every moment from now on, whatever the window: found out without
    /// going down the tree. Where it does not, it may still fit a window.
    pub(super) fn has_room_always(&self, amount: u64, limit: u64) -> bool {
        let highest = self.changes.as_ref().map_or(0, |changes| changes.below().highest.max(0));
        let taken = self.current.checked_add_signed(highest);
        taken
            .and_then(|taken| taken.checked_add(u128::from(amount)))
            .is_some_and(|sum| sum <= u128::from(limit))
    }

    /// Takes an amount over a window.
    pub(super) fn book(&mut self, amount: u64, window: Window, now: u64) {
        self.change(i128::from(amount), window, now);
    }

    /// Gives back what was taken over the same window. What of it is past has been given back already.
    pub(super) fn unbook(&mut self, amount: u64, window: Window, now: u64) {
        self.change(-i128::from(amount), window, now);
    }

    /// Time passes: what has begun or ended by now is counted.
    pub(super) fn advance(&mut self, now: u64) {
        while let Some(changes) = &self.changes
            && let Some(Change { at, delta }) = changes.first()
            && at <= now
        {
            self.later(at, -delta);
            self.current = shifted(self.current, delta);
        }
    }

    /// The moments after now at which it changes, in order.
    pub(super) fn moments(&self) -> Vec<u64> {
        let mut moments = Vec::new();
        if let Some(changes) = &self.changes {
            changes.collect(&mut moments);
        }
        moments
    }

    /// Whether nothing is taken, now or later.
    pub(super) const fn is_empty(&self) -> bool {
        self.current == 0 && self.changes.is_none()
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
        let root = self.changes.get_or_insert_with(|| Box::new(Changes::Leaf(Vec::new())));
        if let Some(second) = root.add(at, delta) {
            // The root was too wide: it becomes the first of two branches.
            let first = std::mem::replace(&mut **root, Changes::Branch(Vec::with_capacity(WIDEST + 1)));
            if let Changes::Branch(children) = &mut **root {
                children.push(Child::new(first));
                children.push(Child::new(second));
            }
        }
        // A branch with one child is that child.
        while let Changes::Branch(children) = &mut **root
            && children.len() == 1
            && let Some(only) = children.pop()
        {
            *root = only.node;
        }
        if root.is_empty() {
            self.changes = None;
        }
    }
}

fn shifted(amount: u128, delta: i128) -> u128 {
    let sum = amount.checked_add_signed(delta);
    sum.unwrap_or_else(|| panic!("{amount} changed by {delta} is no amount"))
}

impl Changes {
    /// Adds to the change at a moment; one that comes to nothing is taken out. What is too much for the
    /// node is returned, to come after it.
    fn add(&mut self, at: u64, delta: i128) -> Option<Self> {
        match self {
            Self::Leaf(changes) => {
                match changes.binary_search_by_key(&at, |change| change.at) {
                    Ok(here) => {
                        changes[here].delta += delta;
                        if changes[here].delta == 0 {
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

    fn first(&self) -> Option<Change> {
        match self {
            Self::Leaf(changes) => changes.first().copied(),
            Self::Branch(children) => children.first()?.node.first(),
        }
    }

    fn below(&self) -> Below {
        let mut below = Below { sum: 0, highest: i128::MIN };
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
    fn sum_until(&self, at: u64) -> i128 {
        match self {
            Self::Leaf(changes) => {
                changes.iter().take_while(|change| change.at <= at).map(|change| change.delta).sum()
            }
            Self::Branch(children) => {
                let here = children.partition_point(|child| child.first <= at);
                let Some((last, before)) = children[..here].split_last() else { return 0 };
                before.iter().map(|child| child.below.sum).sum::<i128>() + last.node.sum_until(at)
            }
        }
    }

    /// The largest sum up to a change between two moments, neither included; `sum` is what comes before the
    /// node, and then what comes before its end or before `until`.
    fn highest_between(&self, after: u64, until: u64, sum: &mut i128) -> Option<i128> {
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

    fn collect(&self, moments: &mut Vec<u64>) {
        match self {
            Self::Leaf(changes) => moments.extend(changes.iter().map(|change| change.at)),
            Self::Branch(children) => children.iter().for_each(|child| child.node.collect(moments)),
        }
    }
}

impl Child {
    fn new(node: Changes) -> Self {
        Self { first: node.first().map_or(0, |change| change.at), below: node.below(), node: Box::new(node) }
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
        assert_eq!((profile.current(), profile.changes.is_none()), (0, true));
    }

    fn slot(moment: u64, slots: usize) -> usize {
        usize::try_from(moment).map_or(slots, |moment| moment.min(slots))
    }

    proptest! {
        /// Against a table of every moment.
        #[test]
        fn agrees_with_a_table(
            steps in prop::collection::vec((0u64..90, 1u64..40, 0u64..100, any::<bool>(), 0u64..2), 1..300)
        ) {
            const SLOTS: usize = 256;
            let mut profile = Profile::default();
            let mut table = vec![0u64; SLOTS];
            let mut booked: Vec<(u64, Window)> = Vec::new();
            let mut now = 0;
            for (delay, length, amount, undo, pass) in steps {
                if undo && !booked.is_empty() {
                    let (amount, window) = booked.swap_remove(usize::try_from(length).unwrap_or(0) % booked.len());
                    profile.unbook(amount, window, now);
                    for slot in &mut table[slot(window.start, SLOTS)..slot(window.end, SLOTS)] {
                        *slot -= amount;
                    }
                } else {
                    let end = if length > 38 { FOREVER } else { now + delay + length };
                    let window = window(now + delay, end);
                    profile.book(amount, window, now);
                    booked.push((amount, window));
                    for slot in &mut table[slot(window.start, SLOTS)..slot(window.end, SLOTS)] {
                        *slot += amount;
                    }
                }
                now = (now + pass).min(100);
                profile.advance(now);
                prop_assert_eq!(profile.current(), table[slot(now, SLOTS)]);
                for (start, end) in [(now, now + 1), (now, SLOTS as u64), (now + delay, now + delay + length)] {
                    let expected = table[slot(start, SLOTS)..slot(end, SLOTS)].iter().max().copied().unwrap_or(0);
                    prop_assert_eq!(profile.highest(window(start, end), now), expected, "[{}, {})", start, end);
                }
            }
        }
    }
}
