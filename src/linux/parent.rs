//! A process that ends with the one that has started it.

use nix::libc;
use nix::unistd::getppid;

use crate::failure::{KernelCall, KernelFailure};

/// The signal that the end of the parent raises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParentEnd {
    /// SIGKILL: the process ends at once.
    Kill,
    /// SIGHUP, which the process may handle.
    Hangup,
}

/// Has the kernel signal this process when the thread that started it ends. `false` where its parent is not the process of
/// this number, since that has ended already.
///
/// - **Errors**: `prctl`.
/// - **Source**: PR_SET_PDEATHSIG(2const).
pub fn end_with_parent(parent: u32, how: ParentEnd) -> Result<bool, KernelFailure> {
    let signal = match how {
        ParentEnd::Kill => libc::SIGKILL,
        ParentEnd::Hangup => libc::SIGHUP,
    };
    // SAFETY: the call takes a number, and touches no memory of this process.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        return Err(KernelCall("prctl").failed("PR_SET_PDEATHSIG", error));
    }
    // A parent that ended before the call raises nothing.
    Ok(u32::try_from(getppid().as_raw()).ok() == Some(parent))
}
