//! A socket's descriptor, and its duplicates.
//!
//! The program may close the number by close(2), and the kernel may give it to another file. Whether the number is still
//! the socket's is decided by the cookie that the kernel gives each socket.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowspec::{Errno, Wsa};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Result;
use super::blocking::watch;
use super::close_state::{CloseState, DuplicateUse};
use crate::sys;

#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: ManuallyDrop<OwnedFd>,
    /// What identifies the kernel's socket.
    cookie: AtomicU64,
}

impl Descriptor {
    /// - **Errors**: those of `getsockopt`.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self> {
        let cookie = sys::cookie(&fd).map_err(Errno::wsa)?;
        Ok(Self { fd: ManuallyDrop::new(fd), cookie: AtomicU64::new(cookie) })
    }

    /// Makes the number that of another kernel socket. The earlier one is closed; programs that this process executes
    /// inherit the number as before.
    ///
    /// - **Errors**: WSAENOTSOCK where the number is not this socket's any more; those of `dup3`.
    pub(crate) fn replace(&self, by: OwnedFd) -> Result<()> {
        if !self.is_same() {
            return Err(Wsa::Enotsock);
        }
        let cookie = sys::cookie(&by).map_err(Errno::wsa)?;
        let inheritable = sys::is_inheritable(&*self.fd);
        sys::replace(&*self.fd, by).map_err(Errno::wsa)?;
        self.cookie.store(cookie, Ordering::SeqCst);
        sys::set_inheritable(&*self.fd, inheritable).map_err(Errno::wsa)
    }

    /// Whether the number still is this socket's.
    pub(crate) fn is_same(&self) -> bool {
        sys::cookie(&*self.fd) == Ok(self.cookie.load(Ordering::SeqCst))
    }

    /// Closes the kernel's socket and keeps the number, so that a call that is under way in another thread reaches no
    /// other file. The number is freed with the value.
    pub(crate) fn retire(&self) {
        if self.is_same() {
            sys::replace_by_placeholder(&*self.fd);
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.is_same() || sys::is_placeholder(&*self.fd) {
            // SAFETY: the field is not used again.
            drop(unsafe { ManuallyDrop::take(&mut self.fd) });
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A duplicate of a socket's descriptor, for the reactor to watch. Closing the socket waits until it is dropped.
#[derive(Debug)]
pub(crate) struct Duplicate {
    fd: OwnedFd,
    counted: DuplicateUse,
}

impl Duplicate {
    /// - **Errors**: WSAEMFILE, WSAENOBUFS; WSAEINTR where the socket is closed.
    pub(crate) fn new(of: &Descriptor, closing: &Arc<CloseState>) -> Result<Self> {
        let counted = closing.duplicate();
        // Counted first: `close` either waits for this duplicate, or has marked the socket by now.
        if closing.is_closed() {
            return Err(Wsa::Eintr);
        }
        let fd = of.fd.try_clone().map_err(|error| sys::errno_of(&error).wsa())?;
        Ok(Self { fd, counted })
    }

    /// Registers it with the reactor that the calling thread has entered.
    ///
    /// - **Errors**: WSAENOBUFS.
    pub(crate) fn watch(self, interest: Interest) -> Result<Watched> {
        Ok(Watched { fd: watch(self.fd, interest)?, _counted: self.counted })
    }
}

/// A duplicate that is registered with the reactor.
#[derive(Debug)]
pub(crate) struct Watched {
    fd: AsyncFd<OwnedFd>,
    // Dropped after the descriptor.
    _counted: DuplicateUse,
}

impl Deref for Watched {
    type Target = AsyncFd<OwnedFd>;

    fn deref(&self) -> &Self::Target {
        &self.fd
    }
}
