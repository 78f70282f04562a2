//! Memory that a C program names and that may not be there.
//!
//! The kernel copies it: an address that is not mapped, or may not be written, is EFAULT instead of a crash. Nothing
//! here dereferences such an address or makes a reference of it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use flowspec::Errno;
use nix::fcntl::OFlag;
use nix::libc;

use super::errno::{Result, check_length, from_nix};

/// An address in the memory of the C program that this library is loaded into.
///
/// Has the representation of a pointer, so that it can be a parameter of a C function. A value is the program's
/// promise about what lies there. Only `unsafe` code makes one of a number: see [`new`](Self::new). The others are derived
/// from such an address, and the promise about it covers them: the places behind it, and the addresses that are stored there.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Address(usize);

impl Address {
    /// No address.
    pub const NULL: Self = Self(0);

    /// # Safety
    ///
    /// The kernel will read or write memory at this address, at the addresses that a structure there contains, or
    /// behind both, as the function that takes it documents. While that function or an overlapped operation that it
    /// starts runs, each of these places must either not be mapped, or be memory that no Rust reference points to and
    /// no other thread uses in a conflicting way.
    pub const unsafe fn new(address: usize) -> Self {
        Self(address)
    }

    /// As an integer, for arithmetic and for system calls that take one.
    pub const fn get(self) -> usize {
        self.0
    }

    /// Whether it is NULL.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address this many bytes behind, in the structure or buffer that the promise is about. No address has nothing
    /// behind it.
    pub(crate) const fn offset(self, bytes: usize) -> Self {
        if self.is_null() { self } else { Self(self.0.wrapping_add(bytes)) }
    }

    /// The address that is stored at this one, in a structure of the program's: the promise about the structure covers it.
    ///
    /// - **Errors**: those of [`read`](Self::read).
    pub(crate) fn stored(self) -> Result<Self> {
        let mut bytes = [0; size_of::<Self>()];
        self.read(&mut bytes)?;
        Ok(Self(usize::from_ne_bytes(bytes)))
    }

    fn pointer(self) -> *mut libc::c_void {
        std::ptr::with_exposed_provenance_mut(self.0)
    }

    /// Copies the memory at the address.
    ///
    /// - **Errors**: EFAULT where some of it is not mapped.
    /// - **Source**: process_vm_readv(2); where that is forbidden write(2) to a pipe, which checks addresses as well.
    pub(crate) fn read(self, into: &mut [u8]) -> Result<()> {
        if COPY_IS_FORBIDDEN.load(Ordering::Relaxed) {
            return self.read_by_pipe(into);
        }
        let own = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let foreign = libc::iovec { iov_base: self.pointer(), iov_len: into.len() };
        // SAFETY: `own` is a buffer that is borrowed exclusively for the call; the kernel checks `foreign`.
        let copied =
            unsafe { libc::process_vm_readv(libc::getpid(), &raw const own, 1, &raw const foreign, 1, 0) };
        match whole(copied, into.len()) {
            Err(error) if forbids_copy(error) => self.read_by_pipe(into),
            result => result,
        }
    }

    /// Copies to the memory at the address.
    ///
    /// - **Errors**: EFAULT where some of it is not mapped, or may not be written.
    /// - **Source**: process_vm_writev(2); where that is forbidden read(2) from a pipe.
    pub(crate) fn write(self, from: &[u8]) -> Result<()> {
        if COPY_IS_FORBIDDEN.load(Ordering::Relaxed) {
            return self.write_by_pipe(from);
        }
        let own = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
        let foreign = libc::iovec { iov_base: self.pointer(), iov_len: from.len() };
        // SAFETY: `own` is only read. The kernel checks `foreign`; where it is mapped, no Rust reference points to it
        // (`Address::new`).
        let copied =
            unsafe { libc::process_vm_writev(libc::getpid(), &raw const own, 1, &raw const foreign, 1, 0) };
        match whole(copied, from.len()) {
            Err(error) if forbids_copy(error) => self.write_by_pipe(from),
            result => result,
        }
    }

    fn read_by_pipe(self, into: &mut [u8]) -> Result<()> {
        let (reader, writer) = pipe()?;
        for (number, piece) in into.chunks_mut(PIECE).enumerate() {
            let foreign = self.offset(number * PIECE).pointer().cast_const();
            // SAFETY: the kernel only reads `foreign`, and answers EFAULT for what is not mapped.
            whole(unsafe { libc::write(writer.as_raw_fd(), foreign, piece.len()) }, piece.len())?;
            if nix::unistd::read(&reader, piece).map_err(from_nix)? != piece.len() {
                return Err(Errno::EFAULT);
            }
        }
        Ok(())
    }

    fn write_by_pipe(self, from: &[u8]) -> Result<()> {
        let (reader, writer) = pipe()?;
        for (number, piece) in from.chunks(PIECE).enumerate() {
            if nix::unistd::write(&writer, piece).map_err(from_nix)? != piece.len() {
                return Err(Errno::EFAULT);
            }
            let foreign = self.offset(number * PIECE).pointer();
            // SAFETY: as for `write`.
            whole(unsafe { libc::read(reader.as_raw_fd(), foreign, piece.len()) }, piece.len())?;
        }
        Ok(())
    }
}

/// A buffer of the C program's: an address and a length, for the kernel to read or fill.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ForeignMemory {
    address: Address,
    length: usize,
}

impl ForeignMemory {
    /// This many bytes at the address: as many as the program has stated with it, which its promise is about.
    pub(crate) const fn new(address: Address, length: usize) -> Self {
        Self { address, length }
    }

    pub(crate) const fn address(self) -> Address {
        self.address
    }

    pub(crate) const fn len(self) -> usize {
        self.length
    }

    /// What follows the first `skipped` bytes.
    pub(crate) fn after(self, skipped: usize) -> Self {
        let skipped = skipped.min(self.length);
        Self { address: self.address.offset(skipped), length: self.length - skipped }
    }

    /// The first bytes, at most `most`.
    pub(crate) fn first(self, most: usize) -> Self {
        Self { length: self.length.min(most), ..self }
    }

    pub(super) fn pointer(self) -> *mut u8 {
        self.address.pointer().cast()
    }
}

/// Set once the kernel or a sandbox has forbidden process_vm_readv(2) or process_vm_writev(2).
static COPY_IS_FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// What a pipe takes in one piece.
const PIECE: usize = libc::PIPE_BUF;

/// Whether an error means that the call is never carried out here.
fn forbids_copy(error: Errno) -> bool {
    let forbids = matches!(error, Errno::EPERM | Errno::ENOSYS);
    if forbids {
        COPY_IS_FORBIDDEN.store(true, Ordering::Relaxed);
    }
    forbids
}

fn whole(copied: isize, length: usize) -> Result<()> {
    if check_length(copied)? == length { Ok(()) } else { Err(Errno::EFAULT) }
}

/// A pipe for one copy. It is not shared: neither another thread nor a child after fork puts bytes in between.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(from_nix)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = fn(Address, &mut [u8]) -> Result<()>;
    type Write = fn(Address, &[u8]) -> Result<()>;

    #[test]
    fn both_ways_copy_mapped_memory_and_answer_efault_for_the_rest() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|number| (number % 251) as u8).collect();
        for (read, write) in [
            (Address::read as Read, Address::write as Write),
            (Address::read_by_pipe, Address::write_by_pipe),
        ] {
            let (mut copy, mut target) = (vec![0; bytes.len()], vec![0; bytes.len()]);
            // SAFETY: `bytes` is only read, and nothing writes to it.
            read(unsafe { Address::new(bytes.as_ptr().expose_provenance()) }, &mut copy).unwrap();
            assert!(copy == bytes);
            // SAFETY: no reference to the contents of `target` exists during the call.
            write(unsafe { Address::new(target.as_mut_ptr().expose_provenance()) }, &bytes).unwrap();
            assert!(target == bytes);
            // SAFETY: the first page is never mapped, and a string literal is read-only.
            let (absent, constant) =
                unsafe { (Address::new(8), Address::new("constant".as_ptr().expose_provenance())) };
            for result in [read(absent, &mut copy), write(absent, &bytes), write(constant, b"x")] {
                assert_eq!(result, Err(Errno::EFAULT));
            }
        }
    }
}
