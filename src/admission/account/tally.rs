//! What flows take, in the order of their importance: a B-tree whose branches know the sums of what is below them.
//!
//! How much the least important flows take together, and how many of them take a given amount, costs O(log n).

use std::iter::Rev;
use std::slice::Iter;

use super::place::PreemptionPlace;

/// What a flow takes of each kind that is added up.
pub(crate) type Amounts = [u64; KINDS];

/// The kinds of what is added up.
pub(crate) const KINDS: usize = 5;

/// Flows in their order, with sums.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    root: TallyNode,
}

#[derive(Clone, Debug)]
enum TallyNode {
    Leaf(Vec<TallyItem>),
    Branch(Vec<TallyChild>),
}

#[derive(Clone, Copy, Debug)]
struct TallyItem {
    place: PreemptionPlace,
    amounts: Amounts,
}

#[derive(Clone, Debug)]
struct TallyChild {
    /// At most the place of the first item below.
    first: PreemptionPlace,
    sums: KindSums,
    node: TallyNode,
}

type KindSums = [u128; KINDS];

/// The most entries of a node.
const WIDEST: usize = 32;

impl Default for Tally {
    fn default() -> Self {
        Self { root: TallyNode::Leaf(Vec::new()) }
    }
}

impl Tally {
    /// Adds a flow that is not in it.
    pub(crate) fn insert(&mut self, place: PreemptionPlace, amounts: Amounts) {
        if let Some(second) = self.root.insert(TallyItem { place, amounts }) {
            let first = std::mem::replace(&mut self.root, TallyNode::Branch(Vec::with_capacity(WIDEST + 1)));
            if let TallyNode::Branch(children) = &mut self.root {
                children.extend([TallyChild::new(first), TallyChild::new(second)]);
            }
        }
    }

    /// Removes a flow. Returns whether it was in it.
    pub(crate) fn remove(&mut self, place: PreemptionPlace) -> bool {
        let removed = self.root.remove(place).is_some();
        // A branch with one child is that child.
        while let TallyNode::Branch(children) = &mut self.root
            && children.len() == 1
            && let Some(only) = children.pop()
        {
            self.root = only.node;
        }
        if self.root.is_empty() {
            self.root = TallyNode::Leaf(Vec::new());
        }
        removed
    }

    /// What the flows after a place, which are less important, take together, of one kind.
    pub(crate) fn after(&self, place: PreemptionPlace, kind: usize) -> u128 {
        let mut sum = 0;
        let mut node = &self.root;
        loop {
            match node {
                TallyNode::Leaf(items) => {
                    let after = items.iter().rev().take_while(|item| item.place > place);
                    return sum + after.map(|item| u128::from(item.amounts[kind])).sum::<u128>();
                }
                TallyNode::Branch(children) => {
                    let here = children.partition_point(|child| child.first <= place);
                    sum += children[here..].iter().map(|child| child.sums[kind]).sum::<u128>();
                    let Some(last) = children[..here].last() else { return sum };
                    node = &last.node;
                }
            }
        }
    }

    /// The first flow, beginning with the least important, with which those up to it take at least an amount of one kind,
    /// which is not zero; `None` if all take less.
    pub(crate) fn reach(&self, kind: usize, mut amount: u128) -> Option<PreemptionPlace> {
        let mut node = &self.root;
        loop {
            match node {
                TallyNode::Leaf(items) => {
                    return items.iter().rev().find_map(|item| {
                        let taken = u128::from(item.amounts[kind]);
                        let reached = taken >= amount;
                        amount = amount.saturating_sub(taken);
                        reached.then_some(item.place)
                    });
                }
                TallyNode::Branch(children) => {
                    let reached = children.iter().rev().find(|child| {
                        let reached = child.sums[kind] >= amount;
                        if !reached {
                            amount -= child.sums[kind];
                        }
                        reached
                    });
                    node = &reached?.node;
                }
            }
        }
    }

    /// The places of all flows, least important first.
    pub(crate) fn places(&self) -> Places<'_> {
        let mut places = Places { open: Vec::new(), items: [].iter().rev() };
        places.descend(&self.root);
        places
    }
}

/// See [`Tally::places`].
pub(crate) struct Places<'a> {
    /// What is left of each branch above the leaf.
    open: Vec<Rev<Iter<'a, TallyChild>>>,
    items: Rev<Iter<'a, TallyItem>>,
}

impl<'a> Places<'a> {
    fn descend(&mut self, mut node: &'a TallyNode) {
        loop {
            match node {
                TallyNode::Leaf(items) => return self.items = items.iter().rev(),
                TallyNode::Branch(children) => {
                    let mut children = children.iter().rev();
                    let Some(last) = children.next() else { return };
                    self.open.push(children);
                    node = &last.node;
                }
            }
        }
    }
}

impl Iterator for Places<'_> {
    type Item = PreemptionPlace;

    fn next(&mut self) -> Option<PreemptionPlace> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(item.place);
            }
            match self.open.last_mut()?.next() {
                Some(child) => self.descend(&child.node),
                None => drop(self.open.pop()),
            }
        }
    }
}

impl TallyNode {
    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(items) => items.is_empty(),
            Self::Branch(children) => children.is_empty(),
        }
    }

    /// A node that is too wide gives its second half, to be put after it; only the new last entry where it was added at
    /// the end, so that flows which are added in order fill every node.
    fn insert(&mut self, item: TallyItem) -> Option<Self> {
        match self {
            Self::Leaf(items) => {
                let here = items.partition_point(|other| other.place < item.place);
                items.insert(here, item);
                let first = if here == WIDEST { WIDEST } else { WIDEST / 2 };
                (items.len() > WIDEST).then(|| Self::Leaf(items.split_off(first)))
            }
            Self::Branch(children) => {
                let here = children.partition_point(|child| child.first <= item.place).saturating_sub(1);
                let child = &mut children[here];
                child.first = child.first.min(item.place);
                match child.node.insert(item) {
                    None => add(&mut child.sums, &item.amounts),
                    Some(second) => {
                        child.sums = child.node.sums();
                        children.insert(here + 1, TallyChild::new(second));
                    }
                }
                let first = if here + 1 == WIDEST { WIDEST } else { WIDEST / 2 };
                (children.len() > WIDEST).then(|| Self::Branch(children.split_off(first)))
            }
        }
    }

    fn remove(&mut self, place: PreemptionPlace) -> Option<Amounts> {
        match self {
            Self::Leaf(items) => {
                let here = items.binary_search_by_key(&place, |item| item.place).ok()?;
                Some(items.remove(here).amounts)
            }
            Self::Branch(children) => {
                let here = children.partition_point(|child| child.first <= place).checked_sub(1)?;
                let child = &mut children[here];
                let amounts = child.node.remove(place)?;
                for (sum, amount) in child.sums.iter_mut().zip(amounts) {
                    *sum -= u128::from(amount);
                }
                if child.node.is_empty() {
                    children.remove(here);
                }
                Some(amounts)
            }
        }
    }

    fn sums(&self) -> KindSums {
        let mut sums = [0; KINDS];
        match self {
            Self::Leaf(items) => items.iter().for_each(|item| add(&mut sums, &item.amounts)),
            Self::Branch(children) => {
                for child in children {
                    for (sum, below) in sums.iter_mut().zip(child.sums) {
                        *sum += below;
                    }
                }
            }
        }
        sums
    }

    fn first(&self) -> Option<PreemptionPlace> {
        match self {
            Self::Leaf(items) => items.first().map(|item| item.place),
            Self::Branch(children) => children.first().map(|child| child.first),
        }
    }
}

impl TallyChild {
    fn new(node: TallyNode) -> Self {
        Self { first: node.first().unwrap_or_default(), sums: node.sums(), node }
    }
}

fn add(sums: &mut KindSums, amounts: &Amounts) {
    for (sum, amount) in sums.iter_mut().zip(amounts) {
        *sum += u128::from(*amount);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::rank::Rank;
    use super::*;

    proptest::proptest! {
        /// Against a sorted map that is added up anew.
        #[test]
        fn sums_and_searches_agree_with_a_map(
            steps in proptest::collection::vec((proptest::bool::weighted(0.6), 0u64..700, 0u8..8, 0u64..9), 0..2500),
            wanted in proptest::collection::vec(1u128..5000, 1..20),
        ) {
            let (mut tally, mut map) = (Tally::default(), BTreeMap::new());
            for (inserts, order, priority, amount) in steps {
                let place = PreemptionPlace::of(priority, Rank::of(order, 7));
                if inserts && !map.contains_key(&place) {
                    tally.insert(place, [amount; KINDS]);
                    map.insert(place, u128::from(amount));
                } else {
                    proptest::prop_assert_eq!(tally.remove(place), map.remove(&place).is_some());
                }
            }
            proptest::prop_assert!(tally.places().eq(map.keys().rev().copied()));
            for amount in wanted {
                let mut sum = 0;
                let reached = map.iter().rev().find(|(_, taken)| {
                    sum += **taken;
                    sum >= amount
                });
                let reached = reached.map(|(place, _)| *place);
                proptest::prop_assert_eq!(tally.reach(2, amount), reached);
                if let Some(place) = reached {
                    let after: u128 = map.range(place..).skip(1).map(|(_, taken)| *taken).sum();
                    proptest::prop_assert_eq!(tally.after(place, 3), after);
                }
            }
        }
    }
}
