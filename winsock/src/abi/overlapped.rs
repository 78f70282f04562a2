//! Overlapped operations: begun here, finished by a thread of the reactor's, and asked about later.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use super::{api, events, memory, spi};
use crate::Result;
use crate::event::{Event, wait_for_events};
use crate::later::Told;
use crate::provider::{provider, running};
use crate::waiting::blocking;

/// OVERLAPPED of a 64-bit program: the state, how much, and the event.
const STATE: usize = 0;
const MOVED: usize = 8;
const EVENT: usize = 24;

/// STATUS_PENDING.
const PENDING: u64 = 0x103;

/// The most that may be under way at once.
const MOST: usize = 1 << 18;

/// One operation.
type Operation = Arc<Mutex<Progress>>;

#[derive(Debug, Default)]
struct Progress {
    /// How much was moved, or why not.
    result: Option<Result<u32>>,
    /// Signalled then, where somebody waits.
    done: Option<Event>,
}

fn progress(operation: &Operation) -> MutexGuard<'_, Progress> {
    // Whole between any two statements that can panic.
    operation.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is under way or has not been asked about, by its OVERLAPPED.
static OPERATIONS: Mutex<Option<HashMap<usize, Operation>>> = Mutex::new(None);

fn operations() -> MutexGuard<'static, Option<HashMap<usize, Operation>>> {
    // Whole between any two statements that can panic.
    OPERATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_u64(address: usize, value: u64) -> Result<()> {
    memory::write(address, &value.to_ne_bytes())
}

/// LPWSAOVERLAPPED_COMPLETION_ROUTINE.
pub(super) type Routine = extern "C" fn(u32, u32, usize, u32);

/// What a thread is to be told by its completion routines, once it waits alertably.
struct Completions {
    due: Mutex<VecDeque<Completion>>,
    signal: Event,
}

struct Completion {
    routine: Routine,
    result: Result<u32>,
    overlapped: usize,
}

thread_local! {
    static COMPLETIONS: RefCell<Option<Arc<Completions>>> = const { RefCell::new(None) };
}

/// This thread's completions.
fn completions() -> Result<Arc<Completions>> {
    COMPLETIONS.with_borrow_mut(|known| match known {
        Some(known) => Ok(Arc::clone(known)),
        None => {
            let fresh = Arc::new(Completions { due: Mutex::default(), signal: Event::new()? });
            *known = Some(Arc::clone(&fresh));
            Ok(fresh)
        }
    })
}

/// What is signalled when a completion routine of this thread is due.
pub(super) fn due() -> Result<Event> {
    completions().map(|known| known.signal.clone())
}

/// Calls this thread's completion routines that are due: how many.
pub(super) fn complete() -> usize {
    let Ok(known) = completions() else { return 0 };
    known.signal.reset();
    let due = std::mem::take(&mut *known.due.lock().unwrap_or_else(PoisonError::into_inner));
    let count = due.len();
    for Completion { routine, result, overlapped } in due {
        if let Some(known) = operations().as_mut() {
            known.remove(&overlapped);
        }
        let (error, moved) = result.map_or_else(|wsa| (wsa.code(), 0), |moved| (0, moved));
        routine(error, moved, overlapped, 0);
    }
    count
}

/// Begins an operation: what is to be told how it ends. With a completion routine, the calling thread is told of
/// that once it waits alertably.
///
/// - **Errors**: WSAENOBUFS where too much is under way; WSAEFAULT.
pub(super) fn begin(overlapped: usize, routine: Option<Routine>) -> Result<Told> {
    // With a routine the event is the program's to use.
    let handle: usize = memory::bytes(overlapped.wrapping_add(EVENT)).map(usize::from_ne_bytes)?;
    let signalled = if handle == 0 || routine.is_some() { None } else { Some(events::event(handle)?) };
    let told = match routine {
        Some(routine) => Some((routine, completions()?)),
        None => None,
    };
    write_u64(overlapped.wrapping_add(STATE), PENDING)?;
    write_u64(overlapped.wrapping_add(MOVED), 0)?;
    let operation = Operation::default();
    {
        let mut operations = operations();
        let known = operations.get_or_insert_default();
        if known.len() >= MOST {
            // Many never ask how it ended, since an event or a routine has told them.
            known.retain(|_, operation| progress(operation).result.is_none());
        }
        if known.len() >= MOST {
            return Err(Wsa::Enobufs);
        }
        known.insert(overlapped, Arc::clone(&operation));
    }
    if let Some(event) = &signalled {
        event.reset();
    }
    Ok(Box::new(move |result| {
        let result = result.map_err(|wsa| if wsa == Wsa::Eintr { Wsa::OperationAborted } else { wsa });
        // A program that has taken its OVERLAPPED away is told by what it asks for.
        let _ = write_u64(overlapped.wrapping_add(MOVED), result.map_or(0, u64::from));
        let _ =
            write_u64(overlapped.wrapping_add(STATE), result.map_or_else(|wsa| u64::from(wsa.code()), |_| 0));
        let waited = {
            let mut progress = progress(&operation);
            progress.result = Some(result);
            progress.done.take()
        };
        if let Some(waited) = waited {
            waited.set();
        }
        if let Some(event) = signalled {
            event.set();
        }
        if let Some((routine, completions)) = told {
            let completion = Completion { routine, result, overlapped };
            completions.due.lock().unwrap_or_else(PoisonError::into_inner).push_back(completion);
            completions.signal.set();
        }
    }))
}

/// Does something that waits on a thread of its own.
///
/// - **Errors**: WSA_IO_PENDING where it has begun, else those of [`begin`].
pub(super) fn run(overlapped: usize, work: impl FnOnce() -> Result<u32> + Send + 'static) -> Result<u32> {
    let provider = provider()?;
    let told = begin(overlapped, None)?;
    provider.spawn_blocking(move || told(blocking(work)));
    Err(Wsa::IoPending)
}

/// What has become of an operation; waits for it where that is asked for.
fn result(overlapped: usize, moved: usize, wait: bool, flags: usize) -> Result<i32> {
    running()?;
    if overlapped == 0 || moved == 0 {
        return Err(Wsa::Efault);
    }
    let known = operations().as_ref().and_then(|known| known.get(&overlapped).cloned());
    let Some(operation) = known else { return Err(Wsa::InvalidParameter) };
    let awaited = {
        let mut progress = progress(&operation);
        match (progress.result, &progress.done) {
            (None, None) if wait => Some(progress.done.insert(Event::new()?).clone()),
            (None, Some(done)) if wait => Some(done.clone()),
            _ => None,
        }
    };
    if let Some(done) = awaited {
        wait_for_events(std::slice::from_ref(&done), false, None)?;
    }
    let result = progress(&operation).result;
    let Some(result) = result else { return Err(Wsa::IoIncomplete) };
    if let Some(known) = operations().as_mut() {
        known.remove(&overlapped);
    }
    memory::write_u32(moved, result?)?;
    if flags != 0 {
        memory::write_u32(flags, 0)?;
    }
    Ok(1)
}

/// WSAGetOverlappedResult.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAGetOverlappedResult(
    _s: usize,
    overlapped: usize,
    moved: usize,
    wait: i32,
    flags: usize,
) -> i32 {
    api(0, || result(overlapped, moved, wait != 0, flags))
}

/// WSPGetOverlappedResult.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSPGetOverlappedResult(
    _s: usize,
    overlapped: usize,
    moved: usize,
    wait: i32,
    flags: usize,
    lp_errno: usize,
) -> i32 {
    spi(0, lp_errno, || result(overlapped, moved, wait != 0, flags))
}
