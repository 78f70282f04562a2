//! OVERLAPPED structures: operations that are under way, their results, and completion routines.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;

use super::{Address, event_handles, memory};
use crate::Result;
use crate::blocking::with_blocking;
use crate::event::{EventObject, wait_for_events};
use crate::operations;
use crate::provider::{check_started, provider};

/// Fields of the OVERLAPPED of a 64-bit program: Internal, InternalHigh, hEvent.
const STATUS: usize = 0;
const TRANSFERRED: usize = 8;
const EVENT: usize = 24;

/// STATUS_PENDING.
const PENDING: u64 = 0x103;

/// The most operations at once.
const MAX_OPERATIONS: usize = 1 << 18;

/// An operation, shared by its completion and by WSAGetOverlappedResult.
type SharedProgress = Arc<Mutex<OverlappedProgress>>;

#[derive(Debug, Default)]
struct OverlappedProgress {
    /// How much was transferred, or the error; `None` while it is under way.
    result: Option<Result<u32>>,
    /// Signalled by the completion, where WSAGetOverlappedResult waits.
    completed: Option<EventObject>,
}

fn progress(operation: &SharedProgress) -> MutexGuard<'_, OverlappedProgress> {
    // The value is consistent between any two statements that can panic.
    operation.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The operations that are under way or whose result was not fetched, by their OVERLAPPED.
static OPERATIONS: Mutex<Option<HashMap<Address, SharedProgress>>> = Mutex::new(None);

fn operations() -> MutexGuard<'static, Option<HashMap<Address, SharedProgress>>> {
    // The map is consistent between any two statements that can panic.
    OPERATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget_operation(overlapped: Address) {
    if let Some(operations) = operations().as_mut() {
        operations.remove(&overlapped);
    }
}

/// LPWSAOVERLAPPED_COMPLETION_ROUTINE: the error, how much was transferred, the OVERLAPPED, and flags.
pub type Routine = unsafe extern "C" fn(u32, u32, Address, u32);

/// The completion routines that a thread runs once it waits alertably.
struct DueRoutines {
    queue: Mutex<VecDeque<DueRoutine>>,
    /// Signalled while the queue is not empty.
    signal: EventObject,
}

struct DueRoutine {
    routine: Routine,
    result: Result<u32>,
    overlapped: Address,
}

thread_local! {
    static DUE_ROUTINES: RefCell<Option<Arc<DueRoutines>>> = const { RefCell::new(None) };
}

/// The completion routines of this thread.
///
/// - **Errors**: WSAEMFILE, WSAENOBUFS.
fn due_routines() -> Result<Arc<DueRoutines>> {
    DUE_ROUTINES.with_borrow_mut(|known| match known {
        Some(known) => Ok(Arc::clone(known)),
        None => {
            let fresh = Arc::new(DueRoutines { queue: Mutex::default(), signal: EventObject::new()? });
            *known = Some(Arc::clone(&fresh));
            Ok(fresh)
        }
    })
}

/// An event that is signalled while completion routines of this thread are due.
///
/// - **Errors**: WSAEMFILE, WSAENOBUFS.
pub(super) fn routine_event() -> Result<EventObject> {
    due_routines().map(|due| due.signal.clone())
}

/// Runs the completion routines of this thread that are due, and returns how many.
pub(super) fn run_due_routines() -> usize {
    let Ok(due) = due_routines() else { return 0 };
    due.signal.reset();
    let queue = std::mem::take(&mut *due.queue.lock().unwrap_or_else(PoisonError::into_inner));
    let count = queue.len();
    for DueRoutine { routine, result, overlapped } in queue {
        forget_operation(overlapped);
        let (error, transferred) = result.map_or_else(|wsa| (wsa.code(), 0), |length| (0, length));
        // SAFETY: the program has passed a function of this type (`abi`, Safety).
        unsafe { routine(error, transferred, overlapped, 0) };
    }
    count
}

/// Begins an operation and returns its completion. With a completion routine, the calling thread runs that once it waits
/// alertably; the event is the program's to use then.
///
/// - **Errors**: WSAENOBUFS where too many operations are under way; WSAEFAULT.
pub(super) fn begin(overlapped: Address, routine: Option<Routine>) -> Result<operations::Completion> {
    let handle = memory::read_usize(overlapped.offset(EVENT))?;
    let event = if handle == 0 || routine.is_some() { None } else { Some(event_handles::event(handle)?) };
    let routine = match routine {
        Some(routine) => Some((routine, due_routines()?)),
        None => None,
    };
    write_u64(overlapped.offset(STATUS), PENDING)?;
    write_u64(overlapped.offset(TRANSFERRED), 0)?;
    let operation = insert_operation(overlapped)?;
    if let Some(event) = &event {
        event.reset();
    }
    Ok(Box::new(move |result| {
        let result = result.map_err(|wsa| if wsa == Wsa::Eintr { Wsa::OperationAborted } else { wsa });
        // An error means that the program has freed its OVERLAPPED: WSAGetOverlappedResult still has the result.
        let _ = write_u64(overlapped.offset(TRANSFERRED), result.map_or(0, u64::from));
        let status = result.map_or_else(|wsa| u64::from(wsa.code()), |_| 0);
        let _ = write_u64(overlapped.offset(STATUS), status);
        {
            let mut progress = progress(&operation);
            progress.result = Some(result);
            // Under the lock: a program that has fetched the result may reset its event for the next operation at once,
            // and this operation may not signal it then.
            for event in progress.completed.take().into_iter().chain(event) {
                event.set();
            }
        }
        if let Some((routine, due)) = routine {
            let routine = DueRoutine { routine, result, overlapped };
            due.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(routine);
            due.signal.set();
        }
    }))
}

/// - **Errors**: WSAENOBUFS.
fn insert_operation(overlapped: Address) -> Result<SharedProgress> {
    let operation = SharedProgress::default();
    let mut operations = operations();
    let known = operations.get_or_insert_default();
    if known.len() >= MAX_OPERATIONS {
        // Many programs never fetch a result that an event or a routine has announced.
        known.retain(|_, operation| progress(operation).result.is_none());
    }
    if known.len() >= MAX_OPERATIONS {
        return Err(Wsa::Enobufs);
    }
    known.insert(overlapped, Arc::clone(&operation));
    Ok(operation)
}

fn write_u64(address: Address, value: u64) -> Result<()> {
    memory::write(address, &value.to_ne_bytes())
}

/// Runs a blocking operation on a thread of its own.
///
/// - **Errors**: WSA_IO_PENDING once it has begun, else those of [`begin`].
pub(super) fn run(overlapped: Address, work: impl FnOnce() -> Result<u32> + Send + 'static) -> Result<u32> {
    let provider = provider()?;
    let completion = begin(overlapped, None)?;
    provider.host.spawn_blocking(move || completion(with_blocking(work)));
    Err(Wsa::IoPending)
}

/// The result of an operation; waits for it where that is requested.
fn result(overlapped: Address, transferred: Address, wait: i32, flags: Address) -> Result<i32> {
    check_started()?;
    if overlapped.is_null() || transferred.is_null() {
        return Err(Wsa::Efault);
    }
    let known = operations().as_ref().and_then(|known| known.get(&overlapped).cloned());
    let operation = known.ok_or(Wsa::InvalidParameter)?;
    let completed = {
        let mut progress = progress(&operation);
        match (progress.result, &progress.completed) {
            (None, None) if wait != 0 => Some(progress.completed.insert(EventObject::new()?).clone()),
            (None, Some(completed)) if wait != 0 => Some(completed.clone()),
            _ => None,
        }
    };
    if let Some(completed) = completed {
        wait_for_events(std::slice::from_ref(&completed), false, None)?;
    }
    let result = progress(&operation).result.ok_or(Wsa::IoIncomplete)?;
    forget_operation(overlapped);
    memory::write_u32(transferred, result?)?;
    if !flags.is_null() {
        memory::write_u32(flags, 0)?;
    }
    Ok(1)
}

c_functions! {
    /// WSAGetOverlappedResult, WSPGetOverlappedResult.
    both gqos_WSAGetOverlappedResult, gqos_WSPGetOverlappedResult(
        _s: usize, overlapped: Address, transferred: Address, wait: i32, flags: Address,
    ) -> i32, or 0 => result(overlapped, transferred, wait, flags);
}
