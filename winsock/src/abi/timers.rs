//! Waitable timers: events that a thread signals when their time has come.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::Wsa;

use super::event_handles::event;
use super::{Address, memory};
use crate::Result;
use crate::blocking::{deadline_after, now};
use crate::event::{EventObject, wait_for_events};

/// The timers that were set, each with the event that ends its thread.
static TIMERS: Mutex<BTreeMap<usize, EventObject>> = Mutex::new(BTreeMap::new());

/// The most timers at once.
const MAX_TIMERS: usize = 1024;

fn timers() -> MutexGuard<'static, BTreeMap<usize, EventObject>> {
    // The map is consistent between any two statements that can panic.
    TIMERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a timer, where the handle is one that was set.
pub(super) fn cancel(handle: usize) {
    if let Some(cancelled) = timers().remove(&handle) {
        cancelled.set();
    }
}

/// Signals an event after a time and, with a period, again and again. An earlier time of the timer is cancelled.
///
/// - **Errors**: WSA_INVALID_HANDLE; WSAENOBUFS for too many timers.
fn start(handle: usize, first: Duration, period: Option<Duration>) -> Result<i32> {
    let timer = event(handle)?;
    let cancelled = EventObject::new()?;
    cancel(handle);
    timer.reset();
    let watched = cancelled.clone();
    {
        let mut timers = timers();
        if timers.len() >= MAX_TIMERS {
            return Err(Wsa::Enobufs);
        }
        timers.insert(handle, cancelled);
    }
    let run = move || {
        let mut due = deadline_after(first);
        loop {
            let left = due.saturating_duration_since(now());
            match (wait_for_events(std::slice::from_ref(&watched), false, Some(left)), period) {
                (Ok(None), None) => return timer.set(),
                (Ok(None), Some(period)) => {
                    timer.set();
                    due += period;
                }
                _ => return,
            }
        }
    };
    let thread = std::thread::Builder::new().name("gqos-timer".into()).spawn(run);
    thread.map(|_| 1).map_err(|_| Wsa::Enobufs)
}

/// Reads a due time in units of 100 ns. Times from now on are negative; moments of the calendar are not supported.
///
/// - **Errors**: WSAEFAULT; WSAEOPNOTSUPP.
fn read_due(due: Address) -> Result<Duration> {
    let due = i64::from_ne_bytes(memory::read_bytes(due)?);
    if due > 0 {
        return Err(Wsa::Eopnotsupp);
    }
    Ok(Duration::from_micros(due.unsigned_abs().div_ceil(10)))
}

c_functions! {
    /// SetWaitableTimer, without a routine.
    api gqos_SetWaitableTimer(
        handle: usize, due: Address, period: i32, routine: usize, _argument: usize, _resume: i32,
    ) -> i32, or 0 => {
        if routine != 0 {
            return Err(Wsa::Eopnotsupp);
        }
        let period = u64::try_from(period).map_err(|_| Wsa::InvalidParameter)?;
        start(handle, read_due(due)?, (period > 0).then(|| Duration::from_millis(period)))
    };
    /// CancelWaitableTimer.
    api gqos_CancelWaitableTimer(handle: usize) -> i32, or 0 => {
        event(handle)?;
        cancel(handle);
        Ok(1)
    };
}
