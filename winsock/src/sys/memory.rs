//! Memory of this process that a program has named, and that may not be there: copied by the kernel.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;

/// The kernel, or a sandbox, forbids to copy in one step.
static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// What a pipe takes in one piece.
const PIECE: usize = libc::PIPE_BUF;

/// Copies memory of this process that a program has named.
///
/// - **Errors**: EFAULT where some of it is not there.
/// - **Source**: process_vm_readv(2); where that is forbidden write(2) to a pipe, which checks as well.
pub(crate) fn read_memory(address: usize, into: &mut [u8]) -> io::Result<()> {
    if FORBIDDEN.load(Ordering::Relaxed) {
        return read_by_pipe(address, into);
    }
    let own = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let named = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
    // SAFETY: `own` is valid for writes for the whole call; the kernel checks what `named` says, and answers
    // EFAULT for what is not mapped.
    let result = unsafe { libc::process_vm_readv(libc::getpid(), &raw const own, 1, &raw const named, 1, 0) };
    match forbidden(result) {
        true => read_by_pipe(address, into),
        false => whole(result, into.len()),
    }
}

/// Copies to memory of this process that a program has named.
///
/// - **Errors**: EFAULT where some of it is not there, or may not be written.
/// - **Source**: process_vm_writev(2); where that is forbidden read(2) from a pipe.
pub(crate) fn write_memory(address: usize, from: &[u8]) -> io::Result<()> {
    if FORBIDDEN.load(Ordering::Relaxed) {
        return write_by_pipe(address, from);
    }
    let own = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let named = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: from.len() };
    // SAFETY: `own` is only read; the kernel checks what `named` says, and answers EFAULT for what is not
    // mapped or not writable. That nobody else uses the memory meanwhile is the promise of who named it.
    let result =
        unsafe { libc::process_vm_writev(libc::getpid(), &raw const own, 1, &raw const named, 1, 0) };
    match forbidden(result) {
        true => write_by_pipe(address, from),
        false => whole(result, from.len()),
    }
}

/// Whether the call was not carried out at all, and never will be.
fn forbidden(result: isize) -> bool {
    let forbidden = result < 0 && matches!(Errno::last(), Errno::EPERM | Errno::ENOSYS);
    if forbidden {
        FORBIDDEN.store(true, Ordering::Relaxed);
    }
    forbidden
}

fn whole(moved: isize, wanted: usize) -> io::Result<()> {
    let moved = Errno::result(moved)?;
    if usize::try_from(moved) == Ok(wanted) { Ok(()) } else { Err(Errno::EFAULT.into()) }
}

/// A pipe of one's own for one copy: nobody else's bytes are in it, a child's after fork neither.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?)
}

fn read_by_pipe(address: usize, into: &mut [u8]) -> io::Result<()> {
    let (out, inn) = pipe()?;
    for (number, piece) in into.chunks_mut(PIECE).enumerate() {
        let named = (address.wrapping_add(number * PIECE)) as *const libc::c_void;
        // SAFETY: the kernel checks what is named, and answers EFAULT for what is not mapped.
        whole(unsafe { libc::write(inn.as_raw_fd(), named, piece.len()) }, piece.len())?;
        if nix::unistd::read(&out, piece)? != piece.len() {
            return Err(Errno::EFAULT.into());
        }
    }
    Ok(())
}

fn write_by_pipe(address: usize, from: &[u8]) -> io::Result<()> {
    let (out, inn) = pipe()?;
    for (number, piece) in from.chunks(PIECE).enumerate() {
        if nix::unistd::write(&inn, piece)? != piece.len() {
            return Err(Errno::EFAULT.into());
        }
        let named = (address.wrapping_add(number * PIECE)) as *mut libc::c_void;
        // SAFETY: as for `write_memory`.
        whole(unsafe { libc::read(out.as_raw_fd(), named, piece.len()) }, piece.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_copy_what_is_there_and_nothing_else() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|number| (number % 251) as u8).collect();
        type Read = fn(usize, &mut [u8]) -> io::Result<()>;
        type Write = fn(usize, &[u8]) -> io::Result<()>;
        for (read, write) in [(read_memory as Read, write_memory as Write), (read_by_pipe, write_by_pipe)] {
            let (mut copy, mut there) = (vec![0; bytes.len()], vec![0; bytes.len()]);
            read(bytes.as_ptr().addr(), &mut copy).unwrap();
            assert!(copy == bytes);
            write(there.as_mut_ptr().expose_provenance(), &bytes).unwrap();
            assert!(there == bytes);
            let text = "cannot be written".as_ptr().addr();
            for (address, result) in
                [(8, read(8, &mut copy)), (8, write(8, &bytes)), (text, write(text, b"x"))]
            {
                let error = result.expect_err("it is not there");
                assert_eq!(error.raw_os_error(), Some(libc::EFAULT), "{address:x}");
            }
        }
    }
}
