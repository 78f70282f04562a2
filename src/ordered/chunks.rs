//! Items in a given order, in chunks of a few each.

use std::cmp::Ordering;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Index, IndexMut};
use std::slice::IterMut;
use std::vec::IntoIter;

/// The most items of a chunk: few enough to move, many enough that a million items have few chunks.
pub(super) const WIDEST: usize = 64;

/// Items at places. What becomes of the chunks depends on places alone, so that two lists of which one has a key where the
/// other has its value stay alike.
#[derive(Clone)]
pub(super) struct Chunks<T> {
    /// The first chunk: empty only if there are no items. Most lists have no other.
    first: Vec<T>,
    /// The others, none of them empty.
    others: Vec<Vec<T>>,
    len: usize,
}

/// Where an item is, or would be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    /// 0 is the first chunk.
    chunk: usize,
    index: usize,
}

impl Place {
    pub(super) const FIRST: Self = Self { chunk: 0, index: 0 };
}

impl<T> Chunks<T> {
    pub(super) const fn new() -> Self {
        Self { first: Vec::new(), others: Vec::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[cfg(test)]
    pub(super) const fn chunk_count(&self) -> usize {
        1 + self.others.len()
    }

    /// After the last item.
    pub(super) const fn end(&self) -> Place {
        if self.is_empty() { Place::FIRST } else { Place { chunk: 1 + self.others.len(), index: 0 } }
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.first.first()
    }

    /// The place of an item, or the one at which it would be inserted, by how an item compares with it.
    pub(super) fn find(&self, mut compare: impl FnMut(&T) -> Ordering) -> Result<Place, Place> {
        let chunk = match self.others.is_empty() {
            true => 0,
            false => self.others.partition_point(|items| compare(&items[0]).is_le()),
        };
        match self.chunk(chunk).binary_search_by(compare) {
            Ok(index) => Ok(Place { chunk, index }),
            Err(index) => Err(Place { chunk, index }),
        }
    }

    /// The place of the first item that is not before some point, by whether an item is before it; after the last item if
    /// all are.
    pub(super) fn first_not(&self, mut is_before: impl FnMut(&T) -> bool) -> Place {
        let chunk = self.others.partition_point(|items| is_before(&items[0]));
        let items = self.chunk(chunk);
        let index = items.partition_point(is_before);
        // The end of a chunk is the beginning of the next one.
        if index == items.len() && index > 0 {
            Place { chunk: chunk + 1, index: 0 }
        } else {
            Place { chunk, index }
        }
    }

    /// Inserts an item before the one at a place. Returns where it is.
    ///
    /// A chunk that is full is split, the last one after its end where the item is appended, so that items in order fill
    /// every chunk.
    pub(super) fn insert(&mut self, place: Place, item: T) -> Place {
        let Place { mut chunk, mut index } = place;
        if self.chunk(chunk).len() == WIDEST {
            let is_end = index == WIDEST && chunk == self.others.len();
            let kept = if is_end { WIDEST } else { WIDEST / 2 };
            let later = self.chunk_mut(chunk).split_off(kept);
            self.others.insert(chunk, later);
            if index > kept || is_end {
                (chunk, index) = (chunk + 1, index - kept);
            }
        }
        self.chunk_mut(chunk).insert(index, item);
        self.len += 1;
        Place { chunk, index }
    }

    /// Removes the item at a place, which has one. Two chunks beside each other that have become small are joined.
    pub(super) fn remove(&mut self, place: Place) -> T {
        let Place { chunk, index } = place;
        let items = self.chunk_mut(chunk);
        let item = items.remove(index);
        let left = items.len();
        self.len -= 1;
        if left <= WIDEST / 2 && !self.others.is_empty() {
            self.join(chunk.saturating_sub(1));
            self.join(chunk);
        }
        item
    }

    /// Joins a chunk with the next one if both are small, or one of them is empty.
    fn join(&mut self, chunk: usize) {
        let Some(next) = self.others.get(chunk) else { return };
        let (len, next) = (self.chunk(chunk).len(), next.len());
        if len == 0 || next == 0 || len + next <= WIDEST / 2 {
            let mut next = self.others.remove(chunk);
            self.chunk_mut(chunk).append(&mut next);
        }
    }

    fn chunk(&self, chunk: usize) -> &Vec<T> {
        if chunk == 0 { &self.first } else { &self.others[chunk - 1] }
    }

    fn chunk_mut(&mut self, chunk: usize) -> &mut Vec<T> {
        if chunk == 0 { &mut self.first } else { &mut self.others[chunk - 1] }
    }

    /// Keeps those items for which `kept`, in the same order, is true.
    pub(super) fn keep(&mut self, kept: &[bool]) {
        let mut each = kept.iter();
        let mut keep = |items: &mut Vec<T>| items.retain(|_| each.next() == Some(&true));
        keep(&mut self.first);
        self.others.iter_mut().for_each(keep);
        self.others.retain(|items| !items.is_empty());
        if self.first.is_empty() && !self.others.is_empty() {
            self.first = self.others.remove(0);
        }
        self.len = self.first.len() + self.others.iter().map(Vec::len).sum::<usize>();
    }

    pub(super) fn iter(&self) -> Items<'_, T> {
        self.between(Place::FIRST, self.end())
    }

    /// The items from a place up to another, without that one.
    pub(super) fn between(&self, front: Place, back: Place) -> Items<'_, T> {
        Items { chunks: self, front, back }
    }

    pub(super) fn iter_mut(&mut self) -> ItemsMut<'_, T> {
        ItemsMut { items: self.first.iter_mut(), others: self.others.iter_mut() }
    }

    pub(super) fn into_iter(self) -> IntoItems<T> {
        IntoItems { items: self.first.into_iter(), others: self.others.into_iter() }
    }
}

/// The item at a place, which has one.
impl<T> Index<Place> for Chunks<T> {
    type Output = T;

    fn index(&self, place: Place) -> &T {
        &self.chunk(place.chunk)[place.index]
    }
}

impl<T> IndexMut<Place> for Chunks<T> {
    fn index_mut(&mut self, place: Place) -> &mut T {
        &mut self.chunk_mut(place.chunk)[place.index]
    }
}

/// Items from a place on, up to another.
pub(crate) struct Items<'a, T> {
    chunks: &'a Chunks<T>,
    front: Place,
    back: Place,
}

impl<T> Clone for Items<'_, T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks, front: self.front, back: self.back }
    }
}

impl<T: Debug> Debug for Items<'_, T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.clone()).finish()
    }
}

impl<'a, T> Iterator for Items<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.front >= self.back {
            return None;
        }
        let items = self.chunks.chunk(self.front.chunk);
        let item = &items[self.front.index];
        self.front.index += 1;
        if self.front.index == items.len() {
            self.front = Place { chunk: self.front.chunk + 1, index: 0 };
        }
        Some(item)
    }
}

impl<'a, T> DoubleEndedIterator for Items<'a, T> {
    fn next_back(&mut self) -> Option<&'a T> {
        if self.front >= self.back {
            return None;
        }
        if self.back.index == 0 {
            let chunk = self.back.chunk - 1;
            self.back = Place { chunk, index: self.chunks.chunk(chunk).len() };
        }
        self.back.index -= 1;
        Some(&self.chunks[self.back])
    }
}

/// All items, to be changed.
pub(crate) struct ItemsMut<'a, T> {
    items: IterMut<'a, T>,
    others: IterMut<'a, Vec<T>>,
}

impl<'a, T> Iterator for ItemsMut<'a, T> {
    type Item = &'a mut T;

    fn next(&mut self) -> Option<&'a mut T> {
        loop {
            match self.items.next() {
                None => self.items = self.others.next()?.iter_mut(),
                item => return item,
            }
        }
    }
}

/// All items, given away.
pub(crate) struct IntoItems<T> {
    items: IntoIter<T>,
    others: IntoIter<Vec<T>>,
}

impl<T> Iterator for IntoItems<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            match self.items.next() {
                None => self.items = self.others.next()?.into_iter(),
                item => return item,
            }
        }
    }
}
