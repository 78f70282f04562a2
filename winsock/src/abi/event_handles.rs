//! WSAEVENT handles.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use crate::Result;
use crate::event::EventObject;

struct EventHandles {
    /// Events made so far: handles are not used again.
    made: usize,
    open: BTreeMap<usize, EventObject>,
}

static HANDLES: Mutex<EventHandles> = Mutex::new(EventHandles { made: 0, open: BTreeMap::new() });

/// Handles are larger than any descriptor, so that none is taken for a socket.
const FIRST_HANDLE: usize = 1 << 32;

/// The most events at once.
const MAX_EVENTS: usize = 1 << 20;

fn handles() -> MutexGuard<'static, EventHandles> {
    // The value is consistent between any two statements that can panic.
    HANDLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// - **Errors**: WSA_INVALID_HANDLE.
pub(super) fn event(handle: usize) -> Result<EventObject> {
    handles().open.get(&handle).cloned().ok_or(Wsa::InvalidHandle)
}

/// Gives an event a handle.
///
/// - **Errors**: WSAENOBUFS.
pub(super) fn insert(event: EventObject) -> Result<usize> {
    let mut handles = handles();
    if handles.open.len() >= MAX_EVENTS {
        return Err(Wsa::Enobufs);
    }
    handles.made += 1;
    let handle = FIRST_HANDLE + handles.made * 4;
    handles.open.insert(handle, event);
    Ok(handle)
}

/// - **Errors**: WSA_INVALID_HANDLE.
pub(super) fn remove(handle: usize) -> Result<()> {
    handles().open.remove(&handle).map(drop).ok_or(Wsa::InvalidHandle)
}
