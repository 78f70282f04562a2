//! Waiting for descriptors.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use flowspec::Errno;
use nix::libc;

use super::errno::{Result, check};

/// The states of a descriptor that `poll` watches for, and those that it found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Readiness {
    /// There is data to read, or the end of it.
    pub(crate) readable: bool,
    /// There is urgent data to read.
    pub(crate) urgent: bool,
    /// There is space in the send queue.
    pub(crate) writable: bool,
    /// There is an error, or both directions have ended. Found without being watched for.
    pub(crate) failed: bool,
    /// The peer sends no more.
    pub(crate) peer_closed: bool,
}

impl Readiness {
    /// Readable alone.
    pub(crate) const READABLE: Self =
        Self { readable: true, urgent: false, writable: false, failed: false, peer_closed: false };

    /// Writable alone.
    pub(crate) const WRITABLE: Self = Self { readable: false, writable: true, ..Self::READABLE };

    fn events(self) -> i16 {
        let mut events = 0;
        for (watched, event) in [
            (self.readable, libc::POLLIN),
            (self.urgent, libc::POLLPRI),
            (self.writable, libc::POLLOUT),
            (self.peer_closed, libc::POLLRDHUP),
        ] {
            events |= if watched { event } else { 0 };
        }
        events
    }

    const fn found(events: i16) -> Self {
        Self {
            readable: events & libc::POLLIN != 0,
            urgent: events & libc::POLLPRI != 0,
            writable: events & libc::POLLOUT != 0,
            failed: events & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0,
            peer_closed: events & libc::POLLRDHUP != 0,
        }
    }
}

/// Waits until at least one descriptor is in a state that it is watched for, replaces each entry's states by those
/// found, and returns how many descriptors have any; 0 where the timeout has passed. `None` waits without limit. A
/// negative descriptor is ignored.
///
/// - **Errors**: `poll`, EINTR among them.
pub(crate) fn poll(watched: &mut [(RawFd, Readiness)], timeout: Option<Duration>) -> Result<usize> {
    let mut polled: Vec<libc::pollfd> = watched
        .iter()
        .map(|(fd, states)| libc::pollfd { fd: *fd, events: states.events(), revents: 0 })
        .collect();
    let millis = match timeout {
        None => -1,
        // Rounded up, so that the call never returns before the timeout.
        Some(time) => i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX),
    };
    let length = libc::nfds_t::try_from(polled.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `polled` is valid for reads and writes of `length` entries for the whole call, and poll answers
    // POLLNVAL for a descriptor that is not open.
    let count = check(unsafe { libc::poll(polled.as_mut_ptr(), length, millis) })?;
    for ((_, states), polled) in watched.iter_mut().zip(&polled) {
        *states = Readiness::found(polled.revents);
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Whether a descriptor has an error that was not reported yet. The error stays.
pub(crate) fn has_error(fd: &impl AsRawFd) -> bool {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: `polled` is valid for reads and writes of one entry for the whole call.
    let count = unsafe { libc::poll(&raw mut polled, 1, 0) };
    count > 0 && polled.revents & libc::POLLERR != 0
}
