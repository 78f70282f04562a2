//! Event objects: WSAEVENT.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Errno, Wsa};
use tokio::io::Interest;

use super::Result;
use super::blocking::{deadline_after, now, wait_for_any, watch};
use crate::sys::{Readiness, Signal};

/// An event object that stays signalled until it is reset. Clones are the same event.
///
/// - **Source**: WSACreateEvent.
#[derive(Clone, Debug)]
pub struct EventObject(Arc<Signal>);

/// The most events in one wait: WSA_MAXIMUM_WAIT_EVENTS.
const MAX_WAIT_EVENTS: usize = 64;

impl EventObject {
    /// An event that is not signalled.
    ///
    /// - **Errors**: WSAENOBUFS, WSAEMFILE.
    pub fn new() -> Result<Self> {
        Signal::new().map(|signal| Self(Arc::new(signal))).map_err(Errno::wsa)
    }

    /// Signals the event. Source: WSASetEvent.
    pub fn set(&self) {
        self.0.raise();
    }

    /// Ends the signalled state. Source: WSAResetEvent.
    pub fn reset(&self) {
        self.0.clear();
    }

    /// Ends the signalled state, and returns whether the event was signalled. Of several threads one sees that.
    pub(crate) fn take(&self) -> bool {
        self.0.clear()
    }

    /// Waits until the event is signalled, on the tokio runtime of the caller.
    ///
    /// - **Errors**: WSAEMFILE; WSAENETDOWN where the runtime has ended.
    pub async fn signalled(&self) -> Result<()> {
        let duplicate = self.0.duplicate().map_err(Errno::wsa)?;
        let watched = watch(duplicate, Interest::READABLE)?;
        loop {
            let mut guard = watched.readable().await.map_err(|_| Wsa::Enetdown)?;
            if self.is_set() {
                return Ok(());
            }
            guard.clear_ready();
        }
    }

    /// Whether the event is signalled now.
    pub fn is_set(&self) -> bool {
        matches!(wait_for_events(std::slice::from_ref(self), false, Some(Duration::ZERO)), Ok(Some(_)))
    }
}

/// Waits until one of several events is signalled, or all of them, and returns the index of the first one that is;
/// `None` after the timeout.
///
/// - **Errors**: WSA_INVALID_PARAMETER for no events or more than 64; WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSAWaitForMultipleEvents.
pub fn wait_for_events(
    events: &[EventObject],
    all: bool,
    timeout: Option<Duration>,
) -> Result<Option<usize>> {
    Ok(wait_for_events_or(events, all, None, timeout)?.map(|index| index.min(events.len() - 1)))
}

/// The same, or until an additional event is signalled, whose index is `events.len()`.
pub(crate) fn wait_for_events_or(
    events: &[EventObject],
    all: bool,
    additional: Option<&EventObject>,
    timeout: Option<Duration>,
) -> Result<Option<usize>> {
    if events.len() > MAX_WAIT_EVENTS || events.is_empty() && additional.is_none() {
        return Err(Wsa::InvalidParameter);
    }
    let descriptor = |event: &EventObject| (event.0.as_raw_fd(), Readiness::READABLE);
    let deadline = timeout.map(deadline_after);
    // The indices of the events that have not been seen signalled.
    let mut pending: Vec<usize> = (0..events.len()).collect();
    loop {
        let mut watched: Vec<_> = pending.iter().map(|&index| descriptor(&events[index])).collect();
        watched.extend(additional.map(descriptor));
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        if wait_for_any(&mut watched, left)? == 0 {
            return Ok(None);
        }
        if additional.is_some() && watched.pop().is_some_and(|(_, found)| found.readable) {
            return Ok(Some(events.len()));
        }
        if !all {
            let first = watched.iter().position(|(_, found)| found.readable);
            return Ok(first.map(|position| pending[position]));
        }
        let unsignalled = watched.iter().zip(&pending).filter(|((_, found), _)| !found.readable);
        pending = unsignalled.map(|(_, &index)| index).collect();
        if pending.is_empty() {
            return Ok(Some(0));
        }
    }
}
