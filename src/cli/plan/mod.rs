//! `gqos plan`: the trees that a host would program under a policy, and how the kernel's trees differ from them.
//!
//! # Types
//!
//! - `Found`, an interface as the kernel has it.
//! - `Planned`, what the manager would program on it, with `Qdisc`s and `PlannedClass`es; a `TreeDifference` with the
//!   steps to it for `--diff`.
//!
//! # Order of calls
//!
//! [`run`] looks at each interface, `Planned::new` lets a manager without a kernel decide, and `render::text` or serde
//! writes the result. Nothing is changed.

mod command;
mod found;
mod planned;
mod receiving;
mod render;
mod tree;

pub(super) use command::{Arguments, run};
