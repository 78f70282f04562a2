//! How much of something is taken, now and at every later moment.
//!
//! A booking takes an amount over a half-open interval; only the largest sum inside an interval
//! matters. What is taken now is a number; what changes later is a balanced tree of changes, ordered
//! by time, each subtree with its sum and its largest prefix sum. Booking, ending and asking cost
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
    /// What is taken now.
    current: u64,
    /// What changes later.
    changes: Option<Box<Changes>>,
}

/// A treap: ordered by time, balanced by a hash of the time, so that the same changes always make the
/// same tree.
#[derive(Clone, Debug, Default)]
struct Changes {
    nodes: Vec<Node>,
    free: Vec<Link>,
    root: Link,
}

/// A node's number and one; 0 is none.
type Link = u32;

#[derive(Clone, Debug)]
struct Node {
    at: u64,
    delta: i128,
    /// Of the subtree.
    sum: i128,
    /// The largest sum of the subtree's changes up to and including one of them.
    highest: i128,
    left: Link,
    right: Link,
}

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
    /// What is taken now.
    pub(super) const fn current(&self) -> u64 {
        self.current
    }

    /// The most that is taken at any moment of a window that begins at or after now.
    pub(super) fn highest(&self, window: Window, now: u64) -> u64 {
        let Some(changes) = &self.changes else { return self.current };
        let current = i128::from(self.current);
        let at_start = if window.start <= now { 0 } else { changes.sum_until(changes.root, window.start) };
        let later = changes.highest_between(changes.root, window.start.max(now), window.end, 0);
        let highest = later.map_or(at_start, |later| later.max(at_start));
        u64::try_from(current + highest).unwrap_or(u64::MAX)
    }

    /// Takes an amount over a window.
    ///
    /// # Panics
    /// When what is taken now would not fit 64 bits: the callers have checked it against a limit.
    pub(super) fn book(&mut self, amount: u64, window: Window, now: u64) {
        self.change(i128::from(amount), window, now);
    }

    /// Gives back what was taken over the same window. What of it is past has been given back already.
    pub(super) fn unbook(&mut self, amount: u64, window: Window, now: u64) {
        self.change(-i128::from(amount), window, now);
    }

    /// Time passes: what has begun or ended by now is counted.
    pub(super) fn advance(&mut self, now: u64) {
        let Some(changes) = &mut self.changes else { return };
        while let Some((at, delta)) = changes.first()
            && at <= now
        {
            changes.add(at, -delta);
            self.current = shifted(self.current, delta);
        }
        if changes.root == 0 {
            self.changes = None;
        }
    }

    /// The moments after now at which it changes, in order.
    pub(super) fn moments(&self) -> Vec<u64> {
        let mut moments = Vec::new();
        if let Some(changes) = &self.changes {
            changes.collect(changes.root, &mut moments);
        }
        moments
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
        if self.changes.as_ref().is_some_and(|changes| changes.root == 0) {
            self.changes = None;
        }
    }

    fn later(&mut self, at: u64, delta: i128) {
        self.changes.get_or_insert_default().add(at, delta);
    }
}

fn shifted(amount: u64, delta: i128) -> u64 {
    let sum = i128::from(amount) + delta;
    u64::try_from(sum).unwrap_or_else(|_| panic!("{amount} changed by {delta} is no amount"))
}

impl Changes {
    /// Adds to the change at a moment; one that comes to nothing is taken out.
    fn add(&mut self, at: u64, delta: i128) {
        let (before, rest) = self.split(self.root, at);
        let (here, after) = match at.checked_add(1) {
            Some(next) => self.split(rest, next),
            None => (rest, 0),
        };
        let here = if here == 0 {
            self.node(at, delta)
        } else {
            let sum = self.of(here).delta + delta;
            if sum == 0 {
                self.free.push(here);
                0
            } else {
                let node = self.of_mut(here);
                (node.delta, node.sum, node.highest) = (sum, sum, sum);
                here
            }
        };
        let left = self.merge(before, here);
        self.root = self.merge(left, after);
    }

    fn first(&self) -> Option<(u64, i128)> {
        let mut link = self.root;
        let mut found = None;
        while link != 0 {
            let node = self.of(link);
            found = Some((node.at, node.delta));
            link = node.left;
        }
        found
    }

    /// The sum of the changes up to and including a moment.
    fn sum_until(&self, mut link: Link, at: u64) -> i128 {
        let mut sum = 0;
        while link != 0 {
            let node = self.of(link);
            if node.at <= at {
                sum += node.delta + self.sum(node.left);
                link = node.right;
            } else {
                link = node.left;
            }
        }
        sum
    }

    /// The largest sum up to a change between two moments, neither included; `before` is what comes
    /// before the subtree.
    fn highest_between(&self, link: Link, after: u64, until: u64, before: i128) -> Option<i128> {
        if link == 0 {
            return None;
        }
        let node = self.of(link);
        let here = before + self.sum(node.left) + node.delta;
        if node.at <= after {
            return self.highest_between(node.right, after, until, here);
        }
        if node.at >= until {
            return self.highest_between(node.left, after, until, before);
        }
        // Both ends are on either side of this node: below it, one end at a time.
        let left = self.highest_after(node.left, after, before);
        let right = self.highest_until(node.right, until, here);
        Some(left.into_iter().chain(right).fold(here, i128::max))
    }

    fn highest_after(&self, mut link: Link, after: u64, before: i128) -> Option<i128> {
        let mut sum = before;
        let mut highest = None;
        while link != 0 {
            let node = self.of(link);
            let here = sum + self.sum(node.left) + node.delta;
            if node.at <= after {
                sum = here;
                link = node.right;
            } else {
                let right = self.highest(node.right).map(|right| here + right);
                highest = right.into_iter().chain(highest).chain([here]).max();
                link = node.left;
            }
        }
        highest
    }

    fn highest_until(&self, mut link: Link, until: u64, before: i128) -> Option<i128> {
        let mut sum = before;
        let mut highest = None;
        while link != 0 {
            let node = self.of(link);
            if node.at >= until {
                link = node.left;
                continue;
            }
            let left = self.highest(node.left).map(|left| sum + left);
            sum += self.sum(node.left) + node.delta;
            highest = left.into_iter().chain(highest).chain([sum]).max();
            link = node.right;
        }
        highest
    }

    fn collect(&self, link: Link, moments: &mut Vec<u64>) {
        if link != 0 {
            let node = self.of(link);
            self.collect(node.left, moments);
            moments.push(node.at);
            self.collect(node.right, moments);
        }
    }

    /// What comes before a moment, and the rest.
    fn split(&mut self, link: Link, at: u64) -> (Link, Link) {
        if link == 0 {
            return (0, 0);
        }
        let Node { at: here, left, right, .. } = *self.of(link);
        if here < at {
            let (inner, rest) = self.split(right, at);
            self.of_mut(link).right = inner;
            self.sum_up(link);
            (link, rest)
        } else {
            let (before, inner) = self.split(left, at);
            self.of_mut(link).left = inner;
            self.sum_up(link);
            (before, link)
        }
    }

    /// One tree of two, of which the first is all before the second.
    fn merge(&mut self, first: Link, second: Link) -> Link {
        if first == 0 || second == 0 {
            return first | second;
        }
        if weight(self.of(first).at) >= weight(self.of(second).at) {
            let right = self.merge(self.of(first).right, second);
            self.of_mut(first).right = right;
            self.sum_up(first);
            first
        } else {
            let left = self.merge(first, self.of(second).left);
            self.of_mut(second).left = left;
            self.sum_up(second);
            second
        }
    }

    fn sum_up(&mut self, link: Link) {
        let Node { delta, left, right, .. } = *self.of(link);
        let here = self.sum(left) + delta;
        let right_highest = self.highest(right).map(|right| here + right);
        let highest = self.highest(left).into_iter().chain(right_highest).fold(here, i128::max);
        let sum = here + self.sum(right);
        let node = self.of_mut(link);
        (node.sum, node.highest) = (sum, highest);
    }

    fn node(&mut self, at: u64, delta: i128) -> Link {
        let node = Node { at, delta, sum: delta, highest: delta, left: 0, right: 0 };
        if let Some(link) = self.free.pop() {
            *self.of_mut(link) = node;
            return link;
        }
        self.nodes.push(node);
        Link::try_from(self.nodes.len()).expect("there are fewer bookings than the ledger has room for")
    }

    fn sum(&self, link: Link) -> i128 {
        if link == 0 { 0 } else { self.of(link).sum }
    }

    fn highest(&self, link: Link) -> Option<i128> {
        (link != 0).then(|| self.of(link).highest)
    }

    fn of(&self, link: Link) -> &Node {
        &self.nodes[link as usize - 1]
    }

    fn of_mut(&mut self, link: Link) -> &mut Node {
        &mut self.nodes[link as usize - 1]
    }
}

/// A hash of a moment: SplitMix64's finaliser.
const fn weight(at: u64) -> u64 {
    let x = (at ^ at >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
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
            steps in prop::collection::vec((0u64..40, 1u64..40, 0u64..100, any::<bool>(), 0u64..4), 1..60)
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
                    let end = if length > 35 { FOREVER } else { now + delay + length };
                    let window = window(now + delay, end);
                    profile.book(amount, window, now);
                    booked.push((amount, window));
                    for slot in &mut table[slot(window.start, SLOTS)..slot(window.end, SLOTS)] {
                        *slot += amount;
                    }
                }
                now = (now + pass).min(150);
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
