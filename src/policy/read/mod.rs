//! From text to policy: the tables of a file, key by key.

mod class;
pub(crate) mod flowspec;
mod interface;
mod owner;
mod policy;
mod rule;
pub(crate) mod section;
