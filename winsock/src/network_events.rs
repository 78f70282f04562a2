//! Network events: the sets FD_READ and its like make up, and the selection of a socket.

use std::fmt;
use std::ops::BitOr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;
use tokio::sync::Notify;

use super::event::Event;
use super::provider::provider;

/// A set of network events.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Events(u32);

/// FD_MAX_EVENTS: the number of kinds of events.
pub(crate) const EVENT_KINDS: usize = 10;

/// The events that were recorded for a socket.
///
/// - **Source**: WSANETWORKEVENTS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NetworkEvents {
    /// The events.
    pub events: Events,
    /// The error of each event, at the index of the event's bit.
    pub errors: [Option<Wsa>; EVENT_KINDS],
}

impl Events {
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

impl BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; EVENT_KINDS] =
            ["READ", "WRITE", "OOB", "ACCEPT", "CONNECT", "CLOSE", "QOS", "GROUP_QOS", "ROUTING", "ADDRLIST"];
        let in_set = NAMES.iter().enumerate().filter(|(index, _)| self.0 >> index & 1 == 1);
        let names: Vec<_> = in_set.map(|(_, name)| *name).collect();
        f.write_str(&if names.is_empty() { "NONE".to_owned() } else { names.join("|") })
    }
}

impl NetworkEvents {
    fn add(&mut self, event: Events, error: Option<Wsa>) {
        self.events = self.events | event;
        self.errors[event.index()] = error;
    }
}

/// A function that is called for each event with the socket's number, the event and its error. The calls come one
/// after the other from one thread; blocking calls inside of them fail with WSAEINPROGRESS.
pub type Callback = Arc<dyn Fn(RawFd, Events, Option<Wsa>) + Send + Sync>;

/// How a program learns of network events.
#[derive(Clone)]
pub(crate) enum EventTarget {
    /// The event object is signalled, and the network events are recorded.
    Event(Event),
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
    selected: Events,
    recorded: NetworkEvents,
    /// Events that are not recorded again before the call that re-enables them, as a receive does FD_READ.
    disabled: Events,
    /// FD_CONNECT and FD_CLOSE once they have happened, for a later selection.
    past: NetworkEvents,
    /// A task of the reactor watches the socket.
    is_watched: bool,
    /// The socket is closed.
    is_closed: bool,
}

impl EventSelection {
    fn state(&self) -> MutexGuard<'_, SelectionState> {
        // The state is consistent between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all of these events are selected.
    pub(crate) fn selects(&self, events: Events) -> bool {
        self.state().selected.contains(events)
    }

    /// Whether any event is selected.
    pub(crate) fn is_active(&self) -> bool {
        self.state().selected != Events::NONE
    }

    /// The selection, for a socket that inherits it; `None` where nothing is selected.
    pub(crate) fn current(&self) -> Option<(EventTarget, Events)> {
        let state = self.state();
        state.target.clone().map(|target| (target, state.selected))
    }

    /// Selects these events in place of the earlier ones. FD_CONNECT and FD_CLOSE that have happened before are
    /// recorded for an event object.
    pub(crate) fn select(&self, target: EventTarget, selected: Events, number: RawFd) {
        let mut state = self.state();
        (state.recorded, state.disabled) = (NetworkEvents::default(), Events::NONE);
        let past = state.past;
        if let EventTarget::Event(event) = &target {
            for kind in [Events::CONNECT, Events::CLOSE] {
                if past.events.intersection(selected).contains(kind) {
                    state.recorded.add(kind, past.errors[kind.index()]);
                    state.disabled = state.disabled | kind;
                    event.set();
                }
            }
        } else {
            // Windows posts no message for a connection that was made before the selection.
            state.disabled = state.disabled | Events::CONNECT.intersection(past.events);
        }
        (state.target, state.selected, state.number) = (Some(target), selected, number);
    }

    /// Selects nothing.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        (state.target, state.selected, state.recorded) = (None, Events::NONE, NetworkEvents::default());
    }

    /// Records an event and tells the program, if the event is selected and not disabled.
    pub(crate) fn record(&self, event: Events, error: Option<Wsa>) {
        let mut state = self.state();
        if event == Events::CONNECT || event == Events::CLOSE {
            state.past.add(event, error);
        }
        if !state.selected.contains(event) || state.disabled.contains(event) {
            return;
        }
        state.disabled = state.disabled | event;
        match &state.target {
            None => {}
            Some(EventTarget::Event(signal)) => {
                signal.set();
                state.recorded.add(event, error);
            }
            Some(EventTarget::Callback(callback)) => {
                let (callback, number) = (Arc::clone(callback), state.number);
                drop(state);
                if let Ok(provider) = provider() {
                    provider.run_callback(Box::new(move || callback(number, event, error)));
                }
            }
        }
    }

    /// Takes what was recorded, and resets the event object with it.
    pub(crate) fn take(&self, reset: Option<&Event>) -> NetworkEvents {
        let mut state = self.state();
        if let Some(event) = reset {
            event.reset();
        }
        std::mem::take(&mut state.recorded)
    }

    /// Has an event recorded again. Returns whether it is selected.
    pub(crate) fn enable(&self, event: Events) -> bool {
        let mut state = self.state();
        let selected = state.selected.contains(event);
        if selected {
            state.disabled = state.disabled.without(event);
        }
        selected
    }

    /// Has an event not recorded until it is enabled.
    pub(crate) fn disable(&self, event: Events) {
        let mut state = self.state();
        state.disabled = state.disabled | event;
    }

    /// Marks the socket as watched. Returns whether a task has to be started for that.
    pub(crate) fn start_watching(&self) -> bool {
        let mut state = self.state();
        state.selected != Events::NONE && !std::mem::replace(&mut state.is_watched, true)
    }

    /// Whether the task goes on watching; otherwise the socket is marked as not watched.
    pub(crate) fn keeps_watching(&self) -> bool {
        let mut state = self.state();
        state.is_watched = !state.is_closed && state.selected != Events::NONE;
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
        (state.target, state.selected) = (None, Events::NONE);
        self.ended.notify_one();
    }
}
