//! What a wait does to an object that it has found signalled: events that it resets, semaphores and mutexes.
//!
//! A semaphore's event is signalled while its count is not zero, a mutex's while no thread owns it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use flowspec::Wsa;

use super::event_handles::{self, event};
use crate::Result;
use crate::event::EventObject;

/// The objects that a wait changes, by their handles.
static EFFECTS: Mutex<BTreeMap<usize, WaitEffect>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// The mutexes that the thread owns.
    static OWNED: RefCell<OwnedMutexes> = const { RefCell::new(OwnedMutexes(Vec::new())) };
}

#[derive(Debug)]
enum WaitEffect {
    /// The event is reset.
    Reset,
    /// The count of the semaphore falls by one.
    Counts { count: u32, most: u32 },
    /// The thread owns the mutex, once more if it owned it before.
    Owns { owner: Option<(ThreadId, u32)>, is_abandoned: bool },
}

/// What a wait has taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Taken {
    All,
    /// The same; the thread that owned a mutex among them has ended.
    AllAbandoned,
    /// Nothing: another thread was faster.
    Nothing,
}

struct OwnedMutexes(Vec<usize>);

impl Drop for OwnedMutexes {
    /// The thread ends: its mutexes are free, and the next owner is told so.
    fn drop(&mut self) {
        for handle in &self.0 {
            if let Some(WaitEffect::Owns { owner, is_abandoned }) = effects().get_mut(handle) {
                (*owner, *is_abandoned) = (None, true);
                let _ = event(*handle).map(|event| event.set());
            }
        }
    }
}

fn effects() -> MutexGuard<'static, BTreeMap<usize, WaitEffect>> {
    // The map is consistent between any two statements that can panic.
    EFFECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the list of the thread's mutexes; of no effect while the thread ends.
fn own(change: impl FnOnce(&mut Vec<usize>)) {
    let _ = OWNED.try_with(|owned| change(&mut owned.borrow_mut().0));
}

fn insert(effect: WaitEffect, is_set: bool) -> Result<usize> {
    let event = EventObject::new()?;
    if is_set {
        event.set();
    }
    let handle = event_handles::insert(event)?;
    effects().insert(handle, effect);
    Ok(handle)
}

/// The event of a handle that is neither a semaphore nor a mutex.
///
/// - **Errors**: WSA_INVALID_HANDLE.
pub(super) fn plain_event(handle: usize) -> Result<EventObject> {
    match effects().get(&handle) {
        Some(WaitEffect::Counts { .. } | WaitEffect::Owns { .. }) => Err(Wsa::InvalidHandle),
        Some(WaitEffect::Reset) | None => event(handle),
    }
}

/// The event of this handle is reset by waits.
pub(super) fn reset_by_waits(handle: usize) {
    effects().insert(handle, WaitEffect::Reset);
}

pub(super) fn remove(handle: usize) {
    effects().remove(&handle);
}

/// The first of these objects that is a mutex of this thread, which need not wait for it.
pub(super) fn first_owned(handles: &[usize]) -> Option<usize> {
    let (effects, this) = (effects(), thread::current().id());
    handles.iter().position(|handle| {
        matches!(effects.get(handle), Some(WaitEffect::Owns { owner: Some((owner, _)), .. }) if *owner == this)
    })
}

/// Takes what a wait has found: all of these objects, or nothing.
pub(super) fn take(handles: &[usize], events: &[EventObject]) -> Taken {
    let (mut effects, this) = (effects(), thread::current().id());
    let is_free = |handle: &usize| match effects.get(handle) {
        Some(WaitEffect::Counts { count, .. }) => *count > 0,
        Some(WaitEffect::Owns { owner, .. }) => owner.is_none_or(|(owner, _)| owner == this),
        Some(WaitEffect::Reset) | None => true,
    };
    if !handles.iter().all(is_free) {
        return Taken::Nothing;
    }
    let mut reset: Vec<&EventObject> = Vec::new();
    for (handle, event) in handles.iter().zip(events) {
        if let Some(WaitEffect::Reset) = effects.get(handle) {
            if !event.take() {
                reset.into_iter().for_each(EventObject::set);
                return Taken::Nothing;
            }
            reset.push(event);
        }
    }
    let mut taken = Taken::All;
    for (handle, event) in handles.iter().zip(events) {
        match effects.get_mut(handle) {
            Some(WaitEffect::Counts { count, .. }) => {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    event.reset();
                }
            }
            Some(WaitEffect::Owns { owner, is_abandoned }) => {
                let depth = owner.map_or(0, |(_, depth)| depth);
                *owner = Some((this, depth.saturating_add(1)));
                if std::mem::take(is_abandoned) {
                    taken = Taken::AllAbandoned;
                }
                if depth == 0 {
                    event.reset();
                    own(|owned| owned.push(*handle));
                }
            }
            Some(WaitEffect::Reset) | None => {}
        }
    }
    taken
}

/// The count of a semaphore rises; gives the one before, or `None` where it would exceed the semaphore's most.
fn release_semaphore(handle: usize, by: i32) -> Result<Option<u32>> {
    let event = event(handle)?;
    let mut effects = effects();
    let Some(WaitEffect::Counts { count, most }) = effects.get_mut(&handle) else {
        return Err(Wsa::InvalidHandle);
    };
    let by = u32::try_from(by).ok().filter(|by| *by > 0).ok_or(Wsa::InvalidParameter)?;
    let before = *count;
    let Some(after) = before.checked_add(by).filter(|after| after <= most) else { return Ok(None) };
    *count = after;
    event.set();
    Ok(Some(before))
}

/// The thread owns a mutex once less. `false` where it does not own it.
fn release_mutex(handle: usize) -> Result<bool> {
    let event = event(handle)?;
    let (mut effects, this) = (effects(), thread::current().id());
    let Some(WaitEffect::Owns { owner, .. }) = effects.get_mut(&handle) else {
        return Err(Wsa::InvalidHandle);
    };
    let Some((_, depth)) = owner.filter(|(owner, _)| *owner == this) else { return Ok(false) };
    *owner = depth.checked_sub(1).filter(|depth| *depth > 0).map(|depth| (this, depth));
    if owner.is_none() {
        own(|owned| owned.retain(|other| *other != handle));
        event.set();
    }
    Ok(true)
}

c_functions! {
    /// CreateSemaphoreA and CreateSemaphoreW. Names have no effect.
    api gqos_CreateSemaphore(initial: i32, most: i32) -> usize, or super::NULL => {
        super::last_error::keep();
        let most = u32::try_from(most).ok().filter(|most| *most > 0).ok_or(Wsa::InvalidParameter)?;
        let count = u32::try_from(initial).ok().filter(|count| *count <= most).ok_or(Wsa::InvalidParameter)?;
        insert(WaitEffect::Counts { count, most }, count > 0)
    };
    /// ReleaseSemaphore: the count before, -1 for an error, -2 where it would exceed the semaphore's most.
    api gqos_ReleaseSemaphore(handle: usize, by: i32) -> i32, or -1 => {
        super::last_error::keep();
        Ok(release_semaphore(handle, by)?.map_or(-2, |before| i32::try_from(before).unwrap_or(i32::MAX)))
    };
    /// CreateMutexA and CreateMutexW. Names have no effect.
    api gqos_CreateMutex(is_owned: i32) -> usize, or super::NULL => {
        super::last_error::keep();
        let handle = insert(WaitEffect::Owns { owner: None, is_abandoned: false }, true)?;
        if is_owned != 0 {
            take(&[handle], &[event(handle)?]);
        }
        Ok(handle)
    };
    /// ReleaseMutex: 1, 0 for an error, -1 where the thread does not own it.
    api gqos_ReleaseMutex(handle: usize) -> i32, or 0 => {
        super::last_error::keep();
        Ok(if release_mutex(handle)? { 1 } else { -1 })
    };
}
