//! Network events: what happens to a socket, recorded for whoever has selected it.

use std::fmt;
use std::ops::BitOr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::Wsa;
use tokio::io::Interest;
use tokio::sync::Notify as Wake;

use super::Result;
use super::event::Event;
use super::provider::{provider, running};
use super::socket::{Endpoint, Phase};
use crate::sys::raw::{self, Ready};

/// A set of network events: FD_READ and the others.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Events(u32);

/// How many kinds of events there are: FD_MAX_EVENTS.
pub(super) const KINDS: usize = 10;

/// What was recorded of a socket.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NetworkEvents {
    /// What happened.
    pub events: Events,
    /// For each kind that did, its error, by the number of its bit.
    pub errors: [Option<Wsa>; KINDS],
}

/// What is selected on a socket, and what has happened.
#[derive(Debug, Default)]
pub(super) struct Notify {
    inner: Mutex<Inner>,
    wake: Wake,
}

/// What is called for an event: the socket's number, the event and its error. One after the other, on a thread of
/// their own; calls that would wait are WSAEINPROGRESS there.
pub type Callback = Arc<dyn Fn(RawFd, Events, Option<Wsa>) + Send + Sync>;

/// Who is told.
#[derive(Clone)]
pub(super) enum Target {
    /// An event is signalled, and what has happened is recorded.
    Event(Event),
    /// A function is called, once for each event.
    Callback(Callback),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Callback(_) => f.write_str("Callback"),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    target: Option<Target>,
    /// The socket's number, for callbacks.
    number: RawFd,
    wanted: Events,
    recorded: NetworkEvents,
    /// What is recorded again only once the call that enables it has been made.
    spent: Events,
    /// What has happened and stays so, for those who select it later.
    happened: NetworkEvents,
    watched: bool,
    ended: bool,
}

impl Events {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// There is something to read.
    pub const READ: Self = Self(1);
    /// There is room to write.
    pub const WRITE: Self = Self(2);
    /// There is out-of-band data.
    pub const OOB: Self = Self(4);
    /// A connection can be accepted.
    pub const ACCEPT: Self = Self(8);
    /// A connection was made, or was not.
    pub const CONNECT: Self = Self(0x10);
    /// The peer has closed.
    pub const CLOSE: Self = Self(0x20);
    /// The quality has changed.
    pub const QOS: Self = Self(0x40);
    /// The group's quality has changed.
    pub const GROUP_QOS: Self = Self(0x80);
    /// Every event.
    pub const ALL: Self = Self(0x3FF);

    /// The bits, as in FD_READ.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Those of these bits that are events.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether all of the others are among these.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    const fn both(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    const fn place(self) -> usize {
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
        const NAMES: [&str; KINDS] =
            ["READ", "WRITE", "OOB", "ACCEPT", "CONNECT", "CLOSE", "QOS", "GROUP_QOS", "ROUTING", "ADDRLIST"];
        let names: Vec<_> = NAMES
            .iter()
            .enumerate()
            .filter(|(place, _)| self.0 >> place & 1 == 1)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&if names.is_empty() { "NONE".to_owned() } else { names.join("|") })
    }
}

impl NetworkEvents {
    fn add(&mut self, event: Events, error: Option<Wsa>) {
        self.events = self.events | event;
        self.errors[event.place()] = error;
    }
}

impl Notify {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Whole between any two statements that can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event is selected.
    pub(super) fn wants(&self, event: Events) -> bool {
        self.inner().wanted.contains(event)
    }

    pub(super) fn is_selected(&self) -> bool {
        self.inner().wanted != Events::NONE
    }

    /// What is selected, for a socket that is to have the same.
    pub(super) fn selected(&self) -> Option<(Option<Target>, Events)> {
        let inner = self.inner();
        (inner.wanted != Events::NONE).then(|| (inner.target.clone(), inner.wanted))
    }

    /// Something has happened.
    pub(super) fn record(&self, event: Events, error: Option<Wsa>) {
        let mut inner = self.inner();
        if event == Events::CONNECT || event == Events::CLOSE {
            inner.happened.add(event, error);
        }
        if !inner.wanted.contains(event) || inner.spent.contains(event) {
            return;
        }
        inner.spent = inner.spent | event;
        match &inner.target {
            None => {}
            Some(Target::Event(signal)) => {
                signal.set();
                inner.recorded.add(event, error);
            }
            Some(Target::Callback(callback)) => {
                let (callback, number) = (Arc::clone(callback), inner.number);
                drop(inner);
                if let Ok(provider) = provider() {
                    provider.call_back(Box::new(move || callback(number, event, error)));
                }
            }
        }
    }

    /// The call that enables an event has been made: it is recorded if it is so now, or once it is.
    pub(super) fn rearm(&self, endpoint: &Arc<Endpoint>, event: Events) {
        {
            let mut inner = self.inner();
            if !inner.wanted.contains(event) {
                return;
            }
            inner.spent = inner.spent.without(event);
        }
        endpoint.look();
    }

    pub(super) fn disarm(&self, event: Events) {
        let mut inner = self.inner();
        inner.spent = inner.spent | event;
    }

    pub(super) fn end(&self) {
        let mut inner = self.inner();
        inner.ended = true;
        (inner.target, inner.wanted) = (None, Events::NONE);
        self.wake.notify_one();
    }
}

impl Endpoint {
    /// Selects what is to be recorded, and what is signalled then; the socket does not block from now on.
    /// Selecting nothing ends it.
    ///
    /// - **Errors**: WSANOTINITIALISED; WSAEINVAL where events are wanted without an event to signal.
    /// - **Source**: WSPEventSelect.
    pub fn select_events(self: &Arc<Self>, event: Option<&Event>, wanted: Events) -> Result<()> {
        self.tell(event.cloned().map(Target::Event), wanted)
    }

    /// Has a function called for what happens; the socket does not block from now on.
    /// Selecting nothing ends it. Either form replaces the other.
    ///
    /// - **Errors**: those of [`select_events`](Self::select_events).
    /// - **Source**: WSPAsyncSelect, with a function in place of a window.
    pub fn select_callback(self: &Arc<Self>, callback: Option<Callback>, wanted: Events) -> Result<()> {
        self.tell(callback.map(Target::Callback), wanted)
    }

    /// Selects for whoever is told.
    pub(super) fn tell(self: &Arc<Self>, target: Option<Target>, wanted: Events) -> Result<()> {
        running()?;
        if wanted == Events::NONE {
            let mut inner = self.notify.inner();
            (inner.target, inner.wanted, inner.recorded) = (None, wanted, NetworkEvents::default());
            return Ok(());
        }
        let Some(target) = target else { return Err(Wsa::Einval) };
        self.set_nonblocking(true)?;
        {
            let mut inner = self.notify.inner();
            (inner.target, inner.wanted, inner.number) = (Some(target.clone()), wanted, self.number());
            (inner.recorded, inner.spent) = (NetworkEvents::default(), Events::NONE);
            // What was so before is recorded for those who come later.
            let happened = inner.happened;
            if let Target::Event(event) = &target {
                for kind in [Events::CONNECT, Events::CLOSE] {
                    if happened.events.both(wanted).contains(kind) {
                        inner.recorded.add(kind, happened.errors[kind.place()]);
                        inner.spent = inner.spent | kind;
                        event.set();
                    }
                }
            } else {
                // Windows posts no message for a connection that stood before.
                inner.spent = inner.spent | Events::CONNECT.both(happened.events);
            }
        }
        self.watch();
        self.look();
        Ok(())
    }

    /// What has been recorded since the last call, which forgets it; the event is reset with it.
    ///
    /// - **Errors**: WSANOTINITIALISED.
    /// - **Source**: WSPEnumNetworkEvents.
    pub fn take_events(&self, reset: Option<&Event>) -> Result<NetworkEvents> {
        running()?;
        let mut inner = self.notify.inner();
        if let Some(event) = reset {
            event.reset();
        }
        Ok(std::mem::take(&mut inner.recorded))
    }

    /// Has the reactor look at the socket whenever something changes.
    pub(super) fn watch(self: &Arc<Self>) {
        // A stream without a peer is at its end in both directions, for the kernel: there is nothing to watch.
        if self.is_stream() && matches!(self.state().phase, Phase::Idle | Phase::Connecting) {
            return;
        }
        {
            let mut inner = self.notify.inner();
            if inner.wanted == Events::NONE || std::mem::replace(&mut inner.watched, true) {
                return;
            }
        }
        let Ok(provider) = provider() else { return };
        let this = Arc::clone(self);
        provider.spawn(async move {
            let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
            let Ok(watched) = this.watched(interest) else {
                this.notify.inner().watched = false;
                return;
            };
            // What has ended stays so, and is not waited for again.
            let (mut reading, mut writing) = (true, true);
            loop {
                let waited = match (reading, writing) {
                    (true, true) => Some(interest),
                    (true, false) => Some(Interest::READABLE | Interest::PRIORITY),
                    (false, true) => Some(Interest::WRITABLE),
                    (false, false) => None,
                };
                let ready = async {
                    match waited {
                        Some(interest) => watched.ready(interest).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = this.notify.wake.notified() => {}
                    guard = ready => match guard {
                        Ok(mut guard) => {
                            reading &= !guard.ready().is_read_closed();
                            writing &= !guard.ready().is_write_closed();
                            guard.clear_ready();
                        }
                        Err(_) => break,
                    },
                }
                let over = {
                    let mut inner = this.notify.inner();
                    let over = inner.ended || inner.wanted == Events::NONE;
                    inner.watched = !over;
                    over
                };
                if over {
                    break;
                }
                this.look();
            }
        });
    }

    /// Records what is so now, of what is selected.
    pub(super) fn look(self: &Arc<Self>) {
        let phase = self.state().phase;
        let all = Ready { readable: true, urgent: true, writable: true, failed: true, ended: true };
        let mut watched = [(self.number(), all)];
        if raw::poll(&mut watched, Some(std::time::Duration::ZERO)).is_err() {
            return;
        }
        let found = watched[0].1;
        match phase {
            Phase::Listening => {
                let offered = self.state().offered.clone();
                if offered.map_or(found.readable, |offered| !offered.is_empty()) {
                    self.notify.record(Events::ACCEPT, None);
                }
            }
            Phase::Connected => {
                if found.urgent {
                    self.notify.record(Events::OOB, None);
                }
                let left = raw::available(&*self.fd).unwrap_or(0) > 0;
                // The end of a stream is readable as well, and is told as such.
                if found.readable && (left || !self.is_stream()) {
                    self.notify.record(Events::READ, None);
                }
                if found.writable && !found.failed {
                    self.notify.record(Events::WRITE, None);
                }
                if self.is_stream() && (found.ended || found.failed) && !left {
                    self.notify.record(Events::CLOSE, found.failed.then(|| self.why_closed()).flatten());
                }
            }
            Phase::Idle if !self.is_stream() => {
                if found.readable {
                    self.notify.record(Events::READ, None);
                }
                if found.writable {
                    self.notify.record(Events::WRITE, None);
                }
            }
            Phase::Idle | Phase::Connecting => {}
        }
    }

    /// Nothing where both sides have closed in good order.
    fn why_closed(&self) -> Option<Wsa> {
        match raw::take_error(&*self.fd) {
            Ok(None) => None,
            Ok(Some(error)) | Err(error) => Some(raw::code(&error)),
        }
    }
}
