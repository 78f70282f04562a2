//! Files and descriptors besides sockets, and the file of this library.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use flowspec::Errno;
use nix::libc;

use super::errno::{Result, check, check_length, from_nix};

/// Makes a descriptor refer to the file of another one, which is closed. The number stays.
///
/// - **Errors**: `dup3`.
pub(crate) fn replace(descriptor: &impl AsRawFd, by: OwnedFd) -> Result<()> {
    // SAFETY: both are open; the first is owned, and stays so.
    check(unsafe { libc::dup3(by.as_raw_fd(), descriptor.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

/// Another descriptor of a program's file, which stays open when the program closes its own.
///
/// - **Errors**: EBADF.
pub(crate) fn duplicate_file(descriptor: RawFd) -> Result<OwnedFd> {
    // SAFETY: the kernel answers EBADF for a number that is not open.
    let copy = check(unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes a program's file.
///
/// - **Errors**: EBADF.
pub(crate) fn close_file(descriptor: RawFd) -> Result<()> {
    nix::unistd::close(descriptor).map_err(from_nix)
}

/// Reads from a place of a file, and returns how much; 0 at its end.
///
/// - **Errors**: `pread`; ESPIPE for what has no places.
pub(crate) fn read_at(file: &OwnedFd, into: &mut [u8], offset: u64) -> Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `into` is borrowed exclusively for the call.
    let read = unsafe { libc::pread(file.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), offset) };
    check_length(read)
}

/// The place at which a file is read next, and its length.
///
/// - **Errors**: `lseek`; ESPIPE for what has no places.
pub(crate) fn position_and_length(file: &OwnedFd) -> Result<(u64, u64)> {
    let seek = |offset, whence| nix::unistd::lseek(file, offset, whence).map_err(from_nix);
    let position = seek(0, nix::unistd::Whence::SeekCur)?;
    let end = seek(0, nix::unistd::Whence::SeekEnd)?;
    seek(position, nix::unistd::Whence::SeekSet)?;
    Ok((position.unsigned_abs(), end.unsigned_abs()))
}

/// The path of the file from which a function of this library is loaded.
pub(crate) fn path_of(function: usize) -> Option<String> {
    // SAFETY: Dl_info is made of pointers, for which all zeroes is a value.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is valid for writes of its own size; the address is only compared.
    let found = unsafe { libc::dladdr(std::ptr::with_exposed_provenance(function), &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the dynamic linker's text ends with a zero, and lasts as long as the library is loaded.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    std::path::absolute(OsStr::from_bytes(path.to_bytes())).ok()?.into_os_string().into_string().ok()
}
