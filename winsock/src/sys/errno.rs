//! Error numbers of failed calls.

use std::io;

use flowspec::Errno;
use nix::libc;

/// What a call gives, or the kernel's error number.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// The error number of an error from the standard library; EIO where it has none.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::new)
}

pub(super) fn from_nix(errno: nix::errno::Errno) -> Errno {
    Errno::new(errno as i32)
}

/// The result of a call that returns -1 and sets `errno` where it fails.
pub(super) fn check(result: libc::c_int) -> Result<libc::c_int> {
    nix::errno::Errno::result(result).map_err(from_nix)
}

/// The same of a call that returns a number of bytes.
pub(super) fn check_length(result: isize) -> Result<usize> {
    let length = nix::errno::Errno::result(result).map_err(from_nix)?;
    // Not negative here.
    usize::try_from(length).map_err(|_| Errno::EIO)
}

/// The size of a value as system calls take it.
pub(super) fn size_of_value<T>(value: &T) -> libc::socklen_t {
    // Only small structures are passed.
    libc::socklen_t::try_from(size_of_val(value)).unwrap_or(libc::socklen_t::MAX)
}
