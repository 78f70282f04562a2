//! A flag that threads can wait for with `poll`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::errno::{Result, errno_of, from_nix};

/// A flag that stays raised until it is cleared. Its descriptor is readable while it is raised.
#[derive(Debug)]
pub(crate) struct Signal(EventFd);

impl Signal {
    /// A flag that is not raised.
    ///
    /// - **Errors**: `eventfd`.
    pub(crate) fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        EventFd::from_value_and_flags(0, flags).map(Self).map_err(from_nix)
    }

    pub(crate) fn raise(&self) {
        // An error means that the counter is full, after 2⁶⁴ calls without a clear: the flag is raised then.
        let _ = self.0.write(1);
    }

    /// Clears the flag, and returns whether it was raised. Of several threads one clears it.
    pub(crate) fn clear(&self) -> bool {
        // An error means that the flag is not raised.
        self.0.read().is_ok()
    }

    /// Another descriptor of the same flag.
    ///
    /// - **Errors**: `fcntl`.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned().map_err(|error| errno_of(&error))
    }
}

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
