//! Events and waiting by the names of the Windows API. Handles are those of WSACreateEvent; the provider need not be
//! started. A call that succeeds leaves the thread's error as it is.

use std::time::{Duration, Instant};

use flowspec::Wsa;

use super::event_handles::{self, event};
use super::wait_effects::{self, Taken};
use super::{Address, NULL, last_error, memory, overlapped, timers};
use crate::Result;
use crate::blocking::{deadline_after, now};
use crate::event::{EventObject, wait_for_events_or};
use crate::{socket_table, sys};

/// MAXIMUM_WAIT_OBJECTS.
const MAX_WAIT_OBJECTS: usize = 64;

/// WAIT_ABANDONED_0, WAIT_IO_COMPLETION, WAIT_TIMEOUT and WAIT_FAILED.
const WAIT_ABANDONED_0: u32 = 0x80;
const WAIT_IO_COMPLETION: u32 = 0xC0;
const WAIT_TIMEOUT: u32 = 258;
const WAIT_FAILED: u32 = u32::MAX;

/// The timeout that never ends. Source: `winbase.h`.
const INFINITE: u32 = u32::MAX;

fn create_event(manual_reset: bool, initially_set: bool) -> Result<usize> {
    let event = EventObject::new()?;
    if initially_set {
        event.set();
    }
    let handle = event_handles::insert(event)?;
    if !manual_reset {
        wait_effects::reset_by_waits(handle);
    }
    Ok(handle)
}

/// Closes an event or a file. A SOCKET is closed by closesocket alone.
fn close_handle(handle: usize) -> Result<i32> {
    wait_effects::remove(handle);
    timers::cancel(handle);
    if event_handles::remove(handle).is_ok() {
        return Ok(1);
    }
    let descriptor = i32::try_from(handle).map_err(|_| Wsa::InvalidHandle)?;
    if descriptor <= 2 || socket_table::get(descriptor).is_ok() {
        return Err(Wsa::InvalidHandle);
    }
    sys::close_file(descriptor).map(|()| 1).map_err(|_| Wsa::InvalidHandle)
}

fn wait(handles: &[usize], all: bool, millis: u32, alertable: bool) -> Result<u32> {
    let events = handles.iter().map(|&handle| event(handle)).collect::<Result<Vec<_>>>()?;
    let deadline = (millis != INFINITE).then(|| deadline_after(Duration::from_millis(u64::from(millis))));
    let routines = if alertable { Some(overlapped::routine_event()?) } else { None };
    if alertable && overlapped::run_due_routines() > 0 {
        return Ok(WAIT_IO_COMPLETION);
    }
    loop {
        // A mutex of this thread is not waited for.
        let owned = wait_effects::first_owned(handles);
        let (waited, left) = match (owned, all) {
            (Some(_), true) => {
                let is_waited = |handle: &usize| wait_effects::first_owned(&[*handle]).is_none();
                let waited = handles.iter().zip(&events).filter(|(handle, _)| is_waited(handle));
                (waited.map(|(_, event)| event.clone()).collect(), deadline.map(time_until))
            }
            (Some(first), false) => (events[..first].to_vec(), Some(Duration::ZERO)),
            (None, _) => (events.clone(), deadline.map(time_until)),
        };
        let found = match waited.is_empty() {
            true => Some(0),
            false => wait_for_events_or(&waited, all, routines.as_ref(), left)?,
        };
        let (from, until) = match (found, owned) {
            (None, Some(first)) if !all => (first, first + 1),
            (None, _) => return Ok(WAIT_TIMEOUT),
            (Some(index), _) if index == waited.len() && !waited.is_empty() => {
                overlapped::run_due_routines();
                return Ok(WAIT_IO_COMPLETION);
            }
            (Some(_), _) if all => (0, handles.len()),
            (Some(index), _) => (index, index + 1),
        };
        let first = if all { 0 } else { u32::try_from(from).unwrap_or(0) };
        match wait_effects::take(&handles[from..until], &events[from..until]) {
            Taken::All => return Ok(first),
            Taken::AllAbandoned => return Ok(WAIT_ABANDONED_0 + first),
            Taken::Nothing => {}
        }
    }
}

fn time_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now())
}

/// Waits for objects, of which it changes those that have ended the wait: for one of them, or for all.
///
/// - **Errors**: WSA_INVALID_PARAMETER for none or more than 64; WSA_INVALID_HANDLE; WSAEFAULT; WSAEINTR, WSAEINPROGRESS.
pub(super) fn wait_for_list(
    count: u32,
    list: Address,
    all: bool,
    millis: u32,
    alertable: bool,
) -> Result<u32> {
    let count = count as usize;
    if count == 0 || count > MAX_WAIT_OBJECTS {
        return Err(Wsa::InvalidParameter);
    }
    let handles = (0..count).map(|index| memory::read_usize(list.offset(index * 8)));
    wait(&handles.collect::<Result<Vec<_>>>()?, all, millis, alertable)
}

c_functions! {
    /// CreateEventA and CreateEventW. Names have no effect.
    api gqos_CreateEvent(_attributes: Address, manual_reset: i32, initially_set: i32, _name: Address)
        -> usize, or NULL => {
        last_error::keep();
        create_event(manual_reset != 0, initially_set != 0)
    };
    /// SetEvent.
    api gqos_SetEvent(handle: usize) -> i32, or 0 => {
        last_error::keep();
        wait_effects::plain_event(handle)?.set();
        Ok(1)
    };
    /// ResetEvent.
    api gqos_ResetEvent(handle: usize) -> i32, or 0 => {
        last_error::keep();
        wait_effects::plain_event(handle)?.reset();
        Ok(1)
    };
    /// CloseHandle.
    api gqos_CloseHandle(handle: usize) -> i32, or 0 => {
        last_error::keep();
        close_handle(handle)
    };
    /// WaitForSingleObject and WaitForSingleObjectEx.
    api gqos_WaitForSingleObjectEx(handle: usize, millis: u32, alertable: i32) -> u32, or WAIT_FAILED
        => {
        last_error::keep();
        wait(&[handle], false, millis, alertable != 0)
    };
    /// WaitForMultipleObjects and WaitForMultipleObjectsEx.
    api gqos_WaitForMultipleObjectsEx(count: u32, list: Address, all: i32, millis: u32, alertable: i32)
        -> u32, or WAIT_FAILED => {
        last_error::keep();
        wait_for_list(count, list, all != 0, millis, alertable != 0)
    };
}
