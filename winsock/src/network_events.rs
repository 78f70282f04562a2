//! Network events: the sets FD_READ and its like make up, and the selection of a socket.

use std::fmt;
use std::ops::BitOr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;
use tokio::sync::Notify;

use super::descriptor::Duplicate;
use super::event::EventObject;
use super::provider::provider;

/// FD_* bits: those that are selected, or those that have been recorded.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct EventSet(u32);

/// FD_MAX_EVENTS: the number of kinds of events.
pub(crate) const EVENT_KINDS: usize = 10;

/// The events that were recorded for a socket.
///
/// - **Source**: WSANETWORKEVENTS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NetworkEvents {
    /// Those that have happened since the last call.
    pub events: EventSet,
    /// The error of each event, at the index of the event's bit.
    pub errors: [Option<Wsa>; EVENT_KINDS],
}

impl EventSet {
    /// No event.
    pub const NONE: Self = Self(0);
    /// FD_READ: there is data to receive.
    pub const READ: Self = Self(1);
    /// FD_WRITE: there is space in the send queue.
    pub const WRITE: Self = Self(2);
    /// FD_OOB: there is out-of-band data.
    pub const OOB: Self = Self(4);
    /// FD_ACCEPT: a connection can be accepted.
    pub const ACCEPT: Self = Self(8);
    /// FD_CONNECT: a connection was made or has failed.
    pub const CONNECT: Self = Self(0x10);
    /// FD_CLOSE: the peer has closed the connection.
    pub const CLOSE: Self = Self(0x20);
    /// FD_QOS: the status of the reservation has changed.
    pub const QOS: Self = Self(0x40);
    /// FD_GROUP_QOS: the status of the group's reservation has changed.
    pub const GROUP_QOS: Self = Self(0x80);
    /// FD_ALL_EVENTS.
    pub const ALL: Self = Self(0x3FF);

    /// The bits, as in FD_READ.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The events of these bits; other bits are ignored.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether all of `others` are in the set.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    const fn intersection(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The index of a single event's bit.
    const fn index(self) -> usize {
        self.0.trailing_zeros() as usize
    }
}

impl BitOr for EventSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for EventSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; EVENT_KINDS] =
            ["READ", "WRITE", "OOB", "ACCEPT", "CONNECT", "CLOSE", "QOS", "GROUP_QOS", "ROUTING", "ADDRLIST"];
        let in_set = NAMES.iter().enumerate().filter(|(index, _)| self.0 >> index & 1 == 1);
        let names: Vec<_> = in_set.map(|(_, name)| *name).collect();
        f.write_str(&if names.is_empty() { "NONE".to_owned() } else { names.join("|") })
    }
}

impl NetworkEvents {
    fn add(&mut self, event: EventSet, error: Option<Wsa>) {
        self.events = self.events | event;
        self.errors[event.index()] = error;
    }
}

/// A function that is called for each event with the socket's number, the event and its error. The calls come one
/// after the other from one thread; blocking calls inside of them fail with WSAEINPROGRESS.
pub type Callback = Arc<dyn Fn(RawFd, EventSet, Option<Wsa>) + Send + Sync>;

/// How a program learns of network events.
#[derive(Clone)]
pub(crate) enum EventTarget {
    /// The event object is signalled, and the network events are recorded.
    Event(EventObject),
    /// The function is called.
    Callback(Callback),
}

impl fmt::Debug for EventTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Callback(_) => f.write_str("Callback"),
        }
    }
}

/// The network events that a program has selected on a socket, and those that were recorded.
///
/// Events are recorded whether or not they are selected, except FD_QOS and FD_GROUP_QOS. An event that was recorded is not
/// recorded again before the call that re-enables it, whatever is selected meanwhile.
#[derive(Debug, Default)]
pub(crate) struct EventSelection {
    state: Mutex<SelectionState>,
    /// Wakes the reactor's task that watches the socket, when the selection ends.
    pub(crate) ended: Notify,
}

#[derive(Debug, Default)]
struct SelectionState {
    target: Option<EventTarget>,
    /// The socket's number, for callbacks.
    number: RawFd,
    selected: EventSet,
    /// What was recorded and not taken.
    recorded: NetworkEvents,
    /// Events that are not recorded again before the call that re-enables them, as a receive does FD_READ.
    disabled: EventSet,
    /// A task of the reactor watches the socket.
    is_watched: bool,
    /// What that task is to watch once the socket is connected.
    spare: Option<Duplicate>,
    is_closed: bool,
}

impl EventSelection {
    fn state(&self) -> MutexGuard<'_, SelectionState> {
        // The state is consistent between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all of these events are selected.
    pub(crate) fn selects(&self, events: EventSet) -> bool {
        self.state().selected.contains(events)
    }

    /// Whether any event is selected.
    pub(crate) fn is_active(&self) -> bool {
        self.state().selected != EventSet::NONE
    }

    /// Whether events are selected for a function.
    pub(crate) fn calls_back(&self) -> bool {
        matches!(self.state().target, Some(EventTarget::Callback(_)))
    }

    /// The selection, for a socket that inherits it; `None` where nothing is selected.
    pub(crate) fn current(&self) -> Option<(EventTarget, EventSet)> {
        let state = self.state();
        state.target.clone().map(|target| (target, state.selected))
    }

    /// Whether a duplicate has to be given to [`select`](Self::select).
    pub(crate) fn needs_duplicate(&self) -> bool {
        let state = self.state();
        !state.is_watched && state.spare.is_none()
    }

    /// Selects these events in place of the earlier ones. What was recorded and not taken is reported to the event
    /// object. A function is called again for every condition that holds, but not for a past connection.
    ///
    /// Returns false, and changes nothing, where a duplicate is missing.
    pub(crate) fn select(
        &self,
        target: &EventTarget,
        selected: EventSet,
        number: RawFd,
        spare: &mut Option<Duplicate>,
    ) -> bool {
        let mut state = self.state();
        if !state.is_watched && state.spare.is_none() && spare.is_none() {
            return false;
        }
        match target {
            EventTarget::Event(event) => {
                if state.recorded.events.intersection(selected) != EventSet::NONE {
                    event.set();
                }
            }
            EventTarget::Callback(_) => {
                state.recorded = NetworkEvents::default();
                state.disabled = state.disabled.intersection(EventSet::CONNECT);
            }
        }
        if state.is_closed {
            return true;
        }
        state.disabled = state.disabled.without(EventSet::QOS | EventSet::GROUP_QOS);
        (state.target, state.selected, state.number) = (Some(target.clone()), selected, number);
        if let Some(spare) = spare.take().filter(|_| !state.is_watched) {
            state.spare = Some(spare);
        }
        true
    }

    /// Selects nothing.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        (state.target, state.selected, state.spare) = (None, EventSet::NONE, None);
        self.ended.notify_one();
    }

    /// Forgets what an earlier connection of the socket has recorded.
    pub(crate) fn begin_connection(&self) {
        let mut state = self.state();
        let statuses = EventSet::QOS | EventSet::GROUP_QOS;
        state.recorded.events = state.recorded.events.intersection(statuses);
        state.disabled = state.disabled.intersection(statuses);
    }

    /// Records an event unless it is disabled, and tells the program if it is selected.
    pub(crate) fn record(&self, event: EventSet, error: Option<Wsa>) {
        let mut state = self.state();
        let statuses = EventSet::QOS | EventSet::GROUP_QOS;
        // A change of the reservation is an event only for a program that has selected it before.
        if state.disabled.contains(event) || statuses.contains(event) && !state.selected.contains(event) {
            return;
        }
        state.disabled = state.disabled | event;
        match &state.target {
            Some(EventTarget::Callback(callback)) if state.selected.contains(event) => {
                let (callback, number) = (Arc::clone(callback), state.number);
                drop(state);
                if let Ok(provider) = provider() {
                    provider.run_callback(Box::new(move || callback(number, event, error)));
                }
                return;
            }
            Some(EventTarget::Event(signal)) if state.selected.contains(event) => signal.set(),
            _ => {}
        }
        state.recorded.add(event, error);
    }

    /// Takes what was recorded of the selected events, and resets the event object with it.
    pub(crate) fn take(&self, reset: Option<&EventObject>) -> NetworkEvents {
        let mut state = self.state();
        if let Some(event) = reset {
            event.reset();
        }
        let selected = state.selected;
        let mut taken = state.recorded;
        state.recorded.events = state.recorded.events.without(selected);
        taken.events = taken.events.intersection(selected);
        for (index, error) in taken.errors.iter_mut().enumerate() {
            error.take_if(|_| taken.events.0 >> index & 1 == 0);
        }
        taken
    }

    /// Has an event recorded again. Returns whether it is selected.
    pub(crate) fn enable(&self, event: EventSet) -> bool {
        let mut state = self.state();
        state.disabled = state.disabled.without(event);
        // What the call has taken is not reported afterwards.
        let consumed = event.intersection(EventSet::READ | EventSet::OOB | EventSet::ACCEPT);
        state.recorded.events = state.recorded.events.without(consumed);
        state.selected.contains(event)
    }

    /// Has an event not recorded until it is enabled.
    pub(crate) fn disable(&self, event: EventSet) {
        let mut state = self.state();
        state.disabled = state.disabled | event;
    }

    /// Marks the socket as watched. Returns the duplicate where a task has to be started for that.
    pub(crate) fn start_watching(&self) -> Option<Duplicate> {
        let mut state = self.state();
        if state.selected == EventSet::NONE || state.is_watched {
            return None;
        }
        let spare = state.spare.take();
        state.is_watched = spare.is_some();
        spare
    }

    /// Whether the task goes on watching; otherwise the socket is marked as not watched.
    pub(crate) fn keeps_watching(&self) -> bool {
        let mut state = self.state();
        state.is_watched = !state.is_closed && state.selected != EventSet::NONE;
        state.is_watched
    }

    /// Marks the socket as not watched.
    pub(crate) fn stop_watching(&self) {
        self.state().is_watched = false;
    }

    /// Ends the selection of a socket that is closed.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        (state.target, state.selected, state.spare) = (None, EventSet::NONE, None);
        self.ended.notify_one();
    }
}
