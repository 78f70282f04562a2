//! Whether a socket is closed, and how calls that wait on it are woken.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use flowspec::Errno;

use super::Result;
use crate::sys::Signal;

/// The part of a socket that its blocking calls watch.
#[derive(Debug, Default)]
pub(crate) struct CloseState {
    closed: AtomicBool,
    /// Made by the first call that waits.
    signal: OnceLock<Signal>,
    /// Threads that wait in the kernel to receive.
    receivers: AtomicUsize,
}

/// Counts a thread that waits in the kernel to receive, until it is dropped.
pub(crate) struct Receiver<'a>(&'a CloseState);

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        self.0.receivers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl CloseState {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A signal that is raised when the socket is closed.
    ///
    /// - **Errors**: WSAEMFILE, WSAENOBUFS.
    pub(crate) fn signal(&self) -> Result<&Signal> {
        if let Some(signal) = self.signal.get() {
            return Ok(signal);
        }
        let fresh = Signal::new().map_err(Errno::wsa)?;
        let signal = self.signal.get_or_init(|| fresh);
        // `close` may have run before the signal was there.
        if self.is_closed() {
            signal.raise();
        }
        Ok(signal)
    }

    pub(crate) fn receiver(&self) -> Receiver<'_> {
        self.receivers.fetch_add(1, Ordering::SeqCst);
        Receiver(self)
    }

    /// Marks the socket as closed and wakes the calls that wait with `poll`. Returns whether threads wait in the kernel
    /// to receive: only a shutdown of the descriptor wakes those.
    pub(crate) fn close(&self) -> bool {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(signal) = self.signal.get() {
            signal.raise();
        }
        self.receivers.load(Ordering::SeqCst) > 0
    }
}
