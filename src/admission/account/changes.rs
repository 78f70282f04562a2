//! Changes of an amount over time: a B-tree in the order of their times, whose branches know the sum and the largest
//! prefix sum of what is below them.

use flowspec::Moment;

use super::window::Window;

/// A signed number that sums are made of.
pub(crate) trait Summand:
    Copy + Default + Ord + std::iter::Sum + std::ops::Add<Output = Self> + std::ops::AddAssign
{
    /// The number, or the nearest that the type can hold.
    fn of(delta: i128) -> Self;
    fn wide(self) -> i128;
}

/// Changes in the order of their times, in a B-tree whose branches know the sum and the largest prefix
/// sum of what is below them.
#[derive(Clone, Debug)]
pub(crate) enum DeltaTree<A> {
    Leaf(Vec<Delta<A>>),
    Branch(Vec<DeltaChild<A>>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Delta<A> {
    pub(crate) at: Moment,
    pub(crate) delta: A,
}

#[derive(Clone, Debug)]
pub(crate) struct DeltaChild<A> {
    /// At most the moment of the first change below.
    first: Moment,
    below: DeltaSums<A>,
    node: DeltaTree<A>,
}

/// The sums of what is below a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeltaSums<A> {
    sum: A,
    /// The largest sum up to and including one of the changes.
    pub(crate) highest: A,
}

/// The most entries of a node: few enough that a scan costs as much as finding the next node.
const WIDEST: usize = 16;

impl<A: Summand> DeltaTree<A> {
    /// One change.
    pub(crate) fn of(at: Moment, delta: A) -> Self {
        Self::Leaf(vec![Delta { at, delta }])
    }

    /// Adds to the change at a moment. Returns whether no changes are left.
    pub(crate) fn grow(&mut self, at: Moment, delta: A) -> bool {
        if let Some(second) = self.add(at, delta) {
            // The root was too wide: it becomes the first of two branches.
            let first = std::mem::replace(self, Self::Branch(Vec::with_capacity(WIDEST + 1)));
            if let Self::Branch(children) = self {
                children.push(DeltaChild::new(first));
                children.push(DeltaChild::new(second));
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

    /// The largest sum of changes inside a window that begins at or after now; zero counts as one of them.
    pub(crate) fn highest(&self, window: Window, now: Moment) -> A {
        let at_start = if window.start <= now { A::default() } else { self.sum_until(window.start) };
        let mut sum = A::default();
        let later = self.highest_inside(&Window { start: window.start.max(now), ..window }, &mut sum);
        later.map_or(at_start, |later| later.max(at_start))
    }

    /// Adds to the change at a moment, and removes it where it becomes zero. A node that is too wide gives its second
    /// half, to be put after it.
    fn add(&mut self, at: Moment, delta: A) -> Option<Self> {
        match self {
            Self::Leaf(changes) => {
                match changes.binary_search_by_key(&at, |change| change.at) {
                    Ok(here) => {
                        changes[here].delta += delta;
                        if changes[here].delta == A::default() {
                            changes.remove(here);
                        }
                    }
                    Err(here) => changes.insert(here, Delta { at, delta }),
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
                    children.insert(here + 1, DeltaChild::new(second));
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

    pub(crate) fn first(&self) -> Option<Delta<A>> {
        match self {
            Self::Leaf(changes) => changes.first().copied(),
            Self::Branch(children) => children.first()?.node.first(),
        }
    }

    pub(crate) fn below(&self) -> DeltaSums<A> {
        let mut below = DeltaSums { sum: A::default(), highest: A::of(i128::MIN) };
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
    fn sum_until(&self, at: Moment) -> A {
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

    /// The largest sum up to a change inside a window, after its start; `sum` is what comes before the node, and
    /// then what comes before its end or the window's.
    fn highest_inside(&self, window: &Window, sum: &mut A) -> Option<A> {
        let mut highest = None;
        match self {
            Self::Leaf(changes) => {
                for change in changes.iter().take_while(|change| window.ends_after(change.at)) {
                    *sum += change.delta;
                    if change.at > window.start {
                        highest = highest.max(Some(*sum));
                    }
                }
            }
            Self::Branch(children) => {
                for (number, child) in children.iter().enumerate() {
                    if !window.ends_after(child.first) {
                        break;
                    }
                    // What is below comes before the next child's first.
                    let end = children.get(number + 1).map(|next| next.first);
                    if end.is_some_and(|end| end <= window.start) {
                        *sum += child.below.sum;
                    } else if child.first > window.start
                        && end.is_some_and(|end| window.end.is_none_or(|until| end <= until))
                    {
                        highest = highest.max(Some(*sum + child.below.highest));
                        *sum += child.below.sum;
                    } else {
                        highest = highest.max(child.node.highest_inside(window, sum));
                    }
                }
            }
        }
        highest
    }

    /// The first change inside a window, which begins at or after now, with which the sum exceeds an amount; `None` where
    /// it does so at the window's start already, or never.
    pub(crate) fn first_above(&self, amount: A, window: Window, now: Moment) -> Option<Moment> {
        let window = Window { start: window.start.max(now), ..window };
        if self.sum_until(window.start) > amount {
            return None;
        }
        self.first_above_inside(amount, &window, &mut A::default())
    }

    /// See [`first_above`](Self::first_above); `sum` is what comes before the node, and then what comes before its end.
    fn first_above_inside(&self, amount: A, window: &Window, sum: &mut A) -> Option<Moment> {
        match self {
            Self::Leaf(changes) => changes.iter().find_map(|change| {
                *sum += change.delta;
                let inside = change.at > window.start && window.ends_after(change.at);
                (inside && *sum > amount).then_some(change.at)
            }),
            Self::Branch(children) => {
                for (number, child) in children.iter().enumerate() {
                    if !window.ends_after(child.first) {
                        break;
                    }
                    let end = children.get(number + 1).map(|next| next.first);
                    let before = end.is_some_and(|end| end <= window.start);
                    if before || *sum + child.below.highest <= amount {
                        *sum += child.below.sum;
                    } else if let Some(found) = child.node.first_above_inside(amount, window, sum) {
                        return Some(found);
                    }
                }
                None
            }
        }
    }

    /// The first change after the last moment of a window, which begins at or after now, at which the sum exceeds an amount;
    /// `None` where it does so at the window's start at most.
    pub(crate) fn end_of_last_above(&self, amount: A, window: Window, now: Moment) -> Option<Moment> {
        let window = Window { start: window.start.max(now), ..window };
        self.after(self.last_above(amount, &window, A::default())?)
    }

    /// The last change inside a window with which the sum exceeds an amount; `before` is what comes before the node.
    fn last_above(&self, amount: A, window: &Window, before: A) -> Option<Moment> {
        let mut sum = before;
        match self {
            Self::Leaf(changes) => {
                let inside = changes.iter().take_while(|change| window.ends_after(change.at));
                let above = inside.filter(|change| {
                    sum += change.delta;
                    change.at > window.start && sum > amount
                });
                above.last().map(|change| change.at)
            }
            Self::Branch(children) => {
                let sums: Vec<_> = children
                    .iter()
                    .map(|child| {
                        let before = sum;
                        sum += child.below.sum;
                        before
                    })
                    .collect();
                (0..children.len()).rev().find_map(|number| {
                    let child = &children[number];
                    let ends_before = children.get(number + 1).is_some_and(|next| next.first <= window.start);
                    let may = window.ends_after(child.first)
                        && !ends_before
                        && sums[number] + child.below.highest > amount;
                    if may { child.node.last_above(amount, window, sums[number]) } else { None }
                })
            }
        }
    }

    /// The first change after a moment.
    pub(crate) fn after(&self, moment: Moment) -> Option<Moment> {
        match self {
            Self::Leaf(changes) => changes.iter().map(|change| change.at).find(|at| *at > moment),
            Self::Branch(children) => {
                let here = children.partition_point(|child| child.first <= moment).saturating_sub(1);
                children[here..].iter().find_map(|child| child.node.after(moment))
            }
        }
    }

    pub(crate) fn each(&self, visit: &mut impl FnMut(Moment, i128)) {
        match self {
            Self::Leaf(changes) => changes.iter().for_each(|change| visit(change.at, change.delta.wide())),
            Self::Branch(children) => children.iter().for_each(|child| child.node.each(visit)),
        }
    }
}

impl<A: Summand> DeltaChild<A> {
    fn new(node: DeltaTree<A>) -> Self {
        Self { first: node.first().map_or(Moment::START, |change| change.at), below: node.below(), node }
    }
}

impl Summand for i64 {
    fn of(delta: i128) -> Self {
        Self::try_from(delta).unwrap_or(if delta < 0 { Self::MIN } else { Self::MAX })
    }

    fn wide(self) -> i128 {
        i128::from(self)
    }
}

impl Summand for i128 {
    fn of(delta: i128) -> Self {
        delta
    }

    fn wide(self) -> i128 {
        self
    }
}
