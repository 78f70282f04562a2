//! Event objects, network events and alertable waits.

use std::sync::Arc;
use std::time::Duration;

use flowspec::Wsa;

use super::event_handles::{self, event};
use super::handle::endpoint;
use super::windows::wait_for_list;
use super::{Address, SOCKET_ERROR, last_error, memory, overlapped, timers, wait_effects};
use crate::Result;
use crate::event::{EventObject, wait_for_events_or};
use crate::network_events::{Callback, EventSet};
use crate::provider::check_started;

/// The value that WSACreateEvent returns for a failure. Source: `winsock2.h`.
const INVALID_EVENT: usize = 0;

/// WSA_WAIT_IO_COMPLETION and WSA_WAIT_FAILED.
const WAIT_IO_COMPLETION: u32 = 0xC0;
const WAIT_FAILED: u32 = u32::MAX;

/// The offset of a WSANETWORKEVENTS's codes, one for each bit, and the size of one.
const FIRST_CODE: usize = 4;
const CODE_SIZE: usize = 4;

/// The timeout that never ends, WSA_INFINITE. Source: `winsock2.h`.
const INFINITE: u32 = u32::MAX;

/// Sleeps; alertably, until completion routines of the thread were run.
fn sleep(millis: u32, alertable: bool) -> Result<u32> {
    check_started()?;
    let timeout = (millis != INFINITE).then(|| Duration::from_millis(u64::from(millis)));
    let routines = if alertable { Some(overlapped::routine_event()?) } else { None };
    if alertable && overlapped::run_due_routines() > 0 {
        return Ok(WAIT_IO_COMPLETION);
    }
    // A wait needs an event; this one is never signalled.
    let events = if alertable { Vec::new() } else { vec![EventObject::new()?] };
    if wait_for_events_or(&events, false, routines.as_ref(), timeout)?.is_none() {
        return Ok(0);
    }
    overlapped::run_due_routines();
    Ok(WAIT_IO_COMPLETION)
}

fn select(s: usize, handle: usize, selected: i32) -> Result<i32> {
    let endpoint = endpoint(s)?;
    let selected = EventSet::from_bits(selected.cast_unsigned());
    let event = if handle == INVALID_EVENT { None } else { Some(event(handle).map_err(|_| Wsa::Einval)?) };
    endpoint.select_events(event.as_ref(), selected).map(|()| 0)
}

/// The function that a program passes in place of a window: its parameters are the function itself, the message, the
/// socket, and the event with its error in the upper half.
pub type EventProcedure = unsafe extern "C" fn(usize, u32, usize, isize);

fn select_procedure(s: usize, procedure: Option<EventProcedure>, message: u32, selected: i32) -> Result<i32> {
    let endpoint = endpoint(s)?;
    let selected = EventSet::from_bits(selected.cast_unsigned());
    let callback = procedure.map(|procedure| {
        let callback: Callback = Arc::new(move |number, event, error| {
            // WSAMAKESELECTREPLY.
            let error = error.map_or(0, Wsa::code) & 0xffff;
            let reply = isize::try_from(event.bits() | error << 16).unwrap_or(0);
            let socket = usize::try_from(number).unwrap_or(0);
            // SAFETY: the program has passed a function of this type (`abi`, Safety).
            unsafe { procedure(procedure as usize, message, socket, reply) };
        });
        callback
    });
    endpoint.select_callback(callback, selected).map(|()| 0)
}

/// Writes a WSANETWORKEVENTS: the bits, and the code of each event that has happened. Other codes are left alone.
fn enum_events(s: usize, handle: usize, network_events: Address) -> Result<i32> {
    let endpoint = endpoint(s)?;
    if network_events.is_null() {
        return Err(Wsa::Efault);
    }
    let reset = if handle == INVALID_EVENT { None } else { Some(event(handle)?) };
    let found = endpoint.take_events(reset.as_ref())?;
    memory::write_u32(network_events, found.events.bits())?;
    for (index, error) in found.errors.into_iter().enumerate() {
        if found.events.bits() >> index & 1 == 1 {
            let code = error.map_or(0, Wsa::code);
            memory::write_u32(network_events.offset(FIRST_CODE + index * CODE_SIZE), code)?;
        }
    }
    Ok(0)
}

fn started_event(handle: usize) -> Result<EventObject> {
    check_started()?;
    event(handle)
}

c_functions! {
    /// WSACreateEvent.
    api gqos_WSACreateEvent() -> usize, or INVALID_EVENT => {
        check_started()?;
        event_handles::insert(EventObject::new()?)
    };
    /// WSASetEvent.
    api gqos_WSASetEvent(handle: usize) -> i32, or 0 => {
        last_error::keep();
        started_event(handle)?.set();
        Ok(1)
    };
    /// WSAResetEvent.
    api gqos_WSAResetEvent(handle: usize) -> i32, or 0 => {
        last_error::keep();
        started_event(handle)?.reset();
        Ok(1)
    };
    /// WSACloseEvent.
    api gqos_WSACloseEvent(handle: usize) -> i32, or 0 => {
        last_error::keep();
        check_started()?;
        wait_effects::remove(handle);
        timers::cancel(handle);
        event_handles::remove(handle).map(|()| 1)
    };
    /// WSAWaitForMultipleEvents: WaitForMultipleObjectsEx for a program that has called WSAStartup.
    api gqos_WSAWaitForMultipleEvents(
        count: u32, handles: Address, all: i32, millis: u32, alertable: i32,
    ) -> u32, or WAIT_FAILED => {
        check_started()?;
        wait_for_list(count, handles, all != 0, millis, alertable != 0)
    };
    /// SleepEx.
    api gqos_SleepEx(millis: u32, alertable: i32) -> u32, or 0 => sleep(millis, alertable != 0);
    /// WSAEventSelect, WSPEventSelect.
    both gqos_WSAEventSelect, gqos_WSPEventSelect(s: usize, handle: usize, selected: i32)
        -> i32, or SOCKET_ERROR => select(s, handle, selected);
    /// WSAAsyncSelect, WSPAsyncSelect, with a function in place of a window.
    both gqos_WSAAsyncSelect, gqos_WSPAsyncSelect(
        s: usize, procedure: Option<EventProcedure>, message: u32, selected: i32,
    ) -> i32, or SOCKET_ERROR => select_procedure(s, procedure, message, selected);
    /// WSAEnumNetworkEvents, WSPEnumNetworkEvents.
    both gqos_WSAEnumNetworkEvents, gqos_WSPEnumNetworkEvents(s: usize, handle: usize, network_events: Address)
        -> i32, or SOCKET_ERROR => enum_events(s, handle, network_events);
}
