//! Events and waiting by the names of the Windows API. Handles are those of WSACreateEvent; the provider need not be
//! started. A call that succeeds leaves the thread's error as it is.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::Wsa;

use super::event_handles::{self, event};
use super::{Address, NULL, last_error, memory, overlapped, timers};
use crate::Result;
use crate::blocking::{deadline_after, now};
use crate::event::{EventObject, wait_for_events_or};
use crate::{socket_table, sys};

/// MAXIMUM_WAIT_OBJECTS.
const MAX_WAIT_OBJECTS: usize = 64;

/// WAIT_IO_COMPLETION, WAIT_TIMEOUT and WAIT_FAILED.
const WAIT_IO_COMPLETION: u32 = 0xC0;
const WAIT_TIMEOUT: u32 = 258;
const WAIT_FAILED: u32 = u32::MAX;

/// The timeout that never ends. Source: `winbase.h`.
const INFINITE: u32 = u32::MAX;

/// The events that a wait resets.
static AUTO_RESET: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

fn auto_reset() -> MutexGuard<'static, BTreeSet<usize>> {
    // The set is consistent between any two statements that can panic.
    AUTO_RESET.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create_event(manual_reset: bool, initially_set: bool) -> Result<usize> {
    let event = EventObject::new()?;
    if initially_set {
        event.set();
    }
    let handle = event_handles::insert(event)?;
    if !manual_reset {
        auto_reset().insert(handle);
    }
    Ok(handle)
}

/// Closes an event or a file. A SOCKET is closed by closesocket alone.
fn close_handle(handle: usize) -> Result<i32> {
    auto_reset().remove(&handle);
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

/// Takes the signals of the events that a wait resets; `false` where another thread was faster for one of them: then
/// none is taken.
fn take_signals(handles: &[usize], events: &[EventObject]) -> bool {
    let resets = auto_reset();
    let mut taken: Vec<&EventObject> = Vec::new();
    for (_, event) in handles.iter().zip(events).filter(|(handle, _)| resets.contains(handle)) {
        if !event.take() {
            taken.into_iter().for_each(EventObject::set);
            return false;
        }
        taken.push(event);
    }
    true
}

fn wait(handles: &[usize], all: bool, millis: u32, alertable: bool) -> Result<u32> {
    let events = handles.iter().map(|&handle| event(handle)).collect::<Result<Vec<_>>>()?;
    let deadline = (millis != INFINITE).then(|| deadline_after(Duration::from_millis(u64::from(millis))));
    let routines = if alertable { Some(overlapped::routine_event()?) } else { None };
    if alertable && overlapped::run_due_routines() > 0 {
        return Ok(WAIT_IO_COMPLETION);
    }
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        match wait_for_events_or(&events, all, routines.as_ref(), left)? {
            None => return Ok(WAIT_TIMEOUT),
            Some(index) if index == events.len() => {
                overlapped::run_due_routines();
                return Ok(WAIT_IO_COMPLETION);
            }
            Some(_) if all => {
                if take_signals(handles, &events) {
                    return Ok(0);
                }
            }
            Some(index) => {
                if take_signals(&handles[index..=index], &events[index..=index]) {
                    return Ok(u32::try_from(index).unwrap_or(0));
                }
            }
        }
    }
}

fn wait_for_list(count: u32, list: Address, all: bool, millis: u32, alertable: bool) -> Result<u32> {
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
        event(handle)?.set();
        Ok(1)
    };
    /// ResetEvent.
    api gqos_ResetEvent(handle: usize) -> i32, or 0 => {
        last_error::keep();
        event(handle)?.reset();
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
