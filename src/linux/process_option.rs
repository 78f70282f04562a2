//! Options of this process.

use nix::errno::Errno;
use nix::libc;

use crate::failure::{KernelCall, KernelFailure};

/// Sets an option of prctl(2) that takes a number.
///
/// - **Errors**: `prctl`.
pub(super) fn set_process_option(
    option: libc::c_int,
    value: libc::c_ulong,
    name: &str,
) -> Result<(), KernelFailure> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: the options that are set by this take numbers.
    let set = unsafe { libc::prctl(option, value, NONE, NONE, NONE) };
    Errno::result(set).map(drop).map_err(|errno| KernelCall("prctl").failed(name, errno))
}
