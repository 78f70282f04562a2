//! Reading socket options, of which nix does not know each.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

/// What an option may be read into.
///
/// # Safety
/// The type is made of integers: any bytes are a value of it.
pub(super) unsafe trait OptionValue {}

// SAFETY: an integer.
unsafe impl OptionValue for libc::c_int {}
// SAFETY: an integer.
unsafe impl OptionValue for u64 {}
// SAFETY: made of integers.
unsafe impl OptionValue for libc::tcp_info {}
// SAFETY: made of integers.
unsafe impl<const N: usize> OptionValue for [u32; N] {}

/// An option of a socket at this level. What the kernel does not fill in stays zero.
pub(super) fn read_option<T: OptionValue>(
    socket: &impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
) -> Result<T, Errno> {
    // SAFETY: all zeroes is a value of a type that is made of integers.
    let mut value: T = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `value` is valid for writes of `length` bytes, after which it is still a value, and `length` for a write of
    // its own.
    let result = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    Errno::result(result).map(|_| value)
}
