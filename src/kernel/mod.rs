//! What the kernel has, as values that every module can hold: the [`Handle`]s of qdiscs and classes, the
//! [`KernelClass`] of a flow, the [`Differences`] of a tree, and the [`ClaimHolder`] of an interface.
//!
//! Each is a text in JSON, the one that a person reads, and comes back from it. Knows neither netlink nor how a tree is
//! made.

mod class;
mod difference;
mod handle;
mod holder;

pub use class::{KernelClass, NotAKernelClass};
pub use difference::{Difference, Differences};
pub use handle::{Handle, NotAHandle};
pub use holder::ClaimHolder;
