//! Kernel objects as values that every module can use: the [`Handle`]s of qdiscs and classes, the [`KernelClass`] of
//! a flow, the [`Differences`] between two trees, and the [`ClaimHolder`] of an interface.
//!
//! In JSON, each value is a string, the same text that is shown to people, and it can be parsed from this string.
//! Knows neither netlink nor how a tree is built.

mod class;
mod difference;
mod handle;
mod holder;

pub use class::{KernelClass, NotAKernelClass};
pub use difference::{Difference, Differences};
pub use handle::{Handle, NotAHandle};
pub use holder::ClaimHolder;
