//! Maps and sets in the order of their keys, with a fraction of the code of a B-tree.
//!
//! The compiler makes the code of a collection once for each type of its keys and values, and this library has a hundred of
//! them. B-trees of the standard library, of which each is as much code as a hundred functions, were a quarter of all that a
//! server had to compile. Here, the keys and the values are in separate lists of sorted chunks. A search is code for the
//! type of the keys alone, and the list of the values does the same at the places that the search finds.
//!
//! A search costs O(log n). An insertion or a removal moves a part of one chunk, and now and then the list of the chunks, an
//! entry of 24 bytes for at least half a chunk. Order, equality and methods are those of `BTreeMap` and `BTreeSet`, which the
//! public API has: it names no type of this module.
//!
//! Not for large values of which there are many, such as flows: up to 64 of them are moved. They are in a `BTreeMap`.

mod chunks;
mod map;
mod set;
#[cfg(test)]
mod tests;

pub(crate) use map::OrderedMap;
pub(crate) use set::OrderedSet;
