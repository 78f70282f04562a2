//! From text to policy: reads the tables of a file key by key.
//!
//! What cannot be read is noted in [`Problems`](super::problems::Problems), and its table is defined all the same where
//! that avoids problems which only follow from the first.
//!
//! # Types
//!
//! - **Reading**: a [`Section`](section::Section) is a table that is being read, and a [`Placed`](section::Placed) a
//!   value with its place in the text. A section remembers which keys were read.
//! - **Names**: a [`Reference`](reference::Reference) is a place that names a table, which another file may define.
//!
//! # Order of calls
//!
//! 1. `Policy::parse` parses each source as TOML and begins at [`Section::top`](section::Section::top).
//! 2. Each other file has a function for one kind of table. It reads the keys of a section and ends with
//!    [`Section::finish`](section::Section::finish), which reports the keys that were not read.
//! 3. Once every source is read, `Reference::problem` reports each name that is not defined, and `lint` warns.

mod class;
mod client;
mod daemon;
pub(crate) mod flowspec;
mod group;
mod interface;
mod owner;
mod policy;
mod proxy;
mod range;
mod reference;
mod rule;
pub(crate) mod section;
mod timeouts;
