//! From text to policy: reads the tables of a file key by key.
//!
//! A [`Section`](section::Section) is a table that is being read; each other file reads one kind of table. What cannot be read is
//! noted in [`Problems`](super::problems::Problems), and its table is defined all the same where that avoids problems
//! which only follow from the first.

mod class;
mod client;
pub(crate) mod flowspec;
mod group;
mod interface;
mod owner;
mod policy;
mod range;
mod reference;
mod rule;
pub(crate) mod section;
mod timeouts;
