//! Selecting network events: WSAEventSelect, WSAAsyncSelect and WSAEnumNetworkEvents.

use std::sync::Arc;
use std::time::Duration;

use flowspec::{Errno, Wsa};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Result;
use super::endpoint::{Endpoint, Phase};
use super::event::Event;
use super::network_events::{Callback, EventTarget, Events, NetworkEvents};
use super::provider::{check_started, provider};
use crate::sys::{self, Readiness};

impl Endpoint {
    /// Selects the network events that are recorded and signal `event`. The socket does not block from now on. An
    /// empty set ends the selection.
    ///
    /// - **Errors**: WSANOTINITIALISED; WSAEINVAL where events are selected without an event object.
    /// - **Source**: WSPEventSelect.
    pub fn select_events(self: &Arc<Self>, event: Option<&Event>, selected: Events) -> Result<()> {
        self.select_for(event.cloned().map(EventTarget::Event), selected)
    }

    /// Selects the network events for which a function is called. The socket does not block from now on. An empty set
    /// ends the selection. Either kind of selection replaces the other.
    ///
    /// - **Errors**: those of [`select_events`](Self::select_events).
    /// - **Source**: WSPAsyncSelect, with a function in place of a window.
    pub fn select_callback(self: &Arc<Self>, callback: Option<Callback>, selected: Events) -> Result<()> {
        self.select_for(callback.map(EventTarget::Callback), selected)
    }

    pub(crate) fn select_for(self: &Arc<Self>, target: Option<EventTarget>, selected: Events) -> Result<()> {
        check_started()?;
        if selected == Events::NONE {
            self.events.clear();
            return Ok(());
        }
        let target = target.ok_or(Wsa::Einval)?;
        self.set_nonblocking(true)?;
        self.events.select(target, selected, self.number());
        self.watch();
        self.record_current_state();
        Ok(())
    }

    /// The events that were recorded since the last call. `reset` is reset with them.
    ///
    /// - **Errors**: WSANOTINITIALISED.
    /// - **Source**: WSPEnumNetworkEvents.
    pub fn take_events(&self, reset: Option<&Event>) -> Result<NetworkEvents> {
        check_started()?;
        Ok(self.events.take(reset))
    }

    /// Enables an event after the call that re-enables it, and records it if its condition holds already.
    pub(crate) fn enable_event(self: &Arc<Self>, event: Events) {
        if self.events.enable(event) {
            self.record_current_state();
        }
    }

    /// Has the reactor record events of the socket whenever its state changes.
    pub(crate) fn watch(self: &Arc<Self>) {
        // To the kernel a stream without a peer is at its end in both directions, all the time.
        if self.is_stream() && matches!(self.state().phase, Phase::Idle | Phase::Connecting) {
            return;
        }
        if !self.events.start_watching() {
            return;
        }
        let Ok(provider) = provider() else { return };
        let this = Arc::clone(self);
        provider.host.spawn(async move {
            match this.register(ALL_STATES) {
                Ok(watched) => this.record_changes(&watched).await,
                Err(_) => this.events.stop_watching(),
            }
        });
    }

    /// Records events as the state of the descriptor changes, until the selection ends.
    async fn record_changes(self: &Arc<Self>, watched: &AsyncFd<std::os::fd::OwnedFd>) {
        // A direction that has ended stays ready, and is not waited for again.
        let (mut reading, mut writing) = (true, true);
        loop {
            let waited = match (reading, writing) {
                (true, true) => Some(ALL_STATES),
                (true, false) => Some(Interest::READABLE.add(Interest::PRIORITY)),
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
                () = self.events.ended.notified() => {}
                guard = ready => match guard {
                    Ok(mut guard) => {
                        reading &= !guard.ready().is_read_closed();
                        writing &= !guard.ready().is_write_closed();
                        guard.clear_ready();
                    }
                    // The reactor ends.
                    Err(_) => return,
                },
            }
            if !self.events.keeps_watching() {
                return;
            }
            self.record_current_state();
        }
    }

    /// Records the events whose condition holds now.
    pub(crate) fn record_current_state(self: &Arc<Self>) {
        let phase = self.state().phase;
        let all = Readiness { readable: true, urgent: true, writable: true, failed: true, peer_closed: true };
        let mut watched = [(self.number(), all)];
        if sys::poll(&mut watched, Some(Duration::ZERO)).is_err() {
            return;
        }
        let found = watched[0].1;
        match phase {
            Phase::Listening => {
                let offers = self.state().offers.clone();
                if offers.map_or(found.readable, |offers| !offers.is_empty()) {
                    self.events.record(Events::ACCEPT, None);
                }
            }
            Phase::Connected => self.record_connected_state(found),
            Phase::Idle if !self.is_stream() => {
                if found.readable {
                    self.events.record(Events::READ, None);
                }
                if found.writable {
                    self.events.record(Events::WRITE, None);
                }
            }
            Phase::Idle | Phase::Connecting => {}
        }
    }

    fn record_connected_state(&self, found: Readiness) {
        if found.urgent {
            self.events.record(Events::OOB, None);
        }
        let has_data = sys::available(&*self.fd).unwrap_or(0) > 0;
        // The end of a stream is readable too, but is FD_CLOSE.
        if found.readable && (has_data || !self.is_stream()) {
            self.events.record(Events::READ, None);
        }
        if found.writable && !found.failed {
            self.events.record(Events::WRITE, None);
        }
        if self.is_stream() && (found.peer_closed || found.failed) && !has_data {
            self.events.record(Events::CLOSE, found.failed.then(|| self.close_error()).flatten());
        }
    }

    /// The error of FD_CLOSE; `None` after an orderly close.
    fn close_error(&self) -> Option<Wsa> {
        match sys::take_error(&*self.fd) {
            Ok(error) => error.map(Errno::wsa),
            Err(error) => Some(error.wsa()),
        }
    }
}

/// Everything that the reactor can watch for.
const ALL_STATES: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
