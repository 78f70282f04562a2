//! What a process gives up for good before it serves others: capabilities, privileges of programs that it would execute, system
//! calls, and files.
//!
//! Takes the directories that the process goes on to use; gives what is in force, and what the kernel lacks. Everything is
//! inherited by the threads that start afterwards, so that it comes while there is one thread. One more thread stays
//! outside of the restriction of files, under which the kernel copies no descriptor of another process: the
//! [`DescriptorTaker`], which can do that and nothing else.

mod calls;
mod capabilities;
mod offer;
mod paths;
mod process;
mod system_calls;
mod taker;
#[cfg(test)]
mod tests;

pub use offer::ConfinementOffer;
pub use paths::AllowedPaths;
pub use process::{Confinement, confine};
pub use taker::DescriptorTaker;
pub(super) use taker::copy_descriptor;
