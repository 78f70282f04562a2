//! Whether a socket is closed, how calls that wait on it are woken, and what still uses its file.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use flowspec::Errno;

use super::Result;
use crate::sys::Signal;

/// The part of a socket that its blocking calls and the reactor's tasks watch.
#[derive(Debug, Default)]
pub(crate) struct CloseState {
    closed: AtomicBool,
    /// Made by the first call that waits.
    signal: OnceLock<Signal>,
    /// Threads that wait in the kernel to receive.
    receivers: AtomicUsize,
    /// Threads that wait for this socket and others.
    pollers: AtomicUsize,
    /// What keeps the kernel's socket open besides the socket's own descriptor: waiting threads and duplicates.
    uses: Mutex<usize>,
    /// Notified when the last use has ended.
    unused: Condvar,
}

/// How a thread waits on a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WaitKind {
    /// For the descriptor and the signal of [`CloseState::signal`].
    Signalled,
    /// In the kernel, to receive.
    InReceive,
    /// For several sockets, without their signals.
    WithOthers,
}

/// The threads that `close` has to wake by a shutdown of the descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingThreads {
    pub(crate) in_receive: bool,
    pub(crate) with_others: bool,
}

/// Counts a thread that waits on a socket, until it is dropped.
pub(crate) struct WaitingThread<'a> {
    state: &'a CloseState,
    kind: WaitKind,
}

/// Counts a duplicate of a socket's descriptor, until it is dropped.
#[derive(Debug)]
pub(crate) struct DuplicateUse(Arc<CloseState>);

/// How long `close` waits for the uses to end. They end at once, unless a thread is stopped by a debugger.
const PATIENCE: Duration = Duration::from_secs(1);

impl Drop for WaitingThread<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.state.count(self.kind) {
            count.fetch_sub(1, Ordering::SeqCst);
        }
        self.state.end_use();
    }
}

impl Drop for DuplicateUse {
    fn drop(&mut self) {
        self.0.end_use();
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

    fn count(&self, kind: WaitKind) -> Option<&AtomicUsize> {
        match kind {
            WaitKind::Signalled => None,
            WaitKind::InReceive => Some(&self.receivers),
            WaitKind::WithOthers => Some(&self.pollers),
        }
    }

    fn uses(&self) -> MutexGuard<'_, usize> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_use(&self) {
        let mut uses = self.uses();
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            self.unused.notify_all();
        }
    }

    /// Counts the calling thread as waiting. It checks [`is_closed`](Self::is_closed) afterwards.
    pub(crate) fn wait_as(&self, kind: WaitKind) -> WaitingThread<'_> {
        *self.uses() += 1;
        if let Some(count) = self.count(kind) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        WaitingThread { state: self, kind }
    }

    /// Counts a duplicate of the descriptor. Its owner drops it soon after the socket is closed.
    pub(crate) fn duplicate(self: &Arc<Self>) -> DuplicateUse {
        *self.uses() += 1;
        DuplicateUse(Arc::clone(self))
    }

    /// Marks the socket as closed and wakes the calls that wait for the signal.
    pub(crate) fn close(&self) -> WaitingThreads {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(signal) = self.signal.get() {
            signal.raise();
        }
        WaitingThreads {
            in_receive: self.receivers.load(Ordering::SeqCst) > 0,
            with_others: self.pollers.load(Ordering::SeqCst) > 0,
        }
    }

    /// Waits until nothing but the socket's own descriptor keeps the kernel's socket open.
    pub(crate) fn wait_until_unused(&self) {
        let uses = self.uses();
        // After a timeout the socket is closed a little later.
        drop(self.unused.wait_timeout_while(uses, PATIENCE, |uses| *uses > 0));
    }
}
