//! The connections of a listener whose offers have arrived.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Errno;

use super::message::Offer;
use crate::Result;
use crate::sys::Signal;

/// The most connections that wait to be accepted.
const MAX_OFFERS: usize = 128;

/// Connections that wait to be accepted, with their offers, oldest first.
#[derive(Debug)]
pub(crate) struct OfferQueue {
    queue: Mutex<VecDeque<OfferedConnection>>,
    /// Raised while the queue is not empty.
    signal: Signal,
}

/// A connection that waits to be accepted.
#[derive(Debug)]
pub(crate) struct OfferedConnection {
    pub(crate) fd: OwnedFd,
    pub(crate) peer: SocketAddr,
    pub(crate) offer: Offer,
}

impl OfferQueue {
    /// - **Errors**: WSAEMFILE, WSAENOBUFS.
    pub(crate) fn new() -> Result<Self> {
        let signal = Signal::new().map_err(Errno::wsa)?;
        Ok(Self { queue: Mutex::default(), signal })
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<OfferedConnection>> {
        // The queue is consistent between any two statements that can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take_first(&self) -> Option<OfferedConnection> {
        let mut queue = self.queue();
        let first = queue.pop_front();
        if queue.is_empty() {
            self.signal.clear();
        }
        first
    }

    /// Puts a deferred connection back to the front.
    pub(crate) fn put_back(&self, connection: OfferedConnection) {
        self.queue().push_front(connection);
        self.signal.raise();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    /// Adds a connection; where too many wait it is closed, which its caller sees as WSAECONNREFUSED.
    pub(crate) fn add(&self, connection: OfferedConnection) {
        let mut queue = self.queue();
        if queue.len() < MAX_OFFERS {
            queue.push_back(connection);
            self.signal.raise();
        }
    }

    /// A descriptor that is readable while the queue is not empty.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.signal.as_raw_fd()
    }
}
