//! Events: something that is signalled or not, and who waits for it.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use flowspec::Wsa;
use tokio::io::Interest;

use super::Result;
use super::waiting::{wait_for_all, watch};
use crate::sys::raw::{self, Ready, Signal};

/// An event that stays signalled until it is reset. Cheap to clone; the clones are one event.
///
/// - **Source**: WSACreateEvent.
#[derive(Clone, Debug)]
pub struct Event(Arc<Signal>);

/// The most events that one wait may be for: WSA_MAXIMUM_WAIT_EVENTS.
pub(super) const MOST_EVENTS: usize = 64;

impl Event {
    /// An event that is not signalled.
    ///
    /// - **Errors**: WSAENOBUFS, WSAEMFILE.
    pub fn new() -> Result<Self> {
        Signal::new().map(|signal| Self(Arc::new(signal))).map_err(|error| raw::code(&error))
    }

    /// Signals it.
    pub fn set(&self) {
        self.0.raise();
    }

    /// It is not signalled any more.
    pub fn reset(&self) {
        self.0.clear();
    }

    /// Waits until it is signalled, as a future: on whichever tokio runtime it is awaited.
    ///
    /// - **Errors**: WSAEMFILE; WSAENETDOWN where the runtime has ended.
    pub async fn signalled(&self) -> Result<()> {
        let own = self.0.duplicate().map_err(|error| raw::code(&error))?;
        let watched = watch(own, Interest::READABLE)?;
        loop {
            let mut guard = watched.readable().await.map_err(|_| Wsa::Enetdown)?;
            if self.is_set() {
                return Ok(());
            }
            guard.clear_ready();
        }
    }

    /// Whether it is signalled, at once.
    pub fn is_set(&self) -> bool {
        matches!(wait_for_events(std::slice::from_ref(self), false, Some(Duration::ZERO)), Ok(Some(_)))
    }
}

/// Waits until one of several events is signalled, or all of them: which one, the first if several; nothing
/// where the time is over before.
///
/// - **Errors**: WSA_INVALID_PARAMETER where there are none or more than 64; WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSAWaitForMultipleEvents.
pub fn wait_for_events(events: &[Event], all: bool, timeout: Option<Duration>) -> Result<Option<usize>> {
    Ok(wait_or(events, all, None, timeout)?.map(|index| index.min(events.len() - 1)))
}

/// The same, or until another event is signalled: that one's number is how many there are before it.
pub(super) fn wait_or(
    events: &[Event],
    all: bool,
    or: Option<&Event>,
    timeout: Option<Duration>,
) -> Result<Option<usize>> {
    if events.len() > MOST_EVENTS || events.is_empty() && or.is_none() {
        return Err(Wsa::InvalidParameter);
    }
    let readable = Ready { readable: true, ..Ready::default() };
    let until = timeout.map(super::waiting::deadline);
    let mut pending: Vec<usize> = (0..events.len()).collect();
    loop {
        let mut watched: Vec<_> =
            pending.iter().map(|&index| (events[index].0.as_raw_fd(), readable)).collect();
        watched.extend(or.map(|or| (or.0.as_raw_fd(), readable)));
        let left = until.map(|until| until.saturating_duration_since(super::waiting::now()));
        if wait_for_all(&mut watched, left)? == 0 {
            return Ok(None);
        }
        if or.is_some() && watched.pop().is_some_and(|(_, found)| found.readable) {
            return Ok(Some(events.len()));
        }
        if !all {
            let first = watched.iter().position(|(_, found)| found.readable);
            return Ok(first.map(|position| pending[position]));
        }
        let waiting = watched.iter().zip(&pending).filter(|((_, found), _)| !found.readable);
        pending = waiting.map(|(_, &index)| index).collect();
        if pending.is_empty() {
            return Ok(Some(0));
        }
    }
}
