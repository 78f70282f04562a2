//! A set in order.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Bound, RangeBounds};

use super::chunks::{Chunks, IntoItems, Items, Place};

/// Values in their order, with the methods of a `BTreeSet`.
#[derive(Clone)]
pub(crate) struct OrderedSet<T> {
    items: Chunks<T>,
}

impl<T> OrderedSet<T> {
    pub(crate) const fn new() -> Self {
        Self { items: Chunks::new() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn iter(&self) -> Items<'_, T> {
        self.items.iter()
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.items.first()
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        (!self.items.is_empty()).then(|| self.items.remove(Place::FIRST))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        let kept: Vec<_> = self.items.iter().map(keeps).collect();
        self.items.keep(&kept);
    }

    pub(super) const fn items(&self) -> &Chunks<T> {
        &self.items
    }

    pub(super) const fn items_mut(&mut self) -> &mut Chunks<T> {
        &mut self.items
    }
}

impl<T: Ord> OrderedSet<T> {
    pub(crate) fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.place(value).is_ok()
    }

    /// Adds a value. Returns whether it was not there.
    pub(crate) fn insert(&mut self, value: T) -> bool {
        let place = self.place(&value);
        if let Err(place) = place {
            self.items.insert(place, value);
        }
        place.is_err()
    }

    /// Removes a value. Returns whether it was there.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        let place = self.place(value);
        if let Ok(place) = place {
            self.items.remove(place);
        }
        place.is_ok()
    }

    pub(crate) fn range<Q: Ord + ?Sized>(&self, range: impl RangeBounds<Q>) -> Items<'_, T>
    where
        T: Borrow<Q>,
    {
        let (front, back) = self.places(range);
        self.items.between(front, back)
    }

    /// Where a value is, or where it would be inserted.
    pub(super) fn place<Q: Ord + ?Sized>(&self, value: &Q) -> Result<Place, Place>
    where
        T: Borrow<Q>,
    {
        self.items.find(|other| other.borrow().cmp(value))
    }

    /// Where the values of a range begin, and where they end.
    pub(super) fn places<Q: Ord + ?Sized>(&self, range: impl RangeBounds<Q>) -> (Place, Place)
    where
        T: Borrow<Q>,
    {
        let at = |value: &Q| self.items.first_not(|other| other.borrow() < value);
        let after = |value: &Q| self.items.first_not(|other| other.borrow() <= value);
        let front = match range.start_bound() {
            Bound::Included(first) => at(first),
            Bound::Excluded(before) => after(before),
            Bound::Unbounded => Place::FIRST,
        };
        let back = match range.end_bound() {
            Bound::Included(last) => after(last),
            Bound::Excluded(end) => at(end),
            Bound::Unbounded => self.items.end(),
        };
        (front, back)
    }
}

impl<T> Default for OrderedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Debug> Debug for OrderedSet<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

impl<T: PartialEq> PartialEq for OrderedSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Eq> Eq for OrderedSet<T> {}

impl<T: Ord> Extend<T> for OrderedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

impl<'a, T: Copy + Ord> Extend<&'a T> for OrderedSet<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<T: Ord> FromIterator<T> for OrderedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = Self::new();
        set.extend(values);
        set
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for OrderedSet<T> {
    fn from(values: [T; N]) -> Self {
        Self::from_iter(values)
    }
}

impl<T> IntoIterator for OrderedSet<T> {
    type Item = T;
    type IntoIter = IntoItems<T>;

    fn into_iter(self) -> IntoItems<T> {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a OrderedSet<T> {
    type Item = &'a T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}
