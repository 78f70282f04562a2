//! What the kernel offers for the confinement of a process, without anything being given up.

use super::paths;
use super::system_calls;
use crate::failure::KernelFailure;

/// What a process can be confined with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfinementOffer {
    /// The version of landlock. ENOSYS: the kernel is built without it; EOPNOTSUPP: it is not among the modules that were chosen
    /// at the machine's start.
    pub landlock: Result<u32, KernelFailure>,
    /// Filters of system calls.
    pub seccomp: Result<(), KernelFailure>,
}

impl ConfinementOffer {
    /// The first version of landlock with everything that the daemon uses: files from version 1 on, TCP from 4, signals from 6.
    pub const NEWEST_LANDLOCK: u32 = 6;

    /// Asks the kernel.
    pub fn of_kernel() -> Self {
        Self { landlock: paths::version(), seccomp: system_calls::offered() }
    }
}
