//! Events by handle, and network events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::Wsa;

use super::super::Result;
use super::super::event::{Event, wait_for_events};
use super::super::notify::{Events, KINDS};
use super::super::provider::provider;
use super::calls::socket;
use super::{SOCKET_ERROR, api, memory, spi};

/// Every open event by its handle.
static EVENTS: Mutex<(usize, BTreeMap<usize, Event>)> = Mutex::new((0, BTreeMap::new()));

/// Handles begin here: no descriptor is as large, so that none is taken for a socket.
const FIRST_HANDLE: usize = 1 << 32;

/// The most events there may be at once.
const MOST_OPEN: usize = 1 << 20;

/// WSA_INVALID_EVENT.
const INVALID_EVENT: usize = 0;

/// WSA_WAIT_TIMEOUT and WSA_WAIT_FAILED.
const WAIT_TIMEOUT: u32 = 258;
const WAIT_FAILED: u32 = u32::MAX;

/// INFINITE.
const INFINITE: u32 = u32::MAX;

fn events() -> MutexGuard<'static, (usize, BTreeMap<usize, Event>)> {
    // Whole between any two statements that can panic.
    EVENTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The event behind a handle.
///
/// - **Errors**: WSA_INVALID_HANDLE.
pub(super) fn event(handle: usize) -> Result<Event> {
    events().1.get(&handle).cloned().ok_or(Wsa::InvalidHandle)
}

fn create() -> Result<usize> {
    provider()?;
    let event = Event::new()?;
    let (next, open) = &mut *events();
    if open.len() >= MOST_OPEN {
        return Err(Wsa::Enobufs);
    }
    *next += 1;
    let handle = FIRST_HANDLE + *next * 4;
    open.insert(handle, event);
    Ok(handle)
}

fn wait(count: u32, handles: usize, all: i32, millis: u32) -> Result<u32> {
    provider()?;
    let count = count as usize;
    if count == 0 || count > 64 {
        return Err(Wsa::InvalidParameter);
    }
    let handle = |index: usize| memory::bytes(handles + index * 8).map(usize::from_ne_bytes);
    let waited = (0..count).map(|index| event(handle(index)?)).collect::<Result<Vec<_>>>()?;
    let timeout = (millis != INFINITE).then(|| Duration::from_millis(u64::from(millis)));
    Ok(match wait_for_events(&waited, all != 0, timeout)? {
        Some(index) => u32::try_from(index).unwrap_or(0),
        None => WAIT_TIMEOUT,
    })
}

fn select(s: usize, handle: usize, wanted: i32) -> Result<i32> {
    let endpoint = socket(s)?;
    let wanted = Events::from_bits(wanted.cast_unsigned());
    let event = if handle == INVALID_EVENT { None } else { Some(event(handle).map_err(|_| Wsa::Einval)?) };
    endpoint.select_events(event.as_ref(), wanted).map(|()| 0)
}

/// WSANETWORKEVENTS: the bits, and an error for each.
fn take(s: usize, handle: usize, place: usize) -> Result<i32> {
    let endpoint = socket(s)?;
    if place == 0 {
        return Err(Wsa::Efault);
    }
    let reset = if handle == INVALID_EVENT { None } else { Some(event(handle)?) };
    let found = endpoint.take_events(reset.as_ref())?;
    let mut bytes = Vec::with_capacity(4 + KINDS * 4);
    bytes.extend(found.events.bits().to_ne_bytes());
    for error in found.errors {
        bytes.extend(error.map_or(0, Wsa::code).to_ne_bytes());
    }
    memory::write(place, &bytes).map(|()| 0)
}

/// WSACreateEvent.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSACreateEvent() -> usize {
    api(INVALID_EVENT, create)
}

/// WSASetEvent.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSASetEvent(handle: usize) -> i32 {
    api(0, || {
        provider()?;
        event(handle)?.set();
        Ok(1)
    })
}

/// WSAResetEvent.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAResetEvent(handle: usize) -> i32 {
    api(0, || {
        provider()?;
        event(handle)?.reset();
        Ok(1)
    })
}

/// WSACloseEvent.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSACloseEvent(handle: usize) -> i32 {
    api(0, || {
        provider()?;
        events().1.remove(&handle).map(|_| 1).ok_or(Wsa::InvalidHandle)
    })
}

/// WSAWaitForMultipleEvents; nothing is alertable here.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAWaitForMultipleEvents(
    count: u32,
    handles: usize,
    all: i32,
    millis: u32,
    _alertable: i32,
) -> u32 {
    api(WAIT_FAILED, || wait(count, handles, all, millis))
}

/// WSAEventSelect.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAEventSelect(s: usize, handle: usize, wanted: i32) -> i32 {
    api(SOCKET_ERROR, || select(s, handle, wanted))
}

/// WSPEventSelect.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPEventSelect(s: usize, handle: usize, wanted: i32, lp_errno: usize) -> i32 {
    spi(SOCKET_ERROR, lp_errno, || select(s, handle, wanted))
}

/// WSAEnumNetworkEvents.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAEnumNetworkEvents(s: usize, handle: usize, place: usize) -> i32 {
    api(SOCKET_ERROR, || take(s, handle, place))
}

/// WSPEnumNetworkEvents.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPEnumNetworkEvents(s: usize, handle: usize, place: usize, lp_errno: usize) -> i32 {
    spi(SOCKET_ERROR, lp_errno, || take(s, handle, place))
}
