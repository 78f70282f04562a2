//! A set in order, for many small values: chunks of a sorted list, found by their first values.
//!
//! A lookup is two searches in contiguous arrays, where a tree of a million values has six nodes in six places. A chunk
//! is split when it is full; values that are inserted in order fill every chunk.

/// The most values of a chunk: few enough to move, many enough that a million values have few chunks.
const WIDEST: usize = 128;

/// A set of values in their order.
#[derive(Clone, Debug)]
pub(crate) struct Sorted<T> {
    /// None of them empty.
    chunks: Vec<Vec<T>>,
    /// The first value of each.
    firsts: Vec<T>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), firsts: Vec::new() }
    }
}

impl<T: Copy + Ord> Sorted<T> {
    /// Adds a value, unless it is there already.
    pub(crate) fn insert(&mut self, value: T) {
        // Most values are inserted in order.
        if let Some(last) = self.chunks.last_mut()
            && last.len() < WIDEST
            && last.last().is_none_or(|last| *last < value)
        {
            return last.push(value);
        }
        let place = self.chunk_of(value);
        let Some(chunk) = self.chunks.get_mut(place) else {
            self.chunks.push(vec![value]);
            return self.firsts.push(value);
        };
        let Err(here) = chunk.binary_search(&value) else { return };
        if chunk.len() == WIDEST {
            let last = here == WIDEST && place + 1 == self.chunks.len();
            let later =
                if last { Vec::with_capacity(WIDEST) } else { self.chunks[place].split_off(WIDEST / 2) };
            self.firsts.insert(place + 1, later.first().copied().unwrap_or(value));
            self.chunks.insert(place + 1, later);
            let (place, here) = if here > WIDEST / 2 || last {
                (place + 1, here - if last { WIDEST } else { WIDEST / 2 })
            } else {
                (place, here)
            };
            self.chunks[place].insert(here, value);
            self.firsts[place] = self.chunks[place][0];
            return;
        }
        chunk.insert(here, value);
        self.firsts[place] = chunk[0];
    }

    /// Removes a value, if it is there.
    pub(crate) fn remove(&mut self, value: T) {
        let place = self.chunk_of(value);
        let Some(chunk) = self.chunks.get_mut(place) else { return };
        let Ok(here) = chunk.binary_search(&value) else { return };
        chunk.remove(here);
        match chunk.first() {
            Some(first) => self.firsts[place] = *first,
            None => {
                self.chunks.remove(place);
                self.firsts.remove(place);
            }
        }
        self.join(place);
    }

    /// The largest value before another.
    pub(crate) fn last_before(&self, value: T) -> Option<T> {
        let place = self.chunk_of(value);
        let chunk = self.chunks.get(place)?;
        match chunk.partition_point(|other| *other < value) {
            0 => self.chunks.get(place.checked_sub(1)?)?.last().copied(),
            after => chunk.get(after - 1).copied(),
        }
    }

    /// Every value, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = T> {
        self.chunks.iter().flatten().copied()
    }

    fn chunk_of(&self, value: T) -> usize {
        self.firsts.partition_point(|first| *first <= value).saturating_sub(1)
    }

    /// Merges a chunk that has become small into the one before it, if both fit one chunk.
    fn join(&mut self, place: usize) {
        let small = |chunk: &Vec<T>| chunk.len() <= WIDEST / 4;
        if place == 0 || place >= self.chunks.len() || !small(&self.chunks[place]) {
            return;
        }
        if self.chunks[place - 1].len() <= WIDEST / 2 {
            let mut later = self.chunks.remove(place);
            self.firsts.remove(place);
            self.chunks[place - 1].append(&mut later);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_is_a_set_in_order(steps in proptest::collection::vec((proptest::bool::weighted(0.6), 0u16..900), 0..3000)) {
            let (mut sorted, mut model) = (Sorted::default(), BTreeSet::new());
            for (inserts, value) in steps {
                if inserts {
                    sorted.insert(value);
                    model.insert(value);
                } else {
                    sorted.remove(value);
                    model.remove(&value);
                }
            }
            proptest::prop_assert!(sorted.iter().eq(model.iter().copied()));
            for value in [0, 1, 450, 900] {
                let before = model.range(..value).next_back().copied();
                proptest::prop_assert_eq!(sorted.last_before(value), before);
            }
            proptest::prop_assert!(sorted.iter().rev().eq(model.iter().rev().copied()));
            proptest::prop_assert!(sorted.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= WIDEST));
        }
    }

    #[test]
    fn values_inserted_in_order_fill_their_chunks() {
        let mut sorted = Sorted::default();
        (0..10 * WIDEST).for_each(|value| sorted.insert(value));
        assert_eq!(sorted.chunks.len(), 10);
    }
}
