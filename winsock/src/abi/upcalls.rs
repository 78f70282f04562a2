//! The up-calls of a layered provider, and the catalogue that it reads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use super::event_handles::{self, event};
use super::memory::{self, Encoding};
use super::protocols::enumerate;
use super::{Address, INVALID_SOCKET, NULL, SOCKET_ERROR, overlapped};
use crate::Result;
use crate::event::EventObject;
use crate::sys;

/// The SOCKETs that WPUCreateSocketHandle has made: a layered provider's own, each with its context.
struct LayeredSockets {
    /// Handles made so far: they are not used again.
    made: usize,
    contexts: BTreeMap<usize, usize>,
}

static LAYERED: Mutex<LayeredSockets> = Mutex::new(LayeredSockets { made: 0, contexts: BTreeMap::new() });

/// Handles are larger than any descriptor and any event's handle, so that none is taken for a socket or an event.
const FIRST_HANDLE: usize = 1 << 48;

/// The most handles at once.
const MAX_HANDLES: usize = 1 << 20;

fn layered() -> MutexGuard<'static, LayeredSockets> {
    // The value is consistent between any two statements that can panic.
    LAYERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create_socket_handle(context: usize) -> Result<usize> {
    let mut layered = layered();
    if layered.contexts.len() >= MAX_HANDLES {
        return Err(Wsa::Enobufs);
    }
    layered.made += 1;
    let handle = FIRST_HANDLE + layered.made * 4;
    layered.contexts.insert(handle, context);
    Ok(handle)
}

/// Writes the path of the file that this library is loaded from.
fn provider_path(path: Address, length: Address) -> Result<i32> {
    let own = sys::path_of(create_socket_handle as *const () as usize).ok_or(Wsa::Einval)?;
    let bytes = memory::encoded(&own, Encoding::Wide);
    let capacity = memory::read_u32(length)? as usize;
    memory::write_u32(length, memory::length_u32(bytes.len() / 2)?)?;
    if capacity < bytes.len() / 2 {
        return Err(Wsa::Efault);
    }
    memory::write(path, &bytes).map(|()| 0)
}

/// A function that takes a message, in place of a window: as for WSAAsyncSelect.
pub type MessageProcedure = unsafe extern "C" fn(usize, u32, usize, isize);

c_functions! {
    /// WSCEnumProtocols.
    spi gqos_WSCEnumProtocols(protocols: Address, buffer: Address, length: Address) -> i32, or SOCKET_ERROR
        => enumerate(protocols, buffer, length, Encoding::Wide);
    /// WSCGetProviderPath and WPUGetProviderPath: the file of this library, whichever provider is asked for.
    spi gqos_WSCGetProviderPath(_id: Address, path: Address, length: Address) -> i32, or SOCKET_ERROR
        => provider_path(path, length);
    /// WPUCreateEvent.
    spi gqos_WPUCreateEvent() -> usize, or NULL => event_handles::insert(EventObject::new()?);
    /// WPUSetEvent.
    spi gqos_WPUSetEvent(handle: usize) -> i32, or 0 => {
        event(handle)?.set();
        Ok(1)
    };
    /// WPUResetEvent.
    spi gqos_WPUResetEvent(handle: usize) -> i32, or 0 => {
        event(handle)?.reset();
        Ok(1)
    };
    /// WPUCloseEvent.
    spi gqos_WPUCloseEvent(handle: usize) -> i32, or 0 => event_handles::remove(handle).map(|()| 1);
    /// WPUCreateSocketHandle: a SOCKET of the layered provider's own, which only that provider's functions take.
    spi gqos_WPUCreateSocketHandle(_catalog_entry: u32, context: usize) -> usize, or INVALID_SOCKET
        => create_socket_handle(context);
    /// WPUQuerySocketHandleContext.
    spi gqos_WPUQuerySocketHandleContext(s: usize, context: Address) -> i32, or SOCKET_ERROR => {
        let known = layered().contexts.get(&s).copied().ok_or(Wsa::Enotsock)?;
        memory::write(context, &known.to_ne_bytes()).map(|()| 0)
    };
    /// WPUCloseSocketHandle.
    spi gqos_WPUCloseSocketHandle(s: usize) -> i32, or SOCKET_ERROR
        => layered().contexts.remove(&s).map(|_| 0).ok_or(Wsa::Enotsock);
    /// WPUModifyIFSHandle: the base provider's handle serves the layered provider too.
    spi gqos_WPUModifyIFSHandle(_catalog_entry: u32, proposed: usize) -> usize, or INVALID_SOCKET => Ok(proposed);
    /// WPUQueryBlockingCallback: there is none.
    spi gqos_WPUQueryBlockingCallback(_catalog_entry: u32, callback: Address, context: Address)
        -> i32, or SOCKET_ERROR => {
        memory::write(callback, &NULL.to_ne_bytes())?;
        memory::write(context, &NULL.to_ne_bytes()).map(|()| 0)
    };
    /// WPUPostMessage, to a function in place of a window, which is called at once.
    api gqos_WPUPostMessage(procedure: Option<MessageProcedure>, message: u32, w: usize, l: isize) -> i32, or 0 => {
        let procedure = procedure.ok_or(Wsa::Einval)?;
        // SAFETY: the program has passed a function of this type (`abi`, Safety).
        unsafe { procedure(procedure as usize, message, w, l) };
        Ok(1)
    };
    /// WPUOpenCurrentThread: a WSATHREADID without a handle.
    spi gqos_WPUOpenCurrentThread(thread: Address) -> i32, or SOCKET_ERROR
        => memory::write(thread, &[0; 16]).map(|()| 0);
    /// WPUCloseThread.
    spi gqos_WPUCloseThread(_thread: Address) -> i32, or SOCKET_ERROR => Ok(0);
    /// WPUCompleteOverlappedRequest: ends an operation that a layered provider performs itself.
    spi gqos_WPUCompleteOverlappedRequest(_s: usize, overlapped: Address, error: u32, transferred: u32)
        -> i32, or SOCKET_ERROR => {
        let result = if error == 0 { Ok(transferred) } else { Err(Wsa::from_code(error).unwrap_or(Wsa::Enetdown)) };
        overlapped::begin(overlapped, None)?(result);
        Ok(0)
    };
}
