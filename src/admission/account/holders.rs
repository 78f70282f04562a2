//! The largest holders of a budget: the few flows that a refusal names, among all that hold a part of it.
//!
//! Those few are kept in order, the others in a heap. A flow that ends is not removed from the heap at once, but when
//! it would become one of the few, or when the ended flows of the heap are swept. An insertion or a
//! removal therefore costs very little, however many flows there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rank::ChargedRank;

/// How many are kept in order.
const KEPT: usize = 16;

/// With fewer than these in order, others are taken from the heap. It is one more than are named, since one may be
/// unbooked while another reservation is tried in its place.
const LEAST: usize = 4;

/// How many of the heap may have ended before it is swept, besides half of it.
const GONE: usize = 64;

/// The parts of a budget, most charged first, then oldest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders {
    first: Vec<ChargedRank>,
    /// None of them comes before the last of `first`. Some have ended; some are there twice.
    others: BinaryHeap<Reverse<ChargedRank>>,
    gone: usize,
}

impl Holders {
    pub(crate) fn insert(&mut self, held: ChargedRank) {
        let Err(place) = self.first.binary_search(&held) else { return };
        if place == self.first.len() && !(self.others.is_empty() && place < KEPT) {
            return self.push_other(held);
        }
        self.first.insert(place, held);
        if self.first.len() > KEPT
            && let Some(last) = self.first.pop()
        {
            self.push_other(last);
        }
    }

    fn push_other(&mut self, held: ChargedRank) {
        if self.others.len() == self.others.capacity() {
            // By a quarter, where a heap would double.
            self.others.reserve_exact(self.others.len() / 4 + KEPT);
        }
        self.others.push(Reverse(held));
    }

    pub(crate) fn remove(&mut self, held: ChargedRank) {
        match self.first.binary_search(&held) {
            Ok(place) => drop(self.first.remove(place)),
            Err(_) => self.gone += 1,
        }
    }

    /// After a removal: takes as many from the heap as are to be in order. `holds` tells whether a flow still holds its
    /// part.
    pub(crate) fn tidy(&mut self, holds: impl Fn(&ChargedRank) -> bool) {
        if self.gone > GONE + self.others.len() / 2 {
            let mut others = std::mem::take(&mut self.others).into_vec();
            others.retain(|Reverse(held)| holds(held));
            others.sort_unstable();
            others.dedup();
            self.others = others.into();
            self.gone = 0;
        }
        if self.first.len() >= LEAST {
            return;
        }
        while self.first.len() < KEPT
            && let Some(Reverse(next)) = self.others.pop()
        {
            // A flow that ended and came again is there twice, side by side.
            if holds(&next) && !self.first.contains(&next) {
                self.first.push(next);
            } else {
                self.gone = self.gone.saturating_sub(1);
            }
        }
    }

    /// The largest holders, in order: at least three, where there are as many.
    pub(crate) fn first(&self) -> impl Iterator<Item = &ChargedRank> {
        self.first.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use flowspec::Rate;

    use super::super::rank::Rank;
    use super::*;

    proptest::proptest! {
        /// After any insertions, removals and trials, the first three are those of a sorted list.
        #[test]
        fn the_first_three_are_the_largest_holders(
            steps in proptest::collection::vec((0u8..4, 0u64..60, 1u64..9), 0..800),
        ) {
            let (mut holders, mut all) = (Holders::default(), BTreeSet::<ChargedRank>::new());
            for (what, order, much) in steps {
                let held = ChargedRank { charged: Reverse(Rate::new(much)), rank: Rank::of(order, 0) };
                let known = all.iter().find(|held| held.rank == Rank::of(order, 0)).copied();
                match (what, known) {
                    (0 | 1, None) => {
                        holders.insert(held);
                        all.insert(held);
                    }
                    (2, Some(known)) => {
                        all.remove(&known);
                        holders.remove(known);
                    }
                    // It is unbooked for a moment, and booked again with the same charge or another.
                    (_, Some(known)) => {
                        holders.remove(known);
                        let without: Vec<_> = all.iter().filter(|held| **held != known).take(3).collect();
                        proptest::prop_assert!(holders.first().take(3).eq(without));
                        let back = if much > 4 { known } else { held };
                        all.remove(&known);
                        all.insert(back);
                        holders.insert(back);
                    }
                    _ => {}
                }
                holders.tidy(|held| all.contains(held));
                proptest::prop_assert!(holders.first().take(3).eq(all.iter().take(3)));
                proptest::prop_assert!(holders.others.len() <= 2 * (all.len() + GONE));
            }
        }
    }
}
