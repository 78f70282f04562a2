//! Who holds most of a budget: the few that a refusal names, among as many as there are.
//!
//! Those few are kept in order; the others lie in a heap, from which nobody is taken out before it is his turn to be
//! among the few, or so many have gone that the heap is swept. So that to come and to go costs next to nothing,
//! however many there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rank::Held;

/// So many are kept in order where there are as many.
const KEPT: usize = 16;

/// With fewer than these, others are taken from the heap. One more than are named, since one may be out while
/// something else is tried in its place.
const LEAST: usize = 4;

/// So many of the heap may be gone before it is swept, besides half of it.
const GONE: usize = 64;

/// The parts of a budget, most charged first, then oldest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders {
    first: Vec<Held>,
    /// None of them comes before the last of the first. Some have gone; some are there twice.
    others: BinaryHeap<Reverse<Held>>,
    gone: usize,
}

impl Holders {
    pub(crate) fn insert(&mut self, held: Held) {
        let Err(place) = self.first.binary_search(&held) else { return };
        if place == self.first.len() && !(self.others.is_empty() && place < KEPT) {
            return self.put_by(held);
        }
        self.first.insert(place, held);
        if self.first.len() > KEPT
            && let Some(last) = self.first.pop()
        {
            self.put_by(last);
        }
    }

    fn put_by(&mut self, held: Held) {
        if self.others.len() == self.others.capacity() {
            // By a quarter, where a heap would double.
            self.others.reserve_exact(self.others.len() / 4 + KEPT);
        }
        self.others.push(Reverse(held));
    }

    pub(crate) fn remove(&mut self, held: Held) {
        match self.first.binary_search(&held) {
            Ok(place) => drop(self.first.remove(place)),
            Err(_) => self.gone += 1,
        }
    }

    /// After something has changed: puts in order what is to be, where `holds` says who still does.
    pub(crate) fn tidy(&mut self, holds: impl Fn(&Held) -> bool) {
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
            // One that came, went and came again is there twice, side by side.
            if holds(&next) && !self.first.contains(&next) {
                self.first.push(next);
            } else {
                self.gone = self.gone.saturating_sub(1);
            }
        }
    }

    /// Those who hold most, in order: at least three, where there are as many.
    pub(crate) fn first(&self) -> impl Iterator<Item = &Held> {
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
        /// Whoever comes and goes, and is tried out: the first three are those of a list in order.
        #[test]
        fn the_first_are_who_holds_most(
            steps in proptest::collection::vec((0u8..4, 0u64..60, 1u64..9), 0..800),
        ) {
            let (mut holders, mut all) = (Holders::default(), BTreeSet::<Held>::new());
            for (what, who, much) in steps {
                let held = Held { charged: Reverse(Rate::new(much)), rank: Rank::of(who, 0) };
                let known = all.iter().find(|held| held.rank == Rank::of(who, 0)).copied();
                match (what, known) {
                    (0 | 1, None) => {
                        holders.insert(held);
                        all.insert(held);
                    }
                    (2, Some(known)) => {
                        all.remove(&known);
                        holders.remove(known);
                    }
                    // It is out for a moment, and back as it was or as something else.
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
