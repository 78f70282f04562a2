//! A map in the order of its keys.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Index, RangeBounds};

use super::chunks::{Chunks, IntoItems, Items, ItemsMut, Place};
use super::set::OrderedSet;

/// Values by their keys, in the order of the keys, with the methods of a `BTreeMap`.
#[derive(Clone)]
pub(crate) struct OrderedMap<K, V> {
    keys: OrderedSet<K>,
    /// At the places of their keys.
    values: Chunks<V>,
}

impl<K, V> OrderedMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self { keys: OrderedSet::new(), values: Chunks::new() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        Iter { keys: self.keys.iter(), values: self.values.iter() }
    }

    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        IterMut { keys: self.keys.iter(), values: self.values.iter_mut() }
    }

    pub(crate) fn keys(&self) -> Items<'_, K> {
        self.keys.iter()
    }

    pub(crate) fn values(&self) -> Items<'_, V> {
        self.values.iter()
    }

    pub(crate) fn values_mut(&mut self) -> ItemsMut<'_, V> {
        self.values.iter_mut()
    }

    pub(crate) fn into_values(self) -> IntoItems<V> {
        self.values.into_iter()
    }

    pub(crate) fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        let kept: Vec<_> = self.iter_mut().map(|(key, value)| keeps(key, value)).collect();
        self.keys.items_mut().keep(&kept);
        self.values.keep(&kept);
    }
}

impl<K: Ord, V> OrderedMap<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.keys.place(key).ok().map(|place| &self.values[place])
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.keys.place(key).ok().map(|place| &mut self.values[place])
    }

    pub(crate) fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.keys.place(key).ok().map(|place| (&self.keys.items()[place], &self.values[place]))
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.keys.contains(key)
    }

    /// Adds a value. Returns the one that was there, of which the key stays.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.keys.place(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.values[place], value)),
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.keys.place(key).ok().map(|place| self.remove_at(place))
    }

    pub(crate) fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        let place = self.keys.place(&key);
        Entry { map: self, key, place }
    }

    pub(crate) fn range<Q: Ord + ?Sized>(&self, range: impl RangeBounds<Q>) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (front, back) = self.keys.places(range);
        Iter { keys: self.keys.items().between(front, back), values: self.values.between(front, back) }
    }

    fn insert_at(&mut self, place: Place, key: K, value: V) -> Place {
        self.keys.items_mut().insert(place, key);
        self.values.insert(place, value)
    }

    fn remove_at(&mut self, place: Place) -> V {
        self.keys.items_mut().remove(place);
        self.values.remove(place)
    }
}

/// Where the value of a key is, or where it would be inserted.
pub(crate) struct Entry<'a, K, V> {
    map: &'a mut OrderedMap<K, V>,
    key: K,
    place: Result<Place, Place>,
}

impl<'a, K: Ord, V> Entry<'a, K, V> {
    pub(crate) fn or_insert_with(self, value: impl FnOnce() -> V) -> &'a mut V {
        let Self { map, key, place } = self;
        let place = place.unwrap_or_else(|place| map.insert_at(place, key, value()));
        &mut map.values[place]
    }

    pub(crate) fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Debug, V: Debug> Debug for OrderedMap<K, V> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for OrderedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && self.values().eq(other.values())
    }
}

impl<K: Eq, V: Eq> Eq for OrderedMap<K, V> {}

impl<K: Ord, V> Extend<(K, V)> for OrderedMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for OrderedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        Self::from_iter(entries)
    }
}

/// The value of a key that is there.
impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for OrderedMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("an entry of this key")
    }
}

impl<K, V> IntoIterator for OrderedMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        IntoIter { keys: self.keys.into_iter(), values: self.values.into_iter() }
    }
}

impl<'a, K, V> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<'a, K, V> IntoIterator for &'a mut OrderedMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> IterMut<'a, K, V> {
        self.iter_mut()
    }
}

/// The entries of a map in order.
pub(crate) struct Iter<'a, K, V> {
    keys: Items<'a, K>,
    values: Items<'a, V>,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { keys: self.keys.clone(), values: self.values.clone() }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.keys.next().zip(self.values.next())
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.keys.next_back().zip(self.values.next_back())
    }
}

/// The entries of a map in order, with values to be changed.
pub(crate) struct IterMut<'a, K, V> {
    keys: Items<'a, K>,
    values: ItemsMut<'a, V>,
}

impl<'a, K, V> Iterator for IterMut<'a, K, V> {
    type Item = (&'a K, &'a mut V);

    fn next(&mut self) -> Option<Self::Item> {
        self.keys.next().zip(self.values.next())
    }
}

/// The entries of a map in order, given away.
pub(crate) struct IntoIter<K, V> {
    keys: IntoItems<K>,
    values: IntoItems<V>,
}

impl<K, V> Iterator for IntoIter<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        self.keys.next().zip(self.values.next())
    }
}
