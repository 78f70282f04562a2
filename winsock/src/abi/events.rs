//! Events by handle, and network events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::Wsa;

use super::calls::socket;
use super::{SOCKET_ERROR, api, memory, overlapped, spi};
use crate::Result;
use crate::event::{Event, wait_or};
use crate::notify::{Callback, Events, KINDS};
use crate::provider::running;

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
const IO_COMPLETION: u32 = 0xC0;
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
    running()?;
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

fn wait(count: u32, handles: usize, all: i32, millis: u32, alertable: bool) -> Result<u32> {
    running()?;
    let count = count as usize;
    if count == 0 || count > 64 {
        return Err(Wsa::InvalidParameter);
    }
    let handle = |index: usize| memory::bytes(handles.wrapping_add(index * 8)).map(usize::from_ne_bytes);
    let waited = (0..count).map(|index| event(handle(index)?)).collect::<Result<Vec<_>>>()?;
    wait_alertably(&waited, all != 0, millis, alertable)
}

/// Waits for events; alertably, for the thread's completion routines as well, which are called then.
fn wait_alertably(waited: &[Event], all: bool, millis: u32, alertable: bool) -> Result<u32> {
    let timeout = (millis != INFINITE).then(|| Duration::from_millis(u64::from(millis)));
    let due = if alertable { Some(overlapped::due()?) } else { None };
    if alertable && overlapped::complete() > 0 {
        return Ok(IO_COMPLETION);
    }
    Ok(match wait_or(waited, all, due.as_ref(), timeout)? {
        Some(index) if index == waited.len() => {
            overlapped::complete();
            IO_COMPLETION
        }
        Some(index) => u32::try_from(index).unwrap_or(0),
        None => WAIT_TIMEOUT,
    })
}

/// Sleeps; alertably, no longer than until a completion routine of the thread has been called.
fn sleep(millis: u32, alertable: bool) -> Result<u32> {
    running()?;
    // Something that is never signalled, where nothing else is waited for.
    let never = if alertable { Vec::new() } else { vec![Event::new()?] };
    Ok(match wait_alertably(&never, false, millis, alertable)? {
        IO_COMPLETION => IO_COMPLETION,
        _ => 0,
    })
}

fn select(s: usize, handle: usize, wanted: i32) -> Result<i32> {
    let endpoint = socket(s)?;
    let wanted = Events::from_bits(wanted.cast_unsigned());
    let event = if handle == INVALID_EVENT { None } else { Some(event(handle).map_err(|_| Wsa::Einval)?) };
    endpoint.select_events(event.as_ref(), wanted).map(|()| 0)
}

/// What a program has in place of a window: called with itself, the message, the socket, and the event with its
/// error above it.
type Procedure = extern "C" fn(usize, u32, usize, isize);

fn select_callback(s: usize, procedure: Option<Procedure>, message: u32, wanted: i32) -> Result<i32> {
    let endpoint = socket(s)?;
    let wanted = Events::from_bits(wanted.cast_unsigned());
    let callback = procedure.map(|procedure| {
        let told: Callback = Arc::new(move |number, event, error| {
            // WSAMAKESELECTREPLY: the event in the lower half, the error in the upper.
            let error = error.map_or(0, Wsa::code) & 0xffff;
            let reply = isize::try_from(event.bits() | error << 16).unwrap_or(0);
            procedure(procedure as usize, message, usize::try_from(number).unwrap_or(0), reply);
        });
        told
    });
    endpoint.select_callback(callback, wanted).map(|()| 0)
}

exported! {
    /// WSAAsyncSelect, WSPAsyncSelect, with a function in place of a window.
    gqos_WSAAsyncSelect, gqos_WSPAsyncSelect(
        s: usize, procedure: Option<Procedure>, message: u32, wanted: i32
    ) -> i32, SOCKET_ERROR => select_callback(s, procedure, message, wanted);
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
        running()?;
        event(handle)?.set();
        Ok(1)
    })
}

/// WSAResetEvent.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAResetEvent(handle: usize) -> i32 {
    api(0, || {
        running()?;
        event(handle)?.reset();
        Ok(1)
    })
}

/// WSACloseEvent.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSACloseEvent(handle: usize) -> i32 {
    api(0, || {
        running()?;
        events().1.remove(&handle).map(|_| 1).ok_or(Wsa::InvalidHandle)
    })
}

/// WSAWaitForMultipleEvents.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAWaitForMultipleEvents(
    count: u32,
    handles: usize,
    all: i32,
    millis: u32,
    alertable: i32,
) -> u32 {
    api(WAIT_FAILED, || wait(count, handles, all, millis, alertable != 0))
}

/// SleepEx.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_SleepEx(millis: u32, alertable: i32) -> u32 {
    api(0, || sleep(millis, alertable != 0))
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
